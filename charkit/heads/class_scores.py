"""Recall of each class, balanced accuracy and macro-F1: on a sample, and with more labels.

With more labels the log-odds of each of these shares move as far as those of the accuracy do, which
is forecast: the error of each class shrinks with the error of all. Every interval joins, in
log-odds, what the sample's own rows leave open, the forecast's uncertainty, and how far classes
depart from the rule, which `glue_pilot/quality_study.py` measures on corpora left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from charkit.heads.influence import IntArray, balanced_accuracy, macro_f1
from charkit.heads.intervals import (
    LEVEL,
    FloatArray,
    normal_quantile,
    share_interval,
    wilson_interval,
)

PRIOR = 2.0
"""Rows that a class of unknown recall counts more, right as often as all rows are."""

APART = {"recall": 0.9, "balanced_accuracy": 0.25, "macro_f1": 0.25}
"""Standard deviation, in log-odds, of how far a share departs from the rule. The smallest of a few
values with which intervals cover about 90 % on 20 corpora (`glue_pilot/quality_study.py`)."""

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
