"""The study of encoders, on tables made up and on a generated task."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import glue_pilot
from charkit.encoders import load_encoder
from charkit.errors import MissingError, UsageError
from glue_pilot.encoders import study as module
from glue_pilot.encoders.figures import (
    RULES,
    choices,
    encoder_rows,
    measure_rows,
    rule_rows,
    write_encoder_study,
)
from glue_pilot.encoders.study import (
    all_cases,
    load_sources,
    measure,
    plan_rows,
    read_encoder_study,
    score_table,
)
from glue_pilot.samples import measure_each

HERE = Path(glue_pilot.__file__).parent
TINY = """
name = "tiny"
encoders = ["a", "b"]
n_train = 60
n_evaluation = 40
n_further = 12
sizes = [16, 32]
n_seeds = 2
max_length = 16
tasks = ["generated/sentiment?n_train=60&n_eval=40&seed=1",
         "generated/topic?n_train=60&n_eval=40&seed=1"]
"""


@pytest.fixture
def study(tmp_path):
    place = tmp_path / "tiny.toml"
    place.write_text(TINY)
    return read_encoder_study(place)


@pytest.fixture
def encoders(tiny_bert, other_tiny_bert):
    return [
        load_encoder(str(folder), device="cpu", dtype="float32")
        for folder in (other_tiny_bert, tiny_bert)
    ]


def made_up():
    """Two encoders of two layers: b is better by 4 points, and only log loss and LogME see it."""
    rows = []
    for task in ("t1", "t2", "t3"):
        for encoder, cost in (("a", 1.0), ("b", 2.0)):
            for n, seed in ((64, 0), (64, 1), (500, -1)):
                for layer in (0, 1):
                    better = 0.04 * (encoder == "b") + 0.02 * layer
                    row = {"task": task, "corpus": task, "encoder": encoder, "n": n, "seed": seed}
                    row |= {"layer": layer, "accuracy": 0.7 + better + 0.1 * (seed < 0)}
                    if seed >= 0:
                        row |= dict.fromkeys(RULES, 0.0) | {"largest": cost}
                        row |= {r: better for r in RULES if r.endswith(("log_loss", "logme"))}
                    rows.append(row)
    return pd.DataFrame(rows)


def test_regret_is_what_the_pick_misses_and_the_first_of_equals_is_taken():
    rows = {row["rule"]: row for row in rule_rows(choices(made_up()))}
    assert rows["left_out_log_loss"]["same"] == pytest.approx(0)
    assert rows["left_out_log_loss"]["layer"] == pytest.approx(0)
    assert rows["left_out_accuracy"]["same"] == pytest.approx(4)
    assert rows["left_out_accuracy"]["layer"] == pytest.approx(6)
    assert rows["largest"]["same"] == pytest.approx(0)
    assert rows["random"]["same"] == pytest.approx(2)
    assert rows["random"]["right"] == 0.5
    assert rows["left_out_accuracy"]["difference"] == pytest.approx(4)
    assert rows["left_out_accuracy"]["layer_difference"] == pytest.approx(6)


def test_log_loss_is_compared_with_accuracy_on_the_same_rows():
    rows = measure_rows(choices(made_up()))
    assert {row["rows"] for row in rows} == {"fifth", "left_out", "further"}
    assert {row["n"] for row in rows} == {0, 64}
    for row in rows:
        assert row["same"] == pytest.approx(-4)
        assert row["same_low"] == pytest.approx(-4)


def test_gains_are_on_the_cheapest_encoder():
    cases = [
        SimpleNamespace(
            source=SimpleNamespace(
                encoder=SimpleNamespace(
                    name=name, n_layers=1, width=8, dtype="float32", operations=lambda _: 1e9
                )
            ),
            study=SimpleNamespace(max_length=8),
        )
        for name in ("a", "b")
    ]
    first, second = encoder_rows(cases, made_up())
    assert first["gain"]["64"]["gain"] == 0
    assert second["gain"]["64"]["gain"] == pytest.approx(4)
    assert second["accuracy"]["most"] == pytest.approx(0.86)
    assert (first["best"]["64"], second["best"]["64"]) == (0, 1)


def test_a_study_runs_resumes_and_writes(study, encoders, tmp_store, tmp_path, monkeypatch):
    cases = all_cases(study, load_sources(study, None, encoders))
    assert len(cases) == 2 * 2 * (2 * 2 + 1)
    planned = plan_rows(cases, tmp_store)
    assert [row["to do"] for row in planned] == [10, 10]
    assert all(row["hours"] > 0 for row in planned)
    measured = measure_each(cases, measure, tmp_store)
    assert [row["to do"] for row in plan_rows(cases, tmp_store)] == [0, 0]
    monkeypatch.setattr(module, "_measure", None)  # everything is in the store
    assert measure(cases[0], tmp_store).layers.equals(measured[0].layers)
    scores = score_table(cases, measured)
    assert scores[scores["seed"] >= 0][[r for r in RULES if r != "random"]].notna().any().all()
    lines, written = write_encoder_study(cases, measured, study, tmp_path / "out")
    assert lines
    assert [path.name for path in written] == ["tiny.json", "tiny.md"]
    found = json.loads(written[0].read_text())
    assert found["n_tasks"] == 2
    assert str(tmp_path) not in written[0].read_text()
    page = written[1].read_text()
    for words in ("H-score of the mean of layers", "the largest encoder", "generated_topic"):
        assert words in page


def test_rows_left_out_and_further_rows_are_none_of_the_sample(study, encoders, tmp_store):
    case = all_cases(study, load_sources(study, None, encoders))[0]
    found = measure(case, tmp_store)
    assert found.values("left_out", "correct").shape == (3, 16)
    assert found.values("fifth", "correct").shape == (3, 3)
    assert found.values("further", "log_loss").shape == (3, 12)
    assert (found.values("further", "log_loss") < 0).all()
    assert found.layers["accuracy"].between(0, 1).sum() == 3
    assert np.isfinite(found.layers["h_score"].iloc[-1])


def test_more_training_rows_reuse_the_states_of_fewer(study, encoders, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 20)
    blocks = load_sources(study, None, encoders)[0].parts[:-1]
    fewer = module.replace(study, n_train=40)
    assert [len(b) for b in blocks] == [20, 20, 20]
    own = load_sources(fewer, None, encoders)[0].parts[:-1]
    assert [b.text_fingerprint for b in own] == [b.text_fingerprint for b in blocks[:2]]


def test_what_cannot_be_run_is_refused(study, encoders, tmp_path):
    with pytest.raises(UsageError, match=r"at least two encoders, got .*ENCODERS="):
        read_encoder_study(HERE / "encoders.toml", ["minilm"])
    with pytest.raises(UsageError, match="each of them once"):
        load_sources(study, None, [encoders[0], encoders[0]])
    place = tmp_path / "bad.toml"
    place.write_text(TINY.replace("n_seeds = 2", "n_seeds = 0"))
    with pytest.raises(UsageError, match="n_seeds"):
        read_encoder_study(place)
    real = read_encoder_study(HERE / "encoders.toml")
    with pytest.raises(MissingError, match="needs a folder of tasks"):
        load_sources(real, None, encoders)


@pytest.mark.parametrize(
    "name", ["encoders.toml", "encoders_smoke.toml", "pairs.toml", "pairs_smoke.toml"]
)
def test_the_studies_that_come_along_can_be_read(name):
    assert len(read_encoder_study(HERE / name).encoders) == 2
