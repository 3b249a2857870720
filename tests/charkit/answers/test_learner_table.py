import json

import numpy as np
import pandas as pd
import pytest
from estimate_samples import NO_SIGNAL, evidence
from fake_learners import FakeLearners, FakePredicted
from fake_metamodel import FakeMetamodel

import charkit
from charkit.answers.accuracy import estimate as module
from charkit.answers.accuracy import question
from charkit.answers.accuracy.learner_table import shipped_learners
from charkit.answers.accuracy.shipped import Shipped
from charkit.answers.accuracy.warnings import Verdict
from charkit.errors import DataError, UsageError
from charkit.tasks import Split, Task
from metamodel.learners.compare import Elsewhere


def toy(n=100, n_eval=30):
    other = Split(tuple(f"other {i}" for i in range(n_eval)))
    part = Split(tuple(f"text {i}" for i in range(n)), None, [i % 2 for i in range(n)])
    return Task("toy", "classification", part, other, ("a", "b"))


class OnlyTuned(FakeLearners):
    names = ("probe", "tuned")
    ranges = {"tuned": (64, 512)}  # noqa: RUF012  # as in the class


@pytest.fixture
def ask(monkeypatch, tiny_bert, tmp_store):
    fingerprint = charkit.load_encoder(str(tiny_bert)).fingerprint

    def answer(task=None, *, found=None, known=None, doubt=None, **options):
        learners = FakeLearners((fingerprint,)) if known is None else known
        monkeypatch.setattr(module, "pilot_evidence", lambda *a, **k: found or evidence())
        shipped = Shipped(FakeMetamodel(), doubt, learners)
        monkeypatch.setattr(module, "shipped_models", lambda encoder: shipped)
        monkeypatch.setattr(question, "known_learners", lambda: FakeLearners.names)
        source = toy() if task is None else task
        return charkit.estimate(source, encoder=str(tiny_bert), store=tmp_store, **options)

    return answer


def test_one_table_with_a_column_a_learner_and_the_best_marked(ask):
    rows = ask().shown_rows()
    assert [row["labels"] for row in rows] == [100, 200, 400, 800, 3200]
    assert list(rows[0]) == ["labels", "linear head", "head on all layers", "fine-tuning"]
    stars = [[name for name, cell in row.items() if str(cell).endswith(" *")] for row in rows]
    assert stars[0] == ["head on all layers"]
    assert stars[2] == stars[3] == ["fine-tuning"]
    assert rows[4]["fine-tuning"] == "-"
    assert stars[4] == []


def test_the_sentence_is_in_the_summary_and_the_rest_in_the_details(ask):
    answer = ask(target=0.85)
    line = "Fine-tuning overtakes the linear head at about 300 labels (90 % interval 120 to 900)."
    assert line in answer.summary()
    assert line not in answer.details()
    assert len(answer.summary()) <= 6
    details = "\n".join(answer.details())
    assert (
        "A head on all layers should be better than the linear head already with your 100"
        in details
    )
    assert (
        "Fine-tuning is not expected to overtake the head on all layers within 800 labels"
        in details
    )
    assert "(chance 22 %)" in details
    assert "far from the 64 to 512 labels" in details
    assert "On the 30 evaluation texts, expect" in details


def test_the_plot_has_a_line_of_each(ask):
    pytest.importorskip("matplotlib")
    figure = ask().plot()
    (axes,) = figure.axes
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["head on all layers", "fine-tuning"]
    lines = {line.get_label(): line for line in axes.get_lines()}
    curve = ask().learners.curves["tuned"]
    assert lines["fine-tuning"].get_ydata().tolist() == curve["mean"].tolist()
    assert ask(learners="probe").plot().axes[0].get_legend() is None


def test_json_has_learners_and_crossings_and_the_old_keys(ask):
    said = ask().to_dict()
    assert [row["learner"] for row in said["learners"]] == ["probe", "concat", "tuned"]
    head, _, tuned = (row["accuracy"] for row in said["learners"])
    assert [row["n"] for row in head] == [100, 200, 400, 800, 3200]
    assert [row["n"] for row in tuned] == [100, 200, 400, 800]
    assert set(tuned[0]) == {"n", "mean", "low", "high"}
    assert head[0]["mean"] == said["accuracy"][0]["mean"]
    crossing = said["crossings"][1]
    assert {k: crossing[k] for k in ("a", "b", "n", "low", "high")} == {
        "a": "probe", "b": "tuned", "n": 300.0, "low": 120.0, "high": 900.0,
    }  # fmt: skip
    assert json.loads(json.dumps(said, allow_nan=False)) == said


def test_only_those_that_were_asked_for(ask):
    answer = ask(learners=" tuned, probe,")
    assert list(answer.learners.curves) == ["probe", "tuned"]
    assert len(answer.learners.crossings) == 1
    assert ask(learners=["probe"]).learners is None


def test_without_a_sure_gain_there_is_no_sentence_in_the_summary(ask, tiny_bert):
    known = FakeLearners((charkit.load_encoder(str(tiny_bert)).fingerprint,), doubt=1.0)
    answer = ask(known=known)
    assert not any("overtakes" in line for line in answer.summary())
    assert any("Fine-tuning overtakes the linear head" in line for line in answer.details())
    assert any(line.startswith("On the 30 evaluation texts") for line in answer.summary())


def test_zero_shot_predictions_are_a_column_with_break_even(ask, tmp_path):
    place = tmp_path / "llm.csv"
    place.write_text("prediction\n" + "\n".join("ab"[i % 2] if i % 5 else "a" for i in range(100)))
    answer = ask(zero_shot=place, target=0.85, cost=1, penalty=100)
    assert answer.shown_rows()[0]["zero-shot"].startswith("90 %")
    said = answer.to_dict()
    assert said["learners"][-1]["learner"] == "zero_shot"
    assert len({row["mean"] for row in said["learners"][-1]["accuracy"]}) == 1
    pairs = {(c["a"], c["b"]): c["n"] for c in said["crossings"]}
    assert pairs["zero_shot", "probe"] == said["zero_shot"]["labels"] == 200
    assert pairs["zero_shot", "tuned"] == 250
    assert len(answer.summary()) <= 6
    assert any(
        "Fine-tuning overtakes the zero-shot predictions at about 250" in s
        for s in answer.details()
    )


@pytest.mark.parametrize("costs", [{}, {"cost": 1, "penalty": 100}])
def test_six_lines_at_most_with_everything(ask, tmp_path, costs):
    place = tmp_path / "llm.csv"
    place.write_text("prediction\n" + "a\n" * 100)
    doubt = Verdict("other_encoder", "another", "warning")
    assert len(ask(zero_shot=place, target=0.85, doubt=doubt, **costs).summary()) == 6


def test_numbers_not_to_be_used_have_no_sentence(ask):
    answer = ask(found=evidence(signal=NO_SIGNAL), target=0.85)
    assert not any("overtakes" in line for line in answer.summary())
    assert len(answer.summary()) <= 6


def test_other_encoders_are_left_out_with_a_note(ask):
    answer = ask(known=FakeLearners(("other",)))
    assert answer.learners is None
    assert "measured with minilm, not with" in answer.notes[-1]
    assert answer.to_dict()["learners"] == []


def test_under_other_encoders_intervals_are_noted_to_be_wider(ask):
    figures = (
        {"known": True, "covered_wide": 0.5, "apart": 9, "right": 1.0},
        {"known": False, "covered_wide": 0.87, "apart": 10, "right": 0.6},
        {"known": False, "covered_wide": 0.9, "apart": 0, "right": None},
    )
    elsewhere = Elsewhere(("concat", "tuned"), ("other", "third"), 14, 64, 256, 1.5, figures)
    known = FakeLearners(("other",), elsewhere=elsewhere)
    answer = ask(known=known)
    assert list(answer.learners.curves) == ["probe", "concat", "tuned"]
    (line,) = [line for line in answer.notes if "ways of training" in line]
    assert "intervals are 50% wider" in line
    assert "at least 87% held under each of 2 encoders (from 64 to 256 labels, 14 corpora)" in line


def test_what_was_not_measured_under_other_encoders_is_noted(ask, monkeypatch):
    elsewhere = Elsewhere(
        ("tuned",), ("other",), 14, 64, 256, 1.5, ({"known": False, "covered_wide": 0.9},)
    )
    known = FakeLearners(("other",), elsewhere=elsewhere)
    monkeypatch.setattr(FakeLearners, "under_others", lambda self: OnlyTuned(("other",)))
    answer = ask(known=known)
    assert list(answer.learners.curves) == ["probe", "tuned"]
    assert "no number for head on all layers" in answer.notes[-1]
    answer = ask(known=known, learners="concat")
    assert answer.learners is None
    assert not any("measured with minilm" in line for line in answer.notes)


def test_under_other_encoders_no_learner_is_named_better_where_that_was_no_better_than_chance(ask):
    figures = ({"known": False, "covered_wide": 0.87, "apart": 10, "right": 0.6},)
    elsewhere = Elsewhere(("concat", "tuned"), ("other", "third"), 14, 64, 256, 1.0, figures)
    known = FakeLearners(("other",), elsewhere=elsewhere)
    assert any(row["fine-tuning"].endswith("*") for row in ask(known=known).shown_rows())
    known.names_better = False
    answer = ask(known=known)
    assert not any(
        cell.endswith("*") for row in answer.shown_rows() for cell in map(str, row.values())
    )
    assert sum("named on 6 of 10 tasks" in line for line in answer.details()) == 1
    assert answer.to_dict()["crossings"] == []


def test_a_learner_without_a_number_has_no_column(ask, tiny_bert, monkeypatch):
    known = FakeLearners((charkit.load_encoder(str(tiny_bert)).fingerprint,))
    whole = FakePredicted.curve
    monkeypatch.setattr(
        FakePredicted,
        "curve",
        lambda self, name: whole(self, name).head(0 if name == "concat" else 9),
    )
    answer = ask(known=known)
    assert not any("head on all layers" in row for row in answer.shown_rows())
    assert any("No number for head on all layers" in line for line in answer.details())


def test_texts_unlike_those_that_were_measured_have_no_star(ask, tiny_bert):
    known = FakeLearners((charkit.load_encoder(str(tiny_bert)).fingerprint,))
    assert any(row["fine-tuning"].endswith("*") for row in ask(known=known).shown_rows())
    known.tokens = {"concat": (2.0, 60.0), "tuned": (100.0, 300.0)}
    answer = ask(known=known)
    assert not any(row["fine-tuning"].endswith("*") for row in answer.shown_rows())
    assert any("texts have 100 to 300 tokens on average" in line for line in answer.details())
    assert not any("overtakes" in line for line in answer.summary())


def test_more_labels_than_were_measured_are_noted(ask, tiny_bert):
    known = FakeLearners((charkit.load_encoder(str(tiny_bert)).fingerprint,))
    known.ends = (32, 90)
    answer = ask(known=known)
    assert "with 64 to 512 labels: there are 100" in answer.notes[-1]


def test_without_labels_there_is_a_note(ask):
    texts = pd.DataFrame({"text": [f"text {i}" for i in range(40)]})
    answer = ask(texts, classes=2, found=evidence(0))
    assert "there are none" in answer.notes[-1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("probe,tunned", "unknown learner 'tunned': expected some of 'probe', 'concat', 'tuned'"),
        (["Probe"], "unknown learner 'Probe'"),
        ("", "no learner: expected one or more of 'probe', 'concat', 'tuned', got none"),
        ((), "no learner"),
        (" , ", "no learner"),
    ],
)
def test_learners_that_are_not_known_are_refused_before_any_work(ask, given, message):
    with pytest.raises(UsageError, match=message):
        ask("no/such/file.csv", learners=given)


def test_tasks_of_numbers_are_refused(ask):
    numbers = pd.DataFrame({"text": [f"t {i}" for i in range(40)], "label": np.linspace(0, 1, 40)})
    with pytest.raises(DataError, match="class"):
        ask(charkit.load_task(numbers, kind="regression"), learners="probe,tuned")


def test_a_damaged_file_is_a_sentence_and_no_file_is_none(monkeypatch, tmp_path):
    from metamodel.learners import files as learners

    place = tmp_path / "learners.json"
    monkeypatch.setattr(learners, "load_learners", lambda: learners.read_learners(place))
    assert shipped_learners() is None
    place.write_text("{}")
    with pytest.raises(DataError, match="make learners"):
        shipped_learners()


def test_the_names_of_others_are_their_own():
    from charkit.answers.accuracy.learner_table import people_learner

    assert people_learner("setfit") == "SetFit"
    assert people_learner("new") == "new"
