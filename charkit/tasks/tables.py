"""Reading one file of rows, exactly: CSV, TSV, JSON lines (each also gzipped) and Parquet.

Nothing is inferred here. A CSV cell is a string, whatever it looks like ("NA", "007"); JSON and
Parquet values keep their types. Every row knows its line in the file.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from charkit.errors import DataError, UnknownNameError
from charkit.tasks.files.content import read_content
from charkit.tasks.files.delimited import read_delimited
from charkit.tasks.files.encoding import decode
from charkit.tasks.files.table import LazyColumns, RawTable

__all__ = ["FORMATS", "RawTable", "format_of", "read_table", "stem_of"]

FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".ndjson", ".parquet")
"""File endings that can be read; all but .parquet also with .gz behind."""


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
    raw = read_content(path, parquet=ending == ".parquet")
    if ending == ".parquet":
        return _parquet_table(raw, path.name)
    if ending in (".csv", ".tsv"):
        return read_delimited(raw, path.name, delimiter="," if ending == ".csv" else "\t")
    return _json_table(decode(raw, path.name), path.name)


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
