"""Text embeddings against numpy and scipy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import pdist, squareform

from charkit.encoders.states import LayerStates, MemoryShard
from charkit.errors import UnknownNameError, UsageError
from charkit.fisher import text_distances, text_embedding

WIDTH = 6


def states_of(values):
    """Return states of one layer above the embeddings, which are noughts."""
    values = np.asarray(values, np.float32)
    lengths = np.full(len(values), 5)
    shard = MemoryShard(np.stack([np.zeros_like(values), values]), lengths, lengths)
    return LayerStates((shard,), 1, values.shape[1], "tiny", "f", "mean", 64, "float32")


def tasks(n=40, count=4):
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((count, WIDTH, WIDTH))
    shift = rng.standard_normal((count, WIDTH))
    made = [rng.standard_normal((n + k, WIDTH)) @ mixing[k] + shift[k] for k in range(count)]
    return [text_embedding(states_of(x), name=f"t{k}") for k, x in enumerate(made)], made


def by_matrix_root(s, t):
    return np.trace(np.real(sqrtm(s @ t)))


def by_eigenvalues(s, t):
    """Return tr (S T)^(1/2) = tr (R T R)^(1/2), R the root of S, of any rank."""
    values, vectors = np.linalg.eigh(s)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    return np.sqrt(np.maximum(np.linalg.eigvalsh(root @ t @ root), 0)).sum()


def test_moments_equal_numpy():
    for found, values in zip(*tasks(), strict=True):
        np.testing.assert_allclose(found.mean, values.mean(0), atol=1e-6)
        np.testing.assert_allclose(
            found.covariance, np.cov(values.T, bias=True), rtol=1e-5, atol=1e-6
        )
        assert found.n_samples == len(values)
        assert found.layer == 1


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_distances_of_means_equal_scipy(metric):
    made, _ = tasks()
    expected = squareform(pdist([e.mean for e in made], metric))
    table = text_distances(made, metric=metric)
    np.testing.assert_allclose(table, expected, atol=1e-12)
    assert list(table.index) == list(table.columns) == ["t0", "t1", "t2", "t3"]


@pytest.mark.parametrize(("n", "oracle"), [(40, by_matrix_root), (4, by_eigenvalues)])
def test_frechet_distance_equals_its_formula(n, oracle):
    made, _ = tasks(n)
    table = text_distances(made, metric="frechet").to_numpy()
    for i, one in enumerate(made):
        for j, other in enumerate(made[:i]):
            s, t = one.covariance, other.covariance
            square = ((one.mean - other.mean) ** 2).sum() + np.trace(s + t) - 2 * oracle(s, t)
            assert table[i, j] == pytest.approx(square**0.5, rel=1e-4)
    np.testing.assert_array_equal(table, table.T)
    assert (np.diag(table) == 0).all()


def test_frechet_between_one_dimensional_gaussians():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((500, 1)), 3 + 2 * rng.standard_normal((500, 1))
    made = [text_embedding(states_of(v)) for v in (x, y)]
    expected = np.hypot(x.mean() - y.mean(), x.std() - y.std())
    table = text_distances(made, metric="frechet")
    assert table.iloc[0, 1] == pytest.approx(expected, rel=1e-5)
    assert list(table.index) == ["unnamed", "unnamed (2)"]


def test_one_text_and_shifts():
    one = text_embedding(states_of(np.ones((1, WIDTH))))
    other = text_embedding(states_of(np.full((1, WIDTH), 3.0)))
    table = text_distances([one, other], metric="frechet")
    assert table.iloc[0, 1] == pytest.approx(2 * WIDTH**0.5)


def test_what_is_refused():
    made, _ = tasks(count=2)
    with pytest.raises(UsageError, match="cannot be compared"):
        text_distances([made[0], replace(made[1], layer=0)])
    with pytest.raises(UsageError, match="nothing to compare"):
        text_distances([])
    with pytest.raises(UnknownNameError, match="did you mean 'cosine'"):
        text_distances(made, metric="cosin")
    with pytest.raises(UsageError, match="nothing to embed"):
        text_embedding(states_of(np.ones((0, WIDTH))))
    with pytest.raises(UsageError, match="layer"):
        text_embedding(states_of(np.ones((3, WIDTH))), layer=7)


def test_repr_says_what_it_is():
    assert repr(tasks(count=1)[0][0]) == (
        "TextEmbedding(t0: 6 numbers of layer 1 of tiny, 40 texts)"
    )
