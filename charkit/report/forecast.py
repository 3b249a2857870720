"""The expected accuracy against the number of labels, with its interval and the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from charkit.report.canvas import (
    FAINT,
    INK,
    MUTED,
    NORMAL,
    SMALL,
    blank,
    depth_colours,
    keep_numbers,
    safe,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORECAST_HEIGHT, LEFT, RIGHT = 3.1, 0.8, 0.45

_MARGIN = 1.12
_TICKS = 8


def forecast_curve(
    table: pd.DataFrame,
    *,
    title: str,
    caption: str,
    present: int | None = None,
    observed: pd.DataFrame | None = None,
    target: float | None = None,
    majority: float | None = None,
) -> Figure:
    """Draw an expected learning curve: the mean as a line, its interval as a band.

    Args:
        table: Columns ``n``, ``mean``, ``low``, ``high``, one row a size, at least one.
        title: The finding.
        caption: How to read it.
        present: Labels at hand: a mark on the curve; None for none.
        observed: Columns ``n``, ``accuracy``: what was measured.
        target: The accuracy asked for.
        majority: The accuracy of always saying the largest class.

    Raises:
        MissingError: matplotlib is not installed.
    """
    figure, axes = blank(
        title=title, caption=caption, height=FORECAST_HEIGHT, left=LEFT, right=RIGHT
    )
    rows = table.sort_values("n")
    colour = depth_colours([0, 1, 2])[1]
    n, mean = rows["n"].to_numpy(), rows["mean"].to_numpy()
    axes.set_xscale("log", base=2)
    axes.fill_between(
        n, rows["low"].to_numpy(), rows["high"].to_numpy(), color=colour, alpha=0.18, linewidth=0
    )
    axes.plot(n, mean, color=colour, linewidth=2.4, zorder=4)
    if observed is not None and len(observed):
        axes.plot(
            observed["n"].to_numpy(), observed["accuracy"].to_numpy(),
            "o", markersize=3.6, color=MUTED, zorder=3,
        )  # fmt: skip
    here = rows[rows["n"] == present]
    if len(here):
        axes.plot(present, here["mean"].iloc[0], "o", markersize=7, color=colour, zorder=5)
    _reference(axes, target, f"target {target:g}" if target is not None else "", INK)
    _reference(axes, majority, "always the largest class", MUTED)
    _sizes(axes, rows, observed)
    axes.set_ylabel("accuracy", size=NORMAL, color=INK)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return keep_numbers(figure, rows.reset_index(drop=True))


def _reference(axes: Axes, height: float | None, words: str, colour: str) -> None:
    if height is None:
        return
    axes.axhline(height, color=colour, linewidth=1.1, linestyle=(0, (4, 2)), zorder=2)
    axes.text(
        0.01, height, safe(words), transform=axes.get_yaxis_transform(), va="bottom", ha="left",
        size=SMALL, color=colour, zorder=6,
    )  # fmt: skip


def _sizes(axes: Axes, rows: pd.DataFrame, observed: pd.DataFrame | None) -> None:
    axes.minorticks_off()
    axes.set_xlabel("labelled training texts (n)", size=NORMAL, color=INK)
    first, last = int(rows["n"].min()), int(rows["n"].max())
    if observed is not None and len(observed):
        first = min(first, int(observed["n"].min()))
    axes.set_xlim(first / _MARGIN, last * _MARGIN)
    octaves = np.log2(last / first) if last > first else 0.0
    step = max(1, int(np.ceil(octaves / _TICKS)))
    ticks = [round(last / 2.0**k) for k in range(0, int(octaves) + 1, step)][::-1]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
