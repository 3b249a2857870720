"""Which rows of a pool to label for testing, and the accuracy that their labels tell.

*Design.* Rows are put into a few strata by expected correctness c
(`charkit.heads.sample.surrogate`), and each stratum is a simple random sample without replacement,
so that every row has a known probability of being drawn, n_h / N_h. A stratum's share of the budget
is Neyman's, in proportion to the sum of ``(1 - u) sqrt(c (1 - c)) / mean + u`` over its rows: rows
of which the surrogate is unsure are labelled more often, and the part u, spread evenly, keeps every
weight below 1 / u times that of a plain random sample. Labels go, one at a time, to the stratum
that gains most by one more (Wright 2012: this gives the exact optimum for every budget). So the
rows have one order, every start of which is the sample for that many labels: who labels more later
keeps the old ones.

*Estimate.* Within a stratum the rows are exchangeable, so each stratum's count of right rows is
binomial around its own share p_h whatever the shift. The p_h have a prior that joins predictions
and labels: logit p_h is that of the surrogate, moved by one amount for the whole pool (how far off
the surrogate is) and by one amount for each stratum. Both are wide, so that labels outweigh the
surrogate soon; where they agree, labels of one stratum tell of the others. The accuracy of the
pool is the mean of its labelled rows, which are known, and of the shares of the others.

References:
    Wright 2012, "The equivalence of Neyman optimum allocation for sampling and equal proportions
    for apportioning the U.S. House of Representatives".
    Kossen, Farquhar, Gal and Rainforth 2021, "Active testing: sample-efficient model evaluation".
    Angelopoulos, Bates, Fannjiang, Jordan and Zrnic 2023, "Prediction-powered inference".
    Fogliato and others 2024, "A framework for efficient model evaluation through stratification,
    sampling, and estimation".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from charkit.heads.metrics.intervals import LEVEL, normal_quantile

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

N_STRATA = 5
"""With five, thirty labels put six into each; more hardly gained in the study."""

UNIFORM = 0.6
"""Share of the budget that is spread evenly: no weight is above 1 / 0.6 of a random sample's. Under
shift, where confidence says little, 1 would be best; on the sample's own corpus 0 (the study)."""

FEWEST = N_STRATA
"""Fewer labels leave strata without any."""

# No surrogate is surer than this.
_SURE = 0.005
_POINTS = 40
_SMALLEST = 1e-9
_POOL_GRID = np.linspace(-3.5, 3.5, 57)
_POOL_WEIGHTS = np.exp(-0.5 * _POOL_GRID**2) / np.exp(-0.5 * _POOL_GRID**2).sum()

# Amounts that move a stratum, in logits: steps are finer than ten thousand labels can tell.
_GRID = np.linspace(-16, 16, 801)


@dataclass(frozen=True)
class Prior:
    """How far the surrogate may be off, in logits.

    Attributes:
        mean: Of the amount that moves the whole pool.
        pool: Its standard deviation.
        stratum: Standard deviation of the amount that moves one stratum.
    """

    mean: float
    pool: float
    stratum: float


WIDE = (Prior(0.0, 3.0, 1.5),)
"""Of intervals: so wide that they cover under shifts that turn the surrogate round."""

LIKELY = (Prior(0.0, 0.35, 0.3), Prior(-0.6, 1.5, 1.2))
"""Of estimates, equally likely: texts of the sample's own corpus, and of another, where heads are
surer than right. Chosen on the study's tasks; a narrower second one misses by more than random rows
where another corpus turns the head round."""

FEWEST_FREE = 2
"""Degrees of freedom of an interval from few labels, at least."""


@dataclass(frozen=True, eq=False)
class Strata:
    """A pool in strata of rising expected correctness.

    Attributes:
        of: Stratum of every row, (n_pool,).
        expected: Expected correctness of every row, (n_pool,).
        size: Rows of each stratum, (n_strata,).
        spread: What its share of the budget is proportional to, (n_strata,).
    """

    of: IntArray
    expected: FloatArray
    size: IntArray
    spread: FloatArray

    @cached_property
    def shares(self) -> FloatArray:
        """Share of right rows of each stratum at every amount that may move it, (n_strata, ...)."""
        every = [
            logistic(_logits(self.expected[self.of == h]) + _GRID[:, None]).mean(1)
            for h in range(len(self.size))
        ]
        return np.asarray(np.clip(np.stack(every), _SMALLEST, 1 - _SMALLEST))

    @property
    def weight_bound(self) -> float:
        """Largest weight of a row in a large sample, in those of a plain random sample."""
        return float((self.size / self.size.sum() / (self.spread / self.spread.sum())).max())


def make_strata(
    expected: FloatArray, *, n_strata: int = N_STRATA, uniform: float = UNIFORM
) -> Strata:
    """Return a pool in strata that are due the same share of the budget each.

    Args:
        expected: Expected correctness of every row, in (0, 1), (n_pool,).
        n_strata: How many; fewer where the pool has fewer rows.
        uniform: Share of the budget that is spread evenly over rows.

    >>> make_strata(np.array([0.5, 0.9, 0.9, 0.9, 0.6]), n_strata=2).of.tolist()
    [0, 1, 1, 1, 0]
    """
    spread = np.sqrt(expected * (1 - expected))
    due = (1 - uniform) * spread / max(float(spread.mean()), 1e-12) + uniform
    order = np.argsort(expected, kind="stable")
    ends = np.cumsum(due[order])
    middle = (ends - due[order] / 2) / ends[-1]
    ranked = np.minimum((middle * n_strata).astype(np.int64), n_strata - 1)
    of = np.empty(len(expected), np.int64)
    of[order] = np.unique(ranked, return_inverse=True)[1]
    spread_of = np.asarray(np.bincount(of, weights=due), np.float64)
    return Strata(of, expected, np.bincount(of), spread_of)


def allocation(strata: Strata) -> IntArray:
    """Return the stratum that the first, second, ... label goes to, (n_pool,).

    The first labels go to one stratum each, the one of the largest share first; then the next
    label goes where spread / sqrt(n (n + 1)) is largest, n being the stratum's labels so far.
    """
    number = np.concatenate([np.arange(size) for size in strata.size])
    of = np.repeat(np.arange(len(strata.size)), strata.size)
    with np.errstate(divide="ignore"):
        priority = strata.spread[of] / np.sqrt(number * (number + 1.0))
    return of[np.lexsort((of, -strata.spread[of], -priority))]


def labelling_order(strata: Strata, seed: int) -> IntArray:
    """Return the rows in the order of labelling, (n_pool,): any start of it is a sample."""
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(strata.of))
    grouped = shuffled[np.argsort(strata.of[shuffled], kind="stable")]
    turns = allocation(strata)
    order = np.empty(len(turns), np.int64)
    order[np.argsort(turns, kind="stable")] = grouped
    return order


@dataclass(frozen=True, eq=False)
class PoolAccuracy:
    """The accuracy of a pool, as labels and predictions tell it.

    Attributes:
        mean: Estimate.
        low: Lower end of its 90 % interval.
        high: Upper end.
        deviation: Standard deviation.
        shares: Expected share of right rows of each stratum, (n_strata,).
    """

    mean: float
    low: float
    high: float
    deviation: float
    shares: FloatArray


def pool_accuracy(
    strata: Strata, labelled: IntArray, right: IntArray | FloatArray, *, level: float = LEVEL
) -> PoolAccuracy:
    """Return the accuracy of a pool, some of whose rows are labelled.

    Args:
        strata: The pool.
        labelled: Labelled rows of each stratum, (n_strata,).
        right: How many of them the head predicts right, (n_strata,).
        level: Coverage of the interval.
    """
    from scipy.special import stdtrit  # not at import: some machines lack it

    n_labelled, n_pool = float(labelled.sum()), len(strata.of)
    best, _, shares = _posterior(strata, labelled, right, LIKELY)
    center, variance, _ = _posterior(strata, labelled, right, WIDE)
    free = max(n_labelled - len(strata.size), FEWEST_FREE)
    few = float(stdtrit(free, (1 + level) / 2)) / normal_quantile(level)
    low, high = _beta_interval(center, few**2 * variance, level)
    n_right = float(right.sum())
    n_wrong = n_labelled - n_right
    # whoever saw no wrong row cannot rule out that there is none, and the other way round
    low = max(low, n_right / n_pool) if n_right else 0.0
    high = min(high, 1 - n_wrong / n_pool) if n_wrong else 1.0
    return PoolAccuracy(
        mean=min(max(best, low), high), low=low, high=high, deviation=variance**0.5, shares=shares
    )


def _posterior(
    strata: Strata, labelled: IntArray, right: IntArray | FloatArray, priors: tuple[Prior, ...]
) -> tuple[float, float, FloatArray]:
    """Return mean and variance of the pool's accuracy, and the mean of each stratum's share.

    For each amount on a grid that may move the whole pool, strata are independent: the amount of
    a stratum has a normal density around it, the labels a binomial likelihood.
    """
    density = _densities(priors)
    score = np.concatenate([np.log(_POOL_WEIGHTS)] * len(priors))
    n_pool = len(strata.of)
    middle, noise = np.zeros(len(score)), np.zeros(len(score))
    shares = np.empty((len(strata.size), len(score)))
    for h, size in enumerate(strata.size):
        p = strata.shares[h]
        fit = right[h] * np.log(p) + (labelled[h] - right[h]) * np.log1p(-p)
        likely = np.exp(fit - fit.max())
        whole, first, second = (density @ np.stack([likely, likely * p, likely * p * p], 1)).T
        first, second = first / whole, second / whole
        score += np.log(whole)
        rest = size - labelled[h]
        shares[h] = first
        middle += (right[h] + rest * first) / n_pool
        noise += (rest * (first - second) + rest**2 * (second - first**2)) / n_pool**2
    w = np.exp(score - score.max())
    w /= w.sum()
    mean = float(w @ middle)
    return mean, max(float(w @ (noise + middle**2)) - mean**2, 0.0), shares @ w


@cache
def _densities(priors: tuple[Prior, ...]) -> FloatArray:
    """Return the density of a stratum's amount for each amount of the pool, (n_amounts, n_grid).

    A little is added everywhere, so that no likelihood vanishes between grid points.
    """
    centers = np.concatenate([prior.mean + prior.pool * _POOL_GRID for prior in priors])
    widths = np.repeat([prior.stratum for prior in priors], len(_POOL_GRID))
    density = np.exp(-0.5 * ((_GRID - centers[:, None]) / widths[:, None]) ** 2) + _SMALLEST
    return np.asarray(density / density.sum(1, keepdims=True))


def _logits(expected: FloatArray) -> FloatArray:
    """Return logits that stand for a stratum's rows: all, or as many quantiles."""
    values = np.sort(expected)
    if len(values) > _POINTS:
        values = np.quantile(values, (np.arange(_POINTS) + 0.5) / _POINTS)
    return logits(np.clip(values, _SURE, 1 - _SURE))


def logistic(values: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-x)) of each value, without overflow."""
    return np.asarray(0.5 + 0.5 * np.tanh(values / 2))


def logits(shares: FloatArray) -> FloatArray:
    """Return log(p / (1 - p)) of each share in (0, 1)."""
    return np.asarray(np.log(shares) - np.log1p(-shares))


def _beta_interval(mean: float, variance: float, level: float) -> tuple[float, float]:
    """Return the interval of the beta distribution with these moments."""
    from scipy.special import betaincinv  # not at import: some machines lack it

    if variance <= 0:
        return mean, mean
    strength = mean * (1 - mean) / variance - 1
    if strength <= 0:
        return 0.0, 1.0
    a, b = mean * strength, (1 - mean) * strength
    tail = (1 - level) / 2
    return float(betaincinv(a, b, tail)), float(betaincinv(a, b, 1 - tail))
