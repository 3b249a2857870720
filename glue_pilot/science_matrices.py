"""Distance matrices between samples: every Fisher distance, layers and head, and its rivals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from charkit.encoders import LayerStates
from charkit.fisher import (
    DISTANCES,
    TaskEmbedding,
    fused_distances,
    pairwise,
    text_distances,
    text_embedding,
)

FloatArray = NDArray[np.float64]

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
    """Return the ranges of layers to try under a head: each alone and all, or every range."""
    if every:
        return [(a, b) for a in range(1, head_layer + 1) for b in range(a, head_layer + 1)]
    alone = [(k, k) for k in range(1, head_layer + 1)]
    return [*alone, (1, head_layer)] if head_layer > 1 else alone


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
        for metric in set(FUSED) & set(metrics):
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
    """Return how far LogME scores are apart.

    LogME says how well features carry a label; two tasks with one score need have nothing in
    common. It stands here because it is the usual score of transferability.
    """
    values = np.array(scores)
    return Choice("score", "difference of LogME"), np.abs(values[:, None] - values)


def text_matrices(states: Sequence[LayerStates]) -> Iterator[tuple[Choice, FloatArray]]:
    """Yield distances that read texts alone: of the mean states of each layer, and Fréchet's.

    ``cosine``: of the means as they are; ``centred cosine``: less the mean over all samples;
    ``frechet``: on the last layer, see `charkit.fisher.text_distances`.
    """
    for layer in range(states[0].n_layers + 1):
        found = [text_embedding(s, layer=layer) for s in states]
        yield Choice("text", "cosine", 0, str(layer)), text_distances(found).to_numpy()
        middle = np.mean([e.mean for e in found], axis=0)
        centred = [replace(e, mean=e.mean - middle) for e in found]
        yield Choice("text", "centred cosine", 0, str(layer)), text_distances(centred).to_numpy()
    last = Choice("text", "frechet", 0, str(states[0].n_layers))
    yield last, text_distances(found, metric="frechet").to_numpy()
