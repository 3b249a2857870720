"""What the metamodel has seen, so that it can say when evidence is unlike all of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

WORDS: dict[str, str] = {
    "n0": "labels",
    "n_classes": "classes",
    "majority": "share of the largest class",
    "rank_participation": "participation ratio of the texts' states",
    "rank_entropy": "entropy rank of the texts' states",
    "decay": "decay of the texts' spectrum",
    "top_share": "share of the leading direction",
    "state_shift": "distance of the unlabelled texts",
    "fisher_norm": "norm of the Fisher embedding (log)",
    "fisher_near": "distance to the nearest known task",
}
"""Columns of the evidence that are looked at, and what they are called."""

_NO_LIMIT = frozenset({"n0"})
"""More labels than any pilot had are no reason for doubt: the sample's own curve is surer then."""

_ROOM = 0.05  # of the range: what lies so little outside is not worth a word


@dataclass(frozen=True)
class Seen:
    """Ranges of what was seen, one value a pilot: the mean over its layers.

    Attributes:
        ranges: Column -> smallest and largest.
    """

    ranges: dict[str, tuple[float, float]]

    def outside(self, evidence: pd.DataFrame) -> list[str]:
        """Return as text which values of a pilot lie outside.

        Args:
            evidence: All layers of one pilot, columns of `metamodel.schema.EVIDENCE`.
        """
        said = []
        for name, (low, high) in self.ranges.items():
            value = float(evidence[name].mean())
            room = _ROOM * (high - low)
            above = value > high + room and name not in _NO_LIMIT
            if np.isfinite(value) and (above or value < low - room):
                said.append(
                    f"{WORDS[name]} {_number(value)} (seen: {_number(low)} to {_number(high)})"
                )
        return said


def see(evidence: pd.DataFrame, pilot: pd.Series) -> Seen:
    """Return the ranges of some evidence.

    Args:
        evidence: Columns of `metamodel.schema.EVIDENCE`.
        pilot: Which pilot each row belongs to.
    """
    means = evidence[list(WORDS)].groupby(pilot.to_numpy()).mean()
    known = means.columns[means.notna().any()]
    return Seen({str(n): (float(means[n].min()), float(means[n].max())) for n in known})


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:.3g}"
