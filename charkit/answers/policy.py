"""Which strategy suits how many labels: bands of labels a class, as a study found them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charkit.answers.query import Strategy
from charkit.sealed import read_sealed

FILE = "next_policy.json"


@dataclass(frozen=True)
class Band:
    """A range of labels a class, and what to choose by in it.

    Attributes:
        below: The range ends before this many labels a class; None: it has no end.
        strategy: What to choose by.
    """

    below: float | None
    strategy: Strategy

    def to_dict(self) -> dict[str, Any]:
        """Return the band as it stands in the file."""
        return {"labels_a_class_below": self.below, "strategy": self.strategy}


def strategy_for(
    bands: Sequence[Band], codes: NDArray[np.integer[Any]], n_classes: int
) -> Strategy:
    """Return the strategy of the band that the given labels are in.

    Args:
        bands: In rising order; the last has no end.
        codes: Class codes of the given labels, (n_labelled,).
        n_classes: How many classes there are.
    """
    share = labels_a_class(codes, n_classes)
    return next(b.strategy for b in bands if b.below is None or share < b.below)


def labels_a_class(codes: NDArray[np.integer[Any]], n_classes: int) -> float:
    """Return labels a class; 0 while fewer than two classes have one, for then no head can be."""
    return len(codes) / n_classes if len(np.unique(codes)) > 1 else 0.0


@cache
def shipped_bands() -> tuple[Band, ...]:
    """Return the bands that come with the package; ``make next-study`` makes them."""
    with resources.as_file(resources.files("charkit.answers") / FILE) as place:
        bands = read_sealed(place, FILE, advice="Install charkit again.")["bands"]
    return tuple(Band(b["labels_a_class_below"], b["strategy"]) for b in bands)
