"""Means over evaluation rows and training draws at once: covariance and simultaneous tests.

A value for every (draw of the training sample, column, evaluation row) is modelled as

    value = column mean + row effect + draw effect + rest,

the two kinds of effects drawn independently: other rows and other draws would have given other
means. A column is a layer, or a layer's gain in some measure; all columns share rows and draws,
so that their differences are paired.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charkit.errors import UsageError
from charkit.heads.intervals import FloatArray


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
