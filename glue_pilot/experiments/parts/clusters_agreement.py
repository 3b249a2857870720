"""How well distances between tasks find known groups: clusters, pairs, three of five.

References:
    Hubert and Arabie 1985, "Comparing partitions".
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.report.figures.distances import cluster, distances_of
from glue_pilot.stats import (
    FloatArray,
    Interval,
    jackknife,
    jackknife_interval,
    kept_sets,
    separation,
)

IntArray = NDArray[np.int64]

MEASURES = ("ari", "purity", "separation")
FIVES = "joined"


def cut(distances: FloatArray, n_clusters: int) -> IntArray:
    """Return the cluster of each task: average linkage, cut into that many, (n_tasks,)."""
    from scipy.cluster.hierarchy import fcluster

    joined = cluster(distances_of(pd.DataFrame(distances)))
    return np.asarray(fcluster(joined, n_clusters, criterion="maxclust"), np.int64)


def purity(clusters: IntArray, groups: Sequence[str]) -> float:
    """Return the share of tasks that are of the commonest group of their cluster.

    >>> purity(np.array([1, 1, 2]), ["a", "a", "b"])
    1.0
    """
    counts = _contingency(clusters, groups)
    return float(counts.max(1).sum() / counts.sum())


def adjusted_rand(clusters: IntArray, groups: Sequence[str]) -> float:
    """Return the Rand index less what chance gives, 1 for the same partition; NaN if no case.

    scikit-learn's `adjusted_rand_score` is the same; its checks take most of the time here, where
    tens of thousands of small partitions are scored.

    >>> adjusted_rand(np.array([5, 5, 2]), ["a", "a", "b"])
    1.0
    """
    counts = _contingency(clusters, groups)

    def pairs(values: FloatArray) -> float:
        return float((values * (values - 1) / 2).sum())

    both, rows, columns = pairs(counts), pairs(counts.sum(1)), pairs(counts.sum(0))
    total = pairs(np.array([counts.sum()]))
    expected = rows * columns / total if total else 0.0
    most = (rows + columns) / 2
    return (both - expected) / (most - expected) if most > expected else float("nan")


def _contingency(clusters: IntArray, groups: Sequence[str]) -> FloatArray:
    """Return how many tasks of each group each cluster has, (n_clusters, n_groups)."""
    rows, places = np.unique(clusters, return_inverse=True)
    columns, codes = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.zeros((len(rows), len(columns)))
    np.add.at(counts, (places, codes), 1)
    return counts


def agreement(distances: FloatArray, groups: Sequence[str]) -> dict[str, float]:
    """Score distances by how well they find groups.

    Returns:
        ``ari`` and ``purity`` of the clustering cut into as many clusters as there are groups;
        ``separation``: the share of pairs (one inside a group, one across) where the inside one
        is the nearer, which needs no cut.
    """
    words = np.asarray(groups)
    clusters = cut(distances, len(set(groups)))
    upper = np.triu(np.ones((len(words), len(words)), dtype=bool), 1)
    same = words[:, None] == words
    both = (distances + distances.T) / 2
    near, far = both[upper & same], both[upper & ~same]
    return {
        "ari": adjusted_rand(clusters, groups),
        "purity": purity(clusters, groups),
        "separation": separation(near, far) if len(near) and len(far) else float("nan"),
    }


def by_chance(
    distances: FloatArray,
    groups: Sequence[str],
    *,
    n_permuted: int,
    blocks: Sequence[str] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the scores where names are swapped at random, one row a permutation.

    Args:
        distances: Between the tasks, (n_tasks, n_tasks).
        groups: Names of groups, (n_tasks,).
        n_permuted: Number of permutations.
        blocks: Swap names only between tasks of one block: what goes with the blocks stays.
        seed: Of the permutations.
    """
    rng = np.random.default_rng(seed)
    held = np.asarray(blocks if blocks is not None else [""] * len(groups))
    places = [np.flatnonzero(held == block) for block in dict.fromkeys(held.tolist())]
    clusters = cut(distances, len(set(groups)))
    upper = np.triu(np.ones(distances.shape, dtype=bool), 1)
    both = (distances + distances.T) / 2
    rows = []
    for _ in range(n_permuted):
        words = np.asarray(groups).copy()
        for place in places:
            words[place] = rng.permutation(words[place])
        same = words[:, None] == words
        names, apart = words.tolist(), separation(both[upper & same], both[upper & ~same])
        rows.append((adjusted_rand(clusters, names), purity(clusters, names), apart))
    return pd.DataFrame(rows, columns=list(MEASURES))


def agreement_row(
    distances: FloatArray,
    baseline: FloatArray,
    words: NDArray[np.str_],
    other: NDArray[np.str_],
    *,
    n_permuted: int,
    n_resamples: int,
) -> dict[str, float]:
    """Return each measure with ``_low``, ``_high``, ``_chance``, ``_p`` and its ``_gain``.

    Args:
        distances: Between the tasks, (n_tasks, n_tasks).
        baseline: Other distances, which the gain is counted from.
        words: Groups that are to be found, (n_tasks,).
        other: Groups that are held fixed in the permutations of ``ari_p_within``.
        n_permuted: Number of permutations.
        n_resamples: How often tasks are left out for the intervals.
    """
    names = words.tolist()
    swapped = by_chance(distances, names, n_permuted=n_permuted)
    within = by_chance(distances, names, n_permuted=n_permuted, blocks=other.tolist())["ari"]
    sets = [np.arange(len(words)), *kept_sets(len(words), n_resamples=n_resamples)]
    ours, theirs = (
        pd.DataFrame([agreement(m[np.ix_(k, k)], words[k].tolist()) for k in sets])
        for m in (distances, baseline)
    )
    row: dict[str, float] = {}
    for measure in MEASURES:
        values = ours[measure].to_numpy(np.float64)
        gains = values - theirs[measure].to_numpy(np.float64)
        for name, scored in ((measure, values), (f"{measure}_gain", gains)):
            row |= jackknife_interval(float(scored[0]), scored[1:], len(words)).row(name)
        reached = (swapped[measure] >= values[0]).sum()
        row[f"{measure}_chance"] = float(swapped[measure].mean())
        row[f"{measure}_p"] = float((1 + reached) / (1 + n_permuted))
    reached = (within >= row["ari"]).sum()
    return row | {"ari_p_within": float((1 + reached) / (1 + n_permuted))}


def joins_first(distances: FloatArray) -> bool:
    """Return whether the first three tasks join each other before any other joins them."""
    joined = cluster(distances_of(pd.DataFrame(distances)))
    count = len(distances)
    members = [{k} for k in range(count)]
    for one, other, _, _ in joined:
        members.append(members[int(one)] | members[int(other)])
    return {0, 1, 2} in members


def draw_fives(
    groups: Sequence[str], others: Sequence[str], *, most: int, seed: int = 0
) -> IntArray:
    """Return fives of tasks: three of a group, two of other groups and of another second word.

    Args:
        groups: What the three share and the two have not, (n_tasks,).
        others: What the two must not share with the three either, (n_tasks,).
        most: How many fives are drawn a three.
        seed: Of the draws.

    Returns:
        Places, the three first, (n_fives, 5); no rows where no group has three.
    """
    rng = np.random.default_rng(seed)
    words, more = np.asarray(groups), np.asarray(others)
    fives = []
    for group in dict.fromkeys(groups):
        for three in combinations(np.flatnonzero(words == group).tolist(), 3):
            free = np.flatnonzero((words != group) & ~np.isin(more, more[list(three)]))
            pairs = [p for p in combinations(free.tolist(), 2) if words[p[0]] != words[p[1]]]
            for k in rng.permutation(len(pairs))[:most]:
                fives.append((*three, *pairs[int(k)]))
    return np.array(fives, np.int64).reshape(-1, 5)


def fives_by_chance(distances: FloatArray, *, n_draws: int, seed: int = 0) -> float:
    """Return how often three of five tasks drawn at random join first."""
    rng = np.random.default_rng(seed)
    draws = [rng.permutation(len(distances))[:5] for _ in range(n_draws)]
    return float(np.mean([joins_first(distances[np.ix_(d, d)]) for d in draws]))


def fives_row(
    distances: FloatArray, fives: IntArray, *, n_permuted: int, n_resamples: int
) -> dict[str, float]:
    """Return the share of fives whose first three join first, with its interval and chance."""
    right = np.array([joins_first(distances[np.ix_(five, five)]) for five in fives], np.float64)

    def share(kept: IntArray) -> float:
        inside = np.isin(fives, kept).all(1)
        return float(right[inside].mean()) if inside.any() else float("nan")

    if not len(fives):
        return {FIVES + end: float("nan") for end in ("", "_low", "_high", "_chance")}
    found = jackknife(share, len(distances), n_resamples=n_resamples)
    chance = fives_by_chance(distances, n_draws=4 * n_permuted)
    ends = Interval(found.mean, max(0.0, found.low), min(1.0, found.high))
    return ends.row(FIVES) | {f"{FIVES}_chance": chance}
