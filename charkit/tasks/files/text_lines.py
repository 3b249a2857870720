"""Plain text: one text a line."""

from __future__ import annotations

import re

from charkit.errors import DataError
from charkit.tasks.files.table import RawTable, refuse_many_rows

_BREAK = re.compile("\r\n|\r|\n")
_FAST_TEXT = re.compile(r"\s*(__label__\S+\s*)+")
# Lines by which a table in disguise is recognised: its first rows are like all others.
_LOOKED_AT = 50
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
    _refuse_tables([lines[n - 1] for n in numbers[:_LOOKED_AT]], where)
    refuse_many_rows(where, len(numbers))
    n_blank = len(lines) - len(numbers)
    notes = (f"{where}: {n_blank} blank lines left out",) if n_blank else ()
    texts = [lines[n - 1] for n in numbers]
    n_labelled = sum(_FAST_TEXT.match(text) is not None for text in texts)
    if n_labelled and 2 * n_labelled >= len(texts):
        return _fast_text(texts, numbers, where, notes)
    return RawTable(
        where, {"text": texts}, numbers, notes=notes,
        hint="A .txt file is read as one text a line; a table of columns needs the ending .csv "
        "(commas) or .tsv (tabs), and a first line with their names.",
    )  # fmt: skip


def _fast_text(
    texts: list[str], numbers: list[int], where: str, notes: tuple[str, ...]
) -> RawTable:
    """Read lines of fastText: labels as __label__NAME, then the text; lines may have none."""
    found = [_FAST_TEXT.match(text) for text in texts]
    named = [m[0].split() if m else [] for m in found]
    labels = [[n.removeprefix("__label__") for n in each] for each in named]
    single = all(len(each) < 2 for each in labels)
    columns = {
        "text": [text[m.end() if m else 0 :].strip() for text, m in zip(texts, found, strict=True)],
        "label": [next(iter(each), None) for each in labels] if single else labels,
    }
    note = f"{where}: labels are read from __label__ in front of the texts, as fastText has them"
    return RawTable(where, columns, numbers, notes=(*notes, note))


def _refuse_tables(lines: list[str], where: str) -> None:
    for mark, name, ending in (("\t", "tabs", ".tsv"), (";", "semicolons", ".csv"),
                               ("|", "bars", ".csv"), (",", "commas", ".csv")):  # fmt: skip
        counts = {line.count(mark) for line in lines}
        if len(lines) < 2 or len(counts) > 1 or counts == {0}:
            continue
        names = lines[0].split(mark)
        if mark == "\t" or all(_NAMES.fullmatch(n) and len(n.split()) < 3 for n in names):
            raise DataError(
                f"{where}: expected one text a line, got lines that look like rows of a table "
                f"separated by {name}. Let its name end in {ending}."
            )
    if all(line.lstrip().startswith("{") and line.rstrip().endswith("}") for line in lines):
        raise DataError(f"{where}: expected one text a line, got JSON. Let its name end in .jsonl.")
