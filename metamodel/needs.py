"""How many labels reach a target: the inverse of an uncertain curve.

Reading a need off the expected curve goes far astray where the curve is flat beside its own
uncertainty: whatever the true need, half of the answers say "now" and many others "never". So the
question is asked the other way round. Before the target is known, each doubling up to the largest
size is as likely to be the one that is asked for; a size n is then as likely as the target is to
be the accuracy reached there:

    P(n | target)  ~  p(accuracy at n = target),   accuracy at n about Laplace(mean, spread)

That the target is reached at all by the largest size is judged by the errors that were seen. A
target that is asked for counts as not reached yet, unless what is expected of the labels at hand
exceeds it by more than its typical error; then the errors that were seen say how probable it is at
each size.

Reference:
    Hoadley 1970, "A Bayesian look at inverse linear regression".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

LEAST_PROBABILITY = 0.15
"""Targets that are reached with less are called not reachable."""

_N_DRAWS = 100


@dataclass(frozen=True, eq=False)
class NeedDistribution:
    """What is believed of label needs.

    Attributes:
        sizes: Numbers of labels, rising in equal steps of their logarithm, (n_sizes,).
        reached: Probability that the target is reached with at most so many, (..., n_sizes); the
            last one that it is reached at all.
    """

    sizes: FloatArray
    reached: FloatArray

    @property
    def probability(self) -> FloatArray:
        """That the target is reached with the largest number, (...)."""
        return np.asarray(self.reached[..., -1])

    @property
    def reachable(self) -> NDArray[np.bool_]:
        """Whether the target is called reachable, (...)."""
        return np.asarray(self.probability >= LEAST_PROBABILITY)

    @property
    def typical(self) -> FloatArray:
        """The median need, given that the target is reached; infinity where it is not, (...)."""
        found = self.quantile(0.5 * self.probability)
        return np.where(self.reachable, found, np.inf)

    def quantile(self, share: ArrayLike) -> FloatArray:
        """Return the size by which the target is reached with such a probability, (...).

        Infinity where it is not reached with that probability at all.
        """
        wanted = np.broadcast_to(np.asarray(share, np.float64), self.reached.shape[:-1])
        logs = np.log(self.sizes)
        flat = self.reached.reshape(-1, len(self.sizes))
        found = [_crossing(logs, row, w) for row, w in zip(flat, wanted.ravel(), strict=True)]
        return np.asarray(found).reshape(self.reached.shape[:-1])

    def draws(self) -> FloatArray:
        """Return equally likely needs, infinity for never, (..., n_draws)."""
        shares = (np.arange(_N_DRAWS) + 0.5) / _N_DRAWS
        return np.stack([self.quantile(share) for share in shares], -1)


def need_distribution(
    sizes: FloatArray,
    mean: FloatArray,
    spread: FloatArray,
    quantiles: FloatArray,
    target: ArrayLike,
) -> NeedDistribution:
    """Return what is believed of the number of labels that reach a target.

    Args:
        sizes: From the labels at hand to the largest number, in equal steps of their logarithm,
            at least two, (n_sizes,).
        mean: Expected accuracies, not falling, (..., n_sizes).
        spread: Their expected absolute errors, above 0, (..., n_sizes).
        quantiles: Errors in multiples of it that were seen, equally likely, (..., n_quantiles).
        target: Accuracies, (...).
    """
    wanted = np.asarray(target, np.float64)[..., None]
    density = np.exp(-np.abs(wanted - mean) / spread) / spread
    steps = np.concatenate(
        [np.zeros_like(density[..., :1]), (density[..., 1:] + density[..., :-1]) / 2], -1
    )
    total = np.maximum(steps.sum(-1, keepdims=True), 1e-300)
    ever = (mean[..., -1:] + quantiles * spread[..., -1:] >= wanted).mean(-1)
    reached = ever[..., None] * np.minimum(steps.cumsum(-1) / total, 1.0)
    already = mean[..., :1] >= wanted + spread[..., :1]
    return NeedDistribution(
        np.asarray(sizes, np.float64),
        np.where(already, _chances(mean, spread, quantiles, wanted), reached),
    )


def _chances(
    mean: FloatArray, spread: FloatArray, quantiles: FloatArray, wanted: FloatArray
) -> FloatArray:
    """Return how probable a target is at every size, not falling, (..., n_sizes)."""
    chances = [
        (mean[..., k, None] + quantiles * spread[..., k, None] >= wanted).mean(-1)
        for k in range(mean.shape[-1])
    ]
    return np.maximum.accumulate(np.maximum(np.stack(chances, -1), 0.5), axis=-1)


def first_size(sizes: FloatArray, curves: FloatArray, target: ArrayLike) -> FloatArray:
    """Return where rising curves reach a target, by log size between points; infinity for never.

    Args:
        sizes: Rising, (n_sizes,).
        curves: Accuracies, (..., n_sizes), not falling.
        target: Accuracies, (...).
    """
    wanted = np.asarray(target, np.float64)
    reached = curves >= wanted[..., None]
    place = reached.argmax(-1)
    before = np.maximum(place - 1, 0)
    take = np.take_along_axis
    high = take(curves, place[..., None], -1)[..., 0]
    low = take(curves, before[..., None], -1)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(high > low, (wanted - low) / (high - low), 1.0)
    logs = np.log(sizes)
    found = np.exp(logs[before] + np.clip(part, 0, 1) * (logs[place] - logs[before]))
    return np.where(reached.any(-1), found, np.inf)


def _crossing(logs: FloatArray, reached: FloatArray, share: float) -> float:
    if reached[-1] < share - 1e-12:
        return float("inf")
    place = int(np.searchsorted(reached, min(share, reached[-1])))
    if place == 0:
        return float(np.exp(logs[0]))
    low, high = reached[place - 1], reached[place]
    part = (share - low) / (high - low) if high > low else 1.0
    return float(np.exp(logs[place - 1] + min(part, 1.0) * (logs[place] - logs[place - 1])))
