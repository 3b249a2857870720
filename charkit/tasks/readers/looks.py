"""What labels look like: numbers, lists written as text, dates, or other labels."""

from __future__ import annotations

import ast
import html
import json
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
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

# Missing values that programs write in brackets or quotes: (blank), <NULL>, an empty pair.
_IN_MARKS = MISSING_WORDS | {"", "blank", "empty"}

_BRACKETS = re.compile(r"""^[\s'"`(\[{<]*(.*?)[\s'"`)\]}>]*$""", re.S)

# Not a number, as Python, pandas, R, C and Microsoft's libraries write it.
_NAN = re.compile(r"[+-]?(nan|1\.#(qnan|snan|ind))", re.IGNORECASE)


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
    inside = _BRACKETS.fullmatch(word)
    assert inside is not None
    return word in MISSING_WORDS or (len(word) > 1 and inside[1] != word and inside[1] in _IN_MARKS)


_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.I)

# Letters of a value in a message; letters beyond which a label is not parsed as a list, which takes
# time that grows with them; notes on classes that look alike, the rest being counted.
_WIDEST = 40
_LONGEST_LIST = 10_000
_MOST_NOTES = 5

_NUMPY_LIST = re.compile(r"""\[\s*(['"]).*?\1(\s+(['"]).*?\3)+\s*\]""", re.S)

# Lists of NumPy, pandas and Python, as they are shown.
_CALL = re.compile(r"(array|frozenset|set|list|tuple|Index)\((?P<inner>.*?)(, dtype=.*)?\)", re.S)

_NUMPY_NUMBERS = re.compile(r"\[\s*-?\d+\.?\d*(\s+-?\d+\.?\d*)+\s*\]")

# Numbers that Python does not read: their form, its name, and how to write them instead. Where
# every label is one, each would become a class of its own.
_ODD_NUMBERS = (
    (re.compile(r"[+-]?\d{1,3}([ \u00a0\u202f']\d{3})+([.,]\d+)?"), "numbers with gaps",
     "Write them without gaps (1 234 as 1234)"),
    (re.compile(r"[+-]?\d{1,3}(,\d{3})+\.\d+|[+-]?\d{1,3}(,\d{3}){2,}"),
     "numbers with commas between thousands", "Write them without commas (1,234.5 as 1234.5)"),
    (re.compile(r"[+-]?\d{1,3}(\.\d{3})+,\d+"), "numbers with points between thousands",
     "Write them with only a decimal point (1.234,5 as 1234.5)"),
    (re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?"), "numbers with commas",
     "Write decimals with a point (3,5 as 3.5), thousands without a comma"),
    (re.compile(r"[+-]?\d+([.,]\d+)?\s*[%\u2030]"), "percentages",
     "Write them as numbers (85 % as 0.85)"),
    (re.compile(r"[+-]?[$\u20ac\u00a3\u00a5]\s*\d[\d.,]*|[+-]?\d[\d.,]*\s*[$\u20ac\u00a3\u00a5]"),
     "amounts of money", "Write them as numbers, without the sign of the currency"),
    (re.compile(r"[\u2212\u2013]\d+(\.\d+)?"), "numbers with a long minus sign",
     "Write them with a hyphen (-1)"),
)  # fmt: skip

_DATE = re.compile(r"\d{4}[-/.]\d\d?[-/.]\d\d?([T ].*)?|\d\d?[-/.]\d\d?[-/.](\d\d){1,2}([T ].*)?")

# Typographic marks, and Cyrillic letters that look like Latin ones.
_ALIKE = str.maketrans(
    "\u2018\u2019\u0060\u00b4\u201c\u201d\u2010\u2011\u2012\u2013\u2014\u2212"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425"
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456",
    "''''\"\"------ABEKMHOPCTXaeopcyxi",
)

# Small Greek and Cyrillic letters of which the capitals look like Latin ones.
_CAPITALS_ALIKE = str.maketrans(
    "\u03b1\u03b2\u03b5\u03b6\u03b7\u03b9\u03ba\u03bc\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7"
    "\u0432\u043a\u043c\u043d\u0442",
    "abezhikmnoptyxbkmht",
)

_SEPARATORS = ("#", "|", ";", "\n", "\t", ",", "+", "&", "/")

# These separate labels where one of the parts is a label elsewhere; the others stand in names.
_STRONG = ("#", "|", ";", "\n", "\t")

# Marks around a word that make no other word of it; "C++", "C#" and "A-" are other words.
_AROUND = ".,:;!?'\"()[]{}"

_YES_NO = ({"true", "1"}, {"false", "0"}, {"yes", "true"}, {"no", "false"}, {"yes", "1"},
           {"no", "0"}, {"y", "yes"}, {"n", "no"})  # fmt: skip


def shown(value: Any) -> str:
    """Return a value for a message: quoted, in one line, bounded.

    >>> shown("x" * 100)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...'"
    """
    if isinstance(value, str):
        return repr(value if len(value) <= _WIDEST else value[:_WIDEST] + "...")
    text = repr(value)
    return text if len(text) <= _WIDEST else text[:_WIDEST] + "..."


def is_integer(value: Any) -> bool:
    """Return whether a value is a whole number, or a string that reads as one."""
    if isinstance(value, str):
        return _INTEGER.fullmatch(value) is not None
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether a value is a number, or a string that reads as one."""
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def same_number(one: Any, other: Any) -> bool:
    """Return whether two values are one number, however it is written."""
    return is_number(one) and is_number(other) and exact(one) == exact(other)


def exact(number: Any) -> Decimal:
    """Return a number, or a string that reads as one, without rounding it.

    Identifiers of 17 digits and more are one float with their neighbours.

    >>> exact("1.0") == exact(1), exact("10000000000000001") == exact("10000000000000000")
    (True, False)
    """
    return Decimal(number.strip() if isinstance(number, str) else str(number))


def label_list(value: Any, read: dict[str, Any]) -> Any:
    """Return the list or dict that a label is, or is written as; None for a plain label.

    Args:
        value: A label.
        read: What was read before, by text; added to.

    >>> label_list("['a', 'b']", {}), label_list("[PAD]", {})
    (['a', 'b'], None)
    """
    if isinstance(value, list | tuple | dict):
        return value
    if not isinstance(value, str):
        return None
    text = value.strip()
    called = _CALL.fullmatch(text)
    text = called["inner"].strip() if called else text
    if text[:1] not in ("[", "{", "(") or text[-1:] not in ("]", "}", ")"):
        return None
    if value not in read:
        read[value] = _written_list(text)
    return read[value]


def _written_list(text: str) -> Any:
    if _NUMPY_LIST.fullmatch(text) or _NUMPY_NUMBERS.fullmatch(text):
        return text[1:-1].split()
    if len(text) > _LONGEST_LIST:
        return None
    found: Any = None
    for reader in (json.loads, ast.literal_eval):
        try:
            found = reader(text)
            break
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    if isinstance(found, set | tuple):
        found = list(found)
    if isinstance(found, list) and any(v is ... or isinstance(v, bytes) for v in found):
        return None
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], int | float):
        return [str(found[0])]  # the column is text: its other labels are strings
    return found if isinstance(found, list | dict) else None


def are_bare_lists(values: Collection[str]) -> bool:
    """Return whether all labels stand in brackets, some of them several: [a, b] or {a,b}.

    >>> are_bare_lists(["{a,b}", "{b}"]), are_bare_lists(["[PAD]", "[CLS]"])
    (True, False)
    """
    words = [v.strip() for v in values]
    pairs = {v[:1] + v[-1:] for v in words}
    return len(pairs) == 1 and pairs <= {"[]", "{}"} and any("," in v for v in words)


def number_problem(values: Collection[str]) -> tuple[str, str] | None:
    """Return what keeps labels from being numbers, and what to do; None if they are words.

    >>> number_problem(["3,5", "4"])[0]
    "numbers with commas ('3,5')"
    """
    odd = [v for v in values if not _NUMBER.fullmatch(v.strip())]
    if not odd or len(values) < 2:
        return None
    if all(_is_odd(v) for v in odd):
        for form, name, advice in _ODD_NUMBERS:
            found = [v for v in odd if form.fullmatch(v.strip())]
            if found:
                return f"{name} ({shown(min(found))})", advice
    decimals = [v for v in values if _NUMBER.fullmatch(v) and not _INTEGER.fullmatch(v)]
    if len(decimals) >= 10 and len(odd) <= len(values) / 5:
        few = ", ".join(shown(v) for v in sorted(odd)[:3])
        return f"numbers and {few}", "Correct these, or leave them empty"
    return None


def _is_odd(value: str) -> bool:
    return any(form.fullmatch(value.strip()) for form, _, _ in _ODD_NUMBERS)


def are_dates(values: Collection[str]) -> bool:
    """Return whether all labels are dates."""
    return len(values) > 1 and all(_DATE.fullmatch(v.strip()) for v in values)


def alike_notes(names: Sequence[str]) -> tuple[str, ...]:
    """Return a note for each class that looks like another, or like several in one.

    >>> alike_notes(["good", "Good "])
    ("classes 'good' and 'Good ' differ only by spaces or case",)
    """
    notes = [*_spelled_otherwise(names), *_same_values(names), *_made_of_others(names)]
    if len(notes) > _MOST_NOTES:
        more = f"{len(notes) - _MOST_NOTES:,} more classes look like others"
        notes = [*notes[:_MOST_NOTES], more]
    return tuple(notes)


def near_key(name: str) -> str:
    """Return what two spellings of one word have in common."""
    text = html.unescape(name)
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = "".join(c for c in text.translate(_ALIKE) if not _is_invisible(c))
    return " ".join(re.sub(r"(?<=\w)[_-](?=\w)", " ", text).casefold().split())


def loose_key(name: str) -> str:
    """Return what words have in common that may be one, accents and marks around them apart.

    >>> loose_key("Caf\u00e9.") == loose_key("cafe"), loose_key("C++") == loose_key("C")
    (True, False)
    """
    key = near_key(name)
    return _bare(key).translate(_CAPITALS_ALIKE).strip(_AROUND + string.whitespace) or key


def _as_utf8(name: str) -> str:
    """Return a word whose UTF-8 was read as Windows-1252 as it was; others as they are."""
    try:
        return name.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return name


def _is_invisible(c: str) -> bool:
    return not c.isspace() and (
        unicodedata.category(c) in ("Cf", "Cc") or "\ufe00" <= c <= "\ufe0f"
    )


def _spelled_otherwise(names: Sequence[str]) -> list[str]:
    seen: dict[str, str] = {}
    known = set(names)
    notes = []
    for name in names:
        key = loose_key(name)
        meant = _as_utf8(name)
        if meant != name and meant in known:
            notes.append(difference(name, meant))
        if key in seen and key:
            notes.append(difference(seen[key], name))
        seen.setdefault(key, name)
    return notes


def difference(one: str, other: str) -> str:
    """Return the note on two classes that are spelled alike."""
    if _plain(one) == _plain(other):
        return f"classes {shown(one)} and {shown(other)} differ only by spaces or case"
    what = "punctuation or letters that look alike"
    pair = f"{shown(one)} and {shown(other)}"
    composed = [_plain(unicodedata.normalize("NFC", n)) for n in (one, other)]
    if composed[0] == composed[1]:
        what, pair = "how accents are coded", f"{ascii(one)[:80]} and {ascii(other)[:80]}"
    elif any(map(_is_invisible, one + other)):
        what, pair = "invisible characters", f"{ascii(one)[:80]} and {ascii(other)[:80]}"
    elif _as_utf8(one) == other or _as_utf8(other) == one:
        what = "an encoding that was read as another"
    elif _bare(composed[0]) == _bare(composed[1]):
        what = "accents"
    return f"classes {pair} differ only by {what}: write them alike if they are one class"


def _bare(name: str) -> str:
    decomposed = unicodedata.normalize("NFD", name)
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())


def _same_values(names: Iterable[str]) -> list[str]:
    groups: dict[Decimal, list[str]] = {}
    lower: dict[str, str] = {}
    for name in names:
        lower.setdefault(name.strip().lower(), name)
        if is_number(name.strip()):
            groups.setdefault(exact(name), []).append(name)
    notes = [
        f"classes {', '.join(map(shown, group[:3]))} are one number: write it in one way if they "
        "are one class"
        for group in groups.values()
        if len(group) > 1
    ]
    for words in _YES_NO:
        if words <= set(lower):
            one, other = sorted(lower[w] for w in words)
            notes.append(
                f"classes {shown(one)} and {shown(other)} may be one: write them alike if so"
            )
    return notes


def _made_of_others(names: Sequence[str]) -> list[str]:
    """Return a note on classes that seem to be several labels, with a separator between."""
    for mark in _SEPARATORS:
        parts = {name: [p.strip() for p in name.split(mark)] for name in names}
        count = Counter(p for pieces in parts.values() for p in set(pieces) if p)
        made = [
            name
            for name, pieces in parts.items()
            if len(set(pieces)) == len(pieces) > 1
            and all(pieces)
            and (any if mark in _STRONG else all)(count[p] > 1 for p in pieces)
            and not all(map(is_number, pieces))
        ]
        if made:
            first = made[0]
            pieces = " and ".join(shown(p) for p in parts[first][:3])
            many = f"{len(made)} classes seem" if len(made) > 1 else "one class seems"
            return [
                f"{many} to be several labels in one, such as {shown(first)} "
                f"({pieces}): each combination counts as a class of its own. Choose one label a "
                "row, or make one yes/no task for each"
            ]
    return []
