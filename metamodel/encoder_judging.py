"""How well a metamodel does under an encoder that it never saw, of a task that it never saw.

For every encoder in turn models learn from the others' rows alone, and of these from other corpora
than the one they are asked about. Beside them stand the same figures for a model that saw the
encoder on other corpora, and simple extrapolations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamodel.conformal import coverage
from metamodel.features import LABELLED
from metamodel.fitting import FitSettings, Problem
from metamodel.frame import JUDGED_MULTIPLES
from metamodel.judging import Asked, bands_of, leave_out
from metamodel.rows import MetaData
from metamodel.scorecard import accuracy_errors

Progress = Callable[[str, int, int], None]

METHODS = ("encoder_left_out", "metamodel", "last", "pow3", "median3")
N_FOLDS = 10
"""Parts that corpora are left out in."""


def encoders_left_out(
    problem: Problem,
    frame: pd.DataFrame,
    asked: Asked,
    settings: FitSettings,
    data: MetaData,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Return errors at each multiple with an encoder left out, and how much intervals cover.

    Args:
        problem: Rows to learn from, of all encoders.
        frame: From `metamodel.frame.ask`, with a column ``metamodel``: predictions with only the
            corpus left out.
        asked: The features of the frame's rows.
        settings: How models are fitted.
        data: What the problem's rows point to.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        One row an encoder, pilot size and multiple: an error in points a method (``METHODS``),
        ``covered`` and ``width`` of the left-out encoder's 90 % intervals, and ``tasks``.
    """
    learned = data.evidence["encoder"].to_numpy(object)[problem.row]
    names = sorted(frame["encoder"].unique())
    rows: list[dict[str, Any]] = []
    for done, name in enumerate(names):
        progress("encoders left out", done, len(names))
        own = (frame["encoder"] == name).to_numpy()
        rows += _left_out(
            problem.take(np.flatnonzero(learned != name)),
            frame[own].reset_index(drop=True),
            Asked(asked.features[own].reset_index(drop=True), asked.corpus[own]),
            settings,
            name,
        )
    progress("encoders left out", len(names), len(names))
    return rows


def _left_out(
    problem: Problem, frame: pd.DataFrame, asked: Asked, settings: FitSettings, name: str
) -> list[dict[str, Any]]:
    found = leave_out(
        problem,
        asked,
        settings.labelled,
        names=LABELLED,
        most=settings.most,
        n_folds=N_FOLDS,
        seed=settings.seed,
    )
    below, above = bands_of(found).reach
    predicted = frame.assign(encoder_left_out=found.mean)
    table = pd.DataFrame(accuracy_errors(predicted, METHODS, JUDGED_MULTIPLES))
    if table.empty:
        return []
    rows = []
    pairs = table[["n0", "multiple"]].drop_duplicates().to_numpy(np.int64).tolist()
    for n0, multiple in pairs:
        part = table[(table["n0"] == n0) & (table["multiple"] == multiple)]
        at = ((frame["n0"] == n0) & (frame["multiple"] == multiple)).to_numpy()
        errors = dict(zip(part["method"], part["error"], strict=True))
        rows.append(
            {
                "encoder": name,
                "n0": n0,
                "multiple": multiple,
                **errors,
                **_intervals(frame[at], found.mean[at], below[at], above[at]),
                "tasks": int(part["tasks"].max()),
            }
        )
    return rows


def _intervals(
    frame: pd.DataFrame,
    mean: NDArray[np.float64],
    below: NDArray[np.float64],
    above: NDArray[np.float64],
) -> dict[str, float]:
    known = frame["truth"].notna().to_numpy()
    off = frame["truth"].to_numpy(np.float64)[known] - mean[known]
    inside = (off <= above[known]) & (off >= -below[known])
    found = coverage(inside, frame["task"].to_numpy(object)[known])
    width = float((below[known] + above[known]).mean())
    return {"covered": float(found["rows"]), "width": width}
