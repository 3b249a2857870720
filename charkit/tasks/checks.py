"""What a task must fulfil before anything is computed on it, and what is worth telling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from charkit.config import TaskKind
from charkit.errors import DataError
from charkit.tasks.task import LabelArray, Split

SMALLEST_SPREAD = 1e-6
"""Smaller differences between targets drown in single precision, which predictions have."""


def row_keys(split: Split) -> list[str | tuple[str, str]]:
    """Return what makes a row a duplicate of another: its text, or both texts of a pair."""
    if split.pairs is None:
        return list(split.texts)
    return list(zip(split.texts, split.pairs, strict=True))


def check_labels(
    labels: LabelArray, kind: TaskKind, class_names: Sequence[str], *, where: str
) -> None:
    """Refuse labels that nothing can be learnt from.

    Raises:
        DataError: One class only, too few rows for the classes, a class with a single row, a
            constant target.
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
    counts = np.bincount(labels.astype(np.int64), minlength=len(class_names))
    if len(class_names) < 2:
        name = class_names[0] if class_names else ""
        raise DataError(
            f"{where}: only one class, {name!r} ({len(labels)} rows): expected at least two. "
            "Check the label column, or add rows of another class."
        )
    if len(labels) < 2 * len(class_names):
        raise DataError(
            f"{where}: {len(labels)} rows for {len(class_names)} classes: expected at least two "
            "rows a class. Check that the label column holds classes; for amounts say "
            "--kind regression."
        )
    rare = [class_names[c] for c in np.flatnonzero(counts < 2).tolist()]
    if rare:
        shown = ", ".join(repr(n) for n in rare[:5]) + (", ..." if len(rare) > 5 else "")
        raise DataError(
            f"{where}: {len(rare)} of {len(class_names)} classes have a single training row: "
            f"{shown}; expected at least two. Collect more rows, merge these classes with "
            "others, or remove the rows."
        )


def check_pairs(split: Split, *, where: str) -> None:
    """Refuse pairs whose two texts are the same in every row."""
    if split.pairs is not None and split.texts == split.pairs:
        raise DataError(
            f"{where}: text and pair are equal in all {len(split)} rows: expected two different "
            "columns. Name the right one with --pair, or leave it out."
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
