"""Which layer? Heads on every layer, compared on the same rows, with ties and controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.config import Control, Pooling, Progress, no_progress
from charkit.encoders.device import DeviceChoice, DtypeChoice
from charkit.encoders.encoder import Encoder
from charkit.errors import UsageError
from charkit.heads.choice import (
    Gains,
    LayerChoice,
    SignalVerdict,
    best_layers,
    classification_gains,
    has_signal,
    regression_gains,
)
from charkit.heads.influence import row_values
from charkit.heads.result import SweepResult
from charkit.heads.sweep import ALL_CONTROLS, Source, SweepSettings, plan_sweep, run_sweep
from charkit.store import Store
from charkit.tasks.card import LazyTask, SourceOptions, TaskCard

Rows = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class LayersAnswer:
    """Which layer serves a task best.

    Attributes:
        card: The task.
        encoder: Name of the encoder.
        n: Labelled training texts.
        choice: The layers compared.
        verdict: Whether there is any signal above the controls.
        metric: What the scores are: ``"accuracy"``, or ``"correlation"`` for regression.
        frac_truncated: Share of training texts cut at the maximum length.
    """

    card: TaskCard
    encoder: str
    n: int
    choice: LayerChoice
    verdict: SignalVerdict
    metric: str
    frac_truncated: float

    @property
    def best(self) -> int:
        """The layer with the best mean score."""
        return self.choice.best

    @property
    def signal(self) -> bool:
        """Whether the best layer is above the controls by more than chance."""
        return self.verdict.signal

    @property
    def reason(self) -> str:
        """Why `signal` is what it is."""
        return self.verdict.reason

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a layer: score, 90 % interval, and whether it ties with the best."""
        choice = self.choice
        return [
            {
                "layer": layer,
                self.metric: float(choice.score[i]),
                "low": float(choice.low[i]),
                "high": float(choice.high[i]),
                "tied_with_best": bool(choice.tied_with_best[i]),
            }
            for i, layer in enumerate(choice.layers)
        ]

    def lines(self) -> list[str]:
        """Return the answer in words."""
        tied = [
            layer
            for layer, tie in zip(self.choice.layers, self.choice.tied_with_best, strict=True)
            if tie and layer != self.best
        ]
        head = f"{self.card.name}, {self.n:,} labels, {self.encoder}: "
        if not self.signal:
            return [head + "no layer is above the controls", self.reason]
        ties = f"; layers {', '.join(map(str, tied))} tie with it" if tied else ""
        lines = [f"{head}layer {self.best} is best{ties}", self.reason]
        if self.frac_truncated > 0.01:
            lines.append(f"{self.frac_truncated:.1%} of the texts were cut; see --max-length")
        return lines

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a layer."""
        return pd.DataFrame(self.rows())

    def _repr_html_(self) -> str:
        lines = "<br>".join(escape(line) for line in self.lines())
        return f"<p>{lines}</p>{self.to_pandas().to_html(index=False)}"


def layers(
    task: Source,
    *,
    n: int | None = None,
    encoder: str | Encoder = "minilm",
    layers: Sequence[int] | None = None,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    pooling: Pooling = "mean",
    max_length: int | None = None,
    device: DeviceChoice = "auto",
    dtype: DtypeChoice = "auto",
    reading: SourceOptions | None = None,
    store: Store | None = None,
    n_workers: int | None = None,
    progress: Progress = no_progress,
) -> LayersAnswer:
    """Compare an encoder's layers on a task, and say whether any is above the controls.

    Args:
        task: A source that `charkit.load_task` takes, or a task.
        n: Labelled training texts. Default: all.
        encoder: Name or loaded encoder.
        layers: Layers to compare, 0 = embeddings. Default: all.
        seeds: Draws of the training texts.
        pooling: How token states become one vector.
        max_length: Longest text in tokens. Default: the encoder's own choice.
        device: Where the encoder runs.
        dtype: Arithmetic of the encoder.
        reading: How the source is read.
        store: Where results lie.
        n_workers: Processes for the heads.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        UsageError: An argument is not legal, or ``n`` exceeds the training sample.
        DataError: The source cannot be used.
        MissingError: An encoder, a file or disk space is missing.
    """
    store = store or Store()
    lazy = LazyTask(task, store, reading or SourceOptions())
    card = lazy.card
    smallest = max(2, card.n_classes)
    if n is not None and not smallest <= n <= card.n_train:
        raise UsageError(
            f"n out of range: expected {smallest} to {card.n_train}, the labelled training "
            f"texts of {card.name}, got {n}."
        )
    plan = plan_sweep(
        [lazy],
        encoder=encoder,
        settings=SweepSettings(
            layers=None if layers is None else tuple(layers),
            sizes=(n or card.n_train,),
            seeds=tuple(seeds),
            controls=ALL_CONTROLS,
            pooling=pooling,
            max_length=max_length,
            device=device,
            dtype=dtype,
        ),
        store=store,
    )
    return answer_from(run_sweep(plan, n_workers=n_workers, progress=progress))


def answers_from(result: SweepResult) -> list[LayersAnswer]:
    """Return the answers for the largest size of a sweep, one a task and encoder.

    Args:
        result: A sweep with all controls and the subset ``"all"``; other subsets are left out.
    """
    answers = []
    for card in result.cards:
        mine = [j for j in result.jobs if j.card.name == card.name and j.subset == "all"]
        for encoder in dict.fromkeys(j.probe.encoder for j in mine):
            jobs = tuple(j for j in mine if j.probe.encoder == encoder)
            table = result.table[result.table["key"].isin([j.key for j in jobs])]
            answers.append(answer_from(replace(result, table=table, cards=(card,), jobs=jobs)))
    return answers


def answer_from(result: SweepResult) -> LayersAnswer:
    """Return the answer for the largest size of a sweep over one task and one encoder.

    Args:
        result: A sweep with all controls.
    """
    card = result.cards[0]
    table = result.table
    real = table[table["control"] == "none"]
    n = int(real["n_train"].max())
    names = tuple(int(layer) for layer in sorted(real["layer"].unique()))
    rows = {control: _rows(result, control) for control in ALL_CONTROLS}
    if card.kind == "classification":
        values, metric, bounds = rows["none"]["correct"], "accuracy", (0.0, 1.0)
    else:
        predictions, targets = rows["none"]["prediction"], rows["none"]["labels"]
        values = row_values(
            predictions.reshape(-1, targets.size), targets, "pearson_spearman"
        ).reshape(predictions.shape)
        metric, bounds = "correlation", (-1.0, 1.0)
    choice = best_layers(values, layers=names, bounds=bounds)
    gains = {control: _gains(rows[control], rows["majority"]) for control in ALL_CONTROLS[:3]}
    verdict = has_signal(
        gains["none"],
        shuffled=gains["shuffled_labels"],
        random_encoder=gains["random_encoder"],
        layers=names,
    )
    return LayersAnswer(
        card=card,
        encoder=str(real["encoder"].iloc[0]),
        n=n,
        choice=choice,
        verdict=verdict,
        metric=metric,
        frac_truncated=float(real["frac_truncated"].max()),
    )


def _rows(result: SweepResult, control: Control) -> Rows:
    """Return a control's rows at the largest size: (n_seeds, n_layers, n_eval) each."""
    jobs = sorted((j for j in result.jobs if j.control == control), key=lambda job: job.seed)
    loaded = [result.rows(job) for job in jobs]
    stacked = {
        name: np.stack([rows[name][-1] for rows in loaded])
        for name in loaded[0]
        if name != "labels"
    }
    return stacked | {"labels": loaded[0]["labels"]}


def _gains(rows: Rows, majority: Rows) -> Gains:
    if "prediction" in rows:
        return regression_gains(
            rows["prediction"],
            rows["labels"],
            majority_predictions=majority["prediction"][:, 0],
        )
    return classification_gains(
        rows["correct"],
        rows["log_loss"],
        rows["labels"],
        majority_log_loss=majority["log_loss"][:, 0],
    )
