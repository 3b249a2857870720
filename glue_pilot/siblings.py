"""How well distances rank a task's siblings: NDCG, average rank, precision at 1, chance.

Ties share the mean of their places (McSherry and Najork 2008, "Computing information retrieval
performance measures efficiently in the presence of tied scores"), so that a distance that tells
nothing scores what chance would.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MEASURES = ("ndcg", "average_rank", "precision_at_1")
_N_RESAMPLES = 2000
_N_PERMUTED = 500


@dataclass(frozen=True)
class Interval:
    """A mean with the ends of its 90 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} ({self.low:.2f} to {self.high:.2f})"


def rank_siblings(distances: FloatArray, siblings: BoolArray) -> pd.DataFrame:
    """Score the ranking that each row of a distance matrix gives.

    Args:
        distances: From the task of the row to that of the column, (n_tasks, n_tasks); NaN where
            the column is no candidate. The diagonal is left out.
        siblings: Which pairs are siblings, the same shape.

    Returns:
        One row a task with siblings, its place as index; columns ``ndcg`` (1: all siblings come
        first), ``average_rank`` of the siblings (1 is the nearest), ``precision_at_1``.
    """
    found = {}
    for place, row in enumerate(distances):
        kept = np.isfinite(row)
        kept[place] = False
        wanted = siblings[place][kept]
        if wanted.any():
            found[place] = _scores(row[kept], wanted)
    return pd.DataFrame.from_dict(found, orient="index", columns=list(MEASURES))


def _scores(row: FloatArray, wanted: BoolArray) -> tuple[float, float, float]:
    _, group, counts = np.unique(row, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    places = np.arange(1, len(row) + 1)
    gains = np.concatenate([[0.0], np.cumsum(1 / np.log2(places + 1))])
    discount = (gains[ends] - gains[ends - counts]) / counts
    rank = ends - (counts - 1) / 2
    ndcg = discount[group][wanted].sum() / gains[int(wanted.sum())]
    return float(ndcg), float(rank[group][wanted].mean()), float(wanted[group == 0].mean())


def resampled(values: FloatArray, corpora: list[str], *, seed: int = 0) -> Interval:
    """Return the mean with a 90 % bootstrap interval, whole corpora drawn with replacement."""
    codes, names = pd.factorize(np.asarray(corpora))
    sums = np.bincount(codes, weights=values, minlength=len(names))
    counts = np.bincount(codes, minlength=len(names))
    drawn = drawn_groups(len(names), seed)
    means = (drawn @ sums) / (drawn @ counts)
    low, high = np.quantile(means, [0.05, 0.95])
    return Interval(float(values.mean()), float(low), float(high))


@lru_cache(maxsize=8)
def drawn_groups(n_groups: int, seed: int) -> FloatArray:
    """Return how often each group is drawn in each bootstrap resample, (n_resamples, n_groups)."""
    rng = np.random.default_rng(seed)
    share = np.full(n_groups, 1 / n_groups)
    return rng.multinomial(n_groups, share, _N_RESAMPLES).astype(np.float64)


def chance(distances: FloatArray, siblings: BoolArray, *, seed: int = 0) -> dict[str, float]:
    """Return how often tasks that swap names at random score as well: one p-value a measure."""
    rng = np.random.default_rng(seed)
    observed = rank_siblings(distances, siblings).mean()
    reached = dict.fromkeys(MEASURES, 1)
    for _ in range(_N_PERMUTED):
        order = rng.permutation(len(siblings))
        means = rank_siblings(distances, siblings[np.ix_(order, order)]).mean()
        for measure in MEASURES:
            lower = measure == "average_rank"
            better = (
                means[measure] <= observed[measure]
                if lower
                else (means[measure] >= observed[measure])
            )
            reached[measure] += int(better)
    return {measure: count / (_N_PERMUTED + 1) for measure, count in reached.items()}


def separation(near: FloatArray, far: FloatArray) -> float:
    """Return the share of pairs (one of each) where the first is the nearer; ties count half."""
    ordered = np.sort(far)
    below = np.searchsorted(ordered, near, side="left")
    upto = np.searchsorted(ordered, near, side="right")
    return float((1 - (below + upto) / 2 / len(far)).mean())
