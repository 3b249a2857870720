"""The same texts under other labels: coarse classes, halves of the classes, the length.

Text embeddings of such samples are the same by construction; an embedding of the task must tell
them apart, and still know another draw of texts under the same labels again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from charkit.answers.embed import embed_to_store
from charkit.config import Progress, no_progress
from charkit.encoders import Encoder
from charkit.errors import DataError, UnknownNameError
from charkit.fisher import TaskEmbedding
from charkit.store import Store
from charkit.tasks import Split, Task, load_task, nested_order
from glue_pilot.embedding_study import EmbeddingStudy, KnownTask
from glue_pilot.embeddings import options_of

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Relabelled:
    """One sample of texts under one labelling, embedded.

    Attributes:
        base: The task that the texts come from.
        labelling: ``own`` (the task's labels), ``half A`` and ``half B`` (the classes dealt into
            two halves, twice), ``length`` (shorter or longer than the median), or ``as NAME``
            (the labels that another task gives to these texts).
        n: Texts a sample.
        draw: Which draw of texts; two draws share none.
        embeddings: Layer of the head -> the embedding.
        text_fingerprint: Hash of the texts: the same for all labellings of a draw.
    """

    base: str
    labelling: str
    n: int
    draw: int
    embeddings: dict[int, TaskEmbedding]
    text_fingerprint: str


def labellings(task: Task, *, seed: int = 0) -> dict[str, tuple[IntArray, int]]:
    """Return labels for a task's training texts, name -> (codes, number of classes).

    Half A takes a random half of the classes, half B takes half of these and half of the
    others: of the four combinations none is left out, so that knowing one tells little of the
    other. With fewer than four classes there are no halves.

    Raises:
        DataError: The training part has no class labels.
    """
    codes = task.train.labels
    if codes is None or task.kind != "classification":
        raise DataError(f"{task.name} cannot be relabelled: expected class labels, got none.")
    own = np.asarray(codes, np.int64)
    found = {"own": (own, task.n_classes)}
    if task.n_classes >= 4:
        place = np.empty(task.n_classes, np.int64)
        # classes are dealt in turn by size, so that halves have about the same number of texts
        counts = np.bincount(own, minlength=task.n_classes)
        ties = np.random.default_rng(seed).permutation(task.n_classes)
        order = ties[np.argsort(-counts[ties], kind="stable")]
        place[order] = np.arange(task.n_classes) % 4
        found["half A"] = (place[own] // 2, 2)
        found["half B"] = (place[own] % 2, 2)
    sizes = np.array([len(text) for text in task.train.texts])
    found["length"] = ((sizes > np.median(sizes)).astype(np.int64), 2)
    return found


def embed_relabelled(
    study: EmbeddingStudy,
    known: list[KnownTask],
    encoder: Encoder,
    *,
    store: Store,
    progress: Progress = no_progress,
) -> list[Relabelled]:
    """Embed two disjoint draws of each size of every base task's texts under every labelling.

    Raises:
        UnknownNameError: A base task is not among the study's.
    """
    bases = [_base(name, known) for name in study.relabelled]
    planned = [(n, base) for n in study.relabelled_sizes for base in bases]
    found = []
    for done, (n, base) in enumerate(planned):
        progress("labellings", done, len(planned))
        layers = study.heads_at(n, encoder.n_layers)
        assert base.train.labels is not None
        order = nested_order(base.train.labels, seed=0, kind="classification")
        for name, (codes, n_classes) in (labellings(base) | _borrowed(base, known)).items():
            for draw in range(2):
                rows = order[draw * n : (draw + 1) * n]
                task = _relabelled(base, rows, codes, n_classes)
                embeddings = embed_to_store(
                    task,
                    encoder,
                    head_layers=layers,
                    options=options_of(study),
                    store=store,
                    name=f"{base.name}: {name}, draw {draw}",
                )
                found.append(
                    Relabelled(base.name, name, n, draw, embeddings, task.train.text_fingerprint)
                )
    progress("labellings", len(planned), len(planned))
    return found


def _borrowed(base: Task, known: list[KnownTask]) -> dict[str, tuple[IntArray, int]]:
    """Return the labels of other tasks that have every training text of this one."""
    found = {}
    corpus = {k.corpus for k in known if k.task.name == base.name}
    for other in known:
        task = other.task
        if other.corpus not in corpus or task.name == base.name or task.kind != base.kind:
            continue
        labels: dict[str, int] = {}
        for part in (task.train, task.evaluation):
            if part is not None and part.labels is not None:
                labels |= dict(zip(part.texts, part.labels.tolist(), strict=True))
        codes = [labels.get(text, -1) for text in base.train.texts]
        if min(codes) >= 0:
            found[f"as {task.name}"] = (np.array(codes, np.int64), task.n_classes)
    return found


def _base(name: str, known: list[KnownTask]) -> Task:
    tasks = {k.task.name: k.task for k in known}
    if name in tasks:
        return tasks[name]
    if "/" in name:
        return load_task(name)
    raise UnknownNameError("task to relabel", name, tasks)


def _relabelled(base: Task, rows: IntArray, codes: IntArray, n_classes: int) -> Task:
    part = base.train.take(rows)
    train = Split(part.texts, part.pairs, codes[rows])
    names = tuple(f"class {k}" for k in range(n_classes))
    return replace(base, train=train, evaluation=None, class_names=names)
