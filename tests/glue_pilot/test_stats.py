"""Statistics of the study: intervals of few groups, partial correlations, what is compared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from glue_pilot.stats import (
    UNKNOWN,
    Interval,
    compare,
    drawn_groups,
    permutation_p,
    quantile_level,
    resampled,
    resampled_share,
    spearman,
)


@pytest.mark.parametrize("k", [5, 8, 12])
def test_intervals_of_few_groups_cover_about_what_they_promise(k):
    rng = np.random.default_rng(k)
    names = [str(i) for i in range(k)]
    values = rng.normal(size=(600, k))
    found = [resampled(one, names) for one in values]
    covered = np.mean([one.low <= 0 <= one.high for one in found])
    drawn = values @ drawn_groups(k, 0).T / k
    low, high = np.quantile(drawn, [0.05, 0.95], axis=1)
    plain = np.mean((low <= 0) & (high >= 0))  # what quantiles that are not moved cover
    assert plain < 0.88
    assert abs(covered - 0.9) < abs(plain - 0.9)
    assert covered > 0.84


def test_many_groups_have_the_plain_quantiles():
    assert quantile_level(100_000) == pytest.approx(0.05, abs=1e-4)
    assert quantile_level(100_000, tests=10) == pytest.approx(0.005, abs=1e-4)


@given(st.integers(2, 60), st.integers(1, 20))
def test_fewer_groups_and_more_tests_mean_wider_intervals(k, tests):
    assert quantile_level(k, tests) <= quantile_level(k + 1, tests)
    assert quantile_level(k, tests + 1) <= quantile_level(k, tests)


def test_one_group_has_no_interval():
    found = resampled(np.array([1.0, 2.0]), ["a", "a"])
    assert found.mean == 1.5
    assert np.isnan([found.low, found.high]).all()
    assert compare(found) == compare(UNKNOWN) == "not shown"
    assert f"{found}" == "1.50 (no interval)"


@pytest.mark.parametrize(("n", "low"), [(7, 0.65), (9, 0.72), (14, 0.81), (4, 0.47)])
def test_cases_that_all_came_out_alike_leave_room(n, low):
    found = resampled_share(np.ones(n, bool), [str(k % 3) for k in range(n)])
    assert (found.mean, found.high) == (1, 1)
    assert found.low == pytest.approx(low, abs=0.005)


@given(st.integers(0, 10_000))
def test_partial_correlation_is_that_of_residuals(seed):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(30, 4)), columns=list("xyuv")).assign(corpus="c")
    ranks = table[list("xyuv")].rank().to_numpy()
    held = np.column_stack([np.ones(30), ranks[:, 2:]])
    rest = ranks[:, :2] - held @ np.linalg.lstsq(held, ranks[:, :2], rcond=None)[0]
    expected = np.corrcoef(rest.T)[0, 1]
    assert spearman(table, "x", "y", given="u and v").mean == pytest.approx(expected)
    plain = reference.spearmanr(table["x"], table["y"])[0]
    assert spearman(table, "x", "y").mean == pytest.approx(plain)


def test_ends_are_read_from_a_row_by_name():
    row = {"gain": 0.2, "gain_low": 0.1, "gain_high": 0.3, "mean": 1.0, "low": 0.5, "high": 2.0}
    assert Interval.of(row, "gain") == Interval(0.2, 0.1, 0.3)
    assert Interval.of(row, "mean") == Interval(1.0, 0.5, 2.0)
    assert (100 * Interval.of(row, "gain")).row("g", ends="") == {"g": 20, "low": 10, "high": 30}
    assert compare(Interval(0.2, 0.1, 0.3)) == "above"
    assert compare(Interval(0.2, 0.1, 0.3), 0.35) == "below"


def test_permutations_find_blocks_and_no_noise():
    names = np.repeat(np.arange(3), 4)
    siblings = names[:, None] == names
    rng = np.random.default_rng(0)
    clear = np.where(siblings, 1.0, 2.0) + 0.1 * rng.random((12, 12))
    assert permutation_p(clear, siblings)["ndcg"] < 0.01
    assert permutation_p(rng.random((12, 12)), siblings)["ndcg"] > 0.05
