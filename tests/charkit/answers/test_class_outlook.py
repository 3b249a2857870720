import numpy as np
import pytest

from charkit.answers.pilot.classes import (
    FEWEST,
    SHOWN,
    LeftOutRows,
    class_outlook,
    contradictions,
    label_quality,
    left_out_of_layer,
    left_out_table,
)
from charkit.heads.sample.out_of_fold import fit_sample_heads
from charkit.tasks import Split
from charkit.tasks.task import Places

SIZES = [
    {"n": 100, "mean": 0.85, "low": 0.8, "high": 0.9},
    {"n": 800, "mean": 0.92, "low": 0.86, "high": 0.96},
]


def left_out(counts, missed):
    """Labels of which the first few of each class are taken for the next class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    place = np.concatenate([np.arange(n) for n in counts])
    wrong = place < np.array(missed)[labels]
    predicted = np.where(wrong, (labels + 1) % len(counts), labels)
    odds = np.random.default_rng(0).permutation(np.linspace(0.5, 9, len(labels)))
    return LeftOutRows(np.arange(len(labels)), labels, predicted, 1 / (1 + np.exp(-odds)))


def test_a_missed_class_has_a_line_and_grows_with_the_accuracy():
    found = class_outlook(left_out([80, 20], [0, 12]), ["ham", "spam"], SIZES, matters=False)
    assert found.missed.name == "spam"
    assert found.short.startswith("Class 'spam' is found in 4")
    rows = found.rows()
    assert [(row["class"], row["labels"]) for row in rows] == [("spam", 20), ("ham", 80)]
    now, later = rows[0]["recall"]
    assert (now["n"], later["n"]) == (100, 800)
    assert now["mean"] < later["mean"]
    assert later["high"] - later["low"] > 0.2
    balanced = found.balanced_rows()
    assert balanced[0]["mean"] == pytest.approx((1 + 0.4) / 2)
    assert found.lines()[0].startswith("Balanced accuracy (mean recall of the classes): 70 %")


def test_even_classes_need_no_line_unless_one_has_most_labels():
    own = left_out([50, 50], [5, 5])
    quiet = class_outlook(own, ["a", "b"], SIZES, matters=False)
    assert (quiet.short, quiet.lines(), quiet.missed) == (None, [], None)
    assert "balanced accuracy 90 %" in class_outlook(own, ["a", "b"], SIZES, matters=True).short


def test_classes_without_a_label_have_no_row_and_few_are_shown():
    own = left_out([4] * 15, [1] * 15)
    found = class_outlook(own, [f"c{i}" for i in range(16)], SIZES[:1], matters=True)
    assert len(found.rows()) == 15
    assert len(found.shown_rows()) == SHOWN
    assert found.lines()[0].endswith("with 100 labels.")
    nothing = LeftOutRows(*(np.zeros(0, int),) * 3, np.zeros(0))
    assert class_outlook(nothing, ["a", "b"], SIZES, matters=True) is None


def split(texts, labels, numbers=None):
    places = None if numbers is None else Places("line", tuple(numbers))
    return Split(tuple(texts), None, np.array(labels), places)


def test_doubtful_labels_are_named_by_their_lines():
    n = 4 * FEWEST
    own = left_out([n // 2, n // 2], [n // 16, n // 16])
    labelled = split((f"text {i}" for i in range(n)), own.labels, range(2, n + 2))
    found = label_quality(labelled, own)
    assert found.wrong.low > 0.05
    wrong = np.flatnonzero(own.predicted != own.labels)
    first = wrong[np.argsort(-own.confidence[wrong])][:5] + 2
    assert found.doubtful == tuple(first)
    assert found.short.startswith("About 1")
    assert found.short.endswith(f"check lines {', '.join(map(str, first))} first.")
    few = left_out([FEWEST // 4, FEWEST // 4], [2, 2])
    assert label_quality(split("ab" * (FEWEST // 4), few.labels), few).wrong is None
    right = left_out([n // 2, n // 2], [0, 0])
    assert label_quality(labelled, right).short is None


def test_contradictions_differ_in_nothing_but_case_and_spaces():
    labelled = split(
        ["Good film.", "bad", "good  film", "bad?", "bad"], [1, 0, 0, 1, 0], [2, 3, 5, 6, 7]
    )
    assert contradictions(labelled) == [[0, 2]]
    found = label_quality(labelled, left_out([3, 2], [0, 0]))
    assert found.contradicting == ((2, 5),)
    assert "lines 2, 5" in found.lines()[0]
    assert found.to_dict()["wrong"] is None


def test_the_table_holds_what_the_heads_predict():
    import torch

    rng = np.random.default_rng(0)
    labels = np.array([0, 1] * 10 + [2])
    states = rng.standard_normal((2, 21, 4)).astype(np.float32)
    heads = fit_sample_heads(torch.from_numpy(states), torch.from_numpy(labels), 3)
    own = left_out_of_layer(left_out_table(heads), labels, 1)
    assert own.rows.tolist() == list(range(20)), "the only row of its class is not counted"
    np.testing.assert_array_equal(own.predicted, heads.left_out[1, :20].argmax(1))
    np.testing.assert_allclose(own.confidence, heads.left_out[1, :20].max(1))
