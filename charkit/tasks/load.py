"""load_task: from any source to a task, of which all, some or no rows are labelled.

With ``labels="all"`` a label is expected in every row, and a part is held out. With ``"some"``
rows with an empty label are the pool of texts still to label, and evaluation rows are texts
only: their labels are never read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from charkit.config import TaskKind
from charkit.errors import DataError, UnknownNameError, UsageError
from charkit.tasks.assemble import (
    Request,
    assemble,
    check_pairs,
    explained_by,
    rare_class_notes,
    text_notes,
)
from charkit.tasks.generated.suite import load_generated
from charkit.tasks.readers.columns import Columns, choose_columns, choose_texts, match_columns
from charkit.tasks.readers.hub import glue_order
from charkit.tasks.readers.labels import Meaning, encode_labels, label_names, read_meaning
from charkit.tasks.readers.rows import OnBadRows, Rows, usable_rows
from charkit.tasks.readers.settle import settle
from charkit.tasks.readers.sources import (
    Tables,
    check_choices,
    glue_columns,
    open_tables,
    refuse_columns,
)
from charkit.tasks.readers.tables import RawTable
from charkit.tasks.task import Places, Split, Task

Labels = Literal["all", "train", "some", "few", "none"]
"""Which labels a source has, and which are read: of all rows; of all but the evaluation rows; of
training rows that have one; the same, however few; none."""

FEWEST_LABELLED = 4
"""With fewer labels of the least two classes nothing can be held against anything."""

MOST_CLASSES = 1_000
"""With more classes, labels are hardly classes, and no answer about them would mean anything."""


def load_task(
    source: Any,
    *,
    text: Any = None,
    pair: Any = None,
    label: Any = None,
    kind: TaskKind | None = None,
    evaluation: Any = None,
    labels: Labels = "all",
    classes: int | None = None,
    eval_frac: float = 0.2,
    seed: int = 0,
    on_bad_rows: OnBadRows = "refuse",
    offline: bool | None = None,
) -> Task:
    """Load a task from a file, a folder, a DataFrame, the hub, GLUE, or the generated suite.

    Args:
        source: A file, a folder with ``train.*`` and an evaluation file,
            ``hub:owner/name/config@revision``, ``glue/NAME``, ``generated/NAME?knob=value``; a
            DataFrame (pandas, polars, pyarrow), a ``datasets.Dataset`` or ``DatasetDict``, a list
            of dicts or of (text, label) pairs, a dict of columns.
        text: The text column, by its name as given there (a number or a tuple as well); None to
            take the only candidate.
        pair: The column of second texts; None for single texts (guessed if text is None too).
        label: The label column; None to take the only candidate.
        kind: Classes or real targets; None to decide it from the labels.
        evaluation: A file or data with the same columns, or the name of a split of the folder or
            data set. Its label column may be absent.
        labels: ``"all"``: every row has a label. ``"train"``: the labels of the evaluation rows
            are not read. ``"some"``, for `charkit.estimate` and `charkit.next_labels`: rows
            without a label become ``task.pool``, nothing is held out, and labels of evaluation
            rows are not read; ``"few"``: the same with labels of one class, or hardly one a
            class. ``"none"``: no label is read; ``classes`` says how many classes there are.
        classes: Number of classes, for texts without any label.
        eval_frac: Where there is no evaluation part: the share of rows split off for one.
        seed: Seed of that split.
        on_bad_rows: Refuse empty texts and labels, or drop and count them.
        offline: Never open a connection; None reads CHARKIT_OFFLINE and HF_HUB_OFFLINE.

    Returns:
        The task. What was guessed, split, dropped or counted stands in its notes.

    Raises:
        UsageError: An argument is wrong, or a name unknown (with near matches).
        DataError: The data cannot be used; the message names file, line and what to do.
        MissingError: A file or package is not there.
        OfflineError: It would have to be downloaded.
    """
    check_choices(kind=kind, on_bad_rows=on_bad_rows, eval_frac=eval_frac)
    labels = checked_labels(labels, classes, label)
    if isinstance(source, str) and source.startswith("generated/"):
        refuse_columns("generated tasks", text, pair, label, kind, evaluation)
        task = load_generated(source)
        return task if labels in ("all", "train") else partly_labelled(task, classes)
    tables = open_tables(source, evaluation, offline=offline)
    if tables.glue is not None and text is None and pair is None:
        text, pair = glue_columns(tables)
    where = str(source) if isinstance(source, str | os.PathLike) else tables.train.where
    if classes is not None:
        columns = choose_texts(tables.train, text=text, pair=pair)
        return _Reader(tables, on_bad_rows, where).unlabelled(columns, classes)
    if labels in ("some", "few"):
        columns = _labelled_columns(tables.train, text, pair, label)
        return _Reader(tables, on_bad_rows, where, labels == "few").labelled(columns, kind)
    columns = choose_columns(tables.train, text=text, pair=pair, label=label)
    table = settle(tables.train, columns, kind=kind)
    train = usable_rows(table, columns, on_bad_rows=on_bad_rows)
    held_out = None
    if tables.evaluation is not None:
        held_out = _evaluation_rows(
            tables.evaluation, columns, train, kind=kind, on_bad_rows=on_bad_rows,
            labelled=labels == "all",
        )  # fmt: skip
    request = Request(
        name=tables.name,
        source=where,
        column=columns.label,
        kind=kind,
        eval_frac=eval_frac,
        seed=seed,
        on_bad_rows=on_bad_rows,
        corpus=tables.corpus,
        glue=tables.glue,
        notes=(*tables.notes, *table.notes, *columns.notes),
    )
    with explained_by((*table.notes, *train.notes)):
        return assemble(train, held_out, request)


def checked_labels(labels: Labels, classes: int | None, label: object = None) -> Labels:
    """Return which labels are read; texts whose classes are counted have none.

    Raises:
        UsageError: The choice is not known, or does not fit the other arguments.
    """
    if labels not in get_args(Labels):
        raise UnknownNameError("labels", labels, get_args(Labels))
    if classes is None and labels == "none":
        raise UsageError(
            "no label is read: expected the number of classes, got none. Give classes=C."
        )
    if classes is None:
        return labels
    if label is not None:
        raise UsageError(
            "the classes are counted from the labels: expected --label or --classes, got both. "
            "Leave out --classes; for texts without labels leave out --label."
        )
    if not 2 <= classes <= MOST_CLASSES:
        raise UsageError(
            f"classes are out of range: expected 2 to {MOST_CLASSES:,}, got {classes:,}. "
            "Merge classes, or take the upper level of a hierarchy."
        )
    return "none"


def _evaluation_rows(
    table: RawTable,
    columns: Columns,
    train: Rows,
    *,
    kind: TaskKind | None,
    on_bad_rows: OnBadRows,
    labelled: bool,
) -> Rows:
    """Return the evaluation rows, with labels where there are any and they are wanted."""
    table, own = match_columns(table, columns, labelled=labelled)
    labelled = labelled and bool(own.label)
    if labelled:
        table = settle(table, own, kind=kind, seen=frozenset(label_names(train.labels or ())))
        labelled = any(value is not None for value in table.columns[own.label])
    else:
        table = settle(table, replace(own, label=""))
    rows = usable_rows(table, own, on_bad_rows=on_bad_rows, labelled=labelled)
    return replace(rows, notes=(*table.notes, *rows.notes))


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
    """Raw tables on their way to a task of which some rows are labelled, or none."""

    tables: Tables
    on_bad_rows: OnBadRows
    source: str
    few: bool = False

    def unlabelled(self, columns: Columns, n_classes: int) -> Task:
        table = settle(self.tables.train, columns)
        rows = self._texts(table, columns)
        notes = [*self._notes(table, columns), *rows.notes]
        pool = _texts_of(rows)
        check_pairs(pool, where=rows.where)
        evaluation = self._evaluation(columns, notes)
        task = self._task(columns, pool=pool, evaluation=evaluation, notes=notes)
        return replace(task, unnamed_classes=n_classes)

    def labelled(self, columns: Columns, kind: TaskKind | None) -> Task:
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
        part = replace(_texts_of(rows), labels=codes)
        notes += text_notes(part, where=rows.where)
        check_pairs(part, where=rows.where)
        pool = None
        if len(without):
            left = self._texts(without, columns)
            pool = _texts_of(left)
            notes += [f"{len(pool):,} rows have no label: they count as texts still to label"]
            notes += left.notes
        evaluation = self._evaluation(columns, notes)
        task = self._task(columns, pool=pool, evaluation=evaluation, notes=notes)
        return replace(task, train=part, class_names=meaning.class_names)

    def _task(
        self, columns: Columns, *, pool: Split | None, evaluation: Split | None, notes: list[str]
    ) -> Task:
        return Task(
            name=self.tables.name,
            kind="classification",
            train=_nothing(columns.pair is not None),
            evaluation=evaluation,
            corpus=self.tables.corpus or self.tables.name,
            source=self.source,
            notes=tuple(notes),
            pool=pool,
            columns=(columns.text, columns.pair or "", columns.label),
        )

    def _notes(self, table: RawTable, columns: Columns) -> tuple[str, ...]:
        return (*self.tables.notes, *table.notes, *columns.notes)

    def _texts(self, table: RawTable, columns: Columns) -> Rows:
        return usable_rows(table, columns, on_bad_rows=self.on_bad_rows, labelled=False)

    def _evaluation(self, columns: Columns, notes: list[str]) -> Split | None:
        table = self.tables.evaluation
        if table is None:
            return None
        table, own = match_columns(table, columns, labelled=False)
        table = settle(table, own)
        rows = self._texts(table, own)
        notes += [*table.notes, *rows.notes]
        if columns.label and columns.label in table.columns:
            notes.append(f"{rows.where}: the labels of the evaluation rows are not read")
        return _texts_of(rows)


def _texts_of(rows: Rows) -> Split:
    return Split(rows.texts, rows.pairs, None, Places(rows.unit, rows.numbers))


def _nothing(pairs: bool) -> Split:
    """Return a part without any row."""
    return Split((), () if pairs else None)


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


def partly_labelled(task: Task, classes: int | None = None) -> Task:
    """Return a task as a sample of labelled texts, and others without labels.

    Args:
        task: The training part is the labelled sample; labels of the evaluation part are dropped.
        classes: Number of classes, for texts without labels: then no label is used.

    Raises:
        DataError: The task is a regression, or has neither labels nor a number of classes.
    """
    if task.kind == "regression":
        raise DataError(
            f"{task.name}: expected classes, got a regression task, of which no learning curves "
            "are known. 'charkit sweep' measures regression."
        )
    part, evaluation = task.train, task.evaluation
    if classes is None and part.labels is None and not task.unnamed_classes:
        raise DataError(
            f"{task.name} has no labels: expected labels or the number of classes, got neither. "
            "Give --classes C."
        )
    if evaluation is not None:
        evaluation = evaluation.without_labels()
    task = replace(task, evaluation=evaluation, unseen_names=())
    if classes is None:
        return task
    pool = part if task.pool is None else _joined(part, task.pool)
    pool = replace(pool.without_labels(), places=pool.where())
    nothing = _nothing(part.pairs is not None)
    return replace(task, train=nothing, class_names=(), pool=pool, unnamed_classes=classes)


def _joined(first: Split, second: Split) -> Split:
    pairs = None if first.pairs is None else first.pairs + (second.pairs or ())
    return Split(first.texts + second.texts, pairs)
