"""Which known tasks are like mine? The shipped library's tasks by their distance to a new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from charkit.answers.gather import (
    Gathered,
    Sampling,
    embed_one,
    is_embedding,
    opened,
    read_embedding,
)
from charkit.answers.library import Library, load_library, shipped_library, shipped_names
from charkit.answers.ranking import NearestAnswer, rank_library
from charkit.config import Progress, no_progress
from charkit.encoders.load import EncoderChoice
from charkit.errors import MissingError, UsageError
from charkit.fisher.distances import check_metric
from charkit.fisher.embedding import TaskEmbedding
from charkit.fisher.layout import head_layer_number
from charkit.fisher.options import FisherOptions
from charkit.heads.grid import Source
from charkit.store import Store


def nearest_tasks(
    task: Source | TaskEmbedding,
    *,
    metric: str = "log_ratio",
    layers: Sequence[int] | None = None,
    head_layer: int = -1,
    n: int | None = None,
    seed: int = 0,
    library: str | Path | Library | None = None,
    encoder: EncoderChoice = "minilm",
    store: Store | None = None,
    progress: Progress = no_progress,
) -> NearestAnswer:
    """Embed a task and find the known tasks that lean on the same weights.

    Args:
        task: A source that `charkit.load_task` takes, a task, an embedding or the file of one.
        metric: One of `charkit.fisher.DISTANCES`.
        layers: Whose weights, 1 to L. Default: those that the library has.
        head_layer: The layer that the head reads, 1 to L, or negative from the end.
        n: Training texts. Default: the library's largest size that the task has texts for.
        seed: Of the draw.
        library: Another library than the one shipped for the encoder, or its path.
        encoder: Name or loaded encoder.
        store: Where embeddings are kept. Default: the user's cache, or $CHARKIT_CACHE.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        UsageError: An argument is not legal, or the library is another encoder's.
        DataError: The source or the library cannot be used.
        MissingError: There is no library for the encoder, or something else is missing.
    """
    sampling = Sampling(
        seed=seed,
        head_layer=head_layer,
        options=FisherOptions(layers=None if layers is None else tuple(layers)),
        encoder=encoder,
    )
    return nearest(
        task,
        n=n,
        sampling=sampling,
        metric=metric,
        library=library,
        store=store,
        progress=progress,
    )


def nearest(
    task: Source | TaskEmbedding,
    *,
    n: int | None,
    sampling: Sampling,
    metric: str = "log_ratio",
    library: str | Path | Library | None = None,
    store: Store | None = None,
    progress: Progress = no_progress,
) -> NearestAnswer:
    """Do what `nearest_tasks` does, with the settings of embedding in one object."""
    check_metric(metric)
    if isinstance(library, str | Path):
        library = load_library(library)
    if is_embedding(task):
        gathered = read_embedding(task, layers=sampling.options.layers)
        library = _fitting(library, gathered.embedding.encoder, _fingerprint(gathered))
    else:
        encoder = sampling.load()
        library = _fitting(library, encoder.name, encoder.fingerprint)
        sampling.check(encoder)
        head_layer = head_layer_number(sampling.head_layer, n_layers=encoder.n_layers)
        whole = opened(task)
        fitted = replace(
            sampling,
            n=n or _size_for(library, len(whole.train)),
            head_layer=head_layer,
            options=library_options(library, head_layer, sampling.options.layers),
        )
        gathered = embed_one(
            whole, encoder, sampling=fitted, store=store or Store(), progress=progress
        )
    size = library.near_size(gathered.embedding.n_samples)
    return rank_library(gathered, library, size=size, metric=metric)


def _fingerprint(gathered: Gathered) -> str:
    return gathered.embedding.encoder_fingerprint


def _fitting(library: Library | None, encoder: str, fingerprint: str) -> Library:
    """Return the library if it is the encoder's, else the one shipped for the encoder."""
    found = library or shipped_library(fingerprint)
    if found is None:
        raise MissingError(
            f"no library of known tasks for {encoder}: expected an encoder with a shipped one "
            f"({shipped_names()}), got another. Choose it, or make a library of the study's tasks, "
            "'python -m glue_pilot embeddings SPEC --encoder ENCODER --library FOLDER' in a "
            "checkout, and name that with --library FOLDER."
        )
    if found.encoder_fingerprint != fingerprint:
        raise UsageError(
            f"library {found.name} is another encoder's: expected {found.encoder}, got {encoder}. "
            "Choose that encoder, or another library."
        )
    return found


def _size_for(library: Library, n_texts: int) -> int:
    """Return the library's largest size that a task has texts for; else all its texts."""
    return max((size for size in library.sizes if size <= n_texts), default=max(n_texts, 2))


def library_options(
    library: Library, head_layer: int, layers: Sequence[int] | None
) -> FisherOptions:
    """Return options under which a task's embedding can be compared with a library's.

    Raises:
        UsageError: The library has no such head layer, or layers.
    """
    held = [e.embedding for e in library.entries if e.embedding.head_layer == head_layer]
    if not held:
        raise UsageError(
            f"library {library.name} has no such head layer: expected one of "
            f"{library.head_layers}, got {head_layer}."
        )
    like = held[0] if layers is None else held[0].select(layers=layers)
    return FisherOptions(
        layers=like.layers, parts=like.parts, pooling=like.pooling, max_length=like.max_length
    )
