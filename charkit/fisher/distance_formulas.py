"""The distances as functions of numbers: a matrix of all pairs, or a list of pairs.

`charkit.fisher.distances` has the formulas and the references; here they are computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from charkit.fisher.pair_sums import COSINE, ENTROPY, JSD, KL, PairSum, all_pairs, listed_pairs

FloatArray = NDArray[np.float64]

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
