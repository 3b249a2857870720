"""The numbers of an estimate, each with its sentence: accuracies, labels for a target, a plan.

Sentences show an accuracy in per cent and a number of labels to two digits; no estimate is more
exact than that. JSON and the table keep every digit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

LIKELY = 0.5
"""A target with a smaller probability may be out of reach, and the answer says so. One half: below
it, missing the target is the likelier outcome."""

UNLIKELY = 0.15
"""A target with a smaller probability is called unlikely."""

_SHOWN_BUDGETS = (0.02, 0.98)
"""Chances beyond these are not worth a place in a sentence, but for the first and the last."""

_LARGEST_SHARE = 0.999
"""A share below 1 is never shown as 100 %."""


def percent(share: float) -> str:
    """Return a share in [0, 1] in per cent.

    >>> percent(0.846), percent(0.9968), percent(0.99996), percent(1.0)
    ('85 %', '99.7 %', '99.9 %', '100 %')
    """
    if 0.995 <= share < 1:
        return f"{100 * min(share, _LARGEST_SHARE):.1f} %"
    return f"{100 * share:.0f} %"


def span(low: float, high: float) -> str:
    """Return an interval of shares in per cent.

    >>> span(0.761, 0.93)
    '76 to 93 %'
    """
    return f"{percent(low).removesuffix(' %')} to {percent(high)}"


def rough(n: float) -> str:
    """Return a number of labels to two digits.

    >>> rough(1409), rough(391), rough(46), rough(9)
    ('1,400', '390', '46', '9')
    """
    unit = 10 ** max(0, math.floor(math.log10(max(n, 1))) - 1)
    return f"{math.floor(n / unit + 0.5) * unit:,}"


def exact_percent(share: float) -> str:
    """Return a target in per cent with the digits that it was given with.

    >>> exact_percent(0.9), exact_percent(0.855)
    ('90 %', '85.5 %')
    """
    return f"{100 * share:.10g} %"


@dataclass(frozen=True)
class Interval:
    """An accuracy with its 90 % interval, all from 0 to 1."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{percent(self.mean)} ({span(self.low, self.high)})"

    def row(self) -> dict[str, float]:
        """Return the fields as a row."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class LabelsNeeded:
    """How many labels reach a target.

    Attributes:
        target: The accuracy.
        n: Labels that are as likely as not enough; None where not even ``largest`` are.
        low: Labels that are enough with a probability of 5 %; None where not even ``largest`` are.
        high: Labels that are enough with a probability of 95 %; None where not even ``largest``
            are.
        reached: Whether it is more likely than not reached by ``largest``.
        probability: That it is reached by ``largest``.
        largest: The largest number of labels that is looked at.
        budgets: Numbers of labels, each with the probability that it is enough.
    """

    target: float
    n: int | None
    low: int | None
    high: int | None
    reached: bool
    probability: float
    largest: int
    budgets: tuple[tuple[int, float], ...] = ()

    def budget_rows(self) -> list[dict[str, float]]:
        """Return one row a budget: n, probability."""
        return [{"n": n, "probability": probability} for n, probability in self.budgets]

    @property
    def chances(self) -> str:
        """The probability of the target for each budget, as a sentence; empty without budgets."""
        if not self.budgets:
            return ""
        least, most = _SHOWN_BUDGETS
        below = sum(p < least for _, p in self.budgets)
        above = sum(p > most for _, p in self.budgets)
        first = max(below - 1, 0)
        last = len(self.budgets) - max(above - 1, 0)
        parts = [f"{percent(p)} with {n:,} labels" for n, p in self.budgets[first:last]]
        return f"Chance of {exact_percent(self.target)} accuracy: {', '.join(parts)}"

    def row(self) -> dict[str, Any]:
        """Return the fields as a row."""
        return {
            "target": self.target,
            "n": self.n,
            "low": self.low,
            "high": self.high,
            "reached": self.reached,
            "probability": self.probability,
            "largest": self.largest,
        }

    def sentence(self, have: int) -> str:
        """Return the answer as a sentence or two.

        Args:
            have: Labels that there are.
        """
        target, chance = exact_percent(self.target), percent(self.probability)
        if self.n is None and self.probability >= UNLIKELY:
            return (
                f"{target} accuracy may be out of reach: with {self.largest:,} labels the chance "
                f"is {chance}."
            )
        if self.n is None:
            return (
                f"{target} accuracy is unlikely: even with {self.largest:,} labels the chance is "
                f"{chance}."
            )
        if self.n <= have:
            known = self.high is not None and self.high <= have  # nothing is left to range over
            tail = "" if known else f" ({self._range()})"
            return f"Your {have:,} labels should reach {target} accuracy{tail}."
        return f"About {rough(self.n)} labels should reach {target} accuracy ({self._range()})."

    def _range(self) -> str:
        if self.high is None:
            low = "" if self.low is None else f"{rough(self.low)} to "
            return f"range {low}more than {self.largest:,}"
        low = "fewer" if self.low is None else rough(self.low)
        return f"range {low} to {rough(self.high)}"


@dataclass(frozen=True)
class Purchase:
    """The cheapest way to buy labels, in expectation.

    Attributes:
        totals: Labels in hand after each round, as long as the target is not reached.
        cost: Expected cost, labels and penalty together.
        missed: Probability that the target is not reached in the end.
    """

    totals: tuple[int, ...]
    cost: float
    missed: float

    def row(self) -> dict[str, Any]:
        """Return the fields as a row."""
        return {"totals": list(self.totals), "cost": self.cost, "missed": self.missed}

    def sentence(self, have: int) -> str:
        """Return the plan as a sentence.

        Args:
            have: Labels that there are.
        """
        if self.totals[-1] <= have:
            plan = "Buy no labels: they cost more than missing the target"
        else:
            steps = [f"{total:,}" for total in dict.fromkeys(self.totals)]
            plan = f"Buy labels until you have {steps[0]}"
            if steps[1:]:
                plan += f"; if that is not enough, {', then '.join(steps[1:])}"
        return f"{plan}."

    @property
    def price(self) -> str:
        """What the plan costs, as a sentence."""
        return (
            f"The plan costs {self.cost:,.0f} in expectation and misses the target with "
            f"probability {percent(self.missed)}."
        )


@dataclass(frozen=True)
class LeftOut:
    """What heads make of the labels, each left out of the fit in turn; from 0 to 1.

    Labels that are the only one of their class are not counted.

    Attributes:
        accuracy: Share right.
        macro_f1: Mean of F1 over the classes.
        balanced_accuracy: Mean of recall over the classes.
    """

    accuracy: float
    macro_f1: float
    balanced_accuracy: float
