"""What a task must fulfil before anything is computed on it, and how usable rows become one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from charkit.config import TaskKind, listing
from charkit.errors import DataError, UsageError
from charkit.tasks.nested import nested_order
from charkit.tasks.readers.hub import GlueSpec, glue_order
from charkit.tasks.readers.labels import (
    MOST_SINGLE,
    Meaning,
    encode_labels,
    read_meaning,
    with_unseen,
)
from charkit.tasks.readers.looks import shown
from charkit.tasks.readers.rows import OnBadRows, Rows
from charkit.tasks.task import LabelArray, Metric, Split, Task

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


# What pandas, databases and spreadsheets write for a text that is missing or cannot be shown.
_NO_TEXT = frozenset(("nan", "null", "none", "n/a", "#n/a", "<na>", "#name?", "#value!", "#ref!"))

# Texts beyond ASCII that are searched; of more, every second, third, ...
_MOST_LOOKED_AT = 20_000


def text_notes(split: Split, *, where: str) -> tuple[str, ...]:
    """Return notes on texts that lost letters, or were read in another encoding, before.

    So are texts that a program has written in the place of a missing one: "nan" by pandas.
    """
    gone = Counter(text for text in split.texts if len(text) < 8 and text.lower() in _NO_TEXT)
    every = [text for text in (*split.texts, *(split.pairs or ())) if not text.isascii()]
    step = 1 + len(every) // _MOST_LOOKED_AT
    texts = every[::step]
    least = "" if step == 1 else "at least "
    notes = []
    if gone:
        word, n_rows = gone.most_common(1)[0][0], gone.total()
        rows = "1 text is" if n_rows == 1 else f"{n_rows:,} texts are"
        notes.append(
            f"{where}: {rows} {shown(word)} or the like, as programs write a missing text: kept. "
            "Leave such rows out, or leave the text empty"
        )
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


@dataclass(frozen=True)
class Request:
    """What was asked for, apart from the rows.

    Attributes:
        name: The task's name.
        source: The source as it was given.
        column: The name of the label column, for messages.
        kind: The kind, or None to decide it from the labels.
        eval_frac: Share of rows to split off where no evaluation part is given.
        seed: Seed of that split.
        on_bad_rows: What to do with targets that are not finite numbers.
        corpus: Tasks with the same corpus share texts.
        glue: What GLUE fixes about the task, where it is one of GLUE's.
        notes: What was guessed so far.
    """

    name: str
    source: str
    column: str
    kind: TaskKind | None = None
    eval_frac: float = 0.2
    seed: int = 0
    on_bad_rows: OnBadRows = "refuse"
    corpus: str = ""
    glue: GlueSpec | None = None
    notes: tuple[str, ...] = ()


def assemble(train: Rows, evaluation: Rows | None, request: Request) -> Task:
    """Build a task from the rows of its parts.

    Args:
        train: The training rows, labelled.
        evaluation: The evaluation rows; None to split them off the training rows.
        request: Everything else.

    Raises:
        DataError: The rows make no task; the message says why and what to do.
    """
    meaning = read_meaning(train, request.column, kind=request.kind)
    if request.glue is not None and meaning.kind == "classification":
        names = glue_order(request.glue, meaning.class_names)
        meaning = replace(meaning, class_names=names)
    notes = [*request.notes, *train.notes, *meaning.notes]
    part, where = _split_of(train, request, meaning, notes), train.where
    check_pairs(part, where=where)
    assert part.labels is not None
    check_labels(part.labels, meaning.kind, meaning.class_names, where=where)
    unseen: tuple[str, ...] = ()
    if evaluation is None:
        rows = split_rows(part, kind=meaning.kind, eval_frac=request.eval_frac, seed=request.seed)
        notes.append(
            f"no evaluation part given: {len(rows[1])} of {len(part)} rows split off "
            f"(stratified, seed {request.seed})"
        )
        part, held_out = part.take(rows[0]), part.take(rows[1])
        where = f"{where} (training part)"
    else:
        notes.extend(evaluation.notes)
        own, unseen, more = with_unseen(evaluation, request.column, meaning)
        notes.extend(more)
        held_out = _split_of(evaluation, request, own, notes)
        if evaluation.labels is None:
            notes.append(f"{evaluation.where}: no labels; kept as an unlabelled evaluation part")
    assert part.labels is not None
    notes.extend(rare_class_notes(part.labels, meaning.kind, meaning.class_names, where=where))
    if held_out.labels is not None:
        notes.extend(untested_classes_note(held_out.labels, meaning.kind, meaning.class_names))
    notes.extend(text_notes(part, where=where))
    notes.extend(duplicate_notes(part, held_out))
    return Task(
        name=request.name,
        kind=meaning.kind,
        train=part,
        evaluation=held_out,
        class_names=meaning.class_names,
        corpus=request.corpus or request.name,
        metric="accuracy" if unseen else _metric(request.glue, meaning),
        source=request.source,
        notes=tuple(dict.fromkeys(notes)),
        unseen_names=unseen,
    )


def _metric(glue: GlueSpec | None, meaning: Meaning) -> Metric:
    if meaning.kind == "regression":
        return "pearson_spearman"
    if glue is not None and len(meaning.class_names) == max(len(glue.class_names), 2):
        return glue.metric if glue.class_names else "accuracy"
    return "accuracy"


def _split_of(rows: Rows, request: Request, meaning: Meaning, notes: list[str]) -> Split:
    if rows.labels is None:
        return Split(rows.texts, rows.pairs)
    rows, labels, more = encode_labels(
        rows, request.column, meaning, on_bad_rows=request.on_bad_rows
    )
    notes.extend(more)
    return Split(rows.texts, rows.pairs, labels)


def split_rows(
    part: Split, *, kind: TaskKind, eval_frac: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into a training and an evaluation part, stratified over the labels.

    Rows with the same text (and pair) stay on one side. Every class keeps two distinct texts in
    training, or what it has; where no row could be split off then, one.

    Args:
        part: The labelled rows.
        kind: What the labels are.
        eval_frac: The share of distinct texts that goes to evaluation, in (0, 1).
        seed: Seed of the split.

    Returns:
        Row indices of the two parts, each in ascending order.

    Raises:
        UsageError: eval_frac is not between 0 and 1.
        DataError: There are too few distinct texts.
    """
    if not 0 < eval_frac < 1:
        raise UsageError(f"eval_frac: expected a share between 0 and 1, got {eval_frac}.")
    assert part.labels is not None
    group_of: dict[object, int] = {}
    groups = np.array([group_of.setdefault(k, len(group_of)) for k in row_keys(part)])
    _, first = np.unique(groups, return_index=True)
    labels = part.labels[first]
    n_eval = max(1, round(len(first) * eval_frac))
    n_train = len(first) - n_eval
    if n_train < 2:
        advice = "Add rows or give --eval."
        if len(np.unique(part.labels)) > len(first):
            advice = "Text and label seem to be exchanged: name the columns the other way round."
        raise DataError(
            f"{len(part)} rows with {len(first)} different texts are too few to split off "
            f"{eval_frac:.0%} for evaluation: expected at least 3. {advice}"
        )
    in_train = np.zeros(len(first), dtype=bool)
    in_train[nested_order(labels, seed=seed, kind=kind)[:n_train]] = True
    if kind == "classification":
        codes = part.labels.astype(np.int64)
        drawn = in_train
        for fewest in (2, 1):
            in_train = _keep(drawn, groups, codes, fewest)
            if not in_train.all():
                break
    if in_train.all():
        raise DataError(
            f"no row can be split off for evaluation: every class needs its {len(first)} rows "
            "for training. Add rows or give --eval."
        )
    mask = in_train[groups]
    return np.flatnonzero(mask), np.flatnonzero(~mask)


def _keep(
    drawn: NDArray[np.bool_], groups: NDArray[np.int64], codes: NDArray[np.int64], fewest: int
) -> NDArray[np.bool_]:
    """Return which texts are for training once every class has this many there, if it can.

    Args:
        drawn: Which distinct texts were drawn for training.
        groups: The distinct text of every row, (n_rows,).
        codes: The class of every row: one text may have several, (n_rows,).
        fewest: Distinct texts that a class keeps.
    """
    pairs = np.unique(np.stack([codes, groups], 1), axis=0)
    kept = drawn.copy()
    counts = np.bincount(pairs[kept[pairs[:, 1]], 0], minlength=int(codes.max()) + 1)
    for cls in np.flatnonzero(counts < fewest):
        own = pairs[pairs[:, 0] == cls, 1]
        missing = max(0, fewest - int(kept[own].sum()))
        kept[own[~kept[own]][:missing]] = True
    return kept
