"""Labels as they are written, before anything is made of them: which are missing, which are lists.

Whether a column holds classes or amounts is decided afterwards (`charkit.tasks.readers.labels`), on
the labels that are left, so that a missing label never changes the kind of a task.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from charkit.config import TaskKind
from charkit.errors import DataError
from charkit.tasks.readers.columns import Columns
from charkit.tasks.readers.looks import (
    are_bare_lists,
    difference,
    exact,
    is_blank,
    is_integer,
    is_missing,
    is_number,
    label_list,
    looks_missing,
    loose_key,
    same_number,
    shown,
)
from charkit.tasks.readers.tables import RawTable

# What surveys write for a missing answer. Apart from the other numbers it is noted.
_CODES = frozenset((-9999, -999, -99, -9, 99, 999, 9999))

# Numbers of classes end here: next to larger ones, 99 may be a value like any other.
_LARGEST_CLASS = 20

MARKS = (-1, -100)
"""Numbers that mark rows without a label: -1 in SNLI, snorkel and scikit-learn, -100 in torch."""

# Next to these -1 may be a class (negative, neutral, positive) as well as a mark.
_POLARITY = {0.0, 1.0}

# Rows or labels that a note names; and classes beyond which spellings are not compared, since each
# is compared with every other one.
_PLACES = 5
_MOST_SEEN = 2_000


def settle(
    table: RawTable,
    columns: Columns,
    *,
    kind: TaskKind | None = None,
    seen: Collection[str] | None = None,
) -> RawTable:
    """Return a table without blank rows, in which every missing label is None.

    Args:
        table: The table.
        columns: Its chosen columns; ``label`` is empty where labels are not read.
        kind: What the labels are, where that was asked for.
        seen: For an evaluation part: the names of the training labels.

    Raises:
        DataError: The labels are lists of several, or -1 may be a class or a mark.
    """
    label = columns.label if columns.label in table.columns else ""
    if label:
        work = _Labels(table, label, kind, seen)
        table = table.with_columns({label: work.settled()})
        table = replace(table, notes=(*table.notes, *work.notes))
    return _without_odd_rows(table, columns, label)


def _without_odd_rows(table: RawTable, columns: Columns, label: str) -> RawTable:
    """Leave out rows with neither text nor label, and rows that repeat the names of columns."""
    names = [n for n in (columns.text, columns.pair) if n is not None and n in table.columns]
    texts = [table.columns[name] for name in names]
    labels = table.columns[label] if label else ()
    drop: dict[str, list[int]] = {"blank": [], "header": []}
    for row in range(len(table)):
        if all(is_blank(column[row]) for column in texts):
            if not label or labels[row] is None:
                drop["blank"].append(row)
        elif label and labels[row] == label and texts[0][row] == names[0]:
            drop["header"].append(row)
    out = {row for rows in drop.values() for row in rows}
    if not out:
        return table
    notes = []
    if drop["blank"]:
        what = "neither text nor label" if label else "no text"
        notes.append(
            f"{table.where}: {len(drop['blank'])} blank rows ({what}) left out"
            f"{_places(table, drop['blank'])}"
        )
    if drop["header"]:
        notes.append(
            f"{table.where}: {len(drop['header'])} rows repeat the header: left out"
            f"{_places(table, drop['header'])}"
        )
    kept = table.take([row for row in range(len(table)) if row not in out])
    return replace(kept, notes=(*table.notes, *notes))


def _places(table: RawTable, rows: Sequence[int]) -> str:
    first = ", ".join(str(table.numbers[row]) for row in rows[:_PLACES])
    more = ", ..." if len(rows) > _PLACES else ""
    return f" ({table.unit}{'s' if len(rows) > 1 else ''} {first}{more})"


@dataclass
class _Labels:
    """The labels of one table on their way."""

    table: RawTable
    column: str
    kind: TaskKind | None
    seen: Collection[str] | None
    notes: list[str] = field(default_factory=list)

    @property
    def _what(self) -> str:
        return f"{self.table.where}: column {self.column!r}"

    def settled(self) -> list[Any]:
        """Return the labels, None where one is missing."""
        values = self._unwrapped(self.table.columns[self.column])
        self._check(values)
        values = self._nan_left_out(values)
        values = self._words_left_out(values)
        values = self._marks_left_out(self._whole(self._truth(values)))
        return values if self.seen is None else self._as_in_training(values, self.seen)

    def _unwrapped(self, values: Sequence[Any]) -> list[Any]:
        """Take the one label out of lists of one label, also where they are written as text."""
        read: dict[str, Any] = {}
        result, n_lists, n_written = [], 0, 0
        for row, value in enumerate(values):
            found = label_list(value, read)
            if found is None:
                result.append(value)
                continue
            if isinstance(found, dict) and set(found) == {"choices"}:  # Label Studio's table
                found = (
                    found["choices"] if isinstance(found["choices"], list) else [found["choices"]]
                )
            if found and (isinstance(found, dict) or len(found) > 1):
                raise self._several(row, value, found)
            n_written += isinstance(value, str)
            n_lists += 1
            result.append(found[0] if found else None)
        words = {v for v in values if isinstance(v, str)}
        if not n_lists and are_bare_lists([v for v in words if not is_missing(v)]):
            row = next(i for i, v in enumerate(values) if isinstance(v, str) and "," in v)
            raise self._several(row, values[row], [])
        if n_lists:
            how = " written as text" if n_written else ""
            self.notes.append(f"{self._what} holds lists of one label{how}: read as that label")
        return result

    def _several(self, row: int, value: Any, found: Any) -> DataError:
        where = f"{self.table.where}, {self.table.unit} {self.table.numbers[row]}"
        how = " written as text" if isinstance(value, str) else ""
        if isinstance(found, dict):
            inner = [f"{self.column}.{key}" for key in found]
            named = [name for name in inner if name in self.table.columns]
            advice = (
                f"name the part that is meant: --label {named[0]}"
                if named
                else ("write the part that is meant as a field of its own")
            )
            return DataError(
                f"{where}: field {self.column!r} is nested (dict){how}: expected a plain value, "
                f"got {shown(value)}. {advice[0].upper()}{advice[1:]}."
            )
        return DataError(
            f"{where}: column {self.column!r} holds lists of labels{how}: expected one label a "
            f"row, got {shown(value)}. Tasks with several labels a text are not supported: choose "
            "one label, or make one yes/no task for each."
        )

    def _check(self, values: Iterable[Any]) -> None:
        for row, value in enumerate(values):
            if isinstance(value, str) or value is None:
                continue
            where = f"{self.table.where}, {self.table.unit} {self.table.numbers[row]}"
            if not isinstance(value, bool | int | float):
                raise DataError(
                    f"{where}: column {self.column!r}: expected strings, numbers or booleans as "
                    f"labels, got {type(value).__name__}. Convert the column."
                )
            if isinstance(value, int) and abs(value) >= 2**63:
                raise DataError(
                    f"{where}: column {self.column!r}: expected whole numbers of 64 bits as "
                    f"labels, got one of {len(str(value))} digits. Write identifiers as strings."
                )

    def _nan_left_out(self, values: list[Any]) -> list[Any]:
        found: Counter[str] = Counter()
        result = []
        for value in values:
            if is_missing(value):
                if value is not None and not is_blank(value):
                    found[str(value).strip()] += 1
                value = None
            result.append(value)
        self._note_left_out(found)
        return result

    def _words_left_out(self, values: list[Any]) -> list[Any]:
        """Leave out words for a missing value where the other labels are numbers."""
        present = {v for v in set(values) if v is not None}
        words = {v for v in present if isinstance(v, str) and looks_missing(v)}
        words -= set(self.seen or ())
        others = (present - words) | set(self.seen or ())
        endless = {v for v in others if is_number(v) and math.isinf(float(v))}
        are_whole = all(is_number(v) and float(v).is_integer() for v in others - endless)
        if endless and are_whole and len(others - endless) > 1 and self.kind != "regression":
            words, others = words | endless, others - endless
        if not words:
            self._note_odd_word(values, others)
            return values
        numbers = bool(others) and all(not isinstance(v, str) or is_number(v) for v in others)
        if numbers or self.seen is not None:
            return self._left_out(values, lambda v: v in words)
        self._note_classes(values, words, "look like missing labels")
        return values

    def _note_odd_word(self, values: list[Any], others: set[Any]) -> None:
        """Note the only class that is no number."""
        odd = {v for v in others if isinstance(v, str) and not is_number(v)}
        odd = {v for v in odd if v.strip().lower() not in ("true", "false")}
        if len(odd) == 1 and len(others) > 2 and self.seen is None:
            self._note_classes(values, odd, "next to numbers may mark missing labels")

    def _note_classes(self, values: list[Any], some: set[Any], what: str) -> None:
        """Note classes that are kept though they may stand for a missing label."""
        n_rows = sum(v in some for v in values)
        listed = ", ".join(shown(v) for v in sorted(some, key=str)[:_PLACES])
        name, kept = "classes", "kept as classes"
        if len(some) == 1:
            name, kept = "class", "kept as a class"
            what = what.replace("look like missing labels", "looks like a missing label")
        rows = "1 row" if n_rows == 1 else f"{n_rows:,} rows"
        self.notes.append(
            f"{self._what}: {name} {listed} ({rows}) {what}: {kept}. Leave the cell empty for "
            "texts still to label"
        )

    def _whole(self, values: list[Any]) -> list[Any]:
        """Read 1.0 as 1 where labels are missing: a column of numbers with gaps becomes so."""
        present = {v for v in set(values) if v is not None}
        if self.column in self.table.class_names:
            return [int(v) if isinstance(v, float) and v.is_integer() else v for v in values]
        if self.kind == "regression" or not any(v is None for v in values):
            return values
        if not present or not all(_is_decimal(v) for v in present):
            return values
        first = min(present, key=float)
        as_one = {v: int(float(v)) for v in present}
        self.notes.append(
            f"{self._what} holds whole numbers written as decimals next to missing labels: read "
            f"as whole numbers ({first} as {as_one[first]})"
        )
        return [None if v is None else as_one[v] for v in values]

    def _truth(self, values: list[Any]) -> list[Any]:
        """Read "true" and "false" as truth values, as pandas and JSON do."""
        present = {v for v in set(values) if v is not None}
        words = {v.lower() for v in present if isinstance(v, str)}
        if len(words) < len(present) or not words or not words <= {"true", "false"}:
            return values
        if self.seen is not None and not set(self.seen) <= {"True", "False"}:
            return values
        return [None if v is None else v.lower() == "true" for v in values]

    def _as_in_training(self, values: list[Any], seen: Collection[str]) -> list[Any]:
        """Read numbers as training writes them; note names that are hardly different."""
        new = {v for v in set(values) if v is not None} - set(seen)
        new = {v for v in new if str(v) not in seen}
        amounts = all(is_number(s) for s in seen) and not all(float(s).is_integer() for s in seen)
        if not new or len(seen) > _MOST_SEEN or self.kind == "regression" or amounts:
            return values
        number_of = {exact(s): s for s in seen if is_number(s)}
        as_seen = {v: number_of[exact(v)] for v in new if is_number(v) and exact(v) in number_of}
        if as_seen and len(number_of) == len(seen):
            first = min(as_seen, key=str)
            self.notes.append(
                f"{self._what}: {len(as_seen)} labels are written otherwise than in training: "
                f"read as there ({shown(first)} as {shown(as_seen[first])})"
            )
            values = [as_seen.get(v, v) for v in values]
        keys = {loose_key(s): s for s in seen}
        for name in sorted(str(v) for v in new if v not in as_seen)[:_PLACES]:
            if loose_key(name) in keys:
                self.notes.append(f"{self._what}: {difference(keys[loose_key(name)], name)}")
        return values

    def _marks_left_out(self, values: list[Any]) -> list[Any]:
        present = {v for v in set(values) if v is not None}
        marks = {v for v in present if _is_mark(v)}
        if not marks or self.kind == "regression":
            self._note_codes(values, present)
            return values
        is_whole = is_integer if self.kind is None else _is_whole_number
        if not all(is_whole(v) for v in present):
            self._note_marks(values, marks, present - marks)
            return values
        if self.column in self.table.class_names:
            return self._left_out(values, lambda v: v in marks, hidden=marks == present)
        if self.seen is not None:
            new = {v for v in marks if not any(same_number(v, s) for s in self.seen)}
            whole = all(is_integer(s) for s in self.seen)
            if not new or not whole:
                return values
            return self._left_out(values, lambda v: v in new, hidden=new == present)
        others = {float(v) for v in present - marks}
        if not others or min(others) < 0:
            return values
        if others in ({0.0}, {1.0}):
            self._note_polarity(values, marks, others)
            return values
        listed = " and ".join(str(v) for v in sorted(marks, key=str))
        if self.kind == "classification":
            self.notes.append(
                f"{self._what}: {listed} is kept as a class, as the kind was given; next to "
                f"{_range(others)} it usually marks rows without a label"
            )
            return values
        if others == _POLARITY and any(same_number(v, "-1") for v in marks):
            raise DataError(
                f"{self._what} holds -1, 0 and 1: -1 may be a class, or mark rows without a "
                "label. If it is a class, give --kind classification; if it marks rows without a "
                "label, leave their label empty."
            )
        rows = sum(v in marks for v in values)
        self.notes.append(
            f"{self._what}: {rows:,} rows with {listed} have no label: next to {_range(others)} "
            "it marks rows without one. If it is a class, give --kind classification"
        )
        return [None if v in marks else v for v in values]

    def _note_polarity(self, values: list[Any], marks: set[Any], others: set[float]) -> None:
        """Note -1 next to a single class: it is one of two classes, or marks the other rows."""
        if self.kind != "classification":
            self._note_classes(
                values, marks, f"next to only {_range(others)} may mark rows without a label"
            )

    def _note_marks(self, values: list[Any], marks: set[Any], others: set[Any]) -> None:
        """Note -1 and -100 next to words: kept as classes, though they look like marks."""
        if self.seen is not None or any(is_number(v) for v in others):
            return
        self._note_classes(values, marks, "next to words look like missing labels")

    def _note_codes(self, values: list[Any], present: set[Any]) -> None:
        """Note a number that stands apart from the others, as surveys code a missing answer."""
        if self.seen is not None or self.kind == "regression" or len(present) < 3:
            return
        if not all(is_integer(v) for v in present):
            return
        codes = {v for v in present if int(v) in _CODES}
        others = {int(v) for v in present - codes}
        if codes and others and min(others) >= 0 and max(others) <= _LARGEST_CLASS:
            self._note_classes(values, codes, f"next to {_range(others)} may mark missing labels")

    def _left_out(
        self, values: list[Any], is_out: Callable[[Any], bool], *, hidden: bool = False
    ) -> list[Any]:
        found = Counter(str(v) for v in values if v is not None and is_out(v))
        if hidden:
            where = "Choose a labelled part or file with --eval."
            raise DataError(
                f"{self._what}: all {sum(found.values()):,} labels are {min(found)}: {min(found)} "
                "marks hidden labels, expected some that are not. "
                f"{where if self.seen is not None else 'Use a labelled file.'}"
            )
        self._note_left_out(found)
        return [None if v is not None and is_out(v) else v for v in values]

    def _note_left_out(self, found: Counter[str]) -> None:
        if found:
            listed = ", ".join(shown(word) for word in sorted(found)[:_PLACES])
            self.notes.append(
                f"{self._what}: {sum(found.values()):,} rows with {listed} have no label"
            )


def _is_whole_number(value: Any) -> bool:
    return is_integer(value) or _is_decimal(value)


def _is_decimal(value: Any) -> bool:
    """Return whether a value is a whole number with a decimal point: 1.0, or "1.0" in a file."""
    if isinstance(value, float):
        return value.is_integer() and abs(value) < 2**53
    return isinstance(value, str) and value.endswith(".0") and is_integer(value[:-2])


def _is_mark(value: Any) -> bool:
    return not isinstance(value, bool) and is_number(value) and float(value) in MARKS


def _range(numbers: Collection[float]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:g}" if low == high else f"{low:g}..{high:g}"
