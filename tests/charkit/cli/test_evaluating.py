import csv
import io
import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from charkit.cli.app import app

runner = CliRunner()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(tiny_bert, tmp_path, cache):
    texts = [f"the {('cat', 'dog')[i % 2]} is {'very ' * (i % 9)}{i} good" for i in range(90)]
    old = {"body": texts[:40], "stars": ["ab"[i % 2] for i in range(40)]}
    pd.DataFrame(old).to_csv(tmp_path / "old.csv", index=False)
    pd.DataFrame({"body": texts[40:]}).to_csv(tmp_path / "new.csv", index=False)

    def command(*arguments):
        given = ["evaluate", tmp_path / "old.csv", "--pool", tmp_path / "new.csv"]
        named = ["--text", "body", "--label", "stars", "-e", tiny_bert, "--cache-dir", cache]
        return runner.invoke(app, [*map(str, [*given, *named, *arguments])])

    return command


def test_rows_then_labels_then_the_accuracy(run, tmp_path):
    out, page = tmp_path / "sub" / "test.csv", tmp_path / "page.html"
    first = run("--budget", 12, "--out", out, "--page", page)
    assert first.exit_code == 0, first.output
    assert "label these 12 of 50 texts" in first.stdout
    assert "12 drawn at random" in first.stdout
    assert f"wrote {out}" in first.stderr
    assert "still to label" not in first.stdout
    table = pd.read_csv(out)
    assert list(table.columns) == ["rank", "line", "body", "stars", "weight", "probability"]
    assert table["stars"].isna().all()
    table.assign(stars=["ab"["dog" in text] for text in table["body"]]).to_csv(out, index=False)
    second = run("--labels", out, "--page", page)
    assert second.exit_code == 0, second.output
    assert "90 % interval) on the 50 texts of the pool, from 12 test labels" in second.stdout
    assert "more test labels would halve it" in second.stdout
    html = page.read_text()
    assert "from 12 test labels" in html
    assert "<script src" not in html
    assert "http" not in html.replace("http-equiv", "")


def test_json_and_csv_have_the_rows_whole(run):
    found = json.loads(run("--budget", 10, "--format", "json").stdout)
    assert [row["rank"] for row in found["rows"]] == list(range(1, 11))
    assert found["accuracy"] is None
    assert found["outlook"]["n"] == 10
    assert 0 < found["expected_without_labels"] < 1
    rows = list(csv.DictReader(io.StringIO(run("--budget", 10, "--format", "csv").stdout)))
    assert len(rows) == 10
    assert all(row["text"].endswith("good") for row in rows)


def test_a_dry_run_computes_nothing_and_knows_what_is_stored(run, tmp_path, cache):
    shown = run("--dry-run", "--format", "json", "--cache-dir", tmp_path / "empty")
    stages = json.loads(shown.stdout)["stages"]
    assert [row["texts"] for row in stages] == [40, 50]
    assert not any(row["in_store"] for row in stages)
    assert not (tmp_path / "empty" / "states").exists()
    run("--budget", 10)
    again = json.loads(run("--dry-run", "--format", "json").stdout)["stages"]
    assert all(row["in_store"] for row in again)
    assert sum(row["seconds"] for row in again) == 0


def test_warnings_are_said(run, tmp_path):
    out = tmp_path / "test.csv"
    run("--budget", 10, "--out", out)
    pd.read_csv(out).assign(stars="a").to_csv(out, index=False)
    assert "warning: all 10 test labels are 'a'" in run("--labels", out).stderr


def test_labels_are_not_lost_by_the_first_command_once_more(run, tmp_path):
    out = tmp_path / "test.csv"
    run("--budget", 10, "--out", out)
    pd.read_csv(out).assign(stars="a").to_csv(out, index=False)
    again = run("--budget", 10, "--out", out)
    assert again.exit_code == 2
    assert "10 labels that would be lost" in again.stderr
    assert pd.read_csv(out)["stars"].notna().all()
