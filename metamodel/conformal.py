"""Intervals that hold for tasks never seen: conformal prediction over groups of rows.

Rows of one corpus are alike; what is exchangeable is the corpora. Two promises can be made from
the scores (sizes of errors, in any unit) of K calibration groups to a new group:

``row``    a row drawn from the new group is covered with probability ``level``: the quantile of
           all scores, each group weighing 1 / (K + 1), the rest of the mass at infinity
           (hierarchical conformal prediction);
``group``  with probability ``share``, at least ``level`` of the new group's rows are covered: the
           conformal quantile at ``share`` of the groups' own quantiles at ``level``.

References:
    Lee, Barber and Willett 2023, "Distribution-free inference with hierarchical data", sections 3
    and 4.
    Vovk, Gammerman and Shafer 2005, "Algorithmic learning in a random world".
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def row_threshold(scores: ArrayLike, groups: ArrayLike, *, level: float = 0.9) -> float:
    """Return the size of error that covers a row of a new group with probability ``level``.

    Args:
        scores: Sizes of errors of calibration rows, (n_rows,).
        groups: What each belongs to, (n_rows,).
        level: Wanted probability, between 0 and 1.

    Returns:
        The threshold; infinity where there are too few groups for the level.

    Raises:
        ValueError: Shapes differ, there are no rows, a score is NaN, or the level is illegal.
    """
    values, codes, n_groups = _checked(scores, groups, level)
    share = 1 / ((n_groups + 1) * np.bincount(codes)[codes])
    order = values.argsort(kind="stable")
    mass = share[order].cumsum()
    place = int(np.searchsorted(mass, level - 1e-12))
    return float(values[order][place]) if place < len(values) else float("inf")


def group_threshold(
    scores: ArrayLike, groups: ArrayLike, *, level: float = 0.9, share: float = 0.9
) -> float:
    """Return the size of error that covers ``level`` of the rows, for ``share`` of new groups.

    Args:
        scores: Sizes of errors of calibration rows, (n_rows,).
        groups: What each belongs to, (n_rows,).
        level: Share of a group's rows that must be covered.
        share: Wanted probability that they are.

    Returns:
        The threshold; infinity where there are too few groups for the share.

    Raises:
        ValueError: As for `row_threshold`.
    """
    values, codes, n_groups = _checked(scores, groups, level)
    _check_level(share)
    order = np.lexsort((values, codes))
    counts = np.bincount(codes)
    within = np.maximum(np.ceil(level * counts - 1e-12).astype(int), 1) - 1
    own = np.sort(values[order][np.r_[0, counts.cumsum()[:-1]] + within])
    place = int(np.ceil(share * (n_groups + 1) - 1e-12)) - 1
    return float(own[place]) if place < n_groups else float("inf")


def coverage(covered: ArrayLike, tasks: ArrayLike, *, level: float = 0.9) -> dict[str, float]:
    """Return what share of rows, and what share of tasks, is covered.

    A task counts as covered when at least ``level`` of its rows are.

    Args:
        covered: Whether the truth of each row lies in its interval, (n_rows,).
        tasks: What each belongs to, (n_rows,).
        level: Share of its rows that a task needs.

    Returns:
        ``rows`` and ``tasks``, both from 0 to 1.
    """
    table = pd.Series(np.asarray(covered, np.float64)).groupby(np.asarray(tasks)).mean()
    return {
        "rows": float(np.mean(np.asarray(covered, np.float64))),
        "tasks": float((table >= level - 1e-12).mean()),
    }


def _checked(
    scores: ArrayLike, groups: ArrayLike, level: float
) -> tuple[FloatArray, NDArray[np.int64], int]:
    values = np.asarray(scores, np.float64)
    names = np.asarray(groups)
    if values.ndim != 1 or names.shape != values.shape or not len(values):
        raise ValueError(
            "scores and groups: expected one group a score and at least one, got shapes "
            f"{values.shape} and {names.shape}."
        )
    if np.isnan(values).any():
        raise ValueError("scores: expected numbers, got NaN.")
    _check_level(level)
    codes, found = pd.factorize(names)
    return values, codes.astype(np.int64), len(found)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is out of range: expected between 0 and 1, got {level}.")
