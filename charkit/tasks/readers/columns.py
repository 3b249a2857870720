"""Which column is the text, which its pair, which the label: as asked, or the only candidate."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from charkit.config import listing
from charkit.errors import DataError, UsageError
from charkit.tasks.files.table import LABEL_NAMES, TEXT_NAMES, RawTable
from charkit.tasks.readers.looks import shown

PAIR_NAMES = (
    ("text", "text_pair"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
)
"""Names that are taken for a text and its pair when both are there."""

_PAIR_KEYS = tuple((a.replace("_", " "), b.replace("_", " ")) for a, b in PAIR_NAMES)


@dataclass(frozen=True)
class Columns:
    """The chosen columns, and what was guessed in choosing them."""

    text: str
    pair: str | None
    label: str
    notes: tuple[str, ...] = ()


def choose_columns(
    table: RawTable, *, text: str | None, pair: str | None, label: str | None
) -> Columns:
    """Choose the columns of a table.

    What is given is taken. Where no text is given, text (and pair, if that is not given either)
    are guessed from TEXT_NAMES and PAIR_NAMES; where no label is given, from LABEL_NAMES. A guess
    is made only when it is the only one, letter case aside.

    Raises:
        DataError: A column is not there, or several or none could be meant.
        UsageError: The same column is asked for twice.
    """
    notes: tuple[str, ...] = ()
    if label is not None:
        label, notes = _asked(table, "label", label)
    chosen = choose_texts(table, text=text, pair=pair, taken=label)
    notes = (*chosen.notes, *notes)
    if label is None:
        label = _guess_label(table, taken=(chosen.text, chosen.pair))
        notes = (*notes, f"column {label!r} taken as label")
    if label in (chosen.text, chosen.pair):
        raise UsageError(
            f"label and text are the same column {label!r}: expected two columns. "
            "Name the column that holds the classes or numbers as label."
        )
    return replace(chosen, label=label, notes=notes)


def choose_texts(
    table: RawTable, *, text: str | None, pair: str | None, taken: str | None = None
) -> Columns:
    """Choose only the columns of texts, as `choose_columns` does; the label stays empty.

    Args:
        table: The table.
        text: What was asked for; None to take the only candidate.
        pair: The same for second texts.
        taken: A column that is something else.

    Raises:
        DataError: A column is not there, or several or none could be meant.
        UsageError: The same column is asked for twice.
    """
    notes: list[str] = []
    if text is not None:
        text, more = _asked(table, "text", text)
        notes += more
    if pair is not None:
        pair, more = _asked(table, "pair", pair)
        notes += more
    if text is None:
        text, guessed_pair = _guess_text(table, free=pair is None, taken=(pair, taken))
        pair = pair if pair is not None else guessed_pair
        notes.append(f"column {text!r} taken as text")
        if guessed_pair is not None:
            notes.append(f"column {guessed_pair!r} taken as the second text of a pair")
    if text == pair:
        raise UsageError(
            f"text and pair are the same column {text!r}: expected two columns. "
            "Leave out the pair for single texts."
        )
    return Columns(text, pair, "", tuple(notes))


def match_columns(
    table: RawTable, columns: Columns, *, labelled: bool = True
) -> tuple[RawTable, Columns]:
    """Find the columns of the training part in an evaluation table.

    Returns:
        The table with a note where names differ by case or spaces, and its columns; the label is
        empty where there is none.

    Raises:
        DataError: A column of texts is not there, or the label seems to have another name.
    """
    notes, found = [], {}
    for argument, name in (("text", columns.text), ("pair", columns.pair)):
        if name is not None:
            found[argument] = _same_name(table, name)
            if found[argument] is None:
                raise _other_name(table, argument, name)
    if labelled and columns.label:
        found["label"] = _same_name(table, columns.label)
        if found["label"] is None and named_columns(table, LABEL_NAMES, taken=set(found.values())):
            raise _other_name(table, "label", columns.label)
    for argument, name in found.items():
        if name is not None and name != getattr(columns, argument):
            notes.append(f"{table.where}: column {name!r} taken as {argument}")
    own = Columns(found["text"] or "", found.get("pair"), found.get("label") or "")
    return replace(table, notes=(*table.notes, *notes)), own


def same_key(name: str) -> str:
    """Return what two spellings of a column's name have in common: case, spaces, marks apart.

    >>> same_key("\ufeffText ") == same_key("text")
    True
    """
    plain = "".join(c for c in unicodedata.normalize("NFKC", name) if c.isprintable())
    return " ".join(plain.casefold().replace("_", " ").split())


def _same_name(table: RawTable, name: str) -> str | None:
    """Return the column of this name, or the only one that differs by case or spaces."""
    if name in table.columns:
        return name
    near = [n for n in table.columns if same_key(n) == same_key(name)]
    return near[0] if len(near) == 1 else None


def named_columns(table: RawTable, names: Iterable[str], *, taken: set[str | None]) -> list[str]:
    """Return the columns that have one of these names, case and spaces apart."""
    free = {same_key(n): n for n in table.columns if n not in taken}
    return [free[key] for key in map(same_key, names) if key in free]


def _other_name(table: RawTable, argument: str, name: str) -> DataError:
    """The evaluation part has no such column: say which of its columns it could be."""
    known = TEXT_NAMES if argument == "text" else LABEL_NAMES
    if argument == "pair":
        known = tuple(second for _, second in PAIR_NAMES)
    near = named_columns(table, known, taken=set())
    advice = f"Rename {near[0]!r} to {name!r}" if near else f"Call its {argument} column {name!r}"
    without = ", or remove the column to leave its labels out" if argument == "label" else ""
    where = table.where
    if not where.startswith("evaluation"):
        where = f"evaluation: {where}"
    return DataError(
        f"{where} has no column {name!r}, the {argument} column of the training "
        f"part; columns found: {listing(table.columns, most=20)}. {advice}, as in the training part"
        f"{without}.{_separator_hint(table)}"
    )


def _asked(table: RawTable, argument: str, name: Any) -> tuple[str, tuple[str, ...]]:
    """Return the column that was asked for, and a note if its name is written otherwise."""
    found = _same_name(table, column_name(name))
    if found is None:
        raise _absent(table, argument, column_name(name))
    if found == column_name(name):
        return found, ()
    return found, (f"column {found!r} taken as {argument}",)


def column_name(name: Any) -> str:
    """Return a column's name as tables have it: numbers and tuples as Python writes them.

    >>> column_name(0), column_name(("en", "text"))
    ('0', "('en', 'text')")
    """
    if isinstance(name, str):
        return str(name)
    item = getattr(name, "item", None)
    if callable(item) and getattr(name, "ndim", 1) == 0:
        return str(item())
    return str(tuple(map(_plain, name))) if isinstance(name, tuple | list) else str(name)


def _plain(value: Any) -> Any:
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value) if isinstance(value, str) else value


def _guess_text(
    table: RawTable, *, free: bool, taken: tuple[str | None, ...]
) -> tuple[str, str | None]:
    found = {same_key(n): n for n in table.columns if n not in taken}
    pairs = [(found[a], found[b]) for a, b in _PAIR_KEYS if free and a in found and b in found]
    in_pairs = {name for both in pairs for name in both}
    singles = [found[n] for n in TEXT_NAMES if n in found and found[n] not in in_pairs]
    guesses: list[tuple[str, str | None]] = [*pairs, *((name, None) for name in singles)]
    if len(guesses) != 1:
        raise _undecided(table, "text", in_pairs | set(singles), TEXT_NAMES)
    return guesses[0]


def _guess_label(table: RawTable, *, taken: tuple[str | None, ...]) -> str:
    found = {same_key(n): n for n in table.columns if n not in taken}
    guesses = [found[n] for n in LABEL_NAMES if n in found]
    if len(guesses) != 1:
        raise _undecided(table, "label", set(guesses), LABEL_NAMES, none_left=not found)
    return guesses[0]


def _undecided(
    table: RawTable,
    argument: str,
    candidates: set[str],
    known: tuple[str, ...],
    *,
    none_left: bool = False,
) -> DataError:
    if candidates:
        problem = f"several columns could be the {argument} ({listing(sorted(candidates))})"
    else:
        problem = f"no column is known to be the {argument} (expected one of {listing(known)})"
    hint = _separator_hint(table)
    inner = [n for n in table.columns if "." in n and same_key(n.rpartition(".")[2]) in known]
    one = inner[0] if len(inner) == 1 and not candidates else "COLUMN"
    advice = f"Say which one: --{argument} {one}.{hint}"
    if argument == "label" and none_left and not hint:
        advice = "Add a column 'label' with the class of each text."
    return DataError(
        f"{table.where}: {problem}; columns found: {listing(table.columns, most=20)}. {advice}"
    )


def _absent(table: RawTable, argument: str, name: str) -> DataError:
    from difflib import get_close_matches

    near = get_close_matches(name, table.columns, n=1, cutoff=0.6)
    meant = f" Did you mean {shown(near[0])}?" if near else ""
    return DataError(
        f"{table.where} has no column {listing([name])} (asked for as {argument}); columns found: "
        f"{listing(table.columns, most=20)}.{meant or f' Say which one: --{argument} COLUMN.'}"
        f"{_separator_hint(table)}"
    )


def _separator_hint(table: RawTable) -> str:
    if table.hint:
        return f" {table.hint}"
    only = next(iter(table.columns)) if len(table.columns) == 1 else ""
    known = {same_key(name) for name in (*TEXT_NAMES, *LABEL_NAMES, "id")}
    found = [mark for mark in _MARKS.findall(only) if set(map(same_key, only.split(mark))) & known]
    if not found:
        found = [mark for mark in (";", "\t", "|", ",") if mark in only]
    if not found:
        return ""
    mark = found[0]
    name = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}.get(mark, repr(mark))
    if not mark.strip() and mark != "\t":
        name = "spaces"
    return (
        f" The fields seem to be separated by {name}: save them with commas (.csv) or "
        "with tabs (.tsv)."
    )


# What may separate names of columns.
_MARKS = re.compile(r"[^\w\s\"'-]+|\s{2,}|\t|[\x00-\x1f]+")
