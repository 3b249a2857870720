"""Heads that other rules than softmax regression learned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from charkit.encoders import Encoder, encode_to_store
from charkit.fisher import FisherOptions, Head, make_head
from charkit.store import Store
from charkit.tasks import Task

FloatArray = NDArray[np.float64]

RULES = ("least squares", "class means")
"""Learning rules that `rule_head` knows."""


def rule_head(
    rule: str, sample: Task, encoder: Encoder, options: FisherOptions, store: Store
) -> Head:
    """Return a head on the last layer that another rule learned.

    ``least squares``: ridge regression of the classes' indicators, its strength chosen by
    leave-one-out error. ``class means``: the linear rule of Gaussian classes of one round
    covariance, that is the nearest mean, with log class shares.
    """
    states = encode_to_store(
        encoder,
        sample.train,
        store=store,
        pooling=options.pooling,
        max_length=options.max_length,
    )
    features = states.layer(encoder.n_layers).astype(np.float64)
    assert sample.train.labels is not None
    codes = sample.train.labels.astype(np.int64)
    truth = np.eye(sample.n_classes)[codes]
    if rule == "least squares":
        return _least_squares(features, truth)
    return _class_means(features, truth)


def _least_squares(features: FloatArray, truth: FloatArray) -> Head:
    import torch

    from charkit.heads.ridge import fit_ridge

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
