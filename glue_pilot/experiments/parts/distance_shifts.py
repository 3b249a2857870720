"""Shifts built from a task: trained on one side, evaluated on the same side and on another."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.embedding.heads import heads_to_store
from charkit.encoders import Encoder, encode_to_store
from charkit.errors import DataError, UsageError
from charkit.fisher import Head, TaskEmbedding, pairwise
from charkit.fisher.distances.pairwise import MIN_REFERENCE
from charkit.tasks import Split, Task, make_subset, nested_order
from glue_pilot.experiments.base import Workspace, embedded_samples
from glue_pilot.matrices import FISHER_METRICS, FloatArray, last_embeddings
from glue_pilot.samples import EmbeddingStudy, KnownTask, Sample, sample_states

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


# -- one task's head on another task with the same classes, against their distance ----------------


Classes = tuple[str, ...]


@dataclass(frozen=True)
class HeadScore:
    """A head on some texts.

    Attributes:
        accuracy: Share right.
        confidence: Mean of the largest probability.
        shares: Mean probability of each class, (n_classes,).
    """

    accuracy: float
    confidence: float
    shares: FloatArray


def score_head(head: Head, states: NDArray[Any], labels: NDArray[Any]) -> HeadScore:
    """Return accuracy and confidence of a head on texts.

    Args:
        head: For classes.
        states: Pooled states of the layer that it reads, (n_texts, width).
        labels: Class codes, (n_texts,).
    """
    outputs = states.astype(np.float64) @ head.weights.T + head.bias
    weights = np.exp(outputs - outputs.max(1, keepdims=True))
    odds = weights / weights.sum(1, keepdims=True)
    right = outputs.argmax(1) == labels
    return HeadScore(float(right.mean()), float(odds.max(1).mean()), odds.mean(0))


def same_classes(known: Sequence[KnownTask]) -> dict[Classes, list[KnownTask]]:
    """Group tasks whose classes have the same names; larger ones join with a part of theirs.

    Returns:
        Class names, sorted -> tasks whose codes follow that order; groups of two or more corpora.
    """
    tasks = [k for k in known if k.task.kind == "classification"]
    counted = Counter(tuple(sorted(k.task.class_names)) for k in tasks)
    groups: dict[Classes, list[KnownTask]] = {}
    for classes in [c for c, count in counted.items() if count > 1]:
        held = [k for k in tasks if set(classes) <= set(k.task.class_names)]
        groups[classes] = [replace(k, task=_in_order(k.task, classes)) for k in held]
    return {c: g for c, g in groups.items() if len({k.corpus for k in g}) > 1}


def _in_order(task: Task, classes: Classes) -> Task:
    """Return a task with only these classes, coded in this order."""
    if task.class_names == classes:
        return task
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(classes)
    part = make_subset(task, f"classes:{line.getvalue()}", seed=0, fewest=2)
    code = np.array([classes.index(c) for c in part.class_names])
    assert task.evaluation is not None
    assert part.evaluation_labels is not None
    train, other = task.train.take(part.train_rows), task.evaluation.take(part.evaluation_rows)
    return replace(
        task,
        train=Split(train.texts, train.pairs, code[part.train_labels.astype(np.int64)]),
        evaluation=Split(other.texts, other.pairs, code[part.evaluation_labels.astype(np.int64)]),
        class_names=classes,
    )


def transfer_table(
    known: Sequence[KnownTask], study: EmbeddingStudy, encoder: Encoder, workspace: Workspace
) -> pd.DataFrame:
    """Return one row a pair: from a task whose head is used to another of other texts.

    Columns: ``source``, ``target``, ``corpus`` (of the target), ``classes``, ``own_accuracy``
    (of the target's own head), ``accuracy``, ``loss`` (the first less the second), and the
    distances. Empty where no two tasks have the same classes.

    Raises:
        UsageError: Some have, but there are too few tasks to centre distances by.
    """
    rows: list[dict[str, Any]] = []
    groups = same_classes(known)
    if groups and len(known) < MIN_REFERENCE:
        raise UsageError(
            f"too few tasks for transfer: expected at least {MIN_REFERENCE} tasks, which distances "
            f"are centred by, got {[k.task.name for k in known]}. Name more."
        )
    every = embedded_samples(study, list(known), encoder, workspace) if groups else []
    for classes, group in groups.items():
        samples = embedded_samples(study, group, encoder, workspace)
        distances = _distances(samples, last_embeddings(every), study, encoder, workspace)
        scored = _scored(samples, study, encoder, workspace)
        for a, source in enumerate(samples):
            for b, target in enumerate(samples):
                if source.known.corpus == target.known.corpus:
                    continue
                rows.append(
                    {"source": source.known.task.name, "target": target.known.task.name}
                    | {"corpus": target.known.corpus, "classes": " | ".join(classes)}
                    | {"own_accuracy": scored[b, b].accuracy, "accuracy": scored[a, b].accuracy}
                    | {"loss": scored[b, b].accuracy - scored[a, b].accuracy}
                    | {"confidence": scored[a, a].confidence - scored[a, b].confidence}
                    | {name: float(matrix[a, b]) for name, matrix in distances.items()}
                )
    return pd.DataFrame(rows)


def _distances(
    samples: list[Sample],
    library: list[TaskEmbedding],
    study: EmbeddingStudy,
    encoder: Encoder,
    workspace: Workspace,
) -> dict[str, Any]:
    """Return the distances of a group; all tasks together are what log-ratio centres by."""
    embeddings = last_embeddings(samples)
    found = {}
    for metric in FISHER_METRICS.values():
        matrix = pairwise(embeddings, metric=metric, reference=library)
        found[f"fisher_{metric}"] = matrix.to_numpy()
    means = np.stack(
        [sample_states(s, study, encoder, workspace.store).layer(-1).mean(0) for s in samples]
    ).astype(np.float64)
    centred = means - means.mean(0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    return found | {"text_centred": 1 - unit @ unit.T}


def _scored(
    samples: list[Sample], study: EmbeddingStudy, encoder: Encoder, workspace: Workspace
) -> dict[tuple[int, int], HeadScore]:
    last, found = encoder.n_layers, {}
    layers = study.heads_at(samples[0].n, last)
    for a, source in enumerate(samples):
        fitted = heads_to_store(
            source.task, encoder, store=workspace.store, layers=layers, max_length=study.max_length
        )
        for b, target in enumerate(samples):
            part = target.task.evaluation
            assert part is not None
            assert part.labels is not None
            states = encode_to_store(
                encoder, part, store=workspace.store, max_length=study.max_length
            )
            found[a, b] = score_head(fitted[last].head, states.layer(last), part.labels)
    return found
