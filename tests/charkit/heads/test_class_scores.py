import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score

from charkit.heads.metrics.scores import PRIOR, Shares, class_means, log_odds, recalls, share_of

LABELS = np.repeat([0, 1, 2], [50, 30, 8])
PREDICTED = np.where(np.arange(88) % 4 == 0, (LABELS + 1) % 3, LABELS)
SHARES = st.floats(0.01, 0.99)


def test_a_recall_has_the_interval_of_its_rows_and_two_more():
    found = recalls(PREDICTED, LABELS, 4)
    accuracy = (PREDICTED == LABELS).mean()
    hits = ((PREDICTED == LABELS) & (LABELS == 2)).sum()
    n, share, z = 8 + PRIOR, (hits + PRIOR * accuracy) / (8 + PRIOR), 1.6448536
    half = z * np.sqrt(share * (1 - share) / n + (z / n / 2) ** 2)
    low, high = (share + z**2 / n / 2 + np.array([-half, half])) / (1 + z**2 / n)
    np.testing.assert_allclose([found.low[2], found.high[2]], [low, high], rtol=1e-6)
    assert found.low[2] < found.mean[2] < found.high[2]
    assert found.mean[3] == pytest.approx(accuracy), "a class without a row"
    assert found.high[3] - found.low[3] > found.high[0] - found.low[0]


def test_means_are_those_of_scikit_learn():
    found = class_means(PREDICTED, LABELS, 3)
    assert found["balanced_accuracy"].mean[0] == pytest.approx(
        balanced_accuracy_score(LABELS, PREDICTED)
    )
    assert found["macro_f1"].mean[0] == pytest.approx(f1_score(LABELS, PREDICTED, average="macro"))


@given(SHARES, SHARES, SHARES, st.floats(0, 2), st.floats(0, 1))
def test_a_move_up_moves_all_up_and_doubt_widens(a, b, c, shift, apart):
    low, mean, high = np.sort([a, b, c])
    shares = Shares(np.array([mean]), np.array([low]), np.array([high]))
    still, moved = shares.moved(0.0, 0.0), shares.moved(shift, apart)
    np.testing.assert_allclose([still.low, still.mean, still.high], [[low], [mean], [high]])
    assert moved.mean >= mean - 1e-12
    width = log_odds(moved.high) - log_odds(moved.low)
    assert width >= log_odds(high) - log_odds(low) - 1e-9


@given(SHARES)
def test_log_odds_and_back(share):
    assert share_of(log_odds(share)) == pytest.approx(share)
