"""Layers by sizes: the score of every cell, and the best layer of every task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from charkit.config import people_name
from charkit.errors import UsageError
from charkit.report.figures.canvas import (
    INK,
    MUTED,
    NORMAL,
    PAPER,
    SMALL,
    WIDTH,
    blank,
    depth_colours,
    ink_on,
    keep_numbers,
    readable,
    safe,
)
from charkit.report.figures.means import (
    TaskMeans,
    describe,
    finding,
    layer_range,
    short_score,
    task_means,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Fewer rows are too low for the long name of the axis: it would run into the title.
_ROOM_FOR_WORDS = 6

_NAMES, _LEFT, _RIGHT = 1.62, 0.68, 0.15  # inches next to the cells: names of tasks, layers, none


def layer_size_heatmap(
    table: pd.DataFrame,
    *,
    task: str,
    metric: str | None = None,
    encoder: str | None = None,
    subset: str = "all",
) -> Figure:
    """Draw layer by number of labels, the mean score in every cell.

    The best layer of every column has a heavy frame; layers level with it a thin one. For the
    arguments and the errors see `charkit.report.figures.means.task_means`.

    Raises:
        MissingError: matplotlib is not installed.
    """
    means = task_means(table, task, metric=metric, encoder=encoder, subset=subset)
    sizes, layers = means.sizes, means.layers
    below = _room_below(sizes, WIDTH - _LEFT - _RIGHT)
    note = "Heavy frame: best layer at this n. Thin frame: inside its 90 % interval. "
    figure, axes = blank(
        title=f"{readable(task, longest=60)}: {finding(means)}",
        caption=f"Numbers: {means.axis}, mean over draws. {note}" + describe(means, subset),
        height=max(0.32 * len(layers), 0.6),
        left=_LEFT,
        right=_RIGHT,
        below=below,
    )
    from matplotlib import colormaps

    grid = means.real.pivot(index="layer", columns="n_train", values="mean")
    values = grid.reindex(index=layers, columns=sizes).to_numpy()
    bottom, top = float(np.nanmin(values)), float(np.nanmax(values))
    share = (values - bottom) / ((top - bottom) or 1.0)
    share = 1 - share if means.lower_is_better else share
    colours = colormaps["Blues"](0.03 + 0.55 * np.nan_to_num(share))
    colours[np.isnan(values)] = (0.95, 0.95, 0.95, 1.0)
    axes.imshow(colours, origin="lower", aspect="auto", interpolation="nearest")
    _cell_text(axes, means, values)
    _cell_axes(axes, [str(n) for n in sizes], [str(n) for n in layers], below=below)
    axes.set_xlabel("labelled training texts (n)", size=NORMAL, color=INK)
    roomy = len(layers) >= _ROOM_FOR_WORDS
    axes.set_ylabel("layer (0 = embeddings)" if roomy else "layer", size=NORMAL, color=INK)
    return keep_numbers(figure, means.real)


def _cell_text(axes: Axes, means: TaskMeans, values: Any) -> None:
    from matplotlib.patches import Rectangle

    for column, size in enumerate(means.sizes):
        lead = means.leads[size]
        for row, layer in enumerate(means.layers):
            value = values[row, column]
            if not np.isfinite(value):
                continue
            axes.text(
                column, row, short_score(value), ha="center", va="center", size=SMALL, color=INK,
                weight="bold" if layer == lead.best else "normal",
            )  # fmt: skip
            if layer in lead.tied:
                wide = 2.2 if layer == lead.best else 0.8
                axes.add_patch(
                    Rectangle(
                        (column - 0.44, row - 0.42), 0.88, 0.84,
                        fill=False, edgecolor=INK, linewidth=wide,
                    )
                )  # fmt: skip


def _room_below(sizes: list[int], inches: float) -> float:
    """Return the room in inches that tick labels need beyond the usual: none if they fit flat."""
    longest = 0.082 * len(str(sizes[-1]))
    return 0.0 if longest + 0.05 <= inches / len(sizes) else longest - 0.1


def _cell_axes(axes: Axes, columns: list[str], rows: list[str], *, below: float) -> None:
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    if below:
        axes.tick_params(axis="x", labelrotation=90)
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    for edge in range(1, len(columns)):
        axes.axvline(edge - 0.5, color=PAPER, linewidth=1.0)
    for edge in range(1, len(rows)):
        axes.axhline(edge - 0.5, color=PAPER, linewidth=1.0)


def best_layer_by_size(
    table: pd.DataFrame, *, encoder: str | None = None, subset: str = "all"
) -> Figure:
    """Draw every task's best layer by number of labels, one row a task.

    Args:
        table: A sweep's table.
        encoder: Whose layers. Default: the first in the table.
        subset: Which part of the tasks.

    Raises:
        UnknownNameError: The table has no such encoder.
        UsageError: No task has a finished cell.
        MissingError: matplotlib is not installed.
    """
    chosen, every, empty = _all_tasks(table, encoder, subset)
    sizes = sorted({n for means in every for n in means.sizes})
    layers = sorted({n for means in every for n in means.layers})
    below = _room_below(sizes, WIDTH - _NAMES - _RIGHT)
    failed = sum(means.n_failed for means in every)
    caption = (
        f"Number and colour: best layer (0 = embeddings, {layers[-1]} = last). Small: layers "
        f"inside its 90 % interval (+3: three more). Grey: all are, or none is clearly above "
        f"the controls. Encoder {people_name(chosen)}"
    )
    number = table.loc[table["control"] == "none", "encoder"].nunique()
    caption += f" (one of {number} in the table)." if number > 1 else "."
    if failed:
        caption += f" Failed cells left out: {failed:,}."
    if empty:
        caption += f" Tasks without a finished cell: {empty:,}."
    figure, axes = blank(
        title=_choice_title(every),
        caption=caption,
        height=max(0.4 * len(every), 0.6),
        left=_NAMES,
        right=_RIGHT,
        below=below,
    )
    numbers = _draw_choices(axes, every, sizes, layers)
    names = [safe(readable(means.task, longest=20)) for means in every]
    _cell_axes(axes, [str(n) for n in sizes], names, below=below)
    axes.set_xlim(-0.5, len(sizes) - 0.5)
    axes.set_ylim(len(every) - 0.5, -0.5)
    axes.set_xlabel("labelled training texts (n)", size=NORMAL, color=INK)
    return keep_numbers(figure, numbers)


def _all_tasks(
    table: pd.DataFrame, encoder: str | None, subset: str
) -> tuple[str, list[TaskMeans], int]:
    """Return the encoder, the means of the tasks that have some, and how many have none."""
    real = table[(table["control"] == "none") & (table["state"] == "done")]
    chosen = encoder or (str(real["encoder"].iloc[0]) if len(real) else "")
    mine = table[(table["encoder"] == chosen) & (table["subset"] == subset)]
    done = mine[(mine["control"] == "none") & (mine["state"] == "done") & mine["score"].notna()]
    names = sorted(done["task"].unique())
    if not names:
        raise UsageError(
            f"nothing to draw: expected finished cells of encoder {chosen!r} and subset "
            f"{subset!r}, got none."
        )
    every = [task_means(mine, name, encoder=chosen, subset=subset) for name in names]
    return chosen, every, int(mine["task"].nunique()) - len(names)


def _choice_title(every: list[TaskMeans]) -> str:
    ends = [(m.layers[-1], m.leads[m.sizes[-1]]) for m in every]
    clear = [deepest for deepest, lead in ends if lead.above and deepest not in lead.tied]
    number = len(every)
    tasks = f"{number} tasks"
    if not clear:
        where = "on the task" if number == 1 else f"on all of {tasks}"
        return f"Best layer by n: the last layer keeps up {where}"
    where = "on the task" if number == 1 else f"on {len(clear)} of {tasks}"
    return f"Best layer by n: an earlier layer beats the last {where}"


def _draw_choices(
    axes: Axes, every: list[TaskMeans], sizes: list[int], layers: list[int]
) -> pd.DataFrame:
    colours = depth_colours(layers)
    room = int((WIDTH - _NAMES - _RIGHT) / len(sizes) / 0.082)
    rows = []
    for row, means in enumerate(every):
        for size in means.sizes:
            lead = means.leads[size]
            clear = lead.clear(len(means.layers))
            several = len(lead.tied) > 1 and clear
            others = layer_range(lead.tied).replace(", ", ",") if several else ""
            if len(others) > room:
                others = f"+{len(lead.tied) - 1}"
            place = (sizes.index(size), row)
            _draw_choice(axes, place, lead.best, others, colours[lead.best] if clear else None)
            rows.append(
                {
                    "task": means.task,
                    "n_train": size,
                    "best": lead.best,
                    "tied": " ".join(map(str, lead.tied)),
                    "above_controls": lead.above,
                    "metric": means.metric,
                }
            )
    return pd.DataFrame(rows)


def _draw_choice(axes: Axes, place: tuple[int, int], best: int, others: str, colour: Any) -> None:
    from matplotlib.patches import Rectangle

    column, row = place
    fill = colour or (0.93, 0.93, 0.93, 1.0)
    ink = ink_on(fill) if colour else MUTED
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=fill, linewidth=0))
    centred: dict[str, Any] = {"ha": "center", "va": "center", "color": ink}
    axes.text(
        column, row - (0.17 if others else 0), str(best),
        size=NORMAL + 1, weight="bold" if colour else "normal", **centred,
    )  # fmt: skip
    if others:
        axes.text(column, row + 0.25, others, size=SMALL, **centred)
