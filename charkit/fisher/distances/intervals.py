"""What sampling noise does to distances: corrected distances and their intervals.

An embedding is a mean over texts. Its noise makes distances longer: two samples of one task are
at a distance above 0. To second order the excess is what a jackknife over groups of texts finds,

    sum over groups g of (n - n_g) / n (d without g - d),

exactly so where a distance is a quadratic form, as the square of a difference is. (To take the
squared standard errors off the squared length, as `TaskEmbedding.norms` does, is right for norms
and wrong for angles: noise along the embedding turns it nowhere, and that is 30 to 45 % of the
noise of real tasks.)

Intervals come from texts drawn with replacement. A resample carries the noise twice, so its
distances lie above the observed one by the excess again; their spread is therefore laid around
the corrected distance: low = corrected + (quantile of resamples - mean of resamples). Distances
cannot be negative, so corrected ones and intervals end at 0 (``asymmetric`` may be negative).
From few texts with heavy tails the intervals are somewhat too narrow. For ``log_ratio`` around the
mean of a few tasks they were far too narrow in trials, so a library of some size is asked for.

References:
    Quenouille 1956, "Notes on bias in estimation". Efron 1979, "Bootstrap methods: another look at
    the jackknife".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.errors import UsageError
from charkit.fisher.distances.formulas import FORMULAS, Frame
from charkit.fisher.distances.pairwise import EPSILON, check_metric, frame_of, labels, raised
from charkit.fisher.embedding import TaskEmbedding, check_comparable, check_resampling

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

N_GROUPS = 32
"""Groups into which the texts of an embedding are dealt."""

UNSTEADY: tuple[str, ...] = ("normalized_cosine", "correlation")
"""Distances that depend on the reciprocals of the smallest numbers, and cannot be corrected."""

FEWEST_KNOWN = 12
"""A library of fewer tasks has too unsteady a mean for intervals of ``log_ratio``."""

# Fewer texts are fewer groups than a jackknife can learn a variance from (`FEWEST_GROUPS`).
_FEWEST = 8

# Resamples whose matrices are in memory at a time.
_PIECE = 64


@dataclass(frozen=True)
class DistanceInterval:
    """A distance with its sampling noise.

    Attributes:
        metric: Name of the distance.
        distance: As `charkit.fisher.distances` gives it, excess included.
        corrected: Less the excess that sampling noise makes.
        low: Lower end, for the distance that endlessly many texts would give.
        high: Upper end.
        level: Share of cases that the interval should hold.
        n_resamples: How many resamples it is from.
        same_texts: Whether both embeddings have the same texts, which were then drawn together.
    """

    metric: str
    distance: float
    corrected: float
    low: float
    high: float
    level: float
    n_resamples: int
    same_texts: bool


def distance_interval(
    one: TaskEmbedding,
    other: TaskEmbedding,
    *,
    metric: str = "cosine",
    n_resamples: int = 400,
    level: float = 0.9,
    seed: int = 0,
    layers: Sequence[int] | None = None,
    parts: Sequence[str] | None = None,
    reference: Sequence[TaskEmbedding] | None = None,
    epsilon: float = EPSILON,
) -> DistanceInterval:
    """Return the distance from one embedding to another with a bootstrap interval over texts.

    Embeddings of the same texts in the same order (equal fingerprints) are resampled together;
    all others count as independent samples. The heads, and the library of ``log_ratio`` and
    ``asymmetric``, count as given.

    Args:
        one: With the numbers of every text.
        other: Likewise.
        metric: One of `DISTANCES`, those of `UNSTEADY` excepted.
        n_resamples: How many resamples.
        level: Share of cases that the interval should hold.
        seed: Of the draws.
        layers: Compare only these layers.
        parts: Compare only these parts.
        reference: The library of ``log_ratio`` and ``asymmetric``.
        epsilon: What is added to each, in units of its own mean.

    Raises:
        UnknownNameError: The metric is not known.
        UsageError: The numbers of every text were not kept, texts are too few, the metric cannot
            be corrected, the library of ``log_ratio`` is too small, or an argument is illegal.
        DataError: Numbers are negative, or all zero.
    """
    if metric == "log_ratio" and len(reference or ()) < FEWEST_KNOWN:
        raise UsageError(
            f"reference is too small for intervals of log_ratio: expected at least {FEWEST_KNOWN} "
            f"known tasks, got {len(reference or ())}. Hand over a library, or take cosine."
        )
    check_resampling(n_resamples, level)
    samples, frame = _samples([one, other], metric, layers, parts, reference, epsilon)
    first, second = samples
    same = _same_texts(one, other)
    between = _Between(metric, frame, epsilon)
    observed = float(between(first.mean[None], second.mean[None])[0])
    corrected = observed - _excess(first, second, observed, between, same)
    rng = np.random.default_rng(seed)
    drawn = []
    for begin in range(0, n_resamples, _PIECE):
        count = min(_PIECE, n_resamples - begin)
        counts = first.draw(count, rng)
        again = counts if same else second.draw(count, rng)
        drawn.append(between(first.means(counts), second.means(again)))
    resampled = np.concatenate(drawn)
    spread = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2]) - resampled.mean()
    distance, middle, low, high = between.shown(
        np.array([observed, corrected, corrected + spread[0], corrected + spread[1]])
    )
    return DistanceInterval(
        metric, float(distance), float(middle), float(low), float(high), level, n_resamples, same
    )


def corrected_pairwise(
    embeddings: Sequence[TaskEmbedding],
    *,
    metric: str = "cosine",
    layers: Sequence[int] | None = None,
    parts: Sequence[str] | None = None,
    reference: Sequence[TaskEmbedding] | None = None,
    epsilon: float = EPSILON,
) -> pd.DataFrame:
    """Return the distances between all pairs less what sampling noise adds to each.

    Args:
        embeddings: At least one, all comparable, with the numbers of every text.
        metric: One of `DISTANCES`, those of `UNSTEADY` excepted.
        layers: Compare only these layers.
        parts: Compare only these parts.
        reference: The library of ``log_ratio`` and ``asymmetric``, taken as given; default the
            embeddings themselves.
        epsilon: What is added to each, in units of its own mean.

    Returns:
        As `charkit.fisher.pairwise` does; at least 0 but for ``asymmetric``.

    Raises:
        UnknownNameError: The metric is not known.
        UsageError: As `distance_interval`.
        DataError: Numbers are negative, or all zero.
    """
    samples, frame = _samples(embeddings, metric, layers, parts, reference, epsilon)
    between = _Between(metric, frame, epsilon)
    count = len(samples)
    out = np.zeros((count, count))
    both_ways = metric in ("asymmetric", "asymmetric_kl")
    for i in range(count):
        for j in range(count):
            if j > i or (both_ways and j != i):
                one, other = samples[i], samples[j]
                observed = float(between(one.mean[None], other.mean[None])[0])
                same = _same_texts(embeddings[i], embeddings[j])
                out[i, j] = observed - _excess(one, other, observed, between, same)
    matrix = between.shown(out if both_ways else out + out.T)
    names = labels([e.name for e in embeddings])
    return pd.DataFrame(matrix, index=names, columns=names)


@dataclass(frozen=True, eq=False)
class _Sample:
    """The numbers of texts, their mean, and the mean without each group.

    Attributes:
        rows: (n_samples, size).
        mean: (size,).
        without: (n_groups, size).
        weights: (n - n_g) / n, (n_groups,).
    """

    rows: NDArray[np.floating]
    mean: FloatArray
    without: FloatArray
    weights: FloatArray

    def draw(self, count: int, rng: np.random.Generator) -> IntArray:
        n_samples = len(self.rows)
        return rng.multinomial(n_samples, np.full(n_samples, 1 / n_samples), count)

    def means(self, counts: IntArray) -> FloatArray:
        drawn = counts.astype(self.rows.dtype) @ self.rows
        return np.asarray(drawn.astype(np.float64) / len(self.rows))


@dataclass(frozen=True, eq=False)
class _Between:
    """Distances of listed pairs on a scale where they are smooth: squares for ``aitchison``."""

    metric: str
    frame: Frame
    epsilon: float

    def __call__(self, one: FloatArray, other: FloatArray) -> FloatArray:
        one, other = np.broadcast_arrays(one, other)
        h = one + self.epsilon * one.mean(1, keepdims=True)
        g = other + self.epsilon * other.mean(1, keepdims=True)
        found = FORMULAS[self.metric].listed(h, g, self.frame)
        return np.asarray(found**2) if self.metric == "aitchison" else found

    def shown(self, smooth: FloatArray) -> FloatArray:
        if self.metric == "asymmetric":
            return smooth
        kept = np.asarray(np.maximum(smooth, 0))
        return np.asarray(np.sqrt(kept)) if self.metric == "aitchison" else kept


def _excess(
    one: _Sample, other: _Sample, observed: float, between: _Between, same_texts: bool
) -> float:
    """Return what noise adds to a distance, by the jackknife over groups."""
    if same_texts:
        return float(one.weights @ (between(one.without, other.without) - observed))
    first = one.weights @ (between(one.without, other.mean[None]) - observed)
    second = other.weights @ (between(one.mean[None], other.without) - observed)
    return float(first + second)


def _same_texts(one: TaskEmbedding, other: TaskEmbedding) -> bool:
    first, second = (
        (e.text_fingerprint, e.n_samples, e.stopped_early, e.seed if e.stopped_early else 0)
        for e in (one, other)  # an early stop visits texts in an order that the seed makes
    )
    return bool(one.text_fingerprint) and first == second


def _samples(
    embeddings: Sequence[TaskEmbedding],
    metric: str,
    layers: Sequence[int] | None,
    parts: Sequence[str] | None,
    reference: Sequence[TaskEmbedding] | None,
    epsilon: float,
) -> tuple[list[_Sample], Frame]:
    check_metric(metric)
    if metric in UNSTEADY:
        legal = ", ".join(m for m in FORMULAS if m not in UNSTEADY)
        raise UsageError(
            f"{metric} cannot be corrected for noise: expected one of {legal}, got a distance "
            "that depends on the reciprocals of the smallest numbers. Take another metric."
        )
    if not embeddings:
        raise UsageError("there is nothing to compare: expected at least one embedding, got none.")
    check_comparable([*embeddings, *(reference or ())])
    for embedding in embeddings:
        if embedding.rows is None or embedding.n_samples < _FEWEST:
            raise UsageError(
                f"noise of {embedding.name or 'an embedding'} is not known: expected "
                f"keep_rows=True and at least {_FEWEST} texts, got rows "
                f"{'kept' if embedding.rows is not None else 'not kept'} and "
                f"{embedding.n_samples} texts. Embed again with keep_rows=True."
            )
    chosen = [e.select(layers=layers, parts=parts) for e in embeddings]
    library = [e.select(layers=layers, parts=parts) for e in reference] if reference else chosen
    raised(chosen, epsilon)  # refuses what has no distance
    frame = frame_of(metric, raised(library, epsilon), chosen[0])
    return [_sample(e) for e in chosen], frame


def _sample(embedding: TaskEmbedding) -> _Sample:
    assert embedding.rows is not None
    n_samples = embedding.n_samples
    n_groups = min(N_GROUPS, n_samples)
    group = np.random.default_rng(n_samples).permutation(n_samples) % n_groups
    member = np.equal.outer(np.arange(n_groups), group)
    sizes = member.sum(1)
    sums = (member.astype(embedding.rows.dtype) @ embedding.rows).astype(np.float64)
    without = (sums.sum(0) - sums) / (n_samples - sizes)[:, None]
    return _Sample(
        embedding.rows, embedding.values, without, np.asarray((n_samples - sizes) / n_samples)
    )


# -- intervals of an embedding's norms from its groups of texts: no text's numbers need be kept ---


FEWEST_GROUPS = 8
"""From fewer groups no interval is made."""


def group_norm_intervals(
    embedding: TaskEmbedding, *, n_resamples: int = 1000, level: float = 0.9, seed: int = 0
) -> pd.DataFrame:
    """Return bootstrap intervals of each layer's L2 norm, groups drawn with replacement.

    With the products A_gh = s_g . s_h of the groups' sums and u_g how often group g was drawn,
    the norm of a resample is sqrt(u'Au) over its number of texts. Its deviations are raised by
    sqrt(G / (G - 1)), since G groups vary about their own mean. As in
    `TaskEmbedding.norm_intervals`, which draws single texts, the quantiles are taken around the
    observed norm.

    Args:
        embedding: The embedding.
        n_resamples: How many resamples.
        level: Share of cases that an interval should hold.
        seed: Of the draws.

    Returns:
        Index ``layer`` (and ``"all"``); columns ``l2``, ``low``, ``high``; the last two are NaN
        where there are fewer than 8 groups, or none are known.

    Raises:
        UsageError: An argument is out of range.
    """
    check_resampling(n_resamples, level)
    layers = embedding.layers
    table = embedding.norms()[["l2"]].assign(low=np.nan, high=np.nan)
    products = embedding.group_products
    if products is None or products.shape[1] < FEWEST_GROUPS:
        return table
    n_groups = products.shape[1]
    of_slice = np.array([s.layer for s in embedding.slices])
    by_layer = [products[of_slice == layer].sum(0) for layer in layers]
    stacked = np.stack([*by_layer, products.sum(0)])
    share = np.full(n_groups, 1 / n_groups)
    drawn = np.random.default_rng(seed).multinomial(n_groups, share, n_resamples)
    n_texts = np.full(n_groups, embedding.n_samples // n_groups)
    n_texts[: embedding.n_samples % n_groups] += 1  # as `deal_groups` fills them
    counts = (drawn @ n_texts)[:, None]
    squares = np.einsum("rg,kgh,rh->rk", drawn, stacked, drawn, optimize=True)
    lengths = np.sqrt(np.maximum(squares, 0)) / counts
    spread = (lengths - lengths.mean(0)) * (n_groups / (n_groups - 1)) ** 0.5
    low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2], axis=0)
    observed = table["l2"].to_numpy()
    return table.assign(low=np.maximum(observed + low, 0), high=observed + high)
