"""Metrics of many heads with each row's influence on them.

The influence of a row is how far the metric moves, to first order, for a little more weight on
that row. Influences sum to zero, and their variance over m rows divided by m is the metric's
sampling variance (delta method). Metric plus influence makes one number a row whose mean is the
metric, so that one rule for means serves accuracy, F1, Matthews and correlations alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charkit.errors import UnknownNameError
from charkit.heads.metrics.intervals import FloatArray

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
