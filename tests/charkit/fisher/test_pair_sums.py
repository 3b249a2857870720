"""Tiles in float32 against sums in float64, and both against extremes."""

from __future__ import annotations

import numpy as np
import pytest

from charkit.fisher.distances import formulas as pair_sums
from charkit.fisher.distances.formulas import COSINE, ENTROPY, JSD, KL, all_pairs, listed_pairs

SUMS = {"cosine": COSINE, "kl": KL, "jsd": JSD, "entropy": ENTROPY}


@pytest.fixture
def numbers():
    """Return embeddings of all degrees of likeness, some with dead weights."""
    rng = np.random.default_rng(0)
    base = rng.lognormal(0, 1.5, 20_000)
    degree = np.geomspace(0.03, 2, 40)[:, None]
    h = base * np.exp(degree * rng.standard_normal((40, 20_000)))
    h[::9, ::50] = 1e-6
    return h


@pytest.mark.parametrize("name", SUMS)
def test_tiles_in_float32_are_accurate(name, numbers):
    exact = all_pairs(numbers, SUMS[name])
    found = all_pairs(numbers, SUMS[name], few_visits=0)
    off = ~np.eye(len(numbers), dtype=bool)
    assert (np.abs(found - exact)[off] <= 5e-6 * exact[off]).all()
    assert not np.array_equal(found, exact)
    np.testing.assert_array_equal(found, found.T)


@pytest.mark.parametrize("name", SUMS)
def test_tiles_equal_pairs_one_by_one(name, numbers):
    numbers = numbers[::4]
    exact = all_pairs(numbers, SUMS[name])
    i, j = np.triu_indices(len(numbers), 1)
    listed = listed_pairs(numbers[i], numbers[j], SUMS[name])
    np.testing.assert_allclose(exact[i, j], listed, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", SUMS)
def test_only_near_pairs_are_summed_again(name, numbers, monkeypatch):
    predicted = []
    listed = pair_sums.listed_pairs

    def counted(one, other, what):
        predicted.append(len(other))
        return listed(one, other, what)

    monkeypatch.setattr(pair_sums, "listed_pairs", counted)
    far = np.exp(np.random.default_rng(1).standard_normal((20, 500)))
    far[1] = far[0] * np.exp(1e-4 * np.random.default_rng(2).standard_normal(500))
    out = all_pairs(far, SUMS[name], few_visits=0)
    assert predicted == [1]
    assert out[0, 1] == pytest.approx(listed(far[:1], far[1:2], SUMS[name])[0], rel=1e-9)


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("spread", [30.0, 300.0])
def test_numbers_far_apart_stay_finite(name, spread):
    h = np.exp(spread * np.array([[-1.0, 1.0, 0.0] * 30, [1.0, -1.0, 0.0] * 30, [0.0] * 90]))
    assert np.isfinite(all_pairs(h, SUMS[name], few_visits=0)).all()


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("size", [1, 2, 15, 17, 1281])
def test_any_size_will_do(name, size):
    h = np.random.default_rng(size).lognormal(0, 1, (19, size))
    exact = all_pairs(h, SUMS[name])
    found = all_pairs(h, SUMS[name], few_visits=0)
    np.testing.assert_allclose(found, exact, rtol=3e-4, atol=1e-12)  # errors do not average out


@pytest.mark.parametrize("name", SUMS)
def test_the_number_of_cores_changes_nothing(name, numbers, monkeypatch):
    one = all_pairs(numbers, SUMS[name], few_visits=0)
    monkeypatch.setattr(pair_sums, "available_cores", lambda: 1)
    np.testing.assert_array_equal(all_pairs(numbers, SUMS[name], few_visits=0), one)
