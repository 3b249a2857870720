"""Scores of a labelled sample, layer by layer: of its features, and of heads on parts of it.

LogME, H-score and nearest neighbours of all layers of one small sample, as one batch.

The same numbers as `charkit.heads.metrics.transferability` gives layer by layer, from the products
of all pairs of rows: quick where samples are many and small.

The learning curve inside a labelled sample: heads on parts of it, tested on the other rows.

Several parts of each size are drawn. All parts of a size have the same count of each class (that
of a nested stratified sample, as in a sweep), and within a class they go round a circle of its
rows, so that every row is left out about equally often. Equal counts also let all parts and all
layers be solved as one batch. The penalty of a layer's heads is the one chosen on the whole
sample: in total terms the best one hardly depends on the size.

Rows left out are weighted so that classes keep their shares in the sample.

References:
    See `charkit.heads.metrics.transferability`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charkit.errors import UsageError
from charkit.heads.sample.out_of_fold import TOLERANCE, raw_heads
from charkit.heads.solver.design import chunk_size, make_design
from charkit.heads.solver.minimise import Problem, minimise, prior_weights
from charkit.tasks.nested import nested_order

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class PartScores:
    """How heads on parts of a sample do on the rows left out.

    Attributes:
        accuracy: Share right, (n_layers,).
        loss: Mean log loss in nats, (n_layers,).
    """

    accuracy: FloatArray
    loss: FloatArray


def circular_parts(labels: IntArray, size: int, n_parts: int, *, seed: int) -> IntArray:
    """Return rows of some parts of a sample, each sorted by class, (n_parts, size).

    Args:
        labels: Class codes, (n,).
        size: Rows of a part, from 1 to n - 1.
        n_parts: How many.
        seed: Of the order of rows.

    Raises:
        UsageError: The size is out of range.
    """
    if not 1 <= size < len(labels) or n_parts < 1:
        raise UsageError(
            f"parts are out of range: expected 1 to {len(labels) - 1} rows and at least one part, "
            f"got {size} rows and {n_parts} parts."
        )
    chosen = labels[nested_order(labels, seed=seed, kind="classification")[:size]]
    rng = np.random.default_rng(seed)
    parts = []
    for code in np.unique(chosen):
        circle = rng.permutation(np.flatnonzero(labels == code))
        count = int((chosen == code).sum())
        places = np.arange(n_parts)[:, None] * count + np.arange(count)
        parts.append(circle[places % len(circle)])
    return np.concatenate(parts, 1)


def part_scores(
    features: Tensor, labels: IntArray, parts: IntArray, penalty: FloatArray
) -> PartScores:
    """Train heads on each part and test them on the rows left out.

    Args:
        features: Raw features, (n_layers, n, width).
        labels: Class codes, (n,).
        parts: Rows of each part, the same classes in the same places, (n_parts, size).
        penalty: Total penalty of each layer's heads, (n_layers,).

    Returns:
        NaN where no row is left out, or the parts have one class.
    """
    codes, names = labels[parts[0]], np.unique(labels[parts[0]])
    out = np.ones((len(parts), len(labels)), bool)
    np.put_along_axis(out, parts, False, 1)
    weights = _row_weights(labels, out)
    n_layers = features.shape[0]
    if len(names) < 2 or not weights.any():
        nothing = np.full(n_layers, np.nan)
        return PartScores(nothing, nothing)
    inner = torch.from_numpy(np.searchsorted(names, codes))
    place = np.searchsorted(names, labels).clip(max=len(names) - 1)
    known = names[place] == labels
    accuracy, loss = np.zeros(n_layers), np.zeros(n_layers)
    rows = torch.from_numpy(parts)
    with torch.inference_mode():
        for layer in range(n_layers):
            right, cost = _judge(features[layer], rows, inner, float(penalty[layer]), place)
            right, cost = right * known, np.where(known, cost, np.log(len(labels)))
            accuracy[layer], loss[layer] = (weights * right).sum(), (weights * cost).sum()
    return PartScores(np.minimum(accuracy, 1.0), loss)  # the sum may round above one


def _judge(
    features: Tensor, parts: Tensor, codes: Tensor, penalty: float, place: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return whether each row is right, and its log loss, for each part, (n_parts, n)."""
    step = chunk_size(features[parts[:1]])
    right, cost = [], []
    index = torch.from_numpy(place)
    for start in range(0, len(parts), step):
        design = make_design(features[parts[start : start + step]])
        strength = torch.full((design.rows.shape[0],), penalty / parts.shape[1]).double()
        problem = Problem(design, codes, strength)
        start_weights = prior_weights(problem, int(codes.max()) + 1)
        weights, bias = raw_heads(design, minimise(problem, start_weights, tolerance=TOLERANCE))
        logits = (weights @ features.mT + bias.unsqueeze(2)).double()
        logs = torch.log_softmax(logits, 1)
        right.append((logits.argmax(1) == index).double())
        cost.append(-logs.gather(1, index.expand(logs.shape[0], 1, -1))[:, 0])
    return torch.cat(right).numpy(), torch.cat(cost).numpy()


def _row_weights(labels: IntArray, out: NDArray[np.bool_]) -> FloatArray:
    """Return weights of the rows left out that keep the shares of the classes; sum 1 or 0."""
    weights = np.zeros(out.shape)
    for code in np.unique(labels):
        inside = out & (labels == code)
        weights[inside] = (labels == code).sum() / max(int(inside.sum()), 1)
    return np.asarray(weights / max(weights.sum(), np.finfo(np.float64).tiny))


# The fixed point of MacKay's evidence ends when the ratio changes by less than a millionth; the
# rounds only bound it where it creeps.
_ROUNDS = 200
_CLOSE = 1e-6

# Stands for zero under a division, relative to the total: a sample that is fitted exactly.
_SMALL = 1e-8
_ROUNDING = 1e-12  # of the largest squared singular value


@dataclass(frozen=True)
class SampleScores:
    """Scores of each layer's features, each (n_layers,).

    Attributes:
        logme: Evidence in nats a contrast and target.
        h_score: From 0 to 1: the shrinkage H-score over the number of classes less 1.
        knn_accuracy: Leave-one-out accuracy of the nearest neighbours by cosine.
    """

    logme: FloatArray
    h_score: FloatArray
    knn_accuracy: FloatArray


def sample_scores(features: FloatArray, labels: IntArray, *, k: int = 5) -> SampleScores:
    """Return the scores of each layer.

    Args:
        features: Shape (n_layers, n, width).
        labels: Class codes of at least 2 classes, (n,).
        k: Neighbours; fewer where the sample is smaller.

    Returns:
        NaN for fewer than 3 rows, and for layers that do not vary.
    """
    nothing = np.full(len(features), np.nan)
    if features.shape[1] < 3:
        return SampleScores(nothing, nothing, nothing)
    x = features - features.mean(1, keepdims=True)
    hot = (labels[:, None] == np.unique(labels)).astype(np.float64)
    products = x @ x.transpose(0, 2, 1)
    squares, left = np.linalg.eigh(products)
    varies = squares[:, -1] > 0
    squares = np.where(varies[:, None], np.maximum(squares, 0), 1.0)
    kept = squares > squares[:, -1:] * _ROUNDING
    logme = _log_evidence(squares, left, kept, hot)
    score = _h_score(products, squares, left, kept, hot, x.shape[2])
    near = _neighbours(products, hot, k)
    return SampleScores(*(np.where(varies, v, np.nan) for v in (logme, score, near)))


def _log_evidence(
    squares: FloatArray, left: FloatArray, kept: NDArray[np.bool_], hot: FloatArray
) -> FloatArray:
    """Return LogME by MacKay's fixed point, all layers and classes at once."""
    targets = hot - hot.mean(0)
    n = len(hot) - 1
    some = kept.any(0)  # directions that no layer's rows span add nothing below
    squares, left, kept = squares[:, some], left[:, :, some], kept[:, some]
    s = np.where(kept, squares, 0.0)[:, :, None]
    inside = np.where(kept[:, :, None], (left.transpose(0, 2, 1) @ targets) ** 2, 0.0)
    total = (targets**2).sum(0)
    outside = np.maximum(0.0, total - inside.sum(1))
    largest = np.maximum(s.max(1), np.finfo(np.float64).tiny)
    ratio = np.ones_like(outside)
    noise = np.ones_like(outside)
    for _ in range(_ROUNDS):
        damped = s + ratio[:, None]
        freedom = (s / damped).sum(1)
        weights = (inside * s / damped**2).sum(1)
        rest = outside + (inside * (ratio[:, None] / damped) ** 2).sum(1)
        noise = np.maximum(n - freedom, _SMALL) / np.maximum(rest, _SMALL * total)
        precision = freedom / np.maximum(weights, _SMALL * total / largest)
        previous, ratio = ratio, np.maximum(precision / noise, np.finfo(np.float64).tiny)
        if np.abs(np.log(ratio / previous)).max() < _CLOSE:
            break
    variance = s / (ratio * noise)[:, None] + 1 / noise[:, None]
    mask = kept[:, :, None]
    logs = np.where(mask, np.log(variance), 0.0).sum(1)
    explained = np.where(mask, inside / variance, 0.0).sum(1)
    away = n - kept.sum(1)[:, None]
    evidence = -0.5 * (
        n * np.log(2 * np.pi) + logs - away * np.log(noise) + explained + outside * noise
    )
    return np.asarray(evidence.mean(1) / n)


def _h_score(
    products: FloatArray,
    squares: FloatArray,
    left: FloatArray,
    kept: NDArray[np.bool_],
    hot: FloatArray,
    width: int,
) -> FloatArray:
    """Return the H-score under Ledoit and Wolf's covariance, over the classes less 1."""
    n = len(hot)
    lengths = np.diagonal(products, axis1=1, axis2=2)
    mean = lengths.sum(1) / n / width
    square = (squares**2).sum(1) / n**2
    beta = ((lengths**2).sum(1) / n - square) / (width * n)
    delta = (square - width * mean**2) / width
    share = np.where(delta > 0, np.minimum(beta, delta) / np.where(delta > 0, delta, 1), 0.0)
    counts = hot.sum(0)
    values = np.where(kept, squares, 0.0)
    places = (left.transpose(0, 2, 1) @ (hot / counts)) ** 2 * values[:, :, None]
    between = (places * (counts / n)).sum(2)
    variance = (1 - share)[:, None] * values / n + (share * mean)[:, None]
    explained = np.divide(
        between, variance, out=np.zeros_like(between), where=kept & (variance > 0)
    )
    return np.asarray((1 - share) * explained.sum(1) / (hot.shape[1] - 1))


def _neighbours(products: FloatArray, hot: FloatArray, k: int) -> FloatArray:
    """Return the accuracy of the nearest rows' votes; the nearer one breaks ties."""
    n = len(hot)
    k = min(k, n - 1)
    lengths = np.sqrt(np.maximum(np.diagonal(products, axis1=1, axis2=2), 0))
    unit = np.where(lengths > 0, lengths, 1)
    cosines = products / unit[:, :, None] / unit[:, None]
    cosines[:, np.arange(n), np.arange(n)] = -np.inf
    near = np.argpartition(-cosines, k - 1, axis=2)[:, :, :k]
    order = np.argsort(-np.take_along_axis(cosines, near, 2), axis=2, kind="stable")
    codes = hot.argmax(1)[np.take_along_axis(near, order, 2)]
    votes = np.zeros((*codes.shape[:2], hot.shape[1]))
    weight = 1 - np.arange(k) / (1000 * k)
    for place in range(k):
        column = codes[:, :, place, None]
        new = np.take_along_axis(votes, column, 2) + weight[place]
        np.put_along_axis(votes, column, new, 2)
    return np.asarray((votes.argmax(2) == hot.argmax(1)).mean(1))
