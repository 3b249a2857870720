"""Figures of the study of embeddings: tables in, figures out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
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
    save_figure,
    spread,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"  # Okabe and Ito 2008: for all eyes
MARKS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"))
_ROW = 0.34


def sibling_figure(rows: pd.DataFrame, *, title: str) -> Figure:
    """Draw NDCG of the siblings by method, one mark a relation, with 90 % intervals.

    Args:
        rows: Columns ``method``, ``relation``, ``ndcg``, ``ndcg_low``, ``ndcg_high``, in order.
        title: The finding.
    """
    words = {
        "corpus": "same texts",
        "domain": "same domain, other texts",
        "label": "same kind of label, other texts",
    }
    relations = [r for r in words if (rows["relation"] == r).any()]
    caption = (
        "1: all tasks of the query's kind come first among its neighbours. Bars: 90 % bootstrap "
        f"intervals over corpora. n = {int(rows['n'].iloc[0])} texts a task."
    )
    names = list(dict.fromkeys(rows["method"]))
    figure, axes = blank(
        title=title, caption=caption, height=_ROW * (len(names) + 2), left=1.75, right=0.15
    )
    for k, relation in enumerate(relations):
        part = rows[rows["relation"] == relation].set_index("method").reindex(names)
        y = np.arange(len(names)) + 0.24 * (k - (len(relations) - 1) / 2)
        colour, mark = MARKS[k]
        low, high = part["ndcg_low"], part["ndcg_high"]
        axes.hlines(y, low, high, color=colour, linewidth=1.2, alpha=0.55)
        axes.plot(part["ndcg"], y, mark, color=colour, markersize=5.5, label=words[relation])
    _rows(axes, names, above=0.75 * len(relations))
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("NDCG of the siblings", size=NORMAL, color=INK)
    _legend(axes)
    return keep_numbers(figure, rows)


def relabelled_figure(rows: pd.DataFrame, *, title: str) -> Figure:
    """Draw how often another draw under the same labels is nearer than other labels.

    Args:
        rows: Columns ``method``, ``same_texts``, ``other_texts``, in order.
        title: The finding.
    """
    names = list(rows["method"])
    figure, axes = blank(
        title=title,
        caption="Share of cases where another draw of texts under the same labels is nearer than "
        "other labels: of the very same texts, or of the other draw's. Half is what guessing "
        "gives.",
        height=_ROW * 0.85 * (len(names) + 2),
        left=1.75,
        right=0.15,
    )
    y = np.arange(len(names))
    words = ("other labels, the same texts", "other labels, other texts")
    for (colour, mark), column, word in zip(
        MARKS, ("same_texts", "other_texts"), words, strict=False
    ):
        axes.plot(rows[column], y, mark, color=colour, markersize=6, label=word)
    axes.axvline(0.5, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0.6)
    _rows(axes, names, above=1.7)
    axes.set_xlim(-0.03, 1.03)
    axes.set_xlabel("share of cases told right", size=NORMAL, color=INK)
    _legend(axes)
    return keep_numbers(figure, rows)


def layers_figure(rows: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw what each layer alone tells, one line a question.

    Args:
        rows: Columns ``question``, ``layer``, ``value``.
        title: The finding.
        caption: How to read it.
    """
    figure, axes = blank(title=title, caption=caption, height=2.5, left=0.55, right=1.5)
    ends, words = [], []
    for (colour, mark), (question, part) in zip(
        MARKS, rows.groupby("question", sort=False), strict=False
    ):
        axes.plot(part["layer"], part["value"], color=colour, linewidth=1.8, marker=mark)
        ends.append(float(part["value"].iloc[-1]))
        words.append((str(question), colour))
    low, high = float(rows["value"].min()) - 0.05, 1.02
    axes.set_ylim(low, high)
    axes.set_yticks([t / 10 for t in range(11) if low <= t / 10 <= 1])
    right = int(rows["layer"].max())
    places = spread(ends, gap=0.2 * (high - low), low=low + 0.1, high=high - 0.1)
    for place, (word, colour) in zip(places, words, strict=True):
        axes.annotate(
            safe(word), (right, place), xytext=(9, 0), textcoords="offset points",
            va="center", size=SMALL, color=colour, annotation_clip=False, linespacing=1.15,
        )  # fmt: skip
    axes.set_xticks(sorted(rows["layer"].unique()))
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_xlabel("layer whose Fisher information is compared", size=NORMAL, color=INK)
    return keep_numbers(figure, rows)


def error_figure(tasks: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw the head's error by the norm of the embedding, coloured by the number of classes.

    Args:
        tasks: Columns ``task``, ``l2``, ``error``, ``n_classes``.
        title: The finding.
        caption: How to read it.
    """
    from matplotlib import colormaps

    figure, axes = blank(title=title, caption=caption, height=2.9, left=0.6, right=0.3)
    scale = colormaps["viridis"]
    groups = [(2, 2, "2 classes"), (3, 7, "3 to 7"), (8, 10**6, "8 or more")]
    for (low, high, word), share, mark in zip(groups, (0.0, 0.45, 0.8), "os^", strict=True):
        part = tasks[tasks["n_classes"].between(low, high)]
        axes.plot(
            part["l2"], part["error"], mark, color=scale(share), markersize=6, label=word,
            markeredgecolor=INK, markeredgewidth=0.4,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_ylim(0, 1.15)
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.set_xlabel("L2 norm of the embedding, all layers", size=NORMAL, color=INK)
    axes.set_ylabel("error of the head", size=NORMAL, color=INK)
    _plain_decades(axes)
    _legend(axes, columns=3)
    return keep_numbers(figure, tasks)


def sizes_figure(tasks: pd.DataFrame, *, title: str, caption: str) -> Figure:
    """Draw norm by sample size relative to the smallest, one thin line a task, the median thick.

    Args:
        tasks: Columns ``task``, ``n``, ``ratio``.
        title: The finding.
        caption: How to read it.
    """
    figure, axes = blank(title=title, caption=caption, height=2.6, left=0.85, right=0.3)
    for _, part in tasks.groupby("task"):
        axes.plot(part["n"], part["ratio"], color=BLUE, linewidth=0.8, alpha=0.35)
    middle = tasks.groupby("n")["ratio"].median()
    axes.plot(middle.index, middle, color=INK, linewidth=2.4, marker="o", markersize=5)
    axes.axhline(1, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_xscale("log")
    axes.set_yscale("log")
    sizes = sorted(int(n) for n in tasks["n"].unique())
    axes.set_xticks(sizes, [f"{n:,}" for n in sizes])
    axes.minorticks_off()
    low, high = tasks["ratio"].min(), tasks["ratio"].max()
    ticks = [t for t in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100) if low / 1.5 < t < high * 1.5]
    axes.set_yticks(ticks, [f"{t:g}×" for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel("labelled texts", size=NORMAL, color=INK)
    axes.set_ylabel(f"norm, against n = {sizes[0]}", size=NORMAL, color=INK)
    return keep_numbers(figure, tasks)


def _rows(axes: Any, names: Sequence[str], *, above: float) -> None:
    axes.set_yticks(range(len(names)), [safe(readable(n, longest=30)) for n in names])
    axes.set_ylim(len(names) - 0.4, -0.6 - above)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)


def _legend(axes: Any, *, columns: int = 1) -> None:
    axes.legend(
        loc="upper left", ncols=columns, columnspacing=1, frameon=True, framealpha=1,
        edgecolor="none", fontsize=SMALL,
        handletextpad=0.3, borderaxespad=0.1, borderpad=0.2, labelspacing=0.35, labelcolor=INK,
    )  # fmt: skip


def _plain_decades(axes: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def save_all(figures: dict[str, Figure], folder: Path) -> list[Path]:
    """Write figures as SVG and PNG with their numbers; return the files."""
    return [p for name, figure in figures.items() for p in save_figure(figure, folder / name)]
