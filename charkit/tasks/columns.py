"""Which column is the text, which its pair, which the label: as asked, or the only candidate."""

from __future__ import annotations

from dataclasses import dataclass, replace

from charkit.config import listing
from charkit.errors import DataError, UsageError
from charkit.tasks.tables import RawTable

TEXT_NAMES = ("text", "sentence", "review", "body", "content", "tweet", "question", "title")
"""Names that are taken for the text when exactly one of them is there."""

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

LABEL_NAMES = ("label", "labels", "target", "class", "category", "stars")
"""Names that are taken for the label when exactly one of them is there."""


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
    if label is not None and label not in table.columns:
        raise _absent(table, "label", label)
    chosen = choose_texts(table, text=text, pair=pair, taken=label)
    notes = chosen.notes
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
    """Choose the columns of texts alone, as `choose_columns` does; the label stays empty.

    Args:
        table: The table.
        text: What was asked for; None to take the only candidate.
        pair: The same for second texts.
        taken: A column that is something else.

    Raises:
        DataError: A column is not there, or several or none could be meant.
        UsageError: The same column is asked for twice.
    """
    for argument, name in (("text", text), ("pair", pair)):
        if name is not None and name not in table.columns:
            raise _absent(table, argument, name)
    notes = []
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


def require_texts(table: RawTable, columns: Columns) -> None:
    """Refuse an evaluation table that lacks the columns of the texts.

    Raises:
        DataError: A column is not there.
    """
    for argument, name in (("text", columns.text), ("pair", columns.pair)):
        if name is not None and name not in table.columns:
            raise _absent(table, argument, name)


def _guess_text(
    table: RawTable, *, free: bool, taken: tuple[str | None, ...]
) -> tuple[str, str | None]:
    found = {n.lower(): n for n in table.columns if n not in taken}
    pairs = [(found[a], found[b]) for a, b in PAIR_NAMES if free and a in found and b in found]
    in_pairs = {name for both in pairs for name in both}
    singles = [found[n] for n in TEXT_NAMES if n in found and found[n] not in in_pairs]
    guesses: list[tuple[str, str | None]] = [*pairs, *((name, None) for name in singles)]
    if len(guesses) != 1:
        raise _undecided(table, "text", in_pairs | set(singles), TEXT_NAMES)
    return guesses[0]


def _guess_label(table: RawTable, *, taken: tuple[str | None, ...]) -> str:
    found = {n.lower(): n for n in table.columns if n not in taken}
    guesses = [found[n] for n in LABEL_NAMES if n in found]
    if len(guesses) != 1:
        raise _undecided(table, "label", set(guesses), LABEL_NAMES)
    return guesses[0]


def _undecided(
    table: RawTable, argument: str, candidates: set[str], known: tuple[str, ...]
) -> DataError:
    if candidates:
        problem = f"several columns could be the {argument} ({listing(sorted(candidates))})"
    else:
        problem = f"no column is known to be the {argument} (expected one of {listing(known)})"
    return DataError(
        f"{table.where}: {problem}; columns found: {listing(table.columns, most=20)}. "
        f"Say which one: --{argument} COLUMN.{_separator_hint(table)}"
    )


def _absent(table: RawTable, argument: str, name: str) -> DataError:
    from difflib import get_close_matches

    near = get_close_matches(name, table.columns, n=1, cutoff=0.6)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    return DataError(
        f"{table.where} has no column {listing([name])} (asked for as {argument}); columns found: "
        f"{listing(table.columns, most=20)}.{meant or f' Say which one: --{argument} COLUMN.'}"
        f"{_separator_hint(table)}"
    )


def _separator_hint(table: RawTable) -> str:
    if table.hint:
        return f" {table.hint}"
    only = next(iter(table.columns)) if len(table.columns) == 1 else ""
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (",", "commas")):
        if mark in only:
            return (
                f" The fields seem to be separated by {name}: save them with commas (.csv) or "
                "with tabs (.tsv)."
            )
    return ""
