"""The same texts under other labels: coarse classes, halves of the classes, the length.

Text embeddings of such samples are the same by construction; an embedding of the task must
separate them, and still recognise another draw of texts under the same labels.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from charkit.answers.embedding.cache import embed_cached
from charkit.config import Progress, no_progress
from charkit.encoders import Encoder
from charkit.errors import DataError, UnknownNameError, UsageError
from charkit.fisher import TaskEmbedding
from charkit.store.store import Store
from charkit.tasks import Split, Task, load_task, nested_order
from charkit.tasks.generated.acceptability import ACCEPTABILITY
from charkit.tasks.generated.core import Dice, Grammar
from charkit.tasks.generated.cues import SENTIMENT, TOPIC
from glue_pilot.samples import EmbeddingStudy, KnownTask
from glue_pilot.stats import FloatArray, separation

IntArray = NDArray[np.int64]

PARTS: tuple[Grammar, ...] = (TOPIC, SENTIMENT, ACCEPTABILITY)
"""Grammars of which every generated text has a sentence."""

ATTRIBUTES = ("topic", "sentiment", "acceptability", "length")
"""All with two classes: three topics against three, and short against long for length."""

_FILLERS = (
    "That is all there is to say about it .",
    "There was nothing else to report at the time .",
    "More will be written about this at another place .",
    "It happened as it usually does .",
)


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
    others: of the four combinations none is left out, so that knowing one shows little of the
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
    bases: Sequence[str],
    known: Sequence[KnownTask],
    encoder: Encoder,
    *,
    store: Store,
    progress: Progress = no_progress,
) -> list[Relabelled]:
    """Embed two disjoint draws of each base task's texts under every labelling.

    Args:
        study: Its sizes and heads; two draws are made, whatever it says.
        bases: Names of tasks, or sources that `load_task` takes.
        known: Where bases and borrowed labels come from.
        encoder: The encoder.
        store: Where embeddings are kept.
        progress: Called as ``progress("labellings", done, total)``.

    Raises:
        UnknownNameError: A base task is not known.
    """
    tasks = [_base(name, known) for name in bases]
    planned = [(n, base) for n in study.sizes for base in tasks]
    found = []
    for done, (n, base) in enumerate(planned):
        progress("labellings", done, len(planned))
        assert base.train.labels is not None
        order = nested_order(base.train.labels, seed=0, kind="classification")
        for name, (codes, n_classes) in (labellings(base) | _borrowed(base, known)).items():
            for draw in range(2):
                task = labelled_by(base, order[draw * n : (draw + 1) * n], codes, n_classes)
                found.append(
                    embed_labelling(study, task, encoder, (base.name, name, n, draw), store=store)
                )
    progress("labellings", len(planned), len(planned))
    return found


def embed_labelling(
    study: EmbeddingStudy,
    task: Task,
    encoder: Encoder,
    named: tuple[str, str, int, int],
    *,
    store: Store,
) -> Relabelled:
    """Embed texts under one labelling; ``named`` are base, labelling, n and draw."""
    base, labelling, n, draw = named
    embeddings = embed_cached(
        task,
        encoder,
        head_layers=study.heads_at(n, encoder.n_layers),
        options=study.options,
        store=store,
        name=f"{base}: {labelling}, draw {draw}",
    ).embeddings
    return Relabelled(base, labelling, n, draw, embeddings, task.train.text_fingerprint)


def _borrowed(base: Task, known: Sequence[KnownTask]) -> dict[str, tuple[IntArray, int]]:
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


def _base(name: str, known: Sequence[KnownTask]) -> Task:
    tasks = {k.task.name: k.task for k in known}
    if name in tasks:
        return tasks[name]
    if "/" in name:
        return load_task(name)
    raise UnknownNameError("task to relabel", name, tasks)


def labelled_by(base: Task, rows: IntArray, codes: IntArray, n_classes: int) -> Task:
    """Return some training texts of a task under another labelling."""
    part = base.train.take(rows)
    train = Split(part.texts, part.pairs, codes[rows])
    names = tuple(f"class {k}" for k in range(n_classes))
    return replace(base, train=train, evaluation=None, class_names=names)


# -- cases ------------------------------------------------------------------------------------


def relabelled_cases(
    matrix: FloatArray, relabelled: Sequence[Relabelled]
) -> Iterator[dict[str, object]]:
    """Yield triples of samples, and whether a distance orders each of them rightly.

    A case is an anchor, the other draw of its texts under the same labels, and other labels;
    ``same_texts``: these are other labels of the anchor's very texts; ``other_texts``: of the
    other draw's. Each is 1 where the first two are nearer, half for ties. ``pair`` is the kind of
    the two labellings.

    Args:
        matrix: Distances between the samples, in their order, (n_samples, n_samples).
        relabelled: From `embed_relabelled`, all of one size.
    """
    places = {(r.base, r.labelling, r.draw): k for k, r in enumerate(relabelled)}
    for (base, labelling, draw), anchor in places.items():
        twin = places[base, labelling, 1 - draw]
        near = matrix[anchor, [twin]]
        for (other_base, other, other_draw), far in places.items():
            if other_base == base and other != labelling and other_draw == draw:
                there = places[base, other, 1 - draw]
                yield {
                    "base": base,
                    "pair": _pair_name(labelling, other),
                    "labellings": " or ".join(sorted((labelling, other))),
                    "same_texts": separation(near, matrix[anchor, [far]]),
                    "other_texts": separation(near, matrix[anchor, [there]]),
                }


def _pair_name(one: str, other: str) -> str:
    if "length" in (one, other):
        return "length"
    halves = one.startswith("half"), other.startswith("half")
    return "half A or B" if all(halves) else "own or borrowed"


# -- generated texts with several attributes --------------------------------------------------


def attributed_texts(
    n: int, *, seed: int, difficulty: float = 0.3
) -> tuple[Task, dict[str, IntArray]]:
    """Return texts and one labelling an attribute; attributes are independent of each other.

    A text has a sentence on a topic, one with a sentiment and one that is good English or not, in
    random order; long texts have two more sentences without information.

    Args:
        n: Texts.
        seed: Of all that is drawn.
        difficulty: Probability that a piece of evidence is weak.

    Returns:
        The task of the first attribute, and attribute -> class codes, (n,).

    Raises:
        UsageError: There are too few texts.
    """
    if n < 8:
        raise UsageError(f"too few texts to label: expected at least 8, got {n}.")
    dice = Dice(seed, zlib.crc32(b"attributes"))
    rows: dict[str, list[int]] = {}
    while len(rows) < n:
        drawn = [grammar.sample(dice, difficulty) for grammar in PARTS]
        long = dice.chance(0.5)
        sentences = dice.several([s.text for s in drawn], len(drawn))
        if long:
            sentences += dice.several(_FILLERS, 2)
        rows.setdefault(" ".join(sentences), [*(s.label for s in drawn), int(long)])
    codes = np.array(list(rows.values()), np.int64)
    labels = dict(zip(ATTRIBUTES, codes.T, strict=True))
    labels["topic"] = labels["topic"] % 2
    task = Task(
        name=f"generated_attributes-seed{seed}",
        kind="classification",
        train=Split(tuple(rows), None, labels[ATTRIBUTES[0]]),
        class_names=("first", "second"),
        source=f"generated attributes, seed {seed}",
    )
    return task, labels
