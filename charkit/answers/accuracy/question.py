"""What is asked of an estimate: checked before any work, and against the given labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from charkit.answers.accuracy.learner_table import known_learners
from charkit.config import listing
from charkit.errors import UsageError


@dataclass(frozen=True)
class Costs:
    """What labels cost.

    Attributes:
        price: Of a label.
        penalty: Of missing the target.
        rounds: How often labels can be bought.
    """

    price: float
    penalty: float
    rounds: int = 1


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        target: An accuracy to reach; None to ask for none.
        costs: What labels cost; None for no plan.
        learners: Ways of training to compare; None for all that are known.
    """

    target: float | None = None
    costs: Costs | None = None
    learners: tuple[str, ...] | None = None


def ask(
    *,
    target: float | None = None,
    cost: float | None = None,
    penalty: float | None = None,
    rounds: int = 1,
    learners: str | Sequence[str] | None = None,
) -> Question:
    """Check what is asked, before any work.

    Args:
        target: An accuracy to reach, as a fraction.
        cost: Price of a label.
        penalty: Cost of missing the target, in the same unit.
        rounds: How often labels can be bought.
        learners: Ways of training to compare: names, or one text with commas between them.

    Raises:
        UsageError: The target is no fraction, costs are incomplete or out of range, or a learner
            is not known.
        DataError: The file of ways of training is damaged.
    """
    compared = None if learners is None else _learners(learners)
    if target is not None:
        _check_target(target)
    if cost is None and penalty is None:
        if rounds != 1:
            raise UsageError(
                f"rounds without costs: expected --cost and --penalty beside them, got {rounds} "
                "rounds. Give what a label and a missed target cost."
            )
        return Question(target, learners=compared)
    if target is None or cost is None or penalty is None:
        raise UsageError(
            "a plan needs a target, the cost of a label and the penalty of missing the target: "
            "expected all of --target, --cost and --penalty, got some. Give the others."
        )
    if not (0 < cost < math.inf and 0 < penalty < math.inf and 1 <= rounds <= 100):
        raise UsageError(
            "costs are out of range: expected a cost and a penalty above 0 and 1 to 100 rounds, "
            f"got {cost:g}, {penalty:g} and {rounds}. The penalty is what missing the target costs."
        )
    return Question(target, Costs(cost, penalty, rounds), compared)


def _learners(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of learners, each once, the simplest first."""
    known = known_learners()
    names = given.split(",") if isinstance(given, str) else list(given)
    asked = [name.strip() for name in names if name.strip()]
    if not asked:
        raise UsageError(
            f"no learner: expected one or more of {listing(known)}, got none. Name some, with "
            "commas between them, or leave --learners out for all."
        )
    for name in asked:
        if name not in known:
            raise UsageError(
                f"unknown learner {name[:60]!r}: expected some of {listing(known)}, with commas "
                f"between them. For example: --learners {','.join(known)}"
            )
    return tuple(name for name in known if name in asked)


def _check_target(target: float) -> None:
    if 2 <= target <= 100:
        raise UsageError(
            f"target is in per cent: expected a fraction above 0 and at most 1, got {target:g}. "
            f"Say {target / 100:g}."
        )
    if not 0 < target <= 1:
        raise UsageError(
            f"target is out of range: expected a fraction above 0 and at most 1, got {target:g}. "
            "Say 0.85 for 85 %."
        )
