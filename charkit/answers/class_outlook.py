"""Recall of each class, balanced accuracy and macro-F1, beside the accuracy of an answer.

With the available labels they are those of labels left out in turn; with more, their log-odds move
as those of the expected accuracy do (`charkit.heads.class_scores`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charkit.answers.left_out import LeftOutRows
from charkit.answers.quantities import Interval
from charkit.config import printable
from charkit.heads.class_scores import APART, Shares, class_means, log_odds, recalls
from charkit.heads.intervals import LEVEL, normal_quantile

FAR_BELOW = 0.2
"""A class whose recall is so far below the accuracy, its interval too, has a line of its own. A
choice: one text in five more is missed."""

SHOWN = 10
"""Classes of the table for people, those of the least recall; JSON has all."""


@dataclass(frozen=True)
class ClassRow:
    """One class: its name, its labels in the sample, its recall by number of labels."""

    name: str
    labels: int
    recall: tuple[tuple[int, Interval], ...]

    def row(self) -> dict[str, Any]:
        """Return the fields as a row."""
        return {"class": self.name, "labels": self.labels, "recall": _by_size(self.recall)}


@dataclass(frozen=True)
class ClassOutlook:
    """What accuracy leaves out.

    Attributes:
        accuracy: Of the labels left out in turn.
        classes: One a class of the sample that has two labels or more.
        balanced_accuracy: Mean recall, by number of labels.
        macro_f1: Mean F1, by number of labels.
        matters: Whether one class has most labels, so that accuracy says little.
    """

    accuracy: float
    classes: tuple[ClassRow, ...]
    balanced_accuracy: tuple[tuple[int, Interval], ...]
    macro_f1: tuple[tuple[int, Interval], ...]
    matters: bool

    @property
    def missed(self) -> ClassRow | None:
        """The class of the least recall, where that is far below the accuracy."""
        rows = [
            row
            for row in self.classes
            if row.recall[0][1].mean <= self.accuracy - FAR_BELOW
            and row.recall[0][1].high < self.accuracy
        ]
        return min(rows, key=lambda row: row.recall[0][1].mean, default=None)

    @property
    def short(self) -> str | None:
        """One short line; None where accuracy is enough."""
        missed = self.missed
        if missed is None and not self.matters:
            return None
        balanced = f"balanced accuracy {self.balanced_accuracy[0][1]}"
        if missed is None:
            return f"All classes alike: {balanced}."
        name = printable(missed.name)
        return f"Class {name!r} is found in {missed.recall[0][1]} of its texts; {balanced}."

    def lines(self) -> list[str]:
        """Return balanced accuracy and macro-F1 as sentences; none where accuracy is enough."""
        if self.short is None:
            return []
        return [
            _sentence("Balanced accuracy (mean recall of the classes)", self.balanced_accuracy),
            _sentence("Macro-F1", self.macro_f1),
        ]

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a class, the least recall first."""
        return [row.row() for row in sorted(self.classes, key=lambda row: row.recall[0][1].mean)]

    def shown_rows(self) -> list[dict[str, Any]]:
        """Return the first `SHOWN` rows for people."""
        found = []
        for row in sorted(self.classes, key=lambda row: row.recall[0][1].mean)[:SHOWN]:
            ends = (row.recall[0], row.recall[-1])
            sizes = {f"recall with {n:,}": str(share) for n, share in dict(ends).items()}
            found.append({"class": printable(row.name), "labels": row.labels, **sizes})
        return found

    def balanced_rows(self) -> list[dict[str, float]]:
        """Return balanced accuracy by number of labels."""
        return _by_size(self.balanced_accuracy)

    def macro_rows(self) -> list[dict[str, float]]:
        """Return macro-F1 by number of labels."""
        return _by_size(self.macro_f1)


def class_outlook(
    own: LeftOutRows,
    class_names: Sequence[str],
    sizes: Sequence[Mapping[str, Any]],
    *,
    matters: bool,
) -> ClassOutlook | None:
    """Return what accuracy leaves out; None where no label can be left out.

    Args:
        own: What heads on the recommended layer make of labels left out.
        class_names: By class code.
        sizes: Expected accuracy by number of labels, the available ones first: n, mean, low, high.
        matters: Whether one class has most labels.
    """
    if not len(own.rows):
        return None
    n_classes = len(class_names)
    count = np.bincount(own.labels, minlength=n_classes)
    recall = recalls(own.predicted, own.labels, n_classes)
    means = class_means(own.predicted, own.labels, n_classes)
    by_class = [
        ClassRow(class_names[code], int(count[code]), _grown(recall, code, "recall", sizes))
        for code in map(int, np.flatnonzero(count))
    ]
    return ClassOutlook(
        accuracy=float((own.predicted == own.labels).mean()),
        classes=tuple(by_class),
        balanced_accuracy=_grown(means["balanced_accuracy"], 0, "balanced_accuracy", sizes),
        macro_f1=_grown(means["macro_f1"], 0, "macro_f1", sizes),
        matters=matters,
    )


def _grown(
    shares: Shares, place: int, metric: str, sizes: Sequence[Mapping[str, Any]]
) -> tuple[tuple[int, Interval], ...]:
    """Return a share by number of labels."""
    one = Shares(*(np.asarray(values[place]) for values in vars(shares).values()))
    start = log_odds(sizes[0]["mean"])
    found = []
    for size in sizes:
        shift, spread = log_odds(size["mean"]) - start, 0.0
        if size is not sizes[0]:
            ends = log_odds(size["high"]) - log_odds(size["low"])
            spread = float(ends) / 2 / normal_quantile(LEVEL)
        moved = one.moved(float(shift), float(np.hypot(spread, APART[metric])))
        found.append(
            (int(size["n"]), Interval(float(moved.mean), float(moved.low), float(moved.high)))
        )
    return tuple(found)


def _by_size(values: Sequence[tuple[int, Interval]]) -> list[dict[str, float]]:
    return [{"n": n, **share.row()} for n, share in values]


def _sentence(name: str, values: Sequence[tuple[int, Interval]]) -> str:
    (n, first), (most, last) = values[0], values[-1]
    line = f"{name}: {first} with {n:,} labels"
    return f"{line}, {last} with {most:,}." if most != n else f"{line}."
