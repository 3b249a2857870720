import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkit.heads.sample.active_testing import (
    UNIFORM,
    Strata,
    allocation,
    labelling_order,
    make_strata,
    pool_accuracy,
)

POOL = 800


def confident(seed=0, n=POOL):
    return np.clip(np.random.default_rng(seed).beta(6, 2, n), 0.5, 0.99)


def inclusion(strata, n):
    """The probability of every row to be among the first n of the order."""
    taken = np.bincount(allocation(strata)[:n], minlength=len(strata.size))
    return (taken / strata.size)[strata.of]


def drawn(strata, right, n, seed):
    """What the first n labels of a draw tell: labelled and right rows of each stratum."""
    rows = labelling_order(strata, seed)[:n]
    k = len(strata.size)
    return (
        np.bincount(strata.of[rows], minlength=k),
        np.bincount(strata.of[rows], weights=right[rows], minlength=k),
    )


def made_pool(n, seed, shape):
    """A pool that is hardly, mostly or wholly sure; values may repeat."""
    values = np.random.default_rng(seed).beta(*shape, size=n)
    return np.clip(np.round(values, 2), 0.001, 0.999)


pools = st.builds(
    made_pool,
    st.integers(5, 80),
    st.integers(0, 10_000),
    st.sampled_from([(1, 1), (6, 2), (30, 0.3), (0.1, 0.1)]),
)


@given(pools)
def test_strata_part_the_pool_by_expected_correctness(expected):
    strata = make_strata(expected)
    assert strata.size.sum() == len(expected)
    assert (strata.size > 0).all()
    for below, above in itertools.pairwise(range(len(strata.size))):
        assert expected[strata.of == below].max() <= expected[strata.of == above].min()


@given(pools)
def test_no_row_is_due_less_than_the_part_that_is_spread_evenly(expected):
    strata = make_strata(expected)
    assert strata.weight_bound <= 1 / UNIFORM + 1e-9


@given(pools, st.integers(0, 5))
def test_every_start_of_the_order_is_the_sample_of_that_many(expected, seed):
    strata = make_strata(expected)
    order = labelling_order(strata, seed)
    assert sorted(order) == list(range(len(expected)))
    turns = allocation(strata)
    assert (strata.of[order] == turns).all()
    n = len(expected) // 2
    assert inclusion(strata, n).sum() == pytest.approx(n)


def test_the_allocation_is_the_optimum_of_every_budget():
    strata = Strata(np.repeat([0, 1, 2], [4, 6, 9]), np.full(19, 0.5), np.array([4, 6, 9]),
                    np.array([5.0, 2.0, 8.0]))  # fmt: skip
    turns = allocation(strata)

    def variance(counts):
        return sum(s**2 / n for s, n in zip(strata.spread, counts, strict=True))

    for n in range(3, 20):
        got = np.bincount(turns[:n], minlength=3)
        every = itertools.product(*(range(1, size + 1) for size in strata.size))
        best = min(variance(c) for c in every if sum(c) == n)
        assert variance(got) == pytest.approx(best)


def test_rows_are_drawn_as_often_as_their_probability_says():
    strata = make_strata(confident(n=60))
    seen = np.zeros(60)
    for seed in range(2_000):
        seen[labelling_order(strata, seed)[:12]] += 1
    assert np.abs(seen / 2_000 - inclusion(strata, 12)).max() < 0.05


def test_with_every_row_labelled_the_accuracy_is_known():
    strata = make_strata(confident())
    right = np.random.default_rng(1).random(POOL) < 0.7
    found = pool_accuracy(strata, *drawn(strata, right, POOL, 0))
    for value in (found.mean, found.low, found.high):
        assert value == pytest.approx(right.mean())


@settings(max_examples=40)
@given(st.lists(st.integers(0, 6), min_size=5, max_size=5), st.integers(0, 4))
def test_one_more_right_label_never_lowers_the_estimate(right, where):
    strata = make_strata(confident())
    labelled = np.full(5, 7)
    more = np.array(right)
    more[where] += 1
    before = pool_accuracy(strata, labelled, np.array(right))
    after = pool_accuracy(strata, labelled, more)
    assert after.mean > before.mean
    assert 0 <= before.low <= before.mean <= before.high <= 1


SHIFTS = {
    "as expected": lambda c: c,
    "less": lambda c: c - 0.25,
    "chance everywhere": lambda c: np.full_like(c, 0.5),
    "the other way round": lambda c: 1.4 - c,
    "all right": lambda c: np.full_like(c, 0.995),
    "sure and wrong": lambda c: np.where(c > 0.9, 0.3, c),
}


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("n", [10, 30, 100])
def test_the_interval_covers_whatever_the_shift(shift, n):
    strata = make_strata(confident())
    held, off = [], []
    for seed in range(150):
        right = np.random.default_rng(seed).random(POOL) < SHIFTS[shift](strata.expected)
        found = pool_accuracy(strata, *drawn(strata, right, n, seed))
        held.append(found.low <= right.mean() <= found.high)
        off.append(found.mean - right.mean())
    assert np.mean(held) > 0.82  # 0.9 less three standard errors of 150 draws
    assert abs(np.mean(off)) < 0.7 / np.sqrt(n)


def test_labels_that_agree_with_the_surrogate_narrow_the_interval():
    strata = make_strata(confident(n=5_000))
    widths = []
    for n in (10, 40, 160, 640):
        counts = np.bincount(allocation(strata)[:n], minlength=5)
        shares = np.bincount(strata.of, weights=strata.expected) / strata.size
        found = pool_accuracy(strata, counts, counts * shares)
        widths.append(found.high - found.low)
        assert found.mean == pytest.approx(strata.expected.mean(), abs=0.03)
    ratios = np.array(widths[:-1]) / widths[1:]
    assert ((ratios > 1.6) & (ratios < 2.5)).all()  # four times the labels, half the width
