"""A sweep's layers compared at its largest size: which ones tie, and do they beat the controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from charkit.errors import UsageError
from charkit.heads.metrics.influence import row_values
from charkit.heads.metrics.intervals import LEVEL, FloatArray, crossed_means, normal_quantile
from charkit.heads.metrics.selection import (
    Gains,
    LayerChoice,
    SignalTest,
    best_layers,
    classification_gains,
    has_signal,
    regression_gains,
)
from charkit.heads.sweep.table import metrics_beside

if TYPE_CHECKING:
    from charkit.heads.sweep.plan import Job
    from charkit.heads.sweep.result import SweepResult

Rows = Mapping[str, NDArray[Any]]

_FROM_ZERO = frozenset({"accuracy", "f1", "macro_f1", "balanced_accuracy"})


@dataclass(frozen=True, eq=False)
class LayerComparison:
    """The layers of one encoder on one task, at the largest size.

    Attributes:
        n: Labelled training texts.
        metric: What the scores are: the metric asked for, else the task's own;
            ``"correlation"`` for regression.
        choice: The layers compared.
        verdict: Whether there is any signal above the controls; None without a majority control.
        training_helps: Whether the encoder scores above a random one of the same shape by more
            than chance; None without that control.
        values: One number a draw, layer and row whose mean is the score, (S, L, m).
        bounds: The smallest and the largest score possible.
        beside: Other metrics, where one class has most evaluation texts: name -> (L,).
        log_loss: Of every draw, layer and row, nats, (S, L, m); None for regression.
    """

    n: int
    metric: str
    choice: LayerChoice
    verdict: SignalTest | None
    training_helps: bool | None
    values: NDArray[np.float64]
    bounds: tuple[float, float]
    beside: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    log_loss: NDArray[np.float64] | None = None


def compare_layers(result: SweepResult, task: str, encoder: str) -> LayerComparison | None:
    """Compare the layers of an encoder on the whole of a task, on the same rows and draws.

    Returns:
        The comparison; None when no draw was finished under every control of the sweep.

    Raises:
        DataError: The store no longer has the results.
    """
    jobs = [
        job
        for job in result.jobs
        if (job.card.name, job.probe.encoder, job.subset) == (task, encoder, "all")
    ]
    rows = _rows_by_control(result, jobs)
    if "none" not in rows:
        return None
    card = next(card for card in result.cards if card.name == task)
    layers = next(j.layers for j in jobs if j.control == "none")
    metric = card.metric if card.n_classes else "correlation"
    mine = result.table[result.table["key"].isin([job.key for job in jobs])]
    n_codes = int(mine["n_classes"].iloc[0] + mine["n_unseen"].iloc[0])
    values = _values(rows["none"], metric, n_codes)
    bounds = (0.0, 1.0) if metric in _FROM_ZERO else (-1.0, 1.0)
    choice = best_layers(values, layers=layers, bounds=bounds)
    helps = None
    if "random_encoder" in rows:
        helps = _above(values, _values(rows["random_encoder"], metric, n_codes))
    verdict = None
    if "majority" in rows:
        gains = {c: _gains(rows[c], rows["majority"]) for c in rows if c != "majority"}
        verdict = has_signal(
            gains["none"],
            shuffled=gains.get("shuffled_labels"),
            random_encoder=gains.get("random_encoder"),
            labels=rows["none"]["labels"] if card.n_classes else None,
            layers=layers,
        )
    n = int(mine["n_train"].max())
    largest = mine[(mine["control"] == "none") & (mine["n_train"] == n)]
    by_layer = largest.groupby("layer")
    beside = {
        name: by_layer[name].mean().reindex(layers).to_numpy(float)
        for name in metrics_beside(largest, metric)
    }
    loss = rows["none"].get("log_loss")
    log_loss = None if loss is None else np.asarray(loss, np.float64)
    return LayerComparison(n, metric, choice, verdict, helps, values, bounds, beside, log_loss)


def _rows_by_control(result: SweepResult, jobs: list[Job]) -> dict[str, Rows]:
    """Return each control's rows at the largest size, (n_seeds, n_layers, n_eval) each.

    Only draws that every control finished are kept, so that all are of the same ones.
    """
    controls = sorted({job.control for job in jobs})
    finished = [{j.seed for j in jobs if j.control == control} for control in controls]
    seeds = sorted(set.intersection(*finished)) if finished else []
    found: dict[str, Rows] = {}
    for control in controls if seeds else ():
        by_seed = {j.seed: j for j in jobs if j.control == control}
        loaded = [result.rows(by_seed[seed]) for seed in seeds]
        names = [name for name in loaded[0] if name != "labels"]
        stacked = {name: np.stack([rows[name][-1] for rows in loaded]) for name in names}
        found[control] = stacked | {"labels": loaded[0]["labels"]}
    return found


def _values(rows: Rows, metric: str, n_codes: int) -> NDArray[np.float64]:
    """Return one number a row whose mean is the metric: (n_seeds, n_layers, n_eval)."""
    labels = rows["labels"]
    if metric == "accuracy":
        return np.asarray(rows["correct"], dtype=np.float64)
    if metric == "correlation":
        made, name = rows["prediction"], "pearson_spearman"
    else:
        made, name = rows["predicted"], metric
    flat = row_values(made.reshape(-1, labels.size), labels, name, n_classes=n_codes)
    return flat.reshape(made.shape)


def _above(real: NDArray[np.float64], control: NDArray[np.float64]) -> bool:
    """Return whether the best layer's mean is above the control's best by more than chance."""
    best, other = (values.mean(axis=(0, 2)).argmax() for values in (real, control))
    difference = crossed_means(real[:, [best]] - control[:, [other]])
    return bool(difference.normal_scores()[0] > normal_quantile(LEVEL))


def _gains(rows: Rows, majority: Rows) -> Gains:
    if "prediction" in rows:
        plain = majority["prediction"][:, 0]
        return regression_gains(rows["prediction"], rows["labels"], majority_predictions=plain)
    return classification_gains(
        rows["correct"],
        rows["log_loss"],
        rows["labels"],
        majority_log_loss=majority["log_loss"][:, 0],
    )


@dataclass(frozen=True, eq=False)
class EncoderChoice:
    """Encoders compared, each at its best layer.

    Attributes:
        layer: Each encoder's layer of the largest score, the lowest of equals, (E,).
        score: Mean over training draws and rows at that layer, (E,).
        low: Lower ends of the intervals, (E,): expected score over other draws and other rows.
        high: Upper ends, (E,).
        tied_with_best: (E,); with confidence ``level`` an encoder that has the truly best layer
            of all is among these.
        level: Coverage of the intervals and of the set of ties.
    """

    layer: tuple[int, ...]
    score: FloatArray
    low: FloatArray
    high: FloatArray
    tied_with_best: NDArray[np.bool_]
    level: float


def best_encoders(
    values: Sequence[NDArray[np.generic]],
    *,
    layers: Sequence[Sequence[int]],
    bounds: tuple[float, float] = (0.0, 1.0),
    level: float = LEVEL,
    seed: int = 0,
) -> EncoderChoice:
    """Compare encoders with a confidence set for the best.

    An encoder of many layers has many chances to look best. So all layers of all encoders are
    compared together (`charkit.heads.metrics.selection.best_layers`), in pairs on the same rows and
    draws, and an encoder ties with the best as long as one of its layers does.

    Args:
        values: Per encoder (S, L_e, m): for S training draws, its L_e layers and m rows whether
            the row was right, or any numbers whose mean is the score.
        layers: Per encoder the numbers of its L_e layers.
        bounds: The smallest and the largest score possible.
        level: Coverage of the intervals and of the set of ties.
        seed: Of the simulated maxima.

    Raises:
        UsageError: There is no encoder, or the shapes do not fit.
    """
    shapes = {(v.shape[0], v.shape[-1]) for v in values}
    if len(values) != len(layers) or len(shapes) != 1:
        raise UsageError(
            "encoders do not fit: expected rows of the same draws and evaluation texts, and "
            f"layers, for each of at least one, got {len(layers)} lists of layers and shapes "
            f"{[v.shape for v in values]}."
        )
    joined = best_layers(
        np.concatenate(list(values), axis=1), bounds=bounds, level=level, seed=seed
    )
    owner = np.repeat(np.arange(len(values)), [v.shape[1] for v in values])
    top, numbers = [], []
    for index, own in enumerate(layers):
        columns = np.flatnonzero(owner == index)
        if len(columns) != len(own):
            raise UsageError(f"layers: expected {len(columns)} numbers, got {len(own)}.")
        best = int(joined.score[columns].argmax())
        top.append(int(columns[best]))
        numbers.append(int(own[best]))
    tied = [bool(joined.tied_with_best[owner == index].any()) for index in range(len(values))]
    return EncoderChoice(
        tuple(numbers), joined.score[top], joined.low[top], joined.high[top], np.array(tied), level
    )
