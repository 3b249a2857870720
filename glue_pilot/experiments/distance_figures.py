"""The figures of distances: correlations, drops by distance, losses by distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from charkit.report.figures.canvas import (
    FAINT,
    INK,
    MUTED,
    NORMAL,
    SMALL,
    blank,
    keep_numbers,
    safe,
)
from glue_pilot.experiments.dots import MARKS, dots_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(
    shifts: pd.DataFrame, pairs: pd.DataFrame, told: pd.DataFrame, *, title: str, settings: Any
) -> dict[str, Figure]:
    """Return all figures, ending -> figure; the correlations first."""
    rows = told[told["part"] == "shift"]
    note = f"n = {settings.n} labels, {settings.n_embedded} texts an embedding."
    figures = {
        "": dots_figure(
            rows.assign(
                series=rows["series"].map({"across": "all shifts", "within": "within a task"})
            ),
            title=title,
            caption=f"{len(shifts)} shifts of {shifts['task'].nunique()} tasks. Bars: 90 % "
            f"bootstrap intervals over corpora. {note}",
            label="Spearman with the drop in accuracy",
            chance=0.0,
            limits=(-1, 1),
        ),
        "drops": scatter(
            shifts.assign(group=shifts["kind"]),
            x=("fisher_log_ratio", "log-ratio distance that the shift adds"),
            y=("drop", "drop in accuracy"),
            title="Each shift: its Fisher distance and the drop in accuracy",
            caption=f"One mark a shift. Above the line: accuracy falls. {note}",
        ),
    }
    if len(pairs):
        between = told[told["part"] == "transfer"]
        words = {"across": "all pairs", "within": "for one target"}
        figures["transfer"] = dots_figure(
            between.assign(series=between["series"].map(words)),
            title="Loss of another task's head, by distance",
            caption=f"{len(pairs)} pairs with the same classes, other texts. Bars: 90 % bootstrap "
            f"intervals over target corpora. n = {settings.n_transfer}.",
            label="Spearman with the loss in accuracy",
            chance=0.0,
            limits=(-1, 1),
        )
        if pairs.get("fisher_log_ratio") is not None:
            figures["pairs"] = scatter(
                pairs.assign(group=pairs["classes"]),
                x=("fisher_log_ratio", "log-ratio distance of the two tasks"),
                y=("loss", "loss against the own head"),
                title="Each pair of tasks: distance and what a foreign head costs",
                caption="One mark a pair, from source to target. On the line: nothing is lost.",
            )
    return figures


def scatter(
    rows: pd.DataFrame, *, x: tuple[str, str], y: tuple[str, str], title: str, caption: str
) -> Figure:
    """Draw one mark a row, coloured by its ``group``.

    Args:
        rows: Columns ``group`` and those named.
        x: Column and label.
        y: Column and label.
        title: The finding.
        caption: How to read it.
    """
    groups = list(dict.fromkeys(rows["group"]))
    figure, axes = blank(title=title, caption=caption, height=2.9, left=0.68, right=0.2)
    for place, group in enumerate(groups):
        colour, mark = MARKS[place % len(MARKS)]
        part = rows[rows["group"] == group]
        axes.plot(
            part[x[0]], part[y[0]], mark, color=colour, markersize=5, alpha=0.8, label=safe(group),
            markeredgewidth=0,
        )  # fmt: skip
    axes.axhline(0, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0.6)
    low, high = float(rows[y[0]].min()), float(rows[y[0]].max())
    room = max(high - low, 0.02)
    axes.set_ylim(low - 0.08 * room, high + (0.1 + 0.09 * len(groups)) * room)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(safe(x[1]), size=NORMAL, color=INK)
    axes.set_ylabel(safe(y[1]), size=NORMAL, color=INK)
    axes.legend(
        loc="upper left", fontsize=SMALL, frameon=True, framealpha=0.8, edgecolor="none",
        labelcolor=INK, handletextpad=0.3, borderaxespad=0.1, labelspacing=0.3,
    )  # fmt: skip
    columns = [c for c in ("task", "source", "target", "shift") if c in rows]
    return keep_numbers(figure, rows[[*columns, "group", x[0], y[0]]])
