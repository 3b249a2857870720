"""What people and programs write where a label is missing."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

MISSING_WORDS = frozenset(
    ("na", "n/a", "n.a.", "none", "null", "nil", "#n/a", "#n/a n/a", "#na", "nat", "missing",
     "undefined", "unlabelled", "unlabeled", "tbd", "todo", "-", "--", "---", "?", "??", ".",
     "...", "_", "\u2013", "\u2014", "\\n", "#value!", "#ref!", "#div/0!", "#name?", "#null!",
     "#num!")
)  # fmt: skip
"""What people and programs write for a missing value, in lower case. Next to numbers it is one;
next to other words it may be a class ("None" in stance, "NA" in relations), so it is kept, and
a note names it. Brackets and quotes around it do not matter. Only "nan" is always missing: no
label set of words was seen that has it."""

_IN_MARKS = MISSING_WORDS | {"", "blank", "empty"}
"""Missing values that programs write in brackets or quotes: (blank), <NULL>, an empty pair."""

_AROUND = re.compile(r"""^[\s'"`(\[{<]*(.*?)[\s'"`)\]}>]*$""", re.S)

_NAN = re.compile(r"[+-]?(nan|1\.#(qnan|snan|ind))", re.IGNORECASE)
"""Not a number, as Python, pandas, R, C and Microsoft's libraries write it."""


def is_blank(value: Any) -> bool:
    """Return whether a value is nothing to read: None, or only spaces and invisible characters.

    >>> is_blank("\u200b "), is_blank("x"), is_blank(0)
    (True, False, False)
    """
    if value is None:
        return True
    if not isinstance(value, str) or (value and value[0].isalnum()):
        return False
    return all(c.isspace() or unicodedata.category(c) in ("Cf", "Cc", "Zs") for c in value)


def is_missing(value: Any) -> bool:
    """Return whether a label is missing whatever stands around it: blank, NaN, an empty list."""
    if isinstance(value, str):
        return is_blank(value) or _NAN.fullmatch(value.strip()) is not None
    if isinstance(value, float):
        return value != value
    return value is None or (isinstance(value, list | tuple) and not value)


def looks_missing(value: str) -> bool:
    """Return whether a word is one that people and programs write for a missing value.

    >>> looks_missing("(null)"), looks_missing("#N/A"), looks_missing("neutral")
    (True, True, False)
    """
    word = value.strip().lower()
    inside = _AROUND.fullmatch(word)
    assert inside is not None
    return word in MISSING_WORDS or (len(word) > 1 and inside[1] != word and inside[1] in _IN_MARKS)
