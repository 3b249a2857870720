"""The number of draws that is chosen keeps the error that was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from charkit.fisher import FisherOptions, fisher_embedding, make_head
from charkit.fisher.estimate import DrawNoise, measure_noise


@pytest.fixture(scope="module")
def many_classes(random_head):
    sharp = random_head(n_classes=12)
    return make_head(0.1 * sharp.weights, 0.1 * sharp.bias)


@pytest.mark.parametrize(("within", "between"), [(1.0, 0.0), (0.5, 2.0)])
def test_noise_is_split_without_bias(within, between):
    """Over 300 pilots of 40 texts, at level 1e-4."""
    rng = np.random.default_rng(0)
    size, truth = 20, np.full(20, 0.7)
    found = []
    for _ in range(300):
        texts = truth + np.sqrt(between / size) * rng.standard_normal((40, size))
        one, two = (texts + np.sqrt(within / size) * rng.standard_normal((40, size)) for _ in "ab")
        noise = measure_noise(one, two)
        found.append((noise.within, noise.between, noise.length))
    error = np.std(found, 0) / 300**0.5
    gap = np.abs(np.mean(found, 0) - (within, between, truth @ truth))
    assert (gap < 3.9 * error).all()
    assert (error < 0.05).all()


def test_the_least_number_of_draws_is_taken():
    noise = DrawNoise(within=4.0, between=1.0, length=1.0)
    assert noise.least_draws(0.1, n_samples=100) == 4
    assert noise.relative_error(4, n_samples=100) == pytest.approx(0.1)
    assert noise.least_draws(0.099, n_samples=100) == 5
    assert noise.least_draws(0.9, n_samples=100) == 1
    assert DrawNoise(1.0, 0.0, -0.1).least_draws(0.1, n_samples=9) == np.inf
    assert DrawNoise(0.0, 0.0, 0.0).relative_error(1, n_samples=9) == 0


@pytest.mark.parametrize(("estimator", "wanted"), [("sketch", 0.05), ("monte_carlo", 0.08)])
def test_the_error_found_is_the_error_promised(
    estimator, wanted, many_classes, family_encoder, make_split
):
    """Root mean square distance of 12 seeds from the exact embedding, over its length."""
    encoder, split = family_encoder("bert", dtype="float32"), make_split(80, longest=6)
    facts = {"layers": (3,), "parts": ("query", "ffn_in"), "token_budget": 4096}
    exact = fisher_embedding(
        encoder, split, many_classes, options=FisherOptions(estimator="exact", **facts)
    )
    gaps, promised, draws = [], [], []
    for seed in range(12):
        options = FisherOptions(estimator=estimator, relative_error=wanted, seed=seed, **facts)
        found = fisher_embedding(encoder, split, many_classes, options=options)
        assert found.estimator == estimator
        gaps.append(np.linalg.norm(found.values - exact.values) / np.linalg.norm(exact.values))
        promised.append(found.draw_error)
        draws.append(found.n_draws)
    assert max(promised) <= wanted
    assert min(draws) > 1
    real = np.sqrt(np.mean(np.square(gaps)))
    assert 0.6 < real / np.sqrt(np.mean(np.square(promised))) < 1.6
    assert real < 1.3 * wanted


def test_what_needs_no_draws_makes_none(many_classes, family_encoder, make_split, random_head):
    encoder, split = family_encoder("bert", dtype="float32"), make_split(20)
    tiny = FisherOptions(estimator="sketch", relative_error=1e-4)
    found = fisher_embedding(encoder, split, many_classes, options=tiny)
    assert (found.estimator, found.n_draws, found.draw_error) == ("exact", 1, 0.0)
    two = fisher_embedding(encoder, split, random_head(), options=tiny)
    assert (two.estimator, two.draw_error) == ("exact", 0.0)
    fixed = fisher_embedding(
        encoder, split, many_classes, options=FisherOptions(estimator="sketch", n_draws=3)
    )
    assert fixed.n_draws == 3
    assert np.isnan(fixed.draw_error)
    assert "sketch of 3 draws" in repr(fixed)
