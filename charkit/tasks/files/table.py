"""The rows of one file, column by column; a column is made when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from charkit.config import printable
from charkit.errors import DataError

# Names that a message lists: two lines of a terminal.
_SHOWN = 12

MOST_ROWS = 10_000_000
"""More rows are refused: as Python objects they would need more memory than most machines have."""

TEXT_NAMES: tuple[str, ...] = (
    "text",
    "sentence",
    "review",
    "body",
    "content",
    "tweet",
    "question",
    "title",
)
"""Names that are taken for the text when exactly one of them is there."""

LABEL_NAMES: tuple[str, ...] = ("label", "labels", "target", "class", "category", "stars")
"""Names that are taken for the label when exactly one of them is there."""


class LazyColumns(Mapping[str, Sequence[Any]]):
    """Columns by name, each made when it is first asked for and kept.

    A table of a hundred columns of which two are used costs two. A foreign type in a column that
    nobody asks for is no reason to refuse the file.
    """

    def __init__(self, names: Iterable[str], make: Callable[[str], Sequence[Any]]) -> None:
        self._names = dict.fromkeys(names)
        self._make = make
        self._made: dict[str, Sequence[Any]] = {}

    def __getitem__(self, name: str) -> Sequence[Any]:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True)
class RawTable:
    """The rows of one file or frame, column by column.

    Attributes:
        where: What messages call it, for instance ``"reviews.csv"``.
        columns: Values by column name; all of length n_rows. A missing value is None, and so is
            the label of a row that an annotator skipped or rejected.
        numbers: Where each row stands: its first line in the file (from 1), or its row number.
        unit: What ``numbers`` count: ``"line"`` or ``"row"``.
        class_names: Columns of class codes (whole numbers from 0) whose source names the classes.
        notes: What was unusual about the reading.
        hint: What may be wrong with the first line or the separator, for messages about columns
            that are not there; empty if nothing is.
    """

    where: str
    columns: Mapping[str, Sequence[Any]]
    numbers: Sequence[int]
    unit: str = "line"
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    hint: str = ""

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: Sequence[int]) -> RawTable:
        """Return these rows only."""
        whole = self.columns
        return replace(
            self,
            columns=LazyColumns(whole, lambda name: [whole[name][i] for i in rows]),
            numbers=[self.numbers[i] for i in rows],
        )

    def with_columns(self, more: Mapping[str, Sequence[Any]]) -> RawTable:
        """Return the table with these columns added, or put in the place of others."""
        whole = self.columns
        columns = LazyColumns(
            [*whole, *more], lambda name: more[name] if name in more else whole[name]
        )
        return replace(self, columns=columns)


def refuse_many_rows(where: str, n_rows: int) -> None:
    """Refuse more rows than fit into memory.

    Raises:
        DataError: There are more than MOST_ROWS.
    """
    if n_rows > MOST_ROWS:
        raise DataError(
            f"{where} has {n_rows:,} rows: expected at most {MOST_ROWS:,}. Take a random sample: "
            "an answer about them needs no more."
        )


def some(names: Iterable[str], *, shown: int = _SHOWN) -> str:
    """Return the first few of any number of names, in one line.

    >>> some("abcd", shown=2)
    'a, b, ...'
    """
    first = list(islice(names, shown + 1))
    return ", ".join(map(printable, first[:shown])) + (", ..." if len(first) > shown else "")
