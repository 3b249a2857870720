"""Is there anything to learn? Out-of-fold heads of a labelled sample against their controls.

`charkit layers` asks it of held-out texts. A pilot holds nothing out: its rows are judged by heads
fitted to the other folds, so that all labels count twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charkit.heads.choice import SignalVerdict, classification_gains, has_signal
from charkit.heads.softmax import fit_softmax
from charkit.parallel.jobs import threads_limited

FloatArray = NDArray[np.float64]
CodeArray = NDArray[np.int64]

N_FOLDS = 5


@dataclass(frozen=True, eq=False)
class FoldedHeads:
    """What heads say of rows that were left out of their fit.

    Attributes:
        correct: Whether a row was right, (1, B, n).
        log_loss: In nats, (1, B, n).
    """

    correct: FloatArray
    log_loss: FloatArray


@threads_limited(1)
def pilot_signal(
    features: NDArray[np.float32],
    random_features: NDArray[np.float32],
    labels: CodeArray,
    n_classes: int,
    *,
    seed: int = 0,
) -> SignalVerdict:
    """Say whether heads on any layer beat the class shares and shuffled labels by more than chance.

    Args:
        features: Pooled states of the labelled texts, (n_layers, n, width).
        random_features: The same of a random encoder, (n_other, n, width).
        labels: Class codes, (n,).
        n_classes: How many classes there are.
        seed: Of the folds and of the shuffled labels.
    """
    fold = stratified_folds(labels, seed=seed)
    shares = _share_loss(labels, n_classes, fold)

    def gains(rows: NDArray[np.float32], codes: CodeArray) -> dict[str, FloatArray]:
        heads = folded_heads(rows, codes, n_classes, fold)
        prior = shares if codes is labels else _share_loss(codes, n_classes, fold)
        return classification_gains(
            heads.correct, heads.log_loss, codes, majority_log_loss=prior[None]
        )

    shuffled = np.random.default_rng(seed).permutation(labels)
    return has_signal(
        gains(features, labels),
        shuffled=gains(features, shuffled),
        random_encoder=gains(random_features, labels),
        seed=seed,
    )


def stratified_folds(labels: CodeArray, *, seed: int) -> CodeArray:
    """Return the fold, 0 to 4, of each row; every class is spread evenly."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % N_FOLDS
    return fold


def folded_heads(
    features: NDArray[np.float32], labels: CodeArray, n_classes: int, fold: CodeArray
) -> FoldedHeads:
    """Fit heads to the rows outside each fold and judge those inside.

    Each fold chooses its own strength. A fold whose outside has one class alone gives class
    shares to its rows.

    Args:
        features: (B, n, width).
        labels: Class codes, (n,).
        n_classes: How many classes there are.
        fold: The fold of each row, (n,).
    """
    shape = (1, *features.shape[:2])
    correct, loss = np.zeros(shape), np.zeros(shape)
    shares = _share_loss(labels, n_classes, fold)
    for k in np.unique(fold):
        kept, out = fold != k, fold == k
        if len(np.unique(labels[kept])) < 2:
            correct[0][:, out] = labels[out] == labels[kept][0]
            loss[0][:, out] = shares[out]
            continue
        heads = fit_softmax(features[:, kept], labels[kept], n_classes)
        told = heads.probabilities(features[:, out]).double().numpy()
        correct[0][:, out] = told.argmax(2) == labels[out]
        own = told[:, np.arange(out.sum()), labels[out]]
        loss[0][:, out] = -np.log(np.maximum(own, np.finfo(np.float64).tiny))
    return FoldedHeads(correct, loss)


def _share_loss(labels: CodeArray, n_classes: int, fold: CodeArray) -> FloatArray:
    """Return the log loss of the class shares outside each row's fold, one row added a class."""
    loss = np.zeros(len(labels))
    for k in np.unique(fold):
        counts = np.bincount(labels[fold != k], minlength=n_classes) + 1.0
        loss[fold == k] = -np.log(counts / counts.sum())[labels[fold == k]]
    return loss
