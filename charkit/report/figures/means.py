"""What figures and pages show of a sweep's table: means over draws, intervals, leading layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from charkit.config import layer_list, people_name
from charkit.errors import UnknownNameError, UsageError
from charkit.heads.metrics.intervals import LEVEL, normal_quantile
from charkit.heads.sweep.table import METRIC_NAMES, metric_name

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "rmse"})

_UNITS = {"log_loss": "nats", "rmse": "label's unit"}


@dataclass(frozen=True)
class Lead:
    """Which layers lead at a size.

    Attributes:
        best: The layer with the best mean.
        tied: Layers inside its interval, it included, ascending.
        above: Whether its interval is above majority and shuffled labels.
    """

    best: int
    tied: tuple[int, ...]
    above: bool

    def clear(self, n_layers: int) -> bool:
        """Return whether the best layer differs from other layers and from the controls."""
        return self.above and len(self.tied) < max(n_layers, 2)


@dataclass(frozen=True, eq=False)
class TaskMeans:
    """Means of one task, encoder and subset.

    Attributes:
        task: Its name.
        encoder: Whose layers.
        n_encoders: How many encoders the table has for this task.
        metric: What ``mean`` is.
        real: Columns n_train, layer, mean, low, high, n_draws, best, tied; one row a cell.
        controls: Columns control, n_train, mean: the best layer's mean of each control.
        n_failed: Failed cells that were left out.
        n_eval: Evaluation texts.
        rows_counted: Whether the intervals count other evaluation texts; the table has no such
            interval for some metrics.
    """

    task: str
    encoder: str
    n_encoders: int
    metric: str
    real: pd.DataFrame
    controls: pd.DataFrame
    n_failed: int
    n_eval: int
    rows_counted: bool

    @property
    def sizes(self) -> list[int]:
        """Training sizes, ascending."""
        return list(self.leads)

    @cached_property
    def layers(self) -> list[int]:
        """Layers, ascending."""
        return sorted(int(n) for n in self.real["layer"].unique())

    @property
    def lower_is_better(self) -> bool:
        """Whether less is better in this metric."""
        return self.metric in LOWER_IS_BETTER

    @property
    def axis(self) -> str:
        """The metric with its unit, for an axis."""
        unit = _UNITS.get(self.metric)
        return metric_name(self.metric) + (f" ({unit})" if unit else "")

    @cached_property
    def leads(self) -> Mapping[int, Lead]:
        """Size -> the layers that lead there, by ascending size."""
        own = self.controls[self.controls["control"] != "random_encoder"]
        rivals: dict[float, list[float]] = {}
        for n, mean in own[["n_train", "mean"]].to_numpy(dtype=float).tolist():
            rivals.setdefault(n, []).append(mean)
        names = ["n_train", "layer", "low", "high", "best", "tied"]
        cells: dict[float, list[list[float]]] = {}
        for n, *cell in self.real.sort_values(["n_train", "layer"])[names].to_numpy(float).tolist():
            cells.setdefault(n, []).append(cell)
        found = {}
        for n, rows in cells.items():
            layer, low, high = next(row[:3] for row in rows if row[3])
            beaten = rivals.get(n, [])
            above = all(high < r if self.lower_is_better else low > r for r in beaten)
            found[int(n)] = Lead(int(layer), tuple(int(row[0]) for row in rows if row[4]), above)
        return found


def interval_words(means: TaskMeans) -> str:
    """Return what the intervals count, for a caption."""
    draws = int(means.real["n_draws"].max())
    if draws == 1:
        return "evaluation rows; one training draw" if means.rows_counted else "not known"
    spread = f"spread of {draws} training draws"
    return f"evaluation rows and {spread}" if means.rows_counted else f"only {spread}"


def describe(means: TaskMeans, subset: str = "all") -> str:
    """Return what stands behind the means, for a caption."""
    parts = [f"Encoder {people_name(means.encoder)}"]
    if means.n_encoders > 1:
        parts[0] += f" (one of {means.n_encoders} in the table)"
    parts.append(f"{means.n_eval:,} evaluation texts")
    if subset != "all":
        parts.append(f"subset {subset}")
    if means.n_failed:
        cells = "cell" if means.n_failed == 1 else "cells"
        parts.append(f"{means.n_failed:,} failed {cells} left out")
    return ", ".join(parts) + "."


def task_means(
    table: pd.DataFrame,
    task: str,
    *,
    metric: str | None = None,
    encoder: str | None = None,
    subset: str = "all",
) -> TaskMeans:
    """Return the means of one task over its draws.

    The interval of a mean joins the evaluation sample's own interval with the spread of draws,
    z sd / sqrt(draws), as if independent. A layer counts as level with the best at its size
    when its mean is inside the best layer's interval; for a sharper, paired answer see
    `charkit.heads.metrics.selection.best_layers`, which needs the rows.

    Args:
        table: A sweep's table (`charkit.heads.sweep.table.COLUMNS`).
        task: A task's name.
        metric: A column of the table. Default: the task's own metric, ``score``.
        encoder: Whose layers. Default: the encoder with the best mean at the largest size.
        subset: Which part of the task.

    Raises:
        UnknownNameError: The table has no such task, encoder or metric.
        UsageError: None of the cells is done.
    """
    if task not in set(table["task"]):
        raise UnknownNameError("task", task, set(table["task"]))
    if metric is not None and metric not in METRIC_NAMES:
        raise UnknownNameError("metric", metric, METRIC_NAMES)
    rows = table[(table["task"] == task) & (table["subset"] == subset)]
    done = rows[(rows["state"] == "done") & (rows["control"] == "none")]
    own = str(done["metric"].iloc[0]) if len(done) else "accuracy"
    column = "score" if metric is None else metric
    done = done[np.isfinite(done[column])]
    if done.empty:
        raise UsageError(
            f"task {task!r} has nothing to draw: expected finished cells of the subset "
            f"{subset!r} with {metric_name(metric or own)}, got none. Look at the column message."
        )
    shown = metric or own
    lower = shown in LOWER_IS_BETTER
    all_means = _means(done, column)
    chosen = _encoder(all_means, encoder, lower=lower)
    real = all_means[all_means["encoder"] == chosen].drop(columns="encoder")
    same = rows[rows["encoder"] == chosen]
    return TaskMeans(
        task=task,
        encoder=chosen,
        n_encoders=all_means["encoder"].nunique(),
        metric=shown,
        real=_with_ties(real, lower=lower).reset_index(drop=True),
        controls=_controls(same, column, lower=lower),
        n_failed=int((same["state"] == "failed").sum()),
        n_eval=int(done["n_eval"].max()),
        rows_counted=bool(f"{column}_low" in done and done[f"{column}_low"].notna().all()),
    )


def _means(done: pd.DataFrame, column: str) -> pd.DataFrame:
    low = f"{column}_low" if f"{column}_low" in done else column
    high = f"{column}_high" if f"{column}_high" in done else column
    groups = done.groupby(["encoder", "n_train", "layer"], sort=True)
    out = groups.agg(
        mean=(column, "mean"),
        low=(low, "mean"),
        high=(high, "mean"),
        sd=(column, "std"),
        n_draws=("seed", "nunique"),
    ).reset_index()
    spread = normal_quantile(LEVEL) * out["sd"].fillna(0.0) / np.sqrt(out["n_draws"])
    out["low"] = out["mean"] - np.hypot((out["mean"] - out["low"]).fillna(0.0), spread)
    out["high"] = out["mean"] + np.hypot((out["high"] - out["mean"]).fillna(0.0), spread)
    return out.drop(columns="sd")


def _encoder(means: pd.DataFrame, encoder: str | None, *, lower: bool) -> str:
    known = sorted(means["encoder"].unique())
    if encoder is None:
        last = means[means["n_train"] == means["n_train"].max()]
        best = last["mean"].idxmin() if lower else last["mean"].idxmax()
        return str(last.loc[best, "encoder"])
    if encoder not in known:
        raise UnknownNameError("encoder", encoder, known)
    return encoder


def _with_ties(real: pd.DataFrame, *, lower: bool) -> pd.DataFrame:
    groups = real.groupby("n_train")["mean"]
    top = groups.transform("idxmin" if lower else "idxmax").astype(int)
    edge = real.loc[top, "high" if lower else "low"].to_numpy()
    mean = real["mean"].to_numpy()
    tied = mean <= edge if lower else mean >= edge
    best = real.index.to_numpy() == top.to_numpy()
    return real.assign(best=best, tied=tied | best)


def _controls(rows: pd.DataFrame, column: str, *, lower: bool) -> pd.DataFrame:
    controls = rows[(rows["state"] == "done") & (rows["control"] != "none")]
    controls = controls[np.isfinite(controls[column])]
    means = controls.groupby(["control", "n_train", "layer"], sort=True)[column].mean()
    best = means.groupby(["control", "n_train"])
    out = (best.min() if lower else best.max()).rename("mean").reset_index()
    return pd.DataFrame(out)


def finding(means: TaskMeans) -> str:
    """Return what the means show about layers, in a few words without the task's name."""
    last = means.sizes[-1]
    lead, n_layers = means.leads[last], len(means.layers)
    if not lead.above:
        return f"no layer clearly above the controls at n = {last:,}"
    if n_layers == 1:
        return f"layer {lead.best} up to n = {last:,}"
    if len(lead.tied) > n_layers / 2 and len(lead.tied) > 1:
        return f"no layer stands out at n = {last:,}"
    if len(lead.tied) > 1:
        return f"layers {layer_range(lead.tied)} lead at n = {last:,}"
    since = last
    for size in reversed(means.sizes):
        if means.leads[size].best != lead.best:
            break
        since = size
    where = "from" if since < last else "at"
    return f"layer {lead.best} leads {where} n = {since:,}"


def layer_range(layers: Iterable[int]) -> str:
    """Return layers as ranges.

    >>> layer_range([0, 2, 3, 4, 6])
    '0, 2–4, 6'
    """
    return layer_list(sorted(layers)).replace("-", "–")


def short_score(value: float) -> str:
    """Return a score in four letters at most: .90, 1.0, -.05, 12."""
    if abs(value) >= 9.95:
        return f"{value:.0f}"
    if abs(value) >= 0.995:
        return f"{value:.1f}"
    return f"{value:.2f}".replace("0.", ".", 1).replace("-.00", ".00")
