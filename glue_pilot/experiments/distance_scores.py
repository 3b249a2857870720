"""What is known of texts without their labels, and how it goes with a drop in accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.fisher import Head
from glue_pilot.experiments.samples import COSINE, LOG_RATIO
from glue_pilot.science_norms import correlation
from glue_pilot.siblings import Interval, drawn_groups

FloatArray = NDArray[np.float64]

STATES, SHARES, CONFIDENCE = "mean states", "class shares", "confidence (DoC)"
TEXT = "text, centred"

SHIFT_PREDICTORS = {
    LOG_RATIO: "fisher_log_ratio",
    COSINE: "fisher_cosine",
    STATES: "mean_states",
    SHARES: "class_shares",
    CONFIDENCE: "confidence",
}
TRANSFER_PREDICTORS = {
    LOG_RATIO: "fisher_log_ratio",
    COSINE: "fisher_cosine",
    TEXT: "text_centred",
    CONFIDENCE: "confidence",
}


@dataclass(frozen=True)
class Judged:
    """A head on some texts.

    Attributes:
        accuracy: Share right.
        confidence: Mean of the largest probability.
        shares: Mean probability of each class, (n_classes,).
    """

    accuracy: float
    confidence: float
    shares: FloatArray


def judge(head: Head, states: NDArray[Any], labels: NDArray[Any]) -> Judged:
    """Say how a head does on texts.

    Args:
        head: For classes.
        states: Pooled states of the layer that it reads, (n_texts, width).
        labels: Class codes, (n_texts,).
    """
    outputs = states.astype(np.float64) @ head.weights.T + head.bias
    weights = np.exp(outputs - outputs.max(1, keepdims=True))
    told = weights / weights.sum(1, keepdims=True)
    right = outputs.argmax(1) == labels
    return Judged(float(right.mean()), float(told.max(1).mean()), told.mean(0))


def state_distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the distance of mean states in standard deviations, less what sampling adds.

    Args:
        one: States, (n_texts, width).
        other: Others, of the same width.
    """
    n, m = len(one), len(other)
    first, second = one.astype(np.float64), other.astype(np.float64)
    squares = (n - 1) * first.var(0, ddof=1) + (m - 1) * second.var(0, ddof=1)
    variance = np.maximum(squares / (n + m - 2), 1e-12)
    apart = (first.mean(0) - second.mean(0)) ** 2
    return float(max((apart / variance).mean() - 1 / n - 1 / m, 0.0) ** 0.5)


def class_distance(shares: FloatArray, labels: NDArray[Any]) -> float:
    """Return the total variation between predicted class shares and those of labels."""
    known = np.bincount(labels.astype(np.int64), minlength=len(shares)) / len(labels)
    return float(np.abs(shares - known).sum() / 2)


def spearman(
    table: pd.DataFrame, first: str, second: str, *, given: str = "", within: str = ""
) -> Interval:
    """Return Spearman's correlation with a 90 % interval, whole corpora drawn with replacement.

    Args:
        table: With a column ``corpus``; rows that lack a number are left out.
        first: A column.
        second: Another.
        given: A column that is held fixed: ranks of both are regressed on its ranks.
        within: A column: its groups' means are taken off first, so that only differences inside a
            group count.
    """
    columns = [c for c in (first, second, given) if c]
    part = table.dropna(subset=columns)
    if len(part) < 4:
        return Interval(float("nan"), float("nan"), float("nan"))
    values = part[columns].astype(np.float64)
    if within:
        values = values - values.groupby(part[within]).transform("mean")
        values = values.round(12)
    codes, names = pd.factorize(part["corpus"])
    drawn = drawn_groups(len(names), 0)[:, codes]
    observed = float(correlation(values, first, second, given)[0])
    again = correlation(values, first, second, given, weights=drawn)
    if np.isnan(again).all():
        return Interval(observed, float("nan"), float("nan"))
    low, high = np.nanquantile(again, [0.05, 0.95])
    return Interval(observed, float(low), float(high))


def correlation_table(
    table: pd.DataFrame, predictors: dict[str, str], target: str, *, within: str
) -> pd.DataFrame:
    """Return Spearman's correlation of each predictor with a target.

    Returns:
        One row a predictor and series: ``across`` all rows, ``within`` a group; columns
        ``method``, ``series``, ``value``, ``low``, ``high``, ``rows``, ``corpora``.
    """
    rows = []
    for series, group in (("across", ""), ("within", within)):
        for method, column in predictors.items():
            found = spearman(table, column, target, within=group)
            rows.append(
                {"method": method, "series": series, "value": found.mean, "low": found.low}
                | {"high": found.high, "rows": int(table[column].notna().sum())}
                | {"corpora": table["corpus"].nunique()}
            )
    return pd.DataFrame(rows)
