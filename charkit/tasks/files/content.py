"""The bytes of a file: unpacked within limits, and known by how they begin."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from pathlib import Path

from charkit.errors import DataError, MissingError
from charkit.tasks.files.table import RawTable, refuse_many_rows

_BREAK = re.compile("\r\n|\r|\n")
_FAST_TEXT = re.compile(r"\s*(__label__\S+\s*)+|(\s+__label__\S+)+\s*$")
_FAST_TEXT_LINE = re.compile(rb"\s*__label__[^\s,;|\"]+[ \t]+\S")
# Lines by which a table in disguise is recognised: its first rows are like all others.
_LOOKED_AT = 50
# Fewer lines may end in one word by chance; and the letters of a class's name, as in `_NAMES`.
_FEWEST_ROWS = 6
_LONGEST_NAME = 30
_NAMES = re.compile(r"[^\W\d][\w .-]{0,30}")


def read_lines(text: str, where: str) -> RawTable:
    """Read one text a line into a column ``text``; blank lines are left out and counted.

    Raises:
        DataError: The lines look like rows of a table.
    """
    lines = _BREAK.split(text)
    if lines and not lines[-1]:
        lines.pop()
    numbers = [n for n, line in enumerate(lines, start=1) if line.strip()]
    refuse_many_rows(where, len(numbers))
    n_blank = len(lines) - len(numbers)
    notes = (f"{where}: {n_blank} blank lines left out",) if n_blank else ()
    texts = [lines[n - 1] for n in numbers]
    found = [_FAST_TEXT.match(text) or _FAST_TEXT.search(text) for text in texts]
    n_labelled = sum(match is not None for match in found)
    if n_labelled and 2 * n_labelled >= len(texts):
        return _fast_text(texts, found, numbers, where, notes)
    _refuse_tables(texts[:_LOOKED_AT], where)
    return RawTable(
        where, {"text": texts}, numbers, notes=notes,
        hint="A .txt file is read as one text a line; a table of columns needs the ending .csv "
        "(commas) or .tsv (tabs), and a first line with their names.",
    )  # fmt: skip


def _fast_text(
    texts: list[str],
    found: list[re.Match[str] | None],
    numbers: list[int],
    where: str,
    notes: tuple[str, ...],
) -> RawTable:
    """Read lines of fastText: labels as __label__NAME before or after the text, or none."""
    named = [m[0].split() if m else [] for m in found]
    labels = [[n.removeprefix("__label__") for n in each] for each in named]
    single = all(len(each) < 2 for each in labels)
    columns = {
        "text": [
            text.replace(m[0], " ", 1).strip() if m else text.strip()
            for text, m in zip(texts, found, strict=True)
        ],
        "label": [next(iter(each), None) for each in labels] if single else labels,
    }
    note = f"{where}: labels are read from __label__ next to the texts, as fastText has them"
    return RawTable(where, columns, numbers, notes=(*notes, note))


_DISGUISES = (
    ("\t", "tabs", "Let its name end in .tsv."),
    (";", "semicolons", "Let its name end in .csv."),
    ("|", "bars", "Let its name end in .csv."),
    (",", "commas", "Let its name end in .csv."),
    ("::", "colons", "Save them with tabs (.tsv), the names of the columns in the first line."),
)
"""What separates the fields of tables that are called .txt, and what to do."""


def _ends_in_labels(lines: list[str], mark: str) -> bool:
    """Return whether the first or last field of every line is a word that comes again."""
    if len(lines) < _FEWEST_ROWS or mark == ",":
        return False
    ends = [[line.split(mark)[i].strip(" :") for line in lines] for i in (0, -1)]
    short = (e for e in ends if all(e) and max(map(len, e)) <= _LONGEST_NAME)
    return any(2 * len(set(e)) <= len(e) for e in short)


def _refuse_tables(lines: list[str], where: str) -> None:
    for mark, name, advice in _DISGUISES:
        counts = {line.count(mark) for line in lines}
        if len(lines) < 2 or len(counts) > 1 or counts == {0}:
            continue
        names = lines[0].split(mark)
        named = all(_NAMES.fullmatch(n) and len(n.split()) < 3 for n in names)
        if mark == "\t" or (named and mark != "::") or _ends_in_labels(lines, mark):
            raise DataError(
                f"{where}: expected one text a line, got lines that look like rows of a table "
                f"separated by {name}. {advice}"
            )
    if all(line.lstrip().startswith("{") and line.rstrip().endswith("}") for line in lines):
        raise DataError(f"{where}: expected one text a line, got JSON. Let its name end in .jsonl.")


LARGEST_BYTES = 4 * 2**30
"""A larger file, unpacked, is refused: its texts would need several times that in memory."""

_GZIP = b"\x1f\x8b"

# gzip makes real texts up to about 20 times smaller, rows that repeat up to 100 times; zeros 1,000
# times. Below 64 MB nothing is refused for it.
_BOMB_RATIO = 150
_BOMB_BYTES = 64 * 2**20

# Bytes that are unpacked at a time, so that a bomb is refused one step beyond what is allowed; and
# those in which the kind of a file shows itself.
_STEP = 2**20
_BEGINNING = 65_536

UTF8_BOM = b"\xef\xbb\xbf"

# How files begin that are no tables of text, what they are, and what to do.
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"\xd0\xcf\x11\xe0", "an old Excel or Office file",
     "Open it there and save it as CSV UTF-8"),
    (b"PAR1", "a Parquet file", "Rename it to {stem}.parquet"),
    (b"ARROW1", "an Arrow file", "Rename it to {stem}.arrow"),
    (b"FEA1", "an old Feather file", "Write it again as Parquet"),
    (b"BZh", "a bzip2 archive", "Unpack it (bunzip2) and give the file inside"),
    (b"\xfd7zXZ\0", "an xz archive", "Unpack it (unxz) and give the file inside"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "Unpack it (unzstd) and give the file inside"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it and give the file inside"),
    (b"Rar!", "a rar archive", "Unpack it and give the file inside"),
    (b"SQLite format 3", "an SQLite database", "Write the table that you want as CSV UTF-8"),
    (b"%PDF", "a PDF document", "Write the texts as CSV UTF-8"),
    (b"\x89HDF", "an HDF5 file", "Write the texts as Parquet or CSV UTF-8"),
    (b"\x93NUMPY", "a NumPy array", "Write the texts as CSV UTF-8"),
    (b"\x89PNG", "a picture", "Give the file with the texts"),
    (b"version https://git-lfs", "a pointer of Git LFS instead of the data",
     "Fetch the data: git lfs pull"),
    (b"<!doctype html", "a web page instead of data", "Download the file itself again"),
    (b"<html", "a web page instead of data", "Download the file itself again"),
    (b"<?xml", "an XML file", "Write the texts as CSV UTF-8 or JSON lines"),
    (b"{\\rtf", "a rich text document", "Save it as plain text in UTF-8"),
)  # fmt: skip


def read_content(path: Path, *, parquet: bool = False) -> bytes:
    """Return the content of a file, unpacked where its name ends in .gz.

    Args:
        path: The file.
        parquet: The name says Parquet or Arrow, so only other kinds are refused.

    Raises:
        MissingError: The file cannot be opened.
        DataError: It is empty, too large, broken, or of another kind than its name says.
    """
    raw = _read(path)
    name = path.name
    if path.suffix.lower() == ".gz":
        _require_gzip(raw, name)
        raw = _unpacked(raw, name)
        name = name[: -len(".gz")]
    elif raw.startswith(_GZIP):
        raise DataError(
            f"{path.name} is a gzip file (it begins with the bytes 1f 8b): expected one whose name "
            f"ends in .gz. Rename it to {path.name}.gz."
        )
    if not raw[:_STEP].removeprefix(UTF8_BOM).strip() and not raw.removeprefix(UTF8_BOM).strip():
        raise DataError(f"{path.name} is empty: expected rows of data. Check how it was written.")
    _refuse_other_kinds(raw, name, parquet=parquet)
    return raw


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise too_large(path.name, size)
        return path.read_bytes()
    except OSError as error:
        raise MissingError(
            f"{path} cannot be read: {error.strerror}. Check the path and its permissions."
        ) from error


def too_large(where: str, n_bytes: int) -> DataError:
    """Return the refusal of what would not fit into memory."""
    return DataError(
        f"{where} holds {n_bytes / 2**30:.1f} GB: expected at most {LARGEST_BYTES // 2**30} GB. "
        "Keep the columns that are needed, or a random sample of the rows."
    )


def _require_gzip(raw: bytes, name: str) -> None:
    if raw and not raw.startswith(_GZIP[: len(raw)]):
        raise DataError(
            f"{name} is not compressed: expected a gzip file (bytes 1f 8b), as its name says, got "
            f"one that begins with {raw[:12]!r}. Rename it to {name[: -len('.gz')]}."
        )


def _unpacked(raw: bytes, name: str) -> bytes:
    """Unpack gzip step by step, so that a bomb is refused before it fills the memory."""
    largest = max(_BOMB_BYTES, min(LARGEST_BYTES, _BOMB_RATIO * len(raw)))
    parts, total, rest = [], 0, raw
    try:
        while rest:
            unpacker = zlib.decompressobj(wbits=31)
            while not unpacker.eof:
                part = unpacker.decompress(rest, _STEP)
                rest = unpacker.unconsumed_tail
                total += len(part)
                if total > largest:
                    raise _bomb(name, len(raw), total)
                if not part and not rest and not unpacker.eof:
                    raise EOFError("it ends too early")
                parts.append(part)
            rest = unpacker.unused_data.lstrip(b"\0")
    except (EOFError, zlib.error) as error:
        raise DataError(
            f"{name} is not a whole gzip file: {error}. Copy or compress it again."
        ) from error
    return b"".join(parts)


def _bomb(name: str, packed: int, unpacked: int) -> DataError:
    return DataError(
        f"{name}: {packed:,} bytes of gzip unpack to more than {unpacked:,}: expected texts, which "
        f"shrink at most {_BOMB_RATIO} times, and at most {LARGEST_BYTES // 2**30} GB. If the "
        f"file is right, unpack it first (gunzip) and check its size."
    )


def _refuse_other_kinds(raw: bytes, name: str, *, parquet: bool) -> None:
    stem = Path(name).stem
    if raw.startswith(b"PK\x03\x04"):
        what, advice = _zip_kind(raw)
    elif raw.startswith(b"\x80") and raw[1:2] in b"\2\3\4\5" and raw.endswith(b"."):
        what, advice = "a pickle, which can run code", "Write the data as Parquet or CSV UTF-8"
    else:
        begins = raw[:64].lstrip(UTF8_BOM + b" \r\n\t").lower()
        found = [k for k in _KINDS if raw.startswith(k[0]) or begins.startswith(k[0])]
        if not found or (parquet and found[0][0] in (b"PAR1", b"ARROW1")):
            return
        what, advice = found[0][1:]
    raise DataError(
        f"{name} is {what}: expected a table of texts, as its name says. "
        f"{advice.format(stem=stem)}."
    )


def _zip_kind(raw: bytes) -> tuple[str, str]:
    try:
        names = zipfile.ZipFile(io.BytesIO(raw)).namelist()
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, RuntimeError, NotImplementedError):
        return "a damaged zip archive or spreadsheet", "Download or save it again"
    if any(n.startswith("xl/") for n in names):
        return (
            "an Excel workbook (xlsx)",
            "Open it in Excel and save it as CSV UTF-8 (comma delimited)",
        )
    if "content.xml" in names and "mimetype" in names:
        return "an OpenDocument file", "Open it and save it as CSV, with character set UTF-8"
    if any(n.startswith("word/") for n in names):
        return "a Word document", "Write the texts as CSV UTF-8"
    return "a zip archive", "Unpack it (unzip) and give the file inside"


def refuse_other_text(raw: bytes, where: str) -> None:
    """Refuse what is no text of fields: JSON, Excel's line that declares the separator, Markdown.

    Raises:
        DataError: It is one of these.
    """
    head = raw[:_BEGINNING].removeprefix(UTF8_BOM).lstrip()
    if re.match(rb'\{\s*"[^"]*"\s*:|\[\s*\{\s*"', head):
        ending = ".json" if head.startswith(b"[") else ".jsonl"
        raise DataError(
            f"{where}: expected fields with separators, got JSON. Let its name end in {ending}."
        )
    if re.match(rb'"?sep=.{0,2}"?\r?\n', head, re.IGNORECASE):
        raise DataError(
            f"{where}, line 1: expected the names of the columns, got Excel's 'sep=' line. Remove "
            "it: tail -n +2 old > new."
        )
    if _FAST_TEXT_LINE.match(head):
        raise DataError(
            f"{where}: expected fields with separators, got lines of fastText (__label__NAME, then "
            "a text). Let its name end in .txt."
        )
    _refuse_markdown(raw, where)


def _refuse_markdown(raw: bytes, where: str) -> None:
    """Refuse a table in Markdown.

    Raises:
        DataError: It is one.
    """
    lines = raw[:_BEGINNING].removeprefix(UTF8_BOM).lstrip().split(b"\n")[:2]
    if len(lines) == 2 and _MARKDOWN.fullmatch(lines[1].strip()) and b"|" in lines[0]:
        raise DataError(
            f"{where}, line 2: expected a row, got the rule of a table in Markdown. Remove it, and "
            "the bars around the rows: sed -e 2d -e 's/^ *| *//' -e 's/ *| *$//' -e 's/ *| */|/g' "
            "old > new."
        )


_MARKDOWN = re.compile(rb"\|?( *:?-{2,}:? *\|)+( *:?-{2,}:? *)?")
