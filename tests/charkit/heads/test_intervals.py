import numpy as np
import pytest

from charkit.errors import UsageError
from charkit.heads.metrics.intervals import (
    correlation_interval,
    mean_interval,
    normal_quantile,
    share_interval,
    wilson_interval,
)


def test_wilson_equals_scipy():
    from scipy.stats import binomtest

    for hits, n in ((0, 1), (1, 1), (7, 10), (50, 50), (123, 1000)):
        low, high = wilson_interval(hits / n, n, level=0.9)
        want = binomtest(hits, n).proportion_ci(0.9, method="wilson")
        assert (low, high) == pytest.approx((want.low, want.high), abs=1e-12)


def test_wilson_knows_nothing_without_rows():
    assert wilson_interval(0.0, 0) == (0.0, 1.0)


def test_share_interval_is_wilson_for_a_binomial_variance():
    share = np.array([0.0, 0.2, 0.75, 1.0])
    ours = share_interval(share, share * (1 - share) / 40, 40)
    assert np.allclose(ours, wilson_interval(share, 40))


def test_mean_interval_of_one_row_is_the_whole_range():
    mean, (low, high) = mean_interval(np.array([[0.3]]), largest=2.0)
    assert (mean[0], low[0], high[0]) == (0.3, 0.0, 2.0)


def test_correlation_interval():
    low, high = correlation_interval(np.array([0.0, 0.5, 1.0, -1.0]), 100)
    assert (low <= [0.0, 0.5, 1.0, -1.0]).all()
    assert (high >= [0.0, 0.5, 1.0, -1.0]).all()
    assert high[0] == pytest.approx(np.tanh(1.6448536 / np.sqrt(97)))
    assert np.array(correlation_interval(np.array([0.7]), 3)).tolist() == [[-1.0], [1.0]]


@pytest.mark.parametrize("level", [0.0, 1.0, -1, 90])
def test_impossible_levels_are_refused(level):
    with pytest.raises(UsageError, match=r"between 0 and 1, got"):
        normal_quantile(level)
