"""Distances between task embeddings, all pairs at once.

With h and g the numbers of two embeddings, v = 1/h and w = 1/g (variances of the weights), and R
of them:

    cosine             1 - cos(h / (h + g), g / (h + g)), Task2Vec's default
    normalized_cosine  1 - cos(v, w)
    correlation        1 - correlation of v and w
    asymmetric_kl      sum of KL(v, w) = (v/w - 1 + ln w - ln v) / 2, between Gaussians
    kl                 sum of max(KL(v, w), KL(w, v))
    jsd                mean of (KL(v, m) + KL(w, m)) / 2, m = (v + w) / 2
    entropy            ln 2 - mean of H(h / (h + g)), H the entropy of a coin in nats
    asymmetric         Task2Vec's d(h -> g) = cosine(h, g) - ALPHA cosine(h, trivial): both get
                       the prior added, the trivial embedding is the prior alone; the prior
                       of a layer is the mean of all embeddings' numbers there
    aitchison          root mean square of clr(h) - clr(g), clr(h) = ln h less its mean
    log_ratio          1 - cosine of ln(h / sum h) less its mean over a reference library

No fixed number is added: each embedding is first raised by ``epsilon`` times its own mean, so
that a dead weight divides nothing by nought and a change of units changes nothing.

References:
    Achille, Lam, Tewari, Ravichandran, Maji, Fowlkes, Soatto and Perona 2019, "Task2Vec: Task
    Embedding for Meta-Learning". Aitchison 1982, "The statistical analysis of compositional
    data". Cormack, Clarke and Buettcher 2009, "Reciprocal rank fusion outperforms Condorcet and
    individual rank learning methods".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.errors import DataError, UnknownNameError, UsageError
from charkit.fisher.embedding import TaskEmbedding, check_comparable

FloatArray = NDArray[np.float64]

ALPHA = 0.15
"""Weight of the distance to the trivial embedding in ``asymmetric``."""

EPSILON = 1e-6
"""What is added to each embedding, in units of its own mean."""

_BLOCK_NUMBERS = 1 << 17


# -- sums over coordinates of a function of one pair, many pairs at once -------------------


def _all_pairs(
    numbers: FloatArray, reduce: Callable[[FloatArray, FloatArray], FloatArray]
) -> FloatArray:
    """Return the symmetric matrix of ``reduce(h, others)``; nought on the diagonal."""
    count, size = numbers.shape
    out = np.zeros((count, count))
    step = max(1, _BLOCK_NUMBERS // size)
    for row in range(count):
        for first in range(row + 1, count, step):
            block = slice(first, min(first + step, count))
            out[row, block] = reduce(numbers[row], numbers[block])
    return out + out.T


def _cosine_pair(one: FloatArray, others: FloatArray) -> FloatArray:
    """Return the cosine distance without cancellation.

    With z = (h - g) / (2 (h + g)) the two vectors are 1/2 + z and 1/2 - z, and 1 - cos is
    (R sum z^2 - (sum z)^2) / (s (s + c)), s the product of their lengths, c their product.
    """
    size = one.shape[0]
    z = others + one
    np.divide(others, z, out=z)
    np.subtract(0.5, z, out=z)  # 1/2 - g / (h + g) = (h - g) / (2 (h + g))
    mean = z.mean(1)
    square = np.einsum("ij,ij->i", z, z) / size
    product = 0.25 - square
    lengths = np.sqrt((0.25 + square) ** 2 - mean**2)
    spread = np.maximum(square - mean**2, 0)
    return np.asarray(spread / (lengths * (lengths + product)))


def _kl_pair(one: FloatArray, others: FloatArray) -> FloatArray:
    ratio = others / one
    np.maximum(ratio, 1 / ratio, out=ratio)
    return np.asarray(np.maximum(0.5 * (ratio - 1 - np.log(ratio)).sum(1), 0))


def _jsd_pair(one: FloatArray, others: FloatArray) -> FloatArray:
    middle = np.log((1 / one + 1 / others) / 2)
    found = (0.5 * middle + 0.25 * (np.log(one) + np.log(others))).mean(1)
    return np.asarray(np.maximum(found, 0))


def _entropy_pair(one: FloatArray, others: FloatArray) -> FloatArray:
    total = one + others
    share, rest = one / total, others / total
    found = np.log(2) + (share * np.log(share) + rest * np.log(rest)).mean(1)
    return np.asarray(np.maximum(found, 0))


# -- the distances: numbers of all embeddings (count, size) -> matrix (count, count) -----------


def _cosine(h: FloatArray) -> FloatArray:
    return _all_pairs(h, _cosine_pair)


def _kl(h: FloatArray) -> FloatArray:
    return _all_pairs(h, _kl_pair)


def _jsd(h: FloatArray) -> FloatArray:
    return _all_pairs(h, _jsd_pair)


def _entropy(h: FloatArray) -> FloatArray:
    return _all_pairs(h, _entropy_pair)


def _between_lines(vectors: FloatArray) -> FloatArray:
    """Return 1 - cosine of all pairs of rows."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(length > 0, length, 1)
    out = np.clip(1 - unit @ unit.T, 0, 2)
    np.fill_diagonal(out, 0)
    return np.asarray(out)


def _normalized_cosine(h: FloatArray) -> FloatArray:
    return _between_lines(1 / h)


def _correlation(h: FloatArray) -> FloatArray:
    variances = 1 / h
    return _between_lines(variances - variances.mean(1, keepdims=True))


def _asymmetric_kl(h: FloatArray) -> FloatArray:
    logs = np.log(h).sum(1)
    out = 0.5 * ((1 / h) @ h.T - h.shape[1] + logs[:, None] - logs[None, :])
    np.fill_diagonal(out, 0)
    return np.asarray(np.maximum(out, 0))


def _aitchison(h: FloatArray) -> FloatArray:
    logs = np.log(h)
    logs -= logs.mean(1, keepdims=True)
    square = (logs**2).sum(1)
    out = np.sqrt(np.maximum(square[:, None] + square - 2 * logs @ logs.T, 0) / h.shape[1])
    np.fill_diagonal(out, 0)
    return np.asarray(out)


_PLAIN: dict[str, Callable[[FloatArray], FloatArray]] = {
    "cosine": _cosine,
    "normalized_cosine": _normalized_cosine,
    "correlation": _correlation,
    "kl": _kl,
    "asymmetric_kl": _asymmetric_kl,
    "jsd": _jsd,
    "entropy": _entropy,
    "aitchison": _aitchison,
}

DISTANCES: tuple[str, ...] = (*_PLAIN, "asymmetric", "log_ratio")
"""The names of the distances; `charkit.fisher.distances` has the formulas."""


def _log_shares(h: FloatArray) -> FloatArray:
    return np.asarray(np.log(h / h.sum(1, keepdims=True)))


def _log_ratio(h: FloatArray, reference: FloatArray) -> FloatArray:
    return _between_lines(_log_shares(h) - _log_shares(reference).mean(0))


def _asymmetric(
    h: FloatArray, reference: FloatArray, layer_of_each: NDArray[np.int64]
) -> FloatArray:
    prior = np.empty(h.shape[1])
    for layer in np.unique(layer_of_each):
        chosen = layer_of_each == layer
        prior[chosen] = reference[:, chosen].mean()
    raised = h + prior
    to_trivial = _cosine_pair(prior, raised)
    out = _cosine(raised) - ALPHA * to_trivial[:, None]
    np.fill_diagonal(out, 0)
    return np.asarray(out)


# -- what users call -----------------------------------------------------------------------


def pairwise(
    embeddings: Sequence[TaskEmbedding],
    *,
    metric: str = "cosine",
    layers: Sequence[int] | None = None,
    parts: Sequence[str] | None = None,
    reference: Sequence[TaskEmbedding] | None = None,
    epsilon: float = EPSILON,
) -> pd.DataFrame:
    """Return the distances between all pairs of embeddings.

    Args:
        embeddings: At least one, all comparable (see `check_comparable`).
        metric: One of `DISTANCES`.
        layers: Compare these layers alone.
        parts: Compare these parts alone.
        reference: The library that ``log_ratio`` centres by and ``asymmetric`` takes its prior
            from; default the embeddings themselves.
        epsilon: What is added to each, in units of its own mean.

    Returns:
        Index and columns: the names. Entry (a, b): from a to b; not symmetric for
        ``asymmetric_kl`` and ``asymmetric``.

    Raises:
        UnknownNameError: The metric is not known.
        UsageError: Embeddings cannot be compared, or the reference is too small.
        DataError: Numbers are negative, or all nought.
    """
    if metric not in DISTANCES:
        raise UnknownNameError("distance", metric, DISTANCES)
    if not embeddings:
        raise UsageError("there is nothing to compare: expected at least one embedding, got none.")
    check_comparable([*embeddings, *(reference or ())])
    chosen = [e.select(layers=layers, parts=parts) for e in embeddings]
    numbers = _stacked(chosen, epsilon)
    if metric in _PLAIN:
        matrix = _PLAIN[metric](numbers)
    else:
        library = numbers
        if reference is not None:
            library = _stacked([e.select(layers=layers, parts=parts) for e in reference], epsilon)
        if len(library) < 3:
            raise UsageError(
                f"reference is too small: expected at least 3 embeddings for {metric}, got "
                f"{len(library)}. Name a library with reference=, or take another metric."
            )
        if metric == "log_ratio":
            matrix = _log_ratio(numbers, library)
        else:
            matrix = _asymmetric(numbers, library, _layers(chosen[0]))
    names = [e.name for e in embeddings]
    return pd.DataFrame(matrix, index=names, columns=names)


def distance(
    one: TaskEmbedding,
    other: TaskEmbedding,
    *,
    metric: str = "cosine",
    layers: Sequence[int] | None = None,
    parts: Sequence[str] | None = None,
    reference: Sequence[TaskEmbedding] | None = None,
    epsilon: float = EPSILON,
) -> float:
    """Return the distance from one embedding to another; arguments as for `pairwise`."""
    table = pairwise(
        [one, other],
        metric=metric,
        layers=layers,
        parts=parts,
        reference=reference,
        epsilon=epsilon,
    )
    return float(table.to_numpy()[0, 1])


def layer_distances(
    embeddings: Sequence[TaskEmbedding],
    *,
    metric: str = "cosine",
    parts: Sequence[str] | None = None,
    reference: Sequence[TaskEmbedding] | None = None,
    epsilon: float = EPSILON,
) -> dict[int, pd.DataFrame]:
    """Return, for each layer, the distances on that layer alone; arguments as for `pairwise`."""
    if not embeddings:
        raise UsageError("there is nothing to compare: expected at least one embedding, got none.")
    return {
        layer: pairwise(
            embeddings,
            metric=metric,
            layers=(layer,),
            parts=parts,
            reference=reference,
            epsilon=epsilon,
        )
        for layer in embeddings[0].layers
    }


def fuse_ranks(tables: Sequence[pd.DataFrame], *, constant: float = 60.0) -> pd.DataFrame:
    """Return one matrix from several by reciprocal ranks.

    In each table every row ranks the others, the nearest 1; ties share the mean rank. Entry
    (a, b) is 1 - mean over tables of (constant + 1) / (constant + rank of b for a): 0 where b is
    nearest to a in every table. The matrix is not symmetric.

    Args:
        tables: Distance matrices with the same names.
        constant: The larger it is, the less the first ranks count.

    Raises:
        UsageError: There is no table, or names differ.
    """
    if not tables or any(list(t.index) != list(tables[0].index) for t in tables):
        raise UsageError("tables cannot be fused: expected one or more with the same names.")
    total = np.zeros(tables[0].shape)
    for table in tables:
        values = table.to_numpy(np.float64, copy=True)
        np.fill_diagonal(values, -np.inf)  # oneself ranks 0
        ranks = pd.DataFrame(values).rank(axis=1).to_numpy() - 1
        total += (constant + 1) / (constant + np.maximum(ranks, 1))
    fused = 1 - total / len(tables)
    np.fill_diagonal(fused, 0)
    return pd.DataFrame(fused, index=tables[0].index, columns=tables[0].columns)


def fused_distances(
    embeddings: Sequence[TaskEmbedding],
    *,
    metric: str = "cosine",
    parts: Sequence[str] | None = None,
    reference: Sequence[TaskEmbedding] | None = None,
    constant: float = 60.0,
) -> pd.DataFrame:
    """Return the layers' distances fused by reciprocal rank (see `fuse_ranks`)."""
    tables = layer_distances(embeddings, metric=metric, parts=parts, reference=reference)
    return fuse_ranks(list(tables.values()), constant=constant)


def _layers(embedding: TaskEmbedding) -> NDArray[np.int64]:
    return np.repeat([s.layer for s in embedding.slices], [s.size for s in embedding.slices])


def _stacked(embeddings: Sequence[TaskEmbedding], epsilon: float) -> FloatArray:
    """Return the numbers, (count, size), each row raised by epsilon times its mean."""
    if not (np.isfinite(epsilon) and epsilon > 0):
        raise UsageError(f"epsilon is out of range: expected above 0, got {epsilon}.")
    numbers = np.stack([e.values for e in embeddings])
    mean = numbers.mean(1, keepdims=True)
    for embedding, row, level in zip(embeddings, numbers, mean[:, 0], strict=True):
        if row.min() < 0 or not level > 0:
            raise DataError(
                f"{embedding.name or 'embedding'} has no distance: expected numbers of at "
                f"least 0, some above, got a least number of {row.min():.3g} and a mean of "
                f"{level:.3g}. Compare embeddings, not differences of them."
            )
    return np.asarray(numbers + epsilon * mean)
