"""Embed all tasks of a study: once each, kept in the store, one row a norm in a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.embed import embed_kept
from charkit.answers.fitted import HeadFigures, heads_to_store
from charkit.answers.library import LibraryEntry, write_library
from charkit.config import Progress, content_hash, no_progress
from charkit.durable import write_whole
from charkit.encoders import Encoder, LayerStates, encode_to_store
from charkit.errors import UsageError
from charkit.fisher import FisherOptions, TaskEmbedding
from charkit.fisher.group_intervals import group_norm_intervals
from charkit.heads.records import write_table
from charkit.parallel import (
    Executor,
    ExecutorChoice,
    Shard,
    check_failures,
    executor_from,
    run_jobs,
)
from charkit.store import Store
from charkit.tasks import Task
from glue_pilot.embedding_study import EmbeddingStudy, KnownTask, draw_sample

FloatArray = NDArray[np.float64]

LARGEST_LIBRARY = 4_000_000
"""Bytes that the two files of a shipped library may take together."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled sample of one task, embedded.

    Attributes:
        known: The task.
        task: The sample of it.
        n: Training texts that were asked for.
        draw: Which of the draws of this size.
        embeddings: Layer of the head -> the embedding.
        heads: Layer of the head -> how well it does on texts left out.
        scores: Layer of the head -> accuracy, or Pearson's correlation, on evaluation texts.
    """

    known: KnownTask
    task: Task
    n: int
    draw: int
    embeddings: dict[int, TaskEmbedding]
    heads: dict[int, HeadFigures]
    scores: dict[int, float]


def options_of(study: EmbeddingStudy) -> FisherOptions:
    """Return how a study embeds: one random-sign sketch a text, exact for two classes."""
    return FisherOptions(estimator="sketch", max_length=study.max_length)


def embed_study(
    study: EmbeddingStudy,
    known: list[KnownTask],
    encoder: Encoder,
    *,
    store: Store,
    executor: ExecutorChoice = None,
    shard: Shard | None = None,
    progress: Progress = no_progress,
) -> Iterator[Sample]:
    """Yield every sample, small sizes first; what the store has is not computed again.

    Args:
        study: What is embedded.
        known: Its tasks.
        encoder: Its encoder.
        store: Where states, heads and embeddings are kept.
        executor: Where samples are embedded, such as ``"ray"``. Default: in this process, with
            all its threads.
        shard: Which part of the samples; all when None.
        progress: Called as ``progress("samples", done, total)``.
    """
    planned = [
        (entry, n, draw)
        for n, n_draws in zip(study.sizes, study.draws, strict=True)
        for draw in range(n_draws)
        for entry in known
        if shard is None or shard.holds(content_hash([entry.task.fingerprint, n, draw]))
    ]
    if executor is not None:
        _embed_elsewhere(study, planned, encoder, store, executor_from(executor), progress)
    for done, (entry, n, draw) in enumerate(planned):
        progress("samples", done, len(planned))
        task = draw_sample(entry.task, n=n, draw=draw, n_eval=study.n_eval)
        if task is not None:
            yield embed_sample(study, entry, task, n, draw, encoder, store)
    progress("samples", len(planned), len(planned))


@dataclass(frozen=True)
class SampleWork:
    """One sample to embed, with all that a worker needs.

    Attributes:
        study: What is embedded.
        known: The task.
        n: Number of training texts.
        draw: Which draw.
        encoder: The encoder, its weights not read yet.
        root: The store's folder.
    """

    study: EmbeddingStudy
    known: KnownTask
    n: int
    draw: int
    encoder: Encoder
    root: Path


def run_sample(work: SampleWork) -> None:
    """Embed a sample unless the store has it."""
    study, entry = work.study, work.known
    task = draw_sample(entry.task, n=work.n, draw=work.draw, n_eval=study.n_eval)
    if task is not None:
        embed_sample(study, entry, task, work.n, work.draw, work.encoder, Store(work.root))


def _embed_elsewhere(
    study: EmbeddingStudy,
    planned: list[tuple[KnownTask, int, int]],
    encoder: Encoder,
    store: Store,
    executor: Executor,
    progress: Progress,
) -> None:
    """Embed the samples on an executor; they are then read from the store."""
    plain = replace(encoder)  # without the weights, which every worker reads for itself
    found = run_jobs(
        run_sample,
        [SampleWork(study, entry, n, draw, plain, store.root) for entry, n, draw in planned],
        executor=executor,
        n_gpus=1.0 if encoder.device == "cuda" else 0.0,
        folders=[store.root],
        progress=lambda done, total: progress("samples", done, total),
    )
    check_failures(found, stage="samples")


def embed_sample(
    study: EmbeddingStudy,
    known: KnownTask,
    task: Task,
    n: int,
    draw: int,
    encoder: Encoder,
    store: Store,
) -> Sample:
    """Embed one sample under heads at every layer, or at the last where it is large."""
    layers = study.heads_at(n, encoder.n_layers)
    kept = embed_kept(
        task,
        encoder,
        head_layers=layers,
        options=options_of(study),
        store=store,
        name=known.task.name,
    )
    scores = _scores(task, encoder, layers, study.max_length, store)
    return Sample(known, task, n, draw, kept.embeddings, kept.heads, scores)


def _scores(
    task: Task, encoder: Encoder, layers: tuple[int, ...], max_length: int, store: Store
) -> dict[int, float]:
    """Return each head's accuracy, or correlation, on the evaluation texts; NaN without labels."""
    part = task.evaluation
    if part is None or part.labels is None or not len(part):
        return dict.fromkeys(layers, float("nan"))
    states = encode_to_store(encoder, part, store=store, max_length=max_length)
    fitted = heads_to_store(task, encoder, store=store, layers=layers, max_length=max_length)
    scores = {}
    for layer in layers:
        head = fitted[layer].head
        outputs = states.layer(layer).astype(np.float64) @ head.weights.T + head.bias
        if task.kind == "classification":
            scores[layer] = float((outputs.argmax(1) == part.labels).mean())
        elif np.ptp(outputs[:, 0]) > 0:
            scores[layer] = float(np.corrcoef(outputs[:, 0], part.labels)[0, 1])
        else:
            scores[layer] = 0.0
    return scores


def sample_states(
    sample: Sample, study: EmbeddingStudy, encoder: Encoder, store: Store
) -> LayerStates:
    """Return the pooled states of a sample's training texts, from the store."""
    return encode_to_store(encoder, sample.task.train, store=store, max_length=study.max_length)


# -- the table -------------------------------------------------------------------------------


def norm_rows(sample: Sample) -> list[dict[str, Any]]:
    """Return one row a head and layer; ``layer`` 0 stands for all layers together."""
    known, kind = sample.known, sample.task.kind
    rows = []
    for head_layer, embedding in sample.embeddings.items():
        figures, score = sample.heads[head_layer], sample.scores[head_layer]
        classes = kind == "classification"
        shared = {
            "task": known.task.name,
            "corpus": known.corpus,
            "domain": known.domain,
            "label_kind": known.label_kind,
            "kind": kind,
            "n_classes": embedding.n_classes,
            "n": sample.n,
            "n_samples": embedding.n_samples,
            "draw": sample.draw,
            "head_layer": head_layer,
            "accuracy": score if classes else float("nan"),
            "correlation": float("nan") if classes else score,
            "left_out_score": figures.score,
            "left_out_loss": figures.left_out_loss,
            "strength": figures.strength,
            "converged": figures.converged,
            "estimator": embedding.estimator,
            "frac_truncated": embedding.frac_truncated,
            "stability": embedding.stability.halves,
            "stability_again": embedding.stability.again,
        }
        ends = group_norm_intervals(embedding, n_resamples=400)[["low", "high"]]
        for layer, norm in embedding.norms().join(ends.add_prefix("l2_")).iterrows():
            rows.append(
                shared
                | {"layer": 0 if layer == "all" else int(str(layer))}
                | {str(k): float(v) for k, v in norm.items()}
            )
    return rows


def write_norms(samples: list[Sample], out: Path, *, name: str) -> pd.DataFrame:
    """Write ``<name>.parquet`` and ``.csv``; return the table."""
    table = pd.DataFrame([row for sample in samples for row in norm_rows(sample)])
    write_table(table, out / f"{name}.parquet")
    write_csv(table, out / f"{name}.csv")
    return table


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV with six digits, whole or not at all."""
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_whole(path, text.encode())


# -- the library -----------------------------------------------------------------------------


def build_library(samples: list[Sample], study: EmbeddingStudy, path: Path) -> Path:
    """Write the first draws of a study as a library.

    Args:
        samples: From `embed_study`.
        study: Which sizes and heads.
        path: Where to, without an ending.

    Returns:
        The JSON file.

    Raises:
        UsageError: The library is larger than what is shipped.
    """
    entries = [
        LibraryEntry(
            task=s.known.task.name,
            corpus=s.known.corpus,
            n=s.n,
            seed=0,
            embedding=s.embeddings[layer],
            domain=s.known.domain,
            accuracy=s.scores[layer] if s.task.kind == "classification" else None,
        )
        for s in samples
        if s.draw == 0 and s.n in (study.library_sizes or study.sizes)
        for layer in _heads_of(s, study.library_heads)
    ]
    about = write_library(path, entries)
    n_bytes = sum(p.stat().st_size for p in (about, about.with_suffix(".safetensors")))
    if n_bytes > LARGEST_LIBRARY:
        raise UsageError(
            f"library {about} is too large: expected at most {LARGEST_LIBRARY:,} bytes, got "
            f"{n_bytes:,}. Leave out sizes or heads."
        )
    return about


def _heads_of(sample: Sample, wanted: tuple[int, ...]) -> list[int]:
    last = max(sample.embeddings)
    layers = [layer if layer > 0 else last + 1 + layer for layer in wanted]
    return [layer for layer in layers if layer in sample.embeddings]
