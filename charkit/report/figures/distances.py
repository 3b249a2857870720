"""Distances between tasks as figures: a matrix in clustered order, and a tree of its joins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.errors import UsageError
from charkit.report.figures.canvas import (
    FAINT,
    INK,
    MUTED,
    NORMAL,
    SMALL,
    WIDTH,
    blank,
    ink_on,
    keep_numbers,
    readable,
    safe,
    text_inches,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]

GROUP_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5c00", "#5b3a8e",
)  # fmt: skip
"""Different to colour-blind eyes (Okabe and Ito 2008, "Color universal design", and two more)."""


def distances_of(matrix: pd.DataFrame) -> FloatArray:
    """Return a table of distances as a symmetric array with zeros on its diagonal.

    Where the way there and the way back differ, their mean is taken. Negative distances, of
    ``asymmetric``, are raised together until the least is zero.

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


def cluster(distances: FloatArray) -> FloatArray:
    """Return a clustering by average linkage, its leaves ordered such that neighbours are nearest.

    Args:
        distances: From `distances_of`.

    Returns:
        As `scipy.cluster.hierarchy.linkage`, (count - 1, 4).

    References:
        Bar-Joseph, Gifford and Jaakkola 2001, "Fast optimal leaf ordering for hierarchical
        clustering".
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    near = squareform(distances, checks=False)
    return np.asarray(linkage(near, method="average", optimal_ordering=True))


def leaf_order(matrix: pd.DataFrame) -> list[str]:
    """Return the names in an order in which near ones stand together.

    Raises:
        UsageError: The table is no table of distances.
    """
    from scipy.cluster.hierarchy import leaves_list

    places = leaves_list(cluster(distances_of(matrix)))
    return [str(matrix.index[k]) for k in places]


def group_colours(names: Sequence[str], groups: Mapping[str, str] | None) -> dict[str, Any]:
    """Return a colour for each group that has two names or more.

    Groups beyond the eighth get none: the eye does not separate more colours.
    """
    of_each = [(groups or {}).get(name, "") for name in names]
    several = [g for g in dict.fromkeys(of_each) if g and of_each.count(g) > 1]
    ranked = sorted(several, key=lambda g: -of_each.count(g))[: len(GROUP_COLOURS)]
    return dict(zip(ranked, GROUP_COLOURS, strict=False))


def colour_of(name: str, groups: Mapping[str, str] | None, colours: Mapping[str, Any]) -> Any:
    """Return the colour of a name's group; grey where it has none."""
    return colours.get((groups or {}).get(name, ""), MUTED)


_ROW = 0.142  # inches a name takes
_ROW_OF_TREE = 0.155  # a little air between the branches
_CELL = 0.42  # inches a cell takes at most
_STRIP = 0.08  # inches of the groups' strip
_BAR = 0.42  # inches below the cells for the colour bar
_RIGHT = 0.2  # inches: the last tick of the colour bar stays on the page
# More tasks leave a cell too little room for three digits, a column for its name.
_NUMBERS_UP_TO, _NAMES_BELOW_UP_TO = 8, 18


def distance_matrix(
    matrix: pd.DataFrame,
    *,
    unit: str = "distance",
    title: str | None = None,
    groups: Mapping[str, str] | None = None,
    alike: str = "share texts",
    note: str = "",
) -> Figure:
    """Draw all distances, dark where near, in the order of a hierarchical clustering.

    Args:
        matrix: Index and columns: the same names; at most about 60 can be read.
        unit: What the numbers are, for the colour bar.
        title: Default: the nearest pair.
        groups: Name -> group, for instance the corpus; those with two members or more are marked
            by colour.
        alike: What the tasks of a group do, for the caption.
        note: More for the caption.

    Raises:
        UsageError: The table is no table of distances.
        MissingError: matplotlib is not installed.
    """
    distances_of(matrix)
    names = leaf_order(matrix)
    values = matrix.loc[names, names].to_numpy(np.float64)
    count = len(names)
    shown = [safe(readable(name, longest=20)) for name in names]
    numbered = count > _NAMES_BELOW_UP_TO
    if numbered:
        shown = [f"{name}  {k + 1}" for k, name in enumerate(shown)]
    left = 0.3 + max(map(text_inches, shown))
    width = WIDTH - left - _RIGHT
    height = max(_ROW * count, min(width, _CELL * count))
    below = _BAR + (0.0 if numbered else max(map(text_inches, shown)) - 0.08)
    figure, axes = blank(
        title=title or _nearest_words(matrix),
        caption=_caption(matrix, groups, alike=alike, note=note, numbered=numbered),
        height=height,
        left=left,
        right=_RIGHT,
        below=below,
    )
    mapping = _draw_cells(axes, values)
    _name_axes(axes, shown, numbered=numbered)
    if count <= _NUMBERS_UP_TO:
        _write_numbers(axes, values, mapping)
    _draw_strip(figure, axes, names, groups)
    _draw_bar(figure, axes, mapping, unit, below=below)
    numbers = matrix.loc[names, names].rename_axis("task").reset_index()
    return keep_numbers(figure, numbers)


def _nearest_words(matrix: pd.DataFrame) -> str:
    values = distances_of(matrix)
    np.fill_diagonal(values, np.inf)
    row, column = np.unravel_index(int(values.argmin()), values.shape)
    one, other = (readable(str(matrix.index[int(k)]), longest=24) for k in (row, column))
    return f"{len(matrix)} tasks: nearest are {one} and {other}"


def _caption(
    matrix: pd.DataFrame, groups: Mapping[str, str] | None, *, alike: str, note: str, numbered: bool
) -> str:
    values = matrix.to_numpy(np.float64)
    words = ["Dark: near. Order: average linkage, nearest leaves side by side."]
    if numbered:
        words.append("Columns are numbered like the rows.")
    if not np.allclose(values, values.T, rtol=1e-6):
        words.append("Rows: from; columns: to. Ordered by the mean of both ways.")
    if group_colours(list(matrix.index), groups):
        words.append(f"Colours next to the names: tasks that {alike}.")
    return " ".join([*words, note]).strip()


def _draw_cells(axes: Axes, values: FloatArray) -> Any:
    """Draw the cells; return the mapping of numbers to colours."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm, Normalize

    apart = values[~np.eye(len(values), dtype=bool)]
    low, high = float(apart.min()), float(apart.max())
    wide = low > 0 and high / low > 100  # divergences span powers of ten
    norm = (LogNorm if wide else Normalize)(low, high if high > low else low + 1.0)
    mapping = ScalarMappable(norm, colormaps["viridis"])
    colours = mapping.to_rgba(values)
    colours[np.eye(len(values), dtype=bool)] = (0.93, 0.93, 0.93, 1.0)
    axes.imshow(colours, aspect="auto", interpolation="nearest")
    return mapping


def _name_axes(axes: Axes, names: list[str], *, numbered: bool) -> None:
    count = len(names)
    axes.set_yticks(range(count), names)
    if numbered:
        every = [k for k in range(count) if (k + 1) % 5 == 0 or k == 0]
        axes.set_xticks(every, [str(k + 1) for k in every])
    else:
        axes.set_xticks(range(count), names, rotation=90)
    axes.tick_params(axis="y", length=0, pad=8)
    axes.tick_params(axis="x", length=2 if numbered else 0, pad=2)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _write_numbers(axes: Axes, values: FloatArray, mapping: Any) -> None:
    for row, column in np.ndindex(values.shape):
        if row != column:
            colour = mapping.to_rgba(values[row, column])
            axes.text(
                column, row, f"{values[row, column]:.3g}", ha="center", va="center", size=SMALL,
                color=ink_on(colour),
            )  # fmt: skip


def _draw_strip(
    figure: Figure, axes: Axes, names: list[str], groups: Mapping[str, str] | None
) -> None:
    colours = group_colours(names, groups)
    if not colours:
        return
    box = axes.get_position()
    wide = _STRIP / WIDTH
    strip = figure.add_axes((box.x0 - wide - 0.02 / WIDTH, box.y0, wide, box.height))
    strip.set_axis_off()
    strip.set_xlim(0, 1)
    strip.set_ylim(len(names) - 0.5, -0.5)
    for row, name in enumerate(names):
        colour = colour_of(name, groups, colours)
        if colour != MUTED:
            strip.axhspan(row - 0.5, row + 0.5, color=colour, linewidth=0)


def _draw_bar(figure: Figure, axes: Axes, mapping: Any, unit: str, *, below: float) -> None:
    from matplotlib.ticker import MaxNLocator

    box = axes.get_position()
    tall = 1 / float(figure.get_size_inches()[1])  # of an inch, as a share of the figure
    lowest = box.y0 - (below + 0.05) * tall
    bar = figure.add_axes((box.x0, lowest, box.width, 0.1 * tall))
    figure.colorbar(mapping, cax=bar, orientation="horizontal")
    bar.tick_params(labelsize=SMALL, colors=MUTED, labelcolor=INK, length=3)
    if bar.get_xscale() == "linear":
        bar.xaxis.set_major_locator(MaxNLocator(5))
    bar.set_xlabel(safe(unit), size=SMALL, color=INK, labelpad=2, loc="right")
    for spine in bar.spines.values():
        spine.set_visible(False)


def distance_tree(
    matrix: pd.DataFrame,
    *,
    unit: str = "distance",
    title: str | None = None,
    groups: Mapping[str, str] | None = None,
    alike: str = "share texts",
    note: str = "",
) -> Figure:
    """Draw a dendrogram: tasks left, joined where their clusters meet.

    The arguments and the errors are those of `distance_matrix`.
    """
    from scipy.cluster.hierarchy import dendrogram

    joined = cluster(distances_of(matrix))
    names = [str(name) for name in matrix.index]
    drawn = dendrogram(joined, no_plot=True)
    order = [names[k] for k in drawn["leaves"]]
    shown = [safe(readable(name, longest=22)) for name in order]
    first = " and ".join(readable(names[int(k)], longest=24) for k in sorted(joined[0, :2]))
    colours = group_colours(names, groups)
    words = "Two clusters join at the mean distance of their tasks."
    if colours:
        words += f" Colours: tasks that {alike}."
    figure, axes = blank(
        title=title or f"{len(names)} tasks: first to join are {first}",
        caption=f"{words} {note}".strip(),
        height=max(_ROW_OF_TREE * len(names), 0.5),
        left=0.3 + max(map(text_inches, shown)),
        right=0.2,
    )
    for across, along in zip(drawn["dcoord"], drawn["icoord"], strict=True):
        rows = (np.array(along) - 5) / 10  # scipy's leaves are ten apart, the first at 5
        axes.plot(across, rows, color=INK, linewidth=1.1, solid_joinstyle="miter")
    axes.set_yticks(range(len(shown)), shown)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, 1.04 * float(joined[-1, 2]) or 1.0)
    for row, name in enumerate(order):
        colour = colour_of(name, groups, colours)
        if colour != MUTED:  # a dot of the group's colour between the name and the tree
            axes.plot([0], [row], marker="o", markersize=5.5, color=colour, clip_on=False, zorder=5)
    axes.tick_params(axis="y", length=0, pad=7)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(safe(unit), size=NORMAL, color=INK, loc="right")
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return keep_numbers(figure, _joins(joined, names))


def _joins(joined: FloatArray, names: list[str]) -> pd.DataFrame:
    """Return one row a join: the two clusters' members, and the distance."""
    members = [[name] for name in names]
    rows = []
    for one, other, height, _ in joined:
        ours, theirs = members[int(one)], members[int(other)]
        members.append([*ours, *theirs])
        rows.append((" | ".join(ours), " | ".join(theirs), height))
    return pd.DataFrame(rows, columns=["cluster", "other", "distance"])
