"""A tree of tasks: which join first, and at what distance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from charkit.report.canvas import (
    FAINT,
    INK,
    MUTED,
    NORMAL,
    blank,
    keep_numbers,
    readable,
    safe,
    text_inches,
)
from charkit.report.clustering import (
    FloatArray,
    Linkage,
    cluster,
    colour_of,
    distances_of,
    group_colours,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = 0.155


def distance_tree(
    matrix: pd.DataFrame,
    *,
    unit: str = "distance",
    title: str | None = None,
    groups: Mapping[str, str] | None = None,
    alike: str = "share texts",
    linkage: Linkage = "average",
    note: str = "",
) -> Figure:
    """Draw a dendrogram: tasks left, joined where their clusters meet.

    Args:
        matrix: Index and columns: the same names.
        unit: What the numbers are.
        title: Default: how many tasks, and which pair joins first.
        groups: Name -> group; those with two members or more are marked by colour.
        alike: What the tasks of a group do, for the caption.
        linkage: How far apart two clusters are.
        note: More for the caption.

    Raises:
        UsageError: The table is no table of distances.
        MissingError: matplotlib is not installed.
    """
    from scipy.cluster.hierarchy import dendrogram

    joined = cluster(distances_of(matrix), linkage=linkage)
    names = [str(name) for name in matrix.index]
    drawn = dendrogram(joined, no_plot=True)
    order = [names[k] for k in drawn["leaves"]]
    shown = [safe(readable(name, longest=22)) for name in order]
    first = " and ".join(readable(names[int(k)], longest=24) for k in sorted(joined[0, :2]))
    colours = group_colours(names, groups)
    words = f"Two clusters join at the {_LINKAGE_WORDS[linkage]} distance of their tasks."
    if colours:
        words += f" Colours: tasks that {alike}."
    figure, axes = blank(
        title=title or f"{len(names)} tasks: first to join are {first}",
        caption=f"{words} {note}".strip(),
        height=max(_ROW * len(names), 0.5),
        left=0.3 + max(map(text_inches, shown)),
        right=0.2,
    )
    _draw_joins(axes, np.array(drawn["icoord"]), np.array(drawn["dcoord"]))
    axes.set_yticks(range(len(shown)), shown)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, 1.04 * float(joined[-1, 2]) or 1.0)
    for label, name in zip(axes.get_yticklabels(), order, strict=True):
        _mark(axes, label, colour=colour_of(name, groups, colours))
    axes.tick_params(axis="y", length=0, pad=7)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(safe(unit), size=NORMAL, color=INK, loc="right")
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return keep_numbers(figure, _joins(joined, names))


_LINKAGE_WORDS = {"average": "mean", "complete": "largest"}


def _mark(axes: Axes, label: object, *, colour: str) -> None:
    """Put a dot of its group's colour between a name and the tree."""
    if colour == MUTED:
        return
    row = label.get_position()[1]  # type: ignore[attr-defined]
    axes.plot([0], [row], marker="o", markersize=5.5, color=colour, clip_on=False, zorder=5)


def _draw_joins(axes: Axes, places: FloatArray, heights: FloatArray) -> None:
    for across, along in zip(heights, (places - 5) / 10, strict=True):
        axes.plot(across, along, color=INK, linewidth=1.1, solid_joinstyle="miter")


def _joins(joined: FloatArray, names: list[str]) -> pd.DataFrame:
    """Return one row a join: the two clusters' members, and the distance."""
    members = [[name] for name in names]
    rows = []
    for one, other, height, _ in joined:
        ours, theirs = members[int(one)], members[int(other)]
        members.append([*ours, *theirs])
        rows.append((" | ".join(ours), " | ".join(theirs), height))
    return pd.DataFrame(rows, columns=["cluster", "other", "distance"])
