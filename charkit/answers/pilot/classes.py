"""Classes and labels of a sample: recall of each class, and labels that look wrong.

Both come from heads that leave each label out, kept row by row. With more labels, recall, balanced
accuracy and macro-F1 move with the accuracy of the answer; a label looks wrong that contradicts the
same text, or that heads doubt.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.quantities import Interval, span
from charkit.config import printable
from charkit.heads.metrics.intervals import LEVEL, normal_quantile
from charkit.heads.metrics.label_free import label_noise
from charkit.heads.metrics.scores import APART, Shares, class_means, log_odds, recalls
from charkit.tasks.task import Split

if TYPE_CHECKING:
    from charkit.heads.sample.out_of_fold import SampleHeads

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LeftOutRows:
    """The rows of one layer that are not the only one of their class.

    Attributes:
        rows: Their places in the labelled sample, (m,).
        labels: Their class codes, (m,).
        predicted: What the head without each row predicts, (m,).
        confidence: Its probability of that class, (m,).
    """

    rows: IntArray
    labels: IntArray
    predicted: IntArray
    confidence: NDArray[np.float64]


def left_out_table(heads: SampleHeads) -> pd.DataFrame:
    """Return one row a layer and labelled text: layer, row, counted, predicted, confidence."""
    n_layers, n = heads.left_out.shape[:2]
    return pd.DataFrame(
        {
            "layer": np.repeat(np.arange(n_layers), n),
            "row": np.tile(np.arange(n), n_layers),
            "counted": np.tile(heads.counted, n_layers),
            "predicted": heads.left_out.argmax(2).ravel(),
            "confidence": heads.left_out.max(2).ravel(),
        }
    )


def left_out_of_layer(table: pd.DataFrame, labels: NDArray[np.generic], layer: int) -> LeftOutRows:
    """Return what one layer's heads predict.

    Args:
        table: From `left_out_table`.
        labels: Class codes of the labelled sample, (n,).
        layer: Which.
    """
    own = table[(table["layer"] == layer) & table["counted"]]
    rows = own["row"].to_numpy(np.int64)
    return LeftOutRows(
        rows,
        np.asarray(labels, np.int64)[rows],
        own["predicted"].to_numpy(np.int64),
        own["confidence"].to_numpy(np.float64),
    )


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


FEWEST = 64
"""Fewer labels show nothing of a share of wrong ones."""

SMALLEST = 0.01
"""A share of wrong labels is shown where its interval begins above this: so it did in 5 of 80
samples of real tasks as they are, all of two tasks, and in 80 of 240 with labels made wrong."""

DOUBTED_SHOWN = 5


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
        groups = "; ".join(_some(group) for group in self.contradicting[:DOUBTED_SHOWN])
        more = "; ..." if len(self.contradicting) > DOUBTED_SHOWN else ""
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
            first = order[: min(DOUBTED_SHOWN, n_wrong, int((~agrees).sum()))]
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
