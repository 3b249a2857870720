"""CSV and TSV: the reading that the file's ending promises, or the one that the file shows.

Cells are strings, whatever they look like. What is left out is counted in a note; a reading that
fits by chance (a header of one column, rows that a quotation mark swallows) is not taken.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from charkit.config import printable
from charkit.errors import DataError
from charkit.tasks.files.content import refuse_other_text
from charkit.tasks.files.encoding import refuse_binary
from charkit.tasks.files.grid import Grid, Ragged, first_row, read_grid
from charkit.tasks.files.quotes import (
    in_other_marks,
    is_written_plainly,
    note_of_long_rows,
    refuse_swallowed,
)
from charkit.tasks.files.table import LazyColumns, RawTable, refuse_many_rows, some

_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_ODD_SEPARATORS = (
    "\x01",
    "\x1f",
    ":::",
    "::",
    "||",
    "~",
    "^",
    "$$",
    "@@",
    "##",
    "\u00a6",
    "\u00a7",
)
_TOTAL = re.compile(r"(grand |sub ?)?total(s|en)?:?|sum(me|ma|s)?:?|count:?", re.IGNORECASE)
_NUMERIC = re.compile(r"[\d\s.,%+-]*")
_MARKS = (
    ("'", "'", "apostrophes"),
    ("\u201c", "\u201d", "typographic quotation marks"),
    ("\u201e", "\u201c", "typographic quotation marks"),
    ("\u00ab", "\u00bb", "angle quotation marks"),
)
# A cell of the first line with more letters, or as many words, is a text: the header is missing.
# Names of columns in the files that people hand over have one to three words.
_LONG_NAME = 60
_MANY_WORDS = 5

# Bytes in which the usual separator shows itself: some hundred rows.
_LOOKED_AT = 65_536


def read_delimited(raw: bytes, where: str, *, delimiter: str, exact: bool = False) -> RawTable:
    """Read CSV or TSV.

    Args:
        raw: The content.
        where: What messages call it.
        delimiter: The separator that the file's ending promises.
        exact: Use the exact reader only (slower, with the same result).

    Raises:
        DataError: It cannot be read; the message names the line.
    """
    refuse_binary(raw, where)
    refuse_other_text(raw, where)
    names = first_row(raw, delimiter)
    grid: Grid | None = None
    fault: DataError | None = None
    notes: tuple[str, ...] = ()
    mark = delimiter
    try:
        grid = _fitting(raw, where, delimiter, exact=exact)
    except DataError as error:
        fault = error
    if len(names) <= 1 or fault is not None:
        other = _other_separator(raw, where, delimiter, exact=exact, must=grid is None)
        if other is not None:
            grid, mark = other
            notes = (f"{where}: the fields are separated by {_SEPARATORS[mark]}",)
    if grid is None and delimiter == "\t":
        grid = _without_quoting(raw, where, exact=exact)
        notes = (f"{where}: quotation marks were read as plain characters",)
    if grid is None:
        assert fault is not None
        raise fault
    return _table(grid, where, notes, mark)


def _fitting(raw: bytes, where: str, delimiter: str, *, exact: bool) -> Grid:
    """Read with quoting, and refuse what does not fit or fits by chance.

    Raises:
        DataError: The reason.
    """
    try:
        grid = read_grid(raw, where, delimiter=delimiter, exact=exact)
    except Ragged as ragged:
        if list(ragged.widths) != [len(ragged.header) + 1] or not ragged.all_end_empty:
            raise _explained(ragged, where, delimiter) from None
        grid = read_grid(raw, where, delimiter=delimiter, n_unnamed=1)
    refuse_swallowed(grid, where, delimiter)
    return grid


def _without_quoting(raw: bytes, where: str, *, exact: bool) -> Grid | None:
    """Read with quotation marks as plain characters; None where the file was not written so."""
    try:
        grid = read_grid(raw, where, delimiter="\t", quoted=False, exact=exact)
    except (Ragged, DataError):
        return None
    return grid if is_written_plainly(grid) else None


def _other_separator(
    raw: bytes, where: str, promised: str, *, exact: bool, must: bool
) -> tuple[Grid, str] | None:
    """Read with the separator that the first line shows, where the promised one does not fit.

    Raises:
        DataError: The promised one does not fit, another is seen and does not fit either.
    """
    fault: DataError | None = None
    for mark, name in _SEPARATORS.items():
        names = [field.strip() for field in first_row(raw, mark)]
        if mark == promised or len(names) < 2 or not all(names) or len(set(names)) < len(names):
            continue
        try:
            grid = _fitting(raw, where, mark, exact=exact)
        except DataError as error:
            if must or _is_usual(raw, mark):
                reason = f"{error} The fields seem to be separated by {name}."
                fault = fault or DataError(reason)
            continue
        if grid.lines:
            return grid, mark
    if fault is not None and len(first_row(raw, promised)) == 1:
        raise fault
    return None


def _is_usual(raw: bytes, mark: str) -> bool:
    """Return whether half of the lines hold a mark, of the first ones."""
    lines = [line for line in raw[:_LOOKED_AT].split(b"\n")[1:] if line.strip()]
    return 2 * sum(mark.encode() in line for line in lines) >= len(lines)


def _explained(ragged: Ragged, where: str, delimiter: str) -> DataError:
    """Return why rows have another number of fields than the header."""
    width, got = len(ragged.header), len(ragged.row)
    usual = ragged.widths.most_common(1)[0][0]
    title = _title(ragged, usual)
    odd = next((mark for mark in _ODD_SEPARATORS if mark in ragged.header[0]), "")
    odd = odd if width == 1 and odd in delimiter.join(ragged.row) else ""
    if title and not odd:
        return DataError(f"{where}, {title}")
    place = (
        f"{where}, line {ragged.line}: expected {width} fields as in the first line, got {got} "
        f"({ragged.n_ragged} such rows)."
    )
    if odd:
        return DataError(
            f"{place} The fields seem to be separated by {odd!r}: save them with commas (.csv) or "
            "with tabs (.tsv)."
        )
    return DataError(f"{place} {_advice(ragged, delimiter)}")


def _advice(ragged: Ragged, delimiter: str) -> str:
    """Return what to do about the first row of another width."""
    width, row = len(ragged.header), ragged.row
    if ragged.widths == {width + 1: sum(ragged.widths.values())}:
        return _advice_on_one_more(row, delimiter)
    for mark, name in _SEPARATORS.items():
        if (
            len(row) == 1
            and ragged.widths == {1: ragged.n_ragged}
            and row[0].count(mark) == width - 1
        ):
            return (
                f"The names of the columns are separated by {_SEPARATORS[delimiter]}, and the rows "
                f"by {name}: write {name} in the first line as well."
            )
    if row[0].lstrip().startswith(("#", "//")):
        return "That line looks like a comment: remove it."
    if len(row) < width and ragged.n_ragged == 1 and _is_footer(row):
        return "That line looks like the end of a report, not a row: remove it."
    if len(row) < width:
        return "Fields are missing there: complete the row, or remove it."
    return _advice_on_marks(row) or "Put texts that contain the separator in quotation marks."


def _advice_on_marks(row: Sequence[str]) -> str:
    """Return what to do where texts stand in marks that are no quotation marks of CSV."""
    if any(cell.startswith(' "') for cell in row):
        return "A space stands before quotation marks: remove it: sed 's/, \"/,\"/g' old > new."
    if any(cell.endswith("\\") for cell in row) and not any('\\"' in cell for cell in row):
        return (
            "Separators inside texts are written with a backslash: put such texts in quotation "
            "marks instead (pandas.read_csv with escapechar reads the file, and to_csv writes it)."
        )
    if any('\\"' in cell for cell in row):
        return (
            'Quotation marks are written with a backslash (\\"): double them instead: '
            'sed \'s/\\\\"/""/g\' old > new.'
        )
    for begin, end, name in _MARKS:
        if any(c.strip().startswith(begin) for c in row) and any(c.endswith(end) for c in row):
            return f'Texts stand in {name}: put them in quotation marks (") instead.'
    return ""


def _advice_on_one_more(row: Sequence[str], delimiter: str) -> str:
    """Return what to do where every row has one field more than the header."""
    if row[0].strip('"').isdigit():
        shown = "<tab>" if delimiter == "\t" else delimiter
        return (
            "Every row has a number more in front, as R writes names of rows: put a name for it in "
            f"the first line (id{shown}...), or write the file with row.names = FALSE."
        )
    if delimiter == "," and all(map(_NUMERIC.fullmatch, row[-2:])):
        return (
            "Numbers seem to be written with a decimal comma: write them with a point, or put them "
            "in quotation marks."
        )
    return _advice_on_marks(row) or (
        "Every row has one field more: name each column in the first line, or put texts that "
        "contain the separator in quotation marks."
    )


def _is_footer(row: Sequence[str]) -> bool:
    return bool(re.match(r"\(?\d+ (rows?|records?|lines?)\b|total\b|-{3,}|end\b", row[0].lower()))


def _title(ragged: Ragged, usual: int) -> str:
    """Return what to do about lines above the header; empty where there are none."""
    width = len(ragged.header)
    if usual <= width or width > usual // 2:
        return ""
    line, names = ragged.firsts[usual]
    stripped = [name.strip() for name in names]
    only = all(n == usual or ragged.firsts[n][0] < line for n in ragged.widths)
    if not only or not all(stripped) or len(set(stripped)) < usual:
        return ""
    first = printable(ragged.header[0], longest=40)
    if ragged.firsts[usual][0] == ragged.header_line + 1 and _looks_like_text(names):
        return ""
    return (
        f"line {ragged.header_line}: expected the names of the columns in the first line, got "
        f"'{first}', and {usual} fields from line {line} on. Remove the lines above the names: "
        f"tail -n +{line} old > new."
    )


def _looks_like_text(cells: Sequence[str]) -> bool:
    return any(len(c) > _LONG_NAME or len(c.split()) >= _MANY_WORDS for c in cells)


def _table(grid: Grid, where: str, notes: tuple[str, ...], mark: str) -> RawTable:
    """Leave out what is no column and no row, and say so."""
    refuse_many_rows(where, len(grid.lines))
    found = [*notes, *note_of_long_rows(grid, where)]
    grid, more = _without_unnamed(grid, where)
    found += more
    _require_distinct(grid, where)
    grid, more = _without_headers(grid, where)
    found += more
    grid, more = _without_total(grid, where)
    found += more
    if not grid.lines:
        raise DataError(
            f"{where} has a header ({some(grid.header)}) and no rows: expected rows of data. "
            "Check how it was written."
        )
    columns = dict(zip(grid.header, grid.table.columns, strict=True))
    marked = [name for name, column in columns.items() if in_other_marks(column)]
    if marked:
        found.append(f"{where}: the marks around all values of {some(marked)} are kept as text")
    hint = _hint(grid, mark)
    return RawTable(
        where, LazyColumns(grid.header, _maker(columns)), grid.lines, notes=tuple(found), hint=hint
    )


def _maker(columns: dict[str, pa.ChunkedArray]) -> Callable[[str], list[str]]:
    def make(name: str) -> list[str]:
        """Turn a column into strings and let go of Arrow's copy."""
        values: list[str] = []
        chunks = columns.pop(name).chunks
        while chunks:
            values += chunks.pop(0).to_numpy(zero_copy_only=False).tolist()
        return values

    return make


def _without_unnamed(grid: Grid, where: str) -> tuple[Grid, list[str]]:
    """Leave out empty columns without a name, as Excel writes them."""
    unnamed = [i for i, name in enumerate(grid.header) if not name.strip()]
    if not unnamed or not grid.lines:
        return grid, []
    empty = []
    for i in unnamed:
        row = _first_full(grid.table.column(i))
        if row is None:
            empty.append(i)
        elif i > 0:  # the first is an index, as pandas and R write it
            raise _value_without_name(grid, where, i, row)
    keep = [i for i in range(len(grid.header)) if i not in empty]
    if not empty or not keep:
        return grid, []
    note = f"{where}: {len(empty)} empty columns without a name left out"
    return replace(grid, header=[grid.header[i] for i in keep], table=grid.table.select(keep)), [
        note
    ]


def _first_full(column: pa.ChunkedArray) -> int | None:
    """Return the first row with something but white space."""
    row = pc.index(pc.greater(pc.binary_length(column), 0), True).as_py()
    if row < 0:
        return None
    values = column.slice(row).to_pylist()
    return next((row + i for i, value in enumerate(values) if value.strip()), None)


def _value_without_name(grid: Grid, where: str, column: int, row: int) -> DataError:
    value = printable(grid.table.column(column)[row].as_py(), longest=40)
    first = [c[row].as_py().strip() for c in grid.table.columns]
    n_named = sum(bool(name.strip()) for name in grid.header)
    if row < 5 and n_named <= len(first) // 2 and all(first) and len(set(first)) == len(first):
        return DataError(
            f"{where}, line {grid.header_line}: expected the names of the columns, got "
            f"{n_named} of {len(first)}; they seem to stand in line {grid.lines[row]}. Remove the "
            f"lines above them: tail -n +{grid.lines[row]} old > new."
        )
    return DataError(
        f"{where}, line {grid.lines[row]}: column {column + 1} has no name, and holds '{value}'. "
        "If it belongs to a text that contains the separator, put that text in quotation marks; "
        "else name the column in the first line."
    )


def _require_distinct(grid: Grid, where: str) -> None:
    doubled = sorted(name for name, count in Counter(grid.header).items() if count > 1)
    if doubled:
        raise DataError(
            f"{where}: expected distinct column names, got {some(map(repr, doubled))} more "
            "than once. Rename the columns in the first line."
        )


def _key(cell: str) -> str:
    return cell.strip().strip("\ufeff").strip().casefold()


def _without_headers(grid: Grid, where: str) -> tuple[Grid, list[str]]:
    """Leave out rows that repeat the header, as files joined with cat have them."""
    if not grid.lines or not any(map(_key, grid.header)):
        return grid, []
    names = [_key(name) for name in grid.header]
    shortest = min(
        (i for i, name in enumerate(names) if name), key=lambda i: grid.table.column(i).nbytes
    )
    column = grid.table.column(shortest).combine_chunks().dictionary_encode()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0)
    codes = [i for i, v in enumerate(column.dictionary.to_pylist()) if _key(v) in names and v]
    if not codes:
        return grid, []
    rows = np.flatnonzero(np.isin(column.indices.to_numpy(zero_copy_only=False), codes))
    again = []
    for row in rows.tolist():
        cells = [_key(c[row].as_py()) for c in grid.table.columns]
        if cells == names:
            again.append(row)
        elif sorted(cells) == sorted(names):
            raise DataError(
                f"{where}, line {grid.lines[row]}: the names of the columns stand here again, in "
                f"another order ({some(cells)}): files were joined whose columns differ. Join them "
                "by name, with pandas.concat."
            )
    if not again:
        return grid, []
    lines = ", ".join(str(grid.lines[row]) for row in again[:5])
    more = ", ..." if len(again) > 5 else ""
    what = f"lines {lines}{more} repeat" if len(again) > 1 else f"line {lines} repeats"
    return _keep(grid, again), [f"{where}: {what} the header: {len(again)} left out"]


def _keep(grid: Grid, without: Sequence[int]) -> Grid:
    """Return the grid without some rows."""
    mask = np.ones(len(grid.lines), dtype=bool)
    mask[list(without)] = False
    lines = [line for line, good in zip(grid.lines, mask.tolist(), strict=True) if good]
    return replace(grid, table=grid.table.filter(pa.array(mask)), lines=lines)


def _without_total(grid: Grid, where: str) -> tuple[Grid, list[str]]:
    """Leave out a last row that holds a total."""
    if len(grid.lines) < 3:
        return grid, []
    last = [c[len(grid.lines) - 1].as_py().strip() for c in grid.table.columns]
    words = [cell for cell in last if cell]
    rest = [cell for cell in words if not _TOTAL.fullmatch(cell)]
    if len(words) - len(rest) != 1 or not all(map(_NUMERIC.fullmatch, rest)) or len(last) < 2:
        return grid, []
    note = f"{where}: line {grid.lines[-1]} ({' '.join(words)}) is a total: left out"
    return _keep(grid, [len(grid.lines) - 1]), [note]


def _hint(grid: Grid, mark: str) -> str:
    """Return what may be wrong with the first line."""
    if grid.header[0].lstrip().startswith(("#", "//")):
        return (
            "The first line looks like a comment: expected the names of the columns there. Remove "
            "the lines above them."
        )
    for name, column in zip(grid.header, grid.table.columns, strict=True):
        again = pc.sum(pc.equal(column, name)).as_py() or 0
        if name.strip() and again >= max(2, len(grid.lines) // 50):
            reason = f"{printable(name, longest=40)!r} stands below it too, {again} times"
            break
    else:
        if not _looks_like_text(grid.header):
            return ""
        reason = "it holds a text"
    names = "one for each column"
    if len(grid.header) == 2:
        distinct = [pc.count_distinct(column).as_py() for column in grid.table.columns]
        order = ("label", "text") if distinct[0] < distinct[1] else ("text", "label")
        names = {"\t": "<tab>"}.get(mark, mark).join(order)
    return (
        f"The first line seems to be a row of data ({reason}): put a line with the names of the "
        f"columns above it ({names})."
    )
