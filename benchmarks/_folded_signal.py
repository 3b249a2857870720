"""The signal test that `charkit estimate` had before: softmax heads of five folds.

Each fold chooses its own penalty, three times: with the labels as they are, shuffled, and with
states of a random encoder (left out here, it had no say). Kept to compare error rates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from charkit.heads.metrics.selection import classification_gains, has_signal
from charkit.heads.solver.softmax import fit_softmax

FloatArray = NDArray[np.float64]
CodeArray = NDArray[np.int64]

N_FOLDS = 5


def folded_signal(features: NDArray[np.float32], labels: CodeArray, *, seed: int = 0) -> bool:
    """Return whether heads of five folds beat class shares and shuffled labels."""
    fold = _folds(labels, seed=seed)

    def gains(codes: CodeArray) -> dict[str, FloatArray]:
        n_classes = int(labels.max()) + 1
        prior = _share_loss(codes, n_classes, fold)
        correct, loss = _judged(features, codes, n_classes, fold, prior)
        return classification_gains(correct, loss, codes, majority_log_loss=prior[None])

    shuffled = np.random.default_rng(seed).permutation(labels)
    return has_signal(gains(labels), shuffled=gains(shuffled), seed=seed).signal


def _folds(labels: CodeArray, *, seed: int) -> CodeArray:
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % N_FOLDS
    return fold


def _judged(
    features: NDArray[np.float32],
    labels: CodeArray,
    n_classes: int,
    fold: CodeArray,
    prior: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    shape = (1, *features.shape[:2])
    correct, loss = np.zeros(shape), np.zeros(shape)
    for k in np.unique(fold):
        kept, out = fold != k, fold == k
        if len(np.unique(labels[kept])) < 2:
            correct[0][:, out] = labels[out] == labels[kept][0]
            loss[0][:, out] = prior[out]
            continue
        heads = fit_softmax(features[:, kept], labels[kept], n_classes)
        found = heads.probabilities(features[:, out]).double().numpy()
        correct[0][:, out] = found.argmax(2) == labels[out]
        own = found[:, np.arange(out.sum()), labels[out]]
        loss[0][:, out] = -np.log(np.maximum(own, np.finfo(np.float64).tiny))
    return correct, loss


def _share_loss(labels: CodeArray, n_classes: int, fold: CodeArray) -> FloatArray:
    loss = np.zeros(len(labels))
    for k in np.unique(fold):
        counts = np.bincount(labels[fold != k], minlength=n_classes) + 1.0
        loss[fold == k] = -np.log(counts / counts.sum())[labels[fold == k]]
    return loss
