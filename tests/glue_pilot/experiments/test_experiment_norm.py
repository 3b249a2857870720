"""Norms of samples of several sizes: what is compared, the experiment on generated tasks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from charkit.errors import UsageError
from charkit.store.store import Store
from glue_pilot.experiments.base import Workspace
from glue_pilot.experiments.norm import (
    EXPERIMENT,
    OWN,
    NormSettings,
    agreement_table,
    size_rows,
    slope_of_sizes,
)
from glue_pilot.stats import resampled_median

SOURCE = "generated/{}?n_train=60&n_eval=40&seed={}"


def _noisy_norms(n_tasks=40, seed=0):
    """Return norms whose squares are lengthened by noise / n; the corrected ones are true."""
    rng = np.random.default_rng(seed)
    rows = []
    for task in range(n_tasks):
        true = float(np.exp(rng.normal()))
        for n in (16, 64):
            rows.append(
                {"task": f"t{task}", "corpus": f"c{task}", "n": n, "n_samples": n}
                | {"l2": true * (1 + 40 / n) ** 0.5, "l2_corrected": true}
            )
    return pd.DataFrame(rows)


def test_a_right_correction_makes_sizes_agree():
    table = agreement_table(_noisy_norms(), heads=OWN).set_index("kind")
    assert table.loc["l2_corrected", "apart"] == pytest.approx(0, abs=1e-12)
    expected = 0.5 * np.log((1 + 40 / 16) / (1 + 40 / 64))
    assert table.loc["l2", "apart"] == pytest.approx(expected)
    assert table.loc["l2", "value"] == pytest.approx(-expected)
    assert table.loc["difference", "apart_low"] > 0


def test_slopes_are_those_of_lines():
    rows = [
        {"task": t, "corpus": t, "n": n, "n_samples": n, "l2": n**0.5, "l2_corrected": 3.0}
        for t in ("a", "b")
        for n in (10, 100, 1000)
    ]
    slopes = slope_of_sizes(pd.DataFrame(rows))
    np.testing.assert_allclose(slopes["l2"], 0.5)
    np.testing.assert_allclose(slopes["l2_corrected"], 0, atol=1e-12)


def test_norms_of_zero_are_left_out():
    table = _noisy_norms(5)
    table.loc[0, "l2_corrected"] = 0.0
    assert agreement_table(table, heads=OWN)["tasks"].tolist() == [4, 4, 4]
    assert len(slope_of_sizes(table)) == 4


def test_median_has_an_interval_over_corpora():
    rng = np.random.default_rng(1)
    halves = []
    for _ in range(12):
        values = pd.Series(rng.normal(size=200))
        found = resampled_median(values, pd.Series(np.arange(200)))
        assert found.mean == values.median()
        halves.append((found.high - found.low) / 2)
    expected = 1.645 * 1.2533 / 200**0.5  # of the median of a normal sample
    assert np.mean(halves) == pytest.approx(expected, rel=0.15)
    one = resampled_median(values, pd.Series(np.zeros(200)))
    assert np.isnan([one.low, one.high]).all()  # of one corpus there is no interval


def test_tasks_with_too_few_texts_have_no_row_of_a_size():
    held = pd.DataFrame(
        {"task": ["a", "a"], "corpus": "a", "n": [16, 64], "n_samples": [16, 40], "draw": 0}
    ).assign(head_layer=2, layer=0, l2=1.0, l2_corrected=0.9)
    assert size_rows(held)["n"].tolist() == [16]


def test_generated_tasks_have_norms_and_a_finding(tiny_bert, tmp_path):
    kinds = ("sentiment", "topic", "acceptability")
    settings = NormSettings(
        encoder=str(tiny_bert),
        tasks=tuple(SOURCE.format(kind, seed) for kind in kinds for seed in (1, 2)),
        sizes=(16, 32, 48),
        shown=32,
        all_heads_up_to=0,
        max_length=16,
        n_eval=20,
    )
    found = EXPERIMENT.run(settings, Workspace(Store(tmp_path)))
    assert set(found.figures) == {"", "sizes", "agreement", "layers"}
    fixed = found.table[found.table["part"] == "norms under one head"]
    assert sorted(fixed["n"].unique()) == [16, 32]
    assert (fixed["l2_corrected"] <= fixed["l2"]).all()
    assert "Under one head, norms of 16 and 32 texts" in found.text
    assert {"error", "slope_l2", "gain_one_head"} <= set(found.summary)


@pytest.mark.parametrize("changes", [{"sizes": (16,)}, {"sizes": (32, 16)}, {"shown": 17}])
def test_sizes_out_of_order_are_refused(tmp_path, changes):
    given = {"sizes": (16, 32), "shown": 16} | changes
    with pytest.raises(UsageError, match="two or more that rise"):
        EXPERIMENT.run(NormSettings(**given), Workspace(Store(tmp_path)))


def test_too_few_tasks_are_refused(tiny_bert, tmp_path):
    settings = NormSettings(
        encoder=str(tiny_bert), tasks=(SOURCE.format("topic", 1),), sizes=(16, 32), shown=16,
        all_heads_up_to=0, max_length=16, n_eval=20,
    )  # fmt: skip
    with pytest.raises(UsageError, match="too few tasks"):
        EXPERIMENT.run(settings, Workspace(Store(tmp_path)))
