"""Learning curves: the score against the number of labels, one line a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from charkit.report.canvas import (
    FAINT,
    INK,
    MUTED,
    NORMAL,
    SMALL,
    WIDTH,
    blank,
    depth_colours,
    keep_numbers,
    readable,
    safe,
    spread,
)
from charkit.report.means import (
    CONTROL_WORDS,
    METRIC_WORDS,
    TaskMeans,
    describe,
    finding,
    interval_words,
    task_means,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES_HEIGHT, LEFT, RIGHT = 3.3, 0.8, 1.28

_CONTROL_DASHES: dict[str, Any] = {
    "majority": (0, (1, 1.6)),
    "shuffled_labels": (0, (4, 2)),
    "random_encoder": (0, (7, 2, 1.5, 2)),
}


def learning_curves(
    table: pd.DataFrame,
    *,
    task: str,
    metric: str | None = None,
    encoder: str | None = None,
    subset: str = "all",
    ceiling: float | None = None,
) -> Figure:
    """Draw the score against the number of labels, one line a layer.

    Lines are means over training draws; the band is the 90 % interval of the layer that is best
    at the largest size (evaluation rows and spread of draws, see `charkit.report.means`).
    Controls are grey, each at its best layer.

    Args:
        table: A sweep's table.
        task: Which task.
        metric: A column of scores. Default: the task's own metric.
        encoder: Whose layers. Default: the encoder with the best mean at the largest size.
        subset: Which part of the task.
        ceiling: The best score possible, where known.

    Raises:
        UnknownNameError: The table has no such task, encoder or metric.
        UsageError: The task has no finished cell.
        MissingError: matplotlib is not installed.
    """
    means = task_means(table, task, metric=metric, encoder=encoder, subset=subset)
    best = means.best(means.sizes[-1])
    caption = f"Band: 90 % interval of layer {best} ({interval_words(means)}). "
    if len(means.controls):
        caption += "Controls: grey, each at its best layer. "
    figure, axes = blank(
        title=f"{readable(task, longest=60)}: {finding(means)}",
        caption=caption + describe(means, subset),
        height=CURVES_HEIGHT,
        left=LEFT,
        right=RIGHT,
    )
    numbers, labels = _draw_curves(axes, means, best)
    labels += _draw_controls(axes, means, ceiling)
    _size_axis(axes, means.sizes)
    axes.set_ylabel(METRIC_WORDS[means.metric], size=NORMAL, color=INK)
    axes.locator_params(axis="y", nbins=7)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    _label_ends(axes, labels)
    return keep_numbers(figure, numbers)


_Label = tuple[float, str, Any, int, bool]  # where, text, colour, rank, bold


def _draw_curves(axes: Axes, means: TaskMeans, best: int) -> tuple[pd.DataFrame, list[_Label]]:
    colours = depth_colours(means.layers)
    labels: list[_Label] = []
    first, last = means.layers[0], means.layers[-1]
    for layer in means.layers:
        rows = means.real[means.real["layer"] == layer].sort_values("n_train")
        x, y = rows["n_train"].to_numpy(), rows["mean"].to_numpy()
        chosen = layer == best
        axes.plot(
            x, y,
            color=colours[layer], linewidth=2.6 if chosen else 1.4, zorder=4 if chosen else 3,
            marker="o", markersize=4.5 if chosen else 2.6, label=f"layer {layer}",
        )  # fmt: skip
        if chosen and len(x) == 1:
            axes.vlines(x, rows["low"], rows["high"], color=colours[layer], alpha=0.4, linewidth=6)
        elif chosen:
            axes.fill_between(
                x, rows["low"].to_numpy(), rows["high"].to_numpy(),
                color=colours[layer], alpha=0.16, linewidth=0, zorder=2,
            )  # fmt: skip
        rank = 0 if chosen else 1 if layer in (first, last) else 3
        labels.append((float(y[-1]), f"layer {layer}", colours[layer], rank, chosen))
    shown = means.real.assign(control="none")
    columns = ["control", "n_train", "layer", "mean", "low", "high", "n_draws", "best", "tied"]
    numbers = pd.concat([shown, means.controls.assign(best=False, tied=False)])[columns]
    return numbers.reset_index(drop=True), labels


def _draw_controls(axes: Axes, means: TaskMeans, ceiling: float | None) -> list[_Label]:
    labels: list[_Label] = []
    for control, words in CONTROL_WORDS.items():
        rows = means.controls[means.controls["control"] == control].sort_values("n_train")
        if rows.empty:
            continue
        axes.plot(
            rows["n_train"].to_numpy(), rows["mean"].to_numpy(),
            color=MUTED, linewidth=1.3, linestyle=_CONTROL_DASHES[control], zorder=2.5,
            label=words, marker="_" if len(rows) == 1 else "", markersize=24,
        )  # fmt: skip
        labels.append((float(rows["mean"].iloc[-1]), words, MUTED, 2, False))
    if ceiling is not None:
        axes.axhline(ceiling, color=INK, linewidth=1.0, linestyle=(0, (2, 2)), label="ceiling")
        labels.append((ceiling, "ceiling", INK, 2, False))
    return labels


def _label_ends(axes: Axes, labels: list[_Label]) -> None:
    """Write names at the lines' ends, moved apart; the least important give way."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    inches = CURVES_HEIGHT
    gap = 0.155 * (high - low) / inches
    room = int((high - low) / gap) + 1
    kept = sorted(labels, key=lambda item: item[3])[:room]
    places = spread([item[0] for item in kept], gap=gap, low=low, high=high)
    beside = axes.get_yaxis_transform()
    for (value, text, colour, _, bold), place in zip(kept, places, strict=True):
        axes.plot(
            [1.005, 1.045], [value, place],
            color=colour, linewidth=1.8 if bold else 1.0, transform=beside, clip_on=False,
            scalex=False, scaley=False, label="_leader",
        )  # fmt: skip
        axes.text(
            1.055, place, safe(text), transform=beside, va="center", ha="left", size=SMALL,
            color=MUTED if colour == MUTED else INK, weight="bold" if bold else "normal",
        )  # fmt: skip


def _size_axis(axes: Axes, sizes: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.minorticks_off()
    axes.set_xlabel("labelled training texts (n)", size=NORMAL, color=INK)
    if len(sizes) == 1:
        axes.set_xlim(sizes[0] / 2, sizes[0] * 2)
    inches = WIDTH - LEFT - RIGHT
    octaves = max(float(np.log2(sizes[-1] / sizes[0])), 1.0)
    ticks: list[int] = []
    for size in reversed(sizes):
        wide = 0.1 + 0.075 * len(str(size))
        if not ticks or np.log2(ticks[-1] / size) / octaves * inches >= wide:
            ticks.append(size)
    axes.set_xticks(ticks[::-1], [str(n) for n in ticks[::-1]])
