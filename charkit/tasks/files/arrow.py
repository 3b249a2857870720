"""Parquet and Arrow: columns are read when they are asked for; class names come from the schema.

Sizes are looked at before anything is read, for half a megabyte of Parquet can hold 10^8 rows.
Whatever a foreign value does, it ends in one refusal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from charkit.config import listing, printable
from charkit.errors import DataError
from charkit.tasks.files.content import LARGEST_BYTES, too_large
from charkit.tasks.files.export_tables import settle
from charkit.tasks.files.table import LazyColumns, RawTable, refuse_many_rows

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_CODE = re.compile(r"-1|\d{1,9}")

# More values in one column, those inside lists counted, are refused.
_MOST_VALUES = 50_000_000


def read_parquet(raw: bytes, where: str) -> RawTable:
    """Read Parquet.

    Raises:
        DataError: It is no Parquet, has no rows, or too many.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        source = pa.BufferReader(raw)
        schema = pq.ParquetFile(source).schema_arrow
        texts = [f.name for f in schema if pa.types.is_string(f.type)]
        file = pq.ParquetFile(pa.BufferReader(raw), read_dictionary=texts)
        n_rows = file.metadata.num_rows
    except Exception as error:  # a damaged footer ends in many kinds of exceptions
        raise _unreadable(where, "Parquet", error) from error
    refuse_many_rows(where, n_rows)

    def read(name: str) -> pa.ChunkedArray:
        _refuse_large_column(file, name, where)
        return file.read(columns=[name]).column(name)

    return _table(where, schema, n_rows, read)


def read_arrow(raw: bytes, where: str) -> RawTable:
    """Read an Arrow file or stream, as ``datasets`` and Feather write it.

    Raises:
        DataError: It is none, has no rows, or too many.
    """
    import pyarrow as pa

    try:
        opened = pa.ipc.open_file(raw) if raw.startswith(b"ARROW1") else pa.ipc.open_stream(raw)
        table = opened.read_all()
    except Exception as error:
        raise _unreadable(where, "Arrow", error) from error
    refuse_many_rows(where, table.num_rows)
    return _table(where, table.schema, table.num_rows, table.column)


def _table(
    where: str, schema: pa.Schema, n_rows: int, read: Callable[[str], pa.ChunkedArray]
) -> RawTable:
    names = schema.names
    if len(set(names)) < len(names):
        raise DataError(f"{where}: expected distinct column names. Rename the columns.")
    if not n_rows:
        raise DataError(f"{where} has no rows: expected rows of data. Check how it was written.")

    def make(name: str) -> list[Any]:
        try:
            values = _values(read(name), where)
        except DataError:
            raise
        except Exception as error:  # dates beyond Python's, unknown zones, bytes that are no text
            raise DataError(
                f"{where}: column {listing([name])} of type {schema.field(name).type} cannot be "
                f"read: {_brief(error)}. Choose another column, or write it as strings."
            ) from error
        if len(values) != n_rows:
            raise DataError(
                f"{where}: expected {n_rows} values in column {listing([name])}, got "
                f"{len(values)}. Write the file again."
            )
        return values

    inner = _inner_names(schema)

    def make_any(name: str) -> list[Any]:
        if name in names:
            return make(name)
        outer, key = inner[name]
        return [part.get(key) if isinstance(part, dict) else None for part in columns[outer]]

    columns = LazyColumns([*names, *inner], make_any)
    table = RawTable(
        where, columns, range(1, n_rows + 1), unit="row",
        class_names=_declared(schema),
    )  # fmt: skip
    return settle(table)


def _inner_names(schema: pa.Schema) -> dict[str, tuple[str, str]]:
    """Return names for the fields of fields: ``translation.en`` is ``en`` in ``translation``."""
    import pyarrow as pa

    found = {
        f"{field.name}.{part.name}": (field.name, part.name)
        for field in schema
        if pa.types.is_struct(field.type)
        for part in field.type
    }
    return {name: where for name, where in found.items() if name not in schema.names}


def _refuse_large_column(file: pq.ParquetFile, name: str, where: str) -> None:
    meta = file.metadata
    groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
    if sum(group.total_byte_size for group in groups) <= LARGEST_BYTES:
        return  # columns are not looked at without need: pyarrow 26 aborts on damaged statistics
    chunks = [group.column(i) for group in groups for i in range(meta.num_columns)]
    size = sum(
        chunk.total_uncompressed_size
        for chunk in chunks
        if chunk.path_in_schema == name or chunk.path_in_schema.startswith(f"{name}.")
    )
    if size > LARGEST_BYTES:
        raise too_large(f"{where}, column {listing([name])},", size)


def _refuse_many_values(column: pa.ChunkedArray, where: str) -> None:
    """Refuse lists with more values than the memory holds as Python objects."""
    import pyarrow as pa

    total = 0
    for chunk in column.chunks:
        inner = chunk
        while pa.types.is_list(inner.type) or pa.types.is_large_list(inner.type):
            inner = inner.flatten()
        total += len(inner)
    if total > _MOST_VALUES:
        raise DataError(
            f"{where}: a column holds {total:,} values: expected at most {_MOST_VALUES:,}. Take a "
            "random sample of the rows."
        )


def _values(column: pa.ChunkedArray, where: str) -> list[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    column.validate(full=True)  # damaged offsets would otherwise end the process
    _refuse_many_values(column, where)
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        column = column.cast(pa.string())  # strings of old writers; other bytes are refused
    values: list[Any] = []
    size = 0
    for chunk in column.chunks:
        if not isinstance(chunk, pa.DictionaryArray):
            values += _plain(chunk)
            continue
        kind = chunk.dictionary.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            lengths = pc.binary_length(chunk.dictionary).take(chunk.indices)
            size += pc.sum(lengths).as_py() or 0
            if size > LARGEST_BYTES:
                raise too_large(where, size)
        known = [*chunk.dictionary.to_pylist(), None]  # equal texts are one object
        values += [known[i] for i in chunk.indices.fill_null(len(known) - 1).to_pylist()]
    return values


def _plain(chunk: pa.Array) -> list[Any]:
    """Return the values; lists of at most one value each give these."""
    import pyarrow as pa

    values: list[Any] = chunk.to_pylist()
    if pa.types.is_decimal(chunk.type):
        return [None if v is None else int(v) if v == int(v) else float(v) for v in values]
    plain = pa.types.is_list(chunk.type) and not pa.types.is_nested(chunk.type.value_type)
    if plain and all(v is None or len(v) <= 1 for v in values):
        return [v[0] if v else None for v in values]
    return values


def _declared(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Return the class names that ``datasets`` writes into a schema's metadata."""
    try:
        whole = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = whole["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    found = class_names_of(features)
    return {n: names for n, names in found.items() if n in schema.names and _is_code(schema, n)}


def _is_code(schema: pa.Schema, name: str) -> bool:
    import pyarrow as pa

    kind = schema.field(name).type
    while pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_integer(kind))


def class_names_of(features: Any) -> dict[str, tuple[str, ...]]:
    """Return class names by column, from features as ``datasets`` describes them.

    A list of classes has those of its elements.
    """
    found = {}
    for name, outer in features.items() if isinstance(features, Mapping) else ():
        feature = outer
        while isinstance(feature, dict) and isinstance(feature.get("feature"), dict):
            feature = feature["feature"]
        if isinstance(feature, list) and len(feature) == 1:
            feature = feature[0]
        names = feature.get("names") if isinstance(feature, dict) else None
        if isinstance(names, list) and names and feature.get("_type", "ClassLabel") == "ClassLabel":
            found[str(name)] = tuple(map(str, names))
    return found


def with_class_names(table: RawTable, declared: Mapping[str, tuple[str, ...]]) -> RawTable:
    """Return the table with class names that another file declares, for columns of codes.

    Numbers that are written as text become codes; a column that holds anything else has no codes.
    """
    new = {n: names for n, names in declared.items() if n in table.columns}
    new = {n: names for n, names in new.items() if n not in table.class_names}
    for name in list(new):
        codes = _codes(table.columns[name], len(new[name]))
        if codes is None:
            del new[name]
        elif any(isinstance(v, str) for v in table.columns[name]):
            table = table.with_columns({name: codes})
    return replace(table, class_names={**table.class_names, **new})


def _codes(values: Sequence[Any], n_classes: int) -> list[int | None] | None:
    codes: list[int | None] = []
    for value in values:
        text = str(value).strip()
        if value is None or not text:
            codes.append(None)
        elif isinstance(value, bool) or not _CODE.fullmatch(text) or int(text) >= n_classes:
            return None
        else:
            codes.append(int(text))
    return codes


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return printable(lines[0] if lines else type(error).__name__, longest=160)


def _unreadable(where: str, kind: str, error: Exception) -> DataError:
    return DataError(f"{where} cannot be read as {kind}: {_brief(error)}. Write the file again.")
