"""Text from data, made safe for terminals and spreadsheets: any name or text may be hostile."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FORMULA = frozenset("=+-@")
"""A cell that begins so is a formula to a spreadsheet."""

# Controls that turn the direction of what follows; single marks (LRM, RLM) are harmless.
_BIDI = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))

# Line ends stay on the screen; a cell of a spreadsheet may hold a carriage return too.
_STEERING = (*range(32), *range(127, 160), *_BIDI)
_SCREEN = {c: ascii(chr(c))[1:-1] for c in (*_STEERING, 0x2028, 0x2029) if c not in (9, 10)}
_CELL = {c: ascii(chr(c))[1:-1] for c in _STEERING if c not in (9, 10, 13)}
_QUOTED = frozenset(',"\r\n')


def harmless(text: str) -> str:
    r"""Spell out the characters that steer a terminal, or turn the direction of writing.

    >>> harmless("a\x1b[31mb\u202ec")
    'a\\x1b[31mb\\u202ec'
    """
    return text.translate(_SCREEN)


def cell_text(text: str) -> str:
    r"""Return a text that no spreadsheet takes for a formula and that steers no terminal.

    >>> cell_text("=1+1"), cell_text("-1.5"), cell_text("a\x1bb")
    ("'=1+1", '-1.5', 'a\\x1bb')
    """
    begin = text.lstrip()[:1]
    if begin in FORMULA and not _is_number(text):
        text = f"'{text}"
    return text.translate(_CELL)


def csv_text(rows: Iterable[Mapping[str, Any]], names: Sequence[str] | None = None) -> str:
    r"""Return rows as CSV: one form for every file and for stdout.

    Texts are escaped by `cell_text`; a number that is missing is empty.

    Args:
        rows: The rows.
        names: The columns. Default: those of the first row; without rows the text is empty.

    >>> csv_text([{"name": "=a", "n": 1}, {"name": "b,c\rd", "n": float("nan")}])
    'name,n\n\'=a,1\n"b,c\rd",\n'
    """
    rows = list(rows)
    if names is None:
        names = list(rows[0]) if rows else []
    lines = [names, *([row.get(name) for name in names] for row in rows)] if names else []
    return "".join(",".join(map(_field, line)) + "\n" for line in lines)


def csv_of(frame: pd.DataFrame, *, index: bool = False) -> str:
    """Return a table of names and numbers as CSV; the names are escaped as in `csv_text`."""
    import pandas as pd

    safe = frame.copy()
    for place, dtype in enumerate(frame.dtypes):
        if pd.api.types.is_object_dtype(dtype) or pd.api.types.is_string_dtype(dtype):
            safe.isetitem(place, [_name(v) for v in frame.iloc[:, place]])
    safe.columns = frame.columns.map(_name).rename(frame.columns.name)
    if index:
        safe.index = frame.index.map(_name).rename(frame.index.name)
    return safe.to_csv(index=index, lineterminator="\n")


def _name(value: Any) -> Any:
    return cell_text(value).replace("\r", "\\r") if isinstance(value, str) else value


def _field(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return repr(float(value))
    text = cell_text(value) if isinstance(value, str) else str(value)
    if _QUOTED.isdisjoint(text) and text == text.strip():
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
