"""The four plots that all experiments use: dots by method, lines, marks in a plane, a grid.

Each takes a table and returns a figure that carries the table, so that `save_figure` writes the
numbers next to it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

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

# Okabe and Ito 2008: distinct for all eyes
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#5a5a5a", "#56b4e9", "#e69f00")
MARKS = "os^Dv<>"
_DASHED: dict[str, Any] = {
    "color": MUTED,
    "linewidth": 0.9,
    "linestyle": (0, (4, 3)),
    "zorder": 0.6,
}
_ROW, _SERIES = 0.2, 0.13  # inches a row takes, and each series in it


def dots(
    rows: pd.DataFrame,
    *,
    title: str,
    caption: str,
    label: str,
    level: float | None = None,
    limits: tuple[float, float] | None = None,
    key: bool = True,
) -> Figure:
    """Draw a number by method with its interval, one mark a series.

    Args:
        rows: Columns ``method``, ``series``, ``value``, ``low``, ``high``, in the order in which
            they are drawn. Where every method has one series, a method is one line.
        title: The finding.
        caption: How to read it.
        label: Of the axis, with the unit.
        level: Where a dashed line shows chance or zero.
        limits: Of the axis.
        key: Whether the series are named in a legend.
    """
    methods, series = list(dict.fromkeys(rows["method"])), list(dict.fromkeys(rows["series"]))
    shown = [safe(readable(name, longest=34)) for name in methods]
    stacked = len(series) if rows.duplicated("method").any() else 1
    room = (_SERIES * len(series) + 0.12) if key else 0.0
    height = len(methods) * (_ROW + _SERIES * stacked) + 0.1
    figure, axes = blank(
        title=title,
        caption=caption,
        height=height + room,
        left=0.3 + max(map(text_inches, shown)),
        right=0.2,
    )
    for k, name in enumerate(series):
        part = rows[rows["series"] == name].drop_duplicates("method").set_index("method")
        y = np.array([methods.index(method) for method in part.index], np.float64)
        if stacked > 1:
            y += 0.62 * ((k + 0.5) / stacked - 0.5)
        colour = COLOURS[k % len(COLOURS)]
        axes.hlines(y, part["low"], part["high"], color=colour, linewidth=1.4, alpha=0.6)
        mark = MARKS[k % len(MARKS)]
        axes.plot(part["value"], y, mark, color=colour, markersize=5.5, label=safe(str(name)))
    if level is not None:
        axes.axvline(level, **_DASHED)
    axes.set_yticks(range(len(methods)), shown)
    axes.set_ylim(len(methods) - 0.45, -0.55 - room / (height / len(methods)))
    if limits is not None:
        axes.set_xlim(*limits)
    axes.tick_params(axis="y", length=0)
    _finish(axes, grid="x", x=label, key=key)
    return keep_numbers(figure, rows)


def lines(
    rows: pd.DataFrame,
    *,
    title: str,
    caption: str,
    x: str,
    y: str,
    level: float | None = None,
    apart: Collection[str] = (),
    faint: Collection[str] = (),
    ticks: Mapping[float, str] | None = None,
) -> Figure:
    """Draw means with intervals at named places, a line a name.

    Args:
        rows: Columns ``line``, ``place`` (in the order in which they stand), ``mean``, and
            ``low``, ``high`` where there are intervals.
        title: The finding.
        caption: How to read it.
        x: Name of the horizontal axis.
        y: Name of the vertical axis, with its unit.
        level: Where a dashed line shows zero or chance.
        apart: Places that the lines do not reach.
        faint: Names of lines that are drawn thin, without a mark and a key.
        ticks: Of a logarithmic vertical axis; None for a linear one.
    """
    places = list(dict.fromkeys(rows["place"].astype(str)))
    below = 0.15 * max(place.count("\n") for place in places)
    figure, axes = blank(
        title=title, caption=caption, height=2.7, left=0.75, right=0.2, below=below
    )
    names = list(dict.fromkeys(rows["line"]))
    bold = [name for name in names if name not in faint]
    for name in names:
        part = rows[rows["line"] == name].dropna(subset=["mean"])
        at = np.array([places.index(p) for p in part["place"].astype(str)], np.float64)
        if name in faint:
            axes.plot(at, part["mean"], color=COLOURS[0], linewidth=0.8, alpha=0.35)
            continue
        k = bold.index(name)
        if "low" in part:  # bars of intervals next to each other
            at += 0.08 * (k - (len(bold) - 1) / 2)
        drawn: dict[str, Any] = {
            "color": COLOURS[k % len(COLOURS)],
            "marker": MARKS[k % len(MARKS)],
        }
        if "low" in part:
            axes.vlines(
                at, part["low"], part["high"], color=drawn["color"], linewidth=1.2, alpha=0.55
            )
        reached = ~part["place"].astype(str).isin(list(apart)).to_numpy()
        label = safe(readable(str(name), longest=40))
        axes.plot(at[reached], part["mean"][reached], linewidth=1.6, label=label, **drawn)
        axes.plot(at[~reached], part["mean"][~reached], linewidth=0, **drawn)
    if level is not None:
        axes.axhline(level, **_DASHED)
    axes.set_xticks(range(len(places)), [safe(p) for p in places])
    if ticks:
        axes.set_yscale("log")
        axes.set_yticks(list(ticks), list(ticks.values()))
        axes.minorticks_off()
    else:
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.1 * ((len(bold) + 1) // 2) * (high - low))  # for the legend
    _finish(axes, grid="y", x=x, y=y, key=len(bold) > 0, columns=2 if len(bold) > 1 else 1)
    return keep_numbers(figure, rows)


def scatter(
    rows: pd.DataFrame,
    *,
    x: tuple[str, str],
    y: tuple[str, str],
    title: str,
    caption: str,
    names: Sequence[str] = (),
    log_x: bool = False,
    diagonal: bool = False,
    level: float | None = None,
) -> Figure:
    """Draw one mark a row, coloured by its ``group``; with an interval where there is one.

    Args:
        rows: Columns ``group``, those named, and ``low``, ``high`` of the vertical one, if any.
        x: Column and label.
        y: Column and label.
        title: The finding.
        caption: How to read it.
        names: Columns that are written with the numbers, before the others.
        log_x: Whether the horizontal axis is logarithmic.
        diagonal: Draw the line on which both are equal.
        level: Where a horizontal dashed line stands.
    """
    groups = list(dict.fromkeys(rows["group"]))
    figure, axes = blank(title=title, caption=caption, height=2.9, left=0.68, right=0.2)
    for k, group in enumerate(groups):
        part, colour = rows[rows["group"] == group], COLOURS[k % len(COLOURS)]
        if "low" in part:
            axes.vlines(part[x[0]], part["low"], part["high"], color=colour, alpha=0.35)
        axes.plot(
            part[x[0]], part[y[0]], MARKS[k % len(MARKS)], color=colour, markersize=5, alpha=0.8,
            label=safe(str(group)), markeredgewidth=0,
        )  # fmt: skip
    if diagonal:
        axes.plot([0, 1], [0, 1], **_DASHED)
        axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])  # above is room for the legend
    if level is not None:
        axes.axhline(level, **_DASHED)
    if log_x:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    ends = [c for c in ("low", "high") if c in rows]
    shown = rows[[y[0], *ends]].to_numpy(np.float64)
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    room = max(high - low, 0.02)
    axes.set_ylim(low - 0.08 * room, high + (0.1 + 0.09 * len(groups)) * room)  # for the legend
    _finish(axes, grid="both", x=x[1], y=y[1])
    return keep_numbers(figure, rows[[*names, "group", x[0], y[0], *ends]])


def grid(
    numbers: pd.DataFrame, *, title: str, caption: str, x: str = "", y: str = "", unit: str = ""
) -> Figure:
    """Draw a table of numbers as cells; missing ones are left out.

    Args:
        numbers: One row and column a name.
        title: The finding.
        caption: How to read it.
        x: What columns are.
        y: What rows are.
        unit: Of numbers around zero, read by a bar of colours; empty: written into the cells.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    rows, columns = (
        [safe(readable(str(n), longest=24)) for n in names]
        for names in (numbers.index, numbers.columns)
    )
    below = 0.5 + max(map(text_inches, columns)) if unit else 0.0
    left = max(0.75, 0.2 + max(map(text_inches, rows)))
    height = (0.21 if unit else 0.36) * len(rows) + 0.1
    figure, axes = blank(
        title=title, caption=caption, height=height, left=left, right=0.2, below=below
    )
    values = numbers.to_numpy(np.float64)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if unit:
        axes.set_facecolor("#cccccc")  # of missing cells: those around zero are nearly white
        high = max(-low, high) or 1.0
        low = -high
    colours = ScalarMappable(
        Normalize(low, high if high > low else low + 1), colormaps["PuOr" if unit else "viridis"]
    )
    for row, column in np.argwhere(np.isfinite(values)):
        colour = colours.to_rgba(values[row, column])
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, linewidth=0))
        if not unit:
            axes.text(
                column, row, f"{values[row, column]:.2f}", ha="center", va="center", size=SMALL,
                color=ink_on(colour),
            )  # fmt: skip
    axes.set_xlim(-0.5, values.shape[1] - 0.5)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xticks(range(values.shape[1]), columns, rotation=90 if unit else 0)
    axes.set_yticks(range(len(values)), rows)
    axes.tick_params(length=0)
    _finish(axes, grid="", x=x, y=y, key=False)
    if unit:
        box, inch = axes.get_position(), 1 / figure.get_size_inches()[1]
        bar = figure.add_axes((box.x0, box.y0 - (below + 0.02) * inch, box.width, 0.1 * inch))
        figure.colorbar(colours, cax=bar, orientation="horizontal")
        bar.tick_params(labelsize=SMALL, colors=MUTED, labelcolor=INK, length=3)
        bar.set_xlabel(unit, size=SMALL, color=INK)
    return keep_numbers(figure, numbers.reset_index())


def _finish(
    axes: Any, *, grid: str, x: str = "", y: str = "", key: bool = True, columns: int = 1
) -> None:
    """Name the axes, draw a grid behind the marks and a legend."""
    if grid:
        axes.grid(axis=grid, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    if x:
        axes.set_xlabel(safe(x), size=NORMAL, color=INK)
    if y:
        axes.set_ylabel(safe(y), size=NORMAL, color=INK)
    if key:
        axes.legend(
            loc="upper left", ncols=columns, columnspacing=1.2, fontsize=SMALL, frameon=True,
            framealpha=0.9, edgecolor="none", labelcolor=INK, handlelength=1.6, handletextpad=0.4,
            borderaxespad=0.1, borderpad=0.2, labelspacing=0.3,
        )  # fmt: skip
