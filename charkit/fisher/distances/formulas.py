"""The distances as functions of numbers: a matrix of all pairs, or a list of pairs.

`charkit.fisher.distances.pairwise` has the formulas and the references; here they are computed.

Sums over coordinates of a function of two embeddings, for all pairs at once, in tiles.

The functions depend only on the ratio h / g of two numbers, so that each coordinate may first
be divided by its geometric mean over the embeddings: numbers then lie around 1, and a sum of
logarithms may be taken as the logarithm of a product.

Many pairs are summed in float32, the sums of tiles added in float64, and pairs that come out near
each other are summed again in float64; a distance loses a few millionths of itself at most. Few
pairs are summed in float64 throughout. Tiles share the cores; the result does not depend on how
many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from charkit.store.manifest import available_cores

FloatArray = NDArray[np.float64]
Block = NDArray[np.floating]
Views = tuple[Block, ...]

FEW_VISITS = 1 << 27
"""Up to this many pairs times coordinates are summed in float64: a second or less."""

NEAR = 2e-3
"""Pairs whose mean term is less are summed again in float64."""

# Tiles that stay in the processor's cache: the embeddings on each side, and the coordinates of
# both. A tile is 16 x 16 x 1,280 numbers of float32: 1.3 MB.
_SIDE = {np.dtype(np.float32): 16, np.dtype(np.float64): 8}
_CHUNK = 1280

# Factors that are multiplied before their logarithm is taken. `_factors` takes fewer where the
# product could overflow.
_FACTORS = 16

# Pairs that are summed again together: half a side of a tile.
_LISTED = 8


@dataclass(frozen=True)
class PairSum:
    """A distance as a function of sums over coordinates.

    Attributes:
        views: From the numbers, (..., size), to what the kernel reads of them.
        kernel: ``kernel(one, other, scratch, factors)``: from the views of two that broadcast, and
            two arrays to write on, to sums over the last axis; coordinates where both are 1 add
            nothing. That many factors can be multiplied without overflow.
        finish: ``finish(sums, logs, size)``: from sums, (n_sums, ...), and both embeddings' sum
            of logarithms, (...), to distances, (...).
        n_sums: How many sums there are.
        summed: Whether the distance is a sum over coordinates, not a mean.
    """

    views: Callable[[Block], Views]
    kernel: Callable[[Views, Views, tuple[Block, Block], int], tuple[Block, ...]]
    finish: Callable[[FloatArray, FloatArray, int], FloatArray]
    n_sums: int = 1
    summed: bool = False


def all_pairs(numbers: FloatArray, what: PairSum, *, few_visits: int = FEW_VISITS) -> FloatArray:
    """Return the symmetric matrix of a distance, zero on the diagonal.

    Args:
        numbers: Positive, (count, size).
        what: The distance.
        few_visits: Up to this many pairs times coordinates are summed in float64.

    Returns:
        The matrix, (count, count).
    """
    count, size = numbers.shape
    scaled = np.log(numbers)
    scaled -= scaled.mean(0)
    reach = float(max(scaled.max(), -scaled.min()))
    np.exp(scaled, out=scaled)
    if count * (count - 1) // 2 * size <= few_visits or reach > 40:  # e^88 is float32's largest
        return _tiled(scaled, what, reach)
    out = _tiled(scaled.astype(np.float32), what, reach)
    near = np.triu(out < NEAR * (size if what.summed else 1), 1)
    if 8 * near.sum() > count * count:
        return _tiled(scaled, what, reach)
    rows, columns = np.nonzero(near)
    for first in range(0, len(rows), _LISTED):
        i, j = rows[first : first + _LISTED], columns[first : first + _LISTED]
        out[i, j] = out[j, i] = listed_pairs(scaled[i], scaled[j], what)
    return out


def listed_pairs(one: FloatArray, other: FloatArray, what: PairSum) -> FloatArray:
    """Return the distances of pairs of rows, (count,), in float64.

    Args:
        one: Positive, (count, size) or (size,).
        other: Positive, (count, size).
        what: The distance.
    """
    one, other = np.broadcast_arrays(one, other)
    starts = range(0, len(other), _LISTED)

    def work(first: int) -> FloatArray:
        part = slice(first, first + _LISTED)
        return _one_piece(one[part], other[part], what)

    with ThreadPoolExecutor(max(1, min(available_cores(), len(starts)))) as pool:
        return np.concatenate([np.zeros(0), *pool.map(work, starts)])


def _one_piece(one: FloatArray, other: FloatArray, what: PairSum) -> FloatArray:
    middle = np.sqrt(one * other)
    pair = (_padded(one / middle, _FACTORS), _padded(other / middle, _FACTORS))
    reach = float(np.abs(np.log(pair[0])).max())
    scratch = (np.empty_like(pair[0]), np.empty_like(pair[0]))
    sums = what.kernel(what.views(pair[0]), what.views(pair[1]), scratch, _factors(pair[0], reach))
    logs = np.log(pair[0]).sum(-1) + np.log(pair[1]).sum(-1)
    return what.finish(np.stack(sums), logs, other.shape[-1])


def _tiled(scaled: Block, what: PairSum, reach: float) -> FloatArray:
    count, size = scaled.shape
    n_chunks = -(-size // _CHUNK)
    width = -(-size // (n_chunks * _FACTORS)) * _FACTORS
    padded = _padded(scaled, n_chunks * width)
    chunks = [
        what.views(np.ascontiguousarray(padded[:, first : first + width]))
        for first in range(0, padded.shape[1], width)
    ]
    factors = _factors(scaled, reach)
    sums = np.zeros((what.n_sums, count, count))
    side = _SIDE[scaled.dtype]
    starts = range(0, count, side)
    tiles = [
        (slice(i, min(i + side, count)), slice(j, min(j + side, count)))
        for i in starts
        for j in starts
        if j >= i
    ]

    def work(share: list[tuple[slice, slice]]) -> None:
        space = np.empty((2, side * side * width), scaled.dtype)
        for rows, columns in share:
            shape = (rows.stop - rows.start, columns.stop - columns.start, width)
            x, y = (s[: np.prod(shape)].reshape(shape) for s in space)
            tile = sums[:, rows, columns]
            for views in chunks:
                one = tuple(v[rows, None] for v in views)
                other = tuple(v[None, columns] for v in views)
                for place, found in enumerate(what.kernel(one, other, (x, y), factors)):
                    tile[place] += found

    workers = min(available_cores(), len(tiles))
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, [tiles[k::workers] for k in range(workers)]))
    total = np.log(scaled, dtype=np.float64).sum(1)
    out = np.triu(what.finish(sums, total[:, None] + total, size), 1)
    return np.asarray(out + out.T)


def _padded(numbers: Block, multiple: int) -> Block:
    """Return the numbers with ones behind, up to a multiple of some width."""
    lacking = -numbers.shape[-1] % multiple
    ones = np.ones((*numbers.shape[:-1], lacking), numbers.dtype)
    return np.concatenate([numbers, ones], axis=-1) if lacking else numbers


def _factors(numbers: Block, reach: float) -> int:
    """Return how many numbers within e^-reach and e^reach have a product that is finite."""
    room = 80 if numbers.dtype == np.float32 else 700
    factors = _FACTORS
    while factors > 1 and factors * reach > room:
        factors //= 2
    return factors


def _sum_of_logs(x: Block, factors: int) -> Block:
    """Return the sums of logarithms over the last axis, by products; overwrites ``x``."""
    width = x.shape[-1]
    for _ in range(factors.bit_length() - 1):
        width //= 2
        np.multiply(x[..., :width], x[..., width : 2 * width], out=x[..., :width])
    part = x[..., :width]
    np.log(part, out=part)
    return np.asarray(part.sum(-1))


def _dot(x: Block, y: Block) -> Block:
    return np.asarray(np.einsum("...k,...k->...", x, y))


# -- cosine of h / (h + g) and g / (h + g) -------------------------------------------------------


def _shares(one: Views, other: Views, scratch: tuple[Block, Block]) -> Block:
    """Return (h - g) / (h + g), in the second array."""
    x, y = scratch
    np.add(one[0], other[0], out=x)
    np.subtract(one[0], other[0], out=y)
    return np.asarray(np.divide(y, x, out=y))


def _cosine_sums(
    one: Views, other: Views, scratch: tuple[Block, Block], factors: int
) -> tuple[Block, ...]:
    share = _shares(one, other, scratch)
    return share.sum(-1), _dot(share, share)


def _cosine(sums: FloatArray, logs: FloatArray, size: int) -> FloatArray:
    """Return the distance without cancellation.

    With z = (h - g) / (2 (h + g)) the two vectors are 1/2 + z and 1/2 - z, and 1 - cos is
    (R sum z^2 - (sum z)^2) / (s (s + c)), s the product of their lengths, c their product.
    """
    mean, square = sums[0] / (2 * size), sums[1] / (4 * size)
    product = 0.25 - square
    lengths = np.sqrt((0.25 + square) ** 2 - mean**2)
    spread = np.maximum(square - mean**2, 0)
    return np.asarray(spread / (lengths * (lengths + product)))


# -- larger of two divergences: sum of (R - 1 - ln R) / 2, R the larger of h / g and g / h -------


def _kl_sums(
    one: Views, other: Views, scratch: tuple[Block, Block], factors: int
) -> tuple[Block, ...]:
    x, y = scratch
    np.subtract(one[0], other[0], out=x)
    np.abs(x, out=x)
    np.maximum(one[1], other[1], out=y)
    beyond = _dot(x, y)  # R - 1 = |h - g| max(1 / h, 1 / g)
    np.subtract(one[2], other[2], out=x)
    np.abs(x, out=x)
    return beyond, x.sum(-1)


def _kl(sums: FloatArray, logs: FloatArray, size: int) -> FloatArray:
    return np.asarray(np.maximum(0.5 * (sums[0] - sums[1]), 0))


# -- the others: ln cosh(x / 2) = ln((h + g) / 2) - (ln h + ln g) / 2, with x = ln h - ln g ------


def _jsd_sums(
    one: Views, other: Views, scratch: tuple[Block, Block], factors: int
) -> tuple[Block, ...]:
    np.add(one[0], other[0], out=scratch[0])
    return (_sum_of_logs(scratch[0], factors),)


def _jsd(sums: FloatArray, logs: FloatArray, size: int) -> FloatArray:
    return np.asarray(np.maximum((sums[0] - logs / 2) / (2 * size), 0))


def _entropy_sums(
    one: Views, other: Views, scratch: tuple[Block, Block], factors: int
) -> tuple[Block, ...]:
    share = _shares(one, other, scratch)  # leaves (h + g) / 2 in the first array
    tilted = _dot(share, one[1]) - _dot(share, other[1])
    return tilted, _sum_of_logs(scratch[0], factors)


def _entropy(sums: FloatArray, logs: FloatArray, size: int) -> FloatArray:
    """Return the mean of (x / 2) tanh(x / 2) - ln cosh(x / 2)."""
    return np.asarray(np.maximum((sums[0] / 2 - sums[1] + logs / 2) / size, 0))


COSINE = PairSum(lambda h: (h,), _cosine_sums, _cosine, n_sums=2)
KL = PairSum(lambda h: (h, 1 / h, np.log(h)), _kl_sums, _kl, n_sums=2, summed=True)
JSD = PairSum(lambda h: (h / 2,), _jsd_sums, _jsd)
ENTROPY = PairSum(lambda h: (h / 2, np.log(h)), _entropy_sums, _entropy, n_sums=2)


ALPHA = 0.15
"""Weight of the distance to the trivial embedding in ``asymmetric``."""


@dataclass(frozen=True, eq=False)
class Frame:
    """What some distances take from a library.

    Attributes:
        centre: Mean of ln(h / sum h), (size,), for ``log_ratio``.
        prior: What is added to each embedding, (size,), for ``asymmetric``.
    """

    centre: FloatArray | None = None
    prior: FloatArray | None = None


NO_FRAME = Frame()


@dataclass(frozen=True)
class Formula:
    """A distance.

    Attributes:
        matrix: From the numbers, (count, size), to all pairs, (count, count).
        listed: From the numbers of each pair's two, (count, size), to distances, (count,).
    """

    matrix: Callable[[FloatArray, Frame], FloatArray]
    listed: Callable[[FloatArray, FloatArray, Frame], FloatArray]


def _sums(what: PairSum) -> Formula:
    return Formula(
        lambda h, frame: all_pairs(h, what), lambda h, g, frame: listed_pairs(h, g, what)
    )


# -- 1 - cosine of something made of each embedding by itself --------------------------------------


def _unit(vectors: FloatArray) -> FloatArray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1))


def _between_lines(made: Callable[[FloatArray, Frame], FloatArray]) -> Formula:
    def matrix(h: FloatArray, frame: Frame) -> FloatArray:
        unit = _unit(made(h, frame))
        out = np.clip(1 - unit @ unit.T, 0, 2)
        np.fill_diagonal(out, 0)
        return np.asarray(out)

    def listed(h: FloatArray, g: FloatArray, frame: Frame) -> FloatArray:
        product = np.einsum("ij,ij->i", _unit(made(h, frame)), _unit(made(g, frame)))
        return np.asarray(np.clip(1 - product, 0, 2))

    return Formula(matrix, listed)


def _variances_from_mean(h: FloatArray, frame: Frame) -> FloatArray:
    variances = 1 / h
    return np.asarray(variances - variances.mean(1, keepdims=True))


def log_shares(h: FloatArray) -> FloatArray:
    """Return ln(h / sum h), row by row."""
    return np.asarray(np.log(h / h.sum(1, keepdims=True)))


def _centred_log_shares(h: FloatArray, frame: Frame) -> FloatArray:
    assert frame.centre is not None
    return np.asarray(log_shares(h) - frame.centre)


# -- the others ------------------------------------------------------------------------------


def _asymmetric_kl_matrix(h: FloatArray, frame: Frame) -> FloatArray:
    logs = np.log(h).sum(1)
    out = 0.5 * ((1 / h) @ h.T - h.shape[1] + logs[:, None] - logs[None, :])
    np.fill_diagonal(out, 0)
    return np.asarray(np.maximum(out, 0))


def _asymmetric_kl_listed(h: FloatArray, g: FloatArray, frame: Frame) -> FloatArray:
    ratio = g / h
    return np.asarray(np.maximum(0.5 * (ratio - 1 - np.log(ratio)).sum(1), 0))


def _aitchison_matrix(h: FloatArray, frame: Frame) -> FloatArray:
    logs = np.log(h)
    logs -= logs.mean(1, keepdims=True)
    logs -= logs.mean(0)  # changes no difference, and less is lost of them
    square = (logs**2).sum(1)
    out = np.sqrt(np.maximum(square[:, None] + square - 2 * logs @ logs.T, 0) / h.shape[1])
    np.fill_diagonal(out, 0)
    return np.asarray(out)


def _aitchison_listed(h: FloatArray, g: FloatArray, frame: Frame) -> FloatArray:
    return np.asarray(np.log(h / g).std(1))


def _asymmetric_matrix(h: FloatArray, frame: Frame) -> FloatArray:
    assert frame.prior is not None
    raised = h + frame.prior
    to_trivial = listed_pairs(frame.prior, raised, COSINE)
    out = all_pairs(raised, COSINE) - ALPHA * to_trivial[:, None]
    np.fill_diagonal(out, 0)
    return np.asarray(out)


def _asymmetric_listed(h: FloatArray, g: FloatArray, frame: Frame) -> FloatArray:
    assert frame.prior is not None
    between = partial(listed_pairs, what=COSINE)
    to_trivial = between(frame.prior, h + frame.prior)
    return np.asarray(between(h + frame.prior, g + frame.prior) - ALPHA * to_trivial)


FORMULAS: dict[str, Formula] = {
    "cosine": _sums(COSINE),
    "plain_cosine": _between_lines(lambda h, frame: h),
    "normalized_cosine": _between_lines(lambda h, frame: 1 / h),
    "correlation": _between_lines(_variances_from_mean),
    "kl": _sums(KL),
    "asymmetric_kl": Formula(_asymmetric_kl_matrix, _asymmetric_kl_listed),
    "jsd": _sums(JSD),
    "entropy": _sums(ENTROPY),
    "aitchison": Formula(_aitchison_matrix, _aitchison_listed),
    "asymmetric": Formula(_asymmetric_matrix, _asymmetric_listed),
    "log_ratio": _between_lines(_centred_log_shares),
}
