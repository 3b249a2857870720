"""Texts of which some, all or none have a label: what is to be labelled, and what is already.

Where a `Task` wants a label in every row, here rows with an empty label are the pool of texts
still to label, and evaluation rows are only texts: their labels are never read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from charkit.config import TaskKind, printable
from charkit.errors import DataError, UsageError
from charkit.tasks.card import SourceOptions
from charkit.tasks.checks import check_pairs, explained_by, rare_class_notes, row_keys, text_notes
from charkit.tasks.columns import Columns, choose_columns, choose_texts, match_columns
from charkit.tasks.generated import load_generated
from charkit.tasks.glue import glue_order
from charkit.tasks.labels import Meaning, encode_labels, read_meaning
from charkit.tasks.rows import OnBadRows, Rows, usable_rows
from charkit.tasks.settle import settle
from charkit.tasks.sources import Tables, check_choices, glue_columns, open_tables, refuse_columns
from charkit.tasks.tables import RawTable
from charkit.tasks.task import Split, Task

FEWEST_LABELLED = 4
"""With fewer labels of the least two classes nothing can be held against anything."""

MOST_CLASSES = 1_000
"""With more classes, labels are hardly classes, and no answer about them would mean anything."""


@dataclass(frozen=True)
class Places:
    """Where rows stand in their file.

    Attributes:
        unit: What ``numbers`` count: ``"line"`` or ``"row"``.
        numbers: The place of every row, from 1.
    """

    unit: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class PartlyLabelled:
    """What is known of texts before they are all labelled.

    Attributes:
        name: A short name.
        corpus: Sources with the same corpus share texts.
        labelled: The labelled rows, class codes as labels; may be empty.
        pool: Rows of the source that have no label; may be empty.
        evaluation: Texts to evaluate on, without labels; None where none were given.
        class_names: The name of class code c at position c; empty without labels.
        n_classes: How many classes there are.
        notes: What was guessed, dropped or counted while reading.
        pool_places: Where the rows of the pool stand; None where there is none.
        evaluation_places: Where the evaluation rows stand; None where there are none.
        columns: The columns that were read; None where there is no file.
    """

    name: str
    corpus: str
    labelled: Split
    pool: Split
    evaluation: Split | None
    class_names: tuple[str, ...]
    n_classes: int
    notes: tuple[str, ...] = ()
    pool_places: Places | None = None
    evaluation_places: Places | None = None
    columns: Columns | None = None

    @property
    def unlabelled(self) -> Split | None:
        """The texts that stand for those to come: the evaluation texts, else the pool."""
        if self.evaluation is not None:
            return self.evaluation
        return self.pool if len(self.pool) else None

    def describe(self) -> list[str]:
        """Return a few lines for people: rows, classes with counts, notes."""
        pairs = "pairs of texts" if self.pool.pairs is not None else "texts"
        if not len(self.labelled):
            lines = [
                f"{self.name}: {len(self.pool):,} {pairs}, no labels, {self.n_classes} classes"
            ]
        else:
            lines = [f"{self.name}: {len(self.labelled):,} labelled {pairs}{self._counts()}"]
        if len(self.labelled) and len(self.pool):
            lines.append(f"still to label: {len(self.pool):,} rows")
        if self.evaluation is not None:
            lines.append(f"evaluation: {len(self.evaluation):,} texts, labels not read")
        return lines + [f"note: {note}" for note in self.notes]

    def _counts(self, *, shown: int = 8) -> str:
        counts = np.bincount(np.asarray(self.labelled.labels, np.int64), minlength=self.n_classes)
        ranked = sorted(zip((-counts).tolist(), self.class_names, strict=True))[:shown]
        text = ", ".join(f"{printable(name)} {-count}" for count, name in ranked)
        more = f", and {self.n_classes - shown} more" if self.n_classes > shown else ""
        return f", {self.n_classes} classes: {text}{more}"


def load_partly_labelled(
    source: Any, *, reading: SourceOptions, n_classes: int | None = None, few: bool = False
) -> PartlyLabelled:
    """Read texts of which some, all or none are labelled.

    Args:
        source: Whatever `charkit.load_task` takes, or a task: of that, the training part is the
            labelled sample, and the evaluation part gives texts without labels.
        reading: How it is read; the share to hold out plays no part.
        n_classes: Number of classes, for texts without labels: then no label is read.
        few: Take labels that are too few to learn from: of one class, or hardly one a class.

    Raises:
        UsageError: An argument is wrong, or the labels and their absence are both asked for.
        DataError: The source cannot be used, or its labels are not classes.
        MissingError: A file or package is not there.
    """
    check_choices(kind=reading.kind, on_bad_rows=reading.on_bad_rows, eval_frac=reading.eval_frac)
    _check_classes_asked(n_classes, reading.label)
    if isinstance(source, str) and source.startswith("generated/"):
        source = load_generated(source)
    if isinstance(source, Task):
        own = (reading.text, reading.pair, reading.label, reading.kind, reading.evaluation)
        refuse_columns("tasks", *own)
        return _of_task(source, n_classes)
    tables = open_tables(source, reading.evaluation, offline=reading.offline)
    text, pair = reading.text, reading.pair
    if tables.glue is not None and text is None and pair is None:
        text, pair = glue_columns(tables)
    bad: OnBadRows = "drop" if reading.on_bad_rows == "drop" else "refuse"
    name = reading.name or tables.name
    reader = _Reader(tables, bad, name, few)
    if n_classes is not None:
        return reader.unlabelled(choose_texts(tables.train, text=text, pair=pair), n_classes)
    columns = _labelled_columns(tables.train, text, pair, reading.label)
    return reader.labelled(columns, reading.kind)


def _check_classes_asked(n_classes: int | None, label: str | None) -> None:
    if n_classes is None:
        return
    if label is not None:
        raise UsageError(
            "the classes are counted from the labels: expected --label or --classes, got both. "
            "Leave out --classes; for texts without labels leave out --label."
        )
    if not 2 <= n_classes <= MOST_CLASSES:
        raise UsageError(
            f"classes are out of range: expected 2 to {MOST_CLASSES:,}, got {n_classes:,}. "
            "Merge classes, or take the upper level of a hierarchy."
        )


def _labelled_columns(
    table: RawTable, text: str | None, pair: str | None, label: str | None
) -> Columns:
    try:
        return choose_columns(table, text=text, pair=pair, label=label)
    except DataError as error:
        if label is None and "the label" in str(error):
            raise DataError(f"{error} For texts without labels give --classes C.") from error
        raise


@dataclass(frozen=True)
class _Reader:
    """Raw tables on their way to a `PartlyLabelled`."""

    tables: Tables
    on_bad_rows: OnBadRows
    name: str
    few: bool

    def unlabelled(self, columns: Columns, n_classes: int) -> PartlyLabelled:
        table = settle(self.tables.train, columns)
        rows = self._texts(table, columns)
        notes = [*self._notes(table, columns), *rows.notes]
        pool = Split(rows.texts, rows.pairs)
        check_pairs(pool, where=rows.where)
        evaluation = self._evaluation(columns, notes)
        return PartlyLabelled(
            name=self.name,
            corpus=self._corpus,
            labelled=pool.take([]),
            pool=pool,
            evaluation=_split(evaluation),
            class_names=(),
            n_classes=n_classes,
            notes=tuple(notes),
            pool_places=_places(rows),
            evaluation_places=_places(evaluation),
            columns=columns,
        )

    def labelled(self, columns: Columns, kind: TaskKind | None) -> PartlyLabelled:
        table = settle(self.tables.train, columns, kind=kind)
        with_label, without = _parted(table, columns.label)
        notes = list(self._notes(table, columns))
        if not len(with_label):
            raise DataError(
                f"{with_label.where}: column {columns.label!r} is empty in all {len(without)} "
                "rows: expected some labels, got none. For texts without labels leave out "
                "--label and give --classes C."
            )
        rows = usable_rows(with_label, columns, on_bad_rows=self.on_bad_rows)
        with explained_by((*table.notes, *rows.notes)):
            meaning = _classes(rows, columns.label, kind, few=self.few)
        if self.tables.glue is not None:
            names = glue_order(self.tables.glue, meaning.class_names)
            meaning = replace(meaning, class_names=names)
        rows, codes, more = encode_labels(
            rows, columns.label, meaning, on_bad_rows=self.on_bad_rows
        )
        notes += [*rows.notes, *meaning.notes, *more]
        if not self.few:
            notes += rare_class_notes(
                codes, "classification", meaning.class_names, where=rows.where
            )
        part = Split(rows.texts, rows.pairs, codes)
        notes += text_notes(part, where=rows.where)
        check_pairs(part, where=rows.where)
        pool, left = Split((), None if part.pairs is None else ()), None
        if len(without):
            left = self._texts(without, columns)
            pool = Split(left.texts, left.pairs)
            notes += [f"{len(pool):,} rows have no label: they count as texts still to label"]
            notes += left.notes
        evaluation = self._evaluation(columns, notes)
        return PartlyLabelled(
            name=self.name,
            corpus=self._corpus,
            labelled=part,
            pool=pool,
            evaluation=_split(evaluation),
            class_names=meaning.class_names,
            n_classes=len(meaning.class_names),
            notes=tuple(notes),
            pool_places=_places(left),
            evaluation_places=_places(evaluation),
            columns=columns,
        )

    @property
    def _corpus(self) -> str:
        return self.tables.corpus or self.name

    def _notes(self, table: RawTable, columns: Columns) -> tuple[str, ...]:
        return (*self.tables.notes, *table.notes, *columns.notes)

    def _texts(self, table: RawTable, columns: Columns) -> Rows:
        return usable_rows(table, columns, on_bad_rows=self.on_bad_rows, labelled=False)

    def _evaluation(self, columns: Columns, notes: list[str]) -> Rows | None:
        table = self.tables.evaluation
        if table is None:
            return None
        table, own = match_columns(table, columns, labelled=False)
        table = settle(table, own)
        rows = self._texts(table, own)
        notes += [*table.notes, *rows.notes]
        if columns.label and columns.label in table.columns:
            notes.append(f"{rows.where}: the labels of the evaluation rows are not read")
        return rows


def _split(rows: Rows | None) -> Split | None:
    return None if rows is None else Split(rows.texts, rows.pairs)


def _places(rows: Rows | None) -> Places | None:
    return None if rows is None else Places(rows.unit, rows.numbers)


def _parted(table: RawTable, column: str) -> tuple[RawTable, RawTable]:
    """Return the rows with a label and those without."""
    values = table.columns[column]

    def rows(empty: bool) -> RawTable:
        return table.take([i for i, value in enumerate(values) if (value is None) is empty])

    return rows(False), rows(True)


def _classes(rows: Rows, column: str, kind: TaskKind | None, *, few: bool) -> Meaning:
    """Return what labels mean, where they are classes that can be learned.

    Raises:
        DataError: They are targets, one class, too many classes, or a class a row.
    """
    meaning = read_meaning(rows, column, kind=kind)
    if meaning.kind == "regression":
        raise DataError(
            f"{rows.where}: column {column!r} holds amounts: expected classes, got a regression "
            "task, of which no learning curves are known. For numbers that name classes say "
            "--kind classification; 'charkit sweep' measures regression."
        )
    n_classes = len(meaning.class_names)
    if n_classes < 2 and not few:
        raise DataError(
            f"{rows.where}: only one class, {meaning.class_names[0]!r} ({len(rows)} rows): "
            "expected at least two. Check the label column, or add rows of another class."
        )
    if n_classes > MOST_CLASSES:
        raise DataError(
            f"{rows.where}: {n_classes:,} classes in {len(rows):,} rows: expected at most "
            f"{MOST_CLASSES:,}. Check that the label column holds classes, and merge classes."
        )
    if not few and (len(rows) < FEWEST_LABELLED or len(rows) == n_classes):
        raise DataError(
            f"{rows.where}: {len(rows)} labelled rows for {n_classes} classes are too few: "
            f"expected at least {FEWEST_LABELLED}, two of them of one class. Label more, or leave "
            "out --label and give --classes C."
        )
    return meaning


def _of_task(task: Task, n_classes: int | None) -> PartlyLabelled:
    if task.kind == "regression":
        raise DataError(
            f"{task.name}: expected classes, got a regression task, of which no learning curves "
            "are known. 'charkit sweep' measures regression."
        )
    evaluation = task.evaluation
    if evaluation is not None:
        evaluation = Split(evaluation.texts, evaluation.pairs)
    part = task.train
    bare = n_classes is not None or part.labels is None
    if bare and n_classes is None:
        raise DataError(
            f"{task.name} has no labels: expected labels or the number of classes, got neither. "
            "Give --classes C."
        )
    nothing = Split((), None if part.pairs is None else ())
    return PartlyLabelled(
        name=task.name,
        corpus=task.corpus,
        labelled=nothing if bare else part,
        pool=Split(part.texts, part.pairs) if bare else nothing,
        evaluation=evaluation,
        class_names=() if bare else task.class_names,
        n_classes=n_classes or task.n_classes,
        notes=task.notes,
        pool_places=Places("row", tuple(range(1, len(part) + 1))) if bare else None,
    )


def without_repeats(split: Split) -> Split:
    """Return the rows without those that repeat an earlier text and label."""
    labels = [None] * len(split) if split.labels is None else split.labels.tolist()
    first: dict[object, int] = {}
    for row, key in enumerate(zip(row_keys(split), labels, strict=True)):
        first.setdefault(key, row)
    return split if len(first) == len(split) else split.take(sorted(first.values()))
