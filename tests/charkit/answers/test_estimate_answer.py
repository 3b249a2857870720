import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from estimate_samples import NO_SIGNAL, SIGNAL, evidence
from fake_metamodel import FakeMetamodel

import charkit
from charkit.answers.accuracy import estimate as module
from charkit.answers.accuracy.shipped import Shipped
from charkit.tasks import Split, Task

PROMISED = {"accuracy", "labels_for_target", "layer", "eval_accuracy", "verdicts"}


def toy(n=100, n_eval=30):
    texts = tuple(f"text {i}" for i in range(n))
    other = Split(tuple(f"other {i}" for i in range(n_eval))) if n_eval else None
    part = Split(texts, None, [i % 2 for i in range(n)])
    return Task("toy", "classification", part, other, ("a", "b"))


@pytest.fixture
def ask(monkeypatch, tiny_bert, tmp_store):
    def answer(task=None, *, found=None, model=None, known=None, **options):
        monkeypatch.setattr(module, "pilot_evidence", lambda *a, **k: found or evidence())
        shipped = Shipped(model or FakeMetamodel(), None, known)
        monkeypatch.setattr(module, "shipped_models", lambda encoder: shipped)
        return charkit.estimate(
            toy() if task is None else task,
            encoder=str(tiny_bert),
            store=tmp_store,
            **options,
        )

    return answer


def test_sizes_are_multiples_of_the_labels_at_hand(ask):
    answer = ask(target=0.85)
    assert [row["n"] for row in answer.rows()] == [100, 200, 400, 800, 3200]
    assert answer.rows()[0]["mean"] == pytest.approx(0.9 - 0.4 * (8 / 100) ** 0.5)
    assert answer.layer == 1
    assert answer.trustworthy


def test_json_has_what_is_promised_and_nothing_that_json_lacks(ask):
    said = ask(target=0.85, cost=1, penalty=1000, rounds=2).to_dict()
    assert set(said) >= PROMISED
    assert set(said["labels_for_target"]) >= {"target", "n", "low", "high", "reached"}
    n = said["n"]
    assert [row["n"] for row in said["budgets"]] == [k * n for k in (1, 2, 4, 8, 16, 32)]
    assert all(0 <= row["probability"] <= 1 for row in said["budgets"])
    assert any(line.startswith("Chance of ") for line in said["sentences"])
    assert said["labels_for_target"]["n"] == 512
    assert set(said["eval_accuracy"]) == {"mean", "low", "high"}
    assert said["plan"]["totals"]
    text = json.dumps(said, allow_nan=False)
    assert json.loads(text) == said


def test_a_target_out_of_reach_is_told_with_null(ask):
    answer = ask(target=0.95)
    said = answer.to_dict()["labels_for_target"]
    assert said["n"] is None
    assert not said["reached"]
    assert "95 % accuracy is unlikely: even with 3,200 labels the chance is" in answer.lines()[0]
    assert [v.code for v in answer.verdicts] == ["plateau_below_target"]


def test_a_target_reached_with_what_there_is_says_so(ask):
    assert "Your 100 labels should reach 70 % accuracy" in ask(target=0.7).lines()[0]


def test_without_a_target_the_curve_is_the_answer(ask):
    answer = ask()
    assert answer.to_dict()["labels_for_target"] is None
    assert answer.lines()[0].startswith("With your 100 labels, expect 79 % accuracy")


def test_without_unlabelled_texts_there_is_no_evaluation_accuracy(ask):
    answer = ask(toy(n_eval=0))
    assert answer.to_dict()["eval_accuracy"] is None
    assert answer.worth is None


def test_the_evaluation_accuracy_is_worth_as_many_rows_as_have_its_error(ask):
    # 0.8 +- 0.05 at 90 %: a standard error of 0.0304, that of 0.8 * 0.2 / 0.0304^2 = 173 rows
    assert ask().worth == pytest.approx(0.16 / (0.05 / 1.6449) ** 2, rel=1e-3)


def test_ties_and_what_moved_it_are_shown(ask):
    lines = ask().lines()
    assert "Use layer 1 of tiny-bert; layer 2 is as good." in lines
    assert lines[-1].endswith("oof_accuracy 0.815 (-4.0); n_classes 2 (+0.5)")


def test_no_signal_makes_the_answer_untrustworthy(ask):
    answer = ask(found=evidence(signal=NO_SIGNAL), target=0.85)
    assert not answer.trustworthy
    assert answer.to_dict()["verdicts"][0]["code"] == "no_signal"
    assert answer.lines()[0] == "Do not use these numbers: the labels show no signal."


def test_the_largest_sizes_of_a_cut_sample_are_left_out(ask):
    answer = ask(toy(n=70_000, n_eval=0), found=evidence(2048))
    assert answer.sizes == (70_000,)
    assert any("2,048" in note for note in answer.notes)


def test_without_labels_sizes_begin_at_64(ask):
    answer = ask(toy(), classes=2, found=evidence(0, signal=None, own=None), target=0.85)
    assert answer.sizes[0] == 64
    assert answer.mode == "none"
    assert answer.to_dict()["eval_accuracy"] is None
    assert answer.lines()[1].startswith("With 64 labels")
    assert any("toy: no labels" in line for line in answer.details())


def test_a_target_below_the_majority_is_answered_with_a_warning(ask):
    answer = ask(target=0.5)
    assert answer.trustworthy
    assert answer.need.target == 0.5
    assert "target_below_majority" in [v.code for v in answer.verdicts]
    none = ask(classes=4, target=0.2, found=evidence(0, signal=None, own=None))
    assert any("one class in 4" in v.sentence for v in none.verdicts)


def test_an_imbalanced_sample_is_shown_in_other_metrics_too(ask):
    task = toy(n=100)
    labels = (np.arange(100) % 10 == 0).astype(int)
    rare = replace(task, train=Split(task.train.texts, None, labels))
    left_out = pd.DataFrame(
        {
            "layer": 1,
            "row": range(100),
            "counted": True,
            "predicted": labels * (np.arange(100) < 50),
            "confidence": 0.9,
        }
    )
    found = evidence(oof_accuracy=0.95, oof_macro_f1=0.82, oof_balanced_accuracy=0.75)
    answer = ask(rare, found=replace(found, left_out=left_out))
    assert "Class 'b' is found in 5" in " ".join(answer.summary())
    assert any(line.startswith("Macro-F1: 82 %") for line in answer.details())
    said = answer.to_dict()
    assert said["left_out"] == {"accuracy": 0.95, "macro_f1": 0.82, "balanced_accuracy": 0.75}
    assert [row["n"] for row in said["macro_f1"]] == [100, 200, 400, 800, 3200]
    assert said["classes"][0]["class"] == "b"
    even = ask(found=found)
    assert even.to_dict()["classes"] is None
    assert not any("Macro-F1" in sentence for sentence in even.lines())


def test_it_shows_itself(ask, tmp_path):
    pytest.importorskip("matplotlib")
    answer = ask(target=0.85)
    assert repr(answer) == "\n".join(answer.lines())
    assert "<table" in answer._repr_html_()
    columns = ["n", "mean", "low", "high", "wide_low", "wide_high"]
    assert list(answer.to_pandas().columns) == columns
    names = {file.name for file in answer.save(tmp_path / "out")}
    assert names == {"answer.json", "curve.csv", "curve.png", "curve.svg", "report.html"}
    written = json.loads((tmp_path / "out" / "answer.json").read_text())
    assert written["sentences"] == answer.lines()
    table = pd.read_csv(tmp_path / "out" / "curve.csv")
    assert set(table["layer"]) == {0, 1, 2}
    assert set(answer.sizes) <= set(table["n"])


@pytest.mark.parametrize("target", [0.85, 0.95, None])
def test_it_can_be_drawn(ask, target):
    pytest.importorskip("matplotlib")
    figure = ask(target=target).plot()
    assert list(figure.numbers.columns) == ["n", "mean", "low", "high"]


def test_adequacy_and_what_to_label_next_belong_to_the_answer(ask, tmp_path):
    path = tmp_path / "some.csv"
    rows = [f"text {i},{'ab'[i % 2] if i < 80 else ''}" for i in range(120)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    answer = ask(str(path), found=evidence(80))
    said = answer.to_dict()
    assert 0 < said["adequacy"]["bound"] <= 1
    assert said["adequacy"]["n_unlabelled"] == said["next"]["n_pool"] == 40
    assert said["adequacy"]["sentence"] in answer.lines()
    assert said["next"]["sentence"] in answer.lines()
    assert json.loads(json.dumps(said, allow_nan=False)) == said


def test_the_summary_is_at_most_six_short_lines(ask, tmp_path):
    path = tmp_path / "some.csv"
    rows = [f"text {i},{'ab'[i % 2] if i < 80 else ''}" for i in range(120)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    for target, cost in ((None, None), (0.85, None), (0.95, None), (0.85, 1)):
        for signal in (SIGNAL, NO_SIGNAL):
            bought = {} if cost is None else {"cost": cost, "penalty": 1000, "rounds": 3}
            answer = ask(str(path), found=evidence(80, signal=signal), target=target, **bought)
            summary = answer.summary()
            assert len(summary) <= 6
            assert max(map(len, summary)) <= 100, summary
            assert all(line.endswith(".") for line in summary)
            assert answer.lines() == [*summary, *answer.details()]
            assert (summary[0].startswith("Do not use these numbers")) == (not answer.trustworthy)


def test_warnings_are_named_in_the_last_line_of_the_summary(ask):
    answer = ask(target=0.95)
    assert answer.summary()[-1] == "1 warning, see below: plateau_below_target."
    assert any(line.startswith("plateau_below_target: ") for line in answer.details())


def test_without_unlabelled_texts_charkit_next_is_pointed_to(ask):
    answer = ask(toy(n_eval=0))
    assert (answer.to_dict()["adequacy"], answer.to_dict()["next"]) == (None, None)
    assert any("charkit next" in line for line in answer.lines())
