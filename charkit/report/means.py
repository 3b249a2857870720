"""What figures show of a sweep's table: means over draws, intervals, best layers, ties."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd

from charkit.config import people_name
from charkit.errors import UnknownNameError, UsageError

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "rmse"})

METRIC_WORDS = {
    "accuracy": "accuracy (share right)",
    "f1": "F1",
    "matthews": "Matthews correlation",
    "pearson_spearman": "correlation",
    "log_loss": "log loss (nats)",
    "brier": "Brier score",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "r2": "explained share of variance",
    "rmse": "root mean squared error (label's unit)",
}

CONTROL_WORDS = {
    "majority": "majority",
    "shuffled_labels": "shuffled labels",
    "random_encoder": "random encoder",
}

_Z = NormalDist().inv_cdf(0.95)


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
        return sorted(int(n) for n in self.real["n_train"].unique())

    @property
    def layers(self) -> list[int]:
        """Layers, ascending."""
        return sorted(int(n) for n in self.real["layer"].unique())

    @property
    def lower_is_better(self) -> bool:
        """Whether less is better in this metric."""
        return self.metric in LOWER_IS_BETTER

    def best(self, n_train: int) -> int:
        """Return the best layer at a size."""
        rows = self.real[(self.real["n_train"] == n_train) & self.real["best"]]
        return int(rows["layer"].iloc[0])

    def tied(self, n_train: int) -> list[int]:
        """Return the layers at a size that are level with the best, it included."""
        rows = self.real[(self.real["n_train"] == n_train) & self.real["tied"]]
        return sorted(int(n) for n in rows["layer"])

    def above_controls(self, n_train: int) -> bool:
        """Say whether the best layer's interval lies beyond the majority and shuffled labels."""
        here = self.controls[self.controls["n_train"] == n_train]
        rivals = here.loc[here["control"] != "random_encoder", "mean"]
        rows = self.real[(self.real["n_train"] == n_train) & self.real["best"]]
        if self.lower_is_better:
            return bool((rows["high"].iloc[0] < rivals).all())
        return bool((rows["low"].iloc[0] > rivals).all())


def interval_words(means: TaskMeans) -> str:
    """Return what the intervals count, for a caption."""
    draws = int(means.real["n_draws"].max())
    if draws == 1:
        return "evaluation rows; one training draw" if means.rows_counted else "not known"
    spread = f"spread of {draws} training draws"
    return f"evaluation rows and {spread}" if means.rows_counted else f"{spread} alone"


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
    when its mean lies inside the best layer's interval; for a sharper, paired answer see
    `charkit.heads.choice.best_layers`, which needs the rows.

    Args:
        table: A sweep's table (`charkit.heads.records.COLUMNS`).
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
    if metric is not None and metric not in METRIC_WORDS:
        raise UnknownNameError("metric", metric, METRIC_WORDS)
    rows = table[(table["task"] == task) & (table["subset"] == subset)]
    done = rows[(rows["state"] == "done") & (rows["control"] == "none")]
    own = str(done["metric"].iloc[0]) if len(done) else "accuracy"
    column = "score" if metric is None else metric
    done = done[np.isfinite(done[column])]
    if done.empty:
        raise UsageError(
            f"task {task!r} has nothing to draw: expected finished cells of the subset "
            f"{subset!r} with {METRIC_WORDS[metric or own]}, got none. Look at the column message."
        )
    shown = metric or own
    all_means = _means(done, column)
    chosen = _encoder(all_means, encoder, lower=shown in LOWER_IS_BETTER)
    real = all_means[all_means["encoder"] == chosen].drop(columns="encoder")
    same = rows[rows["encoder"] == chosen]
    return TaskMeans(
        task,
        chosen,
        all_means["encoder"].nunique(),
        shown,
        _with_ties(real, lower=shown in LOWER_IS_BETTER).reset_index(drop=True),
        _controls(same, column, lower=shown in LOWER_IS_BETTER),
        int((same["state"] == "failed").sum()),
        int(done["n_eval"].max()),
        bool(f"{column}_low" in done and done[f"{column}_low"].notna().all()),
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
    spread = _Z * out["sd"].fillna(0.0) / np.sqrt(out["n_draws"])
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
    """Return what the means say about layers, in a few words without the task's name."""
    sizes, layers = means.sizes, means.layers
    last = sizes[-1]
    best, tied = means.best(last), means.tied(last)
    if not means.above_controls(last):
        return f"no layer clearly above the controls at n = {last:,}"
    if len(layers) == 1:
        return f"layer {best} up to n = {last:,}"
    if len(tied) > len(layers) / 2 and len(tied) > 1:
        return f"no layer stands out at n = {last:,}"
    if len(tied) > 1:
        return f"layers {layer_range(tied)} lead at n = {last:,}"
    since = last
    for size in reversed(sizes):
        if means.best(size) != best:
            break
        since = size
    return (
        f"layer {best} leads from n = {since:,}"
        if since < last
        else (f"layer {best} leads at n = {last:,}")
    )


def layer_range(layers: list[int]) -> str:
    """Write layers as ranges.

    >>> layer_range([0, 2, 3, 4, 6])
    '0, 2–4, 6'
    """
    parts: list[list[int]] = []
    for layer in sorted(layers):
        if parts and layer == parts[-1][-1] + 1:
            parts[-1].append(layer)
        else:
            parts.append([layer])
    words = [
        str(p[0]) if len(p) == 1 else f"{p[0]}{', ' if len(p) == 2 else '–'}{p[-1]}" for p in parts
    ]
    return ", ".join(words)
