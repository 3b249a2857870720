"""nested_order: a permutation whose prefixes are stratified."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkit.tasks import nested_order


def check_prefixes(codes, order):
    n = len(codes)
    assert sorted(order.tolist()) == list(range(n))
    classes, codes = np.unique(codes, return_inverse=True)
    seen = np.eye(len(classes))[codes[order]].cumsum(axis=0)
    due = np.arange(1, n + 1)[:, None] * np.bincount(codes) / n
    assert np.abs(seen - due).max() <= 1 + 1e-9
    return seen


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=120), st.integers(0, 5))
def test_every_prefix_is_within_one_of_its_share(codes, seed):
    codes = np.array(codes)
    check_prefixes(codes, nested_order(codes, seed=seed, kind="classification"))


@pytest.mark.parametrize("n_classes", [2, 6, 77, 150])
def test_equal_classes_all_appear_in_the_first_rows(n_classes):
    codes = np.repeat(np.arange(n_classes), 7)
    order = nested_order(codes, seed=1, kind="classification")
    assert len(np.unique(codes[order[:n_classes]])) == n_classes


def test_two_classes_appear_at_once_however_rare():
    codes = np.r_[np.zeros(995, int), np.ones(5, int)]
    order = nested_order(codes, seed=0, kind="classification")
    assert set(codes[order[:2]]) == {0, 1}


def test_rare_classes_come_as_early_as_the_bound_allows():
    codes = np.repeat([0, 1, 2, 3, 4, 5], [9500, 100, 100, 100, 100, 100])
    order = nested_order(codes, seed=0, kind="classification")
    seen = check_prefixes(codes, order)
    first_complete = int((seen.min(axis=1) >= 1).argmax()) + 1
    assert first_complete <= 2 * 4 / 0.05  # n at which five rare rows fit, up to a factor of 2


def test_seeds_decide_and_nothing_else():
    codes = np.arange(300) % 3
    first, again, other = (nested_order(codes, seed=s, kind="classification") for s in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_names_of_the_codes_do_not_matter():
    codes = np.arange(300) % 3
    plain = nested_order(codes, seed=3, kind="classification")
    assert np.array_equal(plain, nested_order(codes * 10 + 5, seed=3, kind="classification"))


def test_regression_prefixes_cover_the_range_of_targets():
    targets = np.random.default_rng(0).normal(size=1000)
    order = nested_order(targets, seed=0, kind="regression")
    assert sorted(order.tolist()) == list(range(1000))
    deciles = np.quantile(targets, np.arange(1, 10) / 10)
    for n in (10, 50, 200):
        counts = np.bincount(np.searchsorted(deciles, targets[order[:n]]), minlength=10)
        assert np.abs(counts - n / 10).max() <= 1


def test_regression_with_many_ties():
    targets = np.repeat([0.0, 5.0], [80, 20])
    order = nested_order(targets, seed=0, kind="regression")
    assert targets[order[:10]].sum() / 5 in (1, 2, 3)


def test_nothing_to_order():
    assert nested_order([], seed=0, kind="classification").tolist() == []


def test_twenty_thousand_rows_are_quick():
    import time

    codes = np.random.default_rng(0).integers(0, 150, 20_000)
    start = time.perf_counter()
    nested_order(codes, seed=0, kind="classification")
    assert time.perf_counter() - start < 2
