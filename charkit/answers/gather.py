"""Embeddings to compare, from tasks and from files; what fails is kept apart from what does not."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from charkit.answers.embed import embed_kept
from charkit.config import Progress, no_progress
from charkit.encoders.device import DeviceChoice, DtypeChoice
from charkit.encoders.encoder import Encoder
from charkit.encoders.load import load_encoder
from charkit.errors import CharkitError, DataError, UsageError
from charkit.fisher.distances import labels
from charkit.fisher.embedding import TaskEmbedding, check_comparable
from charkit.fisher.files import load_embedding
from charkit.fisher.options import FisherOptions
from charkit.heads.grid import Source
from charkit.store import Store
from charkit.tasks import Task, load_task
from charkit.tasks.card import SourceOptions
from charkit.tasks.sample import sample_task

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
        device: Where to compute.
        dtype: What to compute in.
        reading: How sources are read.
    """

    n: int = 512
    seed: int = 0
    head_layer: int = -1
    options: FisherOptions = field(default_factory=FisherOptions)
    encoder: str | Encoder = "minilm"
    device: DeviceChoice = "auto"
    dtype: DtypeChoice = "auto"
    reading: SourceOptions = field(default_factory=SourceOptions)

    def __post_init__(self) -> None:
        if self.n < 2:
            raise UsageError(f"n out of range: expected at least 2, got {self.n}.")

    def load(self) -> Encoder:
        """Return the encoder.

        Raises:
            UsageError: There is no such encoder or device.
            MissingError: It is not on this machine.
        """
        if isinstance(self.encoder, Encoder):
            return self.encoder
        offline = self.reading.offline
        found = load_encoder(self.encoder, device=self.device, dtype=self.dtype, offline=offline)
        logger.info("%s: %s; %s", found.name, found.device_reason, found.dtype_reason)
        return found


@dataclass(frozen=True, eq=False)
class Gathered:
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
) -> tuple[list[Gathered], list[Failure]]:
    """Return the embeddings of all sources, and what failed.

    What the store has already is not computed again; each embedding is kept as soon as it is
    finished. The encoder is loaded when the first task needs it.

    Args:
        sources: Tasks, embeddings, files of either.
        sampling: How tasks are embedded.
        store: Where embeddings are kept. Default: the user's cache, or $CHARKIT_CACHE.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        UsageError: There is no such encoder or device.
        MissingError: The encoder is not on this machine.
    """
    work = _Work(sampling, store or Store(), progress)
    found: list[Gathered] = []
    failed: list[Failure] = []
    for source in sources:
        if not _is_embedding(source):
            work.ready()
        try:
            found.append(work.embedded(source))
        except CharkitError as error:
            logger.warning("%s is left out: %s", _words(source), error)
            failed.append(Failure(_words(source), error))
    alike, odd = _comparable(_named_apart(found))
    return alike, [*failed, *odd]


class _Work:
    """Embeds one source after the other under an encoder that is loaded once."""

    def __init__(self, sampling: Sampling, store: Store, progress: Progress) -> None:
        self.sampling = sampling
        self.store = store
        self.progress = progress
        self._encoder: Encoder | None = None

    def ready(self) -> Encoder:
        """Return the encoder, loaded at the first call."""
        if self._encoder is None:
            self._encoder = self.sampling.load()
        return self._encoder

    def embedded(self, source: Comparable) -> Gathered:
        if isinstance(source, TaskEmbedding):
            return self._kept(source, "embedding")
        if _is_embedding(source):
            return self._kept(load_embedding(str(source)), str(source))
        task = source if isinstance(source, Task) else load_task(source, **self._reading())
        n = min(self.sampling.n, len(task.train))
        sample = sample_task(task, n, seed=self.sampling.seed)
        kept = embed_kept(
            sample,
            self.ready(),
            head_layers=(self.sampling.head_layer,),
            options=replace(self.sampling.options, seed=self.sampling.seed),
            store=self.store,
            progress=_staged_by(self.progress, task.name),
        )
        (layer, embedding), *_ = kept.embeddings.items()
        score = kept.heads[layer].score
        return Gathered(task.name, _words(source), task.corpus, embedding, score)

    def _kept(self, embedding: TaskEmbedding, source: str) -> Gathered:
        chosen = embedding
        if self.sampling.options.layers is not None:
            chosen = embedding.select(layers=self.sampling.options.layers)
        name = embedding.name or Path(source).stem
        return Gathered(name, source, name, chosen)

    def _reading(self) -> dict[str, Any]:
        reading = self.sampling.reading
        return {f.name: getattr(reading, f.name) for f in fields(reading)}


def layer_words(layers: Sequence[int]) -> str:
    """Write layers for a line of text.

    >>> layer_words((3, 4, 5)), layer_words((1, 6)), layer_words((2,))
    ('layers 3-5', 'layers 1, 6', 'layer 2')
    """
    if len(layers) == 1:
        return f"layer {layers[0]}"
    if list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"layers {layers[0]}-{layers[-1]}"
    return f"layers {', '.join(map(str, layers))}"


def _is_embedding(source: Comparable) -> bool:
    if isinstance(source, TaskEmbedding):
        return True
    return isinstance(source, str | Path) and Path(source).suffix == ".safetensors"


def _words(source: Comparable) -> str:
    if isinstance(source, Task):
        return source.name
    return str(source) if isinstance(source, str | Path) else type(source).__name__


def _staged_by(progress: Progress, name: str) -> Progress:
    def report(stage: str, done: int, total: int) -> None:
        progress(f"{stage} {name}", done, total)

    return report


def _named_apart(found: Sequence[Gathered]) -> list[Gathered]:
    """Return them with a number after every name that was there before."""
    return [
        replace(one, name=name, embedding=replace(one.embedding, name=name))
        for one, name in zip(found, labels([one.name for one in found]), strict=True)
    ]


def _comparable(found: Sequence[Gathered]) -> tuple[list[Gathered], list[Failure]]:
    """Keep the embeddings that are alike in kind; of several kinds the one with most of them."""

    def kind(one: Gathered) -> tuple[Any, ...]:
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
            logger.warning("%s is left out: %s", one.source, error)
            odd.append(Failure(one.source, DataError(str(error))))
    return alike, odd
