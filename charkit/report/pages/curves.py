"""Measured learning curves of a run: one a task, where each reaches a target, and their drawing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from charkit.config import people_name
from charkit.heads.sweep.table import metric_name
from charkit.report.figures.canvas import spread
from charkit.report.figures.means import Lead, TaskMeans, task_means
from charkit.report.pages import chart

N_COLOURS = 7
"""The palette's colours; further tasks take them again, dashed."""

# More lines than this are named only in the table.
_MOST_NAMED = 16

# With more lines than this, bands are shown only for the one that is pointed at.
_CROWD = 12

# Of the ticks: the first one with seven of them at most.
_STEPS = (0.05, 0.1, 0.2, 0.25, 0.5)
_BETWEEN = 16.0  # between the names of two lines
_LETTERS = 19  # of a name: what the margin holds


@dataclass(frozen=True, eq=False)
class TaskCurve:
    """A task's measured curve at the layer that is best at its largest size.

    Attributes:
        task: Its name, and the encoder's where there are several.
        layer: The layer.
        points: Mean over draws and its 90 % interval by number of labels, ascending.
        means: All layers.
    """

    task: str
    layer: int
    points: tuple[chart.Point, ...]
    means: TaskMeans

    @property
    def metric(self) -> str:
        """What is measured."""
        return metric_name(self.means.metric)

    @property
    def start(self) -> float:
        """The mean at the smallest size."""
        return self.points[0].mean or 0.0

    @property
    def end(self) -> float:
        """The mean at the largest size."""
        return self.points[-1].mean or 0.0

    @property
    def leads(self) -> Mapping[int, Lead]:
        """Size -> the layers that lead there, ascending."""
        return self.means.leads

    @property
    def last(self) -> Lead:
        """The layers that lead at the largest size."""
        return self.leads[self.means.sizes[-1]]

    @property
    def signal(self) -> bool:
        """Whether the curve ends above majority and shuffled labels."""
        return self.last.above

    @property
    def deepest(self) -> int:
        """The last layer that was read."""
        return self.means.layers[-1]

    @property
    def n_layers(self) -> int:
        """How many layers were read."""
        return len(self.means.layers)


def curves_of(table: pd.DataFrame) -> tuple[TaskCurve, ...]:
    """Return a curve for every task and encoder with finished cells, the highest end first.

    Where there are several encoders, their names stand after the tasks'.

    Args:
        table: A sweep's table; the whole tasks where it has them.
    """
    found: dict[tuple[str, str], TaskCurve] = {}
    done = table[(table["control"] == "none") & (table["state"] == "done")]
    done = done[np.isfinite(done["score"])]
    several = done["encoder"].nunique() > 1
    for (task, subset, encoder), _ in done.groupby(["task", "subset", "encoder"], sort=True):
        if (task, encoder) not in found:
            means = task_means(table, str(task), subset=str(subset), encoder=str(encoder))
            name = f"{means.task}, {people_name(means.encoder)}" if several else means.task
            found[task, encoder] = _curve(means, name)
    return tuple(sorted(found.values(), key=lambda c: -c.end))


def _curve(means: TaskMeans, name: str) -> TaskCurve:
    layer = means.leads[means.sizes[-1]].best
    rows = means.real[means.real["layer"] == layer].sort_values("n_train")
    values = rows[["n_train", "mean", "low", "high"]].to_numpy(dtype=float).tolist()
    points = tuple(chart.Point(int(n), mean, low, high) for n, mean, low, high in values)
    return TaskCurve(name, layer, points, means)


def tasks_led(curves: Sequence[TaskCurve]) -> Counter[str]:
    """Return on how many tasks each encoder's curve ends highest, by the encoder's name."""
    best = {curve.means.task: curve for curve in sorted(curves, key=lambda c: c.end)}
    return Counter(curve.means.encoder for curve in best.values())


def by_encoder(curves: Sequence[TaskCurve]) -> dict[str, list[TaskCurve]]:
    """Return the curves of each encoder, the one that ends highest on the most tasks first."""
    ahead = tasks_led(curves)
    found: dict[str, list[TaskCurve]] = {}
    for curve in sorted(curves, key=lambda c: (-ahead[c.means.encoder], c.means.encoder)):
        found.setdefault(people_name(curve.means.encoder), []).append(curve)
    return found


def first_target(curves: Sequence[TaskCurve]) -> float:
    """Return where the slider starts: what about half of the tasks reach, on twentieths."""
    ends = sorted(c.end for c in curves)
    return round(math.floor(ends[len(ends) // 2] * 20) / 20, 2)


@dataclass(frozen=True)
class Reach:
    """How many labels reach a target on a measured curve.

    Attributes:
        n: Where the mean reaches it; None where it does not.
        low: Where the band's upper end does.
        high: Where its lower end does.
        largest: The curve's last size.
        smallest: Its first one.
    """

    n: float | None
    low: float | None
    high: float | None
    largest: int
    smallest: int

    @property
    def labels(self) -> str:
        """How many labels it takes."""
        if self.n is None:
            return f"not reached by {self.largest:,}"
        return f"{rough(self.n):,}" + (" or fewer" if self.n <= self.smallest else "")

    @property
    def ends(self) -> str:
        """Between how many labels it is reached (90 %)."""
        if self.low is None:
            return "whole band below"
        if self.high is not None and self.high <= self.smallest:
            return ""
        low = "up" if self.low <= self.smallest else f"{rough(self.low):,}"
        high = f"more than {self.largest:,}" if self.high is None else f"{rough(self.high):,}"
        return f"{low} to {high}"


def reach(curve: TaskCurve, target: float) -> Reach:
    """Return where a curve reaches a target, in straight lines over the logarithm of n."""
    return Reach(
        n=_crossing([(p.n, p.mean) for p in curve.points], target),
        low=_crossing([(p.n, p.high) for p in curve.points], target),
        high=_crossing([(p.n, p.low) for p in curve.points], target),
        largest=curve.points[-1].n,
        smallest=curve.points[0].n,
    )


def _crossing(rows: Sequence[tuple[int, float | None]], target: float) -> float | None:
    known = [(n, v) for n, v in rows if v is not None]
    for at, (n, value) in enumerate(known):
        if value < target:
            continue
        if at == 0:
            return float(n)
        before, below = known[at - 1]
        share = (target - below) / (value - below)
        return float(before * (n / before) ** share)
    return None


def rough(n: float) -> int:
    """Return a number of labels with three digits, as many as a reading deserves.

    >>> rough(1237.2), rough(31.6)
    (1240, 32)
    """
    unit = 10 ** max(0, math.floor(math.log10(n)) - 2)
    return int(math.floor(n / unit + 0.5) * unit)


def share_of_gain(curves: Sequence[TaskCurve], share: float) -> list[float]:
    """Return how many labels bring a share of what the first to the last size bring, by task.

    Args:
        curves: Those that end above their controls count; others have no gain to share.
        share: In (0, 1).
    """
    found = []
    for curve in curves:
        if curve.signal and curve.end > curve.start:
            n = reach(curve, curve.start + share * (curve.end - curve.start)).n
            found.append(n if n is not None else float(curve.points[-1].n))
    return found


def value_span(curves: Sequence[TaskCurve]) -> tuple[float, float]:
    """Return what the chart's axis spans: means and intervals, ends on steps of 0.1."""
    values = [v for c in curves for p in c.points for v in (p.mean, p.low, p.high) if v is not None]
    low, high = math.floor(min(values) * 10) / 10, math.ceil(max(values) * 10) / 10
    return round(low, 2), round(max(high, low + 0.2), 2)


def task_class(at: int) -> str:
    """Return the classes of a task's colour and dashes, by its place."""
    return f"t{at % N_COLOURS} d{at // N_COLOURS % 4}"


def draw_curves(curves: Sequence[TaskCurve], target: float) -> Markup:
    """Return the curves for a screen and for a phone, with the target."""
    low, high = value_span(curves)
    step = next((s for s in _STEPS if (high - low) / s <= 7), 1.0)
    sizes = chart.size_span(p.n for c in curves for p in c.points)
    names = 170 if len(curves) <= _MOST_NAMED else 20
    frames = {
        "wide": chart.Frame(760, 600, 46, names, 50, sizes, (low, high), step),
        "narrow": chart.Frame(330, 330, 36, 12, 48, sizes, (low, high), step),
    }
    return chart.draw(
        frames,
        lambda frame: _shapes(curves, target, frame),
        described=described(curves),
        more=" crowd" if len(curves) > _CROWD else "",
    )


def described(curves: Sequence[TaskCurve]) -> str:
    """Return what the drawing shows, as text."""
    sizes = [p.n for c in curves for p in c.points]
    several = len({curve.means.encoder for curve in curves}) > 1
    line = "One line a task and encoder" if several else "One line a task"
    tasks = line if len(curves) > 1 else "One task"
    band = "Band" if len(curves) <= _CROWD else "Band of the line under the pointer"
    return (
        f"{tasks} from {min(sizes):,} to {max(sizes):,} labels, each at the layer that is best at "
        f"its largest size. {band}: 90 % interval over evaluation texts and training draws."
    )


def _shapes(curves: Sequence[TaskCurve], target: float, frame: chart.Frame) -> list[Markup]:
    metrics = sorted({c.metric for c in curves})
    name = metrics[0] if len(metrics) == 1 else "accuracy (or the task's own metric)"
    bands = [
        chart.band(f"range {task_class(at)}", curve.points, frame, data_task=str(at))
        for at, curve in enumerate(curves)
    ]
    return [
        *chart.axes(frame, name, "labels"),
        *bands,
        *(_line(curve, at, frame) for at, curve in enumerate(curves)),
        *chart.goal(frame, target, 2),
        *(_met(curve, at, target, frame) for at, curve in enumerate(curves)),
        *(_names(curves, frame) if frame.right > 100 else ()),
        chart.dot("cursor-dot", (0, 0), 5, shown=False),
    ]


def _line(curve: TaskCurve, at: int, frame: chart.Frame) -> Markup:
    dots = Markup("").join(
        chart.dot("", (frame.x(p.n), frame.y(p.mean or 0.0)), 2.6) for p in curve.points
    )
    return Markup('<g class="task {}" data-task="{}">{}{}</g>').format(
        task_class(at), at, chart.curve("line", curve.points, frame), dots
    )


def _met(curve: TaskCurve, at: int, target: float, frame: chart.Frame) -> Markup:
    """Return the dot where a curve reaches the target."""
    n = reach(curve, target).n
    place = (frame.x(n or frame.sizes[0]), frame.y(target))
    kind = f"met {task_class(at)}"
    return chart.dot(kind, place, 5, data_task=str(at), shown=n is not None)


def _names(curves: Sequence[TaskCurve], frame: chart.Frame) -> list[Markup]:
    """Name the lines next to their ends, moved apart where they would touch."""
    right = frame.end
    ends = [frame.y(c.end) for c in curves]
    parts = []
    places = spread(ends, gap=_BETWEEN, low=frame.top, high=frame.floor)
    for at, (curve, end, y) in enumerate(zip(curves, ends, places, strict=True)):
        start = (frame.x(curve.points[-1].n) + 5, end)
        name = curve.task if len(curve.task) <= _LETTERS else f"{curve.task[: _LETTERS - 1]}…"
        parts += [
            chart.path("leader", [start, (right + 6, end), (right + 16, y)]),
            chart.dot(f"end {task_class(at)}", (right + 20, y), 4),
            chart.words("name", (right + 29, y + 4.5), name, data_task=str(at)),
        ]
    return parts
