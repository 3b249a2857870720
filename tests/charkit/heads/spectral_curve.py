"""The oracle: the learning curve of a ridge head under a given penalty, from a spectrum.

Features with covariance eigenvalues l_i, a target with the share v_i^2 of its variance along the
i-th direction (whitened) and the rest s^2 along none, n training rows and the total penalty d
(as in  min_w  sum_j (y_j - w x_j)^2 + d |w|^2) give in the mean

    sum_i l_i / (l_i + k) + d / k = n           which sets k,     L_i = l_i / (l_i + k)
    error(n) = n / (n - sum_i L_i^2)  *  ( sum_i (1 - L_i)^2 v_i^2 + s^2 )

The eigenvalues come from texts without labels; the shares from a few with.

References:
    Simon, Dickens, Karkada and DeWeese 2023, "The eigenlearning framework: a conservation law
    perspective on kernel ridge regression and wide neural networks", equations 7 to 11.
    Canatar, Bordelon and Pehlevan 2021, "Spectral bias and task-model alignment explain
    generalization in kernel regression and infinitely wide neural networks".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from charkit.errors import UsageError

FloatArray = NDArray[np.float64]

# More halvings than float64 has values between the two ends: the result does not depend on it.
_HALVINGS = 200


@dataclass(frozen=True)
class RidgeRisk:
    """What is expected of ridge heads on samples of several sizes.

    Attributes:
        error: Mean squared error on new rows, (n_sizes,).
        learned: Share L_i of each direction that is learned, (n_sizes, n_directions).
    """

    error: FloatArray
    learned: FloatArray


def ridge_risk(
    eigenvalues: ArrayLike, shares: ArrayLike, noise: float, sizes: ArrayLike, *, penalty: ArrayLike
) -> RidgeRisk:
    """Return the expected error of ridge heads.

    Args:
        eigenvalues: l_i of the features' covariance, above 0, (n_directions,).
        shares: v_i^2, variance of the target along each whitened direction, (n_directions,).
        noise: s^2, the rest of its variance.
        sizes: Numbers of training rows n, (n_sizes,).
        penalty: Total penalty d, above 0; one number, or one a size.

    Raises:
        UsageError: An argument is out of range.
    """
    values, v = np.asarray(eigenvalues, np.float64), np.asarray(shares, np.float64)
    n = np.asarray(sizes, np.float64)
    d = np.broadcast_to(np.asarray(penalty, np.float64), n.shape)
    if values.ndim != 1 or v.shape != values.shape or not (values > 0).all():
        raise UsageError(
            "eigenvalues and shares: expected as many of both, eigenvalues above 0, got shapes "
            f"{values.shape} and {v.shape}."
        )
    if not ((n > 0).all() and (d > 0).all() and noise >= 0 and (v >= 0).all()):
        raise UsageError(
            "sizes, penalty, noise or shares are out of range: expected above 0, above 0, at "
            "least 0 and at least 0."
        )
    level = _resolution(values, n, d)
    learned = values / (values + level[:, None])
    spread = n / (n - (learned**2).sum(1))
    return RidgeRisk(spread * (((1 - learned) ** 2) @ v + noise), learned)


def _resolution(values: FloatArray, n: FloatArray, d: FloatArray) -> FloatArray:
    """Return k of the module's first equation, whose left side falls in k, by bisection."""
    low = np.log(d / n)  # there d / k is already n
    high = np.log((values.sum() + d) / n)  # l / (l + k) is at most l / k
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        k = np.exp(middle)
        above = (values / (values + k[:, None])).sum(1) + d / k > n
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.asarray(np.exp((low + high) / 2))
