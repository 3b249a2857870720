"""What a task must fulfil before anything is computed on it, and what is worth a note."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from charkit.config import TaskKind, listing
from charkit.errors import DataError
from charkit.tasks.labels import MOST_SINGLE
from charkit.tasks.task import LabelArray, Split

# Notes that a refusal repeats: a message has to stay short.
_MOST = 3

SMALLEST_SPREAD = 1e-6
"""Smaller differences between targets drown in single precision, which predictions have."""


_LEFT_OUT = ("no label", "without a label", "without one", "left out", "labelled differently")


@contextmanager
def explained_by(notes: Iterable[str]) -> Iterator[None]:
    """Add to a refusal what was left out before: labels that are few may have been many.

    Args:
        notes: What was guessed, dropped or counted while reading.
    """
    try:
        yield
    except DataError as error:
        found = [note for note in notes if any(part in note for part in _LEFT_OUT)]
        if not found:
            raise
        raise DataError(f"{error} Left out while reading: {'; '.join(found[:_MOST])}.") from error


def row_keys(split: Split) -> list[str | tuple[str, str]]:
    """Return what makes a row a duplicate of another: its text, or both texts of a pair."""
    if split.pairs is None:
        return list(split.texts)
    return list(zip(split.texts, split.pairs, strict=True))


def without_repeats(split: Split) -> Split:
    """Return the rows without those that repeat an earlier text and label."""
    labels = [None] * len(split) if split.labels is None else split.labels.tolist()
    first: dict[object, int] = {}
    for row, key in enumerate(zip(row_keys(split), labels, strict=True)):
        first.setdefault(key, row)
    return split if len(first) == len(split) else split.take(sorted(first.values()))


def check_labels(
    labels: LabelArray, kind: TaskKind, class_names: Sequence[str], *, where: str
) -> None:
    """Refuse labels that nothing can be learnt from.

    Raises:
        DataError: One class only, another class in every row, a constant target.
    """
    if kind == "regression":
        if len(np.unique(labels)) < 2:
            value = f"{labels[0]:g}" if len(labels) else "none"
            raise DataError(
                f"{where}: all {len(labels)} regression targets are {value}: expected targets "
                "that differ. Check the label column."
            )
        if np.std(labels) < SMALLEST_SPREAD * max(1.0, np.abs(labels).max()):
            raise DataError(
                f"{where}: the regression targets hardly differ: expected a standard deviation of "
                f"at least {SMALLEST_SPREAD:g} (and as much of the largest), got "
                f"{np.std(labels):.2g}. Write them in other units, or subtract their mean."
            )
        return
    _check_classes(labels, class_names, where=where)


def _check_classes(labels: LabelArray, class_names: Sequence[str], *, where: str) -> None:
    if len(class_names) < 2:
        name = class_names[0] if class_names else ""
        raise DataError(
            f"{where}: only one class, {listing([name])} ({len(labels)} rows): expected at least "
            "two. Check the label column, or add rows of another class."
        )
    if len(labels) == len(class_names) > MOST_SINGLE:
        raise DataError(
            f"{where}: another label in each of {len(labels):,} rows: expected classes, most of "
            "them in several rows. Check the label column; for amounts give --kind regression."
        )


def rare_class_notes(
    labels: LabelArray, kind: TaskKind, class_names: Sequence[str], *, where: str
) -> tuple[str, ...]:
    """Return what is to be noted of classes that have hardly a training row.

    Args:
        labels: Class codes of the training part, (n_train,).
        kind: What the labels are.
        class_names: Names by code.
        where: What messages call the part.
    """
    if kind == "regression":
        return ()
    notes = []
    if len(labels) < 2 * len(class_names):
        notes.append(
            f"{where}: {len(labels):,} training rows for {len(class_names):,} classes, fewer than "
            "two a class: scores will be low and vary much from draw to draw. Check that the "
            "label column holds classes"
        )
    counts = np.bincount(labels.astype(np.int64), minlength=len(class_names))
    rare = [class_names[c] for c in np.flatnonzero(counts == 1).tolist()]
    if rare:
        notes.append(
            f"{where}: {len(rare):,} of {len(class_names):,} classes have a single training row "
            f"(kept): {listing(rare)}"
        )
    return tuple(notes)


def untested_classes_note(
    labels: LabelArray, kind: TaskKind, class_names: Sequence[str]
) -> tuple[str, ...]:
    """Return the note that counts classes without an evaluation row; nothing where there is none.

    Args:
        labels: Labels of the evaluation part, (n_eval,).
        kind: What the labels are.
        class_names: Names by code of the classes in training.
    """
    if kind == "regression":
        return ()
    counts = np.bincount(labels.astype(np.int64), minlength=len(class_names))
    untested = [class_names[c] for c in np.flatnonzero(counts[: len(class_names)] == 0).tolist()]
    if not untested:
        return ()
    return (
        f"{len(untested):,} of {len(class_names):,} classes have no evaluation row, so scores do "
        f"not cover them: {listing(untested)}",
    )


def check_pairs(split: Split, *, where: str) -> None:
    """Refuse pairs whose two texts are the same in every row."""
    if split.pairs is not None and split.texts == split.pairs:
        raise DataError(
            f"{where}: text and pair are equal in all {len(split)} rows: expected two different "
            "columns. Name another with --pair, or give only --text COLUMN for single texts."
        )


def duplicate_notes(train: Split, evaluation: Split | None) -> tuple[str, ...]:
    """Count duplicated rows within training, across the parts, and with conflicting labels."""
    notes = []
    keys = row_keys(train)
    seen: dict[object, set[float]] = {}
    for key, label in zip(keys, _values(train), strict=True):
        seen.setdefault(key, set()).add(label)
    repeated = len(keys) - len(seen)
    if repeated:
        notes.append(f"{repeated} of {len(keys)} training rows repeat an earlier text")
    conflicts = sum(len(labels) > 1 for labels in seen.values())
    if conflicts:
        notes.append(f"{conflicts} training texts occur with different labels")
    if evaluation is not None:
        shared = sum(key in seen for key in row_keys(evaluation))
        if shared:
            share = 100 * shared / len(evaluation)
            notes.append(
                f"{shared} of {len(evaluation)} evaluation rows ({share:.1f} %) have the same "
                "text as a training row: scores may be too high"
            )
    return tuple(notes)


def _values(split: Split) -> list[float]:
    return [0.0] * len(split) if split.labels is None else split.labels.tolist()


# What UTF-8 that is read as Windows-1252 makes of one letter, or of a quotation mark.
_MOJIBAKE = re.compile(
    "[\u00c2\u00c3][\u0080-\u00bf\u0192\u02c6\u0152-\u0178\u2013-\u203a\u20ac\u2122]|\u00e2\u20ac[^\\w\\s]"
)


# Controls that no text has; U+0085 is a line break of old mainframes.
_CONTROLS = re.compile("[\u0080-\u0084\u0086-\u009f]")


# Texts beyond ASCII that are searched; of more, every second, third, ...
_MOST_LOOKED_AT = 20_000


def text_notes(split: Split, *, where: str) -> tuple[str, ...]:
    """Return notes on texts that lost letters, or were read in another encoding, before."""
    every = [text for text in (*split.texts, *(split.pairs or ())) if not text.isascii()]
    step = 1 + len(every) // _MOST_LOOKED_AT
    texts = every[::step]
    least = "" if step == 1 else "at least "
    notes = []
    n_lost = sum("\ufffd" in text for text in texts)
    if n_lost:
        notes.append(
            f"{where}: {least}{n_lost:,} texts hold U+FFFD: letters were lost when they were "
            "converted"
        )
    n_controls = sum(_CONTROLS.search(text) is not None for text in texts)
    if n_controls:
        notes.append(
            f"{where}: {least}{n_controls:,} texts hold control characters in the place of marks "
            "and dashes, as Windows-1252 read as Latin-1 does: convert the file again, from CP1252"
        )
    odd = [found[0] for found in map(_MOJIBAKE.search, texts) if found]
    if len(odd) > max(1, 0.01 * len(texts)):
        notes.append(
            f"{where}: {least}{len(odd):,} texts look like UTF-8 that was read as Windows-1252 (as "
            f"{odd[0]!r}): write them again in UTF-8"
        )
    return tuple(notes)
