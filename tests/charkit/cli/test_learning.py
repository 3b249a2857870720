"""charkit sweep --learner, in-process."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from charkit.cli.app import app
from charkit.learners import outcomes

runner = CliRunner()


@pytest.fixture(scope="module")
def run(tiny_bert, tmp_path_factory):
    place = tmp_path_factory.mktemp("learning-cli")
    rows = [f"the {('good', 'bad')[i % 2]} film {i} is here,{'ab'[i % 2]}" for i in range(60)]
    (place / "my.csv").write_text("text,label\n" + "\n".join(rows) + "\n")

    def call(*arguments):
        given = ["sweep", str(place / "my.csv"), "-e", str(tiny_bert), "--device", "cpu"]
        return runner.invoke(app, [*given, "--cache-dir", str(place / "cache"), *arguments])

    return call


GRID = ("--learner", "probe,concat,tuned", "--sizes", "8,16", "--seeds", "0-1")


def test_a_table_of_learners_that_resumes(run, tmp_path):
    first = run(*GRID, "--format", "json", "--out", str(tmp_path))
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout)
    assert {row["learner"] for row in found["learners"]} == {"probe", "concat", "tuned"}
    assert {row["n_train"] for row in found["learners"]} == {8, 16}
    assert all(row["draws"] == 2 for row in found["learners"])
    assert len(found["runs"]) == len(pd.read_parquet(tmp_path / "learners.parquet")) == 12
    plan = run(*GRID, "--dry-run", "--format", "json")
    assert [row["to do"] for row in json.loads(plan.stdout)["sizes"]] == [0, 0]


def test_a_dry_run_states_hours(run):
    plan = run("--learner", "tuned", "--sizes", "32", "--seeds", "7", "--dry-run")
    assert plan.exit_code == 0, plan.output
    assert "hours on this machine" in plan.stdout


def test_a_diverging_run_is_a_sentence(run, monkeypatch):
    class Diverged:
        failure = "diverged: the loss is not a number at step 3 of 24"

    monkeypatch.setattr(outcomes, "fine_tune", lambda *_, **__: Diverged())
    found = run("--learner", "tuned", "--sizes", "16", "--seeds", "5")
    assert found.exit_code == 0, found.output
    flat = " ".join(found.stdout.split())
    assert (
        "1 of 1 runs of fine-tuning failed, the first at 16 texts (tuned: diverged: the loss"
        in flat
    )
    assert "Trust the other learners there, or add labels." in flat


@pytest.mark.parametrize(
    ("option", "value"),
    [("--layers", "1"), ("--subset", "classes:a,b"), ("--metric", "f1"), ("--pooling", "cls"),
     ("--shard", "1/2")],
)  # fmt: skip
def test_options_that_mean_nothing_to_learners_are_refused(run, option, value):
    found = run("--learner", "probe", option, value)
    assert found.exit_code == 2
    assert f"expected no {option} with it" in " ".join(found.stderr.split())


def test_no_gpu_is_a_sentence(run):
    found = run("--learner", "tuned", "--device", "cuda")
    if found.exit_code == 0:
        pytest.skip("there is a GPU")
    assert found.exit_code == 4
    assert "Use --device auto" in " ".join(found.stderr.split())
