"""Squared norms of embeddings whose texts are drawn with replacement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Resamples whose numbers are in memory at a time.
_PIECE = 64


def resampled_squares(
    rows: NDArray[np.floating],
    places: Sequence[NDArray[np.bool_]],
    *,
    n_resamples: int,
    seed: int,
) -> NDArray[np.float64]:
    """Return squared norms of resamples.

    Args:
        rows: The numbers of every text, (n_samples, size).
        places: For each group of numbers, which belong to it, (size,); together all.
        n_resamples: How many resamples.
        seed: Of the draws.

    Returns:
        By group, and of all together, (n_resamples, n_groups + 1).
    """
    rng = np.random.default_rng(seed)
    out = np.empty((n_resamples, len(places) + 1))
    share = np.full(len(rows), 1 / len(rows))
    for first in range(0, n_resamples, _PIECE):
        count = min(_PIECE, n_resamples - first)
        counts = rng.multinomial(len(rows), share, count) / len(rows)
        means = counts.astype(rows.dtype) @ rows
        part = slice(first, first + count)
        for column, place in enumerate(places):
            chosen = means[:, place].astype(np.float64)
            out[part, column] = np.einsum("ij,ij->i", chosen, chosen)
    out[:, -1] = out[:, :-1].sum(1)
    return out
