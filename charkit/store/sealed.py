"""Files that carry a hash of their own content, so that a changed one is never taken for true."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from charkit.config import canonical_json, content_hash, printable
from charkit.errors import CharkitError, DataError, MissingError

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

SEAL = "sha256"
"""The field of a JSON file, or of a header, that holds the hash of all the rest."""

_TABLE_SEAL = b"charkit.sha256"
_LENGTH = 64  # hex digits of SHA-256


@contextmanager
def reading(where: str, what: str, *, advice: str) -> Iterator[None]:
    """Turn whatever a foreign reader raises inside the block into one message.

    Readers of damaged or hostile files raise kinds that nobody lists (KeyError, IndexError, a
    Rust panic, ...). A file that is gone, and memory that does not suffice, are no damage.

    Args:
        where: The file, as messages name it.
        what: What was expected of it.
        advice: What to do; a whole sentence.

    Raises:
        DataError: The reader failed.
        MissingError: The file may not be read.
    """
    try:
        yield
    except (CharkitError, FileNotFoundError, MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except PermissionError as error:
        raise MissingError(
            f"{where} may not be read: expected {what}, got {error.strerror!r}. Check the rights."
        ) from error
    except BaseException as error:
        shown = printable(" ".join(str(error).split()) or type(error).__name__, longest=200)
        kind = type(error).__name__
        raise DataError(
            f"{where} cannot be read: expected {what}, got {shown!r} ({kind}). {advice}"
        ) from error


def sealed_json(value: Mapping[str, Any]) -> bytes:
    """Return an object as the bytes of a JSON file that ends with the hash of the rest.

    Args:
        value: JSON values; no number may be missing or infinite.
    """
    plain = json.loads(json.dumps(dict(value), allow_nan=False))
    plain.pop(SEAL, None)
    whole = {**plain, SEAL: content_hash(plain, length=_LENGTH)}
    return (json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_sealed(path: Path, where: str, *, advice: str) -> dict[str, Any]:
    """Return the object of a JSON file, its seal left out.

    A file without a seal is taken as it is: people and older versions write such files.

    Args:
        path: The file.
        where: What messages call it.
        advice: What to do about damage; a whole sentence.

    Raises:
        DataError: It is no JSON object, or its content differs from its seal.
    """
    with reading(where, "JSON", advice=advice):
        value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise DataError(
            f"{where} holds something else: expected an object, got {printable(repr(value))}. "
            f"{advice}"
        )
    name = SEAL if SEAL in value else _renamed_seal(value)
    seal = value.pop(name, None)
    if name != SEAL or (seal is not None and not _fits(value, seal)):
        raise DataError(
            f"{where} was changed or damaged after it was written: expected content of the hash "
            f"{printable(str(seal), longest=12)}, got another. {advice} If you changed it on "
            f"purpose, remove its line {SEAL!r}."
        )
    return value


def _renamed_seal(value: Mapping[str, Any]) -> str:
    """Return the name under which a damaged file holds its seal; `SEAL` where it has none."""
    for name in value:
        rest = {k: v for k, v in value.items() if k != name}
        if re.fullmatch("[0-9a-f]{64}", str(value[name])) and _fits(rest, value[name]):
            return name
    return SEAL


def _fits(value: Mapping[str, Any], seal: object) -> bool:
    try:
        return content_hash(value, length=_LENGTH) == seal
    except (ValueError, RecursionError):  # a number that is none of JSON's, a lone surrogate
        return False


_SVG_SEAL = re.compile(rb"\n?<!-- charkit sha256 ([0-9a-f]{64}) ([0-9a-f]{64}) -->\n?")


def seal_svg(svg: bytes, csv: bytes) -> bytes:
    """Return a drawing with a last comment that holds its hash, and that of its numbers."""
    seal = f"{hashlib.sha256(svg).hexdigest()} {hashlib.sha256(csv).hexdigest()}"
    return svg + f"\n<!-- charkit sha256 {seal} -->\n".encode()


def check_svg(svg: bytes, csv: bytes | None, where: str, *, advice: str) -> None:
    """Refuse a drawing, or its numbers, that differ from the seal in the drawing.

    A drawing without a seal is taken as it is.

    Args:
        svg: The drawing.
        csv: The plotted numbers; None where there are none.
        where: What messages call it.
        advice: What to do; a whole sentence.

    Raises:
        DataError: One of the two was changed or damaged.
    """
    seal = _SVG_SEAL.search(svg)
    if seal is None:
        wrong = ""
    elif hashlib.sha256(_SVG_SEAL.sub(b"", svg, count=1)).hexdigest().encode() != seal[1]:
        wrong = "drawing"
    elif csv is not None and hashlib.sha256(csv).hexdigest().encode() != seal[2]:
        wrong = "list of numbers (.csv)"
    else:
        wrong = ""
    if wrong:
        raise DataError(
            f"{where}: expected the {wrong} as it was written, got one that is damaged or was "
            f"changed. {advice}"
        )


def arrays_digest(arrays: Mapping[str, NDArray[Any]], about: object) -> str:
    """Return the hash of named arrays and of what describes them."""
    whole = hashlib.sha256(canonical_json(about).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        whole.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()


def seal_table(table: pa.Table) -> pa.Table:
    """Return a table whose schema carries the hash of its content, and nothing else."""
    return table.replace_schema_metadata({_TABLE_SEAL: _table_digest(table).encode()})


def read_sealed_table(path: Path, where: str, *, advice: str) -> pa.Table:
    """Return the table of a Parquet file that was written with `seal_table`.

    A file without a seal (another program's, or an older version's) is taken as it is.

    Args:
        path: The file.
        where: What messages call it.
        advice: What to do about damage; a whole sentence.

    Raises:
        DataError: It cannot be read, or its content differs from its seal.
    """
    import pyarrow.parquet as pq

    with reading(where, "a Parquet table", advice=advice):
        table = pq.read_table(path, partitioning=None)
        table.validate(full=True)
        seal = (table.schema.metadata or {}).get(_TABLE_SEAL)
        whole = not seal or _table_digest(table).encode() == seal
    if not whole:
        raise DataError(
            f"{where} was changed or damaged after it was written: expected content of the hash "
            f"{printable(str(seal), longest=14)}, got another. {advice}"
        )
    return table


def _table_digest(table: pa.Table) -> str:
    """Return the hash of names, types and values, however they are cut into chunks."""
    whole = hashlib.sha256(str(table.num_rows).encode())
    for name, column in zip(table.column_names, table.columns, strict=True):
        for part in _column_parts(name, column):
            whole.update(len(part).to_bytes(8, "little"))
            whole.update(part)
    return whole.hexdigest()


def _column_parts(name: str, column: pa.ChunkedArray) -> Iterator[bytes]:
    import pyarrow as pa

    yield name.encode()
    yield column.is_null().to_numpy().astype(np.uint8).tobytes()
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        yield str(kind).encode()
        empty = False if pa.types.is_boolean(kind) else 0
        values = column.fill_null(empty).to_numpy()
        yield values.astype(values.dtype.newbyteorder("<")).tobytes()
        return
    texts = column.to_pylist()
    distinct: dict[Any, int] = {}
    try:
        codes = [distinct.setdefault(text, len(distinct)) for text in texts]
    except TypeError:  # lists and the like have no hash
        yield repr(texts).encode()
        return
    yield np.array(codes, dtype="<i8").tobytes()
    yield canonical_json([str(text) for text in distinct]).encode()
