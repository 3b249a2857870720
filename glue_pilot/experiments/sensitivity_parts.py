"""How the variation of embeddings over tasks and settings falls into parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_N_RESAMPLES = 1000


@dataclass(frozen=True)
class Parts:
    """Components of the variation of vectors in a table of tasks x levels.

    Attributes:
        task: Of the tasks' means over levels.
        level: Of the levels' means over tasks: a shift that all tasks share.
        rest: Of what neither explains: the level moves each task its own way.
    """

    task: float
    level: float
    rest: float


def variance_parts(products: FloatArray) -> Parts:
    """Split the variation of vectors, one a task and level, by the method of moments.

    With mean squares MS of a two-way table without repetition: rest = MS_rest, task = (MS_task -
    MS_rest) / levels, level = (MS_level - MS_rest) / tasks, none below nought (Searle, Casella
    and McCulloch 1992, "Variance components").

    Args:
        products: Inner products of the vectors, (tasks, levels, tasks, levels); at least two
            tasks and two levels.
    """
    t, k = products.shape[:2]
    whole = float(products.mean()) * t * k
    by_task = float(np.einsum("tatb->", products)) / k
    by_level = float(np.einsum("alcl->", products)) / t
    total = float(np.einsum("tltl->", products))
    rest = max(0.0, total - by_task - by_level + whole) / ((t - 1) * (k - 1))
    task = ((by_task - whole) / (t - 1) - rest) / k
    level = ((by_level - whole) / (k - 1) - rest) / t
    return Parts(max(0.0, task), max(0.0, level), rest)


def shares_of(
    vectors: FloatArray,
    factors: Mapping[str, Sequence[int]],
    *,
    sample: str,
    seed: int = 0,
) -> pd.DataFrame:
    """Return each factor's share of the variation, with a bootstrap interval over tasks.

    Every factor was varied alone, the others left as they were: its levels, with the setting
    that all others were varied from, make a table of their own. What belongs to tasks is read
    from the table of samples, where it is free of their noise.
    A resample has some tasks twice, which takes from the variation; the quantiles are therefore
    taken around the observed share.

    Args:
        vectors: One a task and setting, (tasks, settings, size).
        factors: Name -> places of its levels among the settings, two or more.
        sample: Which of them is the draw of texts.
        seed: Of the resamples.

    Returns:
        Columns ``factor`` (``task`` first), ``part`` (``all`` for the task, ``shift`` common to
        all tasks, ``rest`` each task's own), ``share`` of the sum, ``low``, ``high`` (90 %).
    """
    t, s, size = vectors.shape
    flat = vectors.reshape(t * s, size) - vectors.reshape(t * s, size).mean(0)
    products = (flat @ flat.T).reshape(t, s, t, s)
    rng = np.random.default_rng(seed)
    observed = _shares(products, factors, sample, np.arange(t))
    drawn = [_different(rng, t) for _ in range(_N_RESAMPLES)]
    resampled = np.array([_shares(products, factors, sample, rows) for rows in drawn])
    low, high = np.quantile(resampled, [0.05, 0.95], axis=0) - resampled.mean(0) + observed
    names = [("task", "all"), *((f, part) for f in factors for part in ("shift", "rest"))]
    table = pd.DataFrame(names, columns=["factor", "part"])
    return table.assign(share=observed, low=np.clip(low, 0, 1), high=np.clip(high, 0, 1))


def _different(rng: np.random.Generator, count: int) -> IntArray:
    """Return a resample that has at least two different tasks."""
    while True:
        rows = rng.integers(0, count, count)
        if len(np.unique(rows)) > 1:
            return rows


def _shares(
    products: FloatArray, factors: Mapping[str, Sequence[int]], sample: str, rows: IntArray
) -> FloatArray:
    found = {}
    for name, levels in factors.items():
        held = np.asarray(levels)
        found[name] = variance_parts(products[np.ix_(rows, held, rows, held)])
    parts = [found[sample].task]
    for name in factors:
        parts += [found[name].level, found[name].rest]
    values = np.array(parts)
    return np.asarray(values / values.sum())
