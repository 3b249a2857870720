"""Predictions that needed no label: reading them, their accuracy, and what overtakes them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from charkit.answers.accuracy.zero_shot import compare_zero_shot, read_predictions
from charkit.errors import DataError, MissingError

TEXTS = ("good film", "bad film", "fine film")
CLASSES = ("neg", "pos")


def read(tmp_path, content, *, classes=CLASSES, text="text", name="llm.csv"):
    place = tmp_path / name
    place.write_text(content, encoding="utf-8")
    return read_predictions(place, class_names=classes, texts=TEXTS, text=text).tolist()


@pytest.mark.parametrize(
    "content",
    [
        "prediction\npos\nneg\npos\n",
        "anything\n pos \nneg\npos\n",
        "text,Predicted Label,other\ngood film,pos,1\nbad film,neg,2\nfine film,pos,3\n",
        "label,zero_shot\nneg,pos\nneg,neg\npos,pos\n",
    ],
)
def test_predictions_are_read_in_the_order_of_the_rows(tmp_path, content):
    assert read(tmp_path, content) == [1, 0, 1]


def test_numbers_are_classes_whatever_their_spelling(tmp_path):
    content = "prediction\n2.0\n1\n02\n"
    assert read(tmp_path, content, classes=("1", "2")) == [1, 0, 1]


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ("prediction\npos\nneg\n", "expected 3 predictions, one for each labelled row"),
        ("prediction\npos\nneg\npos\nneg\n", "got 4"),
        ("prediction,x\npos,1\n,2\npos,3\n", "line 3: column 'prediction' has no prediction"),
        ("prediction\npos\nneutral\npos\n", "line 3: column 'prediction' is not a class"),
        ("text,a,b\ngood film,pos,1\nbad film,neg,2\nfine film,pos,3\n", "no column of pred"),
        (
            "text,prediction\nbad film,neg\ngood film,pos\nfine film,pos\n",
            "line 2: the text is not that of the labelled row",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(tmp_path, content, fragment):
    with pytest.raises(DataError, match=fragment):
        read(tmp_path, content)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MissingError):
        read_predictions(tmp_path / "no.csv", class_names=CLASSES, texts=TEXTS)


def labels_for(target):
    """Accuracy 1 - 1 / n, exactly known; never above 0.99."""
    n = 1 / (1 - target) if target <= 0.99 else math.inf
    return np.full(50, n)


@pytest.mark.parametrize(("n_right", "n"), [(0, 20), (90, 100), (37, 50), (20, 20)])
def test_the_interval_is_jeffreys(n_right, n):
    found = compare_zero_shot(n_right, n, labels_for, largest=1000)
    low, high = stats.beta(n_right + 0.5, n - n_right + 0.5).ppf([0.05, 0.95])
    assert found.low == pytest.approx(0.0 if n_right == 0 else low)
    assert found.high == pytest.approx(1.0 if n_right == n else high)
    assert found.accuracy == n_right / n


def test_the_number_of_labels_has_the_uncertainty_of_the_accuracy():
    found = compare_zero_shot(900, 1000, labels_for, largest=1000)
    assert found.labels == 10 or found.labels == 11
    quantiles = 1 / (1 - stats.beta(900.5, 100.5).ppf([0.05, 0.95]))
    assert found.labels_low == pytest.approx(quantiles[0], abs=1)
    assert found.labels_high == pytest.approx(quantiles[1], abs=1)
    assert found.probability == 1
    fewer = compare_zero_shot(90, 100, labels_for, largest=1000)
    assert fewer.labels_low < found.labels_low
    assert fewer.labels_high > found.labels_high


def test_what_no_number_of_labels_reaches_is_none():
    found = compare_zero_shot(2000, 2000, labels_for, largest=1000)
    assert (found.labels, found.labels_low, found.labels_high) == (None, None, None)
    assert found.probability == 0
    assert "only a chance of 0 %" in found.sentence(64)


def test_sentences_name_the_number_and_the_range():
    found = compare_zero_shot(900, 1000, labels_for, largest=1000)
    assert "overtakes them at about 1" in found.sentence(5)
    assert "trained on your 64 labels should be as good" in found.sentence(64)
