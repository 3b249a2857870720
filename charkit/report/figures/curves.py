"""Learning curves: those of a sweep, one line a layer, and the one that an answer predicts."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from charkit.heads.sweep.table import CONTROL_NAMES
from charkit.report.figures.canvas import (
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
from charkit.report.figures.means import TaskMeans, describe, finding, interval_words, task_means

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Sizes and margins in inches; names stand to the right of a sweep's curves.
_CURVES = {"height": 3.3, "left": 0.8, "right": 1.28}
_FORECAST = {"height": 3.1, "left": 0.8, "right": 0.45}

# On and off, in points: three greys differ by their dashes only.
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
    at the largest size (evaluation rows and spread of draws). Controls are grey, each at its best
    layer. ``ceiling`` is the best score possible, where known; for the other arguments and the
    errors see `charkit.report.figures.means.task_means`.

    Raises:
        MissingError: matplotlib is not installed.
    """
    means = task_means(table, task, metric=metric, encoder=encoder, subset=subset)
    best = means.leads[means.sizes[-1]].best
    caption = f"Band: 90 % interval of layer {best} ({interval_words(means)}). "
    if len(means.controls):
        caption += "Controls: grey, each at its best layer. "
    figure, axes = blank(
        title=f"{readable(task, longest=60)}: {finding(means)}",
        caption=caption + describe(means, subset),
        **_CURVES,
    )
    numbers, labels = _draw_curves(axes, means, best)
    labels += _draw_controls(axes, means, ceiling)
    _size_axis(axes, means.sizes)
    axes.set_ylabel(means.axis, size=NORMAL, color=INK)
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
    for control, words in CONTROL_NAMES.items():
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
    gap = 0.155 * (high - low) / _CURVES["height"]
    room = int((high - low) / gap) + 1
    kept = sorted(labels, key=lambda item: item[3])[:room]
    places = spread([item[0] for item in kept], gap=gap, low=low, high=high)
    right = axes.get_yaxis_transform()
    for (value, text, colour, _, bold), place in zip(kept, places, strict=True):
        axes.plot(
            [1.005, 1.045], [value, place],
            color=colour, linewidth=1.8 if bold else 1.0, transform=right, clip_on=False,
            scalex=False, scaley=False, label="_leader",
        )  # fmt: skip
        axes.text(
            1.055, place, safe(text), transform=right, va="center", ha="left", size=SMALL,
            color=MUTED if colour == MUTED else INK, weight="bold" if bold else "normal",
        )  # fmt: skip


def _size_axis(axes: Axes, sizes: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.minorticks_off()
    axes.set_xlabel("labelled training texts (n)", size=NORMAL, color=INK)
    if len(sizes) == 1:
        axes.set_xlim(sizes[0] / 2, sizes[0] * 2)
    inches = WIDTH - _CURVES["left"] - _CURVES["right"]
    octaves = max(float(np.log2(sizes[-1] / sizes[0])), 1.0)
    ticks: list[int] = []
    for size in reversed(sizes):
        wide = 0.1 + 0.075 * len(str(size))
        if not ticks or np.log2(ticks[-1] / size) / octaves * inches >= wide:
            ticks.append(size)
    axes.set_xticks(ticks[::-1], [str(n) for n in ticks[::-1]])


def forecast_curve(
    table: pd.DataFrame,
    *,
    title: str,
    caption: str,
    present: int | None = None,
    observed: pd.DataFrame | None = None,
    target: float | None = None,
    majority: float | None = None,
    zero_shot: float | None = None,
    others: Mapping[str, pd.DataFrame] | None = None,
) -> Figure:
    """Draw an expected learning curve: the mean as a line, its interval as a band.

    Args:
        table: Columns ``n``, ``mean``, ``low``, ``high``, one row a size, at least one.
        title: The finding.
        caption: How to read it.
        present: Labels available: a mark on the curve; None for none.
        observed: Columns ``n``, ``accuracy``: what was measured.
        target: The accuracy asked for.
        majority: The accuracy of always saying the largest class.
        zero_shot: The accuracy of predictions that needed no label.
        others: Name of another way of training -> columns ``n``, ``mean``: a line of dashes.

    Raises:
        MissingError: matplotlib is not installed.
    """
    figure, axes = blank(title=title, caption=caption, **_FORECAST)
    rows = table.sort_values("n")
    colour = depth_colours([0, 1, 2])[1]
    n, mean = rows["n"].to_numpy(), rows["mean"].to_numpy()
    axes.set_xscale("log", base=2)
    axes.fill_between(
        n, rows["low"].to_numpy(), rows["high"].to_numpy(), color=colour, alpha=0.18, linewidth=0
    )
    axes.plot(n, mean, color=colour, linewidth=2.4, zorder=4)
    shades = depth_colours([0, 1, 2])
    looks = cycle(zip((shades[2], shades[0], INK), _CONTROL_DASHES.values(), strict=True))
    lines = [
        axes.plot(
            line["n"].to_numpy(), line["mean"].to_numpy(),
            color=colour, linewidth=1.8, linestyle=dashes, zorder=4, label=safe(name),
        )[0]
        for (name, line), (colour, dashes) in zip((others or {}).items(), looks, strict=False)
    ]  # fmt: skip
    if lines:
        above = (1.0, 0.1)  # the largest class's line, which lies low
        axes.legend(
            handles=lines, loc="lower right", bbox_to_anchor=above, fontsize=SMALL, frameon=False
        )
    if observed is not None and len(observed):
        axes.plot(
            observed["n"].to_numpy(), observed["accuracy"].to_numpy(),
            "o", markersize=3.6, color=MUTED, zorder=3,
        )  # fmt: skip
    here = rows[rows["n"] == present]
    if len(here):
        axes.plot(present, here["mean"].iloc[0], "o", markersize=7, color=colour, zorder=5)
    _reference(axes, target, f"target {target:g}" if target is not None else "", INK)
    _reference(axes, zero_shot, "zero-shot predictions", MUTED)
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
    axes.set_xlim(first / 1.12, last * 1.12)  # the last dots stand free of the frame
    octaves = np.log2(last / first) if last > first else 0.0
    step = max(1, int(np.ceil(octaves / 8)))  # nine ticks at most: five digits fit between
    ticks = [round(last / 2.0**k) for k in range(0, int(octaves) + 1, step)][::-1]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
