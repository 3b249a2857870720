"""Reading one file of rows, exactly: CSV, TSV, JSON lines (each also gzipped) and Parquet.

Nothing is inferred here. A CSV cell is a string, whatever it looks like ("NA", "007"); JSON and
Parquet values keep their types. Every row knows its line in the file.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charkit.errors import DataError, MissingError, UnknownNameError
from charkit.tasks.files.table import LazyColumns, RawTable, some

__all__ = ["FORMATS", "RawTable", "format_of", "frame_table", "read_table", "stem_of"]

if TYPE_CHECKING:
    import pandas as pd

FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".ndjson", ".parquet")
"""File endings that can be read; all but .parquet also with .gz behind."""

_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


def format_of(path: Path) -> str | None:
    """Return the ending that decides how a file is read, or None.

    >>> format_of(Path("a/reviews.csv.gz"))
    '.csv'
    """
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes = suffixes[:-1]
    return suffixes[-1] if suffixes and suffixes[-1] in FORMATS else None


def stem_of(path: Path) -> str:
    """Return a file's name without its data endings (``reviews`` for ``reviews.csv.gz``)."""
    name = path.name
    for ending in (".gz", *FORMATS):
        if name.lower().endswith(ending) and len(name) > len(ending):
            name = name[: -len(ending)]
    return name


def read_table(path: Path) -> RawTable:
    """Read one file.

    Raises:
        UnknownNameError: The file's ending is not a known format.
        MissingError: The file cannot be opened.
        DataError: The content is not what the ending says; the message names line or byte.
    """
    ending = format_of(path)
    if ending is None:
        raise UnknownNameError(
            "file format",
            "".join(path.suffixes) or path.name,
            FORMATS,
            hint=f"{path.name} is read by its ending; all but .parquet may end in .gz as well.",
        )
    raw = _read_bytes(path)
    if not raw.removeprefix(_UTF8_BOM).strip():
        raise DataError(f"{path.name} is empty: expected rows of data. Check how it was written.")
    if ending == ".parquet":
        return _parquet_table(raw, path.name)
    text = decode(raw, path.name)
    if ending == ".csv":
        return _csv_table(text, path.name)
    if ending == ".tsv":
        return _tsv_table(text, path.name)
    return _json_table(text, path.name)


def _read_bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise MissingError(
            f"{path} cannot be read: {error.strerror}. Check the path and its permissions."
        ) from error
    if path.suffix.lower() != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path.name} is not a whole gzip file: {error}. Copy or compress it again."
        ) from error


def decode(raw: bytes, where: str) -> str:
    """Decode UTF-8 (a byte order mark is dropped).

    Raises:
        DataError: Another encoding; the message gives the offset of the first wrong byte.
    """
    advice = "Save the file as UTF-8 (for instance: iconv -f LATIN1 -t UTF-8 old > new)."
    if raw.startswith(_UTF16_BOMS):
        raise DataError(f"{where}: expected UTF-8, got UTF-16 (mark at byte 0). {advice}")
    start = len(_UTF8_BOM) if raw.startswith(_UTF8_BOM) else 0
    if b"\0" in raw:
        raise DataError(
            f"{where}: expected text in UTF-8, got a zero byte at byte {raw.index(0)}: a binary "
            f"file, or UTF-16. {advice}"
        )
    try:
        return raw[start:].decode("utf-8")
    except UnicodeDecodeError as error:
        offset = start + error.start
        line = raw.count(b"\n", 0, offset) + 1
        raise DataError(
            f"{where}: expected UTF-8, got byte 0x{raw[offset]:02x} at byte {offset} "
            f"(line {line}). {advice}"
        ) from error


def _csv_table(text: str, where: str) -> RawTable:
    header, rows, lines = _delimited(text, where, delimiter=",", quoted=True)
    return _rectangle(header, rows, lines, where)


def _tsv_table(text: str, where: str) -> RawTable:
    """Read with quotes as in CSV; where that does not fit, take quotes as plain characters."""
    try:
        header, rows, lines = _delimited(text, where, delimiter="\t", quoted=True)
        return _rectangle(header, rows, lines, where)
    except DataError:
        header, rows, lines = _delimited(text, where, delimiter="\t", quoted=False)
        note = f"{where}: quotation marks were read as plain characters"
        return _rectangle(header, rows, lines, where, notes=(note,))


def _delimited(
    text: str, where: str, *, delimiter: str, quoted: bool
) -> tuple[list[str], list[list[str]], list[int]]:
    rows: list[list[str]] = []
    lines: list[int] = []
    limit = csv.field_size_limit(max(len(text) + 1, 131_072))
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    start = 1
    try:
        for row in reader:
            if row:
                rows.append(row)
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{where}: the row that starts at line {start} is not well-formed: {error}. Put texts "
            'with quotation marks in quotes and double the marks inside ("She said ""no""").'
        ) from error
    finally:
        csv.field_size_limit(limit)
    return rows[0], rows[1:], lines[1:]


def _rectangle(
    header: list[str],
    rows: list[list[str]],
    lines: list[int],
    where: str,
    *,
    notes: tuple[str, ...] = (),
) -> RawTable:
    doubled = sorted(name for name, count in Counter(header).items() if count > 1)
    if doubled:
        raise DataError(
            f"{where}: expected distinct column names, got {some(map(repr, doubled))} more "
            "than once. Rename the columns in the first line."
        )
    width = len(header)
    ragged = [i for i, row in enumerate(rows) if len(row) != width]
    if ragged:
        first = ragged[0]
        raise DataError(
            f"{where}, line {lines[first]}: expected {width} fields as in the first line, got "
            f"{len(rows[first])} ({len(ragged)} such rows). Put texts that contain the separator "
            "in quotation marks."
        )
    if not rows:
        raise DataError(
            f"{where} has a header ({some(header)}) and no rows: expected rows of data. "
            "Check how it was written."
        )
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    return RawTable(where, columns, lines, notes=notes)


def _json_table(text: str, where: str) -> RawTable:
    if text.lstrip().startswith("["):
        raise DataError(
            f"{where}: expected one JSON object a line, got a JSON array. Write it as JSON lines."
        )
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line or line.isspace():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", "nested too deeply, or a number of thousands of digits")
            raise DataError(
                f"{where}, line {number}: expected one JSON object, got malformed JSON ({reason}). "
                "Correct or remove the line."
            ) from error
        if not isinstance(row, dict):
            raise DataError(
                f"{where}, line {number}: expected a JSON object with named fields, got "
                f"{type(row).__name__}. Write one object a line."
            )
        rows.append(row)
        lines.append(number)
    names = dict.fromkeys(name for row in rows for name in row)
    return RawTable(where, {name: [row.get(name) for row in rows] for name in names}, lines)


def _parquet_table(raw: bytes, where: str) -> RawTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(raw))
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{where} cannot be read as Parquet: {reason}. Write the file again."
        ) from error
    names = table.column_names
    if len(set(names)) < len(names):
        raise DataError(f"{where}: expected distinct column names. Rename the columns.")
    if not table.num_rows:
        raise DataError(f"{where} has no rows: expected rows of data. Check how it was written.")
    columns = LazyColumns(names, lambda name: table.column(name).to_pylist())
    return RawTable(where, columns, range(1, table.num_rows + 1), unit="row")


def frame_table(frame: pd.DataFrame, *, where: str = "DataFrame") -> RawTable:
    """Take the columns of a DataFrame; missing values (None, NaN, NA, NaT) become None."""
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        raise DataError(f"{where}: expected distinct column names. Rename the columns.")
    if not len(frame):
        raise DataError(f"{where} has no rows: expected rows of data.")
    columns = {}
    for position, name in enumerate(names):
        series = frame.iloc[:, position]
        present = series.notna().tolist()
        values = [_plain(value) for value in series.tolist()]
        columns[name] = [v if ok else None for v, ok in zip(values, present, strict=True)]
    return RawTable(where, columns, range(1, len(frame) + 1), unit="row")


def _plain(value: Any) -> Any:
    """Turn a NumPy scalar into the Python value that it holds."""
    item = getattr(value, "item", None)
    return item() if callable(item) and getattr(value, "ndim", 1) == 0 else value
