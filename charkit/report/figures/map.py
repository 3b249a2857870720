"""A map of tasks: near ones near each other, as far as a plane allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from charkit.report.figures.canvas import (
    FAINT,
    INK,
    MUTED,
    SMALL,
    WIDTH,
    blank,
    keep_numbers,
    readable,
    safe,
    text_inches,
)
from charkit.report.figures.distances import FloatArray, colour_of, distances_of, group_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDE = 0.12  # inches of margin
_ROOM = (1.3, 0.6)  # inches next to and above the outer points together, for labels
_AIR = 0.04  # inches between labels
_TALL = 0.135  # inches of a label
_REACHES = (0.07, 0.1, 0.14, 0.19, 0.26, 0.36)  # inches from a point to its label
_ANGLES = np.arange(0, 360, 22.5)  # degrees around a point
_ROUNDS = 4  # measured on 41 labels: after two or three rounds none moves any more
_STEPS = 500  # at most, from each start
_ENOUGH = 1e-7  # share of the stress that a step must take off


def distance_map(
    matrix: pd.DataFrame,
    *,
    unit: str = "distance",
    title: str | None = None,
    groups: Mapping[str, str] | None = None,
    alike: str = "share texts",
    note: str = "",
) -> Figure:
    """Draw tasks as points in the plane by multidimensional scaling.

    The caption gives the stress: how badly the plane holds the distances.

    The arguments and the errors are those of `charkit.report.figures.distances.distance_matrix`.
    """
    points, stress = place_points(distances_of(matrix))
    names = [str(name) for name in matrix.index]
    colours = group_colours(names, groups)
    quality = "well" if stress < 0.1 else "roughly" if stress < 0.2 else "poorly, see the matrix"
    words = (
        f"Far apart: large {readable(unit)}. Stress {stress:.2f}: a plane shows the distances "
        f"{quality}. Directions mean nothing."
    )
    if colours:
        words += f" Colours: tasks that {alike}."
    wide = WIDTH - 2 * _SIDE
    extent = points.max(0) - points.min(0)
    ratio = float(extent[1] / extent[0]) if extent[0] > 0 else 1.0
    tall = (wide - _ROOM[0]) * min(ratio, 1.3) + _ROOM[1]
    tall = max(tall, 1.6)
    figure, axes = blank(
        title=title or f"A map of {len(names)} tasks",
        caption=f"{words} {note}".strip(),
        height=tall,
        left=_SIDE,
        right=_SIDE,
        below=-0.38,
    )
    _frame(axes, points, wide, tall)
    inches = axes.transData.transform(points) / axes.get_figure().dpi
    corner = np.array(axes.bbox.min) / axes.get_figure().dpi
    marks = [colour_of(name, groups, colours) for name in names]
    shown = [safe(readable(name, longest=22)) for name in names]
    _draw(axes, points, inches - corner, shown, marks, (wide, tall))
    numbers = pd.DataFrame(points, columns=["x", "y"])
    numbers.insert(0, "task", names)
    return keep_numbers(figure, numbers.assign(stress=stress))


def _frame(axes: Axes, points: FloatArray, wide: float, tall: float) -> None:
    """Show all points with room for labels, the same scale along both axes."""
    low, high = points.min(0), points.max(0)
    spread = np.maximum(high - low, 1e-12)
    per_inch = float((spread / (np.array([wide, tall]) - _ROOM)).max())
    centre, half = (low + high) / 2, np.array([wide, tall]) * per_inch / 2
    axes.set_xlim(centre[0] - half[0], centre[0] + half[0])
    axes.set_ylim(centre[1] - half[1], centre[1] + half[1])
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(FAINT)


def _draw(
    axes: Axes,
    points: FloatArray,
    inches: FloatArray,
    names: list[str],
    colours: list[Any],
    size: tuple[float, float],
) -> None:
    widths = np.array(
        [
            text_inches(name, bold=colour != MUTED)
            for name, colour in zip(names, colours, strict=True)
        ]
    )
    centres = place_labels(inches, widths, size)
    for place, name, colour, point, centre, width in zip(
        inches, names, colours, points, centres, widths, strict=True
    ):
        grouped = colour != MUTED
        axes.plot(*point, "o", color=colour, markersize=6 if grouped else 4.5, zorder=4)
        half = np.array([width / 2, _TALL / 2])
        near = np.clip(place, centre - half, centre + half)
        share = centre / size
        if np.hypot(*(near - place)) > 0.13:
            axes.plot(
                *np.array([place / size, near / size]).T, color=MUTED, linewidth=0.6,
                transform=axes.transAxes, zorder=2,
            )  # fmt: skip
        axes.text(
            share[0], share[1], name, transform=axes.transAxes, ha="center", va="center_baseline",
            size=SMALL, color=INK, zorder=5, weight="bold" if grouped else "normal",
        )  # fmt: skip


def place_labels(points: FloatArray, widths: FloatArray, size: tuple[float, float]) -> FloatArray:
    """Return the centres of labels next to their points, overlaps avoided as far as possible.

    The points with the nearest neighbours choose first; each takes the place that covers the
    least of labels and points, is not nearer to another point, and is near. Then each chooses
    again, given the others, a few times.

    Args:
        points: In inches from the lower left corner, (count, 2).
        widths: Of the labels in inches, (count,).
        size: Width and height of the frame in inches.
    """
    step = np.hypot(*(points[:, None] - points[None]).T)
    order = np.argsort(np.sort(step, axis=1)[:, 1:4].sum(1), kind="stable")
    half = np.column_stack([widths / 2, np.full(len(widths), _TALL / 2)])
    centres = points.copy()
    placed: list[int] = []
    for index in np.tile(order, _ROUNDS):
        others = [k for k in placed if k != index]
        choices = _choices(points[index], half[index])
        costs = _overlaps(choices, half[index], centres[others], half[others])
        costs += _strays(choices, half[index], np.delete(points, index, 0))
        beyond = np.maximum(half[index] - choices, 0) + np.maximum(choices + half[index] - size, 0)
        centres[index] = choices[int((costs + 100 * beyond.sum(1)).argmin())]
        placed = [*others, int(index)]
    return centres


def _choices(point: FloatArray, half: FloatArray) -> FloatArray:
    """Return centres around a point such that the label's edge is at each reach from it."""
    turn = np.deg2rad(_ANGLES)
    way = np.column_stack([np.cos(turn), np.sin(turn)])
    edge = np.where(np.abs(way) > 0.39, np.sign(way), way / 0.39) * half
    return np.concatenate([point + edge + reach * way for reach in _REACHES])


def _overlaps(
    choices: FloatArray, half: FloatArray, others: FloatArray, their_halves: FloatArray
) -> FloatArray:
    """Return what it costs to cover other labels: by the area."""
    step = np.abs(choices[:, None] - others[None])
    shared = np.maximum(half + their_halves[None] + _AIR - step, 0)
    return np.asarray(30 * shared.prod(2).sum(1))


def _strays(choices: FloatArray, half: FloatArray, points: FloatArray) -> FloatArray:
    """Return what it costs to be far away, off the level, on or nearer to another point."""
    reach = np.repeat(_REACHES, len(_ANGLES))
    costs = reach + 0.02 * np.tile(_ANGLES % 180 != 0, len(_REACHES))
    if not len(points):
        return np.asarray(costs)
    gap = np.maximum(np.abs(choices[:, None] - points[None]) - half, 0)
    near = np.hypot(gap[..., 0], gap[..., 1])
    costs = costs + 2.0 * (near < 0.05).sum(1)
    return np.asarray(costs + 4.0 * np.maximum(reach[:, None] - near, 0).max(1))


def place_points(
    distances: FloatArray, *, n_starts: int = 8, seed: int = 0
) -> tuple[FloatArray, float]:
    """Return points whose distances are as near to the given ones as descent finds, and the stress.

    Starts from classical scaling and from random points, and follows the majorisation of the
    stress (SMACOF) from each; the least stress wins.

    Args:
        distances: Symmetric, zeros on the diagonal, (count, count).
        n_starts: Random starts next to the classical one.
        seed: Of the random starts.

    Returns:
        The points, (count, 2), centred, the longer spread along the first axis. Kruskal's
        stress-1, the root of sum (d - wanted)^2 / sum wanted^2 over pairs: 0 where the plane
        holds all distances, 0.1 fair, 0.2 poor.

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
    points, stress = min(found, key=lambda one: one[1])
    return _turned(points), stress


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


def _descend(wanted: FloatArray, points: FloatArray) -> tuple[FloatArray, float]:
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
    return points, (min(stress, after) / total) ** 0.5


def _turned(points: FloatArray) -> FloatArray:
    """Return the points centred, their longer spread first, signs fixed by the first point."""
    points = points - points.mean(0)
    _, vectors = np.linalg.eigh(points.T @ points)
    turned = points @ vectors[:, ::-1]
    farthest = np.abs(turned).argmax(0)
    signs = np.sign(turned[farthest, [0, 1]])
    return np.asarray(turned * np.where(signs == 0, 1, signs))
