"""Heads that are stopped before they have converged, and embeddings under heads of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charkit.config import content_hash
from charkit.encoders import Encoder
from charkit.errors import UsageError
from charkit.fisher import (
    FisherOptions,
    Head,
    TaskEmbedding,
    fisher_embedding,
    load_embedding,
    make_head,
    save_embedding,
)
from charkit.manifest import Clock, run_manifest
from charkit.store import Store
from charkit.tasks import Split

FloatArray = NDArray[np.float64]

KIND = "experiment_fisher"
_FORMAT = 1
_SMALL = 0.01
"""Root mean square weight of a head before its first step, times the root of the width."""


def stopped_heads(
    features: NDArray[np.floating],
    labels: NDArray[Any],
    n_classes: int,
    *,
    strength: float,
    steps: Sequence[int],
    seed: int,
) -> dict[int, Head]:
    """Train one softmax head by gradient descent and return it as it was after some steps.

    The objective is that of `charkit.heads.softmax` on the features, centred and scaled as there;
    the step length is one over the bound of its curvature, the start small random weights.

    Args:
        features: Raw pooled states, (n, d).
        labels: Class codes, (n,).
        n_classes: Number of classes.
        strength: Of the L2 penalty.
        steps: Numbers of steps; 0 is the head before any training.
        seed: Of the first weights.

    Returns:
        Number of steps -> the head, for raw features.

    Raises:
        UsageError: A number of steps is negative, or there is none.
    """
    if not steps or min(steps) < 0:
        raise UsageError(f"steps are out of range: expected numbers from 0, got {tuple(steps)}.")
    x = np.asarray(features, np.float64)
    mean = x.mean(0)
    scale = float(np.sqrt(((x - mean) ** 2).sum(1).mean())) or 1.0
    rows = (x - mean) / scale
    truth = np.eye(n_classes)[np.asarray(labels, np.int64)]
    doubled = strength * (2 if n_classes == 2 else 1)  # two classes: the penalty is on w1 - w0
    spectrum = float(np.linalg.norm(rows, 2)) ** 2 / len(rows)
    length = 1 / (0.5 * max(spectrum, 1.0) + doubled)
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, _SMALL / np.sqrt(x.shape[1]), (n_classes, x.shape[1]))
    bias = np.zeros(n_classes)
    found = {}
    for step in range(max(steps) + 1):
        if step in steps:
            found[step] = make_head(weights / scale, bias - weights @ mean / scale)
        gap = (_softmax(rows @ weights.T + bias) - truth) / len(rows)
        weights = weights - length * (gap.T @ rows + doubled * weights)
        bias = bias - length * gap.sum(0)
    return found


def _softmax(logits: FloatArray) -> FloatArray:
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))


def head_accuracy(head: Head, features: NDArray[np.floating], labels: NDArray[Any]) -> float:
    """Return the share of rows (m, d) that a head puts into their class."""
    outputs = np.asarray(features, np.float64) @ head.weights.T + head.bias
    return float((outputs.argmax(1) == labels).mean())


def embed_under(
    head: Head,
    part: Split,
    encoder: Encoder,
    *,
    head_layer: int,
    options: FisherOptions,
    store: Store,
    name: str,
) -> TaskEmbedding:
    """Embed texts under a head of one's own, once: a second call reads it from the store.

    Args:
        head: Reads the pooled states of ``head_layer``.
        part: The texts; their labels are read by the empirical estimator alone.
        encoder: The encoder.
        head_layer: 1 to L.
        options: Estimator, length, pooling.
        store: Where embeddings are kept.
        name: What tables call it; no part of the key.
    """
    empirical = options.estimator == "empirical"
    config = {
        "kind": KIND,
        "format": _FORMAT,
        "encoder": encoder.fingerprint,
        "texts": part.fingerprint if empirical else part.text_fingerprint,
        "head": head.fingerprint,
        "head_layer": head_layer,
        "options": asdict(options),
        "dtype": encoder.dtype,
    }
    key = content_hash(config)
    folder = store.find(KIND, key)
    if folder is None:
        clock = Clock()
        made = fisher_embedding(encoder, part, head, head_layer=head_layer, options=options)
        with store.lock(KIND, key):
            if store.find(KIND, key, deep=True) is None:
                place = store.partial(KIND, key)
                save_embedding(made, place / "embedding.safetensors")
                fields = run_manifest(
                    config,
                    clock=clock,
                    seeds={"draws": options.seed},
                    fingerprints={"encoder": encoder.fingerprint, "texts": part.text_fingerprint},
                    device=encoder.device,
                    dtype=encoder.dtype,
                )
                store.commit(KIND, key, place, fields)
        return replace(made, name=name)
    return replace(load_embedding(folder / "embedding.safetensors"), name=name)
