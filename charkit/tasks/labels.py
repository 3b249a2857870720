"""What labels mean: class names and codes, or real targets."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from charkit.config import TaskKind
from charkit.errors import DataError
from charkit.tasks.rows import OnBadRows, Rows, settle_bad_rows
from charkit.tasks.task import LabelArray

_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.I)

MANY_DISTINCT = 50
"""Whole numbers with more distinct values than this, and than a tenth of the rows, are neither
clearly classes nor clearly targets: the kind must be said."""

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
    if all(_INTEGER.fullmatch(v) for v in values):
        return "integer"
    if all(_NUMBER.fullmatch(v) for v in values):
        return _float_type({float(v) for v in values})
    return "string"


def _float_type(values: set[float]) -> LabelType:
    return "whole_float" if all(v.is_integer() for v in values) else "float"


def read_meaning(rows: Rows, column: str, *, kind: TaskKind | None) -> Meaning:
    """Decide what the labels of a training part mean.

    Raises:
        DataError: Types are mixed, or the kind cannot be decided without being told.
    """
    assert rows.labels is not None
    if rows.known_classes and kind != "regression":
        present = {int(v) for v in rows.labels if isinstance(v, int)}
        names = tuple(n for code, n in enumerate(rows.known_classes) if code in present)
        return Meaning("classification", names)
    found = label_type(rows.labels)
    if found is None:
        raise _mixed(rows, column)
    if kind == "regression":
        return Meaning("regression")
    names = class_names(rows.labels)
    if kind is None:
        _require_clear(rows, column, found, len(names))
        if found == "float":
            return Meaning("regression", (), (f"column {column!r} holds numbers: regression",))
    return Meaning("classification", names, _near_equal(names))


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
    if all(_NUMBER.fullmatch(n) for n in names):
        return tuple(sorted(names, key=lambda n: (float(n), n)))
    return tuple(sorted(names))


def _near_equal(names: tuple[str, ...]) -> tuple[str, ...]:
    seen: dict[str, str] = {}
    notes = []
    for name in names:
        key = name.strip().casefold()
        if key in seen:
            notes.append(f"classes {seen[key]!r} and {name!r} differ only by spaces or case")
        seen.setdefault(key, name)
    return tuple(notes)


def encode_labels(
    rows: Rows, column: str, meaning: Meaning, *, on_bad_rows: OnBadRows
) -> tuple[Rows, LabelArray, tuple[str, ...]]:
    """Turn labels into codes or targets.

    Returns:
        The rows that are kept, their labels of shape (n_rows,), and notes.

    Raises:
        DataError: A class was never seen in training, or a target is not a finite number.
    """
    if meaning.kind == "regression":
        return _encode_targets(rows, column, on_bad_rows=on_bad_rows)
    assert rows.labels is not None
    code = {name: c for c, name in enumerate(meaning.class_names)}
    if rows.known_classes:
        names = [_known_name(rows, column, row) for row in range(len(rows))]
    else:
        names = label_names(rows.labels)
    unseen = sorted({name for name in names if name not in code})
    if unseen:
        raise _only_in_evaluation(rows, column, unseen)
    return rows, np.array([code[name] for name in names], dtype=np.int64), ()


def _known_name(rows: Rows, column: str, row: int) -> str:
    assert rows.labels is not None
    value = rows.labels[row]
    if isinstance(value, int) and 0 <= value < len(rows.known_classes):
        return rows.known_classes[value]
    raise DataError(
        f"{rows.where}, {rows.unit} {rows.numbers[row]}: column {column!r}: expected a class code "
        f"0..{len(rows.known_classes) - 1}, got {value!r}. A label of -1 means that the labels of "
        "this split are kept secret: choose a labelled split with --eval."
    )


def _only_in_evaluation(rows: Rows, column: str, unseen: list[str]) -> DataError:
    shown = ", ".join(repr(name) for name in unseen[:5]) + (", ..." if len(unseen) > 5 else "")
    advice = "Add training rows of these classes, or remove these rows."
    if unseen == ["-1"]:
        advice = "-1 marks hidden labels: use a labelled file for evaluation."
    return DataError(
        f"{rows.where}: {len(unseen)} classes in column {column!r} occur only in the evaluation "
        f"part and not in training: {shown}. {advice}"
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
            bad[row] = f"{column!r} is {value!r}, not a number"
            continue
        if not math.isfinite(targets[row]):
            bad[row] = f"{column!r} is {value}, not finite"
        elif abs(targets[row]) > LARGEST_TARGET:
            bad[row] = f"{column!r} is {value}, beyond {LARGEST_TARGET:g}: use larger units"
    notes = settle_bad_rows(rows.where, rows.unit, rows.numbers, bad, on_bad_rows=on_bad_rows)
    good = [row for row in range(len(rows)) if row not in bad]
    return (rows.keep(good) if bad else rows), targets[good], notes
