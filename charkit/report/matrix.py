"""A matrix of distances, its rows ordered so that near tasks stand together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from charkit.report.canvas import (
    INK,
    MUTED,
    SMALL,
    WIDTH,
    blank,
    ink_on,
    keep_numbers,
    readable,
    safe,
    text_inches,
)
from charkit.report.clustering import (
    FloatArray,
    Linkage,
    colour_of,
    distances_of,
    group_colours,
    leaf_order,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = 0.142  # inches a name takes
_CELL = 0.42  # inches a cell takes at most
_STRIP = 0.08  # inches of the groups' strip
_BAR = 0.42  # inches below the cells for the colour bar
_RIGHT = 0.2
_NUMBERS_UP_TO, _NAMES_BELOW_UP_TO = 8, 18


def distance_matrix(
    matrix: pd.DataFrame,
    *,
    unit: str = "distance",
    title: str | None = None,
    groups: Mapping[str, str] | None = None,
    alike: str = "share texts",
    linkage: Linkage = "average",
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
        linkage: How far apart two clusters are.
        note: More for the caption.

    Raises:
        UsageError: The table is no table of distances.
        MissingError: matplotlib is not installed.
    """
    distances_of(matrix)
    names = leaf_order(matrix, linkage=linkage)
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
        caption=_caption(
            matrix, groups, alike=alike, linkage=linkage, note=note, numbered=numbered
        ),
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
    matrix: pd.DataFrame,
    groups: Mapping[str, str] | None,
    *,
    alike: str,
    linkage: str,
    note: str,
    numbered: bool,
) -> str:
    values = matrix.to_numpy(np.float64)
    words = [f"Dark: near. Order: {linkage} linkage, nearest leaves side by side."]
    if numbered:
        words.append("Columns are numbered like the rows.")
    if not np.allclose(values, values.T, rtol=1e-6):
        words.append("Rows: from; columns: to. Ordered by the mean of both ways.")
    if group_colours(list(matrix.index), groups):
        words.append(f"Colours beside the names: tasks that {alike}.")
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
    tall = box.height / _inches(axes)
    lowest = box.y0 - (below + 0.05) * tall
    bar = figure.add_axes((box.x0, lowest, box.width, 0.1 * tall))
    figure.colorbar(mapping, cax=bar, orientation="horizontal")
    bar.tick_params(labelsize=SMALL, colors=MUTED, labelcolor=INK, length=3)
    if bar.get_xscale() == "linear":
        bar.xaxis.set_major_locator(MaxNLocator(5))
    bar.set_xlabel(safe(unit), size=SMALL, color=INK, labelpad=2, loc="right")
    for spine in bar.spines.values():
        spine.set_visible(False)


def _inches(axes: Axes) -> float:
    """Return the height of axes in inches."""
    figure: Any = axes.get_figure()
    return float(axes.get_position().height * figure.get_size_inches()[1])
