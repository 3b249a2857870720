"""Multidimensional scaling: points in the plane whose distances are near those given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_STEPS = 500
_ENOUGH = 1e-7  # share of the stress that a step must take off


@dataclass(frozen=True, eq=False)
class Places:
    """Points in the plane.

    Attributes:
        points: (count, 2); centred, the longer spread along the first axis.
        stress: Kruskal's stress-1, the root of sum (d - wanted)^2 / sum wanted^2 over pairs:
            0 where the plane holds all distances, 0.1 fair, 0.2 poor.
    """

    points: FloatArray
    stress: float


def place_points(distances: FloatArray, *, n_starts: int = 8, seed: int = 0) -> Places:
    """Return points whose distances are as near to the given ones as descent finds.

    Starts from classical scaling and from random points, and follows the majorisation of the
    stress (SMACOF) from each; the least stress wins.

    Args:
        distances: Symmetric, noughts on the diagonal, (count, count).
        n_starts: Random starts beside the classical one.
        seed: Of the random starts.

    References:
        Torgerson 1952, "Multidimensional scaling: I. Theory and method". De Leeuw 1977,
        "Applications of convex analysis to multidimensional scaling". Kruskal 1964,
        "Multidimensional scaling by optimizing goodness of fit to a nonmetric hypothesis".
    """
    rng = np.random.default_rng(seed)
    scale = float(distances.max()) or 1.0
    starts = [_classical(distances)]
    starts += [rng.normal(0, scale / 2, (len(distances), 2)) for _ in range(n_starts)]
    found = [_descend(distances, start) for start in starts]
    best = min(found, key=lambda places: places.stress)
    return Places(_turned(best.points), best.stress)


def _classical(distances: FloatArray) -> FloatArray:
    squares = distances**2
    centred = squares - squares.mean(0) - squares.mean(1, keepdims=True) + squares.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    lengths = np.sqrt(np.maximum(values[-2:], 0))[::-1]
    points = vectors[:, :-3:-1] * lengths
    if points.shape[1] < 2:
        points = np.column_stack([points, np.zeros(len(points))])
    return np.asarray(points)


def _between(points: FloatArray) -> FloatArray:
    step = points[:, None, :] - points[None, :, :]
    return np.asarray(np.sqrt((step**2).sum(-1)))


def _descend(wanted: FloatArray, points: FloatArray) -> Places:
    total = float((wanted**2).sum()) or 1.0
    count = len(points)
    held = _between(points)
    stress = float(((held - wanted) ** 2).sum())
    for _ in range(_STEPS):
        ratio = np.divide(wanted, held, out=np.zeros_like(wanted), where=held > 0)
        pull = -ratio
        np.fill_diagonal(pull, ratio.sum(1))
        points = pull @ points / count
        held = _between(points)
        after = float(((held - wanted) ** 2).sum())
        if stress - after <= _ENOUGH * stress:
            break
        stress = after
    return Places(points, (min(stress, after) / total) ** 0.5)


def _turned(points: FloatArray) -> FloatArray:
    """Return the points centred, their longer spread first, signs fixed by the first point."""
    points = points - points.mean(0)
    _, vectors = np.linalg.eigh(points.T @ points)
    turned = points @ vectors[:, ::-1]
    farthest = np.abs(turned).argmax(0)
    signs = np.sign(turned[farthest, [0, 1]])
    return np.asarray(turned * np.where(signs == 0, 1, signs))
