"""charkit encoders, in-process."""

from __future__ import annotations

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from charkit.cli.app import app

runner = CliRunner()


@pytest.fixture(scope="module")
def run(tiny_bert, tmp_path_factory):
    place = tmp_path_factory.mktemp("encoders-cli")
    rows = [f"the {('good', 'bad')[i % 2]} film {i} is here,{'ab'[i % 2]}" for i in range(120)]
    (place / "my.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    shared = ["--cache-dir", str(place / "cache"), "--executor", "1", "--seeds", "0-1"]

    def call(*arguments):
        given = ["encoders", str(place / "my.csv"), *arguments, *shared, "--device", "cpu"]
        return runner.invoke(app, given)

    return call


def both(tiny_bert):
    return ["-e", str(tiny_bert), "-e", f"random:{tiny_bert}"]


def test_json_csv_and_table_agree(run, tiny_bert):
    found = json.loads(run(*both(tiny_bert), "--format", "json").stdout)
    assert [row["rank"] for row in found["encoders"]] == [1, 2]
    assert {row["encoder"] for row in found["encoders"]} == {"tiny-bert", "random:tiny-bert"}
    assert found["best"] == found["encoders"][0]["encoder"]
    assert found["failed"] == []
    rows = list(csv.DictReader(io.StringIO(run(*both(tiny_bert), "--format", "csv").stdout)))
    assert [row["encoder"] for row in rows] == [row["encoder"] for row in found["encoders"]]
    table = run(*both(tiny_bert))
    assert table.exit_code == 0, table.output
    assert "rival_" not in table.stdout
    assert "labels, 24 evaluation texts, ranked by LogME: " in table.stdout


def test_one_that_fails_costs_only_itself(run, tiny_bert):
    result = run("-e", str(tiny_bert), "-e", "bert-base-uncased", "--offline", "--format", "json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert len(found["encoders"]) == 1
    assert found["failed"][0]["encoder"] == "bert-base-uncased"
    assert "1 of 2 encoders failed" in result.stderr


def test_dry_run_computes_nothing(run, tiny_bert):
    result = run("-e", str(tiny_bert), "-e", "nowhere/at/all", "--n", "40", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "of work" in result.stdout
    assert "failed: nowhere/at/all" in result.stdout
