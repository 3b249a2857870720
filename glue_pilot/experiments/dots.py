"""One figure for many questions: a number by method, a mark a series, its interval, chance."""

from __future__ import annotations

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
    keep_numbers,
    readable,
    safe,
    text_inches,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKS = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "D"), ("#5a5a5a", "v"))
_ROW, _SERIES = 0.2, 0.13  # inches a row takes, and each series in it


def dots_figure(
    rows: pd.DataFrame,
    *,
    title: str,
    caption: str,
    label: str,
    chance: float | None = None,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Draw a number by method with its interval, one mark a series.

    Args:
        rows: Columns ``method``, ``series``, ``value``, ``low``, ``high``, in the order in which
            they are drawn.
        title: The finding.
        caption: How to read it.
        label: Of the axis, with the unit.
        chance: Where a line tells what guessing gives.
        limits: Of the axis.
    """
    methods, series = list(dict.fromkeys(rows["method"])), list(dict.fromkeys(rows["series"]))
    shown = [safe(readable(name, longest=30)) for name in methods]
    height = len(methods) * (_ROW + _SERIES * len(series)) + 0.1
    figure, axes = blank(
        title=title,
        caption=caption,
        height=height + _SERIES * len(series) + 0.12,
        left=0.3 + max(map(text_inches, shown)),
        right=0.2,
    )
    for k, name in enumerate(series):
        part = rows[rows["series"] == name].drop_duplicates("method").set_index("method")
        part = part.reindex(methods)
        y = np.arange(len(methods)) + 0.62 * ((k + 0.5) / len(series) - 0.5)
        colour, mark = MARKS[k % len(MARKS)]
        axes.hlines(y, part["low"], part["high"], color=colour, linewidth=1.4, alpha=0.6)
        axes.plot(part["value"], y, mark, color=colour, markersize=5.5, label=safe(name))
    if chance is not None:
        axes.axvline(chance, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0.6)
    axes.set_yticks(range(len(methods)), shown)
    above = (_SERIES * len(series) + 0.12) / (height / len(methods))
    axes.set_ylim(len(methods) - 0.45, -0.55 - above)
    if limits is not None:
        axes.set_xlim(*limits)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(safe(label), size=NORMAL, color=INK, loc="right")
    axes.legend(
        loc="upper left", fontsize=SMALL, frameon=True, framealpha=1, edgecolor="none",
        labelcolor=INK, handletextpad=0.3, borderaxespad=0.1, borderpad=0.2, labelspacing=0.3,
    )  # fmt: skip
    return keep_numbers(figure, rows)
