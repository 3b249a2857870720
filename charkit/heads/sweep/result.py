"""What a sweep returns: every cell with its metrics; and what it found, as sentences."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.config import layer_list, people_name
from charkit.errors import VanishedError
from charkit.escape import csv_of
from charkit.heads.metrics.selection import LayerChoice
from charkit.heads.sweep.compare import LayerComparison, compare_layers
from charkit.heads.sweep.plan import Job
from charkit.heads.sweep.table import (
    CONTROL_NAMES,
    SHOWN_BESIDE,
    metric_name,
    metrics_beside,
    write_table,
)
from charkit.store.durable import write_whole
from charkit.store.store import Store
from charkit.tasks.card import TaskCard

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class SweepResult:
    """The cells of a sweep.

    Attributes:
        table: One row a cell; the columns are those of `charkit.heads.sweep.table.COLUMNS`.
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

    def best_layers(self, task: str | None = None) -> pd.DataFrame:
        """Return the best layer at each size, of one task or of all; see `best_layers_by_size`.

        Returns:
            The columns of `best_layers_by_size` after ``task`` and ``subset``.
        """
        tables = [
            best_layers_by_size(self.table, name, subset=subset).assign(task=name, subset=subset)
            for name in ([task] if task else [card.name for card in self.cards])
            for subset in self.table.loc[self.table["task"] == name, "subset"].unique()
        ]
        tables = [t for t in tables if len(t)]
        if not tables:
            return pd.DataFrame()
        whole = pd.concat(tables, ignore_index=True)
        names = ["task", "subset"]
        return whole[[*names, *(c for c in whole.columns if c not in names)]]

    def findings(self) -> list[str]:
        """Return what was found: a line a task, encoder and subset, and indented ones on it.

        They name the layers that tie with the best, say whether there is any signal above the
        controls, and count what was cut or left out.
        """
        return findings_of(self)

    def plot(self, task: str | None = None) -> Figure:
        """Return learning curves, one line a layer.

        Args:
            task: Which task. Default: the first.

        Raises:
            MissingError: matplotlib is not installed.
        """
        from charkit.report.figures import learning_curves

        return _shown(learning_curves(self.table, task=task or self.cards[0].name))

    def save(self, folder: str | Path) -> Path:
        """Write the table as ``table.parquet`` and ``table.csv`` into a folder.

        Raises:
            MissingError: The folder cannot be written.
        """
        place = Path(folder)
        write_table(self.table, place / "table.parquet")
        write_whole(place / "table.csv", csv_of(self.table).encode())
        return place

    def __repr__(self) -> str:
        tasks = ", ".join(card.name for card in self.cards)
        return f"SweepResult({len(self.table):,} cells of {tasks}; see findings(), to_pandas())"

    def _repr_html_(self) -> str:
        lines = "<br>".join(escape(line) for line in self.findings())
        best = self.best_layers()
        shown = best.to_html(index=False, float_format="{:.3f}".format)
        return f"<p>{lines}</p>{shown}"

    def rows(self, job: Job) -> dict[str, NDArray[Any]]:
        """Return what a job's heads made of each evaluation row.

        Returns:
            For classification ``correct`` (bytes 0 or 1), ``predicted`` (class codes) and
            ``log_loss`` (nats), for regression ``prediction``, each of shape
            (n_sizes, n_layers, n_eval); and ``labels``, (n_eval,).

        Raises:
            VanishedError: The store no longer has the job, or it is damaged.
        """
        from safetensors.numpy import load_file

        folder = Store(self.root).find("heads", job.key, deep=True)
        if folder is None:
            raise VanishedError(
                f"the result {job.key} is gone: expected it in {self.root}, got none. Run the "
                "same again."
            )
        return dict(load_file(folder / "rows.safetensors"))


def _shown(figure: Figure) -> Figure:
    """Let a notebook show a figure that pyplot does not know of."""

    def png() -> bytes:
        page = io.BytesIO()
        figure.savefig(page, format="png")
        return page.getvalue()

    figure._repr_png_ = png  # type: ignore[attr-defined]
    return figure


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean score over seeds per cell of the grid.

    Returns:
        Columns task, subset, encoder, control, n_train, layer, metric, score, low, high, sd
        (standard deviation over seeds, 0 for one seed), strength (median), n_seeds; accuracy,
        macro_f1 and balanced_accuracy, where the table has them.
    """
    done = table[table["state"] == "done"]
    keys = ["task", "subset", "encoder", "control", "n_train", "layer", "metric"]
    groups = done.groupby(keys, sort=True)
    beside = {name: (name, "mean") for name in SHOWN_BESIDE if name in done.columns}
    out = groups.agg(
        score=("score", "mean"),
        low=("score_low", "mean"),
        high=("score_high", "mean"),
        sd=("score", lambda s: float(np.std(s, ddof=1)) if len(s) > 1 else 0.0),
        strength=("strength", "median"),
        n_seeds=("seed", "nunique"),
        **beside,
    )
    return out.reset_index()


def best_layers_by_size(table: pd.DataFrame, task: str, *, subset: str = "all") -> pd.DataFrame:
    """Return the best layer at each size of a task, by mean score over seeds.

    The best of several layers is a little lucky; `SweepResult.findings` says which layers tie.

    Returns:
        Columns encoder, n_train, layer, score, low, high, strength (median over seeds),
        last_layer (the score of the last layer that was read), one for each control in the
        table (its best score), and where one class has most of the evaluation texts the other
        metrics of `charkit.heads.sweep.table.SHOWN_BESIDE`; one row an encoder and size. Empty when
        no head was trained.
    """
    mine = table[(table["task"] == task) & (table["subset"] == subset)]
    beside = list(metrics_beside(mine, str(mine["metric"].iloc[0]))) if len(mine) else []
    means = summarise(table)
    means = means[(means["task"] == task) & (means["subset"] == subset)]
    cell = ["encoder", "n_train"]
    real = means[means["control"] == "none"]
    best = real.loc[real.groupby(cell)["score"].idxmax()]
    last = real.loc[real.groupby(cell)["layer"].idxmax()].set_index(cell)["score"]
    out = best[[*cell, "layer", "score", "low", "high", "strength"]].set_index(cell)
    out["last_layer"] = last
    out[beside] = best.set_index(cell)[beside]
    for control in CONTROL_NAMES:
        rows = means[means["control"] == control]
        if len(rows) and len(real):
            out[control] = rows.groupby(cell)["score"].max().reindex(out.index)
    return out.reset_index()


CUT_SHARE = 0.01
"""A larger share of cut texts is worth a line."""


def findings_of(result: SweepResult) -> list[str]:
    """Return a first line and a few indented ones for every task, encoder and subset."""
    lines = []
    for card in result.cards:
        best = result.best_layers(card.name)
        if best.empty:
            lines.append(f"{card.name}: no head was trained; see the column 'message'")
        for names, rows in best.groupby(["subset", "encoder"], sort=False) if len(best) else ():
            subset, encoder = map(str, names)
            top = rows.iloc[-1]
            lines += [_score(top, card, subset), *_details(card, top)]
            if subset == "all":
                lines += _comparison(compare_layers(result, card.name, encoder), top)
            lines += _left_out(result, card, subset, encoder)
    return lines


def _score(top: pd.Series, card: TaskCard, subset: str) -> str:
    part = "" if subset == "all" else f" ({subset})"
    return (
        f"{card.name}{part}: {metric_name(card.metric)} {top['score']:.3f} (90 % interval "
        f"{top['low']:.3f} to {top['high']:.3f}) with {int(top['n_train']):,} labels, layer "
        f"{int(top['layer'])} of {people_name(str(top['encoder']))}, "
        f"L2 strength {top['strength']:.2g}"
    )


def _details(card: TaskCard, top: pd.Series) -> list[str]:
    beside = [f"{name} {top[c]:.3f}" for c, name in CONTROL_NAMES.items() if c in top.index]
    lines = [f"  controls: {', '.join(beside)}"] if beside else []
    known = [m for m in SHOWN_BESIDE if m in top.index and top[m] == top[m]]
    others = [f"{metric_name(m)} {top[m]:.3f}" for m in known]
    if others:
        lines.append(f"  one class has most of the evaluation texts: {', '.join(others)}")
    if card.ceiling is not None:
        lines.append(f"  known ceiling: {card.ceiling:.3f}")
    return lines


def _comparison(compared: LayerComparison | None, top: pd.Series) -> list[str]:
    if compared is None:
        return []
    lines = [f"  {ties(compared.choice)}"]
    if top["last_layer"] < top["score"]:
        lines[0] += f"; layer {compared.choice.layers[-1]} has {top['last_layer']:.3f}"
    if compared.verdict is not None and not compared.verdict.signal:
        lines.append(f"  {compared.verdict.reason}")
    elif compared.training_helps is False:
        lines.append("  " + NO_HELP)
    return lines


NO_HELP = (
    "a random encoder of the same shape does as well: nothing shows that the encoder's training "
    "helps here"
)


def ties(choice: LayerChoice) -> str:
    """Return a sentence about the layers that tie with the best."""
    tied = [
        layer
        for layer, tie in zip(choice.layers, choice.tied_with_best, strict=True)
        if tie and layer != choice.best
    ]
    if not tied:
        return f"layer {choice.best} is best" + (
            "; no other ties with it" if len(choice.layers) > 1 else ""
        )
    if len(tied) == len(choice.layers) - 1:
        return f"layer {choice.best} is highest, but all layers tie with it"
    verb = "layer {} ties" if len(tied) == 1 else "layers {} tie"
    return f"layer {choice.best} is best; {verb.format(layer_list(tied))} with it"


def _left_out(result: SweepResult, card: TaskCard, subset: str, encoder: str) -> list[str]:
    lines = []
    jobs = [
        job
        for job in result.jobs
        if (job.card.name, job.subset, job.probe.encoder) == (card.name, subset, encoder)
        and job.control == "none"
    ]
    rows = result.table[result.table["key"].isin([job.key for job in jobs])]
    cut = float(rows["frac_truncated"].max())
    if cut > CUT_SHARE:
        lines.append(f"  {cut_words(cut, jobs[0].probe.max_length)}")
    largest = rows[rows["n_train"] == rows["n_train"].max()]
    unseen = float(largest["frac_unseen"].mean())
    if unseen > 0:
        lines.append(
            f"  {unseen:.1%} of the evaluation texts are of classes without a training text: they "
            "count as errors"
        )
    without = sorted(set(jobs[0].sizes) - set(rows["n_train"]))
    if without:
        lines.append(f"  sizes left out, the sample does not allow them: {sizes_list(without)}")
    return lines


def cut_words(frac: float, max_length: int) -> str:
    """Return how many texts were cut, and where."""
    return f"{frac:.0%} of the texts were cut at {max_length} tokens (--max-length)"


def sizes_list(sizes: Sequence[int]) -> str:
    """Return sizes with thousands marked."""
    return ", ".join(f"{size:,}" for size in sizes)
