"""The share of wrong labels, on heads whose confidence is made up."""

import numpy as np
import pytest

from charkit.heads.metrics.label_free import SHARES, label_noise


def heads(n, share, *, n_classes=2, spread=3.0, seed=0):
    """Heads that know how sure they may be, and labels of which some are moved."""
    rng = np.random.default_rng(seed)
    odds = np.abs(spread * rng.standard_normal(n))
    confidence = 1 / (1 + np.exp(-odds))
    right = rng.random(n) < confidence
    moved = rng.random(n) < share
    # a moved label agrees with a wrong prediction once in n_classes - 1
    agrees = np.where(moved, ~right & (rng.random(n) < 1 / (n_classes - 1)), right)
    return agrees, confidence


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("share", [0.05, 0.2])
def test_the_interval_covers_the_share_of_wrong_labels(share, n_classes):
    found = [
        label_noise(*heads(400, share, n_classes=n_classes, seed=seed), n_classes)
        for seed in range(20)
    ]
    assert sum(f.low <= share <= f.high for f in found) >= 15  # 18 are expected, 15 at 5 %
    assert np.mean([f.mean for f in found]) == pytest.approx(share, abs=0.03)


def test_right_labels_are_seldom_shown_to_be_wrong():
    assert sum(label_noise(*heads(300, 0.0, seed=seed), 2).shown for seed in range(20)) <= 3


def test_hard_tasks_show_nothing():
    found = label_noise(*heads(300, 0.1, spread=0.3), 2)
    assert not found.shown
    assert found.high > 0.2


def test_order_does_not_matter_and_more_rows_say_more():
    agrees, confidence = heads(300, 0.1)
    few = label_noise(agrees, confidence, 2)
    assert label_noise(agrees[::-1], confidence[::-1], 2).mean == pytest.approx(few.mean)
    many = label_noise(np.tile(agrees, 8), np.tile(confidence, 8), 2)
    assert many.high - many.low < few.high - few.low


@pytest.mark.parametrize("confidence", [0.5, 1.0])
def test_extreme_heads(confidence):
    sure = np.full(50, confidence)
    assert label_noise(np.ones(50, bool), sure, 2).low == 0
    assert 0 <= label_noise(np.zeros(50, bool), sure, 2).high <= SHARES[-1]
