"""Raw tables: from one file of rows, read exactly, and from data that are in Python already.

Nothing is inferred here. A CSV cell is a string, whatever it looks like ("NA", "007"); JSON and
Parquet values keep their types. Every row knows its line in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

from charkit.config import listing
from charkit.errors import DataError, UnknownNameError, UsageError
from charkit.tasks.files.arrow import read_arrow, read_parquet
from charkit.tasks.files.content import UTF8_BOM, read_content, read_lines
from charkit.tasks.files.delimited import read_delimited
from charkit.tasks.files.encoding import decode
from charkit.tasks.files.export_tables import settle
from charkit.tasks.files.json_rows import read_json
from charkit.tasks.files.table import RawTable
from charkit.tasks.readers.columns import column_name
from charkit.tasks.readers.looks import shown

__all__ = ["ADVICE", "FORMATS", "RawTable", "format_of", "read_table", "stem_of"]

FORMATS = (
    ".csv", ".tsv", ".jsonl", ".json", ".ndjson", ".txt", ".parquet", ".arrow", ".feather",
)  # fmt: skip
"""File endings that can be read; those of text also with .gz behind."""

_BINARY = (".parquet", ".arrow", ".feather")

# A command of an advice that reads a file and writes another.
_COMMAND = re.compile(r"\b((?:iconv|tail|sed|tr) [^:]*?) (?:< )?old > new")

ADVICE = {
    ".xlsx": "Open it and save it as CSV UTF-8.",
    ".xls": "Open it and save it as CSV UTF-8.",
    ".ods": "Open it and save it as CSV, with character set UTF-8.",
    ".zip": "Unpack it (unzip) and give the file inside.",
    ".tar": "Unpack it (tar -xf) and give the file or folder inside.",
    ".bz2": "Unpack it (bunzip2) and give the file inside.",
    ".xz": "Unpack it (unxz) and give the file inside.",
    ".zst": "Unpack it (unzstd) and give the file inside.",
    ".pkl": "A pickle can run code and is never opened: write the data as Parquet or CSV UTF-8.",
    ".tab": "If its fields are separated by tabs, let its name end in .tsv.",
    ".xml": "Write the texts as CSV UTF-8 or JSON lines.",
    ".html": "Write the texts as CSV UTF-8 or JSON lines.",
}
"""What to do with a file of another ending."""


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
            hint=ADVICE.get(
                path.suffix.lower().replace(".pickle", ".pkl"),
                f"{path.name} is read by its ending; files of text may end in .gz as well.",
            ),
        )
    raw = read_content(path, parquet=ending in _BINARY)
    try:
        return _read(raw, path.name, ending)
    except DataError as error:
        if path.suffix.lower() != ".gz":
            raise
        raise DataError(_unpacked_first(str(error))) from error


def _read(raw: bytes, name: str, ending: str) -> RawTable:
    if ending == ".parquet":
        return read_parquet(raw, name)
    if ending in _BINARY:
        return read_arrow(raw, name)
    raw, notes = _without_marks(raw, name)
    if ending in (".csv", ".tsv"):
        table = settle(read_delimited(raw, name, delimiter="," if ending == ".csv" else "\t"))
    else:
        text = decode(raw, name)
        table = read_lines(text, name) if ending == ".txt" else read_json(text, name)
    return replace(table, notes=(*notes, *table.notes)) if notes else table


def _without_marks(raw: bytes, name: str) -> tuple[bytes, tuple[str, ...]]:
    r"""Leave out bytes that belong to no text, and count those between rows.

    They are the byte 1A at the end, with which DOS ends a text, and byte order marks at the
    beginning of lines, where files were joined.

    >>> _without_marks(b"a\n\x1a", "t.csv")
    (b'a\n', ())
    """
    raw = raw.removesuffix(b"\x1a")
    joined = b"\n" + UTF8_BOM
    n_marks = raw.count(joined)
    if not n_marks:
        return raw, ()
    what = "byte order marks" if n_marks > 1 else "byte order mark"
    note = f"{name}: {n_marks} {what} at the beginning of lines left out: files were joined there"
    return raw.replace(joined, b"\n"), (note,)


def _unpacked_first(advice: str) -> str:
    """Return advice whose command reads what gunzip gives, not the packed file.

    >>> _unpacked_first("Convert it: iconv -f CP1252 -t UTF-8 old > new.")
    'Convert it: gunzip -c old | iconv -f CP1252 -t UTF-8 > new.'
    """
    return _COMMAND.sub(r"gunzip -c old | \1 > new", advice)


TAKEN = (
    "a path, a name, a DataFrame (pandas, polars, pyarrow), a datasets.Dataset or DatasetDict, a "
    'list of dicts, a list of (text, label) pairs, a dict of columns such as {"text": [...], '
    '"label": [...]}, or an array of texts'
)
"""What a source may be, for messages."""

_PAIR = ("text", "label")


def data_table(data: Any, *, argument: str = "source") -> RawTable:
    """Return the rows of anything that holds rows; missing values become None.

    Args:
        data: A frame, a data set, rows, columns or texts.
        argument: What messages call it.

    Raises:
        UsageError: It is none of these, or can be read only once.
        DataError: It has no rows, or two columns of one name.
    """
    before = "" if argument == "source" else f"{argument} "
    _refuse_streams(data, argument)
    columns, what, class_names = _columns_of(data, argument)
    where = before + what
    names = [column_name(name) for name, _ in columns]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DataError(
            f"{where}: expected distinct column names, got {listing(doubled)} more than once. "
            "Rename the columns."
        )
    values = [_values(column) for _, column in columns]
    lengths = {len(column) for column in values}
    if len(lengths) > 1:
        sizes = ", ".join(f"{n} {len(v)}" for n, v in zip(names[:5], values, strict=False))
        raise DataError(f"{where}: expected columns of one length, got {sizes}. Check the lists.")
    n_rows = max(lengths, default=0)
    if not n_rows:
        raise DataError(f"{where} has no rows: expected rows of data.")
    table = dict(zip(names, values, strict=True))
    table |= _inner_columns(table)
    return RawTable(where, table, range(1, n_rows + 1), unit="row", class_names=class_names)


def _inner_columns(table: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the fields of fields as columns: ``translation.en`` is ``en`` in ``translation``."""
    found: dict[str, list[Any]] = {}
    for name, values in table.items():
        first = next((v for v in values if v is not None), None)
        for key in first if isinstance(first, Mapping) else ():
            inner = f"{name}.{key}"
            if inner not in table:
                found[inner] = [v.get(key) if isinstance(v, Mapping) else None for v in values]
    return found


def parts_of(data: Any) -> Mapping[str, Any] | None:
    """Return the parts of a DatasetDict, or of a dict of frames, by name; None for other data."""
    if not isinstance(data, Mapping) or not data:
        return None
    tables = all(
        hasattr(part, "column_names") or hasattr(part, "columns") for part in data.values()
    )
    return {str(name): part for name, part in data.items()} if tables else None


def is_data(value: Any) -> bool:
    """Return whether a list holds the rows of one task, not several tasks.

    >>> is_data([("a text", "label")]), is_data(["a.csv", "b.csv"])
    (True, False)
    """
    if not isinstance(value, list | tuple) or not value:
        return False
    return all(isinstance(row, Mapping) and parts_of(row) is None for row in value) or all(
        isinstance(row, list | tuple) and len(row) == 2 and isinstance(row[0], str) for row in value
    )


Columns = list[tuple[Any, Any]]
Found = tuple[Columns, str, dict[str, tuple[str, ...]]]


def _columns_of(data: Any, argument: str) -> Found:
    for reader in (_of_pandas, _of_dataset, _of_narwhals, _of_array):
        found = reader(data)
        if found is not None:
            return found
    if isinstance(data, Mapping):
        return _of_mapping(data, argument), "dict of columns", {}
    if isinstance(data, list | tuple):
        return _of_rows(data, argument), "list of rows", {}
    raise UsageError(
        f"{argument}: expected {TAKEN}, got {_kind(data)}. Convert it to one of these."
    )


def _kind(data: Any) -> str:
    kind = type(data)
    package = kind.__module__.partition(".")[0]
    return kind.__name__ if package == "builtins" else f"{package}'s {kind.__name__}"


def _refuse_streams(data: Any, argument: str) -> None:
    kind = _kind(data)
    if hasattr(data, "read"):
        raise UsageError(
            f"{argument}: expected a path or rows, got an open file ({kind}). Give its path."
        )
    stream = type(data).__name__.startswith("Iterable") and hasattr(data, "column_names")
    if stream or hasattr(data, "__next__"):
        raise UsageError(
            f"{argument}: expected rows that can be read several times, got {kind}, which can be "
            "read only once. Make a list of it: list(...)."
        )
    if isinstance(data, set | frozenset):
        raise UsageError(
            f"{argument}: expected rows in an order, got a set. Make a list of it: sorted(...)."
        )


def _of_pandas(data: Any) -> Found | None:
    import pandas as pd

    if isinstance(data, pd.Series):
        data = data.to_frame("text" if data.name is None else data.name)
    if not isinstance(data, pd.DataFrame):
        return None
    columns = [(name, data.iloc[:, i]) for i, name in enumerate(data.columns)]
    return columns, "DataFrame", {}


def _of_dataset(data: Any) -> Found | None:
    """Read a `datasets.Dataset`; classes that it declares come with their names."""
    if not type(data).__module__.startswith("datasets.") or isinstance(data, Mapping):
        return None
    plain = data.with_format(None)
    columns = [(name, list(plain[name][:])) for name in plain.column_names]
    names = {}
    for name, feature in (plain.features or {}).items():
        declared = getattr(getattr(feature, "feature", feature), "names", None)
        if declared:
            names[str(name)] = tuple(str(n) for n in declared)
    return columns, "Dataset", names


def _of_narwhals(data: Any) -> Found | None:
    import narwhals as nw

    found = nw.from_native(data, pass_through=True, allow_series=True)
    if isinstance(found, nw.LazyFrame):
        found = found.collect()
    what = f"{type(data).__module__.partition('.')[0]} {type(data).__name__}"
    if isinstance(found, nw.Series):
        return [(found.name or "text", found.to_list())], what, {}
    if not isinstance(found, nw.DataFrame):
        return None
    return [(name, found[name].to_list()) for name in found.columns], what, {}


def _of_array(data: Any) -> Found | None:
    import numpy as np

    if not isinstance(data, np.ndarray):
        return None
    if data.dtype.names:
        return [(name, data[name].tolist()) for name in data.dtype.names], "array", {}
    if data.ndim == 1:
        return [("text", data.tolist())], "array", {}
    if data.ndim == 2 and data.shape[1] == 2:
        return list(zip(_PAIR, data.T.tolist(), strict=True)), "array", {}
    raise UsageError(
        f"source: expected an array of texts, or of two columns (text, label), got one of shape "
        f"{data.shape}. Make a DataFrame with names of columns."
    )


def _of_mapping(data: Mapping[Any, Any], argument: str) -> Columns:
    if data and all(isinstance(v, str | Path) for v in data.values()) and _are_paths(data.values()):
        train, *others = map(shown, map(str, data.values()))
        second = f", evaluation={others[0]}" if others else ""
        raise UsageError(
            f"{argument}: expected columns as lists in a dict, got paths of files. Give the path "
            f"itself: load_task({train}{second})."
        )
    for name, column in data.items():
        if isinstance(column, str | bytes | Mapping) or not isinstance(column, Iterable):
            raise UsageError(
                f"{argument}: expected columns as lists in a dict, got {_kind(column)} for "
                f"{shown(name)}. Give one list for each column, all of one length."
            )
        _refuse_streams(column, f"{argument}[{shown(name)}]")
    return list(data.items())


def _are_paths(values: Iterable[Any]) -> bool:
    """Return whether all values are names of files that are read by their ending."""
    return all(
        isinstance(v, Path) or (isinstance(v, str) and format_of(Path(v)) is not None)
        for v in values
    )


def _of_rows(data: Sequence[Any], argument: str) -> Columns:
    if not data:
        raise DataError(f"{argument} has no rows: expected rows of data, got an empty list.")
    first = data[0]
    sized = [len(part) for part in data if isinstance(part, list | tuple)]
    if len(data) == len(sized) == 2 and sized[0] == sized[1] > 2:
        raise UsageError(
            f"{argument}: expected rows, got two lists of {sized[0]}. If they are texts and "
            "labels, make pairs of them: list(zip(texts, labels))."
        )
    if _are_paths(data):
        raise UsageError(
            f"{argument}: expected rows, got {len(data)} paths of files. Give one path; files of "
            "one task are read together where they lie in one folder."
        )
    if len(data) == 2 and sum(type(part).__module__ == "numpy" for part in data) == 2:
        raise UsageError(
            f"{argument}: expected rows, got two arrays. If they are texts and labels, name them: "
            '{"text": texts, "label": labels}.'
        )
    if isinstance(first, Mapping):
        names = dict.fromkeys(n for row in _alike(data, Mapping, argument) for n in row)
        return [(name, [row.get(name) for row in data]) for name in names]
    if isinstance(first, str):
        return [("text", list(_alike(data, str, argument)))]
    if isinstance(first, list | tuple):
        fields = tuple(getattr(first, "_fields", _PAIR))
        for number, row in enumerate(_alike(data, (list, tuple), argument), start=1):
            if len(row) != len(fields):
                raise UsageError(
                    f"{argument}, row {number}: expected {len(fields)} values "
                    f"({', '.join(fields)}), got {len(row)}. Give dicts with names instead."
                )
        return [(name, [row[i] for row in data]) for i, name in enumerate(fields)]
    raise UsageError(
        f"{argument}: expected rows that are dicts, (text, label) pairs or texts, got "
        f"{_kind(first)} in row 1. Convert the rows to dicts."
    )


def _alike(data: Sequence[Any], kind: Any, argument: str) -> Sequence[Any]:
    for number, row in enumerate(data, start=1):
        if not isinstance(row, kind):
            raise UsageError(
                f"{argument}, row {number}: expected the same kind of row everywhere, got "
                f"{_kind(row)} after {_kind(data[0])}. Write all rows alike."
            )
    return data


def _values(column: Any) -> list[Any]:
    """Return a column's values as Python has them, None where one is missing."""
    import numpy as np
    import pandas as pd

    if isinstance(column, pd.Series):
        present = column.notna().tolist()
        return [_plain(v) if ok else None for v, ok in zip(column.tolist(), present, strict=True)]
    if isinstance(column, np.ma.MaskedArray):
        return [None if v is None else _plain(v) for v in column.tolist()]
    to_list: Callable[[], list[Any]] | None = getattr(column, "tolist", None)
    values = to_list() if callable(to_list) else list(column)
    return [None if v is pd.NA or v is pd.NaT or v is np.ma.masked else _plain(v) for v in values]


def _plain(value: Any) -> Any:
    """Turn a scalar of NumPy, pyarrow or decimal into the Python value that it holds."""
    if isinstance(value, str | int | float) and type(value).__module__ == "builtins":
        return value
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        base = next(kind for kind in (str, int, float) if isinstance(value, kind))
        return base(value)
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == int(value) else float(value)
    for name in ("item", "as_py"):
        read = getattr(value, name, None)
        if callable(read) and getattr(value, "ndim", 0) == 0:
            return read()
    return value
