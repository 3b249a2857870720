"""Compare encoders on the same evaluation rows and training draws, all of their layers at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charkit.errors import UsageError
from charkit.heads.choice import best_layers
from charkit.heads.intervals import LEVEL, FloatArray


@dataclass(frozen=True, eq=False)
class EncoderChoice:
    """Encoders compared, each at its best layer.

    Attributes:
        layer: Each encoder's layer of the largest score, the lowest of equals, (E,).
        score: Mean over training draws and rows at that layer, (E,).
        low: Lower ends of the intervals, (E,): expected score over other draws and other rows.
        high: Upper ends, (E,).
        tied_with_best: (E,); with confidence ``level`` an encoder that has the truly best layer
            of all is among these.
        level: Coverage of the intervals and of the set of ties.
    """

    layer: tuple[int, ...]
    score: FloatArray
    low: FloatArray
    high: FloatArray
    tied_with_best: NDArray[np.bool_]
    level: float


def best_encoders(
    values: Sequence[NDArray[np.generic]],
    *,
    layers: Sequence[Sequence[int]],
    bounds: tuple[float, float] = (0.0, 1.0),
    level: float = LEVEL,
    seed: int = 0,
) -> EncoderChoice:
    """Compare encoders with a confidence set for the best.

    An encoder of many layers has many chances to look best. So all layers of all encoders are
    compared together (`charkit.heads.choice.best_layers`), in pairs on the same rows and draws,
    and an encoder ties with the best as long as one of its layers does.

    Args:
        values: Per encoder (S, L_e, m): for S training draws, its L_e layers and m rows whether
            the row was right, or any numbers whose mean is the score.
        layers: Per encoder the numbers of its L_e layers.
        bounds: The smallest and the largest score possible.
        level: Coverage of the intervals and of the set of ties.
        seed: Of the simulated maxima.

    Raises:
        UsageError: There is no encoder, or the shapes do not fit.
    """
    shapes = {(v.shape[0], v.shape[-1]) for v in values}
    if len(values) != len(layers) or len(shapes) != 1:
        raise UsageError(
            "encoders do not fit: expected rows of the same draws and evaluation texts, and "
            f"layers, for each of at least one, got {len(layers)} lists of layers and shapes "
            f"{[v.shape for v in values]}."
        )
    joined = best_layers(
        np.concatenate(list(values), axis=1), bounds=bounds, level=level, seed=seed
    )
    owner = np.repeat(np.arange(len(values)), [v.shape[1] for v in values])
    top, numbers = [], []
    for index, own in enumerate(layers):
        columns = np.flatnonzero(owner == index)
        if len(columns) != len(own):
            raise UsageError(f"layers: expected {len(columns)} numbers, got {len(own)}.")
        best = int(joined.score[columns].argmax())
        top.append(int(columns[best]))
        numbers.append(int(own[best]))
    tied = [bool(joined.tied_with_best[owner == index].any()) for index in range(len(values))]
    return EncoderChoice(
        tuple(numbers), joined.score[top], joined.low[top], joined.high[top], np.array(tied), level
    )
