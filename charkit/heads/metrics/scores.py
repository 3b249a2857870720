"""Scores of many heads on one evaluation sample, each with an interval.

All functions take a batch of B heads and return arrays of shape (B,): nothing loops over rows,
and nothing as large as the probabilities themselves is allocated. Intervals answer "what would
this very head score on many more rows from the same source?": they know nothing of other
training samples (`charkit.heads.metrics.selection` adds those).

Recall of each class, balanced accuracy and macro-F1: on a sample, and with more labels.

With more labels the log-odds of each of these shares move as far as those of the accuracy do, which
is forecast: the error of each class shrinks with the error of all. Every interval joins, in
log-odds, what the sample's own rows leave open, the forecast's uncertainty, and how far classes
depart from the rule, which `glue_pilot/quality/study.py` measures on corpora left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from charkit.errors import UnknownNameError, UsageError
from charkit.heads.metrics.influence import (
    METRICS,
    IntArray,
    balanced_accuracy,
    correlations,
    is_constant,
    macro_f1,
    margins,
)
from charkit.heads.metrics.influence import matthews as matthews_estimate
from charkit.heads.metrics.intervals import (
    LEVEL,
    FloatArray,
    Interval,
    correlation_interval,
    mean_interval,
    normal_quantile,
    share_interval,
    wilson_interval,
)

PROBABILITY_FLOOR = float(np.finfo(np.float32).tiny)
"""A label's probability counts as at least this (1.2e-38), so that a softmax which underflowed
to zero costs 87.3 nats and not infinity; any larger probability is left as it is."""


class Headline(NamedTuple):
    """A task's own metric for B heads: value and interval, each of shape (B,)."""

    score: FloatArray
    score_low: FloatArray
    score_high: FloatArray


def classification_scores(
    probabilities: NDArray[np.floating],
    labels: IntArray,
    *,
    n_known: int | None = None,
    level: float = LEVEL,
) -> dict[str, FloatArray]:
    """Score the class probabilities of B heads on m rows.

    The predicted class is the most probable one that training knows, the lowest of equals. Rows
    of a class that training lacks count in every metric: no prediction is right there.

    - ``accuracy``: interval by Wilson (1927).
    - ``f1``: of class 1 when there are two classes, else the mean over the classes that occur
      among labels or predictions ("macro"); zero where a class is never hit. Two classes: F1 is
      2J/(1+J) with J = hits/(hits + misses + false alarms), a proportion, so the Wilson
      interval of J maps to one of F1. More classes: delta method on the confusion matrix
      (Takahashi et al. 2022, "Confidence interval for micro-averaged F1 and macro-averaged F1
      scores"), in Wilson's form. It is too narrow where a class has fewer than about ten rows:
      a class that is never hit seems to have no spread.
    - ``macro_f1``: the mean over the classes that occur among labels or predictions, for two
      classes as for more; interval as for ``f1`` of more classes.
    - ``balanced_accuracy``: mean of recall over the classes that occur among the labels. Interval:
      Wilson's, with the number of rows that would explain the sum of the classes' binomial
      variances, each class counted with one hit and one miss more; so a class of few rows that
      is always, or never, hit does not seem certain.
    - ``matthews``: K-class correlation, zero where labels or predictions are constant; delta
      method in Wilson's form on (1 + value) / 2, and where constant with the standard error
      1/sqrt(m) of "no association".
    - ``log_loss``: mean of -log p(label) in nats, p at least `PROBABILITY_FLOOR`.
    - ``brier``: mean of the sum over classes of (p - indicator of the label) squared, in [0, 2]
      (twice scikit-learn's value for two classes). Both losses: normal approximation.

    Args:
        probabilities: (B, m, C), each row summing to one.
        labels: (m,), class codes 0..C-1.
        n_known: Classes from this one on only evaluation rows have; None: all are known.
        level: Coverage of the intervals, between 0 and 1.

    Returns:
        ``accuracy``, ``f1``, ``macro_f1``, ``balanced_accuracy``, ``matthews``, ``log_loss``,
        ``brier``, each also with ``_low`` and ``_high``, as arrays of shape (B,).

    Raises:
        UsageError: Shapes, labels or probabilities are not as described.
    """
    labels = _checked_labels(labels, probabilities)
    predicted = predicted_classes(probabilities, n_known=n_known)
    n_rows, n_classes = probabilities.shape[1:]
    accuracy = (predicted == labels).mean(axis=1)
    losses = mean_interval(
        row_log_loss(probabilities, labels), largest=-float(np.log(PROBABILITY_FLOOR)), level=level
    )
    squares = np.einsum("bmc,bmc->bm", probabilities, probabilities, dtype=np.float64)
    own = probabilities[:, np.arange(labels.size), labels].astype(np.float64)
    row_brier = np.asarray(np.maximum(squares - 2 * own + 1, 0.0))
    brier = mean_interval(row_brier, largest=2.0, level=level)
    return {
        **_named("accuracy", accuracy, wilson_interval(accuracy, n_rows, level=level)),
        **_named("f1", *_f1_scores(predicted, labels, n_classes, level)),
        **_named("macro_f1", *_macro_f1_scores(predicted, labels, n_classes, level)),
        **_named("balanced_accuracy", *_balanced_scores(predicted, labels, n_classes, level)),
        **_named("matthews", *_matthews_scores(predicted, labels, n_classes, level)),
        **_named("log_loss", *losses),
        **_named("brier", *brier),
    }


def regression_scores(
    predictions: ArrayLike, targets: ArrayLike, *, level: float = LEVEL
) -> dict[str, FloatArray]:
    """Score the predictions of B heads on m rows with real-valued targets.

    A correlation with a constant is undefined; it counts as 0.0 here, "orders nothing", and
    ``r2`` is 0.0 where the targets are constant. ``pearson_spearman`` is the mean of the two
    correlations, with the interval of `charkit.heads.metrics.intervals.correlation_interval`.

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
        raise UsageError("predictions or targets: expected finite numbers, got NaN or infinity.")
    pearson, spearman, both = (e.value for e in correlations(predicted, wanted))
    squared_error = np.square(predicted - wanted).mean(axis=1)
    variance = float(np.square(wanted - wanted.mean()).mean())
    constant = is_constant(wanted[None])[0]
    interval = correlation_interval(both, wanted.size, level=level)
    return {
        "pearson": pearson,
        "spearman": spearman,
        **_named("pearson_spearman", both, interval),
        "r2": np.zeros_like(both) if constant else 1.0 - squared_error / variance,
        "rmse": np.sqrt(squared_error),
    }


def headline(scores: dict[str, FloatArray], metric: str) -> Headline:
    """Pick a task's own metric with its interval.

    Args:
        scores: From `classification_scores` or `regression_scores`.
        metric: One of `charkit.heads.metrics.influence.METRICS`.

    Raises:
        UnknownNameError: There is no such metric, or these scores do not have it.
    """
    known = [name for name in METRICS if name in scores]
    if metric not in known:
        raise UnknownNameError("metric", metric, known)
    return Headline(scores[metric], scores[f"{metric}_low"], scores[f"{metric}_high"])


def majority_scores(
    train_labels: ArrayLike,
    labels: ArrayLike,
    *,
    n_classes: int,
    n_known: int | None = None,
    level: float = LEVEL,
) -> dict[str, FloatArray]:
    """Score the head that ignores the text: the control every other head must beat.

    Classification: the probabilities of `majority_probabilities`; of equally frequent classes
    the lowest is predicted. Regression: the training mean.

    Args:
        train_labels: (n,), class codes, or real numbers when ``n_classes`` is 0.
        labels: (m,), those of the evaluation sample.
        n_classes: C, or 0 for regression.
        n_known: Classes from this one on only evaluation rows have; None: all are known.
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
    return classification_scores(rows, codes, n_known=n_known, level=level)


def majority_probabilities(train_labels: ArrayLike, *, n_classes: int) -> FloatArray:
    """Return a sample's class shares, every class counted once more than it occurs: (C,).

    So a class that the sample lacks has a finite log loss (Laplace's rule of succession).
    """
    counts = np.bincount(np.asarray(train_labels, dtype=np.int64), minlength=n_classes) + 1.0
    return np.asarray(counts / counts.sum())


def predicted_classes(
    probabilities: NDArray[np.floating], *, n_known: int | None = None
) -> IntArray:
    """Return the most probable of the first ``n_known`` classes: (B, m, C) -> (B, m).

    Of equals the lowest is taken; None means all C.
    """
    return np.asarray(probabilities[..., :n_known].argmax(axis=2), dtype=np.int64)


def row_log_loss(probabilities: NDArray[np.floating], labels: IntArray) -> FloatArray:
    """Return -log of every label's probability, in nats: (B, m, C), (m,) -> (B, m)."""
    likelihood = probabilities[:, np.arange(labels.size), labels].astype(np.float64)
    return np.asarray(-np.log(np.maximum(likelihood, PROBABILITY_FLOOR)))


def _f1_scores(
    predicted: IntArray, labels: IntArray, n_classes: int, level: float
) -> tuple[FloatArray, Interval]:
    if n_classes > 2:
        return _macro_f1_scores(predicted, labels, n_classes, level)
    shares = margins(predicted, labels, n_classes)
    hits = shares.hits[:, 1]
    union = shares.predicted[:, 1] + shares.labels[:, 1] - hits
    jaccard = np.divide(hits, union, out=np.zeros_like(hits), where=union > 0)
    low, high = wilson_interval(jaccard, union * labels.size, level=level)
    return _dice(jaccard), (_dice(low), _dice(high))


def _macro_f1_scores(
    predicted: IntArray, labels: IntArray, n_classes: int, level: float
) -> tuple[FloatArray, Interval]:
    estimate = macro_f1(predicted, labels, n_classes)
    interval = share_interval(estimate.value, estimate.variance, labels.size, level=level)
    return estimate.value, interval


def _balanced_scores(
    predicted: IntArray, labels: IntArray, n_classes: int, level: float
) -> tuple[FloatArray, Interval]:
    shares = margins(predicted, labels, n_classes)
    rows = shares.labels[0] * labels.size
    present = rows > 0
    rows, hits = rows[present], shares.hits[:, present] * labels.size
    value = (hits / rows).mean(axis=1)
    smooth = (hits + 1) / (rows + 2)
    variance = (smooth * (1 - smooth) / rows).mean(axis=1) / len(rows)
    middle = smooth.mean(axis=1)
    return value, wilson_interval(value, middle * (1 - middle) / variance, level=level)


def _dice(jaccard: FloatArray) -> FloatArray:
    return np.asarray(2 * jaccard / (1 + jaccard))


def _matthews_scores(
    predicted: IntArray, labels: IntArray, n_classes: int, level: float
) -> tuple[FloatArray, Interval]:
    estimate = matthews_estimate(predicted, labels, n_classes)
    no_association = (estimate.value == 0) & (estimate.variance == 0)
    variance = np.where(no_association, 1 / labels.size, estimate.variance)
    low, high = share_interval((1 + estimate.value) / 2, variance / 4, labels.size, level=level)
    return estimate.value, (2 * low - 1, 2 * high - 1)


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
            "probabilities: expected rows that sum to one, "
            f"got a sum of {total.ravel()[np.argmax(~(np.abs(total - 1) <= 1e-3))]:.6g}."
        )
    return codes.astype(np.int64, copy=False)


def _named(name: str, value: FloatArray, interval: Interval) -> dict[str, FloatArray]:
    return {name: value, f"{name}_low": interval[0], f"{name}_high": interval[1]}


PRIOR = 2.0
"""Rows that a class of unknown recall counts more, right as often as all rows are."""

APART = {"recall": 0.9, "balanced_accuracy": 0.25, "macro_f1": 0.25}
"""Standard deviation, in log-odds, of how far a share departs from the rule. The smallest of a few
values with which intervals cover about 90 % on 20 corpora (`glue_pilot/quality/study.py`)."""

_CLIP = 1e-4  # of a share: a thousand rows could not show a rarer event


@dataclass(frozen=True, eq=False)
class Shares:
    """Shares with the ends of their 90 % intervals, each (K,), from 0 to 1."""

    mean: FloatArray
    low: FloatArray
    high: FloatArray

    def moved(self, shift: float | FloatArray, apart: float | FloatArray) -> Shares:
        """Return the shares after a move of their log-odds.

        Args:
            shift: By how much, one number or one a share.
            apart: Standard deviation of the move, likewise.
        """
        middle, low, high = map(log_odds, (self.mean, self.low, self.high))
        more = np.square(normal_quantile(LEVEL) * np.asarray(apart))
        centre = middle + shift
        return Shares(
            share_of(centre),
            share_of(centre - np.sqrt((middle - low) ** 2 + more)),
            share_of(centre + np.sqrt((high - middle) ** 2 + more)),
        )


def log_odds(share: FloatArray | float) -> FloatArray:
    """Return log p / (1 - p); no share counts as nearer to 0 or 1 than a ten-thousandth."""
    p = np.clip(np.asarray(share, np.float64), _CLIP, 1 - _CLIP)
    return np.asarray(np.log(p / (1 - p)))


def share_of(odds: FloatArray) -> FloatArray:
    """Return the shares of log-odds."""
    return np.asarray(1 / (1 + np.exp(-odds)))


def recalls(predicted: IntArray, labels: IntArray, n_classes: int) -> Shares:
    """Return the recall of each class, (n_classes,); that of all rows where a class has none.

    Wilson's interval, after `PRIOR` rows more that are right as often as all rows are.

    Args:
        predicted: Class codes, (n,).
        labels: Likewise.
        n_classes: How many classes there are.
    """
    count = np.bincount(labels, minlength=n_classes)
    hits = np.bincount(labels[predicted == labels], minlength=n_classes)
    accuracy = float((predicted == labels).mean())
    mean = (hits + PRIOR * accuracy) / (count + PRIOR)
    low, high = wilson_interval(mean, count + PRIOR)
    return Shares(mean, low, high)


def class_means(predicted: IntArray, labels: IntArray, n_classes: int) -> dict[str, Shares]:
    """Return balanced accuracy and macro-F1 by name, (1,) each.

    Args:
        predicted: Class codes, (n,).
        labels: Likewise.
        n_classes: How many classes there are.
    """
    found = {}
    for name, metric in (("balanced_accuracy", balanced_accuracy), ("macro_f1", macro_f1)):
        estimate = metric(predicted[None], labels, n_classes)
        low, high = share_interval(estimate.value, estimate.variance, len(labels))
        found[name] = Shares(estimate.value, low, high)
    return found
