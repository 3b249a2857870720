"""Distance matrices between samples: every Fisher distance, layers and head, and baselines.

The table of norms of all embedded samples, and the library of known tasks that is shipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.similarity.library import LibraryEntry, write_library
from charkit.encoders import Encoder, LayerStates
from charkit.errors import UsageError
from charkit.fisher import (
    DISTANCES,
    TaskEmbedding,
    TextEmbedding,
    fused_distances,
    pairwise,
    text_distances,
    text_embedding,
)
from charkit.fisher.distances.intervals import group_norm_intervals
from charkit.heads.metrics.transferability import log_evidence
from charkit.heads.sweep.table import write_table
from charkit.store.durable import write_whole
from charkit.store.store import Store
from glue_pilot.samples import EmbeddingStudy, Sample, sample_states

LARGEST_LIBRARY = 4_000_000
"""Bytes that the two files of a shipped library may take together."""


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


FloatArray = NDArray[np.float64]

LOG_RATIO, COSINE = "Fisher, log-ratio", "Fisher, Task2Vec's cosine"
TEXT, CENTRED = "text, mean states", "text, centred"
NORM, CLASSES = "norm only", "number of classes"

FISHER_METRICS = {LOG_RATIO: "log_ratio", COSINE: "cosine"}

FUSED = ("cosine", "log_ratio")
"""Distances whose layers are also fused by reciprocal rank."""


@dataclass(frozen=True, order=True)
class Choice:
    """Which distance.

    Attributes:
        family: ``fisher``, ``text`` (mean states of the texts, no labels), ``score`` (LogME),
            ``norm`` (of the Fisher embedding, its direction left out), ``classes``.
        metric: Name of the distance.
        head_layer: That the head reads; 0 without a head.
        layers: Which layers' numbers: ``4``, ``2-5``, ``fused``; empty where there are none.
    """

    family: str
    metric: str
    head_layer: int = 0
    layers: str = ""

    def __str__(self) -> str:
        words = [self.metric.replace("_", " ")]
        if self.family == "text":
            words.append(f"of mean states, layer {self.layers}")
        elif self.family == "fisher":
            words.append(f"layers {self.layers}, head {self.head_layer}")
        return " ".join(words)


def default_choices(n_layers: int) -> dict[str, Choice]:
    """Return the choices made before looking: Task2Vec's distance, and the log-ratio one."""
    layers = f"1-{n_layers}" if n_layers > 1 else "1"
    return {
        "Task2Vec's cosine": Choice("fisher", "cosine", n_layers, layers),
        "log-ratio": Choice("fisher", "log_ratio", n_layers, layers),
    }


def layer_ranges(head_layer: int, *, every: bool) -> list[tuple[int, int]]:
    """Return the ranges of layers to try under a head: each layer, and all, or every range."""
    if every:
        return [(a, b) for a in range(1, head_layer + 1) for b in range(a, head_layer + 1)]
    single = [(k, k) for k in range(1, head_layer + 1)]
    return [*single, (1, head_layer)] if head_layer > 1 else single


def fisher_matrices(
    by_head: dict[int, list[TaskEmbedding]],
    *,
    reference: dict[int, list[TaskEmbedding]] | None = None,
    every_range: bool = True,
    metrics: Sequence[str] = DISTANCES,
) -> Iterator[tuple[Choice, FloatArray]]:
    """Yield the distances between samples for every head, range of layers and metric.

    Args:
        by_head: Layer of the head -> the samples' embeddings, in the same order for each.
        reference: What ``log_ratio`` and ``asymmetric`` take their centre from; default the
            embeddings themselves.
        every_range: Every range of layers under the highest head; else each layer and all.
        metrics: Which distances.
    """
    highest = max(by_head)
    for head, embeddings in by_head.items():
        library = None if reference is None else reference[head]
        for low, high in layer_ranges(head, every=every_range and head == highest):
            name = str(low) if low == high else f"{low}-{high}"
            for metric in metrics:
                table = pairwise(
                    embeddings, metric=metric, layers=range(low, high + 1), reference=library
                )
                yield Choice("fisher", metric, head, name), table.to_numpy()
    if highest > 1:
        for metric in (name for name in FUSED if name in metrics):
            library = None if reference is None else reference[highest]
            table = fused_distances(by_head[highest], metric=metric, reference=library)
            yield Choice("fisher", metric, highest, "fused"), table.to_numpy()


def norm_matrix(embeddings: Sequence[TaskEmbedding]) -> tuple[Choice, FloatArray]:
    """Return how far the logarithms of the norms are apart: no direction, no layers."""
    logs = np.array([np.log(max(float(np.linalg.norm(e.values)), 1e-300)) for e in embeddings])
    choice = Choice("norm", "difference of log norm", embeddings[0].head_layer)
    return choice, np.abs(logs[:, None] - logs)


def classes_matrix(n_classes: Sequence[int]) -> tuple[Choice, FloatArray]:
    """Return how far the logarithms of the numbers of classes are apart; regression counts 1."""
    logs = np.log(np.maximum(1, np.array(n_classes)))
    return Choice("classes", "difference of log classes"), np.abs(logs[:, None] - logs)


def score_matrix(scores: Sequence[float]) -> tuple[Choice, FloatArray]:
    """Return how far LogME scores are apart, a control: equal scores need share nothing else."""
    values = np.array(scores)
    return Choice("score", "difference of LogME"), np.abs(values[:, None] - values)


def text_matrices(states: Sequence[LayerStates]) -> Iterator[tuple[Choice, FloatArray]]:
    """Yield distances that read only texts: of the mean states of each layer, and Fréchet's.

    ``cosine``: of the means as they are; ``centred cosine``: less the mean over all samples;
    ``frechet``: on the last layer, see `charkit.fisher.text_distances`.
    """
    for layer in range(states[0].n_layers + 1):
        found = [text_embedding(s, layer=layer) for s in states]
        yield Choice("text", "cosine", 0, str(layer)), text_distances(found).to_numpy()
        plain = Choice("text", "centred cosine", 0, str(layer))
        yield plain, text_distances(centred(found)).to_numpy()
    last = Choice("text", "frechet", 0, str(states[0].n_layers))
    yield last, text_distances(found, metric="frechet").to_numpy()


def every_matrix(
    samples: Sequence[Sample], states: Sequence[LayerStates], *, every_range: bool = True
) -> dict[Choice, FloatArray]:
    """Return all distances between the samples of one size.

    Args:
        samples: Of one size.
        states: The pooled states of their texts.
        every_range: Try every range of layers under the last head.
    """
    heads = sorted(samples[0].embeddings)
    by_head = {h: [s.embeddings[h] for s in samples] for h in heads}
    last = heads[-1]
    scores = [
        log_evidence(h.layer(last), np.asarray(s.task.train.labels), kind=s.task.kind)
        for h, s in zip(states, samples, strict=True)
    ]
    controls = [
        norm_matrix(by_head[last]),
        classes_matrix([s.task.n_classes for s in samples]),
        score_matrix(scores),
        *text_matrices(states),
    ]
    return dict([*controls, *fisher_matrices(by_head, every_range=every_range)])


# -- the methods that experiments compare -----------------------------------------------------


def last_embeddings(samples: Sequence[Sample]) -> list[TaskEmbedding]:
    """Return each sample's embedding under its highest head."""
    return [s.embeddings[max(s.embeddings)] for s in samples]


def method_matrices(
    samples: Sequence[Sample], study: EmbeddingStudy, encoder: Encoder, store: Store
) -> dict[str, FloatArray]:
    """Return the distances between samples by method, all fixed beforehand.

    Fisher embeddings under the last head, all layers; mean states of the texts on the last layer,
    as they are and less the mean over samples; norms and numbers of classes as controls.
    """
    embeddings = last_embeddings(samples)
    fisher = {
        name: pairwise(embeddings, metric=metric).to_numpy()
        for name, metric in FISHER_METRICS.items()
    }
    texts = [text_embedding(sample_states(s, study, encoder, store)) for s in samples]
    return {
        **fisher,
        TEXT: text_distances(texts).to_numpy(),
        CENTRED: text_distances(centred(texts)).to_numpy(),
        NORM: norm_matrix(embeddings)[1],
        CLASSES: classes_matrix([s.task.n_classes for s in samples])[1],
    }


def centred(
    texts: Sequence[TextEmbedding], library: Sequence[TextEmbedding] | None = None
) -> list[TextEmbedding]:
    """Return text embeddings less their mean, or less that of a library."""
    middle = np.mean([e.mean for e in library or texts], axis=0)
    return [replace(e, mean=e.mean - middle) for e in texts]
