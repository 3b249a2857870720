"""The best layer for a head by task and number of texts, from a table of outcomes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from charkit.errors import DataError
from glue_pilot.stats import FloatArray, resampled

ELSEWHERE = "best on other corpora"
_FEWEST_TASKS = 3  # fewer have no best layer elsewhere to choose by


def score_cube(outcomes: pd.DataFrame, n: int) -> tuple[pd.DataFrame, FloatArray]:
    """Return the scores of all tasks with two draws or more of n texts.

    Args:
        outcomes: Columns ``task``, ``corpus``, ``seed``, ``n_train``, ``layer``, ``score``.
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
        if len(tasks) >= _FEWEST_TASKS:
            rows += _regret_rows(n, layers, list(tasks["corpus"]), cube)
    if not rows:
        raise DataError(
            f"outcomes are too few: expected two draws of {_FEWEST_TASKS} tasks at some number of "
            f"texts, got {len(whole)} rows. Sweep more tasks or draws."
        )
    return pd.DataFrame(rows)


def _regret_rows(
    n: int, layers: list[int], corpora: list[str], cube: FloatArray
) -> list[dict[str, object]]:
    regret = np.array([_regrets(scores) for scores in cube])
    means = np.nanmean(cube, axis=1)
    best = means.argmax(1)
    gaps, groups = means - means.mean(1, keepdims=True), np.array(corpora)
    elsewhere = np.array([gaps[groups != group].mean(0).argmax() for group in corpora])
    chosen = {f"layer {layer}": (layer, np.full(len(cube), k)) for k, layer in enumerate(layers)}
    chosen[ELSEWHERE] = (-1, elsewhere)
    rows: list[dict[str, object]] = []
    for rule, (layer, places) in chosen.items():
        cost = resampled(regret[np.arange(len(cube)), places], corpora)
        about = {"n": n, "rule": rule, "layer": layer} | cost.row("regret", ends="")
        rows.append(about | {"best": float((best == places).mean()), "tasks": len(cube)})
    return rows


def _regrets(scores: FloatArray) -> FloatArray:
    """Return each layer's regret against the layer best on the other draws, (layers,)."""
    held = scores[np.isfinite(scores).all(1)]
    others = (held.sum(0) - held) / (len(held) - 1)
    reference = held[np.arange(len(held)), others.argmax(1)]
    return np.asarray((reference[:, None] - held).mean(0))
