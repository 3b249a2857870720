"""Distances against naive loops and formulas, and their properties."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from charkit.errors import DataError, UnknownNameError, UsageError
from charkit.fisher import DISTANCES, distance, fused_distances, pairwise
from charkit.fisher.distances.formulas import ALPHA, FORMULAS
from charkit.fisher.distances.pairwise import (
    EPSILON,
    asymmetric,
    frame_of,
    fuse_ranks,
    layer_distances,
    raised,
    trivial_embedding,
)
from charkit.fisher.embedding import TaskEmbedding
from charkit.fisher.layout import Slice

SYMMETRIC = [m for m in DISTANCES if m not in ("asymmetric", "asymmetric_kl")]


def embedding(values, name="", layers=2):
    size = len(values) // layers
    return TaskEmbedding(
        values=np.array(values, np.float64),
        standard_error=np.zeros(len(values)),
        slices=tuple(Slice(k + 1, "query", k * size, (k + 1) * size) for k in range(layers)),
        name=name,
        encoder="tiny",
        encoder_fingerprint="f",
        head_layer=2,
        head_fingerprint="",
        pooling="mean",
        max_length=64,
        dtype="float32",
        kind="classification",
        n_classes=2,
        estimand="fisher",
        estimator="exact",
        n_draws=1,
        seed=0,
        n_samples=10,
        frac_truncated=0.0,
        text_fingerprint="",
    )


def make(n=6, size=40, seed=0, scale=1e-6):
    rng = np.random.default_rng(seed)
    return [embedding(scale * rng.lognormal(0, 1.5, size), f"t{i}") for i in range(n)]


def cosine(a, b):
    return 1 - a @ b / np.sqrt((a @ a) * (b @ b))


def kl(v, w):
    return 0.5 * (v / w - 1 + np.log(w) - np.log(v))


def coin(p):
    return -p * np.log(p) - (1 - p) * np.log(1 - p)


COSINES = {
    "cosine": lambda h, g: cosine(h / (h + g), g / (h + g)),
    "plain_cosine": cosine,
    "normalized_cosine": lambda h, g: cosine(1 / h, 1 / g),
}


def naive(metric, h, g, library):
    v, w = 1 / h, 1 / g
    m = (v + w) / 2
    if metric in COSINES:
        return COSINES[metric](h, g)
    if metric == "correlation":
        return 1 - np.corrcoef(v, w)[0, 1]
    if metric == "kl":
        return np.maximum(kl(v, w), kl(w, v)).sum()
    if metric == "asymmetric_kl":
        return kl(v, w).sum()
    if metric == "jsd":
        return (0.5 * (kl(v, m) + kl(w, m))).mean()
    if metric == "entropy":
        return np.log(2) - coin(h / (h + g)).mean()
    if metric == "aitchison":
        gap = (np.log(h) - np.log(h).mean()) - (np.log(g) - np.log(g).mean())
        return np.sqrt((gap**2).mean())
    if metric == "log_ratio":
        centre = np.mean([np.log(x / x.sum()) for x in library], axis=0)
        return cosine(np.log(h / h.sum()) - centre, np.log(g / g.sum()) - centre)
    half = len(h) // 2
    prior = np.repeat(
        [np.mean([x[:half] for x in library]), np.mean([x[half:] for x in library])], half
    )
    to_trivial = naive("cosine", h + prior, prior, library)
    return naive("cosine", h + prior, g + prior, library) - ALPHA * to_trivial


@pytest.mark.parametrize("metric", DISTANCES)
def test_matrices_equal_naive_loops(metric):
    tasks = make()
    table = pairwise(tasks, metric=metric)
    numbers = [t.values + EPSILON * t.values.mean() for t in tasks]
    assert list(table.index) == list(table.columns) == [t.name for t in tasks]
    for i, h in enumerate(numbers):
        for j, g in enumerate(numbers):
            expected = 0.0 if i == j else naive(metric, h, g, numbers)
            assert table.iloc[i, j] == pytest.approx(expected, rel=1e-9, abs=1e-13), (i, j)


@pytest.mark.parametrize("metric", DISTANCES)
def test_units_change_nothing(metric):
    one, two = make(), make(scale=1e-14)
    np.testing.assert_allclose(
        pairwise(one, metric=metric), pairwise(two, metric=metric), rtol=1e-8, atol=1e-12
    )


@pytest.mark.parametrize("metric", SYMMETRIC)
def test_symmetric_and_nought_to_oneself(metric):
    tasks = make()
    tasks.append(replace(tasks[0], name="twin"))
    table = pairwise(tasks, metric=metric).to_numpy()
    np.testing.assert_allclose(table, table.T, atol=1e-14)
    assert (np.diag(table) == 0).all()
    assert abs(table[0, -1]) < 1e-7
    assert (table >= 0).all()


@pytest.mark.parametrize(
    "metric", ["cosine", "plain_cosine", "aitchison", "log_ratio", "normalized_cosine"]
)
def test_proportional_embeddings_are_at_nought(metric):
    tasks = make()
    tasks.append(tasks[0] * 37.0)
    assert abs(pairwise(tasks, metric=metric).iloc[0, -1]) < 1e-7


def test_near_embeddings_are_told_apart_without_cancellation():
    rng = np.random.default_rng(0)
    one = embedding(rng.lognormal(0, 1, 1000))
    gap = 1e-7 * rng.standard_normal(1000)
    two = embedding(one.values * (1 + gap))
    expected = np.var(gap / 4) / 0.25  # second order: 1 - cos of 1/2 + z and 1/2 - z is 2 var(2 z)
    assert distance(one, two) == pytest.approx(2 * expected, rel=1e-4)


def test_dead_weights_break_nothing():
    tasks = make()
    values = tasks[0].values.copy()
    values[::7] = 0
    tasks[0] = embedding(values, "dead")
    for metric in DISTANCES:
        assert np.isfinite(pairwise(tasks, metric=metric).to_numpy()).all()


def test_layers_and_fusion():
    tasks = make()
    by_layer = layer_distances(tasks, metric="aitchison")
    assert list(by_layer) == [1, 2]
    expected = pairwise([t.select(layers=(2,)) for t in tasks], metric="aitchison")
    np.testing.assert_allclose(by_layer[2], expected)
    fused = fused_distances(tasks, metric="aitchison")
    total = np.zeros((6, 6))
    for table in by_layer.values():
        for i in range(6):
            others = sorted((j for j in range(6) if j != i), key=lambda j: table.iloc[i, j])
            for rank, j in enumerate(others, start=1):
                total[i, j] += 61 / (60 + rank)
    expected = 1 - total / 2
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(fused, expected, atol=1e-12)


def test_fusing_one_table_keeps_its_order():
    table = pairwise(make())
    fused = fuse_ranks([table])
    for i in range(6):
        others = [j for j in range(6) if j != i]
        np.testing.assert_array_equal(
            np.argsort(table.to_numpy()[i, others]), np.argsort(fused.to_numpy()[i, others])
        )
    with pytest.raises(UsageError, match="fused"):
        fuse_ranks([])


def test_reference_libraries():
    tasks, library = make(), make(8, seed=9)
    alone = pairwise(tasks[:2], metric="log_ratio", reference=library)
    together = pairwise(tasks, metric="log_ratio", reference=library)
    np.testing.assert_allclose(alone, together.iloc[:2, :2], atol=1e-12)
    one = distance(tasks[0], tasks[1], metric="log_ratio", reference=library)
    assert one == pytest.approx(alone.iloc[0, 1])
    with pytest.raises(UsageError, match="at least 3"):
        pairwise(tasks[:2], metric="log_ratio")


def test_asymmetric_prefers_complex_sources():
    """From a task far from the trivial one, every target is nearer: that is its meaning."""
    rng = np.random.default_rng(0)
    plain = [embedding(1e-3 * rng.lognormal(0, 0.1, 40), f"plain{i}") for i in range(3)]
    rich = embedding(5e-3 * rng.lognormal(0, 1.5, 40), "rich")
    table = pairwise([*plain, rich], metric="asymmetric")
    assert table.loc["rich", "plain0"] < table.loc["plain0", "rich"]


@pytest.mark.parametrize("metric", DISTANCES)
def test_listed_pairs_equal_the_matrix(metric):
    tasks = make()
    h = raised(tasks, EPSILON)
    frame = frame_of(metric, h, tasks[0])
    i, j = np.divmod(np.arange(36), 6)
    found = FORMULAS[metric].listed(h[i], h[j], frame).reshape(6, 6)
    expected = FORMULAS[metric].matrix(h, frame)
    off = ~np.eye(6, dtype=bool)
    np.testing.assert_allclose(found[off], expected[off], rtol=1e-9, atol=1e-13)


def test_asymmetric_with_a_trivial_embedding_is_the_papers_formula():
    one, other, _ = make(3)
    trivial = embedding(np.full(40, one.values.mean()), "trivial")
    h, g, t = (x.values + EPSILON * x.values.mean() for x in (one, other, trivial))
    inside = cosine(h / (h + g), g / (h + g)) - 0.2 * cosine(h / (h + t), t / (h + t))
    found = asymmetric(one, other, trivial, alpha=0.2, added=False)
    assert found == pytest.approx(inside, rel=1e-9)
    h, g = (x.values + t + EPSILON * (x.values.mean()) for x in (one, other))
    outside = cosine(h / (h + g), g / (h + g)) - ALPHA * cosine(h / (h + t), t / (h + t))
    assert asymmetric(one, other, trivial) == pytest.approx(outside, rel=1e-5)
    with pytest.raises(UsageError, match="symmetric distance"):
        asymmetric(one, other, trivial, metric="asymmetric_kl")


def test_a_library_is_the_prior_that_asymmetric_adds():
    tasks = make()
    trivial = trivial_embedding(tasks)
    table = pairwise(tasks, metric="asymmetric", epsilon=1e-12)
    assert asymmetric(tasks[0], tasks[1], trivial) == pytest.approx(table.iloc[0, 1], rel=1e-5)


def test_asymmetric_is_shorter_from_the_task_that_is_farther_from_trivial():
    tasks = make()
    trivial = trivial_embedding(tasks)
    complexity = [distance(t + trivial, trivial) for t in tasks]
    order = np.argsort(complexity)
    plain, rich = tasks[order[0]], tasks[order[-1]]
    assert asymmetric(rich, plain, trivial) < asymmetric(plain, rich, trivial)
    assert asymmetric(rich, plain, trivial, alpha=0) == asymmetric(plain, rich, trivial, alpha=0)


def test_repeated_names_are_told_apart():
    tasks = [replace(t, name=n) for t, n in zip(make(4), ["a", "a", "a (2)", ""], strict=True)]
    table = pairwise(tasks)
    assert list(table.index) == ["a", "a (2)", "a (2) (2)", "unnamed"]
    assert table.index.is_unique


def test_wrong_arguments_are_named():
    tasks = make()
    with pytest.raises(UnknownNameError, match="did you mean 'cosine'"):
        pairwise(tasks, metric="cosin")
    with pytest.raises(UsageError, match="nothing to compare"):
        pairwise([])
    with pytest.raises(UsageError, match="cannot be compared"):
        pairwise([tasks[0], replace(tasks[1], encoder_fingerprint="g")])
    with pytest.raises(DataError, match="no distance"):
        pairwise([tasks[0], tasks[0] - tasks[1]])
    with pytest.raises(DataError, match="no distance"):
        pairwise([embedding(np.zeros(4)), embedding(np.ones(4))])
    with pytest.raises(DataError, match="no distance"):
        pairwise([embedding([1, np.nan, 1, 1])])
    with pytest.raises(UsageError, match="epsilon"):
        pairwise(tasks, epsilon=0)
