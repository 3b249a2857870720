import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from charkit.answers.accuracy import estimate as module
from charkit.answers.accuracy.shipped import Shipped
from charkit.answers.accuracy.warnings import Verdict
from charkit.cli.app import app

runner = CliRunner()


def beside(name):
    place = Path(__file__).parents[1] / "answers" / f"{name}.py"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, place)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


samples, fake = beside("estimate_samples"), beside("fake_metamodel")


@pytest.fixture
def reviews(tmp_path):
    stars = [None if i % 4 == 3 else "ab"[i % 3 % 2] for i in range(120)]
    path = tmp_path / "reviews.csv"
    pd.DataFrame({"body": [f"the cat is {i}" for i in range(120)], "stars": stars}).to_csv(
        path, index=False
    )
    return str(path)


@pytest.fixture
def run(monkeypatch, reviews, tiny_bert, tmp_path):
    def command(*arguments, found=None, doubt=None):
        monkeypatch.setattr(module, "pilot_evidence", lambda *a, **k: found or samples.evidence(90))
        shipped = Shipped(fake.FakeMetamodel(), doubt)
        monkeypatch.setattr(module, "shipped_models", lambda encoder: shipped)
        given = ["estimate", reviews, "--text", "body", "--label", "stars", "-e", str(tiny_bert)]
        return runner.invoke(
            app, [*given, *map(str, arguments), "--cache-dir", str(tmp_path / "cache")]
        )

    return command


def test_the_answer_is_on_stdout_and_what_was_read_on_stderr(run):
    result = run("--target", 0.85)
    assert result.exit_code == 0, result.output
    assert "About 510 labels should reach 85 % accuracy" in result.stdout
    assert "On the 30 unlabelled rows, expect" in result.stdout
    assert "90 labelled texts, 2 classes" in result.stderr
    assert "30 rows have no label" in result.stderr


def test_json_alone_on_stdout(run):
    result = run("--target", 0.85, "--format", "json", "-q")
    said = json.loads(result.stdout)
    assert [row["n"] for row in said["accuracy"]] == [90, 180, 360, 720, 2880]
    assert set(said["accuracy"][0]) == {"n", "mean", "low", "high", "wide_low", "wide_high"}
    assert said["labels_for_target"]["reached"] is True
    assert said["verdicts"] == []
    assert result.stderr == ""


def test_csv_is_the_rows(run):
    lines = run("--format", "csv").stdout.splitlines()
    assert lines[0] == "n,mean,low,high,wide_low,wide_high"
    assert len(lines) == 6


def test_an_answer_not_to_be_trusted_is_shown_and_ends_with_5(run):
    result = run("--target", 0.85, found=samples.evidence(90, signal=samples.NO_SIGNAL))
    assert result.exit_code == 5
    assert result.stdout.startswith("Do not use these numbers: the labels show no signal.\n")
    assert "do not use these numbers: no signal above the controls" in result.stderr
    said = json.loads(
        run("--format", "json", doubt=Verdict("other_encoder", "x", "refusal")).stdout
    )
    assert said["verdicts"][0]["code"] == "other_encoder"
    assert said["trustworthy"] is False


def test_texts_of_another_language_end_with_5(run):
    figures = samples.TextFigures(0.97, 0.0)
    result = run(found=samples.evidence(90, other=figures))
    assert result.exit_code == 5
    assert "another" not in result.stdout
    assert "in a language or script that tiny-bert hardly knows" in result.stderr


def test_out_writes_the_answer(run, tmp_path):
    result = run("--target", 0.85, "--out", tmp_path / "answer")
    assert result.exit_code == 0, result.output
    assert "answer.json" in result.stderr
    assert "0.85" in (tmp_path / "answer" / "report.html").read_text()


def test_a_grown_file_is_compared_with_the_answer_in_the_folder(run, reviews, tmp_path):
    out = tmp_path / "answer"
    assert "was predicted" not in run("--out", out).stdout
    table = pd.read_csv(reviews)
    table.assign(stars=table["stars"].fillna("b")).to_csv(reviews, index=False)
    grown = {"found": samples.evidence(120)}
    result = run("--out", tmp_path / "new", "--earlier", out, **grown)
    line = "With 90 labels, 80 % (75 to 85 %) was predicted for 120; now it is 80 % (75 to 85 %)"
    assert line in result.stdout
    assert line in run("--out", out, **grown).stdout  # the folder of --out needs no option
    rounds = json.loads((out / "answer.json").read_text())["earlier"]["rounds"]
    assert [r["n"] for r in rounds] == [90]
    table.assign(stars=table["stars"].fillna("b").replace("b", "c")).to_csv(reviews, index=False)
    changed = run("--out", out, **grown)
    assert changed.exit_code == 0
    assert "Not compared with the earlier answer: no row is of 'b' any more" in changed.stdout


def test_zero_shot_predictions_stand_next_to_the_heads(run, reviews, tmp_path):
    labelled = pd.read_csv(reviews).dropna()
    labelled["stars"] = labelled["stars"].where(labelled.index % 5 > 0, "b")
    file = tmp_path / "llm.csv"
    labelled.rename(columns={"stars": "prediction"}).to_csv(file, index=False)
    result = run("--zero-shot", file, "--format", "json", "--out", tmp_path / "answer")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["zero_shot"]
    right = (labelled["stars"] == pd.read_csv(reviews).dropna()["stars"]).mean()
    assert found["accuracy"] == pytest.approx(right)
    assert found["low"] < right < found["high"]
    assert (found["labels"], found["labels_high"], found["probability"]) == (200, None, 0.75)
    assert "Zero-shot predictions reach" in run("--zero-shot", file).stdout
    page = (tmp_path / "answer" / "report.html").read_text()
    assert 'class="level"' in page


def test_zero_shot_predictions_of_other_rows_are_refused(run, tmp_path):
    file = tmp_path / "llm.csv"
    pd.DataFrame({"prediction": ["a"] * 89}).to_csv(file, index=False)
    result = run("--zero-shot", file)
    assert result.exit_code == 3
    assert "expected 90 predictions, one for each labelled row" in result.stderr
    result = run("--zero-shot", tmp_path / "no.csv")
    assert result.exit_code == 4


def test_a_plan_of_buying_is_shown(run):
    result = run("--target", 0.85, "--cost", 1, "--penalty", 10_000, "--rounds", 2)
    assert "Buy labels until you have 100; if that is not enough, 300" in result.stdout


def test_a_second_run_imports_nothing_heavy(reviews, tiny_bert, tmp_path):
    place = {"env": {**os.environ, "CHARKIT_CACHE": str(tmp_path / "cache")}}
    named = ["--text", "body", "--label", "stars", "-e", str(tiny_bert), "--device", "cpu"]
    given = ["estimate", reviews, *named, "--dtype", "float32", "--format", "json", "-q"]
    code = (
        "import json, sys; from charkit.cli.app import app; end = None\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as error: end = error.code\n"
        "heavy = {'torch', 'transformers', 'sklearn', 'scipy', 'lightgbm', 'skactiveml'}\n"
        "print(json.dumps([end, sorted(heavy & set(sys.modules))]), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *given]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, check=True, **place)
        for _ in range(2)
    )
    end, loaded = json.loads(first.stderr.splitlines()[-1])
    assert end in {0, 5}
    assert "torch" in loaded
    assert json.loads(second.stderr.splitlines()[-1]) == [end, []]
    assert second.stdout == first.stdout
