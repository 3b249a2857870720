"""From a raw table to usable rows: texts that are texts, labels that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from charkit.config import listing
from charkit.errors import DataError
from charkit.tasks.readers.columns import Columns
from charkit.tasks.readers.looks import is_blank, shown
from charkit.tasks.readers.tables import RawTable

OnBadRows = Literal["refuse", "drop"]
"""Rows with a label and no text: stop and name them, or leave them out and count them."""

# Bad rows that a message names; the rest are counted.
_SHOWN = 5


@dataclass(frozen=True)
class Rows:
    """The chosen columns of a table, row by row, with nothing missing.

    Attributes:
        where: What messages call the source.
        unit: What ``numbers`` count: ``"line"`` or ``"row"``.
        numbers: Where each row stands in the source.
        texts: The texts.
        pairs: The second texts, or None.
        labels: Labels as in the source, or None where there is no label column.
        known_classes: Names by class code where the source gives them.
        notes: What was dropped.
    """

    where: str
    unit: str
    numbers: tuple[int, ...]
    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None
    labels: tuple[Any, ...] | None
    known_classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def keep(self, rows: Sequence[int]) -> Rows:
        """Return these rows only."""
        return replace(
            self,
            numbers=tuple(self.numbers[i] for i in rows),
            texts=tuple(self.texts[i] for i in rows),
            pairs=None if self.pairs is None else tuple(self.pairs[i] for i in rows),
            labels=None if self.labels is None else tuple(self.labels[i] for i in rows),
        )


def usable_rows(
    table: RawTable, columns: Columns, *, on_bad_rows: OnBadRows, labelled: bool = True
) -> Rows:
    """Take the chosen columns; leave out rows without a label, refuse or drop those without text.

    Args:
        table: The table, as `charkit.tasks.readers.settle.settle` returns it.
        columns: Its chosen columns.
        on_bad_rows: What to do with empty texts.
        labelled: False where labels are not read; then no row is left out for want of one.

    Raises:
        DataError: A value has the wrong type, or rows are bad and are to be refused, or no row
            is left.
    """
    n_rows = len(table)
    unlabelled: tuple[str, ...] = ()
    if labelled:
        table, unlabelled = _labelled(table, columns.label)
    texts = _texts(table, columns.text)
    pairs = None if columns.pair is None else _texts(table, columns.pair)
    labels = table.columns[columns.label] if labelled else None
    bad: dict[int, str] = {}
    for name, values in ((columns.text, texts), (columns.pair, pairs)):
        if values is not None:
            for row, value in enumerate(values):
                if value is None:
                    bad.setdefault(row, f"empty {name!r}")
    notes = settle_bad_rows(table.where, table.unit, table.numbers, bad, on_bad_rows=on_bad_rows)
    good = [row for row in range(len(table)) if row not in bad]
    if not good:
        raise DataError(
            f"{table.where}: no usable row is left of {n_rows}. Check the columns {_read(columns)}."
        )
    rows = Rows(
        where=table.where,
        unit=table.unit,
        numbers=tuple(table.numbers),
        texts=tuple(texts),  # type: ignore[arg-type]  # rows with None are left out below
        pairs=None if pairs is None else tuple(pairs),  # type: ignore[arg-type]
        labels=None if labels is None else tuple(labels),
        known_classes=table.class_names.get(columns.label, ()),
        notes=(*unlabelled, *notes),
    )
    return rows.keep(good) if bad else rows


def _read(columns: Columns) -> str:
    named = (columns.text, columns.pair, columns.label)
    return ", ".join(shown(name) for name in named if name)


def _labelled(table: RawTable, column: str) -> tuple[RawTable, tuple[str, ...]]:
    """Return the rows that have a label, and the note that counts the others."""
    values = table.columns[column]
    rows = [row for row, value in enumerate(values) if value is not None]
    n_out = len(values) - len(rows)
    if not n_out:
        return table, ()
    if not rows:
        raise DataError(
            f"{table.where}: column {column!r} is empty in all {n_out} rows: expected some labels, "
            "got none. Label some rows; 'charkit encode' and 'charkit next --classes C' need none."
        )
    note = f"{table.where}: {n_out:,} of {len(values):,} rows have no label: left out"
    return table.take(rows), (note,)


def settle_bad_rows(
    where: str, unit: str, numbers: Sequence[int], bad: dict[int, str], *, on_bad_rows: OnBadRows
) -> tuple[str, ...]:
    """Refuse bad rows, or return the note that says how many are dropped.

    Args:
        where: What messages call the source.
        unit: What ``numbers`` count.
        numbers: The place of every row.
        bad: The reason by row index.
        on_bad_rows: What to do.

    Raises:
        DataError: There are bad rows and they are to be refused.
    """
    if not bad:
        return ()
    first = sorted(bad)[:_SHOWN]
    places = ", ".join(f"{unit} {numbers[row]} ({bad[row]})" for row in first)
    more = ", ..." if len(bad) > _SHOWN else ""
    count = f"{len(bad)} of {len(numbers)} rows"
    if on_bad_rows == "drop":
        return (f"{where}: {count} dropped: {places}{more}",)
    raise DataError(
        f"{where}: {count} cannot be used: {places}{more}. Correct them, or leave them out with "
        "--on-bad-rows drop."
    )


def _texts(table: RawTable, column: str) -> list[str | None]:
    """Return the texts; None where there is none, or nothing but white space."""
    values = table.columns[column]
    odd = [i for i, v in enumerate(values) if v is not None and not isinstance(v, str)]
    if odd:
        value = values[odd[0]]
        if isinstance(value, list | dict | tuple):
            raise _nested(table, column, odd[0])
        raise DataError(
            f"{_place(table, odd[0])}: column {column!r} should hold texts: expected strings, got "
            f"{type(value).__name__} {shown(value)} ({len(odd)} such rows). Choose another "
            "column, or write the values as strings."
        )
    _check_unicode(table, column)
    return [None if is_blank(v) else v for v in values]


def _nested(table: RawTable, column: str, row: int) -> DataError:
    value = table.columns[column][row]
    inner = [f"{column}.{key}" for key in value] if isinstance(value, dict) else []
    advice = "Write the part that is meant as a field of its own."
    if inner and all(name in table.columns for name in inner):
        advice = f"Name the part that is meant: {listing(inner)}."
    return DataError(
        f"{_place(table, row)}: field {column!r} is nested ({type(value).__name__}): expected a "
        f"plain value. {advice}"
    )


def _check_unicode(table: RawTable, column: str) -> None:
    values = table.columns[column]
    try:
        "".join(v for v in values if v is not None).encode("utf-8")
    except UnicodeEncodeError:
        for row, value in enumerate(values):
            if value is not None and any("\ud800" <= c <= "\udfff" for c in value):
                raise DataError(
                    f"{_place(table, row)}: column {column!r} holds half a character (a lone "
                    "surrogate): expected valid Unicode. Correct how the file was written."
                ) from None
        raise


def _place(table: RawTable, row: int) -> str:
    return f"{table.where}, {table.unit} {table.numbers[row]}"
