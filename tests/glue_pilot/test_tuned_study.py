"""The study of learners: from a TOML file to the table of the package."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from charkit import generated_task
from charkit.errors import MissingError, UnknownNameError, UsageError
from charkit.learners import contrastive
from charkit.learners.draws import COLUMNS
from glue_pilot.__main__ import app
from glue_pilot.meta_dataset import tuned as tuned_study
from glue_pilot.meta_dataset.study import read_metadata_study
from glue_pilot.meta_dataset.tuned import gain_rows, read_tuned_study, ship_outcomes, study_draws
from metamodel.learners.files import read_learners

TOML = """
name = "tiny"
encoder = "{encoder}"
n_pool = 60
n_evaluation = 20
sizes = [16, 32]
draws = [2, 1]
max_length = 16
learners = ["probe", "tuned"]
tasks = ["generated/sentiment?n_train=80&n_eval=30", "generated/topic?n_train=80&n_eval=30"]
"""


@pytest.fixture
def toml(tmp_path, tiny_bert):
    place = tmp_path / "tiny.toml"
    place.write_text(TOML.format(encoder=tiny_bert))
    return place


def run(*arguments) -> str:
    found = CliRunner().invoke(app, ["metadata-tuned", *map(str, arguments)])
    assert found.exit_code == 0, found.output
    return found.output


def test_from_file_to_table(toml, tmp_path):
    cache = ("--cache-dir", tmp_path / "cache", "--dtype", "float32")
    assert "hours on one core" in run(toml, *cache, "--dry-run")
    out = tmp_path / "out"
    assert "12 rows of 2 corpora" in run(toml, *cache, "--out", out, "--quiet")
    table = pd.read_parquet(out / "tiny.parquet")
    assert list(table.columns) == list(COLUMNS)
    assert table.groupby(["n_train", "seed"]).size().to_dict() == {
        (16, 0): 4,
        (16, 1): 4,
        (32, 0): 4,
    }
    again = run(toml, *cache, "--out", out, "--quiet")
    assert pd.read_parquet(out / "tiny.parquet").equals(table)
    assert "12 rows" in again


def test_first_draws_of_all_tasks_come_first(toml, tmp_store):
    draws = study_draws(read_tuned_study(toml), None, tmp_store)
    assert [(d.seed, len(d.train)) for d in draws] == [(0, 16), (0, 32)] * 2 + [(1, 16)] * 2


def test_draws_are_the_pilots_of_the_meta_dataset():
    study = read_tuned_study("glue_pilot/tuned.toml")
    meta = read_metadata_study("glue_pilot/metadata.toml")
    assert study.n_pool == meta.n_train
    assert set(study.sizes) & set(meta.pilots)


def test_tasks_that_are_kept_back_are_not_in_the_study():
    kept_back = read_metadata_study("glue_pilot/transfer.toml").tasks
    study = read_tuned_study("glue_pilot/tuned.toml")
    assert not set(kept_back) & set(study.tasks)
    assert len(set(study.tasks)) == len(study.tasks) >= 40


def test_a_folder_without_names_gives_its_classification_tasks(toml, tmp_path, tmp_store):
    lines = [line for line in toml.read_text().splitlines() if not line.startswith("tasks")]
    toml.write_text("\n".join(lines))
    folder, listed = tmp_path / "tasks", []
    for name, shift in (("topic", 0), ("similarity", 0.25)):
        task = generated_task(name, n_train=40, n_eval=20)
        (folder / name).mkdir(parents=True)
        for part, split in (("train", task.train), ("test", task.evaluation)):
            columns = {"text": split.texts, "label": split.labels + shift}
            if split.pairs is not None:
                columns["text_b"] = split.pairs
            pd.DataFrame(columns).to_csv(folder / name / f"{part}.csv", index=False)
        listed.append({"name": name, "corpus": name})
    (folder / "MANIFEST.json").write_text(json.dumps(listed))
    draws = study_draws(read_tuned_study(toml), folder, tmp_store)
    assert {draw.task for draw in draws} == {"topic"}


def test_sizes_without_draws_are_refused(toml):
    toml.write_text(toml.read_text().replace("draws = [2, 1]", "draws = [2]"))
    with pytest.raises(UsageError, match=r"a number of draws for each of the sizes \[16, 32\]"):
        read_tuned_study(toml)


def test_unknown_learners_are_refused(toml):
    toml.write_text(toml.read_text().replace('"tuned"]', '"tunde"]'))
    with pytest.raises(UnknownNameError, match="tuned"):
        read_tuned_study(toml)


def test_a_missing_package_is_named_before_anything_is_trained(toml, tmp_path, monkeypatch):
    monkeypatch.setattr(contrastive, "find_spec", lambda _: None)
    toml.write_text(toml.read_text().replace('"tuned"]', '"setfit"]'))
    assert read_tuned_study(toml).learners == ("probe", "setfit")
    cache = ["--cache-dir", tmp_path / "cache", "--out", tmp_path / "out"]
    assert "hours on one core" in run(toml, *cache, "--dry-run")
    found = CliRunner().invoke(app, ["metadata-tuned", *map(str, [toml, *cache])])
    assert found.exit_code == MissingError.exit_code
    assert 'pip install "charkit[tuned]"' in found.output
    assert not (tmp_path / "out").exists()


def outcomes(encoder: str, gains: list[float]) -> pd.DataFrame:
    rows = []
    for place, gain in enumerate(gains):
        common = dict.fromkeys(COLUMNS, 0) | {
            "encoder": encoder, "task": f"t{place}", "corpus": f"c{place}", "n_train": 64,
            "failed": False, "failure": "",
        }  # fmt: skip
        rows.append(common | {"learner": "probe", "accuracy": 0.5})
        rows.append(common | {"learner": "tuned", "accuracy": 0.5 + gain})
    return pd.DataFrame(rows)


def test_gains_are_means_over_corpora_and_failures_are_counted():
    table = outcomes("a", [0.1, 0.2, -0.1, 0.2])
    table.loc[table.index[-1], ["accuracy", "failed"]] = [np.nan, True]
    (row,) = gain_rows(table)
    assert row["gain"] == pytest.approx(100 * 0.2 / 3)
    assert row["low"] < row["gain"] < row["high"]
    assert (row["corpora"], row["runs"], row["failed"]) == (3, 4, 1)
    assert row["better"] == pytest.approx(2 / 3)


def test_shipped_rows_of_other_runs_stay(tmp_path):
    place = tmp_path / "shipped.parquet"
    ship_outcomes(outcomes("a", [0.1]), place)
    ship_outcomes(outcomes("b", [0.1, 0.2]), place)
    ship_outcomes(outcomes("a", [0.3]), place)
    table = pd.read_parquet(place)
    assert table.groupby("encoder").size().to_dict() == {"a": 2, "b": 4}
    ship_outcomes(outcomes("b", [0.3]), place)  # of the first task only
    assert pd.read_parquet(place).groupby("encoder").size().to_dict() == {"a": 2, "b": 4}
    assert table[table["encoder"] == "a"]["accuracy"].max() == pytest.approx(0.8)


def test_draws_that_are_published_are_not_made_again(toml, tmp_path, tmp_store, monkeypatch):
    place = tmp_path / "shipped.parquet"
    monkeypatch.setattr(tuned_study, "SHIPPED", place)
    monkeypatch.setattr(tuned_study.published_rows, "__defaults__", (place,))
    cache = ("--cache-dir", tmp_path / "cache", "--dtype", "float32", "--out", tmp_path / "out")
    run(toml, *cache, "--quiet")
    made = pd.read_parquet(tmp_path / "out" / "tiny.parquet")
    first = made[made["seed"] == 0]
    ship_outcomes(first.assign(accuracy=0.123), place)
    draws = study_draws(read_tuned_study(toml), None, tmp_store)
    todo, found = tuned_study.published_rows(draws)
    assert [draw.seed for draw in todo] == [1, 1]
    assert len(found) == len(first)
    run(toml, *cache, "--quiet")
    joined = pd.read_parquet(tmp_path / "out" / "tiny.parquet")
    assert len(joined) == len(made)
    assert (joined.loc[joined["seed"] == 0, "accuracy"] == 0.123).all()
    assert "4 further draws are in the table" in " ".join(run(toml, *cache, "--dry-run").split())
    run(toml, *cache, "--quiet", "--afresh")
    assert pd.read_parquet(tmp_path / "out" / "tiny.parquet").equals(made)
    ship_outcomes(first[first["learner"] != "tuned"], tmp_path / "heads.parquet")
    todo, heads = tuned_study.published_rows(draws, tmp_path / "heads.parquet")
    assert {draw.learners for draw in todo if draw.seed == 0} == {("tuned",)}  # nothing else again
    assert set(heads["learner"]) == set(first["learner"]) - {"tuned"}
    ship_outcomes(first.assign(majority=0.99), place)  # other evaluation texts
    assert len(tuned_study.published_rows(draws)[0]) == len(draws)


def test_ways_of_training_are_judged_under_other_encoders(toml, tmp_path, other_tiny_bert):
    cache = ("--cache-dir", tmp_path / "cache", "--dtype", "float32", "--quiet")
    encoders = [read_tuned_study(toml).encoder, str(other_tiny_bert)]
    for name in encoders:
        run(toml, *cache, "-e", name, "--out", tmp_path / Path(name).name)
    tables = [pd.read_parquet(tmp_path / Path(name).name / "tiny.parquet") for name in encoders]
    own = pd.concat(tables)
    place = tmp_path / "outcomes.parquet"
    own[own["n_train"] == 16].to_parquet(place)
    command = ["learner-transfer", toml, "--outcomes", place, "--out", tmp_path / "out", *cache]
    one, command = (
        [*map(str, command), *ends]
        for ends in (("-e", encoders[0]), ("-e", encoders[0], "-e", encoders[1]))
    )
    assert "expected tuned of" in CliRunner().invoke(app, command).output
    lacking = own[(own["n_train"] == 16) | (own["learner"] == "probe")]
    lacking.to_parquet(place)
    assert "expected tuned of" in CliRunner().invoke(app, command).output
    own.to_parquet(place)
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 0, found.output
    rows = read_learners(tmp_path / "out" / "learners.json").elsewhere.figures
    assert [(row["learner"], row["known"], row["tasks"]) for row in rows] == [
        ("tuned", False, 2)
    ] * 2
    for row, table in zip(rows, sorted(tables, key=lambda t: t["encoder"][0]), strict=True):
        reached = table[table["n_train"] == 32].groupby("learner")["accuracy"].mean()
        assert row["gain"] == pytest.approx(100 * (reached["tuned"] - reached["probe"]))
    assert "expected 2 or more others" in CliRunner().invoke(app, one).output


def test_a_study_can_run_another_encoder(toml, tmp_store, other_tiny_bert):
    study = replace(read_tuned_study(toml), encoder=str(other_tiny_bert), dtype="float32")
    own = study_draws(replace(read_tuned_study(toml), dtype="float32"), None, tmp_store)
    other = study_draws(study, None, tmp_store)
    assert own[0].config["encoder"] != other[0].config["encoder"]
