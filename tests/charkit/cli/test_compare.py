"""charkit distances and charkit nearest, in-process, from files to numbers and pictures."""

from __future__ import annotations

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from charkit.cli.app import app

runner = CliRunner()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("compared")
    words = {"good": "bad", "cat": "dog", "one": "two", "reads": "runs"}
    for name, (one, other) in enumerate(words.items()):
        rows = [f"the {(one, other)[i % 2]} is very {i % 7},{'ab'[i % 2]}" for i in range(60)]
        (place / f"task{name}.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    (place / "bad.csv").write_text("text,label\n")
    return place


@pytest.fixture(scope="module")
def run(folder, tiny_bert):
    def call(*arguments):
        given = [str(folder / a) if "." in a and "/" not in a else a for a in arguments]
        places = ["-e", str(tiny_bert), "--cache-dir", str(folder / "cache"), "--n", "20"]
        return runner.invoke(app, [*given, *places])

    return call


FOUR = ("task0.csv", "task1.csv", "task2.csv", "task3.csv")


def test_json_has_names_and_matrix(run):
    result = run("distances", *FOUR, "--format", "json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["names"] == ["task0", "task1", "task2", "task3"]
    assert [len(row) for row in found["matrix"]] == [4] * 4
    assert [found["matrix"][k][k] for k in range(4)] == [0] * 4
    assert found["metric"] == "log_ratio"
    assert found["layers"] == [1, 2]
    assert sorted(found["order"]) == found["names"]
    assert {task["texts"] for task in found["tasks"]} == {20}


def test_csv_is_the_matrix_with_names(run):
    result = run("distances", *FOUR, "--format", "csv", "--metric", "jsd")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["name"] for row in rows] == list(rows[0])[1:]
    assert float(rows[0]["task1"]) == float(rows[1]["task0"]) > 0


def test_the_table_is_in_clustered_order_and_says_how(run):
    result = run("distances", *FOUR)
    lines = result.stdout.splitlines()
    names = lines[0].split()[1:]
    assert [line.split()[0] for line in lines[2:6]] == names
    assert "distance: log_ratio, centred by the mean of these 4 tasks" in result.stdout


def test_out_writes_all_files(run, folder):
    pytest.importorskip("matplotlib")
    result = run("distances", *FOUR, "--out", str(folder / "out"))
    assert result.exit_code == 0, result.output
    assert len(list((folder / "out").iterdir())) == 10
    assert "matrix.svg" in result.stderr


def test_one_bad_file_costs_only_itself(run):
    result = run("distances", *FOUR[:3], "bad.csv", "--format", "json")
    assert result.exit_code == 3
    found = json.loads(result.stdout)
    assert found["names"] == ["task0", "task1", "task2"]
    assert found["failures"][0]["source"].endswith("bad.csv")
    assert "1 of 4 tasks failed" in result.stderr


def test_generated_tasks_bring_their_own_columns(run):
    given = ["--text", "text", "--label", "label", "--metric", "cosine"]
    result = run("distances", "task0.csv", "generated/sentiment?n_train=40&n_eval=20", *given)
    assert result.exit_code == 0, result.output


def test_nearest_with_ones_own_library(run, folder, tiny_bert):
    from charkit.answers.similarity.collect import Sampling, gather
    from charkit.answers.similarity.library import LibraryEntry, write_library
    from charkit.store.store import Store

    found, _ = gather(
        [folder / name for name in FOUR],
        sampling=Sampling(n=20, encoder=str(tiny_bert)),
        store=Store(folder / "cache"),
    )
    entries = [LibraryEntry(g.name, g.corpus, 20, 0, g.embedding, "made up", 0.9) for g in found]
    path = write_library(folder / "own", entries).with_suffix("")
    result = run("nearest", "task1.csv", "--library", str(path), "--format", "json", "--k", "2")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["nearest"][0]["task"] == "task1"
    assert len(answer["nearest"]) == 2
    assert answer["same"] == ["task1"]
    assert answer["nearest"][0]["domain"] == "made up"
    table = run("nearest", "task1.csv", "--library", str(path))
    assert "the same task as task1" in table.stdout
