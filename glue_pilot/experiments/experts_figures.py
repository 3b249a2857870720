"""Figures of choosing an expert: what ways of choosing cost, by sample size, expert by expert."""

from __future__ import annotations

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
    keep_numbers,
    readable,
    safe,
    spread,
    text_inches,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PINK, BLACK = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#1a1a1a"
_LINES = ((ORANGE, "s"), (BLUE, "o"), (GREEN, "^"), (PINK, "D"), (BLACK, "v"))
_ROW = 0.27

NO_CHOICE, FISHER, TEXTS = "no choice", "the Fisher information", "mean states of texts"
BLIND, ALL_RUN = "without a look at the task", "all experts are run"
_STYLES = {
    NO_CHOICE: (ORANGE, "s"),
    FISHER: (BLUE, "o"),
    TEXTS: (GREEN, "^"),
    BLIND: (PINK, "D"),
    ALL_RUN: (BLACK, "v"),
}
KEY = "Squares: no choice; circles: the Fisher information; triangles: mean states of texts; "
KEY += "diamonds: without a look at the task; black: all experts are run."
"""What the marks of `interval_figure` stand for, for a caption."""


def interval_figure(
    rows: pd.DataFrame, *, value: str, title: str, caption: str, axis: str, mark: float = 0.0
) -> Figure:
    """Draw one dot a row with its 90 % interval.

    Args:
        rows: Columns ``method``, ``family`` (see `KEY`), value, value_low, value_high.
        value: Which column.
        title: The finding.
        caption: How to read it.
        axis: Name of the axis with its unit.
        mark: Where a dashed line stands.
    """
    names = list(rows["method"])
    left = 0.2 + max(text_inches(readable(n)) for n in names)
    figure, axes = blank(
        title=title, caption=caption, height=_ROW * (len(names) + 1), left=left, right=0.2
    )
    axes.axvline(mark, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0.6)
    for place, (_, row) in enumerate(rows.iterrows()):
        colour, shape = _STYLES[row["family"]]
        axes.hlines(place, row[f"{value}_low"], row[f"{value}_high"], color=colour, linewidth=1.6)
        axes.plot(row[value], place, shape, color=colour, markersize=6)
    axes.set_yticks(range(len(names)), [safe(readable(n)) for n in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(axis, size=NORMAL, color=INK)
    return keep_numbers(figure, rows)


def sizes_figure(rows: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw the mean error by sample size, one line a way of choosing.

    Args:
        rows: Columns ``method``, ``n``, ``mean_error``; at most five methods.
        title: The finding.
        caption: How to read it.
    """
    names = list(dict.fromkeys(rows["method"]))
    right = 0.3 + max(text_inches(readable(n)) for n in names)
    figure, axes = blank(title=title, caption=caption, height=2.6, left=0.65, right=right)
    ends = []
    for (colour, mark), name in zip(_LINES, names, strict=False):
        part = rows[rows["method"] == name].sort_values("n")
        axes.plot(part["n"], part["mean_error"], color=colour, marker=mark, linewidth=1.6)
        ends.append(float(part["mean_error"].iloc[-1]))
    low, high = 0.0, 1.05 * float(rows["mean_error"].max())
    axes.set_ylim(low, high)
    axes.set_xscale("log")
    sizes = sorted(int(n) for n in rows["n"].unique())
    axes.set_xticks(sizes, [f"{n:,}" for n in sizes])
    axes.minorticks_off()
    places = spread(ends, gap=0.075 * (high - low), low=low, high=high)
    for (colour, _), name, place in zip(_LINES, names, places, strict=False):
        axes.annotate(
            safe(readable(name)), (sizes[-1], place), xytext=(9, 0), textcoords="offset points",
            va="center", size=SMALL, color=colour, annotation_clip=False,
        )  # fmt: skip
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_xlabel("labelled texts of the task", size=NORMAL, color=INK)
    axes.set_ylabel("mean error (share wrong)", size=NORMAL, color=INK)
    return keep_numbers(figure, rows)


def gain_figure(gains: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw the gain of every expert on every task as a table of colours.

    Args:
        gains: Index: targets; columns: experts; points of accuracy above the generic encoder,
            NaN where the expert is of the target's own corpus.
        title: The finding.
        caption: How to read it.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    rows = [safe(readable(str(n), longest=24)) for n in gains.index]
    columns = [safe(readable(str(n), longest=24)) for n in gains.columns]
    left = 0.2 + max(map(text_inches, rows))
    below = 0.5 + max(map(text_inches, columns))
    figure, axes = blank(
        title=title, caption=caption, height=0.21 * len(rows), left=left, right=0.2, below=below
    )
    values = gains.to_numpy(np.float64)
    widest = float(np.nanmax(np.abs(values))) or 1.0
    mapping = ScalarMappable(Normalize(-widest, widest), colormaps["PuOr"])
    colours: Any = mapping.to_rgba(np.nan_to_num(values))
    colours[np.isnan(values)] = (0.8, 0.8, 0.8, 1.0)
    axes.imshow(colours, aspect="auto", interpolation="nearest")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns, rotation=90)
    axes.tick_params(length=0)
    box = axes.get_position()
    inch = 1 / figure.get_size_inches()[1]
    bar = figure.add_axes((box.x0, box.y0 - (below + 0.02) * inch, box.width, 0.1 * inch))
    figure.colorbar(mapping, cax=bar, orientation="horizontal")
    bar.tick_params(labelsize=SMALL, colors=MUTED, labelcolor=INK, length=3)
    bar.set_xlabel("points of accuracy above the generic encoder", size=SMALL, color=INK)
    return keep_numbers(figure, gains.rename_axis("task").reset_index())
