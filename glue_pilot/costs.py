"""What embedding and encoding a study's tasks will take, before it is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from charkit.encoders import Encoder
from charkit.heads.estimate import encode_seconds, matmul_rate, n_tokens
from charkit.tasks import Task
from glue_pilot.metadata_study import MetadataStudy
from glue_pilot.samples import EmbeddingStudy, KnownTask

BACKWARD = 2.0
"""A backward pass takes about twice the operations of the forward pass."""


def metadata_hours(
    study: MetadataStudy, tasks: Sequence[Task], encoder: Encoder
) -> list[dict[str, Any]]:
    """Return the hours of a meta-dataset's stages that run the encoder, all of them to be done.

    Args:
        study: The study.
        tasks: Its tasks, cut to its numbers of rows.
        encoder: The encoder.
    """
    rate = matmul_rate(encoder.device, encoder.dtype)
    encode = embed = 0.0
    for task in tasks:
        length = encoder.text_length(None)
        encode += 2 * n_tokens(task.train, len(task.train), max_length=length)
        if task.evaluation is not None:
            n_eval = len(task.evaluation)
            encode += n_tokens(task.evaluation, n_eval, max_length=length)
        pilots = [(n, study.fisher_draws) for n in study.fisher_pilots]
        pilots += [(n, study.n_variants - 1) for n in study.fisher_variant_pilots]
        n = sum(
            draws * (min(size, study.n_fisher) + min(study.n_unlabelled, study.n_fisher))
            for size, draws in pilots
            if size <= len(task.train)
        )
        longest = min(study.fisher_max_length, encoder.max_length)
        embed += n_tokens(task.train, n, max_length=longest)
    return [
        {"stage": stage, "hours": encode_seconds(encoder, tokens, rate) / 3600}
        for stage, tokens in (("encoding", encode), ("embeddings", (1 + BACKWARD) * embed))
    ]


def embeddings_hours(
    study: EmbeddingStudy, known: Sequence[KnownTask], encoder: Encoder
) -> list[dict[str, Any]]:
    """Return samples, texts and hours of a study of embeddings, one row a size, all to be done."""
    rate = matmul_rate(encoder.device, encoder.dtype)
    longest = min(study.max_length, encoder.max_length)
    rows = []
    for size, draws in zip(study.sizes, study.draws, strict=True):
        heads = len(study.heads_at(size, encoder.n_layers))
        fitting = [k.task for k in known if len(k.task.train) >= size * draws]
        tokens = 0.0
        for task in fitting:
            n = size * draws
            forward = n_tokens(task.train, n, max_length=longest)
            tokens += (2 + heads * BACKWARD) * forward
            if task.evaluation is not None:
                n_eval = min(study.n_eval, len(task.evaluation))
                tokens += draws * n_tokens(task.evaluation, n_eval, max_length=longest)
        rows.append(
            {
                "size": size,
                "samples": draws * len(fitting),
                "texts": draws * size * len(fitting),
                "hours": encode_seconds(encoder, tokens, rate) / 3600,
            }
        )
    return rows
