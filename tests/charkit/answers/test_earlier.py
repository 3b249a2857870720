import json

import numpy as np
import pytest
from estimate_samples import evidence
from fake_metamodel import FakeMetamodel

import charkit
from charkit.answers.accuracy import estimate as module
from charkit.answers.accuracy.earlier import ANSWER, MOST_ROUNDS, read_earlier
from charkit.answers.accuracy.shipped import Shipped
from charkit.errors import DataError, MissingError
from charkit.tasks import Split, Task
from charkit.tasks.task import Places


def toy(n, *, order=None, labels=None, texts=None, names=("a", "b"), unit="line"):
    texts = texts or [f"text {i}" for i in range(n)]
    labels = np.arange(n) % 2 if labels is None else np.asarray(labels)
    order = np.arange(n) if order is None else order
    places = Places(unit, tuple(range(2, n + 2)))
    train = Split(tuple(texts[i] for i in order), None, labels[order], places)
    return Task("toy", "classification", train, None, names)


@pytest.fixture
def ask(monkeypatch, tiny_bert, other_tiny_bert, tmp_store):
    def answer(task, *, top=0.9, other=False, **options):
        n = len(task.train)
        monkeypatch.setattr(module, "pilot_evidence", lambda *a, **k: evidence(n))
        shipped = Shipped(FakeMetamodel(top), None)
        monkeypatch.setattr(module, "shipped_models", lambda encoder: shipped)
        encoder = str(other_tiny_bert if other else tiny_bert)
        return charkit.estimate(task, encoder=encoder, store=tmp_store, **options)

    return answer


def mean(n, top=0.9):
    return top - 0.4 * (8 / n) ** 0.5


def test_a_grown_file_shows_what_was_predicted_and_what_came(ask, tmp_path):
    ask(toy(100), target=0.85).save(tmp_path)
    answer = ask(toy(200), target=0.85, top=0.92).compared_with(tmp_path)
    (kept,) = answer.to_dict()["earlier"]["rounds"]
    assert kept["n"] == 100
    assert kept["predicted"]["mean"] == pytest.approx(mean(200))
    assert kept["now"]["mean"] == pytest.approx(mean(200, 0.92))
    assert kept["found"] == "inside"
    assert answer.summary()[2] == (
        "With 100 labels, 82 % (77 to 87 %) was predicted for 200; now it is 84 % (79 to 89 %): "
        "inside the range."
    )
    assert len(answer.summary()) <= 6
    assert answer.to_dict()["earlier"]["reason"] is None


@pytest.mark.parametrize(("top", "found"), [(0.98, "above"), (0.82, "below"), (0.9, "inside")])
def test_the_outcome_is_named_after_the_range(ask, tmp_path, top, found):
    answer = ask(toy(200), top=top).compared_with(ask(toy(100)))
    assert answer.earlier.latest["found"] == found
    assert f": {found} the range." in answer.earlier.short


def test_labels_needed_and_chances_stand_side_by_side(ask):
    before = ask(toy(100), target=0.85)
    answer = ask(toy(200), target=0.85, top=0.96).compared_with(before)
    kept = answer.earlier.latest
    assert kept["labels_for_target"]["n"] == 512  # 8 (0.4 / 0.05)^2
    assert kept["needed_now"]["n"] == 106
    assert {row["n"]: (row["then"], row["now"]) for row in kept["chances"]} == {
        200: (0.25, 0.75), 400: (0.25, 0.75), 800: (0.75, 0.75), 1600: (0.75, 0.75),
        3200: (0.75, 0.75),
    }  # fmt: skip
    lines = answer.details()
    assert "Labels needed for 85 % accuracy: 510 (260 to 2,000) then, 110 (53 to 420) now" in lines
    chances = "Chance of 85 % accuracy: 25 % then, 75 % now with 200 labels; "
    assert any(line.startswith(chances) for line in lines)


def test_between_sizes_the_earlier_curve_is_read_in_the_logarithm(ask):
    answer = ask(toy(150)).compared_with(ask(toy(100)))
    share = np.log(150 / 141) / np.log(200 / 141)  # 100 sqrt(2), in whole labels
    expected = mean(141) + share * (mean(200) - mean(141))
    assert answer.earlier.latest["predicted"]["mean"] == pytest.approx(expected)


def test_rounds_are_kept_and_the_same_number_again_replaces_one(ask, tmp_path):
    for n in (50, 100, 100, 200):
        answer = ask(toy(n))
        if (tmp_path / ANSWER).exists():
            answer = answer.compared_with(tmp_path)
        answer.save(tmp_path)
    assert [r["n"] for r in answer.earlier.rounds] == [50, 100]
    assert "With 100 labels" in answer.summary()[1]
    assert any(line.startswith("With 50 labels, ") for line in answer.details())
    for n in range(210, 210 + 2 * MOST_ROUNDS, 2):
        answer = ask(toy(n)).compared_with(answer)
    assert len(answer.earlier.rounds) == MOST_ROUNDS


def test_the_same_file_again_is_no_round(ask, tmp_path):
    ask(toy(100)).save(tmp_path)
    answer = ask(toy(100), target=0.8).compared_with(tmp_path)
    assert answer.earlier is None
    assert answer.to_dict()["earlier"] is None


def test_rows_are_known_in_any_order_and_under_any_name(ask):
    order = np.random.default_rng(0).permutation(200)
    answer = ask(toy(200, order=order, unit="row")).compared_with(ask(toy(100)))
    assert answer.earlier.latest["n"] == 100


def test_changed_labels_are_named_by_the_lines_of_today(ask):
    labels = np.arange(200) % 2
    labels[[3, 7]] = 1 - labels[[3, 7]]
    answer = ask(toy(200, labels=labels)).compared_with(ask(toy(100)))
    assert answer.earlier.rounds == ()
    assert answer.earlier.short == (
        "Not compared with the earlier answer: 2 of its 100 rows have another label now "
        "(lines 5, 9)."
    )
    assert answer.earlier.short in answer.summary()


def test_changed_texts_are_named_by_the_lines_of_then(ask):
    texts = [f"text {i}" for i in range(200)]
    for i in range(10, 17):
        texts[i] += "!"
    answer = ask(toy(200, texts=texts)).compared_with(ask(toy(100)))
    assert answer.earlier.reason == (
        "7 of its 100 rows were changed, or are no longer labelled or there (lines 12, 13, 14, 15, "
        "16 and 2 more of the file as it was)"
    )


def test_other_texts_are_another_task(ask):
    texts = [f"another {i}" for i in range(200)]
    answer = ask(toy(200, texts=texts)).compared_with(ask(toy(100)))
    reason = "it was about other texts: none of its 100 labelled rows is here"
    assert answer.earlier.reason == reason


def test_a_renamed_class_is_named(ask):
    answer = ask(toy(200, names=("a", "c"))).compared_with(ask(toy(100)))
    assert answer.earlier.reason.startswith("no row is of 'b' any more; 50 of its 100 rows have")


def test_a_new_class_is_mentioned(ask):
    labels = np.arange(200) % 2
    labels[150:] = 2
    answer = ask(toy(200, labels=labels, names=("a", "b", "c"))).compared_with(ask(toy(100)))
    assert answer.earlier.latest["n_classes"] == 2
    line = "The earlier answer knew 2 classes, there are 3 now: it did not count on the new ones"
    assert line in answer.details()


def test_codes_of_classes_may_move(ask):
    grown = toy(200, labels=1 + np.arange(200) % 2, names=("0", "a", "b"))
    assert ask(grown).compared_with(ask(toy(100))).earlier.latest["n"] == 100


def test_another_encoder_is_kept_but_not_compared(ask):
    second = ask(toy(200), other=True).compared_with(ask(toy(100)))
    assert second.earlier.short == (
        "Not compared with the earlier answer: the answer with 100 labels was of encoder tiny-bert."
    )
    third = ask(toy(400)).compared_with(second)
    assert [(r["n"], r["found"]) for r in third.earlier.rounds] == [(100, "inside"), (200, None)]
    assert "With 100 labels" in third.earlier.short
    assert any("was of encoder other-bert" in line for line in third.details())


def test_another_target_compares_accuracies_only(ask):
    answer = ask(toy(200), target=0.8).compared_with(ask(toy(100), target=0.85))
    assert answer.earlier.latest["found"] == "inside"
    assert answer.earlier.latest["chances"] == []
    line = "The earlier target was 85 % accuracy: labels needed are not compared"
    assert line in answer.details()


def test_another_metric_is_not_compared(ask):
    before = ask(toy(100)).to_dict() | {"metric": "macro_f1"}
    answer = ask(toy(200)).compared_with(before)
    assert answer.earlier.reason == "it predicted macro_f1, this one accuracy"


def test_what_was_not_to_be_used_or_speaks_of_fewer_labels_is_not_compared(ask):
    before = ask(toy(100)).to_dict()
    answer = ask(toy(200)).compared_with(before | {"trustworthy": False})
    assert "the answer with 100 labels was not to be used" in answer.earlier.short
    short = [row for row in before["curve"] if row["n"] < 150]
    answer = ask(toy(200)).compared_with(before | {"curve": short})
    assert "spoke of 100 to 141 labels only" in answer.earlier.short


def test_answers_of_older_versions_kept_no_rows(ask):
    before = ask(toy(100)).to_dict()
    del before["labelled_rows"]
    answer = ask(toy(200)).compared_with(before)
    assert answer.earlier.reason == "it is of an older version, which kept no rows"


def test_a_row_of_two_labels_counts_with_each(ask):
    texts = [f"text {i}" for i in range(200)]
    texts[1] = texts[0]  # the same text, labelled a and b
    before = ask(toy(100, texts=texts[:100]))
    assert ask(toy(200, texts=texts)).compared_with(before).earlier.latest["n"] == 100


def test_missing_files_are_named(tmp_path):
    with pytest.raises(MissingError, match="no earlier answer: expected the folder"):
        read_earlier(tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda said: said.replace('"n": 100', '"n": 101'),  # another number, the same seal
        lambda said: said[: len(said) // 2],
        lambda said: json.dumps({"answer": 42}),
        lambda said: "[1, 2]",
        lambda said: json.dumps(json.loads(said) | {"curve": [{"layer": 1}], "sha256": None}),
        lambda said: json.dumps(
            json.loads(said) | {"labelled_rows": {"rows": "x"}, "sha256": None}
        ),
        lambda said: json.dumps(
            json.loads(said) | {"earlier": {"rounds": [{"n": 3}]}, "sha256": None}
        ),
    ],
)
def test_damaged_and_foreign_answers_are_refused(ask, tmp_path, spoil):
    ask(toy(100), target=0.85).save(tmp_path)
    file = tmp_path / ANSWER
    file.write_text(spoil(file.read_text()))
    with pytest.raises(DataError, match=f"{ANSWER} .*[Cc]hoose another folder, or remove the file"):
        read_earlier(tmp_path)


def test_the_page_shows_earlier_predictions(ask):
    from charkit.report.pages.answer import BEFORE, page_html

    answer = ask(toy(200)).compared_with(ask(toy(100)).compared_with(ask(toy(50))))
    page = page_html(answer.to_dict())
    assert "Earlier predictions" in page
    assert "predicted with 100 labels" in page
    assert page.count(f'class="{BEFORE}"') == 3  # two drawings and the legend
    assert "Earlier predictions" not in page_html(ask(toy(200)).to_dict())
