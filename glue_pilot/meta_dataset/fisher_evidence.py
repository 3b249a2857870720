"""What a pilot's Fisher embedding says, as a few numbers that do not depend on its units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charkit.fisher.distances.pairwise import MIN_REFERENCE, pairwise, trivial_embedding
from charkit.fisher.embedding import TaskEmbedding

_FIFTH = 5


@dataclass(frozen=True)
class FisherEvidence:
    """Figures of one embedding; NaN where one cannot be known.

    Attributes:
        norm: Logarithm of the L2 norm, less what sampling noise adds to it.
        low: Log norm of the lower third of the layers, less ``norm``.
        mid: Of the middle third.
        high: Of the upper third.
        by_layer: Of each layer 1..L, less ``norm``.
        spread: Participation ratio of the numbers, over their count.
        trivial: Distance to the trivial embedding.
        shift: Log-ratio distance of the evaluation texts' embedding under the same head; NaN
            without a library, whose numbers centre it.
        near: Log-ratio distance to the nearest library embedding.
        near_5: To the fifth nearest.
    """

    norm: float
    low: float
    mid: float
    high: float
    by_layer: tuple[float, ...]
    spread: float
    trivial: float
    shift: float
    near: float
    near_5: float


def fisher_evidence(
    embedding: TaskEmbedding,
    *,
    evaluation: TaskEmbedding | None = None,
    library: Sequence[TaskEmbedding] = (),
) -> FisherEvidence:
    """Return the figures of a pilot's embedding.

    Args:
        embedding: Of the labelled texts.
        evaluation: Of the evaluation texts under the same head.
        library: Embeddings of known tasks of OTHER corpora, one a task. They centre the log-ratio
            distances and set the prior of the trivial embedding.

    Raises:
        UsageError: Embeddings cannot be compared.
        DataError: Numbers are negative, or all zero.
    """
    squares = _layer_squares(embedding)
    total = float(np.nansum(squares))
    norm = 0.5 * _log(total)
    low, mid, high = (
        0.5 * _log(float(np.nansum(third))) - norm for third in np.array_split(squares, 3)
    )
    values = embedding.values
    spread = float(values.sum() ** 2 / (values @ values) / len(values)) if total else np.nan
    like = list(library) or [embedding]
    trivial = trivial_embedding(like)
    distance = pairwise([embedding + trivial, trivial], metric="cosine").to_numpy()[0, 1]
    near = np.full(_FIFTH, np.nan)
    shift = np.nan
    if len(library) >= MIN_REFERENCE:
        others = [] if evaluation is None else [evaluation]
        table = pairwise(
            [embedding, *others, *library], metric="log_ratio", reference=list(library)
        ).to_numpy()[0]
        shift = float(table[1]) if others else np.nan
        nearest = np.sort(table[1 + len(others) :])[:_FIFTH]
        near[: len(nearest)] = nearest
    return FisherEvidence(
        norm=norm,
        low=low,
        mid=mid,
        high=high,
        by_layer=tuple(0.5 * _log(float(square)) - norm for square in squares),
        spread=spread,
        trivial=float(distance),
        shift=shift,
        near=float(near[0]),
        near_5=float(near[-1]),
    )


def fisher_columns(fisher: FisherEvidence, n_layers: int) -> dict[str, Any]:
    """Return the columns of a pilot's Fisher embedding.

    Args:
        fisher: Its metrics.
        n_layers: Layers of the encoder; rows are 0 to ``n_layers``.
    """
    own = np.full(n_layers + 1, np.nan)
    count = min(n_layers, len(fisher.by_layer))
    own[1 : count + 1] = fisher.by_layer[:count]
    return {
        "fisher_norm": fisher.norm,
        "fisher_low": fisher.low,
        "fisher_mid": fisher.mid,
        "fisher_high": fisher.high,
        "fisher_own": own,
        "fisher_spread": fisher.spread,
        "fisher_trivial": fisher.trivial,
        "fisher_shift": fisher.shift,
        "fisher_near": fisher.near,
        "fisher_near_5": fisher.near_5,
    }


def _layer_squares(embedding: TaskEmbedding) -> np.ndarray:
    """Return squared norms of layers 1..L less noise, never below a hundredth of themselves."""
    found = np.full(max(embedding.layers), np.nan)
    for layer in embedding.layers:
        part = embedding.select(layers=[layer])
        square = float(part.values @ part.values)
        error = np.nan_to_num(part.standard_error)
        found[layer - 1] = max(square - float(error @ error), square / 100)
    return found


def _log(square: float) -> float:
    return float(np.log(square)) if square > 0 else float("nan")
