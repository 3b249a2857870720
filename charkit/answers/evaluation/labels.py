"""The test labels that people filled in, matched with the rows that were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from charkit.answers.evaluation.plan import ENDING, TestPlan
from charkit.answers.labelling.strategies import row_words
from charkit.config import listing
from charkit.errors import DataError
from charkit.tasks.readers.columns import Columns, choose_columns
from charkit.tasks.readers.labels import names_of_labels
from charkit.tasks.readers.looks import is_missing, near_key
from charkit.tasks.readers.rows import OnBadRows, usable_rows
from charkit.tasks.readers.settle import settle
from charkit.tasks.readers.sources import open_tables
from charkit.tasks.readers.tables import RawTable
from charkit.tasks.task import Split

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TestLabels:
    """Labels of some of the rows that were drawn.

    Attributes:
        names: Class name by row of the pool, in the order of labelling.
        codes: Class code by row of the pool; -1 for a class that the head does not know.
        n_done: Rows up to the last labelled one in the order of labelling.
        notes: What was left out.
        warnings: What makes the estimate doubtful.
    """

    __test__ = False

    names: dict[int, str]
    codes: dict[int, int]
    n_done: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def rows(self) -> IntArray:
        """The labelled rows of the pool, in the order of labelling."""
        return np.array(list(self.names), np.int64)


def read_test_labels(
    path: str | Path,
    plan: TestPlan,
    texts: Split,
    columns: Sequence[str],
    *,
    planned: bool = True,
    on_bad_rows: OnBadRows = "refuse",
) -> TestLabels:
    """Read the labels that were filled in.

    Args:
        path: The file that was written, with its label column filled in.
        plan: The plan that it came with.
        texts: The pool.
        columns: The columns of the labelled sample, whose names the file has; empty: guessed.
        planned: Whether the plan was kept beside the file, and not made again.
        on_bad_rows: What to do with rows that have a label and no text.

    Raises:
        DataError: No row is labelled, a label has another spelling, or the rows are not those
            that were drawn.
        MissingError: There is no such file.
    """
    table = open_tables(path, None, offline=True).train
    own = _columns(table, columns)
    n_blank = sum(map(is_missing, table.columns[own.label]))
    if n_blank == len(table):
        raise DataError(
            f"{table.where}: no row has a test label: expected labels in column {own.label!r}, "
            f"got {n_blank:,} blank ones. Fill them in, one of "
            f"{listing(plan.class_names)} each, or leave out --labels."
        )
    table = settle(table, own, kind="classification", seen=plan.class_names)
    rows = usable_rows(table, own, on_bad_rows=on_bad_rows)
    given = [name.removeprefix("'") if name.startswith("'") and name[1:2] in "=+-@" else name
             for name in names_of_labels(rows, own.label)]  # fmt: skip
    _check_spelling(given, plan.class_names, table.where)
    found, others = _matched(Split(rows.texts, rows.pairs), given, texts, table.where)
    return _in_order(found, others, plan, table.where, planned=planned)


def _columns(table: RawTable, columns: Sequence[str]) -> Columns:
    """Return the columns of the file: those of the source, else charkit's own names."""
    text, pair, label = columns or ("", "", "")
    names = table.columns
    return choose_columns(
        table,
        text=text if text and text in names else None,
        pair=pair if pair and pair in names else None,
        label=label if label and label in names else None,
    )


def _check_spelling(given: Sequence[str], known: Sequence[str], where: str) -> None:
    """Refuse labels that are a class of the sample but for case, spaces or marks.

    Raises:
        DataError: There are such labels.
    """
    near = {near_key(name): name for name in known}
    for name in sorted(set(given) - set(known)):
        if near_key(name) in near:
            raise DataError(
                f"{where}: the label {name!r} is written otherwise than in the labelled sample: "
                f"expected {near[near_key(name)]!r}, got {name!r}. Write it as there."
            )


def _matched(
    read: Split, given: Sequence[str], texts: Split, where: str
) -> tuple[dict[int, str], int]:
    """Return the label by row of the pool, and how many rows of the file are not of the pool.

    Raises:
        DataError: The same text has two labels.
    """
    at = {words: row for row, words in enumerate(row_words(texts))}
    found: dict[int, str] = {}
    others = 0
    for words, name in zip(row_words(read), given, strict=True):
        row = at.get(words)
        if row is None:
            others += 1
        elif found.setdefault(row, name) != name:
            raise DataError(
                f"{where}: the same text has two labels: expected one, got {found[row]!r} and "
                f"{name!r} for {texts.texts[row][:60]!r}. Keep the right one."
            )
    return found, others


MOST_BLANK = 0.5
"""Without a plan beside the labels, fewer of the first rows labelled mean another draw."""


def _in_order(
    found: dict[int, str], others: int, plan: TestPlan, where: str, *, planned: bool
) -> TestLabels:
    """Return the labels in the order of labelling, and what to note about them.

    Raises:
        DataError: None of them is of a row that was drawn.
    """
    rank = np.empty(plan.n_pool, np.int64)
    rank[plan.order] = np.arange(plan.n_pool)
    ranked = sorted(found, key=lambda row: int(rank[row]))
    drawn = [row for row in ranked if rank[row] < plan.n_drawn]
    chosen, ranked = len(ranked) - len(drawn), drawn
    notes, warnings = [], []
    if others:
        notes.append(f"{others:,} rows of {where} are not of the pool: left out")
    if chosen:
        warnings.append(
            f"{chosen:,} labelled rows of {where} were not drawn, so that nobody knows how likely "
            "they were to be labelled: left out"
        )
    if not ranked:
        raise DataError(
            f"{where}: no labelled row was drawn from this pool: expected the rows that charkit "
            "evaluate wrote, with labels filled in, got others. Give the file that --out wrote."
        )
    n_done = int(rank[ranked[-1]]) + 1
    if not planned and len(ranked) < MOST_BLANK * n_done:
        raise DataError(
            f"{where}: its rows are not those that seed {plan.seed} draws: expected labels of the "
            f"first {n_done:,} rows of the draw, got {len(ranked):,} of them. Keep the file "
            f"{where}{ENDING} that --out wrote under the name of the labels, or give the same "
            "--seed, files and options as then."
        )
    if n_missing := n_done - len(ranked):
        warnings.append(
            f"{n_missing:,} of the first {n_done:,} rows have no label: the estimate takes them "
            "for missing by chance; if they were left out because they are hard, it is too high"
        )
    codes = {name: code for code, name in enumerate(plan.class_names)}
    names = {row: found[row] for row in ranked}
    unknown = [name for name in names.values() if name not in codes]
    if unknown:
        warnings.append(
            f"{len(unknown):,} test labels are of classes that the labelled sample does not have "
            f"({listing(sorted(set(unknown)))}): the head cannot be right there, which counts"
        )
    if len(set(names.values())) == 1 and len(names) > 1:
        warnings.append(
            f"all {len(names):,} test labels are {listing(set(names.values()))}: right if the "
            "pool holds nothing else; macro-F1 and balanced accuracy need two classes"
        )
    return TestLabels(
        names,
        {row: codes.get(name, -1) for row, name in names.items()},
        n_done,
        tuple(notes),
        tuple(warnings),
    )
