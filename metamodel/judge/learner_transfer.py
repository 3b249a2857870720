"""Ways of training under encoders that their gains were not measured with.

The mean gains of one encoder are added to the linear head that the metamodel predicts under
another one, on corpora that neither the metamodel nor the gains know. As in
`metamodel.judge.transfer`, one number is fitted, the factor of the half-widths of intervals with
which 90 % of the rows of every learner under every other encoder are covered; for the proof each
encoder is left out in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from metamodel.fit.learners import APART
from metamodel.judge.transfer import needed_widening, scores_of
from metamodel.learners.compare import Elsewhere


def measure_elsewhere(table: pd.DataFrame, known: Sequence[str]) -> Elsewhere:
    """Return how ways of training do under encoders that they were not measured with.

    Args:
        table: One row an answer and learner: encoder, task, corpus, learner, n0 (labels of the
            sample), n, mean (predicted accuracy), below and above (how far the 90 % interval
            reaches), truth, head (predicted accuracy of the linear head) and head_truth. A run
            that diverged has no truth: its row is counted and left out.
        known: Names of the encoders that they were measured with.

    Raises:
        ValueError: The table has no two other encoders: one cannot prove the factor of the other.
    """
    others = _reached(table[~table["encoder"].isin(list(known))])
    if others["encoder"].nunique() < _FEWEST_ENCODERS:
        names = sorted(others["encoder"].unique())
        raise ValueError(
            f"encoders: expected {_FEWEST_ENCODERS} or more others than {list(known)}, got {names}."
        )
    return Elsewhere(
        learners=tuple(sorted(others["learner"].unique())),
        encoders=tuple(sorted(others["encoder"].unique())),
        corpora=int(others["corpus"].nunique()),
        n0=int(others["n0"].min()),
        n=int(others["n"].max()),
        widening=float(np.ceil(100 * _factor(others)) / 100),
        figures=tuple(_figures(table, others, known)),
    )


def _figures(
    table: pd.DataFrame, others: pd.DataFrame, known: Sequence[str]
) -> list[dict[str, Any]]:
    """Return one row an encoder and learner.

    Columns encoder, known, learner, tasks, ``failed`` (runs that diverged); ``gain`` (measured
    mean gain over the linear head) and ``predicted_gain``; ``error`` and ``error_head`` (mean
    absolute errors of the prediction and of the linear head's for the same truth), in points;
    ``covered`` (share of rows in the interval as it is), ``factor`` (from the other encoders),
    ``covered_wide`` (with it);
    ``apart`` (tasks where learner and linear head differ by more than two points) and ``right``
    (share of these of which the better one is named, None without any).
    """
    rows = []
    for (encoder, learner), every in table.groupby(["encoder", "learner"]):
        own = _reached(every)
        rest = others[others["encoder"] != encoder]
        factor = 1.0 if encoder in known else _factor(rest)
        task = own["task"]
        scores = pd.Series(scores_of(own), own.index)
        gain, predicted = own["truth"] - own["head_truth"], own["mean"] - own["head"]
        differ = gain.abs() > APART
        right = (np.sign(gain) == np.sign(predicted))[differ].astype(float)
        row: dict[str, Any] = {"encoder": str(encoder), "known": encoder in known}
        row |= {"learner": str(learner), "tasks": int(task.nunique())}
        row["failed"] = len(every) - len(own)
        points = {"gain": gain, "predicted_gain": predicted}
        points |= {name: (own["truth"] - own[of]).abs() for name, of in _ERRORS.items()}
        row |= {name: 100 * _mean(values, task) for name, values in points.items()}
        row |= {"covered": _mean(scores <= 1, task), "factor": float(factor)}
        row["covered_wide"] = _mean(scores <= factor, task)
        row["apart"] = int(task[differ].nunique())
        row["right"] = _mean(right, task[differ]) if len(right) else None
        rows.append(row)
    return rows


def _reached(table: pd.DataFrame) -> pd.DataFrame:
    return table.dropna(subset=["truth", "head_truth"])


def _factor(others: pd.DataFrame) -> float:
    """Return the largest factor that a learner under an encoder needs."""
    return max(needed_widening(own) for _, own in others.groupby("learner"))


_FEWEST_ENCODERS = 2

_ERRORS = {"error": "mean", "error_head": "head"}


def _mean(values: pd.Series, task: pd.Series) -> float:
    """Return the mean with every task counting alike."""
    return float(values.astype(float).groupby(task).mean().mean())
