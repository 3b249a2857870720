"""Reading one file of rows, exactly: CSV, TSV, JSON, text (each also gzipped), Parquet and Arrow.

Nothing is inferred here. A CSV cell is a string, whatever it looks like ("NA", "007"); JSON and
Parquet values keep their types. Every row knows its line in the file.
"""

from __future__ import annotations

import re
from pathlib import Path

from charkit.errors import DataError, UnknownNameError
from charkit.tasks.files.arrow import read_arrow, read_parquet
from charkit.tasks.files.content import read_content, read_lines
from charkit.tasks.files.delimited import read_delimited
from charkit.tasks.files.encoding import decode
from charkit.tasks.files.export_tables import settle
from charkit.tasks.files.json_rows import read_json
from charkit.tasks.files.table import RawTable

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
    if ending in (".csv", ".tsv"):
        return settle(read_delimited(raw, name, delimiter="," if ending == ".csv" else "\t"))
    text = decode(raw, name)
    return read_lines(text, name) if ending == ".txt" else read_json(text, name)


def _unpacked_first(advice: str) -> str:
    """Return advice whose command reads what gunzip gives, not the packed file.

    >>> _unpacked_first("Convert it: iconv -f CP1252 -t UTF-8 old > new.")
    'Convert it: gunzip -c old | iconv -f CP1252 -t UTF-8 > new.'
    """
    return _COMMAND.sub(r"gunzip -c old | \1 > new", advice)
