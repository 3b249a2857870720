"""Embedded samples of known tasks, and the distances between them that experiments compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charkit.encoders import Encoder, encode_to_store
from charkit.errors import UsageError
from charkit.fisher import TaskEmbedding, pairwise, text_distances, text_embedding
from glue_pilot.embedding_study import EmbeddingStudy, KnownTask
from glue_pilot.embeddings import Sample, embed_study, sample_states
from glue_pilot.experiments.base import Bench
from glue_pilot.science_matrices import classes_matrix, norm_matrix

FloatArray = NDArray[np.float64]

LOG_RATIO, COSINE = "Fisher, log-ratio", "Fisher, Task2Vec's cosine"
TEXT, CENTRED = "text, mean states", "text, centred"
NORM, CLASSES = "norm alone", "number of classes"

FISHER_METRICS = {LOG_RATIO: "log_ratio", COSINE: "cosine"}


def study_of(settings: Any, sizes: Sequence[int], draws: Sequence[int]) -> EmbeddingStudy:
    """Return how the samples of an experiment are drawn and embedded.

    Args:
        settings: With ``encoder``, ``all_heads_up_to``, ``max_length`` and ``n_eval``.
        sizes: Training texts a sample.
        draws: How many of each size.

    Raises:
        UsageError: A size or a number of draws is below 1.
    """
    if not sizes or len(sizes) != len(draws) or min(*sizes, *draws) < 1:
        raise UsageError(
            "sizes of samples are out of range: expected one number of draws a size, all at least "
            f"1, got sizes {tuple(sizes)} and draws {tuple(draws)}."
        )
    return EmbeddingStudy(
        name="experiment",
        encoder=settings.encoder,
        sizes=tuple(sizes),
        draws=tuple(draws),
        all_heads_up_to=settings.all_heads_up_to,
        max_length=settings.max_length,
        n_eval=settings.n_eval,
    )


def known_tasks(names: Sequence[str], bench: Bench) -> list[KnownTask]:
    """Load tasks; a generated one is told by its grammar, and is a corpus of its own.

    Generated tasks of other seeds are of one kind, their texts drawn anew.
    """
    return [_told(known) for known in bench.tasks(names)]


def _told(known: KnownTask) -> KnownTask:
    if known.domain or not known.task.source.startswith("generated/"):
        return known
    return replace(known, corpus=known.task.name, domain=known.corpus, label_kind=known.task.corpus)


def embedded_samples(
    study: EmbeddingStudy, known: list[KnownTask], encoder: Encoder, bench: Bench
) -> list[Sample]:
    """Return all samples of a study, from the store where it has them."""
    return list(embed_study(study, known, encoder, store=bench.store, progress=bench.progress))


def last_embeddings(samples: Sequence[Sample]) -> list[TaskEmbedding]:
    """Return each sample's embedding under its highest head."""
    return [s.embeddings[max(s.embeddings)] for s in samples]


def method_matrices(
    samples: Sequence[Sample], study: EmbeddingStudy, encoder: Encoder, bench: Bench
) -> dict[str, FloatArray]:
    """Return the distances between samples by method, all fixed beforehand.

    Fisher embeddings under the last head, all layers; mean states of the texts on the last layer,
    as they are and less the mean over samples; norms alone and numbers of classes as controls.
    """
    embeddings = last_embeddings(samples)
    fisher = {
        name: pairwise(embeddings, metric=metric).to_numpy()
        for name, metric in FISHER_METRICS.items()
    }
    texts = [text_embedding(sample_states(s, study, encoder, bench.store)) for s in samples]
    middle = np.mean([e.mean for e in texts], axis=0)
    return {
        **fisher,
        TEXT: text_distances(texts).to_numpy(),
        CENTRED: text_distances([replace(e, mean=e.mean - middle) for e in texts]).to_numpy(),
        NORM: norm_matrix(embeddings)[1],
        CLASSES: classes_matrix([s.task.n_classes for s in samples])[1],
    }


def evaluation_states(sample: Sample, encoder: Encoder, max_length: int, bench: Bench) -> Any:
    """Return the pooled states of a sample's evaluation texts, from the store."""
    assert sample.task.evaluation is not None
    return encode_to_store(
        encoder, sample.task.evaluation, store=bench.store, max_length=max_length
    )
