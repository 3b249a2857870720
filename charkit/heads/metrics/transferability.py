"""Scores of features without a trained head: LogME, H-score, nearest neighbours.

They rank encoders and layers by how well their features could carry a label. They are kept as
rivals that a trained head has to beat, not as answers. Every one of them is fooled by samples
that are small against the width; each says below what guards it.

References:
    You, Liu, Wang and Long 2021, "LogME: Practical assessment of pre-trained models".
    Bao, Li, Huang, Zhang, Zheng, Zamir and Guibas 2019, "An information-theoretic approach to
    transferability in task transfer learning" (H-score).
    Ibrahim, Ponomareva and Mazumder 2022, "Newer is not always better: rethinking
    transferability metrics, their peculiarities, stability and performance" (shrinkage).
    Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from charkit.config import TaskKind
from charkit.errors import DataError, UsageError

FloatArray = NDArray[np.float64]

# The fixed point of the evidence ends when the ratio changes by less than this; the rounds only
# bound it. The same number stands for zero under a division.
_ROUNDS = 200
_CLOSE = 1e-8


def log_evidence(
    features: ArrayLike, labels: ArrayLike, *, kind: TaskKind = "classification"
) -> float:
    """Return LogME: the largest evidence of a Bayesian linear model, in nats a contrast and target.

    Targets are the indicators of the classes, or the real labels. The precisions of weights and
    noise are set by maximum marginal likelihood, so that features wider than the sample do not
    interpolate it for free. The means of features and targets carry nothing: the evidence is that
    of the n - 1 contrasts between rows.

    Args:
        features: Shape (n_samples, width).
        labels: Shape (n_samples,).
        kind: What the labels are.

    Raises:
        DataError: Fewer than 3 rows, labels that do not vary, features that are not finite.
    """
    x, targets = _prepared(features, labels, kind)
    left, sizes, _ = np.linalg.svd(x, full_matrices=False)
    kept = sizes > sizes[0] * max(x.shape) * np.finfo(np.float64).eps
    if not kept.any():
        raise DataError("features do not vary: expected some that do, got constants.")
    found = [
        _evidence(sizes[kept] ** 2, (left[:, kept].T @ y) ** 2, float(y @ y), len(x) - 1)
        for y in targets.T
    ]
    return float(np.mean(found)) / (len(x) - 1)


def _evidence(squares: FloatArray, inside: FloatArray, total: float, n_samples: int) -> float:
    """Return the largest log evidence over both precisions, found by MacKay's fixed point.

    Args:
        squares: Squared singular values of the features, (rank,).
        inside: Squared coordinates of the target along the left singular vectors, (rank,).
        total: Squared length of the target.
        n_samples: Number of contrasts.
    """
    outside = max(0.0, total - float(inside.sum()))
    ratio = 1.0  # precision of the weights over that of the noise
    noise = 1.0
    for _ in range(_ROUNDS):
        freedom = float((squares / (squares + ratio)).sum())
        weights = float((inside * squares / (squares + ratio) ** 2).sum())
        rest = outside + float((inside * (ratio / (squares + ratio)) ** 2).sum())
        noise = max(n_samples - freedom, _CLOSE) / max(rest, _CLOSE * total)
        precision = freedom / max(weights, _CLOSE * total / float(squares.max()))
        previous, ratio = ratio, precision / noise
        if abs(np.log(ratio / previous)) < _CLOSE:
            break
    variance = squares / (ratio * noise) + 1 / noise
    away = n_samples - len(squares)
    return -0.5 * float(
        n_samples * np.log(2 * np.pi)
        + np.log(variance).sum()
        - away * np.log(noise)
        + (inside / variance).sum()
        + outside * noise
    )


def h_score(features: ArrayLike, labels: ArrayLike) -> float:
    """Return the shrinkage H-score: tr(covariance^-1 covariance of class means), 0 to C - 1.

    The covariance of the features is Ledoit and Wolf's, which is invertible for any width, and
    the means of the classes are shrunk by the same share.

    Args:
        features: Shape (n_samples, width).
        labels: Class codes, (n_samples,).

    Raises:
        DataError: Fewer than 3 rows, one class, features that are not finite.
    """
    from sklearn.covariance import ledoit_wolf

    x, targets = _prepared(features, labels, "classification")
    covariance, shrinkage = ledoit_wolf(x, assume_centered=True)
    hot = targets > 0  # centred indicators are above 0 only in their class
    counts = hot.sum(0)
    means = (hot.T @ x) / counts[:, None]
    between = means.T @ (means * (counts / len(x))[:, None])
    return float((1 - shrinkage) * np.trace(np.linalg.solve(covariance, between)))


def neighbour_accuracy(features: ArrayLike, labels: ArrayLike, *, k: int = 5) -> float:
    """Return the leave-one-out accuracy of k nearest neighbours by cosine of centred features.

    Ties between classes go to the class of the nearest neighbour among them.

    Args:
        features: Shape (n_samples, width).
        labels: Class codes, (n_samples,).
        k: Neighbours; fewer where the sample is smaller.

    Returns:
        Share of rows, from 0 to 1.

    Raises:
        DataError: Fewer than 3 rows, one class, features that are not finite.
        UsageError: k is below 1.
    """
    if k < 1:
        raise UsageError(f"k is out of range: expected at least 1, got {k}.")
    x, targets = _prepared(features, labels, "classification")
    codes = targets.argmax(1)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    unit = x / np.where(lengths > 0, lengths, 1)
    k = min(k, len(x) - 1)
    right = 0
    for first in range(0, len(x), 1024):
        block = unit[first : first + 1024] @ unit.T
        rows = np.arange(len(block))
        block[rows, first + rows] = -np.inf
        near = np.argsort(-block, axis=1, kind="stable")[:, :k]
        votes = np.zeros((len(block), targets.shape[1]))
        weight = 1 - np.arange(k) / (1000 * k)  # nearer ones break ties
        for place in range(k):
            votes[rows, codes[near[:, place]]] += weight[place]
        right += int((votes.argmax(1) == codes[first : first + 1024]).sum())
    return right / len(x)


def _prepared(features: ArrayLike, labels: ArrayLike, kind: TaskKind) -> tuple[Any, Any]:
    """Return centred features (n, width) and centred targets (n, n_targets), float64."""
    x = np.asarray(features, np.float64)
    y = np.asarray(labels)
    if x.ndim != 2 or y.shape != x.shape[:1] or len(x) < 3:
        raise DataError(
            "features and labels do not fit: expected (n_samples, width) and (n_samples,) with at "
            f"least 3 rows, got {x.shape} and {y.shape}."
        )
    if not np.isfinite(x).all():
        raise DataError("features are not finite: expected numbers, got NaN or infinity.")
    targets = y[:, None].astype(np.float64)
    if kind == "classification":
        targets = (y[:, None] == np.unique(y)).astype(np.float64)
    if len(np.unique(y)) < 2:
        raise DataError("labels do not vary: expected at least 2 values, got 1.")
    return x - x.mean(0), targets - targets.mean(0)


# -- what scores without a trained head make of a layer, as a row next to the heads' own score ----


@dataclass(frozen=True)
class Rivals:
    """Scores of a layer's features and labels, the larger the better; NaN where there is none.

    Attributes:
        logme: Nats a contrast and target, see `charkit.heads.metrics.transferability.log_evidence`.
        h_score: 0 to C - 1; classification only.
        knn: Leave-one-out accuracy of five nearest neighbours; classification only.
    """

    logme: float
    h_score: float
    knn: float


def rival_scores(features: ArrayLike, labels: ArrayLike, *, kind: TaskKind) -> Rivals:
    """Return the rivals' scores of one layer.

    Args:
        features: Shape (n_samples, width).
        labels: Shape (n_samples,).
        kind: What the labels are.

    Returns:
        The scores; all NaN where the sample allows none (fewer than 3 rows, constant labels).
    """
    none = float("nan")
    x, y = np.asarray(features, np.float64), np.asarray(labels)
    try:
        logme = log_evidence(x, y, kind=kind)
    except DataError:
        return Rivals(none, none, none)
    if kind == "regression":
        return Rivals(logme, none, none)
    return Rivals(logme, h_score(x, y), neighbour_accuracy(x, y))
