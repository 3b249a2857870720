"""Quotation marks that belong to texts: rows that they swallow, and files without quoting."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from charkit.errors import DataError
from charkit.tasks.files.grid import Grid, Span

# Rows by which a column's usual values are known: all of most files, the beginning of large ones.
_LOOKED_AT = 20_000

# That many lines in one field, each with as many fields as a row, are rows whatever they hold.
# Commas stand in verse and letters too.
_LONG_RUN = {"\t": 3, ";": 3, "|": 3, ",": 6}


def refuse_swallowed(grid: Grid, where: str, delimiter: str) -> None:
    """Refuse a field over several lines that look like rows.

    A mark that begins a field in one row and one that ends a field in another make one text of
    all rows between. Its lines have as many fields as a row, and fields such as the labels occur
    in other rows as well.

    Raises:
        DataError: There is such a field; the message names its lines.
    """
    if not grid.spans:
        return
    usual = _usual_values(grid)
    for span in grid.spans:
        if _holds_rows(span, usual, len(grid.header), delimiter):
            begin = grid.lines[span.row]
            n_lines = len(span.lines)
            raise DataError(
                f"{where}, line {begin}: a field runs over {n_lines} lines that look like rows "
                f"(to line {begin + n_lines - 1}): a quotation mark that begins a text there ends "
                "in another row. If the marks belong to the texts, put both texts in quotation "
                'marks and double the marks inside ("""Yes"" she said"). If it is one text, '
                "write the data as JSON lines."
            )


@dataclass(frozen=True)
class _Usual:
    """What a column holds in rows of one line: values that occur again, or numbers."""

    values: frozenset[str] = frozenset()
    numeric: bool = False
    often_empty: bool = False

    def fits(self, value: str) -> bool:
        if not value.strip():
            return False
        return value in self.values or (self.numeric and _is_number(value))


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _usual_values(grid: Grid) -> list[_Usual]:
    skip = {span.row for span in grid.spans}
    found = []
    for column in grid.table.slice(0, _LOOKED_AT).columns:
        every = [v for i, v in enumerate(column.to_pylist()) if i not in skip]
        values = [v for v in every if v.strip()]
        often_empty = len(every) >= 4 and 2 * len(values) <= len(every)
        again = {v: n for v, n in Counter(values).items() if n > 1}
        if values and sum(again.values()) >= len(values) / 2:
            found.append(_Usual(frozenset(again), often_empty=often_empty))
        else:
            numeric = bool(values) and all(map(_is_number, values))
            found.append(_Usual(numeric=numeric, often_empty=often_empty))
    return found


def _holds_rows(span: Span, usual: list[_Usual], width: int, delimiter: str) -> bool:
    lines = [line.split(delimiter) for line in span.lines]
    # The column whose field begins in this line and does not end in it.
    opened = max(0, len(next(csv.reader([span.lines[0]], delimiter=delimiter), [])) - 1)
    inner = [fields for fields, line in zip(lines, span.lines, strict=True) if line][1:-1]
    fits = [fields for fields in inner if len(fields) == width]

    def known(fields: list[str], places: range) -> bool:
        return len(fields) == width and any(usual[i].fits(fields[i]) for i in places)

    if inner and 2 * len(fits) < len(inner):
        return False
    if len(fits) == len(inner) > 1 and len(lines[0]) == width and _end_empty(fits, usual):
        return True
    if known(lines[0], range(opened + 1, width)) or known(lines[-1], range(opened)):
        return True
    if fits and 2 * sum(known(f, range(width)) for f in fits) >= len(inner):
        return True
    return len(fits) == len(inner) >= _LONG_RUN[delimiter] and len(lines[0]) == width


def _end_empty(lines: list[list[str]], usual: list[_Usual]) -> bool:
    """Return whether lines end as rows do of which most have no label yet."""
    last = usual[-1]
    return last.often_empty and all(not f[-1].strip() or last.fits(f[-1]) for f in lines)


def is_written_plainly(grid: Grid) -> bool:
    """Return whether a file read without quoting was written without it.

    In a file that was written with quoting, the header or most fields of some column stand in
    quotation marks, or a field in marks holds doubled ones.
    """
    if any(_in_marks(name) for name in grid.header):
        return False
    for column in grid.table.columns:
        marked = column.filter(
            pc.and_(pc.starts_with(column, '"'), pc.ends_with(column, '"'))
        ).to_pylist()
        marked = [value for value in marked if _in_marks(value)]
        if 2 * len(marked) > len(column) or any('""' in value[1:-1] for value in marked):
            return False
    return True


def _in_marks(value: str) -> bool:
    return len(value) > 1 and value.startswith('"') and value.endswith('"')


def note_of_long_rows(grid: Grid, where: str) -> tuple[str, ...]:
    """Return a note where few rows run over several lines: it may be by mistake."""
    if grid.first_span is None or grid.n_spans > max(1, 0.02 * len(grid.lines)):
        return ()
    row, n_lines = grid.first_span
    begin = grid.lines[row]
    many = f"{grid.n_spans} rows run" if grid.n_spans > 1 else "one row runs"
    return (f"{where}: {many} over several lines, from line {begin} to {begin + n_lines - 1}",)


_OTHER_MARKS = (("'", "'"), (' "', '"'), ("\u201c", "\u201d"), ("\u201e", "\u201c"))


def in_other_marks(column: pa.ChunkedArray) -> bool:
    """Return whether all fields of a column stand in marks that CSV does not take away."""
    if pc.min(pc.utf8_length(column)).as_py() < 2:
        return False
    return any(
        pc.all(pc.and_(pc.starts_with(column, begin), pc.ends_with(column, end))).as_py()
        for begin, end in _OTHER_MARKS
    )
