"""Embeddings to compare, from tasks and from files; what fails is kept apart from what does not."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from charkit.answers.embedding.cache import embed_cached
from charkit.config import Progress, no_progress, staged_by
from charkit.encoders.encoder import Encoder
from charkit.encoders.load import EncoderChoice, loaded
from charkit.errors import CharkitError, DataError, UsageError
from charkit.fisher.distances.pairwise import labels
from charkit.fisher.embedding import TaskEmbedding, check_comparable
from charkit.fisher.files import load_embedding
from charkit.fisher.layout import chosen_layers, head_layer_number
from charkit.fisher.options import FisherOptions
from charkit.heads.sweep.grid import Source
from charkit.store.store import Store
from charkit.tasks import Task, load_task
from charkit.tasks.card import LazyTask
from charkit.tasks.nested import sample_task

logger = logging.getLogger(__name__)

Comparable = Source | TaskEmbedding
"""A source that `charkit.load_task` takes, a task, an embedding, or the file of one."""


@dataclass(frozen=True)
class Sampling:
    """How tasks are embedded that are to be compared.

    Attributes:
        n: Training texts drawn from each; a task with fewer gives all.
        seed: Of the draw, and of drawn labels.
        head_layer: The layer that the head reads, 1 to L, or negative from the end.
        options: Layers, parts, pooling.
        encoder: Name or loaded encoder.
    """

    n: int = 512
    seed: int = 0
    head_layer: int = -1
    options: FisherOptions = field(default_factory=FisherOptions)
    encoder: EncoderChoice = "minilm"

    def __post_init__(self) -> None:
        if self.n < 2:
            raise UsageError(f"n out of range: expected at least 2, got {self.n}.")

    def check(self, encoder: Encoder) -> None:
        """Refuse layers that the encoder does not have, before any work.

        Raises:
            UsageError: A layer is out of range, or all layers lie above the head.
        """
        head = head_layer_number(self.head_layer, n_layers=encoder.n_layers)
        chosen_layers(self.options.layers, [head], n_layers=encoder.n_layers)

    def load(self) -> Encoder:
        """Return the encoder.

        Raises:
            UsageError: There is no such encoder or device.
            MissingError: It is not on this machine.
        """
        found = loaded(self.encoder)
        if found is not self.encoder:
            logger.info("%s: %s; %s", found.name, found.device_reason, found.dtype_reason)
        return found


@dataclass(frozen=True, eq=False)
class TaskRecord:
    """One embedding, and what is known of its task.

    Attributes:
        name: As tables call it; no two are alike.
        source: What was asked for.
        corpus: Tasks with the same corpus share texts.
        embedding: The embedding.
        head_score: Of the head on texts left out of its fit: accuracy, or the share of variance
            explained; NaN where it is not known.
    """

    name: str
    source: str
    corpus: str
    embedding: TaskEmbedding
    head_score: float = float("nan")

    def row(self) -> dict[str, Any]:
        """Return what is known of the task and the sample."""
        return {
            "name": self.name,
            "source": self.source,
            "corpus": self.corpus,
            "kind": self.embedding.kind,
            "classes": self.embedding.n_classes,
            "texts": self.embedding.n_samples,
            "head_score": self.head_score,
            "truncated": self.embedding.frac_truncated,
        }


@dataclass(frozen=True, eq=False)
class Failure:
    """What could not be embedded or compared, and why."""

    source: str
    error: CharkitError

    def row(self) -> dict[str, str]:
        """Return the source, the kind of error and the message."""
        message = str(self.error)
        return {"source": self.source, "error": type(self.error).__name__, "message": message}


def gather(
    sources: Sequence[Comparable],
    *,
    sampling: Sampling,
    store: Store | None = None,
    progress: Progress = no_progress,
) -> tuple[list[TaskRecord], list[Failure]]:
    """Return the embeddings of all sources, and what failed.

    What the store has already is not computed again; each embedding is kept as soon as it is
    finished. The encoder is loaded when the first task needs it.

    Args:
        sources: Tasks, embeddings, files of either.
        sampling: How tasks are embedded.
        store: Where embeddings are kept. Default: the user's cache, or $CHARKIT_CACHE.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        UsageError: There is no such encoder, device or layer.
        MissingError: The encoder is not on this machine.
    """
    store = store or Store()
    encoder: Encoder | None = None
    found: list[TaskRecord] = []
    failed: list[Failure] = []
    for source in sources:
        if encoder is None and not is_embedding(source):
            encoder = sampling.load()
            sampling.check(encoder)
        try:
            if encoder is None or is_embedding(source):
                found.append(read_embedding(source, layers=sampling.options.layers))
            else:
                task = opened(source)
                found.append(
                    embed_one(task, encoder, sampling=sampling, store=store, progress=progress)
                )
        except CharkitError as error:
            logger.info("%s is left out: %s", source_words(source), error)
            failed.append(Failure(source_words(source), error))
    # A name that was there before gets a number.
    named_apart = [
        replace(one, name=name, embedding=replace(one.embedding, name=name))
        for one, name in zip(found, labels([one.name for one in found]), strict=True)
    ]
    alike, odd = _comparable(named_apart)
    return alike, [*failed, *odd]


def opened(source: Source) -> Task:
    """Return the task of a source.

    Raises:
        DataError: The source cannot be used.
    """
    if isinstance(source, Task):
        return source
    return source.task if isinstance(source, LazyTask) else load_task(source)


def embed_one(
    task: Task, encoder: Encoder, *, sampling: Sampling, store: Store, progress: Progress
) -> TaskRecord:
    """Return the embedding of a sample of a task, from the store where it is there.

    Raises:
        UsageError: A layer is out of range, or n is less than the number of classes.
        DataError: The task has no labels, or too few classes.
    """
    sample = sample_task(task, min(sampling.n, len(task.train)), seed=sampling.seed)
    kept = embed_cached(
        sample,
        encoder,
        head_layers=(sampling.head_layer,),
        options=replace(sampling.options, seed=sampling.seed),
        store=store,
        progress=staged_by(progress, task.name),
    )
    (layer, embedding), *_ = kept.embeddings.items()
    source = task.source or task.name
    return TaskRecord(task.name, source, task.corpus, embedding, kept.heads[layer].score)


def read_embedding(source: Comparable, *, layers: Sequence[int] | None) -> TaskRecord:
    """Return an embedding that is there already, cut to the layers asked for.

    Raises:
        MissingError: There is no such file.
        DataError: The file is damaged or something else.
        UsageError: It does not have these layers.
    """
    held = source if isinstance(source, TaskEmbedding) else load_embedding(str(source))
    cut = held if layers is None else held.select(layers=layers)
    words = source_words(source)
    name = held.name or Path(words).stem
    return TaskRecord(name, words, name, cut)


def is_embedding(source: Comparable) -> bool:
    """Tell whether a source is an embedding, or the file of one."""
    if isinstance(source, TaskEmbedding):
        return True
    return isinstance(source, str | Path) and Path(source).suffix == ".safetensors"


def source_words(source: Comparable) -> str:
    """Return what a message calls a source."""
    if isinstance(source, LazyTask):
        source = source.source
    if isinstance(source, Task | TaskEmbedding):
        return source.name
    return str(source) if isinstance(source, str | Path) else type(source).__name__


def format_layers(layers: Sequence[int]) -> str:
    """Write layers for a line of text.

    >>> format_layers((3, 4, 5)), format_layers((1, 6)), format_layers((2,))
    ('layers 3-5', 'layers 1, 6', 'layer 2')
    """
    if len(layers) == 1:
        return f"layer {layers[0]}"
    if list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"layers {layers[0]}-{layers[-1]}"
    return f"layers {', '.join(map(str, layers))}"


def _comparable(found: Sequence[TaskRecord]) -> tuple[list[TaskRecord], list[Failure]]:
    """Keep the embeddings that are alike in kind; of several kinds the one with most of them."""

    def kind(one: TaskRecord) -> tuple[Any, ...]:
        e = one.embedding
        return e.encoder_fingerprint, e.head_layer, e.pooling, e.estimand, e.slices

    if not found:
        return [], []
    common = Counter(kind(one) for one in found).most_common(1)[0][0]
    alike = [one for one in found if kind(one) == common]
    odd = []
    for one in found:
        if kind(one) == common:
            continue
        try:
            check_comparable([alike[0].embedding, one.embedding])
        except UsageError as error:
            logger.info("%s is left out: %s", one.source, error)
            odd.append(Failure(one.source, DataError(str(error))))
    return alike, odd
