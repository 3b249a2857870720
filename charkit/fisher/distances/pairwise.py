"""Distances between task embeddings, all pairs at once.

With h and g the numbers of two embeddings, v = 1/h and w = 1/g (variances of the weights), and R
of them:

    cosine             1 - cos(h / (h + g), g / (h + g)), Task2Vec's default
    plain_cosine       1 - cos(h, g), as for the embeddings of Vu and others
    normalized_cosine  1 - cos(v, w)
    correlation        1 - correlation of v and w
    asymmetric_kl      sum of KL(v, w) = (v/w - 1 + ln w - ln v) / 2, between Gaussians
    kl                 sum of max(KL(v, w), KL(w, v))
    jsd                mean of (KL(v, m) + KL(w, m)) / 2, m = (v + w) / 2
    entropy            ln 2 - mean of H(h / (h + g)), H the entropy of a coin in nats
    asymmetric         Task2Vec's d(h -> g) = cosine(h, g) - ALPHA cosine(h, trivial): both get
                       the prior added, the trivial embedding is only the prior; the prior
                       of a layer is the mean of all embeddings' numbers there (see `asymmetric`
                       for a trivial embedding of one's own)
    aitchison          root mean square of clr(h) - clr(g), clr(h) = ln h less its mean
    log_ratio          1 - cosine of ln(h / sum h) less its mean over a reference library

No fixed number is added: each embedding is first raised by ``epsilon`` times its own mean, so
that a dead weight divides nothing by zero and a change of units changes nothing: every distance
is the same after both embeddings were multiplied by one number.

Sampling noise lengthens distances; `charkit.fisher.distance_interval` corrects them.

References:
    Achille, Lam, Tewari, Ravichandran, Maji, Fowlkes, Soatto and Perona 2019, "Task2Vec: Task
    Embedding for Meta-Learning". Aitchison 1982, "The statistical analysis of compositional
    data". Cormack, Clarke and Buettcher 2009, "Reciprocal rank fusion outperforms Condorcet and
    individual rank learning methods". Vu, Wang, Munkhdalai, Sordoni, Trischler, Mattarella-Micke,
    Maji and Iyyer 2020, "Exploring and Predicting Transferability across NLP Tasks".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.errors import DataError, UnknownNameError, UsageError
from charkit.fisher.distances.formulas import ALPHA, FORMULAS, NO_FRAME, Frame, log_shares
from charkit.fisher.embedding import TaskEmbedding, check_comparable

FloatArray = NDArray[np.float64]

DISTANCES: tuple[str, ...] = tuple(FORMULAS)
"""The names of the distances; `charkit.fisher.distances.pairwise` has the formulas."""

EPSILON = 1e-6
"""What is added to each embedding, in units of its own mean."""

MIN_REFERENCE = 3
"""Fewest embeddings that ``log_ratio`` and ``asymmetric`` take a mean of."""


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
        layers: Compare only these layers.
        parts: Compare only these parts.
        reference: The library that ``log_ratio`` centres by and ``asymmetric`` takes its prior
            from; default the embeddings themselves.
        epsilon: What is added to each, in units of its own mean.

    Returns:
        Index and columns: the names, repeated ones with a number behind. Entry (a, b): from a to
        b; not symmetric for ``asymmetric_kl`` and ``asymmetric``.

    Raises:
        UnknownNameError: The metric is not known.
        UsageError: Embeddings cannot be compared, or the reference is too small.
        DataError: Numbers are negative, or all zero.
    """
    check_metric(metric)
    if not embeddings:
        raise UsageError("there is nothing to compare: expected at least one embedding, got none.")
    check_comparable([*embeddings, *(reference or ())])
    chosen = [_selected(e, layers, parts) for e in embeddings]
    numbers = raised(chosen, epsilon)
    library = numbers
    if reference is not None:
        library = raised([_selected(e, layers, parts) for e in reference], epsilon)
    frame = frame_of(metric, library, chosen[0])
    names = labels([e.name for e in embeddings])
    return pd.DataFrame(FORMULAS[metric].matrix(numbers, frame), index=names, columns=names)


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


def asymmetric(
    one: TaskEmbedding,
    other: TaskEmbedding,
    trivial: TaskEmbedding,
    *,
    metric: str = "cosine",
    alpha: float = ALPHA,
    added: bool = True,
    layers: Sequence[int] | None = None,
    parts: Sequence[str] | None = None,
) -> float:
    """Return the distance from a task to another, complex ones being nearer to all others.

    Task2Vec's ``d(one -> other) = d(one, other) - alpha d(one, trivial)``: what was learned on
    ``one`` is to be used for ``other``, and the distance to the trivial embedding is the
    complexity of ``one``. It may be negative.

    Args:
        one: The task that is learned from.
        other: The task that it is for.
        trivial: The embedding of a task without information, from `trivial_embedding`.
        metric: The symmetric distance d.
        alpha: Weight of complexity.
        added: Add the trivial embedding to both first, as embeddings of only the Fisher
            information need it; variational ones contain it, so use False for them.
        layers: Compare only these layers.
        parts: Compare only these parts.

    Raises:
        UnknownNameError: The metric is not known.
        UsageError: Embeddings cannot be compared, or the metric is not symmetric.

    References:
        Achille and others 2019, section 3.3: alpha = 0.15 with a ResNet-34.
    """
    check_metric(metric)
    if metric in ("asymmetric", "asymmetric_kl") or not np.isfinite(alpha):
        raise UsageError(
            f"asymmetric is made of a symmetric distance: expected another metric and a finite "
            f"alpha, got {metric} and {alpha}. Take cosine."
        )
    check_comparable([one, other, trivial])
    pair = [one + trivial, other + trivial] if added else [one, other]
    table = pairwise([*pair, trivial], metric=metric, layers=layers, parts=parts).to_numpy()
    return float(table[0, 1] - alpha * table[0, 2])


def layer_distances(
    embeddings: Sequence[TaskEmbedding],
    *,
    metric: str = "cosine",
    parts: Sequence[str] | None = None,
    reference: Sequence[TaskEmbedding] | None = None,
    epsilon: float = EPSILON,
) -> dict[int, pd.DataFrame]:
    """Return, for each layer, the distances on only that layer; arguments as for `pairwise`."""
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


def check_metric(metric: str) -> None:
    """Refuse a name that is not in `DISTANCES`.

    Raises:
        UnknownNameError: The metric is not known.
    """
    if metric not in DISTANCES:
        raise UnknownNameError("distance", metric, DISTANCES)


def labels(names: Sequence[str]) -> list[str]:
    """Return names for a table: unnamed ones say so, repeated ones get a number behind.

    >>> labels(["mr", "sst5", "mr", ""])
    ['mr', 'sst5', 'mr (2)', 'unnamed']
    """
    out: list[str] = []
    seen: Counter[str] = Counter()
    for name in names:
        base = label = name or "unnamed"
        while seen[label]:
            seen[base] += 1
            label = f"{base} ({seen[base]})"
        seen[label] += 1
        out.append(label)
    return out


def raised(embeddings: Sequence[TaskEmbedding], epsilon: float) -> FloatArray:
    """Return the numbers, (count, size), each row raised by epsilon times its mean.

    Raises:
        UsageError: Epsilon is out of range.
        DataError: Numbers are negative, not finite, or all zero.
    """
    if not (np.isfinite(epsilon) and epsilon > 0):
        raise UsageError(f"epsilon is out of range: expected above 0, got {epsilon}.")
    numbers = np.stack([e.values for e in embeddings])
    mean = numbers.mean(1, keepdims=True)
    for embedding, row, level in zip(embeddings, numbers, mean[:, 0], strict=True):
        if not (row.min() >= 0 and 0 < level < np.inf):
            raise DataError(
                f"{embedding.name or 'embedding'} has no distance: expected numbers of at "
                f"least 0, some above, got a least number of {row.min():.3g} and a mean of "
                f"{level:.3g}. Compare embeddings, not differences of them."
            )
    return np.asarray(numbers + epsilon * mean)


def frame_of(metric: str, library: FloatArray, like: TaskEmbedding) -> Frame:
    """Return what a distance takes from a library.

    Args:
        metric: The distance.
        library: The library's numbers, (count, size).
        like: An embedding with the same slices.

    Raises:
        UsageError: The library is too small.
    """
    if metric not in ("log_ratio", "asymmetric"):
        return NO_FRAME
    if len(library) < MIN_REFERENCE:
        raise UsageError(
            f"reference is too small: expected at least {MIN_REFERENCE} embeddings for {metric}, "
            f"got {len(library)}. Name a library with reference=, or take another metric."
        )
    if metric == "log_ratio":
        return Frame(centre=log_shares(library).mean(0))
    mean = library.mean(0)
    prior = np.empty_like(mean)
    layer_of_each = np.repeat([s.layer for s in like.slices], [s.size for s in like.slices])
    for layer in like.layers:
        chosen = layer_of_each == layer
        prior[chosen] = mean[chosen].mean()
    return Frame(prior=prior)


def _selected(
    embedding: TaskEmbedding, layers: Sequence[int] | None, parts: Sequence[str] | None
) -> TaskEmbedding:
    """Return some of the numbers; what was kept of every text is left behind."""
    if layers is None and parts is None:
        return embedding
    return replace(embedding, rows=None).select(layers=layers, parts=parts)


# -- the embedding of a task without information: the prior, and nothing else ---------------------


def trivial_embedding(
    like: TaskEmbedding | Sequence[TaskEmbedding],
    *,
    precision: float | Mapping[int, float] | None = None,
) -> TaskEmbedding:
    """Return the prior as an embedding: one positive number for each layer.

    Achille and others 2019, section 3.1: "In case the task is trivial (the loss is constant or
    there are too few samples) the embedding will coincide with the prior lambda^2 I, which we will
    refer to as the trivial embedding." With F = 0 in (beta / 2N) Lambda = F + (beta lambda^2 / 2N)
    I the prior is left: one number a layer. The paper's embeddings contain that term too. Direct
    embeddings (only F) do not, and the cosine of a / (a + b) and b / (a + b) against a constant
    would not measure complexity: as F shrinks it tends to 1 - cos(F, 1), not to zero. So add the
    trivial embedding first:

        complexity of a = d_sym(a + trivial, trivial)

    is zero for F = 0, rises with the norm of F, and is the same in other units if the prior is. A
    variational embedding has its prior inside: d_sym(a, trivial).

    Args:
        like: What it is to be compared with; slices, encoder and estimand are taken over. For the
            default precision, the library of all tasks that are compared: taken from only
            one task, the distance to it would not depend on that task's norm.
        precision: The prior in units of the embeddings' numbers, (beta / 2N) lambda^2, for all
            layers or each; default the mean of all of ``like`` on each layer, so that a change of
            units changes no distance. `charkit.fisher.variational.fit.fit_variational` learns it.

    Returns:
        Named ``trivial``, of no texts and no classes, without error.

    Raises:
        UsageError: There is nothing like it, embeddings cannot be compared, or a precision is
            missing or not above 0.
        DataError: A layer has nothing but zeros.

    References:
        Achille, Lam, Tewari, Ravichandran, Maji, Fowlkes, Soatto and Perona 2019, "Task2Vec:
        Task Embedding for Meta-Learning", sections 3.1 and 3.3.
    """
    library = [like] if isinstance(like, TaskEmbedding) else list(like)
    if not library:
        raise UsageError("there is nothing like it: expected at least one embedding, got none.")
    check_comparable(library)
    first = library[0]
    levels = _means(library) if precision is None else _given(first, precision)
    values = np.concatenate([np.full(s.size, levels[s.layer]) for s in first.slices])
    return replace(
        first,
        values=values,
        standard_error=np.zeros_like(values),
        name="trivial",
        head_fingerprint="",
        n_classes=0,
        n_samples=0,
        frac_truncated=0.0,
        text_fingerprint="",
        draw_error=0.0,
        stopped_early=False,
        rows=None,
        group_products=None,
    )


def _means(library: Sequence[TaskEmbedding]) -> dict[int, float]:
    first = library[0]
    mean = np.mean([e.values for e in library], axis=0)
    levels = {}
    for layer in first.layers:
        chosen = np.concatenate([mean[s.start : s.stop] for s in first.slices if s.layer == layer])
        levels[layer] = float(chosen.mean())
        if not levels[layer] > 0:
            raise DataError(
                f"layer {layer} has no prior: expected numbers above 0 on average, got a mean of "
                f"{levels[layer]:.3g}. Give a precision."
            )
    return levels


def _given(first: TaskEmbedding, precision: float | Mapping[int, float]) -> dict[int, float]:
    given = precision if isinstance(precision, Mapping) else dict.fromkeys(first.layers, precision)
    for layer in first.layers:
        value = given.get(layer)
        if value is None or not (np.isfinite(value) and value > 0):
            raise UsageError(
                f"precision is out of range: expected a number above 0 for layer {layer}, got "
                f"{value}."
            )
    return {layer: float(given[layer]) for layer in first.layers}
