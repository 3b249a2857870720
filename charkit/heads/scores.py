"""Scores of many heads on one evaluation sample, each with an interval.

All functions take a batch of B heads and return arrays of shape (B,): nothing loops over rows,
and nothing as large as the probabilities themselves is allocated. Intervals answer "what would
this very head score on many more rows from the same source?": they know nothing of other
training samples (`charkit.heads.choice` adds those).
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from charkit.errors import UnknownNameError, UsageError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LEVEL = 0.90
"""Coverage of the intervals in every table."""

PROBABILITY_FLOOR = float(np.finfo(np.float32).tiny)
"""A label's probability counts as at least this (1.2e-38), so that a softmax which underflowed
to zero costs 87.3 nats and not infinity; any larger probability is left as it is."""

METRICS = ("accuracy", "f1", "matthews", "pearson_spearman")


class Headline(NamedTuple):
    """A task's own metric for B heads: value and interval, each of shape (B,)."""

    score: FloatArray
    score_low: FloatArray
    score_high: FloatArray


def classification_scores(
    probabilities: NDArray[np.floating], labels: IntArray, *, level: float = LEVEL
) -> dict[str, FloatArray]:
    """Score the class probabilities of B heads on m rows.

    The predicted class is the most probable one, the lowest of equals.

    - ``accuracy``: interval by Wilson (1927).
    - ``f1``: of class 1 when there are two classes, else the mean over the classes that occur
      among labels or predictions ("macro"); zero where a class is never hit. Two classes: F1 is
      2J/(1+J) with J = hits/(hits + misses + false alarms), so the Wilson interval of J maps to
      one of F1. More classes: delta method on the confusion matrix (Takahashi et al. 2022,
      "Confidence interval for micro-averaged F1 and macro-averaged F1 scores").
    - ``matthews``: Gorodkin's K-class correlation, zero where labels or predictions are
      constant; delta method, or the standard error 1/sqrt(m) of no association where constant.
    - ``log_loss``: mean of -log p(label) in nats, p at least `PROBABILITY_FLOOR`.
    - ``brier``: mean of the sum over classes of (p - indicator of the label) squared, in [0, 2]
      (twice scikit-learn's value for two classes). Both losses: normal approximation.

    Args:
        probabilities: (B, m, C), each row summing to one.
        labels: (m,), class codes 0..C-1.
        level: Coverage of the intervals, between 0 and 1.

    Returns:
        ``accuracy``, ``f1``, ``matthews``, ``log_loss``, ``brier``, each also with ``_low`` and
        ``_high``, as arrays of shape (B,).

    Raises:
        UsageError: Shapes, labels or probabilities are not as described.
    """
    labels = _checked_labels(labels, probabilities)
    predicted = predicted_classes(probabilities)
    correct = predicted == labels
    n_rows, n_classes = probabilities.shape[1:]
    counts = _Counts.of(predicted, labels, correct, n_classes)
    accuracy = correct.mean(axis=1)
    f1 = _binary_f1 if n_classes == 2 else _macro_f1
    losses = row_log_loss(probabilities, labels)
    largest_loss = -float(np.log(PROBABILITY_FLOOR))
    return {
        **_named("accuracy", accuracy, wilson_interval(accuracy, n_rows, level=level)),
        **_named("f1", *f1(counts, predicted, labels, correct, level)),
        **_named("matthews", *_matthews(counts, predicted, labels, correct, level)),
        **_named("log_loss", *_mean_of_rows(losses, level, largest=largest_loss)),
        **_named(
            "brier", *_mean_of_rows(_row_brier(probabilities, labels), level, largest=2.0)
        ),
    }


def regression_scores(
    predictions: ArrayLike, targets: ArrayLike, *, level: float = LEVEL
) -> dict[str, FloatArray]:
    """Score the predictions of B heads on m rows with real-valued targets.

    A correlation with a constant is undefined; it counts as 0.0 here, "orders nothing", and
    ``r2`` is 0.0 where the targets are constant. The interval of ``pearson_spearman``, the mean
    of the two correlations, is Fisher's on the atanh scale with the larger of the two
    variances, that of Spearman's: (1 + r^2/2) / (m - 3) (Bonett and Wright 2000). It assumes
    roughly normal pairs, and is (-1, 1) for fewer than four rows.

    Args:
        predictions: (B, m).
        targets: (m,).
        level: Coverage of the interval, between 0 and 1.

    Returns:
        ``pearson``, ``spearman``, ``pearson_spearman`` (also ``_low``, ``_high``), ``r2``,
        ``rmse`` (in the targets' unit), as arrays of shape (B,).

    Raises:
        UsageError: Shapes do not fit or a value is not finite.
    """
    predicted = np.asarray(predictions, dtype=np.float64)
    wanted = np.asarray(targets, dtype=np.float64)
    if predicted.ndim != 2 or wanted.shape != predicted.shape[1:] or wanted.size == 0:
        raise UsageError(
            "predictions and targets do not fit: expected shapes (B, m) and (m,) with m >= 1, "
            f"got {predicted.shape} and {wanted.shape}."
        )
    if not (np.isfinite(predicted).all() and np.isfinite(wanted).all()):
        raise UsageError(
            "predictions or targets: expected finite numbers, got NaN or infinity."
        )
    pearson = _correlations(predicted, wanted[None])
    spearman = _correlations(_average_ranks(predicted), _average_ranks(wanted[None]))
    both = (pearson + spearman) / 2
    squared_error = np.square(predicted - wanted).mean(axis=1)
    variance = float(np.square(wanted - wanted.mean()).mean())
    constant = _is_constant(wanted[None])[0]
    return {
        "pearson": pearson,
        "spearman": spearman,
        **_named("pearson_spearman", both, _correlation_interval(both, wanted.size, level)),
        "r2": np.zeros_like(both) if constant else 1.0 - squared_error / variance,
        "rmse": np.sqrt(squared_error),
    }


def headline(scores: dict[str, FloatArray], metric: str) -> Headline:
    """Pick a task's own metric with its interval.

    Args:
        scores: From `classification_scores` or `regression_scores`.
        metric: One of `METRICS`.

    Raises:
        UnknownNameError: There is no such metric, or these scores do not have it.
    """
    known = [name for name in METRICS if name in scores]
    if metric not in known:
        raise UnknownNameError("metric", metric, known)
    return Headline(scores[metric], scores[f"{metric}_low"], scores[f"{metric}_high"])


def majority_scores(
    train_labels: ArrayLike, labels: ArrayLike, *, n_classes: int, level: float = LEVEL
) -> dict[str, FloatArray]:
    """Score the head that ignores the text: the control every other head must beat.

    Classification: the class shares of the training sample, every class counted once more than
    it occurs (Laplace), so that a class without a training row has a finite log loss; of
    equally frequent classes the lowest is predicted. Regression: the training mean.

    Args:
        train_labels: (n,), class codes, or real numbers when ``n_classes`` is 0.
        labels: (m,), those of the evaluation sample.
        n_classes: C, or 0 for regression.
        level: Coverage of the intervals.

    Returns:
        As `classification_scores` or `regression_scores`, arrays of shape (1,).
    """
    if n_classes == 0:
        wanted = np.asarray(labels, dtype=np.float64)
        mean = float(np.mean(np.asarray(train_labels, dtype=np.float64)))
        return regression_scores(np.full((1, wanted.size), mean), wanted, level=level)
    codes = np.asarray(labels, dtype=np.int64)
    prior = majority_probabilities(train_labels, n_classes=n_classes)
    rows = np.broadcast_to(prior, (1, codes.size, n_classes))
    return classification_scores(rows, codes, level=level)


def majority_probabilities(train_labels: ArrayLike, *, n_classes: int) -> FloatArray:
    """Return the class shares of a training sample, each class counted once more: (C,)."""
    counts = np.bincount(np.asarray(train_labels, dtype=np.int64), minlength=n_classes) + 1.0
    return np.asarray(counts / counts.sum())


def predicted_classes(probabilities: NDArray[np.floating]) -> IntArray:
    """Return the most probable class, the lowest of equals: (B, m, C) -> (B, m)."""
    return np.asarray(probabilities.argmax(axis=2), dtype=np.int64)


def row_log_loss(probabilities: NDArray[np.floating], labels: IntArray) -> FloatArray:
    """Return -log of every label's probability, in nats: (B, m, C), (m,) -> (B, m)."""
    likelihood = probabilities[:, np.arange(labels.size), labels].astype(np.float64)
    return np.asarray(-np.log(np.maximum(likelihood, PROBABILITY_FLOOR)))


def wilson_interval(
    proportion: ArrayLike, n_rows: ArrayLike, *, level: float = LEVEL
) -> tuple[FloatArray, FloatArray]:
    """Return Wilson's interval of a proportion seen on ``n_rows`` rows; (0, 1) on none.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference".

    >>> low, high = wilson_interval(1.0, 10)
    >>> print(f"{low:.3f} {high:.3f}")
    0.787 1.000
    """
    share = np.asarray(proportion, dtype=np.float64)
    number = np.asarray(n_rows, dtype=np.float64)
    square = _normal_quantile(level) ** 2
    middle = (share * number + square / 2) / (number + square)
    spread = share * (1 - share) * number + square / 4
    half = np.sqrt(square * np.maximum(spread, 0.0)) / (number + square)
    return np.clip(middle - half, 0.0, share), np.clip(middle + half, share, 1.0)


class _Counts(NamedTuple):
    """Margins of the confusion matrices, as shares of the rows."""

    hits: FloatArray  # (B, C): label and prediction are this class
    predicted: FloatArray  # (B, C)
    labels: FloatArray  # (1, C)

    @classmethod
    def of(
        cls, predicted: IntArray, labels: IntArray, correct: NDArray[np.bool_], n_classes: int
    ) -> _Counts:
        n_heads, n_rows = predicted.shape
        cells = predicted + np.arange(n_heads)[:, None] * n_classes
        size, shape = n_heads * n_classes, (n_heads, n_classes)
        return cls(
            np.bincount(cells[correct], minlength=size).reshape(shape) / n_rows,
            np.bincount(cells.ravel(), minlength=size).reshape(shape) / n_rows,
            np.bincount(labels, minlength=n_classes)[None] / n_rows,
        )


def _binary_f1(
    counts: _Counts,
    predicted: IntArray,
    labels: IntArray,
    correct: NDArray[np.bool_],
    level: float,
) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
    hits = counts.hits[:, 1]
    union = counts.predicted[:, 1] + counts.labels[:, 1] - hits
    jaccard = np.divide(hits, union, out=np.zeros_like(hits), where=union > 0)
    low, high = wilson_interval(jaccard, union * labels.size, level=level)
    return _dice(jaccard), (_dice(low), _dice(high))


def _dice(jaccard: FloatArray) -> FloatArray:
    return np.asarray(2 * jaccard / (1 + jaccard))


def _macro_f1(
    counts: _Counts,
    predicted: IntArray,
    labels: IntArray,
    correct: NDArray[np.bool_],
    level: float,
) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
    """Mean F1; its derivative by the share of rows in cell (i, j) has mean zero over the rows.

    F_k = 2 hits_k / s_k with s_k = predicted_k + labels_k, so the derivative of their sum is
    2 [i = j] / s_i - F_i / s_i - F_j / s_j.
    """
    total = counts.predicted + counts.labels
    occurs = total > 0
    inverse = np.divide(1.0, total, out=np.zeros_like(total), where=occurs)
    by_class = 2 * counts.hits * inverse
    number = occurs.sum(axis=1)
    score = by_class.sum(axis=1) / number
    slope = by_class * inverse
    derivative = np.where(correct, 2 * inverse[:, labels], 0.0)
    derivative -= slope[:, labels]
    derivative -= np.take_along_axis(slope, predicted, axis=1)
    variance = np.square(derivative).mean(axis=1) / number**2 / labels.size
    return score, _share_interval(score, variance, labels.size, level)


def _matthews(
    counts: _Counts,
    predicted: IntArray,
    labels: IntArray,
    correct: NDArray[np.bool_],
    level: float,
) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
    """K-class correlation N / sqrt(U V), and the delta method on the confusion matrix."""
    covariance = counts.hits.sum(axis=1) - (counts.predicted * counts.labels).sum(axis=1)
    spread_predicted = 1 - np.square(counts.predicted).sum(axis=1)
    spread_labels = 1 - np.square(counts.labels).sum(axis=1)
    product = spread_predicted * spread_labels
    defined = product > 1e-14
    scale = np.where(defined, product, 1.0) ** -0.5
    score = np.clip(np.where(defined, covariance * scale, 0.0), -1.0, 1.0)
    at_label = counts.predicted[:, labels]
    at_predicted = counts.labels[0][predicted]
    derivative = (correct - at_label - at_predicted) * scale[:, None]
    own = np.take_along_axis(counts.predicted, predicted, axis=1)
    safe_predicted = np.where(defined, spread_predicted, 1.0)[:, None]
    safe_labels = np.where(defined, spread_labels, 1.0)[:, None]
    derivative += score[:, None] * (
        own / safe_predicted + counts.labels[0][labels] / safe_labels
    )
    variance = np.where(defined, derivative.var(axis=1), 1.0) / labels.size
    low, high = _share_interval((1 + score) / 2, variance / 4, labels.size, level)
    return score, (2 * low - 1, 2 * high - 1)


def _share_interval(
    share: FloatArray, variance: FloatArray, n_rows: int, level: float
) -> tuple[FloatArray, FloatArray]:
    """Wilson's interval with the number of rows that would explain this variance.

    Unlike plus or minus z standard errors it stays inside [0, 1] and does not shrink to a
    point at the ends, where it is the interval of a proportion of ``n_rows`` rows.
    """
    binomial = share * (1 - share)
    inside = (variance > 0) & (binomial > 0)
    effective = np.divide(binomial, variance, out=np.full_like(share, n_rows), where=inside)
    return wilson_interval(share, effective, level=level)


def _row_brier(probabilities: NDArray[np.floating], labels: IntArray) -> FloatArray:
    squares = np.einsum("bmc,bmc->bm", probabilities, probabilities, dtype=np.float64)
    own = probabilities[:, np.arange(labels.size), labels].astype(np.float64)
    return np.asarray(np.maximum(squares - 2 * own + 1, 0.0))


def _mean_of_rows(
    values: FloatArray, level: float, *, largest: float
) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
    """Mean over rows, normal interval within [0, largest]; one row says nothing of spread."""
    n_rows = values.shape[1]
    mean = values.mean(axis=1)
    if n_rows == 1:
        return mean, (np.zeros_like(mean), np.full_like(mean, largest))
    half = _normal_quantile(level) * values.std(axis=1, ddof=1) / np.sqrt(n_rows)
    return mean, (np.maximum(mean - half, 0.0), np.minimum(mean + half, largest))


def _is_constant(values: FloatArray) -> NDArray[np.bool_]:
    """Say of each row of (B, m) whether it is constant up to rounding."""
    scale = np.abs(values).max(axis=1)
    return np.asarray(np.ptp(values, axis=1) <= 1e-13 * scale)


def _correlations(left: FloatArray, right: FloatArray) -> FloatArray:
    """Pearson correlation of the rows of (B, m) and (1, m), 0.0 where one is constant."""
    varied = ~(_is_constant(left) | _is_constant(right))
    centred_left = left - left.mean(axis=1, keepdims=True)
    centred_right = right - right.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred_left, axis=1) * np.linalg.norm(centred_right, axis=1)
    products = (centred_left * centred_right).sum(axis=1)
    result = np.divide(products, norms, out=np.zeros_like(norms), where=varied & (norms > 0))
    return np.asarray(np.clip(result, -1.0, 1.0))


def _average_ranks(values: FloatArray) -> FloatArray:
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


def _correlation_interval(
    correlation: FloatArray, n_rows: int, level: float
) -> tuple[FloatArray, FloatArray]:
    if n_rows <= 3:
        return np.full_like(correlation, -1.0), np.full_like(correlation, 1.0)
    inside = np.clip(correlation, -1 + 1e-12, 1 - 1e-12)
    half = _normal_quantile(level) * np.sqrt((1 + correlation**2 / 2) / (n_rows - 3))
    low = np.minimum(np.tanh(np.arctanh(inside) - half), correlation)
    return low, np.maximum(np.tanh(np.arctanh(inside) + half), correlation)


def _normal_quantile(level: float) -> float:
    if not 0.0 < level < 1.0:
        raise UsageError(f"level: expected a number between 0 and 1, got {level}.")
    return NormalDist().inv_cdf((1 + level) / 2)


def _checked_labels(labels: IntArray, probabilities: NDArray[np.floating]) -> IntArray:
    codes = np.asarray(labels)
    shape = probabilities.shape
    if len(shape) != 3 or codes.shape != shape[1:2] or codes.size == 0 or shape[2] < 2:
        raise UsageError(
            "probabilities and labels do not fit: expected shapes (B, m, C) and (m,) with "
            f"m >= 1 and C >= 2, got {shape} and {codes.shape}."
        )
    if codes.dtype.kind not in "iu" or codes.min() < 0 or codes.max() >= shape[2]:
        raise UsageError(
            f"labels: expected class codes 0..{shape[2] - 1}, "
            f"got {codes.dtype} from {codes.min()} to {codes.max()}."
        )
    total = probabilities.sum(axis=2, dtype=np.float64)
    if not (np.abs(total - 1) <= 1e-3).all():
        raise UsageError(
            "probabilities: expected rows that sum to one, got sums from "
            f"{np.nanmin(total):.4g} to {np.nanmax(total):.4g}, {np.isnan(total).sum()} NaN."
        )
    return codes.astype(np.int64, copy=False)


def _named(
    name: str, value: FloatArray, interval: tuple[FloatArray, FloatArray]
) -> dict[str, FloatArray]:
    return {name: value, f"{name}_low": interval[0], f"{name}_high": interval[1]}
