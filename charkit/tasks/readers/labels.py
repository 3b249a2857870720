"""What labels mean: class names and codes, or real targets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

import numpy as np

from charkit.config import TaskKind, listing
from charkit.errors import DataError
from charkit.tasks.readers.looks import (
    alike_notes,
    are_dates,
    exact,
    is_integer,
    is_number,
    near_key,
    number_problem,
    shown,
)
from charkit.tasks.readers.rows import OnBadRows, Rows, settle_bad_rows
from charkit.tasks.task import LabelArray

MANY_DISTINCT = 50
"""Whole numbers with more distinct values than this, and than a tenth of the rows, are neither
clearly classes nor clearly targets: the kind must be given."""

MOST_SINGLE = 32
"""Up to this many labels may each be of another class (the first ones of many); more are no
classes."""

LARGEST_TARGET = 1e12
"""Targets beyond it lose their differences in single precision, which predictions have."""

LabelType = Literal["string", "boolean", "integer", "whole_float", "float"]
"""What a column of labels holds; ``whole_float`` is 1.0, 2.0, ... without any fraction."""


@dataclass(frozen=True)
class Meaning:
    """How labels are read.

    Attributes:
        kind: Classes or targets.
        class_names: Names by code; empty for regression.
        notes: How that was decided.
    """

    kind: TaskKind
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def label_type(labels: Sequence[Any]) -> LabelType | None:
    """Return what a column holds, strings being read as numbers where all are; None if mixed."""
    types = {type(v) for v in labels}
    if types == {bool}:
        return "boolean"
    if types == {str}:
        return _string_type(set(labels))
    if types == {int}:
        return "integer"
    if types <= {int, float}:
        return _float_type({float(v) for v in set(labels)})
    return None


def _string_type(values: set[str]) -> LabelType:
    if all(is_integer(v) for v in values):
        return "integer"
    if all(is_number(v) for v in values):
        return _float_type({float(v) for v in values})
    return "string"


def _float_type(values: set[float]) -> LabelType:
    return "whole_float" if all(v.is_integer() for v in values) else "float"


def read_meaning(rows: Rows, column: str, *, kind: TaskKind | None) -> Meaning:
    """Decide what the labels of a training part mean.

    Raises:
        DataError: Types are mixed, or the kind must be given, since it cannot be decided.
    """
    assert rows.labels is not None
    if has_codes(rows) and kind != "regression":
        present = {int(v) for v in rows.labels if isinstance(v, int)}
        names = tuple(n for code, n in enumerate(rows.known_classes) if code in present)
        return Meaning("classification", names)
    found = label_type(rows.labels)
    if found is None:
        raise _mixed(rows, column)
    if kind == "regression":
        return Meaning("regression")
    names = class_names(rows.labels)
    _refuse_identifiers(rows, column, found)
    if kind is None and found == "string":
        _refuse_odd_numbers(rows, column, set(rows.labels))
    if kind is None:
        _require_clear(rows, column, found, len(names))
        if found == "float":
            return Meaning("regression", (), (f"column {column!r} holds numbers: regression",))
    return Meaning("classification", names, alike_notes(names))


def has_codes(rows: Rows) -> bool:
    """Return whether labels are codes of classes that the source names; else they are names."""
    labels = rows.labels or ()
    return bool(rows.known_classes) and not any(isinstance(v, str) for v in labels)


def _require_clear(rows: Rows, column: str, found: LabelType, n_distinct: int) -> None:
    many = n_distinct > MANY_DISTINCT and n_distinct > len(rows) / 10
    if found == "whole_float":
        problem = "whole numbers written as decimals (1.0, 2.0, ...)"
    elif found == "integer" and many:
        problem = f"{n_distinct} different whole numbers in {len(rows)} rows"
    else:
        return
    raise DataError(
        f"{rows.where}: column {column!r} holds {problem}: these may be classes or amounts. "
        "Say which: --kind classification or --kind regression."
    )


def _refuse_identifiers(rows: Rows, column: str, found: LabelType) -> None:
    """Refuse words of which hardly any occurs twice."""
    assert rows.labels is not None
    if found != "string" or len(rows) <= MOST_SINGLE:
        return
    counts = Counter(rows.labels)
    single = sum(n == 1 for n in counts.values())
    if len(counts) == len(rows) or (len(rows) > 100 and single > 0.9 * len(rows)):
        share = "each" if single == len(rows) else f"{single:,}"
        raise DataError(
            f"{rows.where}: column {column!r} has another label in {share} of {len(rows):,} rows, "
            f"such as {shown(rows.labels[0])}: expected classes, each in several rows. Check the "
            "label column."
        )


def _refuse_odd_numbers(rows: Rows, column: str, values: set[str]) -> None:
    """Refuse numbers and dates that would become classes since Python does not read them."""
    problem = number_problem(values)
    if problem is not None:
        raise DataError(
            f"{rows.where}: column {column!r} holds {problem[0]}: expected numbers, or names of "
            f"classes. {problem[1]}; if they name classes, give --kind classification."
        )
    if are_dates(values):
        raise DataError(
            f"{rows.where}: column {column!r} holds dates, such as {shown(min(values))}: expected "
            "classes or amounts. Choose another label column, or give --kind classification."
        )


def _mixed(rows: Rows, column: str) -> DataError:
    assert rows.labels is not None
    first: dict[str, int] = {}
    for number, value in zip(rows.numbers, rows.labels, strict=True):
        first.setdefault(type(value).__name__, number)
    found = ", ".join(f"{name} (first in {rows.unit} {n})" for name, n in first.items())
    return DataError(
        f"{rows.where}: column {column!r} mixes kinds of labels: expected one kind, got {found}. "
        "Write all labels as strings, or all as numbers."
    )


def label_names(labels: Sequence[Any]) -> list[str]:
    """Return the name of each label: strings as they are, numbers as Python writes them."""
    if any(type(v) is float for v in labels):
        return [repr(float(v)) if not isinstance(v, str) else v for v in labels]
    return [v if isinstance(v, str) else str(v) for v in labels]


def class_names(labels: Sequence[Any]) -> tuple[str, ...]:
    """Return distinct label names in order: numbers by size, everything else by spelling.

    >>> class_names(["10", "9"]), class_names(["b", "a"])
    (('9', '10'), ('a', 'b'))
    """
    names = set(label_names(labels))
    if all(is_number(n) for n in names):
        return tuple(sorted(names, key=lambda n: (float(n), exact(n), n)))
    return tuple(sorted(names))


def encode_labels(
    rows: Rows, column: str, meaning: Meaning, *, on_bad_rows: OnBadRows
) -> tuple[Rows, LabelArray, tuple[str, ...]]:
    """Turn labels into codes or targets.

    Args:
        rows: Labelled rows.
        column: Name of the label column, for messages.
        meaning: What the labels mean; it names every class of the rows.
        on_bad_rows: What to do with targets that are not finite numbers.

    Returns:
        The rows that are kept, their labels of shape (n_rows,), and notes.

    Raises:
        DataError: A class code is out of range, or a target is not a finite number.
    """
    if meaning.kind == "regression":
        return _encode_targets(rows, column, on_bad_rows=on_bad_rows)
    assert rows.labels is not None
    code = {name: c for c, name in enumerate(meaning.class_names)}
    names = names_of_labels(rows, column)
    return rows, np.array([code[name] for name in names], dtype=np.int64), ()


def names_of_labels(rows: Rows, column: str) -> list[str]:
    """Return the name of each row's class.

    Args:
        rows: Labelled rows.
        column: Name of the label column, for messages.

    Raises:
        DataError: A class code is out of range: the labels are hidden.
    """
    assert rows.labels is not None
    if has_codes(rows):
        return [_known_name(rows, column, row) for row in range(len(rows))]
    return label_names(rows.labels)


def _known_name(rows: Rows, column: str, row: int) -> str:
    assert rows.labels is not None
    value = rows.labels[row]
    if isinstance(value, int) and 0 <= value < len(rows.known_classes):
        return rows.known_classes[value]
    raise DataError(
        f"{rows.where}, {rows.unit} {rows.numbers[row]}: column {column!r}: expected a class code "
        f"0..{len(rows.known_classes) - 1}, got {shown(value)}. Correct the label, or leave it "
        "empty."
    )


def _encode_targets(
    rows: Rows, column: str, *, on_bad_rows: OnBadRows
) -> tuple[Rows, LabelArray, tuple[str, ...]]:
    assert rows.labels is not None
    targets = np.zeros(len(rows))
    bad = {}
    for row, value in enumerate(rows.labels):
        try:
            targets[row] = float(value)
        except ValueError:
            bad[row] = f"{column!r} is {shown(value)}, not a number"
            continue
        if not math.isfinite(targets[row]):
            bad[row] = f"{column!r} is {value}, not finite"
        elif abs(targets[row]) > LARGEST_TARGET:
            bad[row] = f"{column!r} is {value}, beyond {LARGEST_TARGET:g}: use larger units"
    notes = settle_bad_rows(rows.where, rows.unit, rows.numbers, bad, on_bad_rows=on_bad_rows)
    good = [row for row in range(len(rows)) if row not in bad]
    return (rows.keep(good) if bad else rows), targets[good], notes


# -- classes that evaluation rows have and training rows lack ------------------------------------

# Such rows are what a model meets in use. No head can predict their class, so every one of them is
# an error. But a name that differs from a class of training only in how it is written, and an
# evaluation part without any class of training, are mistakes in the files: they are refused.


def with_unseen(
    rows: Rows, column: str, meaning: Meaning
) -> tuple[Meaning, tuple[str, ...], tuple[str, ...]]:
    """Return a meaning that names the evaluation part's own classes after those of training.

    Args:
        rows: The evaluation rows.
        column: Name of the label column, for messages.
        meaning: What the labels mean in training.

    Returns:
        The meaning to encode the evaluation rows with, the names of the classes that only they
        have, and notes.

    Raises:
        DataError: Labels are hidden, a class is written in two ways, or no evaluation row has a
            class of training.
    """
    if meaning.kind == "regression" or rows.labels is None:
        return meaning, (), ()
    names = names_of_labels(rows, column)
    known = set(meaning.class_names)
    unseen = sorted({name for name in names if name not in known})
    if not unseen:
        return meaning, (), ()
    _check_unseen(rows, column, meaning, unseen)
    _refuse_other_counting(rows, column, known, set(names))
    n_rows = sum(name not in known for name in names)
    if n_rows == len(names):
        raise DataError(
            f"{rows.where}: none of {len(names):,} evaluation rows has a class of the training "
            f"part in column {column!r}: expected some of {listing(meaning.class_names)}, got "
            f"only {listing(unseen)}. Write the labels of both parts alike, or give another "
            "evaluation part."
        )
    note = (
        f"{rows.where}: {n_rows:,} of {len(names):,} evaluation rows ({n_rows / len(names):.1%}) "
        f"are of {len(unseen):,} classes that training lacks; they are kept and count as errors: "
        f"{listing(unseen)}"
    )
    own = replace(meaning, class_names=(*meaning.class_names, *unseen))
    return own, tuple(unseen), (note,)


def _refuse_other_counting(
    rows: Rows, column: str, training: set[str], evaluation: set[str]
) -> None:
    """Refuse parts of which one counts its classes from 0 and the other from 1.

    Most codes occur in both, for another class. Two classes are let pass: {0, 1} and {1, 2} may be
    what few rows of three classes hold.
    """
    from_0, from_1 = ({str(i + first) for i in range(len(training))} for first in (0, 1))
    if (
        len(training) > 2
        and {training == from_0, evaluation == from_0} == {True, False}
        and (from_1 in (training, evaluation))
    ):
        ends = [f"{min(part, key=int)} to {max(part, key=int)}" for part in (training, evaluation)]
        raise DataError(
            f"{rows.where}: column {column!r} holds {ends[1]} in the evaluation part and {ends[0]} "
            "in training: one of them seems to count from 1. Write the labels of both alike."
        )


def _check_unseen(rows: Rows, column: str, meaning: Meaning, unseen: list[str]) -> None:
    """Refuse marks of hidden labels, and names that are classes of training written otherwise."""
    where = f"{rows.where}: {len(unseen)} classes in column {column!r} occur only in the evaluation"
    if "-1" in unseen:
        raise DataError(
            f"{where} part and not in training: {listing(unseen)}. -1 marks hidden labels: use a "
            "labelled file for evaluation."
        )
    spelled = {_key(name): name for name in meaning.class_names}
    twins = [(name, spelled[_key(name)]) for name in unseen if _key(name) in spelled]
    if twins:
        one, other = twins[0]
        raise DataError(
            f"{where} part: {listing(name for name, _ in twins)}, but training has the same in "
            f"other letters, as {listing([other])} for {listing([one])}. Write each class in one "
            "way in both parts."
        )


def _key(name: str) -> str | Decimal:
    """Return what all spellings of a class share; numbers are compared by value.

    >>> _key(" Very  Good") == _key("very good"), _key("1.0") == _key("1")
    (True, True)
    """
    key = near_key(name)
    return exact(key) if is_number(key) else key
