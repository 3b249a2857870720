import csv
import io
import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from charkit.cli.app import app

runner = CliRunner()


@pytest.fixture
def reviews(tmp_path):
    stars = [("ab"[i % 2] if i < 12 else None) for i in range(60)]
    texts = [f"the cat is {'very ' * (i % 30)}{i} good" for i in range(60)]
    path = tmp_path / "reviews.csv"
    pd.DataFrame({"body": texts, "stars": stars}).to_csv(path, index=False)
    return path


@pytest.fixture
def run(reviews, tiny_bert, tmp_path):
    def command(*arguments):
        given = ["next", reviews, "--text", "body", "-e", tiny_bert, *arguments]
        return runner.invoke(app, [*map(str, given), "--cache-dir", str(tmp_path / "cache")])

    return command


def test_texts_on_stdout_and_what_was_read_on_stderr(run):
    result = run("--label", "stars", "-n", 3)
    assert result.exit_code == 0, result.output
    assert "label these 3 of 48 texts next" in result.stdout
    assert "near a labelled one" in result.stdout
    assert "12 labelled texts, 2 classes" in result.stderr
    assert "still to label: 48 rows" in result.stderr
    assert "--out FILE.csv" in result.stderr
    assert "note:" not in result.stdout
    assert result.stderr.count("48 rows have no label") == 1
    assert max(map(len, result.stdout.splitlines()[:5])) < 120, "long texts are cut"


def test_json_has_the_texts_whole_and_the_adequacy(run):
    found = json.loads(run("--label", "stars", "-n", 4, "--format", "json").stdout)
    assert [row["rank"] for row in found["next"]] == [1, 2, 3, 4]
    assert all(row["text"].endswith("good") for row in found["next"])
    assert {"strategy", "layer", "n_pool", "adequacy", "notes"} <= set(found)
    assert 0 < found["adequacy"]["bound"] <= 1


def test_csv_is_the_table_alone(run):
    result = run("--label", "stars", "-n", 4, "--format", "csv", "--strategy", "random")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(rows) == 4
    assert list(rows[0]) == ["rank", "line", "text", "utility"]


def test_what_was_left_out_is_said_in_every_format(run, tmp_path):
    pool = tmp_path / "pool.csv"
    pool.write_text("body\nthe dog\nThe  Dog\nthe cat is 0 good\n")
    result = run("--label", "stars", "--pool", pool, "--strategy", "random", "--format", "csv")
    assert "1 texts of the pool are labelled already: left out" in result.stderr
    assert "1 texts of the pool repeat others: left out" in result.stderr
    assert len(result.stdout.splitlines()) == 2


def test_without_labels_and_into_a_file(run, tmp_path):
    out = tmp_path / "new" / "next.csv"
    result = run("--classes", 2, "-n", 5, "--out", out, "-q")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert "adequacy" not in result.stdout
    with out.open(encoding="utf-8", newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == [""] * 5


def test_formulas_are_said(run, tmp_path):
    pool = tmp_path / "pool.csv"
    pool.write_text("body\n=1+1\nthe dog\n")
    out = tmp_path / "next.csv"
    result = run("--label", "stars", "--pool", pool, "--out", out, "--strategy", "random")
    assert "1 of them begin as a formula does" in result.stderr
    assert "'=1+1" in out.read_text()
    assert "'=1+1" not in result.stdout
