"""Intervals of proportions, means and correlations, elementwise and only in numpy."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from charkit.errors import UsageError

FloatArray = NDArray[np.float64]
Interval = tuple[FloatArray, FloatArray]

LEVEL = 0.90
"""Coverage of the intervals in every table."""


def normal_quantile(level: float) -> float:
    """Return how many standard errors each side hold this share of a normal distribution.

    Raises:
        UsageError: The level is not between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        raise UsageError(f"level: expected a number between 0 and 1, got {level}.")
    return NormalDist().inv_cdf((1 + level) / 2)


def wilson_interval(proportion: ArrayLike, n_rows: ArrayLike, *, level: float = LEVEL) -> Interval:
    """Return Wilson's interval of a proportion seen on ``n_rows`` rows; (0, 1) on none.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference".

    >>> low, high = wilson_interval(1.0, 10)
    >>> print(f"{low:.3f} {high:.3f}")
    0.787 1.000
    """
    share = np.asarray(proportion, dtype=np.float64)
    number = np.asarray(n_rows, dtype=np.float64)
    square = normal_quantile(level) ** 2
    middle = (share * number + square / 2) / (number + square)
    spread = np.maximum(share * (1 - share) * number + square / 4, 0.0)
    half = np.sqrt(square * spread) / (number + square)
    seen = number > 0
    return (
        np.clip(middle - half, 0.0, np.where(seen, share, 0.0)),
        np.clip(middle + half, np.where(seen, share, 1.0), 1.0),
    )


def share_interval(
    share: FloatArray, variance: FloatArray, n_rows: int, *, level: float = LEVEL
) -> Interval:
    """Return Wilson's interval with the number of rows that would explain a variance.

    Unlike plus or minus z standard errors it stays inside [0, 1] and does not shrink to a
    point at the ends, where it is the interval of a proportion of ``n_rows`` rows.

    Args:
        share: Estimates in [0, 1].
        variance: Their sampling variances, of the same shape.
        n_rows: Rows behind an estimate.
        level: Coverage.
    """
    binomial = share * (1 - share)
    inside = (variance > 0) & (binomial > 0)
    effective = np.divide(
        binomial, variance, out=np.full_like(share, n_rows), where=inside & (n_rows > 0)
    )
    return wilson_interval(share, effective, level=level)


def mean_interval(
    values: FloatArray, *, largest: float, level: float = LEVEL
) -> tuple[FloatArray, Interval]:
    """Return means over rows and their normal intervals within [0, largest].

    One row says nothing about the spread: its interval is the whole range.

    Args:
        values: (B, m), none negative.
        largest: The largest value possible.
        level: Coverage.
    """
    n_rows = values.shape[1]
    mean = values.mean(axis=1)
    if n_rows == 1:
        return mean, (np.zeros_like(mean), np.full_like(mean, largest))
    half = normal_quantile(level) * values.std(axis=1, ddof=1) / np.sqrt(n_rows)
    return mean, (np.maximum(mean - half, 0.0), np.minimum(mean + half, largest))


def correlation_interval(correlation: FloatArray, n_rows: int, *, level: float = LEVEL) -> Interval:
    """Return Fisher's interval with Spearman's variance, (1 + r^2/2) / (m - 3) on atanh.

    Bonett and Wright (2000), "Sample size requirements for estimating Pearson, Kendall and
    Spearman correlations". It assumes roughly normal pairs; with fewer than four rows it is
    (-1, 1).
    """
    if n_rows <= 3:
        return np.full_like(correlation, -1.0), np.full_like(correlation, 1.0)
    inside = np.clip(correlation, -1 + 1e-12, 1 - 1e-12)
    half = normal_quantile(level) * np.sqrt((1 + correlation**2 / 2) / (n_rows - 3))
    low = np.minimum(np.tanh(np.arctanh(inside) - half), correlation)
    return low, np.maximum(np.tanh(np.arctanh(inside) + half), correlation)
