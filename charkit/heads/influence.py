"""Metrics of many heads with each row's influence on them.

The influence of a row is how far the metric moves, to first order, for a little more weight on
that row. Influences sum to zero, and their variance over m rows divided by m is the metric's
sampling variance (delta method). Metric plus influence makes one number a row whose mean is the
metric, so that one rule for means serves accuracy, F1, Matthews and correlations alike.

The heads of a whole labelled sample, and what they predict for each row when it is left out.

One head a layer, its strength chosen as in a sweep. The leave-one-out predictions come from the
same fits (`charkit.heads.leave_one_out`): no fold is held out, so they are those of heads trained
on all rows but one. The only row of a class shows nothing: without it the class is unknown.

Samples are stratified, but a sample without one row is not: its class has lost a share, most
where classes are small, and its head leans away from its own class (without any signal, two equal
classes would be predicted wrong every time). So the odds of the row's own class are multiplied by
k / (k - 1), for k rows of the class: the share that it has in the whole sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charkit.errors import DataError, UnknownNameError
from charkit.heads.design import Design, check_codes, check_shapes, chunk_size, make_design
from charkit.heads.intervals import FloatArray
from charkit.heads.leave_one_out import PENALTIES, left_out_logits, solve_path
from charkit.heads.minimise import Minimum, Problem, minimise, prior_weights

IntArray = NDArray[np.int64]

CLASS_METRICS = ("accuracy", "f1", "macro_f1", "balanced_accuracy", "matthews")
"""Headline metrics of classification."""

METRICS = (*CLASS_METRICS, "pearson_spearman")
"""Headline metrics of tasks."""


class Estimate(NamedTuple):
    """A metric of B heads on m rows."""

    value: FloatArray  # (B,)
    influence: FloatArray  # (B, m)

    @property
    def variance(self) -> FloatArray:
        """The sampling variance of the value, (B,); zero where it is unknown."""
        return np.asarray(self.influence.var(axis=1) / self.influence.shape[1])


def row_values(
    predictions: NDArray[np.generic],
    labels: NDArray[np.generic],
    metric: str,
    *,
    n_classes: int = 0,
) -> FloatArray:
    """Return one number a row and head whose mean over the rows is the head's metric.

    For accuracy these are 0 and 1. The spread over rows is that of the metric, so means,
    differences and bootstraps of these numbers stand for those of the metric itself.

    Args:
        predictions: (B, m), class codes, or real numbers for ``"pearson_spearman"``.
        labels: (m,), likewise.
        metric: One of `METRICS`.
        n_classes: C, with those that only the labels have; not needed for ``"accuracy"``.

    Returns:
        (B, m).

    Raises:
        UnknownNameError: There is no such metric.
    """
    if metric == "accuracy":
        return np.asarray(predictions == labels, dtype=np.float64)
    if metric == "pearson_spearman":
        estimate = correlations(
            np.asarray(predictions, dtype=np.float64), np.asarray(labels, dtype=np.float64)
        )[-1]
    elif metric in METRICS:
        codes = np.asarray(predictions, dtype=np.int64), np.asarray(labels, dtype=np.int64)
        estimate = _OF_CODES[metric](*codes, n_classes)
    else:
        raise UnknownNameError("metric", metric, METRICS)
    return estimate.value[:, None] + estimate.influence


class Margins(NamedTuple):
    """What the confusion matrices say without their insides, as shares of the rows."""

    hits: FloatArray  # (B, C): label and prediction are this class
    predicted: FloatArray  # (B, C)
    labels: FloatArray  # (1, C)


def margins(predicted: IntArray, labels: IntArray, n_classes: int) -> Margins:
    """Count hits, predictions and labels of every class: (B, m), (m,) -> shares."""
    n_heads, n_rows = predicted.shape
    cells = predicted + np.arange(n_heads)[:, None] * n_classes
    size, shape = n_heads * n_classes, (n_heads, n_classes)
    return Margins(
        np.bincount(cells[predicted == labels], minlength=size).reshape(shape) / n_rows,
        np.bincount(cells.ravel(), minlength=size).reshape(shape) / n_rows,
        np.bincount(labels, minlength=n_classes)[None] / n_rows,
    )


def f1(predicted: IntArray, labels: IntArray, n_classes: int) -> Estimate:
    """F1 of class 1 of two, else `macro_f1`."""
    return _mean_f1(predicted, labels, n_classes, macro=n_classes != 2)


def macro_f1(predicted: IntArray, labels: IntArray, n_classes: int) -> Estimate:
    """Mean of F1 over the classes that occur among labels or predictions, of two as of more."""
    return _mean_f1(predicted, labels, n_classes, macro=True)


def _mean_f1(predicted: IntArray, labels: IntArray, n_classes: int, *, macro: bool) -> Estimate:
    """Mean of F1 over the classes among labels or predictions; else F1 of class 1.

    F_k = 2 hits_k / s_k with s_k = predicted_k + labels_k, zero where a class is never hit. The
    derivative of F_k by the share of rows with label i and prediction j is
    (2 [i = j = k] - F_k [i = k] - F_k [j = k]) / s_k, and its mean over the rows is zero.
    """
    shares = margins(predicted, labels, n_classes)
    total = shares.predicted + shares.labels
    counted = total > 0
    if not macro:
        counted = np.broadcast_to([False, True], counted.shape)
    some = counted & (total > 0)
    inverse = np.divide(1.0, total, out=np.zeros_like(total), where=some)
    inverse /= counted.sum(axis=1, keepdims=True)
    by_class = 2 * shares.hits * inverse
    slope = np.divide(by_class, total, out=np.zeros_like(total), where=some)
    influence = np.where(predicted == labels, 2 * inverse[:, labels], 0.0)
    influence -= slope[:, labels]
    influence -= np.take_along_axis(slope, predicted, axis=1)
    return Estimate(by_class.sum(axis=1), influence)


def balanced_accuracy(predicted: IntArray, labels: IntArray, n_classes: int) -> Estimate:
    """Mean of recall over the classes among the labels.

    With l_k the share of rows of class k among K such classes, and r_k its recall, a row of class
    k has influence (right - r_k) / (K l_k).
    """
    shares = margins(predicted, labels, n_classes)
    present = shares.labels[0] > 0
    weight = np.divide(1.0, shares.labels[0], out=np.zeros(n_classes), where=present)
    recall = shares.hits * weight
    n_present = present.sum()
    influence = ((predicted == labels) - recall[:, labels]) * weight[labels] / n_present
    return Estimate(recall.sum(axis=1) / n_present, influence)


def matthews(predicted: IntArray, labels: IntArray, n_classes: int) -> Estimate:
    """Matthews correlation for any number of classes, zero where one side is constant.

    N / sqrt(U V), with N = sum_k hits_k - predicted_k labels_k, U = 1 - sum_k predicted_k^2 and
    V = 1 - sum_k labels_k^2 (Gorodkin 2004, "Comparing two K-category assignments by a
    K-category correlation coefficient").
    """
    shares = margins(predicted, labels, n_classes)
    covariance = shares.hits.sum(axis=1) - (shares.predicted * shares.labels).sum(axis=1)
    spread_predicted = 1 - np.square(shares.predicted).sum(axis=1)
    spread_labels = 1 - np.square(shares.labels).sum(axis=1)
    defined = spread_predicted * spread_labels > 1e-14
    u = np.where(defined, spread_predicted, 1.0)[:, None]
    v = np.where(defined, spread_labels, 1.0)[:, None]
    value = np.where(defined, covariance / np.sqrt(u * v)[:, 0], 0.0).clip(-1.0, 1.0)
    rate = shares.labels[0]
    influence = (predicted == labels) - shares.predicted[:, labels] - rate[predicted]
    influence /= np.sqrt(u * v)
    own = np.take_along_axis(shares.predicted, predicted, axis=1)
    influence += value[:, None] * (own / u + rate[labels] / v)
    influence -= influence.mean(axis=1, keepdims=True)
    return Estimate(value, np.where(defined[:, None], influence, 0.0))


_OF_CODES = {
    "f1": f1,
    "macro_f1": macro_f1,
    "balanced_accuracy": balanced_accuracy,
    "matthews": matthews,
}


def correlations(
    predictions: FloatArray, targets: FloatArray
) -> tuple[Estimate, Estimate, Estimate]:
    """Pearson's and Spearman's correlation and their mean; 0.0 where one side is constant.

    Spearman's influence takes the ranks as given.

    Args:
        predictions: (B, m).
        targets: (m,).
    """
    pearson = _pearson(predictions, targets[None])
    spearman = _pearson(average_ranks(predictions), average_ranks(targets[None]))
    both = Estimate(
        (pearson.value + spearman.value) / 2, (pearson.influence + spearman.influence) / 2
    )
    return pearson, spearman, both


def is_constant(values: FloatArray) -> NDArray[np.bool_]:
    """Return for each row of (B, m) whether it is constant up to rounding."""
    return np.asarray(np.ptp(values, axis=1) <= 1e-13 * np.abs(values).max(axis=1), dtype=bool)


def _pearson(left: FloatArray, right: FloatArray) -> Estimate:
    """Correlate the rows of (B, m) and (1, m); influence z w - r (z^2 + w^2) / 2."""
    varied = np.logical_not(is_constant(left) | is_constant(right))
    z, w = _standardised(left), _standardised(right)
    value = np.where(varied, (z * w).mean(axis=1), 0.0).clip(-1.0, 1.0)
    influence = z * w - value[:, None] * (z**2 + w**2) / 2
    return Estimate(value, np.where(varied[:, None], influence, 0.0))


def _standardised(values: FloatArray) -> FloatArray:
    centred = values - values.mean(axis=1, keepdims=True)
    scale = np.sqrt(np.square(centred).mean(axis=1, keepdims=True))
    scale = np.where(scale > 0, scale, 1.0)
    return np.asarray(centred / scale)


def average_ranks(values: FloatArray) -> FloatArray:
    """Ranks 1..m along the rows of (B, m), equal values sharing their mean rank."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    n_rows = values.shape[1]
    position = np.broadcast_to(np.arange(n_rows), values.shape)
    begins = np.ones(values.shape, dtype=bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    ends = np.ones(values.shape, dtype=bool)
    ends[:, :-1] = begins[:, 1:]
    first = np.maximum.accumulate(np.where(begins, position, 0), axis=1)
    last = np.where(ends, position, n_rows)[:, ::-1]
    last = np.minimum.accumulate(last, axis=1)[:, ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=1)
    return ranks


TOLERANCE = 1e-3
"""Relative objective gap: predictions move far less than they vary from sample to sample."""


@dataclass(frozen=True, eq=False)
class SampleHeads:
    """B heads, one a layer, fitted to one labelled sample.

    Attributes:
        penalty: Total penalty of each, its strength times the number of rows, float64, (B,).
        left_out: Probabilities of every row from the head without it, float64, (B, n, C); 0 for
            classes that no row has.
        counted: Rows that are not the only one of their class, (n,).
        weights: On raw features, (B, C, width).
        bias: (B, C); minus infinity for classes that no row has.
    """

    penalty: FloatArray
    left_out: FloatArray
    counted: NDArray[np.bool_]
    weights: Tensor
    bias: Tensor

    def probabilities(self, features: Tensor) -> FloatArray:
        """Return class probabilities (B, m, C) of raw features (B, m, width), float64."""
        logits = torch.baddbmm(self.bias.unsqueeze(1), features, self.weights.mT)
        return np.asarray(torch.softmax(logits.double(), 2).numpy())


def fit_sample_heads(
    features: Tensor, labels: Tensor, n_classes: int, *, penalties: Sequence[float] = PENALTIES
) -> SampleHeads:
    """Fit one head a layer, the penalty of each chosen by leave-one-out.

    Args:
        features: Raw features, (B, n, width), float32 or float64.
        labels: Class codes 0..n_classes-1, (n,).
        n_classes: Number of classes of the task; some may lack a row.
        penalties: Total penalties to choose from.

    Raises:
        DataError: Features are not finite, or fewer than two classes have a row.
        UsageError: Shapes or labels are not legal.
    """
    check_shapes(features, labels)
    check_codes(labels, n_classes)
    if not bool(torch.isfinite(features).all()):
        raise DataError(
            "features are not finite: expected numbers, got NaN or infinity. Look at the texts."
        )
    present, codes, counts = torch.unique(labels.long(), return_inverse=True, return_counts=True)
    grid = [penalty / features.shape[1] for penalty in sorted(set(penalties), reverse=True)]
    parts = []
    step = chunk_size(features)
    with torch.inference_mode():
        for start in range(0, features.shape[0], step):
            design = make_design(features[start : start + step])
            choice = solve_path(design, codes, grid, tolerance=TOLERANCE)
            problem = Problem(design, codes, choice.strength)
            parts.append(_judged(problem, choice.minimum, present, n_classes))
    return SampleHeads(
        penalty=np.concatenate([part.penalty for part in parts]),
        left_out=np.concatenate([part.left_out for part in parts]),
        counted=(counts[codes] > 1).numpy(),
        weights=torch.cat([part.weights for part in parts]),
        bias=torch.cat([part.bias for part in parts]),
    )


def shuffled_accuracy(
    features: Tensor, labels: Tensor, penalty: FloatArray, *, seed: int
) -> FloatArray:
    """Return the leave-one-out accuracy of heads whose labels are shuffled, (B,).

    Args:
        features: Raw features, (B, n, width).
        labels: Class codes, (n,).
        penalty: Total penalty of each head, (B,).
        seed: Of the permutation.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    present, codes, counts = torch.unique(
        labels.long()[torch.from_numpy(order)], return_inverse=True, return_counts=True
    )
    counted = counts[codes] > 1
    if not bool(counted.any()):
        return np.full(features.shape[0], np.nan)
    with torch.inference_mode():
        design = make_design(features)
        problem = Problem(design, codes, torch.from_numpy(penalty) / features.shape[1])
        start = prior_weights(problem, len(present))
        minimum = minimise(problem, start, tolerance=TOLERANCE)
        logits = wide_logits(left_out_logits(problem, minimum, design.rows.square()))
        restore_shares(logits, codes)
        right = (logits.argmax(1) == codes)[:, counted].double().mean(1)
    return np.asarray(right.numpy())


def wide_logits(logits: Tensor) -> Tensor:
    """Return logits with one column a class, (B, C, n), of logits (B, K, n)."""
    if logits.shape[1] > 1:
        return logits
    return torch.cat([-logits / 2, logits / 2], 1)


def restore_shares(logits: Tensor, labels: Tensor) -> None:
    """Give each row's own class back its share of the whole sample, in logits (B, C, n)."""
    counts = torch.bincount(labels)[labels].to(logits.dtype)
    lost = torch.where(counts > 1, (counts / (counts - 1).clamp_min(1)).log(), 0.0)
    index = labels.expand(logits.shape[0], 1, -1)
    logits.scatter_add_(1, index, lost.expand(index.shape))


def raw_heads(design: Design, minimum: Minimum) -> tuple[Tensor, Tensor]:
    """Return weights (B, C, width) and bias (B, C) on raw features, in the features' type."""
    weights, bias = design.unfold(minimum.weights)
    if weights.shape[1] == 1:
        weights = torch.cat([-weights / 2, weights / 2], 1)
        bias = torch.cat([-bias / 2, bias / 2], 1)
    kind = design.rows.dtype
    return weights.to(kind), bias.to(kind)


def _judged(problem: Problem, minimum: Minimum, present: Tensor, n_classes: int) -> SampleHeads:
    design = problem.design
    logits = wide_logits(left_out_logits(problem, minimum, design.rows.square()))
    restore_shares(logits, problem.labels)
    inside = torch.softmax(logits.double(), 1).mT
    n_layers, n_samples = inside.shape[:2]
    left_out = inside.new_zeros((n_layers, n_samples, n_classes))
    left_out[..., present] = inside
    weights, bias = raw_heads(design, minimum)
    wide = weights.new_zeros((n_layers, n_classes, weights.shape[2]))
    wide[:, present] = weights
    wide_bias = bias.new_full((n_layers, n_classes), -torch.inf)
    wide_bias[:, present] = bias
    penalty = problem.strength * n_samples
    return SampleHeads(penalty.numpy(), left_out.numpy(), np.empty(0, bool), wide, wide_bias)
