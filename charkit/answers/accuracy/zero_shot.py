"""Predictions that needed no label, such as an LLM's: how good, and when is a head better?

The accuracy is a share of the labelled rows; its 90 % interval is Jeffreys' (Brown, Cai, DasGupta
2001, Statistical Science 16). The number of labels from which a trained head is better is drawn
from two uncertain things at once: an accuracy of the predictions from its posterior, then a number
of labels that reaches it from the metamodel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charkit.answers.quantities import percent, rough, span
from charkit.config import listing
from charkit.errors import DataError, UsageError
from charkit.tasks.readers.labels import label_names
from charkit.tasks.readers.looks import is_missing
from charkit.tasks.readers.sources import open_tables
from charkit.tasks.readers.tables import RawTable
from charkit.tasks.task import Task

FloatArray = NDArray[np.float64]

NAMES = ("zero_shot", "prediction", "predictions", "predicted", "predicted_label", "pred",
         "answer", "response", "output", "label")  # fmt: skip
"""Names of a column of predictions, the likeliest first; a file with one column needs none."""

_STEPS = 20
"""Accuracies that are drawn from the posterior, at the middles of equal parts: the quantiles of
the number of labels change by less than their second digit with more."""

# Both parameters of Jeffreys' prior of a share (Brown, Cai and DasGupta 2001, Interval estimation
# for a binomial proportion): its intervals cover nearly what they promise at any share.
_JEFFREYS = 0.5


@dataclass(frozen=True)
class ZeroShot:
    """How good predictions without labels are, and the number of labels that overtakes them.

    Attributes:
        n: Labelled rows that they were compared with.
        accuracy: Share of them that is right.
        low: Lower end of its 90 % interval.
        high: Upper end.
        labels: Labels with which a head is as likely as not at least as good; None where not even
            ``largest`` are enough.
        labels_low: Labels that are enough with a probability of 5 %; None as above.
        labels_high: Labels that are enough with a probability of 95 %; None as above.
        probability: That a head is at least as good with ``largest`` labels.
        largest: The largest number of labels that is looked at.
    """

    n: int
    accuracy: float
    low: float
    high: float
    labels: int | None
    labels_low: int | None
    labels_high: int | None
    probability: float
    largest: int

    def row(self) -> dict[str, Any]:
        """Return the fields as a row."""
        return dict(vars(self))

    def sentence(self, have: int) -> str:
        """Return it as a sentence.

        Args:
            have: Labels that there are.
        """
        reached = f"{percent(self.accuracy)} ({span(self.low, self.high)})"
        if self.labels is None:
            then = (
                f"even {self.largest:,} labels give a trained head only a chance of "
                f"{percent(self.probability)} to be as good"
            )
        elif self.labels <= have:
            then = f"a head trained on your {have:,} labels should be as good ({self._range})"
        else:
            then = f"a trained head overtakes them at about {rough(self.labels)} labels"
            then += f" ({self._range})"
        return f"Zero-shot predictions reach {reached}; {then}."

    @property
    def _range(self) -> str:
        low = "" if self.labels_low is None else f"{rough(self.labels_low)} to "
        if self.labels_high is None:
            return f"range {low}more than {self.largest:,}"
        return f"range {low}{rough(self.labels_high)}"


def read_predictions(
    path: str | Path, *, class_names: Sequence[str], texts: Sequence[str], text: str = ""
) -> NDArray[np.int64]:
    """Read one prediction for each labelled row, in their order.

    Args:
        path: A table with a column of class names; other columns are not read.
        class_names: The classes of the labelled rows.
        texts: Their texts, which those of the file are compared with where it has any.
        text: Name of the column of texts in their source.

    Returns:
        Class codes, (n_rows,).

    Raises:
        DataError: The number of rows or a text differs, a prediction is missing or not a class, or
            no column is known to hold predictions.
        MissingError: There is no such file.
    """
    table = open_tables(path, None, offline=True).train
    column = _column(table, text)
    if len(table) != len(texts):
        raise DataError(
            f"{table.where}: expected {len(texts):,} predictions, one for each labelled row in the "
            f"order of their file, got {len(table):,}. Leave out rows that have no label."
        )
    if text in table.columns:
        _check_texts(table, text, texts)
    return _codes(table, column, class_names)


def _column(table: RawTable, text: str) -> str:
    free = [name for name in table.columns if name != text]
    if len(free) == 1:
        return free[0]
    lower = {name.strip().lower().replace(" ", "_").replace("-", "_"): name for name in free}
    for name in NAMES:
        if name in lower:
            return lower[name]
    raise DataError(
        f"{table.where}: no column of predictions: expected one column, or one that is called "
        f"{listing(NAMES)}, got {listing(table.columns)}. Rename it."
    )


def _check_texts(table: RawTable, text: str, texts: Sequence[str]) -> None:
    for row, (given, own) in enumerate(zip(table.columns[text], texts, strict=True)):
        if str(given).strip() != own.strip():
            raise DataError(
                f"{table.where}, {table.unit} {table.numbers[row]}: the text is not that of the "
                f"labelled row: expected {own[:60]!r}, got {str(given)[:60]!r}. Put the rows into "
                "the order of the labelled file, and leave out those that have no label."
            )


def _codes(table: RawTable, column: str, class_names: Sequence[str]) -> NDArray[np.int64]:
    code = {name: c for c, name in enumerate(class_names)}
    values = _named(table, column)
    as_number = {number: c for name, c in code.items() if (number := _number(name)) is not None}
    codes = []
    for row, value in enumerate(values):
        place = f"{table.where}, {table.unit} {table.numbers[row]}: column {column!r}"
        if is_missing(value):
            raise DataError(
                f"{place} has no prediction: expected a class, got an empty cell. Ask the model "
                "again, or leave the row out of both files."
            )
        name = label_names([value])[0].strip()
        number = _number(name)
        found = code.get(name, None if number is None else as_number.get(number))
        if found is None:
            raise DataError(
                f"{place} is not a class of the labelled rows: expected one of "
                f"{listing(class_names)}, got {name[:60]!r}. Map each answer to a class."
            )
        codes.append(found)
    return np.array(codes, np.int64)


def _named(table: RawTable, column: str) -> list[Any]:
    """Return the values of a column, codes that the file names by their names."""
    known = table.class_names.get(column, ())
    return [
        known[value] if isinstance(value, int) and 0 <= value < len(known) else value
        for value in table.columns[column]
    ]


def _number(name: str) -> float | None:
    try:
        number = float(name)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def right_predictions(path: str | Path, sample: Task) -> NDArray[np.bool_]:
    """Return for each labelled row of a task whether the prediction is right, (n_rows,).

    Args:
        path: The predictions, see `read_predictions`.
        sample: The task.

    Raises:
        UsageError: No row is labelled.
        DataError: The predictions are not those of the labelled rows.
        MissingError: There is no such file.
    """
    labels = sample.train.labels
    if labels is None or not len(labels):
        raise UsageError(
            "zero_shot needs labels to compare the predictions with: expected some labelled rows, "
            "got none. Label some texts first, or leave it out."
        )
    codes = read_predictions(
        path,
        class_names=sample.class_names,
        texts=sample.train.texts,
        text=sample.columns[0] if sample.columns else "",
    )
    right: NDArray[np.bool_] = codes == labels
    return right


def compare_zero_shot(
    n_right: int, n: int, draws: Callable[[float], FloatArray], *, largest: int
) -> ZeroShot:
    """Return the accuracy of predictions and the number of labels that overtakes them.

    Args:
        n_right: Right predictions.
        n: Predictions.
        draws: An accuracy -> equally likely numbers of labels that reach it, infinity for never.
        largest: The largest number of labels that is looked at.
    """
    from scipy.special import betaincinv

    a, b = n_right + _JEFFREYS, n - n_right + _JEFFREYS
    low, high = (float(betaincinv(a, b, q)) for q in (0.05, 0.95))
    targets = betaincinv(a, b, (np.arange(_STEPS) + 0.5) / _STEPS)
    found = np.sort(np.concatenate([draws(float(target)) for target in targets]))
    return ZeroShot(
        n=n,
        accuracy=n_right / n,
        low=0.0 if n_right == 0 else low,
        high=1.0 if n_right == n else high,
        labels=_quantile(found, 0.5),
        labels_low=_quantile(found, 0.05),
        labels_high=_quantile(found, 0.95),
        probability=float(np.isfinite(found).mean()),
        largest=largest,
    )


def _quantile(ordered: FloatArray, share: float) -> int | None:
    value = ordered[min(math.ceil(share * len(ordered)), len(ordered)) - 1]
    return math.ceil(value) if math.isfinite(value) else None
