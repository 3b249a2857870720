"""The numbers of an embedding with a byte each: their logarithms on an even scale.

Every slice (layer and part) has a scale of its own: code 1 is its least number, code 255 its
largest, code 0 means zero (less than what distances add to every number). A logarithm is off by
half a step at most, a 508th of the slice's range.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from charkit.errors import DataError
from charkit.fisher.distances import EPSILON
from charkit.fisher.embedding import TaskEmbedding
from charkit.fisher.layout import Slice

_LEVELS = 254


def coded(embedding: TaskEmbedding) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return an embedding's numbers as bytes.

    Returns:
        The codes, (size,); for each slice the least logarithm and the step, (n_slices, 2).

    Raises:
        DataError: Numbers are negative, or all zero.
    """
    values = embedding.values
    if values.min() < 0 or not values.mean() > 0:
        raise DataError(
            f"{embedding.name or 'embedding'} does not go into a library: expected numbers of "
            f"at least 0, some above, got a least number of {values.min():.3g}."
        )
    codes = np.zeros(values.shape, np.uint8)
    scale = np.zeros((len(embedding.slices), 2), np.float32)
    floor = EPSILON * values.mean()  # what distances add to every number
    for place, part in enumerate(embedding.slices):
        numbers = values[part.start : part.stop]
        seen = numbers > floor
        if not seen.any():
            continue
        logs = np.log(numbers[seen])
        low = np.float32(logs.min())
        step = np.float32(max(float(logs.max() - low), 1e-6) / _LEVELS)
        scale[place] = low, step
        steps = np.rint((logs - float(low)) / float(step))
        codes[part.start : part.stop][seen] = 1 + np.clip(steps, 0, _LEVELS)
    return codes, scale


def decoded(
    codes: NDArray[np.uint8], scale: NDArray[np.float32], slices: Sequence[Slice]
) -> NDArray[np.float64]:
    """Return the numbers that codes stand for, (size,)."""
    sizes = [s.size for s in slices]
    low, step = np.repeat(scale.astype(np.float64), sizes, axis=0).T
    return np.where(codes > 0, np.exp(low + step * (codes.astype(np.float64) - 1)), 0.0)


def log_errors(
    embedding: TaskEmbedding, codes: NDArray[np.uint8], scale: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the error of the logarithm of every number above zero."""
    kept = codes > 0
    back = decoded(codes, scale, embedding.slices)[kept]
    return np.asarray(np.log(back) - np.log(embedding.values[kept]))
