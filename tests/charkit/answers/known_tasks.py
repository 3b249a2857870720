"""Made-up embeddings: corpora as directions, tasks as points near them."""

from __future__ import annotations

import numpy as np

from charkit.fisher.embedding import TaskEmbedding
from charkit.fisher.layout import Slice


def make_embedding(name="task", *, corpus=0, seed=0, n=128, head_layer=2, scale=1.0, **facts):
    """An embedding of two layers of 60 numbers, near the direction of its corpus."""
    centre = np.random.default_rng([corpus, 7]).normal(0, 1, 120)
    noise = np.random.default_rng([corpus, seed, 1]).normal(0, 0.3, 120)
    values = scale * 1e-4 * np.exp(centre + noise)
    slices = tuple(
        Slice(layer, part, 60 * (layer - 1) + start, 60 * (layer - 1) + stop)
        for layer in (1, 2)
        for part, start, stop in (("query", 0, 20), ("ffn_in", 20, 60))
    )
    known = {
        "encoder": "tiny", "encoder_fingerprint": "f" * 24, "head_layer": head_layer,
        "head_fingerprint": f"{name}{seed}", "pooling": "mean", "max_length": 64,
        "dtype": "float32", "kind": "classification", "n_classes": 2, "estimand": "fisher",
        "estimator": "exact", "n_draws": 1, "seed": 0, "n_samples": n, "frac_truncated": 0.0,
        "text_fingerprint": f"{name}{seed}{n}",
    }  # fmt: skip
    return TaskEmbedding(
        values=values, standard_error=values / 10, slices=slices, name=name, **known | facts
    )
