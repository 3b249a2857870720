"""What a sweep returns: the table, and what can be read from it in a few lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.errors import DataError
from charkit.heads.plan import Job
from charkit.heads.records import write_table
from charkit.store import Store
from charkit.tasks.card import TaskCard

if TYPE_CHECKING:
    from matplotlib.figure import Figure


CONTROL_NAMES = {
    "random_encoder": "random encoder",
    "shuffled_labels": "shuffled labels",
    "majority": "majority class",
}


@dataclass(frozen=True, eq=False)
class SweepResult:
    """The cells of a sweep.

    Attributes:
        table: One row a cell; the columns are those of `charkit.heads.records.COLUMNS`.
        cards: The tasks.
        jobs: The finished jobs behind the table.
        root: The store's folder.
        n_jobs_found: Jobs that were in the store already.
    """

    table: pd.DataFrame
    cards: tuple[TaskCard, ...]
    jobs: tuple[Job, ...] = field(repr=False)
    root: Path
    n_jobs_found: int

    def to_pandas(self) -> pd.DataFrame:
        """Return the table, one row a cell."""
        return self.table

    def summary(self) -> pd.DataFrame:
        """Return means over seeds: one row per task, subset, encoder, size and layer.

        ``low`` and ``high`` enclose the mean's 90 % interval: the evaluation sample's own
        interval, shifted to the mean over seeds.
        """
        return summarise(self.table)

    def findings(self) -> list[str]:
        """Return what was found, a line or two per task."""
        return [line for card in self.cards for line in _findings(self.table, card)]

    def plot(self, task: str | None = None) -> Figure:
        """Return learning curves, one line a layer.

        Args:
            task: Which task. Default: the first.

        Raises:
            MissingError: matplotlib is not installed.
        """
        from charkit.report.figures import learning_curves

        return learning_curves(self.table, task=task or self.cards[0].name)

    def save(self, folder: str | Path) -> Path:
        """Write the table as ``table.parquet`` and ``table.csv`` into a folder.

        Raises:
            MissingError: The folder cannot be written.
        """
        from charkit.durable import writing

        place = Path(folder)
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
            write_table(self.table, place / "table.parquet")
            self.table.to_csv(place / "table.csv", index=False)
        return place

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{escape(line)}</li>" for line in self.findings())
        return f"<ul>{lines}</ul>{self.summary().to_html(index=False)}"

    def rows(self, job: Job) -> dict[str, NDArray[Any]]:
        """Return what a job's heads made of each evaluation row.

        Returns:
            For classification ``correct`` (bytes 0 or 1) and ``log_loss`` (nats), for regression
            ``prediction``, each of shape (n_sizes, n_layers, n_eval); and ``labels``, (n_eval,).

        Raises:
            DataError: The store no longer has the job.
        """
        from safetensors.numpy import load_file

        folder = Store(self.root).find("heads", job.key)
        if folder is None:
            raise DataError(f"the result {job.key} is gone from the store. Run the sweep again.")
        return dict(load_file(folder / "rows.safetensors"))


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean score over seeds per cell of the grid.

    Args:
        table: A sweep's table.

    Returns:
        Columns task, subset, encoder, control, n_train, layer, metric, score, low, high, sd
        (standard deviation over seeds, 0 for one seed), n_seeds.
    """
    done = table[table["state"] == "done"]
    keys = ["task", "subset", "encoder", "control", "n_train", "layer", "metric"]
    groups = done.groupby(keys, sort=True)
    out = groups.agg(
        score=("score", "mean"),
        low=("score_low", "mean"),
        high=("score_high", "mean"),
        sd=("score", lambda s: float(np.std(s, ddof=1)) if len(s) > 1 else 0.0),
        n_seeds=("seed", "nunique"),
    )
    return out.reset_index()


def best_layers_by_size(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return the best layer at each size of a task's whole, by mean score over seeds.

    The best of several layers is a little lucky; `charkit.layers` says which layers tie.

    Returns:
        Columns encoder, n_train, layer, score, low, high, last_layer (the last layer's score),
        and one for each control in the table (its best score); one row an encoder and size.
    """
    means = summarise(table)
    means = means[(means["task"] == task) & (means["subset"] == "all")]
    cell = ["encoder", "n_train"]
    real = means[means["control"] == "none"]
    best = real.loc[real.groupby(cell)["score"].idxmax()]
    last = real.loc[real.groupby(cell)["layer"].idxmax()].set_index(cell)["score"]
    out = best[[*cell, "layer", "score", "low", "high"]].set_index(cell)
    out["last_layer"] = last
    for control in CONTROL_NAMES:
        rows = means[means["control"] == control]
        if len(rows):
            out[control] = rows.groupby(cell)["score"].max()
    return out.reset_index()


def _findings(table: pd.DataFrame, card: TaskCard) -> list[str]:
    best = best_layers_by_size(table, card.name)
    if best.empty:
        return [f"{card.name}: no cell of the whole task was computed"]
    return [_finding(rows.iloc[-1], card) for _, rows in best.groupby("encoder")]


def _finding(top: pd.Series, card: TaskCard) -> str:
    """Return a sentence on the largest size of one encoder."""
    line = (
        f"{card.name}: {_words(card.metric)} {top['score']:.3f} "
        f"[{top['low']:.3f}, {top['high']:.3f}] at {int(top['n_train']):,} labels with layer "
        f"{int(top['layer'])} of {top['encoder']}"
    )
    if top["last_layer"] < top["score"]:
        line += f"; the last layer has {top['last_layer']:.3f}"
    controls = [f"{n} {top[c]:.3f}" for c, n in CONTROL_NAMES.items() if c in top.index]
    if controls:
        line += f". Controls: {', '.join(controls)}"
    if card.ceiling is not None:
        line += f". Known ceiling: {card.ceiling:.3f}"
    return line


def _words(metric: str) -> str:
    return {"f1": "F1", "matthews": "Matthews", "pearson_spearman": "correlation"}.get(
        metric, metric
    )
