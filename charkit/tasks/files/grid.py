"""Rows of fields from delimited text, read twice over: fast by Arrow, exactly by Python's csv.

Arrow reads what is plainly regular: every quotation mark opens or closes a whole field, or is
doubled. Everything else, and every refusal, is left to the exact reader, which knows the line. Both
give the same fields, lines and faults (`tests/charkit/tasks/files/test_delimited.py`).
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from charkit.tasks.files.content import UTF8_BOM
from charkit.tasks.files.encoding import decode
from charkit.tasks.files.malformed import LARGEST_FIELD, malformed

_BLOCK = 2**20  # bytes that Arrow parses at a time, its default; more where a row is longer
_CHUNK_ROWS = 50_000  # put away together where Python has to read them
_HEADER_BYTES = 2**20  # in which the header is looked for


@dataclass(frozen=True)
class Span:
    """A row that covers several lines of the file.

    Attributes:
        row: Its index.
        lines: The lines, as they stand.
    """

    row: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """A header and rows of as many fields.

    Attributes:
        header: The first row.
        header_line: Its line.
        table: The other rows: columns of strings.
        lines: The first line of each row.
        spans: Rows over several lines that may hold several rows (a superset).
        n_spans: All rows over several lines.
        first_span: The first of these, and how many lines it covers.
    """

    header: list[str]
    header_line: int
    table: pa.Table
    lines: Sequence[int]
    spans: list[Span]
    n_spans: int = 0
    first_span: tuple[int, int] | None = None


@dataclass(eq=False)
class Ragged(Exception):
    """Rows of another number of fields than the header.

    Attributes:
        header: The header.
        header_line: Its line.
        line: The first such row's line.
        row: Its fields.
        n_ragged: How many there are.
        widths: Rows by number of fields.
        firsts: The first row of each number of fields, with its line.
        all_end_empty: The last field of every row is empty.
    """

    header: list[str]
    header_line: int
    line: int
    row: list[str]
    n_ragged: int
    widths: Counter[int]
    firsts: dict[int, tuple[int, list[str]]]
    all_end_empty: bool


def read_grid(
    raw: bytes,
    where: str,
    *,
    delimiter: str,
    quoted: bool = True,
    exact: bool = False,
    n_unnamed: int = 0,
) -> Grid:
    """Read delimited text.

    Args:
        raw: UTF-8, with or without a byte order mark.
        where: What messages call it.
        delimiter: The separator.
        quoted: Fields may stand in quotation marks; False to take marks as plain characters.
        exact: Use the exact reader only.
        n_unnamed: Columns without a name to add to the header, for rows that end in separators.

    Raises:
        Ragged: Rows differ in their number of fields.
        DataError: It is not UTF-8 or not well-formed.
    """
    if not exact and not n_unnamed:
        grid = _fast(raw, delimiter, quoted=quoted)
        if grid is not None:
            return grid
    return _exact(raw, where, delimiter, quoted=quoted, n_unnamed=n_unnamed)


def first_row(raw: bytes, delimiter: str, *, quoted: bool = True) -> list[str]:
    """Return the fields of the first row that is not blank, as far as they can be read."""
    text = raw[:_HEADER_BYTES].removeprefix(UTF8_BOM).decode("utf-8", "replace")
    quoting: Any = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting)
    try:
        return next((row for row in reader if row), [])
    except csv.Error:
        return []


@dataclass
class _Feed:
    """The lines of a file, one by one; those of the current row are kept."""

    raw: bytes
    pending: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[str]:
        start = len(UTF8_BOM) if self.raw.startswith(UTF8_BOM) else 0
        stream = io.BytesIO(self.raw)
        stream.seek(start)
        for line in io.TextIOWrapper(stream, encoding="utf-8", newline=""):
            self.pending.append(line)
            yield line


def _exact(raw: bytes, where: str, delimiter: str, *, quoted: bool, n_unnamed: int) -> Grid:
    rows = _Collector(delimiter, n_unnamed)
    feed = _Feed(raw)
    limit = csv.field_size_limit(LARGEST_FIELD)
    start = 1
    try:
        quoting: Any = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        reader = csv.reader(feed, delimiter=delimiter, quoting=quoting, strict=True)
        for row in reader:
            if row:
                rows.add(row, start, feed.pending)
            start = reader.line_num + 1
            feed.pending = []
    except csv.Error as error:
        raise malformed(where, start, error, feed.pending, delimiter) from error
    except UnicodeDecodeError:
        decode(raw, where)
        raise
    finally:
        csv.field_size_limit(limit)
    return rows.grid()


class _Collector:
    """Rows as they come, put away in Arrow's columns; ragged ones are counted."""

    def __init__(self, delimiter: str, n_unnamed: int) -> None:
        self.delimiter = delimiter
        self.n_unnamed = n_unnamed
        self.all_end_empty = True
        self.header: list[str] = []
        self.header_line = 0
        self.lines: list[int] = []
        self.spans: list[Span] = []
        self.n_spans = 0
        self.first_span: tuple[int, int] | None = None
        self.widths: Counter[int] = Counter()
        self.firsts: dict[int, tuple[int, list[str]]] = {}
        self.waiting: list[list[str]] = []
        self.batches: list[pa.RecordBatch] = []

    def add(self, row: list[str], line: int, lines: list[str]) -> None:
        if not self.header:
            self.header, self.header_line = row + [""] * self.n_unnamed, line
            return
        self.widths[len(row)] += 1
        self.all_end_empty = self.all_end_empty and not row[-1].strip()
        self.firsts.setdefault(len(row), (line, row))
        if len(self.widths) > 1 or len(row) != len(self.header):
            self.waiting, self.batches = [], []  # nothing but the explanation is needed now
            return
        if len(lines) > 1:
            self._span(lines)
        self.lines.append(line)
        self.waiting.append(row)
        if len(self.waiting) == _CHUNK_ROWS:
            self._put_away()

    def _span(self, lines: list[str]) -> None:
        row = len(self.lines)
        self.n_spans += 1
        self.first_span = self.first_span or (row, len(lines))
        width = len(self.header)
        plain = tuple(line.rstrip("\r\n") for line in lines)
        blank = np.array([not line for line in plain])
        fits = np.array([line.count(self.delimiter) == width - 1 for line in plain]) & ~blank
        every = np.array([0]), np.array([len(plain)])
        if width > 1 and may_hold_rows(fits, blank, *every)[0]:
            self.spans.append(Span(row, plain))

    def _put_away(self) -> None:
        if self.waiting:
            columns = [pa.array(c, pa.string()) for c in zip(*self.waiting, strict=True)]
            self.batches.append(pa.record_batch(columns, names=_names(len(columns))))
            self.waiting = []

    def grid(self) -> Grid:
        width = len(self.header)
        ragged = {n: count for n, count in self.widths.items() if n != width}
        if ragged:
            line, row = min(self.firsts[n] for n in ragged)
            raise Ragged(
                self.header, self.header_line, line, row, sum(ragged.values()), self.widths,
                self.firsts, self.all_end_empty,
            )  # fmt: skip
        self._put_away()
        schema = pa.schema([(name, pa.string()) for name in _names(width)])
        table = pa.Table.from_batches(self.batches, schema)
        return Grid(
            self.header, self.header_line, table, self.lines, self.spans, self.n_spans,
            self.first_span,
        )  # fmt: skip


def may_hold_rows(
    fits: NDArray[np.bool_], blank: NDArray[np.bool_], first: NDArray[Any], count: NDArray[Any]
) -> NDArray[np.bool_]:
    """Return for each row over several lines whether these may be rows of their own.

    Half of the lines between its first and its last have as many fields as a row; where there is
    none between them, the first or the last has.

    Args:
        fits: Lines with as many fields as a row.
        blank: Lines without anything.
        first: The index of each row's first line.
        count: Its number of lines, two at least.
    """
    last = first + count - 1
    n_fits, n_full = (np.concatenate(([0], np.cumsum(a))) for a in (fits, ~blank))
    n_full = n_full[last] - n_full[first + 1]
    inner = 2 * (n_fits[last] - n_fits[first + 1]) >= n_full
    return np.asarray(np.where(n_full > 0, inner, fits[first] | fits[last]))


def _names(width: int) -> list[str]:
    return [f"f{i}" for i in range(width)]


def _fast(raw: bytes, delimiter: str, *, quoted: bool) -> Grid | None:
    """Read by Arrow; None where the exact reader is needed."""
    start = len(UTF8_BOM) if raw.startswith(UTF8_BOM) else 0
    header = first_row(raw, delimiter, quoted=quoted)
    if not header or (b"\r" in raw and raw.count(b"\r") != raw.count(b"\r\n")):
        return None
    data = np.frombuffer(raw, np.uint8)[start:]
    marks = _positions(data, ord('"')) if quoted and b'"' in raw else np.zeros(0, np.int64)
    if not _regular(data, marks, ord(delimiter)):
        return None
    shape = _Shape.of(data, marks)
    if shape.longest > LARGEST_FIELD:
        return None
    table = _arrow(raw, start, len(header), shape, delimiter, quoted=quoted)
    if table is None or table.num_rows != shape.n_rows:
        return None
    lines = shape.lines()
    spans = shape.spans(data, ord(delimiter), len(header))
    rows, counts = shape.rows_of_several()
    first = (int(rows[0]), int(counts[0])) if len(rows) else None
    return Grid(header, lines[0], table.slice(1), lines[1:], spans, len(rows), first)


def _arrow(
    raw: bytes, start: int, width: int, shape: _Shape, delimiter: str, *, quoted: bool
) -> pa.Table | None:
    from pyarrow import csv as arrow_csv

    try:
        return arrow_csv.read_csv(
            pa.BufferReader(memoryview(raw)[start:]),
            read_options=arrow_csv.ReadOptions(
                autogenerate_column_names=True, block_size=max(_BLOCK, 2 * shape.longest + 2)
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quoted else False,
                newlines_in_values=shape.any_inside,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(_names(width), pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowException, OSError):
        return None


def _positions(data: NDArray[np.uint8], byte: int) -> NDArray[np.int64]:
    """Return where a byte stands, in steps, for a mask of the whole file would double it."""
    step = 4 * 2**20
    found = [np.flatnonzero(data[i : i + step] == byte) + i for i in range(0, len(data), step)]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _regular(data: NDArray[np.uint8], marks: NDArray[np.int64], delimiter: int) -> bool:
    """Return whether every quotation mark opens or closes a whole field, or is doubled."""
    if not len(marks):
        return True
    if len(marks) % 2:
        return False
    opening, closing = marks[0::2], marks[1::2]
    before = data[opening[opening > 0] - 1]
    after = data[closing[closing < len(data) - 1] + 1]
    bounds = (delimiter, 10, 34)
    return bool(np.isin(before, bounds).all() and np.isin(after, (*bounds, 13)).all())


@dataclass(frozen=True)
class _Shape:
    """Where lines and rows begin and end, as positions in the file.

    Attributes:
        line_ends: The line breaks, and the end of the file if none stands there.
        starts: The beginnings of rows that are not blank, the header's first.
        ends: Their ends.
        first_lines: The index of each row's first line.
        n_lines: The number of lines of each row.
    """

    line_ends: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    first_lines: NDArray[np.int64]
    n_lines: NDArray[np.int64]

    @classmethod
    def of(cls, data: NDArray[np.uint8], marks: NDArray[np.int64]) -> _Shape:
        breaks = _positions(data, 10)
        if len(data) and data[-1] != 10:
            breaks = np.append(breaks, len(data))
        # a line break stands inside a field where an odd number of marks stands before it
        last = np.flatnonzero(np.searchsorted(marks, breaks) % 2 == 0)
        ends = breaks[last]
        starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
        first = np.concatenate(([0], last[:-1] + 1)) if len(last) else last
        full = ~_blank(data, starts, ends)
        return cls(breaks, starts[full], ends[full], first[full], (last - first + 1)[full])

    @property
    def n_rows(self) -> int:
        return len(self.starts)

    @property
    def longest(self) -> int:
        return int((self.ends - self.starts).max(initial=0))

    @property
    def any_inside(self) -> bool:
        return bool((self.n_lines > 1).any())

    def lines(self) -> Sequence[int]:
        """Return the line of every row, from 1."""
        if len(self.starts) == len(self.line_ends):
            return range(1, len(self.starts) + 1)
        found: list[int] = (self.first_lines + 1).tolist()
        return found

    def rows_of_several(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows (the header not counted) that cover several lines, and how many."""
        rows = np.flatnonzero(self.n_lines[1:] > 1)
        return rows, self.n_lines[1:][rows]

    def spans(self, data: NDArray[np.uint8], delimiter: int, width: int) -> list[Span]:
        """Return the rows over several lines whose lines may be rows of their own."""
        rows, counts = self.rows_of_several()
        if not len(rows) or width < 2:
            return []
        # the lines of these rows, one row's after the other's
        place = np.concatenate(([0], np.cumsum(counts)[:-1]))
        lines = np.arange(counts.sum()) + np.repeat(self.first_lines[1:][rows] - place, counts)
        begins = np.where(lines > 0, self.line_ends[lines - 1] + 1, 0)
        ends = self.line_ends[lines]
        at = _positions(data, delimiter)
        n_marks = np.searchsorted(at, ends) - np.searchsorted(at, begins)
        blank = _blank(data, begins, ends)
        may = may_hold_rows((n_marks == width - 1) & ~blank, blank, place, counts)
        found = []
        for row, first, count in zip(rows[may], place[may], counts[may], strict=True):
            text = data[begins[first] : ends[first + count - 1]].tobytes()
            parts = text.decode("utf-8", "replace").split("\n")
            found.append(Span(int(row), tuple(part.rstrip("\r") for part in parts)))
        return found


def _blank(
    data: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which pieces hold nothing, or a carriage return."""
    sizes = ends - begins
    first = data[np.minimum(begins, len(data) - 1)]
    return np.asarray((sizes == 0) | ((sizes == 1) & (first == 13)))
