"""Heads of one's own: stopped early, or learned by other rules; and embeddings under them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charkit.encoders import Encoder, encode_to_store
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
from charkit.store.cached import cached
from charkit.store.manifest import Clock, run_manifest
from charkit.store.store import Store
from charkit.tasks import Split, Task

FloatArray = NDArray[np.float64]

KIND = "experiment_fisher"
_FORMAT = 1

# Root mean square weight of a head before its first step, times the root of the width: small enough
# that probabilities are nearly uniform.
_SMALL = 0.01

RULES = ("least squares", "class means")
"""Learning rules that `rule_head` knows."""


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
        part: The texts; their labels are read by the empirical estimator only.
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

    def make(folder: Path) -> dict[str, Any]:
        clock = Clock()
        made = fisher_embedding(encoder, part, head, head_layer=head_layer, options=options)
        save_embedding(made, folder / "embedding.safetensors")
        return run_manifest(
            config,
            clock=clock,
            seeds={"draws": options.seed},
            fingerprints={"encoder": encoder.fingerprint, "texts": part.text_fingerprint},
            device=encoder.device,
            dtype=encoder.dtype,
        )

    def load(folder: Path) -> TaskEmbedding:
        return load_embedding(folder / "embedding.safetensors")

    return replace(cached(store, KIND, config, make=make, load=load).value, name=name)


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

    The objective is that of `charkit.heads.solver.softmax` on the features, centred and scaled as
    there; the step length is one over the bound of its curvature, the start small random weights.

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
        logits = rows @ weights.T + bias
        odds = np.exp(logits - logits.max(1, keepdims=True))
        gap = (odds / odds.sum(1, keepdims=True) - truth) / len(rows)
        weights = weights - length * (gap.T @ rows + doubled * weights)
        bias = bias - length * gap.sum(0)
    return found


def head_accuracy(head: Head, features: NDArray[np.floating], labels: NDArray[Any]) -> float:
    """Return the share of rows (m, d) that a head puts into their class."""
    outputs = np.asarray(features, np.float64) @ head.weights.T + head.bias
    return float((outputs.argmax(1) == labels).mean())


def rule_head(
    rule: str, sample: Task, encoder: Encoder, options: FisherOptions, store: Store
) -> Head:
    """Return a head on the last layer that another rule learned.

    ``least squares``: ridge regression of the classes' indicators, its strength chosen by
    leave-one-out error. ``class means``: the linear rule of Gaussian classes of one round
    covariance, that is the nearest mean, with log class shares.
    """
    states = encode_to_store(
        encoder, sample.train, store=store, pooling=options.pooling, max_length=options.max_length
    )
    features = states.layer(encoder.n_layers).astype(np.float64)
    assert sample.train.labels is not None
    truth = np.eye(sample.n_classes)[sample.train.labels.astype(np.int64)]
    return (_least_squares if rule == "least squares" else _class_means)(features, truth)


def _least_squares(features: FloatArray, truth: FloatArray) -> Head:
    import torch

    from charkit.heads.solver.ridge import fit_ridge

    weights, bias = [], []
    for column in truth.T:
        if np.ptp(column) == 0:  # a class without a text: no evidence for it
            weights.append(np.zeros(features.shape[1]))
            bias.append(column[0])
            continue
        fitted = fit_ridge(features[None], column, dtype=torch.float64)
        weights.append(fitted.weights[0].numpy().ravel())
        bias.append(float(fitted.bias[0]))
    return make_head(np.stack(weights), np.array(bias))


def _class_means(features: FloatArray, truth: FloatArray) -> Head:
    counts = np.maximum(truth.sum(0), 1)[:, None]
    centre = features.mean(0)
    means = truth.T @ (features - centre) / counts
    within = float((((features - centre) - truth @ means) ** 2).mean())
    weights = means / max(within, 1e-12)
    shares = np.log(np.maximum(truth.mean(0), 0.5 / len(truth)))
    return make_head(weights, shares - 0.5 * (weights * means).sum(1) - weights @ centre)
