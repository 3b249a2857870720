"""How nearly an embedding would come out again: the cosine of disjoint halves of its texts.

Texts are dealt at random into up to `N_GROUPS` groups, and only the groups' sums s_g are kept, so
that memory does not grow with the number of texts. Half of the groups, drawn at random, hold a
random half of the texts, and with the products A_gh = s_g . s_h the cosine of two halves is

    cos(u) = u'A(1-u) / sqrt(u'Au (1-u)'A(1-u)),    u_g = 1 where g is in the first half.

Its mean over many halves is what is reported. Nothing is assumed about the texts' numbers, whose
tails are heavy, nor about the direction of their noise: noise along the embedding itself changes
its length and no cosine, which is why |m|^2 / (|m|^2 + noise) would be too low.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charkit.fisher.layout import Slice

FloatArray = NDArray[np.float64]

# A choice between memory, one vector a group, and the number of ways to halve the texts: 32 groups
# have 3 * 10^8 halves, so that random ones hardly repeat.
N_GROUPS = 32
"""Groups into which texts are dealt."""

# A convention, not a measurement. By Spearman and Brown's formula (see `Stability`) another sample
# of the same size then agrees to 2 * 0.99 / 1.99 = 0.995 with this one, an angle of 6 degrees.
STABLE = 0.99
"""Halves that agree to this cosine make an embedding stable."""

# The twentieth of splits with the lowest cosine then rests on 25 splits, and the standard error of
# the mean is a 23rd of the spread between splits.
_N_SPLITS = 512

# With 2 or 3 groups there are 1 or 3 ways to halve them: no distribution to speak of.
_FEWEST = 4


# Resamples whose numbers are in memory at a time.
_PIECE = 64


@dataclass(frozen=True)
class Stability:
    """Cosines that an embedding is expected to have; NaN where it is unknown.

    Attributes:
        halves: Between two disjoint random halves of its texts.
        low: Their cosine in the twentieth of splits with the lowest.
        again: Between the embedding and that of another sample of the same size under the
            same head: the noise of halves is twice as large, so this is 2 c / (1 + c) for
            halves that agree to c (the formula of Spearman 1910 and Brown 1910).
    """

    halves: float
    low: float
    again: float


UNKNOWN = Stability(float("nan"), float("nan"), float("nan"))


def deal_groups(n_samples: int, *, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the random order of texts, and the group of each text in its own place.

    The first n texts of the order fill the groups evenly, whatever n.

    Returns:
        The order, (n_samples,), and the groups, (n_samples,).
    """
    order = np.random.default_rng([seed, 0]).permutation(n_samples)
    groups = np.empty(n_samples, np.int64)
    groups[order] = np.arange(n_samples) % N_GROUPS
    return order, groups


def group_products(sums: FloatArray, slices: Sequence[Slice]) -> FloatArray:
    """Return the products of the groups' sums, slice by slice.

    Args:
        sums: Shape (n_groups, size).
        slices: Named runs of numbers.

    Returns:
        Shape (n_slices, n_groups, n_groups).
    """
    parts = [sums[:, s.start : s.stop] for s in slices]
    return np.stack([part @ part.T for part in parts])


def products_of_rows(
    rows: NDArray[np.floating], slices: Sequence[Slice], *, seed: int
) -> FloatArray:
    """Return the products of texts dealt into groups anew, from the numbers of every text.

    Args:
        rows: Shape (n_samples, size).
        slices: Named runs of numbers.
        seed: Of the dealing.

    Returns:
        Shape (n_slices, n_groups, n_groups).
    """
    _, groups = deal_groups(len(rows), seed=seed)
    n_groups = min(N_GROUPS, len(rows))
    sums = np.stack([rows[groups == g].sum(0, dtype=np.float64) for g in range(n_groups)])
    return group_products(sums, slices)


def half_cosines(products: FloatArray) -> FloatArray:
    """Return the cosines of many random halves of the groups.

    Args:
        products: Of the groups' sums, (n_groups, n_groups).

    Returns:
        Sorted; empty where there are fewer than 4 groups or no gradient at all.
    """
    n_groups = len(products)
    if n_groups < _FEWEST:
        return np.zeros(0)
    ranks = np.random.default_rng(0).random((_N_SPLITS, n_groups)).argsort(1)
    first = (ranks < n_groups // 2).astype(np.float64)
    second = 1 - first
    ours, theirs = first @ products, second @ products
    lengths = (ours * first).sum(1) * (theirs * second).sum(1)
    if not (lengths > 0).all():
        return np.zeros(0)
    return np.sort((ours * second).sum(1) / np.sqrt(lengths))


def stability_of(products: FloatArray) -> Stability:
    """Return the verdict on an embedding.

    Args:
        products: Of the groups' sums, (n_groups, n_groups).
    """
    cosines = half_cosines(products)
    if not len(cosines):
        return UNKNOWN
    halves = float(cosines.mean())
    again = 2 * halves / (1 + halves) if halves > 0 else halves
    return Stability(halves, float(np.quantile(cosines, 0.05)), again)


def resampled_squares(
    rows: NDArray[np.floating], places: Sequence[NDArray[np.bool_]], *, n_resamples: int, seed: int
) -> NDArray[np.float64]:
    """Return squared norms of resamples.

    Args:
        rows: The numbers of every text, (n_samples, size).
        places: For each group of numbers, which belong to it, (size,); together all.
        n_resamples: How many resamples.
        seed: Of the draws.

    Returns:
        By group, and of all together, (n_resamples, n_groups + 1).
    """
    rng = np.random.default_rng(seed)
    out = np.empty((n_resamples, len(places) + 1))
    share = np.full(len(rows), 1 / len(rows))
    for first in range(0, n_resamples, _PIECE):
        count = min(_PIECE, n_resamples - first)
        counts = rng.multinomial(len(rows), share, count) / len(rows)
        means = counts.astype(rows.dtype) @ rows
        part = slice(first, first + count)
        for column, place in enumerate(places):
            chosen = means[:, place].astype(np.float64)
            out[part, column] = np.einsum("ij,ij->i", chosen, chosen)
    out[:, -1] = out[:, :-1].sum(1)
    return out
