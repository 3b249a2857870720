"""Intervals of proportions, means and correlations, elementwise and only in numpy.

Means over evaluation rows and training draws at once: covariance and simultaneous tests.

A value for every (draw of the training sample, column, evaluation row) is modelled as

    value = column mean + row effect + draw effect + rest,

the two kinds of effects drawn independently: other rows and other draws would have given other
means. A column is a layer, or a layer's gain in some measure; all columns share rows and draws,
so that their differences are paired.
"""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class CrossedMeans:
    """Means of K columns over S draws and m rows, and what is known of their errors.

    Attributes:
        mean: (K,).
        row_covariance: (K, K), of the means, from the choice of rows (and the rest).
        draw_covariance: (K, K), of the means, from the choice of draws; zero for one draw.
        n_draws: S.
        n_rows: m.
    """

    mean: FloatArray
    row_covariance: FloatArray
    draw_covariance: FloatArray
    n_draws: int
    n_rows: int

    @property
    def covariance(self) -> FloatArray:
        """Covariance of the means, (K, K)."""
        return self.row_covariance + self.draw_covariance

    def contrast(self, weights: FloatArray) -> CrossedMeans:
        """Return the means of linear combinations of the columns: weights (J, K)."""
        return CrossedMeans(
            weights @ self.mean,
            weights @ self.row_covariance @ weights.T,
            weights @ self.draw_covariance @ weights.T,
            self.n_draws,
            self.n_rows,
        )

    def degrees(self) -> FloatArray:
        """Satterthwaite's degrees of freedom of each mean's variance, (K,)."""
        by_row, by_draw = np.diag(self.row_covariance), np.diag(self.draw_covariance)
        spread = by_row**2 / max(self.n_rows - 1, 1) + by_draw**2 / max(self.n_draws - 1, 1)
        total = (by_row + by_draw) ** 2
        return np.divide(total, spread, out=np.ones_like(total), where=spread > 0)

    def normal_scores(self) -> FloatArray:
        """Each mean over its standard error, moved from Student's to the normal scale, (K,).

        A column whose values do not vary scores 0: nothing is known of its error.
        """
        from scipy.special import ndtri, stdtr

        error = np.sqrt(np.diag(self.covariance))
        ratio = np.divide(self.mean, error, out=np.zeros_like(error), where=self.has_error)
        tail = stdtr(self.degrees(), -np.abs(ratio))
        return np.asarray(-np.sign(ratio) * ndtri(np.maximum(tail, 1e-300)))

    @property
    def has_error(self) -> NDArray[np.bool_]:
        """Whether a column's error is known: two rows at least, and values that vary."""
        variance = np.diag(self.covariance)
        enough = self.n_rows > 1
        return np.asarray(enough & (variance > 1e-12 * (1e-12 + self.mean**2)), dtype=bool)

    def maxima(self, *, seed: int, n_simulated: int) -> FloatArray:
        """Draw the largest normal score among the columns when all true means are zero."""
        scale = np.sqrt(np.where(self.has_error, np.diag(self.covariance), 1.0))
        correlation = self.covariance / np.outer(scale, scale)
        correlation = np.where(np.outer(self.has_error, self.has_error), correlation, 0.0)
        values, vectors = np.linalg.eigh(correlation)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        normal = np.random.default_rng(seed).standard_normal((n_simulated, len(values)))
        return np.asarray((normal @ root.T).max(axis=1))


def crossed_means(values: NDArray[np.generic]) -> CrossedMeans:
    """Estimate means and their covariance: (S, K, m) -> K columns.

    The variance between draws is freed of what the rest would cause, so that it is not
    counted twice (method of moments); its negative directions are set to zero, which makes
    it up to a third too large where draws hardly matter. One draw shows nothing of the
    variance between draws, and one row nothing of that between rows.

    Raises:
        UsageError: The array is not (S, K, m), is empty, or has values that are not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 3 or array.size == 0:
        raise UsageError(
            "values: expected an array of shape (n_draws, n_columns, n_rows), none of them "
            f"zero, got {array.shape}."
        )
    if not np.isfinite(array).all():
        raise UsageError("values: expected finite numbers, got NaN or infinity.")
    n_draws, n_columns, n_rows = array.shape
    by_row, by_draw = array.mean(axis=0), array.mean(axis=2)
    mean = by_draw.mean(axis=0)
    zero = np.zeros((n_columns, n_columns))
    rows = _covariance(by_row) / n_rows if n_rows > 1 else zero
    draws = zero
    if n_draws > 1:
        draws = _covariance(by_draw.T)
        if n_rows > 1:
            rest = array - by_row - by_draw[..., None] + mean[:, None]
            freedom = (n_rows - 1) * (n_draws - 1)
            draws = draws - np.einsum("skm,slm->kl", rest, rest, optimize=True) / freedom / n_rows
        values_, vectors = np.linalg.eigh(draws)
        draws = (vectors * np.maximum(values_, 0.0)) @ vectors.T / n_draws
    return CrossedMeans(mean, rows, draws, n_draws, n_rows)


def _covariance(columns: FloatArray) -> FloatArray:
    """Covariance of K columns over N cases: (K, N) -> (K, K)."""
    return np.atleast_2d(np.cov(columns))
