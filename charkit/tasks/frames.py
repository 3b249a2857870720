"""Data that are in Python already: frames of several libraries, data sets, lists, arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any

from charkit.config import listing
from charkit.errors import DataError, UsageError
from charkit.tasks.columns import column_name
from charkit.tasks.looks import shown
from charkit.tasks.tables import RawTable

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
    for name, column in data.items():
        if isinstance(column, str | bytes | Mapping) or not isinstance(column, Iterable):
            raise UsageError(
                f"{argument}: expected columns as lists in a dict, got {_kind(column)} for "
                f"{shown(name)}. Give one list for each column, all of one length."
            )
        _refuse_streams(column, f"{argument}[{shown(name)}]")
    return list(data.items())


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
