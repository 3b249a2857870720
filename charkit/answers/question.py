"""What is asked of an estimate: checked before any work, and against the given labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
    """

    target: float | None = None
    costs: Costs | None = None


def ask(
    *,
    target: float | None = None,
    cost: float | None = None,
    penalty: float | None = None,
    rounds: int = 1,
) -> Question:
    """Check what is asked, before any work.

    Args:
        target: An accuracy to reach, as a fraction.
        cost: Price of a label.
        penalty: Cost of missing the target, in the same unit.
        rounds: How often labels can be bought.

    Raises:
        UsageError: The target is no fraction, or costs are incomplete or out of range.
    """
    if target is not None:
        _check_target(target)
    if cost is None and penalty is None:
        if rounds != 1:
            raise UsageError(
                f"rounds without costs: expected --cost and --penalty beside them, got {rounds} "
                "rounds. Give what a label and a missed target cost."
            )
        return Question(target)
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
    return Question(target, Costs(cost, penalty, rounds))


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
