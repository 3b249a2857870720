"""Ridge regression for tables with gaps: plain, and local in the size of the sample.

What evidence is worth changes with the number of labels that it was made from, so `LocalRidge`
holds one regression for each such number, fitted mostly to samples of about that size, and
robustly: the figure that counts is the mean absolute error.

References:
    Hastie and Tibshirani 1993, "Varying-coefficient models".
    Huber 1981, "Robust statistics", chapter 7 (iteratively reweighted least squares).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_CLIP = 4.0  # in deviations: what lies further out is no better known for it
_PRODUCTS = ("log_ratio", "log_n0")
_NEAR = 1.5  # in doublings: standard deviation of the weight of samples of another size
_LEAST = 0.1  # samples of a size with less weight are left out
# Of robust weights: the first from residuals of equal weights, the second from its own.
_ROUNDS = 2
_SMALL = 0.02  # residuals below it all count alike


@dataclass(frozen=True, eq=False)
class Ridge:
    """A linear model of standardised features, and of their products with log N / n0 and log n0.

    Attributes:
        names: Features.
        mean: Of each.
        scale: Of each, above 0.
        weights: Of each, then of its products; (1 or more times n_features,).
        intercept: Weighted mean of the target, the prediction where every feature is unknown. It
            is held, so products, whose mean is not 0, cannot move it.
    """

    names: tuple[str, ...]
    mean: FloatArray
    scale: FloatArray
    weights: FloatArray
    intercept: float

    def predict(self, features: pd.DataFrame) -> FloatArray:
        """Return one number a row."""
        return np.asarray(self._design(features) @ self.weights + self.intercept)

    def parts(self, features: pd.DataFrame) -> FloatArray:
        """Return what each feature adds, products shared out to their feature, (n, n_features)."""
        shares = self._design(features) * self.weights
        return np.asarray(shares.reshape(len(features), -1, len(self.names)).sum(1))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()}

    def _design(self, features: pd.DataFrame) -> FloatArray:
        return _design(features[list(self.names)], self.mean, self.scale)


def ridge_from(given: dict[str, Any]) -> Ridge:
    """Return the regression that `Ridge.to_dict` wrote.

    Raises:
        KeyError: A field is missing.
    """
    arrays = {name: np.array(given[name], np.float64) for name in ("mean", "scale", "weights")}
    return Ridge(tuple(given["names"]), intercept=given["intercept"], **arrays)


def fit_ridge(
    features: pd.DataFrame,
    target: FloatArray,
    weights: FloatArray,
    *,
    penalty: float,
    rounds: int = 0,
) -> Ridge:
    """Return the weighted ridge regression; unknown features count as average.

    Args:
        features: One row an observation.
        target: What to predict.
        weights: Of the rows.
        penalty: On the squared weights, in rows.
        rounds: How often rows are weighed again by one over their residual, which leads from the
            least squared towards the least absolute error.
    """
    values = features.to_numpy(np.float64)
    known = np.isfinite(values)
    w = weights[:, None] * known
    total = np.maximum(w.sum(0), 1e-12)
    mean = np.asarray(np.where(known, values, 0.0).T @ weights / total)
    centred = np.where(known, values - mean, 0.0)
    scale = np.sqrt((w * centred**2).sum(0) / total)
    scale = np.asarray(np.where(scale > 1e-9, scale, 1.0))
    design = _design(features, mean, scale)
    level, found = _solve(design, target, weights, penalty)
    for _ in range(rounds):
        residual = np.abs(design @ found + level - target)
        level, found = _solve(design, target, weights / np.maximum(residual, _SMALL), penalty)
    return Ridge(tuple(features.columns), mean, scale, found, level)


def _solve(
    design: FloatArray, target: FloatArray, weights: FloatArray, penalty: float
) -> tuple[float, FloatArray]:
    weights = weights / weights.mean()
    level = np.average(target, weights=weights)
    left = (design * weights[:, None]).T @ design + penalty * np.eye(design.shape[1])
    found = np.linalg.solve(left, design.T @ (weights * (target - level)))
    return float(level), np.asarray(found)


@dataclass(frozen=True, eq=False)
class LocalRidge:
    """Ridge regressions for samples of several sizes; between two, both count by nearness.

    Attributes:
        knots: log2 of the sizes, rising; a single one where sizes are not known.
        ridges: One a knot.
    """

    knots: tuple[float, ...]
    ridges: tuple[Ridge, ...]

    def predict(self, features: pd.DataFrame) -> FloatArray:
        """Return one number a row."""
        return self._mean(features, Ridge.predict)

    def parts(self, features: pd.DataFrame) -> FloatArray:
        """Return what each feature adds, (n, n_features)."""
        return self._mean(features, Ridge.parts)

    def levels(self, features: pd.DataFrame) -> FloatArray:
        """Return what is said before any feature is looked at, one number a row."""
        return self._mean(features, lambda ridge, rows: np.full(len(rows), ridge.intercept))

    def _mean(
        self, features: pd.DataFrame, ask: Callable[[Ridge, pd.DataFrame], FloatArray]
    ) -> FloatArray:
        """Return the mean of the two regressions next to each row's size, by nearness."""
        if len(self.knots) == 1:
            return ask(self.ridges[0], features)
        at = features["log_n0"].to_numpy(np.float64)
        places = np.arange(len(self.knots), dtype=np.float64)
        place = np.interp(np.where(np.isfinite(at), at, self.knots[0]), self.knots, places)
        total: FloatArray | None = None
        for knot, ridge in enumerate(self.ridges):
            near = np.maximum(1 - np.abs(place - knot), 0.0)
            rows = np.flatnonzero(near > 0)
            if len(rows):
                predicted = ask(ridge, features.iloc[rows])
                if total is None:
                    total = np.zeros((len(features), *predicted.shape[1:]))
                total[rows] += (near[rows] * predicted.T).T
        assert total is not None, "every row lies beside a knot"
        return total


def fit_local_ridge(
    features: pd.DataFrame, target: FloatArray, weights: FloatArray, *, penalty: float
) -> LocalRidge:
    """Return a robust ridge regression for each size of the samples, or one if there is none.

    Args:
        features: One row an observation; ``log_n0`` tells the sample's size.
        target: What to predict.
        weights: Of the rows, of mean 1.
        penalty: On the squared weights, in rows.
    """
    sizes = np.full(len(features), np.nan)
    if "log_n0" in features:
        sizes = features["log_n0"].to_numpy(np.float64)
    known = np.unique(np.round(sizes[np.isfinite(sizes)]))
    if len(known) < 2:
        ridge = fit_ridge(features, target, weights, penalty=penalty, rounds=_ROUNDS)
        return LocalRidge((0.0,), (ridge,))
    ridges = []
    for knot in known:
        near = np.exp(-(((sizes - knot) / _NEAR) ** 2) / 2)
        used = near > _LEAST  # no row without a size
        w = (weights * near)[used]
        ridges.append(fit_ridge(features[used], target[used], w, penalty=penalty, rounds=_ROUNDS))
    return LocalRidge(tuple(known.tolist()), tuple(ridges))


def _design(features: pd.DataFrame, mean: FloatArray, scale: FloatArray) -> FloatArray:
    z = np.clip((features.to_numpy(np.float64) - mean) / scale, -_CLIP, _CLIP)
    z = np.where(np.isfinite(z), z, 0.0)
    places = [list(features.columns).index(name) for name in _PRODUCTS if name in features]
    return np.hstack([z, *(z * z[:, [place]] for place in places)])
