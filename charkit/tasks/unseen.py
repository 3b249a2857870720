"""Classes that evaluation rows have and training rows lack: kept, counted as errors, listed once.

Such rows are what a model meets in use. No head can predict their class, so every one of them is
an error. But a name that differs from a class of training only in how it is written, and an
evaluation part without any class of training, are mistakes in the files: they are refused.
"""

from __future__ import annotations

from dataclasses import replace

from charkit.config import listing
from charkit.errors import DataError
from charkit.tasks.labels import Meaning, names_of_labels
from charkit.tasks.looks import is_number, near_key
from charkit.tasks.rows import Rows


def with_unseen(
    rows: Rows, column: str, meaning: Meaning
) -> tuple[Meaning, tuple[str, ...], tuple[str, ...]]:
    """Return a meaning that names the evaluation part's own classes after those of training.

    Args:
        rows: The evaluation rows.
        column: Name of the label column, for messages.
        meaning: What the labels mean in training.

    Returns:
        The meaning to encode the evaluation rows with, the names of the classes that only they
        have, and notes.

    Raises:
        DataError: Labels are hidden, a class is written in two ways, or no evaluation row has a
            class of training.
    """
    if meaning.kind == "regression" or rows.labels is None:
        return meaning, (), ()
    names = names_of_labels(rows, column)
    known = set(meaning.class_names)
    unseen = sorted({name for name in names if name not in known})
    if not unseen:
        return meaning, (), ()
    _check_unseen(rows, column, meaning, unseen)
    n_rows = sum(name not in known for name in names)
    if n_rows == len(names):
        raise DataError(
            f"{rows.where}: none of {len(names):,} evaluation rows has a class of the training "
            f"part in column {column!r}: expected some of {listing(meaning.class_names)}, got "
            f"only {listing(unseen)}. Write the labels of both parts alike, or give another "
            "evaluation part."
        )
    note = (
        f"{rows.where}: {n_rows:,} of {len(names):,} evaluation rows ({n_rows / len(names):.1%}) "
        f"are of {len(unseen):,} classes that training lacks; they are kept and count as errors: "
        f"{listing(unseen)}"
    )
    own = replace(meaning, class_names=(*meaning.class_names, *unseen))
    return own, tuple(unseen), (note,)


def _check_unseen(rows: Rows, column: str, meaning: Meaning, unseen: list[str]) -> None:
    """Refuse marks of hidden labels, and names that are classes of training written otherwise."""
    where = f"{rows.where}: {len(unseen)} classes in column {column!r} occur only in the evaluation"
    if "-1" in unseen:
        raise DataError(
            f"{where} part and not in training: {listing(unseen)}. -1 marks hidden labels: use a "
            "labelled file for evaluation."
        )
    spelled = {_key(name): name for name in meaning.class_names}
    twins = [(name, spelled[_key(name)]) for name in unseen if _key(name) in spelled]
    if twins:
        one, other = twins[0]
        raise DataError(
            f"{where} part: {listing(name for name, _ in twins)}, but training has the same in "
            f"other letters, as {listing([other])} for {listing([one])}. Write each class in one "
            "way in both parts."
        )


def _key(name: str) -> str:
    """Return what all spellings of a class share; numbers are compared by value.

    >>> _key(" Very  Good") == _key("very good"), _key("1.0") == _key("1")
    (True, True)
    """
    key = near_key(name)
    return repr(float(key)) if is_number(key) else key
