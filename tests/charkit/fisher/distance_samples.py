"""Embeddings whose texts' numbers are drawn from a known population."""

from __future__ import annotations

import numpy as np

from charkit.fisher.embedding import TaskEmbedding
from charkit.fisher.layout import Slice

SIZE = 120


def means():
    """Return the true numbers of twelve tasks, (12, SIZE)."""
    rng = np.random.default_rng(11)
    common = rng.lognormal(0, 1, SIZE)
    return common * np.exp(0.5 * rng.standard_normal((12, SIZE)))


def gamma_rows(mean, n, rng):
    """Return numbers of n texts: each text has a size of its own, each number a wide spread."""
    sizes = rng.gamma(1.0, 1.0, (n, 1))
    return sizes * rng.gamma(1.0, 1.0, (n, len(mean))) * mean


def embedding_of_rows(rows, name=""):
    """Return the embedding of texts with the numbers of every text."""
    rows = np.asarray(rows, np.float64)
    size = rows.shape[1] // 2
    return TaskEmbedding(
        values=rows.mean(0),
        standard_error=rows.std(0, ddof=1) / len(rows) ** 0.5,
        slices=(Slice(1, "query", 0, size), Slice(2, "query", size, 2 * size)),
        name=name,
        encoder="tiny",
        encoder_fingerprint="f",
        head_layer=2,
        head_fingerprint="",
        pooling="mean",
        max_length=64,
        dtype="float32",
        kind="classification",
        n_classes=2,
        estimand="fisher",
        estimator="exact",
        n_draws=1,
        seed=0,
        n_samples=len(rows),
        frac_truncated=0.0,
        text_fingerprint="",
        rows=rows,
    )
