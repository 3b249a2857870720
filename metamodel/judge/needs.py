"""How well the probability of a target is predicted for every budget.

Targets are fixed before the outcome is known: the accuracy on the sample and 2, 5 or 10 points
more, and 70, 80 and 90 %. An event is "reached with at most N labels", N each doubling of the
pilot's labels up to 32 times. The mean Brier score over the doublings is the CRPS of log2 of the
need, censored where the data end.

Reference:
    Gneiting and Raftery 2007, "Strictly proper scoring rules, prediction, and estimation".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamodel.judge.leave_out import Bands, LeftOut
from metamodel.judge.scorecard import paired, share_by_task
from metamodel.needs import LEAST_PROBABILITY, need_distribution
from metamodel.rows import corpus_folds

FloatArray = NDArray[np.float64]

DOUBLINGS = (1, 2, 4, 8, 16, 32)
# Targets: so much above the accuracy on the sample, or these accuracies.
MORE = (0.02, 0.05, 0.10)
FIXED = (0.7, 0.8, 0.9)
CURVES = ("law", "pow2")
"""Baselines that get the metamodel's own spread around their curve."""

# The baseline that looks at nothing: four times the labels, the middle of 1 to 16 in doublings.
CONSTANT = 4.0
_BINS = 5
# The baseline learns from nine corpora in ten.
_FOLDS = 10
# A bound: Newton's method doubles the right digits a step, and stops below 1e-8.
_NEWTON_STEPS = 25


@dataclass(frozen=True, eq=False)
class _Case:
    """Pilots and what is predicted of them, one row each; sizes are multiples of their labels."""

    grid: FloatArray
    truth: FloatArray
    tasks: NDArray[Any]
    corpora: NDArray[Any]
    last: FloatArray
    known: FloatArray
    curves: dict[str, FloatArray]
    spread: FloatArray
    quantiles: FloatArray

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Places of the doublings in the grid."""
        return np.array([int(np.flatnonzero(self.grid == m)[0]) for m in DOUBLINGS])

    def chances(self, name: str, target: FloatArray) -> FloatArray:
        """Return the probability of a target at every size, spread around a curve, (n, n_grid)."""
        curve = self.curves[name]
        return need_distribution(self.grid, curve, self.spread, self.quantiles, target).reached


def _case(frame: pd.DataFrame, main: LeftOut, bands: Bands, rows: NDArray[np.bool_]) -> _Case:
    grid = np.sort(frame["multiple"].unique())
    shape = -1, len(grid)
    kept = rows.reshape(shape)[:, 0]

    def table(values: Any) -> FloatArray:
        return np.asarray(values, np.float64).reshape(shape)[kept]

    def first(name: str) -> NDArray[Any]:
        return np.asarray(frame[name].to_numpy(object).reshape(shape)[kept, 0])

    curves = {name: table(frame[name].to_numpy()) for name in CURVES} | {
        "metamodel": table(main.mean)
    }
    return _Case(
        grid=grid,
        truth=table(frame["truth"].to_numpy()),
        tasks=first("task"),
        corpora=first("corpus"),
        last=first("last").astype(np.float64),
        known=np.stack(
            [np.log2(first(name).astype(np.float64)) for name in ("n0", "n_classes")], 1
        ),
        curves={name: np.maximum.accumulate(curve, 1) for name, curve in curves.items()},
        spread=table(bands.spread),
        quantiles=bands.quantiles[bands.corpus.reshape(shape)[kept, 0]],
    )


def need_events(
    frame: pd.DataFrame, main: LeftOut, bands: Bands, rows: NDArray[np.bool_]
) -> pd.DataFrame:
    """Return one row a pilot's layer, target and doubling: what happened, what was predicted.

    Args:
        frame: From `metamodel.judge.leave_out.ask`; all multiples of a row of evidence, in order.
        main: The metamodel's predictions.
        bands: Its intervals.
        rows: Which rows count, all multiples of a pilot's layer alike.

    Returns:
        Columns task, corpus, case, kind (``"relative"`` or ``"fixed"``), multiple, reached (0 or
        1), and the probability by each method: metamodel, law and pow2 (each with the metamodel's
        spread), climatology (logistic regression, corpora left out), metamodel_curve (the expected
        curve read backwards), always_4_times. Doublings without an outcome are left out.
    """
    case = _case(frame, main, bands, rows)
    n = len(case.tasks)
    asked = [("relative", case.last + more) for more in MORE]
    asked += [("fixed", np.full(n, target)) for target in FIXED]
    truth = np.maximum.accumulate(np.where(np.isfinite(case.truth), case.truth, -np.inf), 1)
    known = np.isfinite(case.truth)[:, case.places]
    collected = []
    for place, (kind, target) in enumerate(asked):
        some = target < 1
        reached = truth[:, case.places] >= target[:, None]
        columns: dict[str, FloatArray] = {
            name: case.chances(name, target)[:, case.places] for name in ("metamodel", *CURVES)
        }
        columns["metamodel_curve"] = (
            case.curves["metamodel"][:, case.places] >= target[:, None]
        ).astype(np.float64)
        columns["always_4_times"] = np.tile(np.array(DOUBLINGS) >= CONSTANT, (n, 1)).astype(float)
        used = known & some[:, None]
        row, column = np.nonzero(used)
        part = pd.DataFrame({name: values[used] for name, values in columns.items()})
        part = part.assign(
            task=case.tasks[row],
            corpus=case.corpora[row],
            case=row + place * n,
            kind=kind,
            multiple=np.array(DOUBLINGS)[column],
            reached=reached[used].astype(np.float64),
            gap=(target - case.last)[row],
            last=case.last[row],
            log_n0=case.known[row, 0],
            log_classes=case.known[row, 1],
        )
        collected.append(part)
    table = pd.concat(collected, ignore_index=True)
    return table.assign(climatology=climatology(table))


def climatology(table: pd.DataFrame) -> FloatArray:
    """Return the probability by logistic regression on what is known without any curve, (n,).

    Args:
        table: Columns corpus, reached, gap (target less accuracy on the sample), last, multiple,
            log_n0, log_classes. Corpora are left out in parts.
    """
    log_multiple = np.log2(table["multiple"].to_numpy(np.float64))
    gap, last = table["gap"].to_numpy(np.float64), table["last"].to_numpy(np.float64)
    columns = [np.ones(len(table)), gap, log_multiple, gap * log_multiple, np.abs(gap), last]
    columns += [last * log_multiple, *(table[n].to_numpy(np.float64) for n in _COUNTS)]
    columns += [log_multiple * table[n].to_numpy(np.float64) for n in _COUNTS]
    design, y = np.stack(columns, 1), table["reached"].to_numpy(np.float64)
    scale = np.r_[1.0, np.maximum(design[:, 1:].std(0), 1e-9)]
    centre = np.r_[0.0, design[:, 1:].mean(0)]
    design = (design - centre) / scale
    corpora = table["corpus"].to_numpy(object)
    folds = corpus_folds(corpora, _FOLDS)
    found = np.empty(len(y))
    for fold in np.unique(folds):
        out = folds == fold
        found[out] = _sigmoid(design[out] @ _logistic(design[~out], y[~out]))
    return found


_COUNTS = ("log_n0", "log_classes")


def _logistic(design: FloatArray, y: FloatArray) -> FloatArray:
    """Return the weights of a logistic regression with a slight penalty, by Newton's method."""
    weights = np.zeros(design.shape[1])
    ridge = np.eye(len(weights))
    for _ in range(_NEWTON_STEPS):
        p = _sigmoid(design @ weights)
        slope = design.T @ (y - p) - weights
        step = np.linalg.solve((design * (p * (1 - p))[:, None]).T @ design + ridge, slope)
        weights = weights + step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _sigmoid(x: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))))


NEED_METHODS = ("metamodel", "climatology", *CURVES, "metamodel_curve", "always_4_times")


def needs_of(events: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one row a method: Brier scores, errors of calibration, wrong answers.

    Args:
        events: From `need_events`.

    Returns:
        Columns method, ``brier`` (mean within a task, then over tasks), ``brier_relative``,
        ``brier_fixed``, ``worse``, ``worse_low``, ``worse_high`` (Brier score less the
        metamodel's, with a paired 90 % bootstrap interval over corpora), ``calibration`` (mean
        absolute difference of probability and share in five bins), ``reachable_though_not`` (share
        called reachable among targets not reached by the last known size),
        ``unreachable_though_reached``, ``targets``.
    """
    ends = events[events["multiple"] == events.groupby("case")["multiple"].transform("max")]
    reached = ends["reached"].to_numpy() > 0
    rows = []
    for name in NEED_METHODS:
        score = (events[name] - events["reached"]) ** 2
        ours = (events["metamodel"] - events["reached"]) ** 2
        row: dict[str, Any] = {"method": name, "brier": _by_task(score, events)}
        for kind in ("relative", "fixed"):
            own = events["kind"] == kind
            row[f"brier_{kind}"] = _by_task(score[own], events[own])
        found = paired(score - ours, events["task"], events["corpus"])
        row |= {"worse": found[0], "worse_low": found[1], "worse_high": found[2]}
        bins = reliability(events[name], events["reached"])
        row["calibration"] = sum(b["share"] * abs(b["predicted"] - b["happened"]) for b in bins)
        called = ends[name].to_numpy() >= LEAST_PROBABILITY
        tasks = ends["task"].to_numpy(object)
        row["reachable_though_not"] = share_by_task(called[~reached], tasks[~reached])
        row["unreachable_though_reached"] = share_by_task(~called[reached], tasks[reached])
        rows.append(row | {"targets": int(events["case"].nunique())})
    return rows


def reliability(predicted: pd.Series, happened: pd.Series) -> list[dict[str, float]]:
    """Return one row a fifth of the probabilities: predicted, happened, share of the cases."""
    bins = np.minimum((predicted * _BINS).astype(int), _BINS - 1)
    rows = []
    for k in range(_BINS):
        own = bins == k
        if own.any():
            rows.append(
                {
                    "low": k / _BINS,
                    "high": (k + 1) / _BINS,
                    "predicted": float(predicted[own].mean()),
                    "happened": float(happened[own].mean()),
                    "share": float(own.mean()),
                }
            )
    return rows


def _by_task(values: pd.Series, events: pd.DataFrame) -> float:
    return float(values.groupby(events["task"]).mean().mean()) if len(values) else float("nan")
