import numpy as np
import pytest

from charkit.errors import DataError, UsageError
from charkit.heads.metrics.label_free import equivalent_rows, label_free_accuracy


def calibrated(n, rng, low=0.5):
    """Return binary probabilities and labels drawn from them."""
    top = rng.uniform(low, 1, n)
    p = np.stack([top, 1 - top], 1)
    return p, (rng.random(n) >= top).astype(int)


def test_all_are_right_where_the_head_is_calibrated_and_nothing_shifts():
    rng = np.random.default_rng(0)
    p, labels = calibrated(20000, rng)
    q, truth = calibrated(20000, rng)
    found = label_free_accuracy(p, labels, q)
    accuracy = (q.argmax(1) == truth).mean()
    for value in vars(found).values():
        assert value == pytest.approx(accuracy, abs=0.015)


def test_average_confidence_follows_a_calibrated_shift_and_is_misled_by_an_overconfident_head():
    rng = np.random.default_rng(1)
    p, labels = calibrated(20000, rng)
    q, truth = calibrated(20000, rng, low=0.8)
    found = label_free_accuracy(p, labels, q)
    accuracy = (q.argmax(1) == truth).mean()
    assert found.average_confidence == pytest.approx(accuracy, abs=0.01)
    assert found.doc == pytest.approx(accuracy, abs=0.015)

    def sharp(x):
        return x**4 / (x**4).sum(1, keepdims=True)

    over = label_free_accuracy(sharp(p), labels, sharp(q))
    assert over.average_confidence > accuracy + 0.03
    # a threshold is blind to monotone distortion
    assert over.atc_confidence == pytest.approx(found.atc_confidence, abs=1e-12)


def test_two_classes_make_both_thresholds_agree():
    rng = np.random.default_rng(2)
    p, labels = calibrated(501, rng)
    q, _ = calibrated(300, rng)
    found = label_free_accuracy(p, labels, q)
    assert found.atc_confidence == pytest.approx(found.atc_entropy, abs=1e-12)


@pytest.mark.parametrize("n_right", [0, 3, 8])
def test_the_known_sample_is_told_right_by_its_own_threshold(n_right):
    top = np.linspace(0.55, 0.95, 8)
    p = np.stack([top, 1 - top], 1)
    labels = np.array([1] * (8 - n_right) + [0] * n_right)
    assert label_free_accuracy(p, labels, p).atc_confidence == n_right / 8


def test_equal_confidences_are_not_all_counted_right_or_wrong():
    p = np.tile([0.7, 0.3], (10, 1))
    labels = np.array([0] * 7 + [1] * 3)
    found = label_free_accuracy(p, labels, p)
    assert found.atc_confidence == 0.5
    assert found.doc == pytest.approx(0.7)


def test_rows_of_the_same_error():
    rng = np.random.default_rng(3)
    a, k = 0.85, 100
    error = np.abs(rng.binomial(k, a, 200000) / k - a).mean()
    assert equivalent_rows(error, a) == pytest.approx(k, rel=0.03)


@pytest.mark.parametrize(
    ("p", "labels", "q"),
    [
        (np.ones((0, 2)), [], np.full((1, 2), 0.5)),
        (np.full((2, 2), 0.5), [0], np.full((1, 2), 0.5)),
        (np.full((2, 2), 0.5), [0, 1], np.full((1, 4), 0.25)),
        (np.full((2, 2), 0.6), [0, 1], np.full((1, 2), 0.5)),
        (np.full((2, 2), 0.5), [0, 1], np.full((1, 2), np.nan)),
        (np.ones((2, 1)), [0, 0], np.ones((2, 1))),
    ],
)
def test_bad_input_is_refused(p, labels, q):
    with pytest.raises(DataError):
        label_free_accuracy(p, labels, q)


@pytest.mark.parametrize(("error", "accuracy"), [(0, 0.5), (0.1, 1.2), (float("nan"), 0.5)])
def test_bad_rates_are_refused(error, accuracy):
    with pytest.raises(UsageError):
        equivalent_rows(error, accuracy)
