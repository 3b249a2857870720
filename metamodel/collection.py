"""How many labels to buy in each round, given what is believed about the number needed.

With a price per label, a penalty for missing the target at the end and a number of rounds, the
best plan weighs buying too much now against coming back, or missing, later.

References:
    Mahmood, Lucas, Alvarez, Fidler and Law 2022, "Optimizing data collection for machine
    learning" (the objective; here solved exactly on a grid by dynamic programming).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

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
    totals = _candidates(draws, have)
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


def _candidates(draws: FloatArray, have: int) -> FloatArray:
    """Return totals worth considering: what is in hand, and (quantiles of) what may be needed."""
    useful = np.ceil(draws[np.isfinite(draws) & (draws > have)])
    if len(useful) > _GRID:
        useful = np.quantile(useful, np.linspace(0, 1, _GRID), method="higher")
    return np.unique(np.r_[float(have), useful])


def _check(draws: FloatArray, have: int, price: float, penalty: float, rounds: int) -> None:
    if not len(draws) or np.isnan(draws).any() or (draws < 0).any():
        raise ValueError("needed: expected at least one number of labels, none NaN or below 0.")
    if have < 0 or rounds < 1:
        raise ValueError(
            f"have and rounds: expected at least 0 and at least 1, got {have} and {rounds}."
        )
    if not (0 < price < np.inf and 0 < penalty < np.inf):
        raise ValueError(f"price and penalty: expected above 0, got {price} and {penalty}.")
