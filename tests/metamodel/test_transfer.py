"""The metamodel under other encoders: the widening, the file, the wider model."""

import json

import numpy as np
import pandas as pd
import pytest

from metamodel.judge.transfer import (
    FILE,
    Transfer,
    load_transfer,
    measure_transfer,
    needed_widening,
    read_transfer,
    transfer_figures,
    transfer_text,
    under_other_encoders,
)
from metamodel.predict import SHIPPED, load_shipped
from metamodel.rows import join_tables


def asked(encoder, scale, *, n=2000, seed=0):
    """Errors of a known size; intervals reach 1/10 to each side."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "encoder": encoder, "layers": 6, "width": 32, "task": np.arange(n) % 5, "n0": 64,
            "multiple": 2 ** (1 + np.arange(n) % 3), "layer": 1, "recommended": True,
            "truth": 0.5 + scale * rng.uniform(-0.1, 0.1, n), "mean": 0.5, "below": 0.1,
            "above": 0.1,
            "last": 0.4, "best": 0.6,
        }
    )  # fmt: skip


def test_the_widened_intervals_of_every_encoder_hold_90_percent():
    far = asked("far", 1.5, seed=1)
    assert needed_widening(far) == pytest.approx(0.9 * 1.5, rel=0.03)
    assert needed_widening(asked("near", 0.5)) == 1.0
    both = pd.concat([far, asked("near", 0.5)])
    factor = needed_widening(both)
    assert factor == needed_widening(far)
    held = (far["truth"] - far["mean"]).abs() <= factor * far["above"]
    assert held.groupby(far["task"]).mean().mean() == pytest.approx(0.9, abs=1e-3)


def test_every_task_counts_alike():
    easy = asked("far", 1.5)
    easy.loc[easy["task"] == 0, "truth"] = 0.5
    more = pd.concat([easy, *[easy[easy["task"] == 0]] * 9])
    assert needed_widening(easy) > 1.2
    assert needed_widening(more) == pytest.approx(needed_widening(easy), rel=0.01)


def test_each_encoder_is_judged_by_the_others_factor():
    table = pd.concat([asked("known", 1.0), asked("far", 1.5), asked("farther", 2.0)])
    rows = {row["encoder"]: row for row in transfer_figures(table, ["known"])}
    assert rows["known"]["factor"] == 1.0
    assert rows["far"]["factor"] == pytest.approx(0.9 * 2.0, rel=0.03)
    assert rows["farther"]["factor"] == pytest.approx(0.9 * 1.5, rel=0.03)
    assert rows["farther"]["covered"] == pytest.approx(0.5, abs=0.05)
    assert rows["farther"]["covered_wide"] == pytest.approx(0.9 * 0.75, abs=0.05)
    assert rows["far"]["error_2"] == pytest.approx(7.5, rel=0.05)
    assert rows["far"]["regret"] == pytest.approx(10, rel=0.05)


def test_the_shipped_file_belongs_to_the_shipped_metamodel():
    transfer = load_transfer()
    shipped = json.loads((SHIPPED / "metamodel.json").read_text(encoding="utf-8"))
    assert transfer.metamodel == shipped["sha256"], "run make encoder-transfer again"
    assert transfer.widening >= 1
    assert len(transfer.encoders) == sum(not row["known"] for row in transfer.figures)


def test_the_text_is_read_back(tmp_path):
    transfer = load_transfer()
    place = tmp_path / FILE
    place.write_text(transfer_text(transfer), encoding="utf-8")
    assert read_transfer(place) == transfer


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"widening": 1', '"widening": 2'),
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "{}",
    ],
)
def test_a_damaged_file_is_refused(change, tmp_path):
    place = tmp_path / FILE
    text = transfer_text(load_transfer())
    assert change(text) != text
    place.write_text(change(text), encoding="utf-8")
    with pytest.raises(ValueError, match=r"transfer\.json (is not JSON|lacks|was changed)"):
        read_transfer(place)


@pytest.fixture(scope="module")
def shipped_rows():
    """Two pilots of the shipped table."""
    tables = [pd.read_parquet(SHIPPED / f"metadata_{k}.parquet") for k in ("evidence", "outcomes")]
    evidence, outcomes = tables
    task = evidence[(evidence["n0"] == 128)]["task"].iloc[0]
    mine = [t[(t["task"] == task) & (t["subset"] == "all")] for t in (evidence, outcomes)]
    mine[0] = mine[0][mine[0]["n0"].isin([64, 128])]
    return [t.reset_index(drop=True) for t in mine]


def test_the_wider_model_says_the_same_with_wider_intervals(shipped_rows):
    model = load_shipped()
    pilot = shipped_rows[0]
    pilot = pilot[(pilot["n0"] == 128) & (pilot["seed"] == pilot["seed"].iloc[0])]
    pilot = pilot.reset_index(drop=True)
    transfer = Transfer("", 1.5, ("x",), 1, {}, {"decay": (-9.0, 99.0)}, ())
    other = under_other_encoders(model, transfer)
    before, after = (m.curve(pilot, [256, 1024]) for m in (model, other))
    np.testing.assert_array_equal(before["mean"], after["mean"])
    np.testing.assert_allclose(after["spread"], 1.5 * before["spread"], rtol=1e-12)
    assert (after["high"] - after["low"] >= before["high"] - before["low"] - 1e-12).all()
    assert other.outside(pilot.assign(decay=50.0)) == []
    assert model.outside(pilot.assign(decay=50.0)) != []
    pd.testing.assert_frame_equal(model.layers(pilot, 256), other.layers(pilot, 256))


def test_measured_under_a_copy_of_the_known_encoder_nothing_is_wider(shipped_rows):
    copies = [pd.concat([t, t.assign(encoder="copy")], ignore_index=True) for t in shipped_rows]
    transfer = measure_transfer(
        load_shipped(), join_tables(*copies), metamodel="m", known=("minilm",),
        progress=lambda *step: None,
    )  # fmt: skip
    assert transfer.widening == 1.0
    assert transfer.shapes == {"n_layers": (6, 6), "width": (384, 384)}
    known, copy = sorted(transfer.figures, key=lambda row: not row["known"])
    assert known["known"]
    assert not copy["known"]
    assert known["error_2"] == copy["error_2"]


@pytest.mark.parametrize("known", [("minilm", "copy"), ("other",)])
def test_tables_without_another_encoder_or_without_the_known_one(shipped_rows, known):
    with pytest.raises(ValueError, match=r"expected .* and others"):
        measure_transfer(
            load_shipped(), join_tables(*shipped_rows), metamodel="m", known=known,
            progress=lambda *step: None,
        )  # fmt: skip
