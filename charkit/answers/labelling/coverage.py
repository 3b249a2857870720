"""How well a labelled sample stands for other texts, as a number with a bound.

A text is covered when a labelled one lies within a radius: as near as labelled texts lie to each
other, all but the most lonely twentieth of them. Whoever copies the label of the nearest labelled
text is wrong on a text that is not covered, at worst, or where the nearest one is of another class:

    error  <=  (1 - P(covered))  +  P(nearest within the radius, and of another class)

The first term is counted on the texts without labels, so that it sees regions where nothing is
labelled. The second is counted among the labelled ones, each left out in turn. It carries over to
others where these lie as near, which is what covered means. The upper ends of both intervals go
into the bound. Labels chosen to be apart or hard make the second term too large, not too small.

This is theorem 1 of the reference with the purity of whole balls replaced by that of their nearest
text, which is all that the nearest neighbour needs: balls that cover much are seldom pure.

References:
    Yehuda, Dekel, Hacohen and Weinshall 2022, "Active learning through a covering lens", theorem 1.
    Wilson 1927, "Probable inference, the law of succession, and statistical inference".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charkit.errors import DataError
from charkit.heads.metrics.intervals import wilson_interval
from charkit.parallel.jobs import threads_limited

FloatArray = NDArray[np.float64]

NEAR = 0.95
"""Share of the labelled texts that have another one within the radius."""
# Rows whose distances are in memory at a time.
_STEP = 1024


@dataclass(frozen=True)
class Adequacy:
    """How well labelled texts stand for others.

    Attributes:
        radius: In the distance between unit vectors, 0 to 2.
        covered: Share of the unlabelled texts with a labelled one within the radius.
        low: Lower end of its 90 % interval.
        high: Upper end.
        misled: Share of the labelled texts whose nearest other one is within the radius and of
            another class.
        bound: Largest share of the unlabelled texts whose nearest labelled one has another class,
            from the upper ends of what is not covered and of what is misled, each at 95 %; 1 says
            nothing.
        n_labelled: Labelled texts.
        n_unlabelled: Unlabelled texts.
        what: What the unlabelled texts are, as text.
    """

    radius: float
    covered: float
    low: float
    high: float
    misled: float
    bound: float
    n_labelled: int
    n_unlabelled: int
    what: str = "texts to choose from"

    @property
    def sentence(self) -> str:
        """The numbers as a sentence."""
        found = (
            f"{self.covered:.0%} ({self.low:.0%} to {self.high:.0%}) of the {self.n_unlabelled:,} "
            f"{self.what} are near a labelled one, as near as labelled ones are to each other"
        ).replace("%", " %")
        if self.bound >= 1:
            return f"{found}. That bounds no error."
        bound = f"{self.bound:.0%}".replace("%", " %")
        return f"{found}. Copying the nearest label is wrong for at most {bound}."

    def to_dict(self) -> dict[str, float | int | str]:
        """Return the numbers and the sentence."""
        return {**vars(self), "sentence": self.sentence}


@threads_limited(1)
def adequacy(
    labelled: NDArray[np.floating[Any]],
    codes: NDArray[np.integer[Any]],
    unlabelled: NDArray[np.floating[Any]],
) -> Adequacy:
    """Measure how well a labelled sample stands for other texts.

    Args:
        labelled: Features of the labelled texts, (n, width).
        codes: Their class codes, (n,).
        unlabelled: Features of the others, (m, width).

    Raises:
        DataError: There is no unlabelled text, or fewer than two classes have a label.
    """
    if len(np.unique(codes)) < 2 or not len(unlabelled):
        raise DataError(
            "adequacy is not known: expected labels of two classes and at least one unlabelled "
            f"text, got {len(np.unique(codes))} classes and {len(unlabelled)} texts."
        )
    known, other = _units(labelled, unlabelled)
    apart, nearest = _nearest(known, known, itself=False)
    radius = float(np.sort(apart)[int(np.ceil(NEAR * len(known))) - 1])
    misled = float(np.mean((apart <= radius) & (np.asarray(codes)[nearest] != codes)))
    covered = float(np.mean(_nearest(other, known)[0] <= radius))
    low, high = map(float, wilson_interval(covered, len(other)))
    most = float(wilson_interval(misled, len(known))[1])
    return Adequacy(
        radius=radius,
        covered=covered,
        low=low,
        high=high,
        misled=misled,
        bound=min(1.0, (1 - low) + most),
        n_labelled=len(known),
        n_unlabelled=len(other),
    )


@threads_limited(1)
def nearest_labelled(
    labelled: NDArray[np.floating[Any]], unlabelled: NDArray[np.floating[Any]]
) -> NDArray[np.int64]:
    """Return which labelled text is nearest to each unlabelled one, as `adequacy` sees it.

    Args:
        labelled: Features of the labelled texts, (n, width).
        unlabelled: Features of the others, (m, width).

    Returns:
        Rows of ``labelled``, (m,).
    """
    known, other = _units(labelled, unlabelled)
    return _nearest(other, known)[1]


def _nearest(
    rows: FloatArray, known: FloatArray, *, itself: bool = True
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return each row's distance to the nearest known one, and which it is.

    Args:
        rows: Unit vectors, (m, width).
        known: Unit vectors, (n, width).
        itself: Whether row i may be nearest to known i; False where both are the same.
    """
    apart, nearest = np.empty(len(rows)), np.empty(len(rows), np.int64)
    for start in range(0, len(rows), _STEP):
        part = rows[start : start + _STEP]
        square = (part**2).sum(1)[:, None] + (known**2).sum(1) - 2 * part @ known.T
        if not itself:
            square[np.arange(len(part)), np.arange(start, start + len(part))] = np.inf
        best = square.argmin(1)
        nearest[start : start + _STEP] = best
        apart[start : start + _STEP] = np.sqrt(np.maximum(square[np.arange(len(part)), best], 0))
    return apart, nearest


def _units(labelled: NDArray[Any], unlabelled: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """Return rows of unit length about the common mean; the mean itself has no direction."""
    middle = np.concatenate([labelled, unlabelled]).mean(0, dtype=np.float64)
    return _unit(labelled, middle), _unit(unlabelled, middle)


def _unit(features: NDArray[Any], middle: FloatArray) -> FloatArray:
    centred = features.astype(np.float64) - middle
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.where(length > 0, length, 1))
