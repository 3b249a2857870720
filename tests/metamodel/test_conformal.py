import numpy as np
import pytest

from metamodel.conformal import coverage, group_threshold, row_threshold


def grouped(rng, n_groups):
    """Return errors whose size differs between groups, and more so than within them."""
    sizes = rng.integers(1, 60, n_groups)
    spread = rng.lognormal(0, 0.8, n_groups)
    groups = np.repeat(np.arange(n_groups), sizes)
    return np.abs(rng.normal(0, 1, len(groups)) * spread[groups]), groups


def test_equal_groups_of_one_row_give_the_ordinary_conformal_quantile():
    scores = np.arange(1, 20.0)  # 19 groups: the 18th of 19 is ceil(.9 * 20)
    assert row_threshold(scores, np.arange(19)) == 18
    assert group_threshold(scores, np.arange(19)) == 18


def test_too_few_groups_promise_nothing():
    assert np.isinf(row_threshold([1, 2, 3.0], [0, 1, 2]))
    assert np.isinf(group_threshold(np.ones(100), np.zeros(100)))


def test_a_large_group_does_not_outvote_the_small_ones():
    scores = np.r_[np.full(1000, 0.1), np.arange(1, 20.0)]
    groups = np.r_[np.full(1000, -1), np.arange(19)]
    assert row_threshold(scores, groups) >= 17


def test_rows_of_new_groups_are_covered_as_promised():
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(600):
        scores, groups = grouped(rng, 31)
        last = groups == 30
        limit = row_threshold(scores[~last], groups[~last], level=0.8)
        hits.append((scores[last] <= limit).mean())
    # the promise is at least .8 and at most .8 + 1 / 31; five standard errors are .05
    assert 0.75 <= np.mean(hits) <= 0.8 + 1 / 31 + 0.05


def test_groups_are_covered_as_promised():
    rng = np.random.default_rng(1)
    hits = []
    for _ in range(600):
        scores, groups = grouped(rng, 31)
        last = groups == 30
        limit = group_threshold(scores[~last], groups[~last], level=0.8, share=0.8)
        own = np.quantile(scores[last], 0.8, method="inverted_cdf")
        hits.append(own <= limit)
    assert 0.72 <= np.mean(hits) <= 0.8 + 1 / 31 + 0.08


def test_order_and_names_of_groups_do_not_matter():
    rng = np.random.default_rng(2)
    scores, groups = grouped(rng, 25)
    order = rng.permutation(len(scores))
    names = np.array([f"g{k}" for k in groups])
    for threshold in (row_threshold, group_threshold):
        assert threshold(scores, groups) == threshold(scores[order], names[order])


def test_coverage_counts_rows_and_tasks():
    covered = [True] * 9 + [False] + [True] * 5 + [False] * 5
    tasks = ["a"] * 10 + ["b"] * 10
    assert coverage(covered, tasks) == {"rows": 0.7, "tasks": 0.5}


@pytest.mark.parametrize(
    ("scores", "groups", "level", "match"),
    [
        ([], [], 0.9, "expected one group"),
        ([1.0, 2.0], [0], 0.9, "expected one group"),
        ([1.0, np.nan], [0, 1], 0.9, "NaN"),
        ([1.0], [0], 1.0, "level"),
    ],
)
def test_bad_input_is_refused(scores, groups, level, match):
    with pytest.raises(ValueError, match=match):
        row_threshold(scores, groups, level=level)
