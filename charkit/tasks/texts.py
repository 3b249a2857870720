"""Texts by themselves, row by row as the source has them: what is encoded needs no label."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from charkit.config import printable
from charkit.tasks.card import SourceOptions
from charkit.tasks.files.table import LABEL_NAMES
from charkit.tasks.readers.columns import Columns, choose_texts, match_columns, named_columns
from charkit.tasks.readers.looks import is_blank, is_missing
from charkit.tasks.readers.rows import OnBadRows, usable_rows
from charkit.tasks.readers.sources import glue_columns, open_tables
from charkit.tasks.readers.tables import RawTable
from charkit.tasks.task import Split, Task

ID_NAMES = ("id", "idx", "guid", "uid", "uuid", "example id", "text id", "doc id")
"""Names of columns that are written next to states as the rows' identifiers."""


@dataclass(frozen=True, eq=False)
class TextPart:
    """The texts of one part, and what is known of each row.

    Attributes:
        name: ``"train"`` or ``"evaluation"``.
        split: The texts, without labels.
        unit: What ``numbers`` count: ``"line"`` or ``"row"``.
        numbers: Where each row stands in its source, from 1.
        ids: The rows' identifiers in the source; empty where it has none.
        labels: The rows' labels as text, "" where one is missing; empty where there are none.
    """

    name: str
    split: Split
    unit: str
    numbers: tuple[int, ...]
    ids: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def table(self) -> list[dict[str, Any]]:
        """Return what is known of each row: position, place, id, label."""
        columns: dict[str, list[Any]] = {
            "position": list(range(len(self.split))),
            self.unit: list(self.numbers),
        }
        if self.ids:
            columns["id"] = list(self.ids)
        if self.labels:
            columns["label"] = list(self.labels)
        return [
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        ]


def load_texts(
    source: Any, *, reading: SourceOptions
) -> tuple[str, list[TextPart], tuple[str, ...]]:
    """Read the texts of every part of a source; labels are copied, not interpreted.

    Args:
        source: Whatever `charkit.load_task` takes.
        reading: How it is read; kind and the share to hold out play no part. Bad rows are those
            that have a label and no text.

    Returns:
        A name, the parts, and notes.

    Raises:
        UsageError: An argument is wrong, or a name unknown.
        DataError: The source cannot be used.
        MissingError: A file or package is not there.
    """
    tables = open_tables(source, reading.evaluation, offline=reading.offline)
    text, pair = reading.text, reading.pair
    if tables.glue is not None and text is None and pair is None:
        text, pair = glue_columns(tables)
    columns = choose_texts(tables.train, text=text, pair=pair, taken=reading.label)
    notes = [*tables.notes, *columns.notes]
    bad: OnBadRows = "drop" if reading.on_bad_rows == "drop" else "refuse"
    parts = []
    for name, table in (("train", tables.train), ("evaluation", tables.evaluation)):
        if table is None:
            continue
        own = columns
        if name == "evaluation":
            table, own = match_columns(table, columns, labelled=False)
        label = _label_of(table, own, reading.label, needed=name == "train")
        parts.append(_part(name, table, own, label, bad, notes))
    return tables.name, parts, tuple(notes)


def parts_of_task(task: Task) -> list[TextPart]:
    """Return the parts of a task; rows are counted from 1."""
    parts = []
    for name, split in (("train", task.train), ("evaluation", task.evaluation)):
        if split is None:
            continue
        labels: tuple[str, ...] = ()
        if split.labels is not None:
            labels = tuple(
                task.class_names[int(v)] if 0 <= v < task.n_classes else f"{v:g}"
                if task.kind == "regression" else ""
                for v in split.labels
            )  # fmt: skip
        numbers = tuple(range(1, len(split) + 1))
        bare = Split(split.texts, split.pairs)
        parts.append(TextPart(name, bare, "row", numbers, (), labels))
    return parts


def _label_of(table: RawTable, columns: Columns, asked: str | None, *, needed: bool) -> str:
    """Return the column whose labels are copied; empty where there is none, or several."""
    if asked is not None:
        found = named_columns(table, (asked,), taken=set())
        if not found and needed:
            match_columns(table, replace(columns, label=asked))
        return found[0] if found else ""
    known = named_columns(table, LABEL_NAMES, taken={columns.text, columns.pair})
    return known[0] if len(known) == 1 else ""


def _part(
    name: str,
    table: RawTable,
    columns: Columns,
    label: str,
    on_bad_rows: OnBadRows,
    notes: list[str],
) -> TextPart:
    table, blank = _without_blank(table, columns, label)
    rows = usable_rows(table, columns, on_bad_rows=on_bad_rows, labelled=False)
    notes += [*table.notes, *blank, *rows.notes]
    at = {number: row for row, number in enumerate(table.numbers)}
    kept = [at[number] for number in rows.numbers]
    ids = named_columns(table, ID_NAMES, taken={columns.text, columns.pair, label})
    return TextPart(
        name=name,
        split=Split(rows.texts, rows.pairs),
        unit=rows.unit,
        numbers=rows.numbers,
        ids=tuple(_written(table.columns[ids[0]][i]) for i in kept) if ids else (),
        labels=tuple(_class(table, label, i) for i in kept) if label else (),
    )


def _without_blank(
    table: RawTable, columns: Columns, label: str
) -> tuple[RawTable, tuple[str, ...]]:
    texts = [table.columns[n] for n in (columns.text, columns.pair) if n is not None]
    kept = [
        row
        for row in range(len(table))
        if not all(is_blank(column[row]) for column in texts)
        or (label and not is_missing(table.columns[label][row]))
    ]
    n_blank = len(table) - len(kept)
    if not n_blank:
        return table, ()
    what = "neither text nor label" if label else "no text"
    return table.take(kept), (f"{table.where}: {n_blank} blank rows ({what}) left out",)


def _class(table: RawTable, label: str, row: int) -> str:
    """Return a label as text; of a code the name, where the source names the classes."""
    value, names = table.columns[label][row], table.class_names.get(label, ())
    if is_missing(value):
        return ""
    if names and isinstance(value, int) and not isinstance(value, bool):
        return names[value] if 0 <= value < len(names) else ""
    return _written(value)


def _written(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else printable(str(value))
