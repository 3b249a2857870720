"""From usable rows to a checked Task: meaning of the labels, split, counts, notes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from charkit.config import TaskKind
from charkit.errors import DataError, UsageError
from charkit.tasks.checks import (
    check_labels,
    check_pairs,
    duplicate_notes,
    rare_class_notes,
    row_keys,
    text_notes,
    untested_classes_note,
)
from charkit.tasks.hub import GlueSpec, glue_order
from charkit.tasks.labels import Meaning, encode_labels, read_meaning, with_unseen
from charkit.tasks.nested import nested_order
from charkit.tasks.rows import OnBadRows, Rows
from charkit.tasks.task import Metric, Split, Task


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
        raise DataError(
            f"{len(part)} rows with {len(first)} different texts are too few to split off "
            f"{eval_frac:.0%} for evaluation: expected at least 3. Add rows or give --eval."
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
