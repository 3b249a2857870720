"""Lines and rows of means with their intervals, for the experiments on layers and heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from charkit.report.figures.canvas import (
    FAINT,
    INK,
    MUTED,
    NORMAL,
    SMALL,
    blank,
    ink_on,
    keep_numbers,
    readable,
    safe,
    text_inches,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#1a1a1a")
"""Okabe and Ito 2008: for all eyes."""
MARKS = "os^Dv<>"
_ROW = 0.3


def interval_lines(
    rows: pd.DataFrame,
    *,
    title: str,
    caption: str,
    across: str,
    up: str,
    level: float | None = None,
    apart: str = "",
) -> Figure:
    """Draw means with intervals at named places, a line a name.

    Args:
        rows: Columns ``line``, ``place`` (in the order in which they stand), ``mean``, ``low``,
            ``high``.
        title: The finding.
        caption: How to read it.
        across: Name of the horizontal axis.
        up: Name of the vertical axis, with its unit.
        level: Where a dashed line says nought or chance.
        apart: A place that the lines do not reach.
    """
    places = list(dict.fromkeys(rows["place"].astype(str)))
    figure, axes = blank(
        title=title, caption=caption, height=2.7, left=0.75, right=0.2,
        below=0.15 * max(place.count("\n") for place in places),
    )  # fmt: skip
    lines = list(dict.fromkeys(rows["line"]))
    for k, line in enumerate(lines):
        part = rows[rows["line"] == line].dropna(subset=["mean"])
        x = np.array([places.index(p) for p in part["place"].astype(str)], np.float64)
        x += 0.08 * (k - (len(lines) - 1) / 2)
        colour = COLOURS[k % len(COLOURS)]
        axes.vlines(x, part["low"], part["high"], color=colour, linewidth=1.2, alpha=0.55)
        drawn = {"color": colour, "marker": MARKS[k % len(MARKS)], "markersize": 5}
        joined = (part["place"].astype(str) != apart).to_numpy()
        label = safe(readable(str(line), longest=40))
        axes.plot(x[joined], part["mean"][joined], linewidth=1.6, label=label, **drawn)
        axes.plot(x[~joined], part["mean"][~joined], linewidth=0, **drawn)
    if level is not None:
        axes.axhline(level, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0.6)
    axes.set_xticks(range(len(places)), [safe(p) for p in places])
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(across, size=NORMAL, color=INK)
    axes.set_ylabel(up, size=NORMAL, color=INK)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.1 * ((len(lines) + 1) // 2) * (high - low))  # room for the legend
    axes.legend(
        loc="upper left", ncols=2 if len(lines) > 1 else 1, fontsize=SMALL, frameon=False,
        borderaxespad=0.1, handlelength=1.6, columnspacing=1.2, labelcolor=INK,
    )  # fmt: skip
    return keep_numbers(figure, rows)


def interval_rows(
    rows: pd.DataFrame,
    *,
    title: str,
    caption: str,
    across: str,
    levels: Sequence[float] = (),
) -> Figure:
    """Draw means with intervals, a row a name, a colour a group.

    Args:
        rows: Columns ``name``, ``group``, ``mean``, ``low``, ``high``, in order.
        title: The finding.
        caption: How to read it.
        across: Name of the horizontal axis, with its unit.
        levels: Where dashed lines stand.
    """
    names = [safe(readable(str(name), longest=34)) for name in rows["name"]]
    figure, axes = blank(
        title=title,
        caption=caption,
        height=_ROW * (len(names) + 1),
        left=0.3 + max(map(text_inches, names)),
        right=0.2,
    )
    groups = list(dict.fromkeys(rows["group"]))
    y = np.arange(len(rows))
    for k, group in enumerate(groups):
        chosen = (rows["group"] == group).to_numpy()
        part, colour = rows[chosen], COLOURS[k % len(COLOURS)]
        axes.hlines(y[chosen], part["low"], part["high"], color=colour, linewidth=1.4, alpha=0.6)
        axes.plot(part["mean"], y[chosen], MARKS[k % len(MARKS)], color=colour, markersize=5.5)
    for level in levels:
        axes.axvline(level, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0.6)
    axes.set_yticks(y, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(across, size=NORMAL, color=INK)
    return keep_numbers(figure, rows)


def number_grid(numbers: pd.DataFrame, *, title: str, caption: str, across: str, up: str) -> Figure:
    """Draw a table of numbers as cells, light where large; missing ones are left out.

    Args:
        numbers: One row and column a name.
        title: The finding.
        caption: How to read it.
        across: What columns are.
        up: What rows are.
    """
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    figure, axes = blank(
        title=title, caption=caption, height=0.36 * len(numbers) + 0.1, left=0.75, right=0.2
    )
    values = numbers.to_numpy(np.float64)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    scale = colormaps["viridis"]
    for row, column in np.argwhere(np.isfinite(values)):
        colour = scale((values[row, column] - low) / ((high - low) or 1.0))
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, linewidth=0))
        axes.text(
            column, row, f"{values[row, column]:.2f}", ha="center", va="center", size=SMALL,
            color=ink_on(colour),
        )  # fmt: skip
    axes.set_xlim(-0.5, values.shape[1] - 0.5)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xticks(range(values.shape[1]), [str(c) for c in numbers.columns])
    axes.set_yticks(range(len(values)), [str(r) for r in numbers.index])
    axes.tick_params(length=0)
    axes.set_xlabel(across, size=NORMAL, color=INK)
    axes.set_ylabel(up, size=NORMAL, color=INK)
    return keep_numbers(figure, numbers.reset_index())
