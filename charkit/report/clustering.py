"""What figures of distances share: symmetric distances, clusters, an order, colours of groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.errors import UsageError
from charkit.report.canvas import MUTED

FloatArray = NDArray[np.float64]

Linkage = Literal["average", "complete"]
"""Distance of two clusters: the mean over their pairs, or the largest."""

GROUP_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5c00", "#5b3a8e",
)  # fmt: skip
"""Told apart by colour-blind eyes (Okabe and Ito 2008, "Color universal design", and two more)."""


def distances_of(matrix: pd.DataFrame) -> FloatArray:
    """Return a table of distances as a symmetric array with noughts on its diagonal.

    Where the way there and the way back differ, their mean is taken. Distances below nought, of
    ``asymmetric``, are raised together until the least is nought.

    Args:
        matrix: Index and columns: the same names.

    Raises:
        UsageError: It is not square, names differ, a number is missing, or there are fewer than
            two names.
    """
    values = matrix.to_numpy(np.float64)
    if len(matrix) < 2 or list(matrix.index) != list(matrix.columns):
        raise UsageError(
            f"no distances to draw: expected a square table of at least two names, got shape "
            f"{matrix.shape}."
        )
    if not np.isfinite(values).all():
        raise UsageError("distances cannot be drawn: expected finite numbers, got others.")
    both = (values + values.T) / 2
    apart = ~np.eye(len(both), dtype=bool)
    both[apart] -= min(0.0, float(both[apart].min()))
    np.fill_diagonal(both, 0)
    return np.asarray(both)


def cluster(distances: FloatArray, *, linkage: Linkage = "average") -> FloatArray:
    """Return a hierarchical clustering, its leaves in the order that keeps neighbours nearest.

    Args:
        distances: From `distances_of`.
        linkage: How far apart two clusters are.

    Returns:
        As `scipy.cluster.hierarchy.linkage`, (count - 1, 4).

    References:
        Bar-Joseph, Gifford and Jaakkola 2001, "Fast optimal leaf ordering for hierarchical
        clustering".
    """
    from scipy.cluster.hierarchy import linkage as joined
    from scipy.spatial.distance import squareform

    near = squareform(distances, checks=False)
    return np.asarray(joined(near, method=linkage, optimal_ordering=True))


def leaf_order(matrix: pd.DataFrame, *, linkage: Linkage = "average") -> list[str]:
    """Return the names in an order in which near ones stand together.

    Raises:
        UsageError: The table is no table of distances.
    """
    from scipy.cluster.hierarchy import leaves_list

    places = leaves_list(cluster(distances_of(matrix), linkage=linkage))
    return [str(matrix.index[k]) for k in places]


def group_colours(names: Sequence[str], groups: Mapping[str, str] | None) -> dict[str, Any]:
    """Return a colour for each group that has two names or more.

    Groups beyond the eighth get none: more colours cannot be told apart.
    """
    of_each = [(groups or {}).get(name, "") for name in names]
    several = [g for g in dict.fromkeys(of_each) if g and of_each.count(g) > 1]
    ranked = sorted(several, key=lambda g: -of_each.count(g))[: len(GROUP_COLOURS)]
    return dict(zip(ranked, GROUP_COLOURS, strict=False))


def colour_of(name: str, groups: Mapping[str, str] | None, colours: Mapping[str, Any]) -> Any:
    """Return the colour of a name's group; grey where it has none."""
    return colours.get((groups or {}).get(name, ""), MUTED)
