"""How many labels reach a target: the probability of the target at every number of labels.

A prediction at N labels is a distribution: the mean, and the errors that were seen on corpora left
out in units of the expected error at N. The probability that N labels reach the target is the share
of that distribution at or above it:

    P(reached by N) = max over M <= N of P(mean(M) + q spread(M) >= target),   q the errors seen

What is missing to 1 at the largest size is the probability that it is never reached there. Read
that way needs are calibrated (docs/scorecard.md). Reading the expected curve backwards answers
"now" or "never" wherever the curve is flat beside its own uncertainty, and giving every doubling
the same weight beforehand (Hoadley 1970) is far too careful.

How many to buy in each round follows from that belief: with a price per label, a penalty for
missing the target at the end and a number of rounds, the best plan weighs buying too much now
against coming back, or missing, later.

References:
    Mahmood, Lucas, Alvarez, Fidler and Law 2022, "Optimizing data collection for machine
    learning" (the objective; here solved exactly on a grid by dynamic programming).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

LEAST_PROBABILITY = 0.5
"""Targets that are reached with less are called not reachable: missing them is likelier."""

# Quantiles of the needs, in steps of a hundredth.
_N_DRAWS = 100


@dataclass(frozen=True, eq=False)
class NeedDistribution:
    """What is believed of label needs.

    Attributes:
        sizes: Numbers of labels, rising in equal steps of their logarithm, (n_sizes,).
        reached: Probability that the target is reached with at most each size, (..., n_sizes);
            the last one that it is reached at all.
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
        """The number that is as likely as not enough; infinity where none is, (...)."""
        return self.quantile(LEAST_PROBABILITY)

    def quantile(self, share: ArrayLike) -> FloatArray:
        """Return the size by which the target is reached with such a probability, (...).

        Infinity where it is not reached with that probability at all.
        """
        wanted = np.broadcast_to(np.asarray(share, np.float64), self.reached.shape[:-1])
        logs = np.log(self.sizes)
        flat = self.reached.reshape(-1, len(self.sizes))
        found = [_crossing(logs, row, w) for row, w in zip(flat, wanted.ravel(), strict=True)]
        return np.asarray(found).reshape(self.reached.shape[:-1])

    def at(self, n: ArrayLike) -> FloatArray:
        """Return the probability that n labels reach the target, by log size, (..., n_n).

        Args:
            n: Numbers of labels, (n_n,); below the first size its probability, above the last the
                last one's.
        """
        logs, asked = np.log(self.sizes), np.log(np.asarray(n, np.float64))
        flat = self.reached.reshape(-1, len(self.sizes))
        found = np.array([np.interp(asked, logs, row) for row in flat])
        return np.asarray(found.reshape(*self.reached.shape[:-1], len(asked)))

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
        sizes: From the available labels to the largest number, in equal steps of their logarithm,
            at least two, (n_sizes,).
        mean: Expected accuracies, not falling, (..., n_sizes).
        spread: Their expected absolute errors, above 0, (..., n_sizes).
        quantiles: Errors in multiples of it that were seen, equally likely, (..., n_quantiles).
        target: Accuracies, (...).
    """
    wanted = np.asarray(target, np.float64)[..., None]
    chances = [
        (mean[..., k, None] + quantiles * spread[..., k, None] >= wanted).mean(-1)
        for k in range(mean.shape[-1])
    ]
    reached = np.maximum.accumulate(np.stack(chances, -1), axis=-1)
    return NeedDistribution(np.asarray(sizes, np.float64), reached)


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


# Totals that are compared: steps of 0.4 % of the probability. The time grows with the square.
_GRID = 256


@dataclass(frozen=True)
class CollectionPlan:
    """What to have labelled after each round, as long as the target is not reached.

    Attributes:
        totals: Labels in hand after each round, rising, not counting on luck; (n_rounds,).
        cost: Expected cost, labels and penalty together, in the unit of the price.
        missed: Probability that the target is not reached with the last total.
    """

    totals: tuple[int, ...]
    cost: float
    missed: float


def plan_collection(
    needed: ArrayLike, *, have: int, price: float, penalty: float, rounds: int = 1
) -> CollectionPlan:
    """Return the cheapest plan in expectation.

    Minimised is  price * sum_t (q_t - q_{t-1}) P(need > q_{t-1}) + penalty * P(need > q_T)  over
    q_1 <= ... <= q_T, with q_0 the labels in hand: a round is paid for only while the target has
    not been reached.

    Args:
        needed: Draws of the number of labels that reach the target, infinity for never; each
            counts alike, (n_draws,).
        have: Labels in hand, 0 or more.
        price: Cost of a label, above 0.
        penalty: Cost of missing the target, above 0.
        rounds: How often labels can be bought.

    Raises:
        ValueError: An argument is out of range.
    """
    draws = np.sort(np.asarray(needed, np.float64).ravel())
    _check(draws, have, price, penalty, rounds)
    # Totals worth considering: what is in hand, and (quantiles of) what may be needed.
    useful = np.ceil(draws[np.isfinite(draws) & (draws > have)])
    if len(useful) > _GRID:
        useful = np.quantile(useful, np.linspace(0, 1, _GRID), method="higher")
    totals = np.unique(np.r_[float(have), useful])
    left = 1 - np.searchsorted(draws, totals, side="right") / len(draws)
    # value[j]: expected further cost, times the probability of being here, with totals[j] in hand
    value = penalty * left
    choices = []
    for _ in range(rounds):
        ahead = price * (totals[None, :] - totals[:, None]) * left[:, None] + value[None, :]
        ahead[np.tril_indices(len(totals), -1)] = np.inf
        choices.append(ahead.argmin(1))
        value = ahead.min(1)
    place, path = 0, []
    for choice in reversed(choices):
        place = int(choice[place])
        path.append(int(totals[place]))
    bought = [total for total in dict.fromkeys(path) if total > have]  # idle rounds come last
    path = [*bought, *[path[-1]] * (rounds - len(bought))]
    return CollectionPlan(tuple(path), float(value[0]), float(left[place]))


def _check(draws: FloatArray, have: int, price: float, penalty: float, rounds: int) -> None:
    if not len(draws) or np.isnan(draws).any() or (draws < 0).any():
        raise ValueError("needed: expected at least one number of labels, none NaN or below 0.")
    if have < 0 or rounds < 1:
        raise ValueError(
            f"have and rounds: expected at least 0 and at least 1, got {have} and {rounds}."
        )
    if not (0 < price < np.inf and 0 < penalty < np.inf):
        raise ValueError(f"price and penalty: expected above 0, got {price} and {penalty}.")
