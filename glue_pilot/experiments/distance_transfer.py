"""One task's head on another task with the same classes, against their distance."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.fitted import heads_to_store
from charkit.encoders import Encoder, encode_to_store
from charkit.errors import UsageError
from charkit.fisher import Head, TaskEmbedding, pairwise
from charkit.fisher.distances import MIN_REFERENCE
from charkit.tasks import Split, Task, make_subset
from glue_pilot.experiments.base import Workspace
from glue_pilot.experiments.common import embedded_samples
from glue_pilot.matrices import FISHER_METRICS, FloatArray, last_embeddings
from glue_pilot.samples import EmbeddingStudy, KnownTask, Sample, sample_states

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
