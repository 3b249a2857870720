"""Which labels look wrong: those that contradict the same text, and those that heads doubt."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np

from charkit.answers.left_out import LeftOutRows
from charkit.answers.quantities import Interval, span
from charkit.heads.label_noise import label_noise
from charkit.tasks.task import Split

FEWEST = 64
"""Fewer labels show nothing of a share of wrong ones."""

SMALLEST = 0.01
"""A share of wrong labels is shown where its interval begins above this: so it did in 5 of 80
samples of real tasks as they are, all of two tasks, and in 80 of 240 with labels made wrong."""

SHOWN = 5


@dataclass(frozen=True)
class LabelQuality:
    """Labels that look wrong.

    Attributes:
        wrong: Share of the labels that look wrong; None where none are shown to be.
        doubtful: Where the labels stand that heads doubt most; empty without ``wrong``.
        contradicting: Where texts stand that differ in their labels, and else in case, spaces
            and a last full stop only.
        unit: What the places count: ``"line"`` or ``"row"``.
    """

    wrong: Interval | None
    doubtful: tuple[int, ...]
    contradicting: tuple[tuple[int, ...], ...]
    unit: str

    @property
    def short(self) -> str | None:
        """One short line; None where no label is shown to be wrong.

        Relabelling the tenth of the labels that heads doubted most brought 0.7 points of accuracy
        (0.3 to 1.0) in 43 samples that had such a line, labelling as many more 0.1 (-0.2 to 0.4);
        the difference is 0.6 (0.2 to 0.9): docs/estimate.md.
        """
        if self.wrong is None:
            return None
        share = f"{100 * self.wrong.mean:.0f} %"
        first = f"check {self.unit}s {_some(self.doubtful)} first"
        return (
            f"About {share} of the labels look wrong ({span(self.wrong.low, self.wrong.high)}): "
            f"relabelling buys more than labelling; {first}."
        )

    def lines(self) -> list[str]:
        """Return what contradicts itself, as a sentence; nothing where nothing does."""
        if not self.contradicting:
            return []
        groups = "; ".join(_some(group) for group in self.contradicting[:SHOWN])
        more = "; ..." if len(self.contradicting) > SHOWN else ""
        n = len(self.contradicting)
        texts = "text has" if n == 1 else "texts have"
        return [
            f"{n:,} {texts} different labels in different rows, but for case and spaces "
            f"({self.unit}s {groups}{more}): a label of each is wrong, or the text does not decide."
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return {
            "wrong": None if self.wrong is None else self.wrong.row(),
            "doubtful": list(self.doubtful),
            "contradicting": [list(group) for group in self.contradicting],
            "unit": self.unit,
        }


def label_quality(labelled: Split, own: LeftOutRows) -> LabelQuality:
    """Return which labels look wrong.

    Args:
        labelled: The labelled sample.
        own: What heads on the recommended layer make of its labels, each left out in turn.
    """
    where = labelled.where()
    wrong: Interval | None = None
    doubtful: tuple[int, ...] = ()
    if len(own.rows) >= FEWEST:
        agrees = own.predicted == own.labels
        found = label_noise(agrees, own.confidence, len(np.unique(own.labels)))
        if found.low > SMALLEST:
            wrong = Interval(found.mean, found.low, found.high)
            order = np.argsort(np.where(agrees, 1.0, -own.confidence), kind="stable")
            n_wrong = max(1, round(found.mean * len(own.rows)))
            first = order[: min(SHOWN, n_wrong, int((~agrees).sum()))]
            doubtful = tuple(where.numbers[int(row)] for row in own.rows[first])
    groups = tuple(tuple(where.numbers[row] for row in rows) for rows in contradictions(labelled))
    return LabelQuality(wrong, doubtful, groups, where.unit)


def contradictions(labelled: Split) -> list[list[int]]:
    """Return the rows of each text that has several labels; case and spaces aside.

    >>> import numpy as np
    >>> contradictions(Split(("Good.", "bad", "good"), None, np.array([1, 0, 0])))
    [[0, 2]]
    """
    assert labelled.labels is not None
    pairs = labelled.pairs or ("",) * len(labelled)
    groups: dict[tuple[str, str], list[int]] = {}
    for row, (text, pair) in enumerate(zip(labelled.texts, pairs, strict=True)):
        groups.setdefault((_plain(text), _plain(pair)), []).append(row)
    labels = labelled.labels
    return [
        rows
        for (text, _), rows in groups.items()
        if text and len({labels[row].item() for row in rows}) > 1
    ]


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(". ")


def _some(places: tuple[int, ...]) -> str:
    return ", ".join(f"{place:,}" for place in places)
