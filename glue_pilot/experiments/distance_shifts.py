"""Shifts built from a task: trained on one side, evaluated on the same side and on another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charkit.errors import DataError
from charkit.tasks import Split, Task, make_subset, nested_order

IntArray = NDArray[np.int64]

FEWEST = 40
"""Fewest held-out texts that an accuracy is counted on: its standard error is then 8 points at
most."""

# Share of the texts that half of the classes keep under a shift of class shares.
_LIGHT = 0.1

SIDES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("length", "length:short", ("length:medium", "length:long")),
    ("length", "length:long", ("length:medium", "length:short")),
    ("cluster", "cluster:3/1", ("cluster:3/2", "cluster:3/3")),
    ("cluster", "cluster:3/2", ("cluster:3/1", "cluster:3/3")),
)
"""Kind of shift, side that is trained on, sides that are evaluated on."""


@dataclass(frozen=True, eq=False)
class Shift:
    """One side of a task to learn from, held-out texts of it, and texts of another side.

    Attributes:
        kind: ``length``, ``cluster`` or ``classes``.
        name: For tables.
        task: The side's training texts; no evaluation part.
        same: Held-out texts of the same side, labelled by the task's codes.
        shifted: Texts of the other side, labelled so too.
    """

    kind: str
    name: str
    task: Task
    same: Split
    shifted: Split


def make_shifts(task: Task, *, n: int, n_eval: int, pool: int, seed: int = 0) -> Iterator[Shift]:
    """Yield the shifts that a classification task allows.

    Args:
        task: Labelled in both parts.
        n: Training texts.
        n_eval: Held-out texts a side, at most.
        pool: Texts of the task that sides are made of, at most.
        seed: Of clusters and draws.
    """
    whole = _pooled(task, pool)
    parts: dict[str, IntArray] = {"all": np.arange(len(whole.train))}
    for _, one, others in SIDES:
        for spec in (one, *others):
            if spec not in parts:
                parts[spec] = _rows(whole, spec, seed)
    for kind, one, others in SIDES:
        for other in others:
            yield from _joined(whole, kind, (one, other), parts, n=n, n_eval=n_eval)
    yield from _shares(whole, n=n, n_eval=n_eval)


def _pooled(task: Task, most: int) -> Task:
    """Return a task whose training part has texts of both parts, at most that many."""
    train, other = task.train, task.evaluation
    assert train.labels is not None
    if other is None or other.labels is None:
        joined = train
    else:
        pairs = None if train.pairs is None else train.pairs + (other.pairs or ())
        labels = np.concatenate([train.labels, other.labels])
        joined = Split(train.texts + other.texts, pairs, labels)
    assert joined.labels is not None
    rows = nested_order(joined.labels, seed=0, kind="classification")[:most]
    return Task(
        name=task.name,
        kind=task.kind,
        train=joined.take(rows),
        class_names=task.class_names,
        corpus=task.corpus,
    )


def _rows(task: Task, spec: str, seed: int) -> IntArray:
    """Return the rows of a side; none where too little is left."""
    try:
        return make_subset(task, spec, seed=seed, fewest=2).train_rows
    except DataError:
        return np.empty(0, np.int64)


def _joined(
    task: Task,
    kind: str,
    specs: tuple[str, str],
    parts: dict[str, IntArray],
    *,
    n: int,
    n_eval: int,
) -> Iterator[Shift]:
    one, other = (_ordered(task, parts[spec]) for spec in specs)
    name = f"{specs[0]} > {specs[1]}"
    yield from _made(task, kind, name, (one[:n], one[n : n + n_eval], other[:n_eval]), n)


def _shares(task: Task, *, n: int, n_eval: int) -> Iterator[Shift]:
    """Yield a shift where half of the classes keep a tenth of the texts."""
    assert task.train.labels is not None
    order = _ordered(task, np.arange(len(task.train)))
    rest = order[n + n_eval :]
    codes = task.train.labels[rest]
    ranked = np.argsort(-np.bincount(codes.astype(np.int64), minlength=task.n_classes))
    light = np.isin(codes, ranked[::2])  # the commonest class among them
    kept = round(min(n_eval, (~light).sum() / (1 - _LIGHT)) * (1 - _LIGHT))
    few = round(kept * _LIGHT / (1 - _LIGHT))
    rows = np.concatenate([rest[~light][:kept], rest[light][:few]])
    parts = (order[:n], order[n : n + n_eval], rows)
    yield from _made(task, "classes", "class shares", parts, n)


def _ordered(task: Task, rows: IntArray) -> IntArray:
    if not len(rows):
        return rows
    assert task.train.labels is not None
    order = nested_order(task.train.labels[rows], seed=0, kind="classification")
    return np.asarray(rows[order], np.int64)


def _made(task: Task, kind: str, name: str, parts: Sequence[IntArray], n: int) -> Iterator[Shift]:
    """Yield a shift unless it lacks texts; classes that the training texts lack are left out."""
    labels = task.train.labels
    assert labels is not None
    known = np.unique(labels[parts[0]]).astype(np.int64)
    train, same, shifted = (rows[np.isin(labels[rows], known)] for rows in parts)
    if len(train) < n or len(known) < 2 or min(len(same), len(shifted)) < FEWEST:
        return
    code = np.full(task.n_classes, -1)
    code[known] = np.arange(len(known))
    splits = [
        Split(part.texts, part.pairs, code[np.asarray(part.labels)])
        for part in map(task.train.take, (train, same, shifted))
    ]
    side = Task(
        name=task.name,
        kind=task.kind,
        train=splits[0],
        class_names=tuple(task.class_names[k] for k in known),
        corpus=task.corpus,
    )
    yield Shift(kind, name, side, splits[1], splits[2])
