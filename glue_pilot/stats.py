"""Statistics of the study: intervals over corpora, rank correlations, how siblings are ranked.

Tasks of one corpus share texts, so every interval draws whole corpora with replacement. Quantiles
of resamples of few corpora are too narrow: of 8, a nominal 90 % covers 84 %. They are taken further
out, so that the interval of a mean is about that of Student's t (see `ends_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MEASURES = ("ndcg", "average_rank", "precision_at_1")
_N_RESAMPLES = 2000  # the 5 % quantile of a normal mean is then off by 0.05 standard errors
_N_PERMUTED = 500  # the smallest p-value is 0.002
_LEVEL = 0.90  # as in every table of charkit


@dataclass(frozen=True)
class Interval:
    """A number with the ends of its 90 % interval; NaN ends where there is none.

    >>> f"{Interval(0.123, 0.1, 0.2)}", f"{Interval(0.5, 0.4, 0.6):.0%}"
    ('0.12 (0.10 to 0.20)', '50% (40% to 60%)')
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, row: Mapping[str, Any] | pd.Series, name: str) -> Interval:
        """Read an interval from a row, its ends from ``name_low``, else from ``low``."""
        prefix = f"{name}_" if f"{name}_low" in row else ""
        return cls(*(float(row[k]) for k in (name, f"{prefix}low", f"{prefix}high")))

    def row(self, name: str, *, ends: str | None = None) -> dict[str, float]:
        """Return the columns of a row; ``ends`` stands before ``low`` and ``high``."""
        prefix = f"{name}_" if ends is None else ends
        return {name: self.mean, f"{prefix}low": self.low, f"{prefix}high": self.high}

    def __mul__(self, factor: float) -> Interval:
        return Interval(factor * self.mean, factor * self.low, factor * self.high)

    __rmul__ = __mul__

    def __format__(self, spec: str) -> str:
        mean, low, high = (format(v, spec or ".2f") for v in (self.mean, self.low, self.high))
        return f"{mean} (no interval)" if np.isnan(self.low) else f"{mean} ({low} to {high})"

    def __str__(self) -> str:
        return format(self, "")


Labelled = Any
"""A table that is read by label; no stub knows what a cell of it holds."""

UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))


def compare(found: Interval, with_value: float = 0.0) -> str:
    """Return where a whole interval is: ``above`` a value, ``below`` it, or ``not shown``."""
    if found.low > with_value:
        return "above"
    return "below" if found.high < with_value else "not shown"


# -- intervals over corpora -------------------------------------------------------------------


@lru_cache(maxsize=8)
def drawn_groups(n_groups: int, seed: int) -> FloatArray:
    """Return how often each group is drawn in each bootstrap resample, (n_resamples, n_groups)."""
    rng = np.random.default_rng(seed)
    share = np.full(n_groups, 1 / n_groups)
    return rng.multinomial(n_groups, share, _N_RESAMPLES).astype(np.float64)


@lru_cache(maxsize=64)
def quantile_level(n_groups: int, tests: int = 1) -> float:
    """Return the level of the lower quantile of resamples that a 90 % interval ends at.

    Phi(-t sqrt(k / (k - 1))) with Student's t of k - 1 degrees, its level shared among the tests
    (Bonferroni): Hesterberg 2015, "What teachers should know about the bootstrap", the expanded
    percentile interval.

    >>> [round(quantile_level(k), 3) for k in (5, 8, 40)]
    [0.009, 0.021, 0.044]
    """
    from scipy import stats

    student = stats.t.ppf(1 - (1 - _LEVEL) / 2 / tests, n_groups - 1)
    return float(stats.norm.cdf(-student * (n_groups / (n_groups - 1)) ** 0.5))


def ends_of(drawn: FloatArray, n_groups: int, *, tests: int = 1) -> tuple[float, float]:
    """Return the ends of the 90 % interval of resampled values.

    Args:
        drawn: The resampled values; those that are NaN are left out.
        n_groups: How many groups were drawn from. Of one group there is no interval: NaN.
        tests: How many intervals hold together.
    """
    known = drawn[np.isfinite(drawn)]
    if not len(known) or n_groups < 2:
        return float("nan"), float("nan")
    level = quantile_level(n_groups, tests)
    low, high = np.quantile(known, [level, 1 - level])
    return float(low), float(high)


def resampled_ratio(
    above: FloatArray, below: FloatArray, corpora: Sequence[str], *, seed: int = 0, tests: int = 1
) -> Interval:
    """Return the ratio of two sums with its interval, the ratio taken of each resample.

    Args:
        above: One number a task.
        below: Another.
        corpora: Of the tasks.
        seed: Of the resamples.
        tests: How many intervals hold together, at 90 %.
    """
    codes, names = pd.factorize(np.asarray(corpora))
    drawn = drawn_groups(len(names), seed)
    sums = [np.bincount(codes, weights=v, minlength=len(names)) for v in (above, below)]
    ratios = (drawn @ sums[0]) / (drawn @ sums[1])
    return Interval(float(above.sum() / below.sum()), *ends_of(ratios, len(names), tests=tests))


def resampled(
    values: FloatArray, corpora: Sequence[str], *, seed: int = 0, tests: int = 1
) -> Interval:
    """Return the mean with a 90 % bootstrap interval, whole corpora drawn with replacement."""
    found = resampled_ratio(values, np.ones(len(values)), corpora, seed=seed, tests=tests)
    return Interval(float(values.mean()), found.low, found.high)


def resampled_share(right: BoolArray, corpora: Sequence[str]) -> Interval:
    """Return the share of cases that are right, its interval at least the exact one of the cases.

    Where all cases came out alike, resamples do too; 9 of 9 leave room down to 0.72 (Clopper and
    Pearson 1934, "The use of confidence or fiducial limits").
    """
    from scipy.stats import binomtest

    found = resampled(right.astype(np.float64), corpora)
    exact = binomtest(int(right.sum()), len(right)).proportion_ci(_LEVEL, method="exact")
    ends = (np.nanmin([found.low, exact.low]), np.nanmax([found.high, exact.high]))
    return Interval(found.mean, float(ends[0]), float(ends[1]))


def resampled_median(
    values: pd.Series, corpora: pd.Series, *, n_resamples: int = 1000, seed: int = 0
) -> Interval:
    """Return the median with a 90 % bootstrap interval, whole corpora drawn with replacement.

    For norms: a mean would follow the few tasks whose heads found nearly nothing.
    """
    groups = [part.to_numpy(np.float64) for _, part in values.groupby(corpora.to_numpy())]
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(groups), (n_resamples, len(groups)))
    medians = [np.median(np.concatenate([groups[k] for k in row])) for row in drawn]
    return Interval(float(values.median()), *ends_of(np.array(medians), len(groups)))


# -- rank correlation -------------------------------------------------------------------------


def spearman(
    table: pd.DataFrame, first: str, second: str, *, given: str = "", within: str = ""
) -> Interval:
    """Return Spearman's correlation with a 90 % interval, whole corpora drawn with replacement.

    Args:
        table: With a column ``corpus``; rows that lack a number are left out.
        first: A column.
        second: Another.
        given: Columns that are held fixed, joined by " and ": ranks of both are regressed on
            their ranks.
        within: A column: its groups' means are taken off first, so that only differences inside a
            group count.
    """
    columns = [first, second, *(given.split(" and ") if given else ())]
    part = table.dropna(subset=columns)
    if len(part) < 4:
        return UNKNOWN
    values = part[columns].astype(np.float64)
    if within:
        values = values - values.groupby(part[within]).transform("mean")
        values = values.round(12)  # equal values stay tied after the subtraction
    ranks = values.rank().to_numpy(np.float64)
    codes, names = pd.factorize(part["corpus"])
    drawn = drawn_groups(len(names), 0)[:, codes]
    observed = _correlation(ranks, np.ones((1, len(ranks))))[0]
    return Interval(float(observed), *ends_of(_correlation(ranks, drawn), len(names)))


def _correlation(ranks: FloatArray, counts: FloatArray) -> FloatArray:
    """Return the correlation of the first two columns, given the others.

    Args:
        ranks: (n_rows, 2 or more).
        counts: How often each row counts, (n_cases, n_rows); ranks stay those of all rows.

    Returns:
        One value a case, NaN where a column is constant.
    """
    total = counts.sum(1)[:, None]
    mean = counts @ ranks / total
    products = np.einsum("bn,ni,nj->bij", counts, ranks, ranks) / total[:, :, None]
    covariance = products - mean[:, :, None] * mean[:, None, :]
    spread = np.sqrt(np.maximum(np.einsum("bii->bi", covariance), 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        r = covariance / (spread[:, :, None] * spread[:, None, :])
        for given in range(ranks.shape[1] - 1, 1, -1):  # partial correlation, one column a time
            with_it = r[:, :given, given]
            rest = (1 - with_it[:, :, None] ** 2) * (1 - with_it[:, None, :] ** 2)
            r = r[:, :given, :given] - with_it[:, :, None] * with_it[:, None, :]
            r = r / np.sqrt(np.maximum(rest, 0))
        found = r[:, 0, 1]
    return np.where(np.isfinite(found) & (np.abs(found) < 1 + 1e-6), found, np.nan)


# -- rankings of siblings ---------------------------------------------------------------------


def rank_siblings(distances: FloatArray, siblings: BoolArray) -> pd.DataFrame:
    """Score the ranking that each row of a distance matrix gives.

    Ties share the mean of their places (McSherry and Najork 2008, "Computing information
    retrieval performance measures efficiently in the presence of tied scores"), so that a
    distance without information scores what chance would.

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


def permutation_p(distances: FloatArray, siblings: BoolArray, *, seed: int = 0) -> dict[str, float]:
    """Return how often tasks that swap names at random score as well: one p-value a measure."""
    rng = np.random.default_rng(seed)
    signs = pd.Series({"ndcg": 1.0, "average_rank": -1.0, "precision_at_1": 1.0})
    observed = rank_siblings(distances, siblings).mean()
    reached = pd.Series(1, MEASURES)
    for _ in range(_N_PERMUTED):
        order = rng.permutation(len(siblings))
        means = rank_siblings(distances, siblings[np.ix_(order, order)]).mean()
        reached += signs * means >= signs * observed
    return {str(k): float(v) for k, v in (reached / (_N_PERMUTED + 1)).items()}


def separation(near: FloatArray, far: FloatArray) -> float:
    """Return the share of pairs (one of each) where the first is the nearer; ties count half."""
    ordered = np.sort(far)
    below = np.searchsorted(ordered, near, side="left")
    upto = np.searchsorted(ordered, near, side="right")
    return float((1 - (below + upto) / 2 / len(far)).mean())


# -- parts of a variation ---------------------------------------------------------------------

_N_TASK_RESAMPLES = 1000  # each takes a two-way table a factor; quantiles of 5 % need no more


def variance_parts(products: FloatArray) -> tuple[float, float, float]:
    """Split the variation of vectors, one a task and level, by the method of moments.

    With mean squares MS of a two-way table without repetition: rest = MS_rest, task = (MS_task -
    MS_rest) / levels, level = (MS_level - MS_rest) / tasks, none below zero (Searle, Casella and
    McCulloch 1992, "Variance components").

    Args:
        products: Inner products of the vectors, (tasks, levels, tasks, levels); at least two
            tasks and two levels.

    Returns:
        The components of the tasks' means over levels; of the levels' means over tasks, a shift
        that all tasks share; and of the rest: the level moves each task its own way.
    """
    t, k = products.shape[:2]
    whole = float(products.mean()) * t * k
    by_task = float(np.einsum("tatb->", products)) / k
    by_level = float(np.einsum("alcl->", products)) / t
    total = float(np.einsum("tltl->", products))
    rest = max(0.0, total - by_task - by_level + whole) / ((t - 1) * (k - 1))
    task = ((by_task - whole) / (t - 1) - rest) / k
    level = ((by_level - whole) / (k - 1) - rest) / t
    return max(0.0, task), max(0.0, level), rest


def shares_of(
    vectors: FloatArray, factors: Mapping[str, Sequence[int]], *, sample: str, seed: int = 0
) -> pd.DataFrame:
    """Return each factor's share of the variation, with a bootstrap interval over tasks.

    One factor was varied at a time: its levels, with the setting
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
    drawn = [_different(rng, t) for _ in range(_N_TASK_RESAMPLES)]
    resampled = np.array([_shares(products, factors, sample, rows) for rows in drawn])
    level = quantile_level(t)
    ends = np.quantile(resampled, [level, 1 - level], axis=0)
    low, high = ends - resampled.mean(0) + observed
    names = [("task", "all"), *((f, part) for f in factors for part in ("shift", "rest"))]
    table = pd.DataFrame(names, columns=["factor", "part"])
    return table.assign(share=observed, low=np.clip(low, 0, 1), high=np.clip(high, 0, 1))


def _different(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Return a resample that has at least two different tasks."""
    while True:
        rows = rng.integers(0, count, count)
        if len(np.unique(rows)) > 1:
            return rows


def _shares(
    products: FloatArray, factors: Mapping[str, Sequence[int]], sample: str, rows: NDArray[np.int64]
) -> FloatArray:
    found = {}
    for name, levels in factors.items():
        held = np.asarray(levels)
        found[name] = variance_parts(products[np.ix_(rows, held, rows, held)])
    values = np.array([found[sample][0], *(v for parts in found.values() for v in parts[1:])])
    return np.asarray(values / values.sum())


# -- leaving tasks out ------------------------------------------------------------------------

_KEPT = 0.8  # a fifth is left out: enough for clusterings to change, few enough to keep groups
_Z = 1.645  # normal quantile of a 90 % interval


def kept_sets(n_tasks: int, *, n_resamples: int, seed: int = 0) -> list[NDArray[np.int64]]:
    """Return which tasks are kept each time: four in five."""
    rng = np.random.default_rng(seed)
    return [np.sort(rng.permutation(n_tasks)[: _n_kept(n_tasks)]) for _ in range(n_resamples)]


def jackknife(
    score: Callable[[NDArray[np.int64]], float], n_tasks: int, *, n_resamples: int, seed: int = 0
) -> Interval:
    """Return a score of at most 1 with its 90 % interval, a fifth of the tasks left out at a time.

    For scores of pairs of tasks: a bootstrap would draw tasks twice, at distance zero from
    themselves (Shao and Wu 1989, "A general theory for jackknife variance estimation").

    Args:
        score: Places of the tasks that are kept, (n_kept,) -> the score.
        n_tasks: How many there are.
        n_resamples: How often some are left out.
        seed: Of the draws.
    """
    sets = kept_sets(n_tasks, n_resamples=n_resamples, seed=seed)
    found = np.array([score(kept) for kept in sets])
    return jackknife_interval(score(np.arange(n_tasks)), found, n_tasks)


def jackknife_interval(whole: float, found: FloatArray, n_tasks: int) -> Interval:
    """Return the interval of a score from those of the kept sets, (n_resamples,)."""
    n_kept = _n_kept(n_tasks)
    spread = float(np.nanstd(found)) if np.isfinite(found).any() else float("nan")
    half = _Z * spread * (n_kept / max(n_tasks - n_kept, 1)) ** 0.5
    return Interval(whole, whole - half, min(1.0, whole + half))


def _n_kept(n_tasks: int) -> int:
    return max(2, round(_KEPT * n_tasks))
