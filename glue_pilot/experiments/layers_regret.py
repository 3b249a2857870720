"""The best layer for a head by task and number of texts, from a table of outcomes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.errors import DataError
from glue_pilot.siblings import resampled

FloatArray = NDArray[np.float64]

FEWEST_TASKS = 3
ELSEWHERE = "best on other corpora"


def score_cube(outcomes: pd.DataFrame, n: int) -> tuple[pd.DataFrame, FloatArray]:
    """Return the scores of all tasks with two draws or more of n texts.

    Args:
        outcomes: Columns of `metamodel.schema.OUTCOMES`: heads on real labels of whole tasks.
        n: Training texts.

    Returns:
        Columns ``task`` and ``corpus``, a row a task; scores (tasks, draws, layers), NaN where a
        task has fewer draws.
    """
    rows = outcomes[outcomes["n_train"] == n]
    wide = rows.pivot_table(index=["task", "corpus", "seed"], columns="layer", values="score")
    wide = wide.dropna()
    drawn = wide.groupby(["task", "corpus"]).size()
    kept = drawn[drawn > 1].reset_index()[["task", "corpus"]]
    if not len(kept):
        return kept, np.empty((0, 0, wide.shape[1]))
    cube = np.full((len(kept), int(drawn.max()), wide.shape[1]), np.nan)
    for place, (task, corpus) in enumerate(kept.itertuples(index=False)):
        scores = wide.loc[(task, corpus)].to_numpy()
        cube[place, : len(scores)] = scores
    return kept, cube


def regret_table(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Return what each layer costs, by n.

    The layer that a draw is compared with is the one best on the task's OTHER draws, so that the
    luck of a draw counts for none; what is left of the evaluation texts' luck flatters it a
    little. ``best on other corpora`` is the one layer with the highest mean there: a rule that
    needs nothing of the task.

    Args:
        outcomes: One row a head (`metamodel.schema.OUTCOMES`); other subsets, controls than
            ``none`` are left out.

    Returns:
        Columns ``n``, ``rule`` (``layer K`` or the above), ``layer`` (-1 for the above),
        ``regret`` in shares of texts, ``low``, ``high`` (90 %, tasks drawn by corpus), ``best``:
        share of tasks for which the layer has the highest mean, ``tasks``.

    Raises:
        DataError: No number of texts has two draws of enough tasks.
    """
    whole = outcomes[(outcomes["subset"] == "all") & (outcomes["control"] == "none")]
    layers = sorted(int(k) for k in whole["layer"].unique())
    rows: list[dict[str, object]] = []
    for n in sorted(int(n) for n in whole["n_train"].unique()):
        tasks, cube = score_cube(whole, n)
        if len(tasks) >= FEWEST_TASKS:
            rows += _rows_of(n, layers, list(tasks["corpus"]), cube)
    if not rows:
        raise DataError(
            f"outcomes are too few: expected two draws of {FEWEST_TASKS} tasks at some number of "
            f"texts, got {len(whole)} rows. Sweep more tasks or draws."
        )
    return pd.DataFrame(rows)


def _rows_of(
    n: int, layers: list[int], corpora: list[str], cube: FloatArray
) -> list[dict[str, object]]:
    regret = np.array([_regrets(scores) for scores in cube])
    means = np.nanmean(cube, axis=1)
    best = means.argmax(1)
    rows: list[dict[str, object]] = []
    for place, layer in enumerate(layers):
        cost = resampled(regret[:, place], corpora)
        rows.append(
            {"n": n, "rule": f"layer {layer}", "layer": layer}
            | {"regret": cost.mean, "low": cost.low, "high": cost.high}
            | {"best": float((best == place).mean()), "tasks": len(cube)}
        )
    chosen = _best_elsewhere(means, corpora)
    cost = resampled(regret[np.arange(len(cube)), chosen], corpora)
    rows.append(
        {"n": n, "rule": ELSEWHERE, "layer": -1}
        | {"regret": cost.mean, "low": cost.low, "high": cost.high}
        | {"best": float((best == chosen).mean()), "tasks": len(cube)}
    )
    return rows


def _regrets(scores: FloatArray) -> FloatArray:
    """Return each layer's regret against the layer best on the other draws, (layers,)."""
    held = scores[np.isfinite(scores).all(1)]
    others = (held.sum(0) - held) / (len(held) - 1)
    reference = held[np.arange(len(held)), others.argmax(1)]
    return np.asarray((reference[:, None] - held).mean(0))


def _best_elsewhere(means: FloatArray, corpora: list[str]) -> NDArray[np.int64]:
    groups = np.array(corpora)
    gaps = means - means.mean(1, keepdims=True)
    chosen = [gaps[groups != group].mean(0).argmax() for group in corpora]
    return np.array(chosen, np.int64)
