"""Power laws and their kin, fitted to a pilot's own learning curve: what a metamodel must beat.

Every family here is  error(n) = floor + drop * shape(n; theta)  with a shape that falls in n. For
a given theta the best floor and drop are a least-squares problem of two unknowns with bounds,
solved in closed form; theta is searched on a grid that narrows around its best cell. So a fit
needs no starting point, has no local minima above the grid's step, and repeats to the bit.

    pow2   drop n^-c                 (the floor is 0)
    pow3   floor + drop n^-c
    mmf4   floor + drop / (1 + (n / h)^c)

`fit_log_law` fits pow2 another way: a straight line through log error over log n.

References:
    Viering and Loog 2022, "The shape of learning curves: a review" (the families).
    Golub and Pereyra 1973, "The differentiation of pseudo-inverses and nonlinear least squares
    problems whose variables separate" (eliminating the linear unknowns).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Family = Literal["pow2", "pow3", "mmf4"]
FAMILIES: tuple[Family, ...] = get_args(Family)

FloatArray = NDArray[np.float64]

# Beyond these no curve shows more: at 0.01 an error falls by 3 % over five doublings, at 3 to an
# eighth in one.
_EXPONENTS = (0.01, 3.0)
_HALVES = (0.05, 100.0)  # h of mmf4, in multiples of the smallest and the largest size
_POINTS = {1: 65, 2: 25}  # grid points an axis, by the number of axes
# A grid shrinks to 3 / 8 a round: after nine the logarithms of parameters are known to 4e-5.
_ROUNDS = 9


@dataclass(frozen=True)
class CurveFit:
    """Curves of one family, one fitted to each row of scores.

    Attributes:
        family: Which.
        floor: Error at infinitely many rows, (n_curves,).
        drop: What the shape is multiplied by, (n_curves,).
        theta: Natural logarithms of c, and of h for mmf4, (n_curves, 1 or 2).
        loss: Weighted mean of squared residuals, (n_curves,).
        unit: Sizes are divided by this before shapes are taken.
    """

    family: Family
    floor: FloatArray
    drop: FloatArray
    theta: FloatArray
    loss: FloatArray
    unit: float

    def scores(self, sizes: ArrayLike) -> FloatArray:
        """Return the scores, 1 - error clipped to [0, 1], at some sizes, (n_curves, n_sizes)."""
        at = np.asarray(sizes, np.float64) / self.unit
        shape = _shape(self.family, self.theta[:, None, :], at)
        return np.clip(1 - self.floor[:, None] - self.drop[:, None] * shape, 0.0, 1.0)

    def sizes(self, targets: ArrayLike) -> FloatArray:
        """Return the size at which each target score is reached, infinity where it never is.

        Args:
            targets: Scores, (n_targets,).

        Returns:
            Shape (n_curves, n_targets); not rounded.
        """
        wanted = 1 - np.asarray(targets, np.float64)[None, :] - self.floor[:, None]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            share = np.where(wanted > 0, wanted / self.drop[:, None], 0.0)
            power = np.exp(-self.theta[:, :1])
            if self.family == "mmf4":
                found = np.exp(self.theta[:, 1:]) * np.maximum(1 / share - 1, 0.0) ** power
            else:
                found = share**-power
        return np.where(wanted > 0, found, np.inf) * self.unit


def fit_curves(
    sizes: ArrayLike, scores: ArrayLike, *, family: Family = "pow3", weights: ArrayLike = 1.0
) -> CurveFit:
    """Fit one curve to each row of scores by weighted least squares.

    Args:
        sizes: Numbers of training rows, above 0, (n_sizes,).
        scores: Shares right, (n_curves, n_sizes) or (n_sizes,).
        family: Which shape.
        weights: Of the squared residuals; anything that broadcasts to the scores.

    Raises:
        ValueError: The family is not known, shapes differ, sizes are not positive, fewer than
            two sizes differ, or a number is not finite.
    """
    if family not in FAMILIES:
        raise ValueError(f"family is not known: expected one of {FAMILIES}, got {family!r}.")
    n = np.asarray(sizes, np.float64)
    errors = 1 - np.atleast_2d(np.asarray(scores, np.float64))
    w = np.broadcast_to(np.asarray(weights, np.float64), errors.shape)
    _check(n, errors, w)
    unit = float(np.exp(np.log(n).mean()))
    w = w / w.sum(1, keepdims=True)
    low, high = _range(family, n / unit)
    count = _POINTS[len(low)]
    rows = np.arange(len(errors))
    centre = np.tile((low + high) / 2, (len(errors), 1))
    half = (high - low) / 2
    best: tuple[FloatArray, FloatArray, FloatArray] | None = None
    for _ in range(_ROUNDS):
        # A regular grid of [-1, 1]^n_axes, (count^n_axes, n_axes).
        n_axes = len(low)
        axis = np.linspace(-1, 1, count)
        cube = np.stack(np.meshgrid(*[axis] * n_axes, indexing="ij"), -1).reshape(-1, n_axes)
        theta = np.clip(centre[:, None, :] + half * cube, low, high)
        shape = _shape(family, theta[:, :, None, :], n / unit)
        floor, drop, loss = _linear_part(shape, errors[:, None], w[:, None], family != "pow2")
        place = loss.argmin(1)
        centre = theta[rows, place]
        best = floor[rows, place], drop[rows, place], loss[rows, place]
        half = half * 3 / (count - 1)  # a cell and a half to each side
        count = min(count, 9)
    assert best is not None
    return CurveFit(family, *best[:2], centre, best[2], unit)


@dataclass(frozen=True)
class LogLaw:
    """Power laws  log error = level + slope log(n / n0), one a row.

    Attributes:
        level: Log error at n0, (n_curves,); NaN where there is no point.
        slope: Not above 0, (n_curves,); 0 where there are fewer than two points.
    """

    level: FloatArray
    slope: FloatArray

    def scores(self, rows: NDArray[np.int64], shares: FloatArray) -> FloatArray:
        """Return rows' scores within [0, 1], each at its own share of n0, (n,)."""
        log_error = self.level[rows] + self.slope[rows] * np.log(shares)
        return np.asarray(np.clip(1 - np.exp(log_error), 0.0, 1.0))


def fit_log_law(shares: ArrayLike, scores: ArrayLike, n0: ArrayLike) -> LogLaw:
    """Fit power laws by least squares of the log error on log n.

    Every point counts alike; no error counts as less than half a row of the pilot.

    Args:
        shares: Of n0 that heads were trained on, (n_shares,).
        scores: What they reached, NaN where unknown, (n_curves, n_shares).
        n0: Rows of each pilot, (n_curves,).
    """
    values = np.asarray(scores, np.float64)
    known = np.isfinite(values)
    least = 0.5 / np.maximum(np.asarray(n0, np.float64), 1.0)
    y = np.where(known, np.log(np.maximum(1 - values, least[:, None])), 0.0)
    x = np.where(known, np.log(np.asarray(shares, np.float64)), 0.0)
    count = np.maximum(known.sum(1), 1)
    x_mean, y_mean = x.sum(1) / count, y.sum(1) / count
    away = np.where(known, x - x_mean[:, None], 0.0)
    square = (away**2).sum(1)
    slope = np.where(square > 0, (away * y).sum(1) / np.where(square > 0, square, 1.0), 0.0)
    slope = np.minimum(slope, 0.0)
    level = np.where(known.any(1), y_mean - slope * x_mean, np.nan)
    return LogLaw(level, slope)


def _check(n: FloatArray, errors: FloatArray, weights: FloatArray) -> None:
    if n.ndim != 1 or errors.ndim != 2 or errors.shape[1] != len(n):
        raise ValueError(f"shapes differ: expected a score a size, got {errors.shape}, {n.shape}.")
    if not (np.isfinite(n).all() and (n > 0).all()) or len(np.unique(n)) < 2:
        raise ValueError(f"sizes are out of range: expected two above 0 that differ, got {n}.")
    if not np.isfinite(errors).all():
        raise ValueError("scores are not finite: expected numbers, got NaN or infinity.")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and (weights.sum(1) > 0).all()):
        raise ValueError("weights are out of range: expected none below 0 and some above.")


def _range(family: Family, n: FloatArray) -> tuple[FloatArray, FloatArray]:
    low, high = [np.log(_EXPONENTS[0])], [np.log(_EXPONENTS[1])]
    if family == "mmf4":
        low.append(np.log(n.min() * _HALVES[0]))
        high.append(np.log(n.max() * _HALVES[1]))
    return np.array(low), np.array(high)


def _shape(family: Family, theta: FloatArray, n: FloatArray) -> FloatArray:
    power = np.exp(theta[..., 0])
    if family == "mmf4":
        return np.asarray(1 / (1 + np.exp(power * (np.log(n) - theta[..., 1]))))
    return np.asarray(np.exp(-power * np.log(n)))


def _linear_part(
    shape: FloatArray, errors: FloatArray, weights: FloatArray, has_floor: bool
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the best floor in [0, 1] and drop >= 0 for given shapes, and their loss.

    The problem is convex: its solution is the free one where that is legal, else the best of
    those on the edges (no floor; no drop; the floor 1 has no drop left).
    """

    def mean(x: FloatArray) -> FloatArray:
        return np.asarray((weights * x).sum(-1))

    def scored(floor: FloatArray, drop: FloatArray) -> FloatArray:
        return mean((errors - floor[..., None] - drop[..., None] * shape) ** 2)

    s, e, ss, se = mean(shape), mean(errors), mean(shape**2), mean(shape * errors)
    zero = np.zeros_like(ss)
    drop = np.maximum(se / ss, 0)
    floor, loss = zero, scored(zero, drop)
    if not has_floor:
        return floor, drop, loss
    flat = np.clip(e + zero, 0, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (se - s * e) / (ss - s**2)
    level = e - slope * s
    legal = np.isfinite(slope) & (slope >= 0) & (level >= 0) & (level <= 1)
    slope, level = np.where(legal, slope, 0), np.where(legal, level, flat)
    for other_floor, other_drop in ((flat, zero), (level, slope)):
        other = scored(other_floor, other_drop)
        better = other < loss
        floor = np.where(better, other_floor, floor)
        drop = np.where(better, other_drop, drop)
        loss = np.where(better, other, loss)
    return floor, drop, loss
