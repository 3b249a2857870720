"""Measured learning curves of a run: one a task, and where each reaches a target."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from charkit.config import people_name
from charkit.heads.findings import metric_name
from charkit.report.figures.means import Lead, TaskMeans, task_means
from charkit.report.page_answer import Expected

_STEPS = (0.05, 0.1, 0.2, 0.25, 0.5)


@dataclass(frozen=True, eq=False)
class TaskCurve:
    """A task's measured curve at the layer that is best at its largest size.

    Attributes:
        task: Its name, and the encoder's where there are several.
        metric: What is measured, in a word.
        layer: The layer.
        points: Mean over draws and its 90 % interval by number of labels, ascending.
        leads: Size -> the layers ahead, ascending.
        means: All layers.
    """

    task: str
    metric: str
    layer: int
    points: tuple[Expected, ...]
    leads: Mapping[int, Lead]
    means: TaskMeans

    @property
    def last(self) -> Lead:
        """Which layers are ahead at the largest size."""
        return self.leads[max(self.leads)]

    @property
    def signal(self) -> bool:
        """Whether the curve ends above majority and shuffled labels."""
        return self.last.above

    @property
    def deepest(self) -> int:
        """The last layer that was read."""
        return int(self.means.real["layer"].max())

    @property
    def n_layers(self) -> int:
        """How many layers were read."""
        return int(self.means.real["layer"].nunique())


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
            found[task, encoder] = _curve(means, several=several)
    return tuple(sorted(found.values(), key=lambda c: -(c.points[-1].mean or 0.0)))


def tasks_led(curves: Sequence[TaskCurve]) -> Counter[str]:
    """Return on how many tasks each encoder's curve ends highest, by the encoder's name."""
    best: dict[str, TaskCurve] = {}
    for curve in sorted(curves, key=lambda c: c.points[-1].mean or 0.0):
        best[curve.means.task] = curve
    return Counter(curve.means.encoder for curve in best.values())


def by_encoder(curves: Sequence[TaskCurve]) -> dict[str, list[TaskCurve]]:
    """Return the curves of each encoder, the one that ends highest on the most tasks first."""
    ahead = tasks_led(curves)
    found: dict[str, list[TaskCurve]] = {}
    for curve in sorted(curves, key=lambda c: (-ahead[c.means.encoder], c.means.encoder)):
        found.setdefault(people_name(curve.means.encoder), []).append(curve)
    return found


def _curve(means: TaskMeans, *, several: bool) -> TaskCurve:
    leads = means.leads
    layer = leads[max(leads)].best
    rows = means.real[means.real["layer"] == layer].sort_values("n_train")
    values = rows[["n_train", "mean", "low", "high"]].to_numpy(dtype=float).tolist()
    points = tuple(Expected(int(n), mean, low, high) for n, mean, low, high in values)
    metric = metric_name(means.metric)
    name = f"{means.task}, {people_name(means.encoder)}" if several else means.task
    return TaskCurve(name, metric, layer, points, leads, means)


def encoders_of(curves: Sequence[TaskCurve]) -> list[str]:
    """Return the encoders whose curves are shown, for people."""
    return sorted({people_name(curve.means.encoder) for curve in curves})


def value_span(curves: Sequence[TaskCurve]) -> tuple[float, float]:
    """Return what the chart's axis spans: means and intervals, ends on steps of 0.1."""
    values = [v for c in curves for p in c.points for v in (p.mean, p.low, p.high) if v is not None]
    low, high = math.floor(min(values) * 10) / 10, math.ceil(max(values) * 10) / 10
    return round(low, 2), round(max(high, low + 0.2), 2)


def value_step(low: float, high: float) -> float:
    """Return the distance of an axis' ticks: seven of them or fewer."""
    return next((s for s in _STEPS if (high - low) / s <= 7), 1.0)


def first_target(curves: Sequence[TaskCurve]) -> float:
    """Return where the slider starts: what about half of the tasks reach, on twentieths."""
    ends = sorted(c.points[-1].mean or 0.0 for c in curves)
    return round(math.floor(ends[len(ends) // 2] * 20) / 20, 2)


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


def reach_words(found: Reach) -> tuple[str, str]:
    """Return how many labels it takes, and between how many (90 %), in words."""
    first, last = found.smallest, found.largest
    if found.n is None:
        words = f"not reached by {last:,}"
    else:
        words = f"{rough(found.n):,}" + (" or fewer" if found.n <= first else "")
    if found.low is None:
        return words, "whole band below"
    low = "up" if found.low <= first else f"{rough(found.low):,}"
    high = f"more than {last:,}" if found.high is None else f"{rough(found.high):,}"
    if found.high is not None and found.high <= first:
        return words, ""
    return words, f"{low} to {high}"


def share_of_gain(curves: Sequence[TaskCurve], share: float) -> list[float]:
    """Return how many labels bring a share of what the first to the last size bring, by task.

    Args:
        curves: Those that end above their controls count; others have no gain to share.
        share: In (0, 1).
    """
    found = []
    for curve in curves:
        start, end = curve.points[0].mean or 0.0, curve.points[-1].mean or 0.0
        if curve.signal and end > start:
            n = reach(curve, start + share * (end - start)).n
            found.append(n if n is not None else float(curve.points[-1].n))
    return found
