"""The accuracy on texts without labels, predicted from only the head's confidence.

Needed are out-of-fold probabilities of the labelled sample, where it is known who was right, and
the probabilities of the unlabelled texts. None of these can be right under every shift: all
assume that confidence means the same on both (Garg and others 2022, proposition 1).

References:
    Garg, Balakrishnan, Lipton, Neyshabur and Sedghi 2022, "Leveraging unlabeled data to predict
    out-of-distribution performance" (ATC).
    Guillory, Shankar, Ebrahimi, Darrell and Schmidt 2021, "Predicting with confidence on unseen
    distributions" (DoC).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from charkit.errors import DataError, UsageError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class LabelFreeAccuracy:
    """Estimates of the share right among unlabelled texts, each from 0 to 1.

    Attributes:
        average_confidence: Mean of the largest probability.
        doc: Accuracy on the labelled sample, less the fall of the mean confidence.
        atc_confidence: Share above the confidence that as many labelled texts exceed as are
            right (ATC with the largest probability).
        atc_entropy: The same with negative entropy for confidence.
    """

    average_confidence: float
    doc: float
    atc_confidence: float
    atc_entropy: float


def label_free_accuracy(
    known: ArrayLike, labels: ArrayLike, unknown: ArrayLike
) -> LabelFreeAccuracy:
    """Estimate the share right among unlabelled texts.

    Args:
        known: Out-of-fold probabilities of the labelled texts, (n_known, n_classes).
        labels: Their class codes, (n_known,).
        unknown: Probabilities of the unlabelled texts, (n_unknown, n_classes).

    Raises:
        DataError: Shapes do not fit, there are no rows, or a row is no distribution.
    """
    p, q = _distributions(known, "known"), _distributions(unknown, "unknown")
    codes = np.asarray(labels)
    if codes.shape != p.shape[:1] or p.shape[1] != q.shape[1]:
        raise DataError(
            "probabilities and labels do not fit: expected one label a known row and as many "
            f"classes on both sides, got {p.shape}, {codes.shape} and {q.shape}."
        )
    right = p.argmax(1) == codes
    accuracy = float(right.mean())
    fall = float(p.max(1).mean() - q.max(1).mean())
    return LabelFreeAccuracy(
        average_confidence=float(q.max(1).mean()),
        doc=float(np.clip(accuracy - fall, 0, 1)),
        atc_confidence=_share_above(p.max(1), q.max(1), accuracy),
        atc_entropy=_share_above(_negative_entropy(p), _negative_entropy(q), accuracy),
    )


def equivalent_rows(error: float, accuracy: float) -> float:
    """Return how many labelled test rows would give the same mean absolute error.

    The share right among k labelled rows misses the accuracy a by sqrt(2 a (1 - a) / (pi k)) on
    average (the normal approximation of the binomial), so k = 2 a (1 - a) / (pi error^2).

    Args:
        error: Mean absolute error of an estimate, above 0, as a fraction.
        accuracy: The true accuracy, between 0 and 1.

    Raises:
        UsageError: An argument is out of range.
    """
    if not error > 0 or not 0 <= accuracy <= 1:
        raise UsageError(
            "error or accuracy is out of range: expected an error above 0 and an accuracy from 0 "
            f"to 1, got {error} and {accuracy}."
        )
    return 2 * accuracy * (1 - accuracy) / (np.pi * error**2)


def _share_above(known: FloatArray, unknown: FloatArray, accuracy: float) -> float:
    """Return the share of the unknown above the level that a share of the known exceeds.

    The level lies half-way between the two known values that it divides, so that the known
    themselves would be predicted correctly.
    """
    ordered = np.sort(known)
    below = round((1 - accuracy) * len(ordered))
    if below == 0:
        level = -np.inf
    elif below == len(ordered):
        level = np.inf
    else:
        level = (ordered[below - 1] + ordered[below]) / 2
    # values equal to the level (many rows may tie) count half
    return float((unknown > level).mean() + (unknown == level).mean() / 2)


def _negative_entropy(p: FloatArray) -> FloatArray:
    logs = np.log(p, out=np.zeros_like(p), where=p > 0)
    return np.asarray((p * logs).sum(1))


def _distributions(values: ArrayLike, name: str) -> FloatArray:
    p = np.asarray(values, np.float64)
    if p.ndim != 2 or not len(p) or p.shape[1] < 2:
        raise DataError(
            f"{name}: expected probabilities (n_rows, n_classes) with at least one row and two "
            f"classes, got shape {p.shape}."
        )
    if not (np.isfinite(p).all() and (p >= 0).all() and np.allclose(p.sum(1), 1, atol=1e-4)):
        raise DataError(f"{name}: expected rows that sum to 1, got others. Use softmax outputs.")
    return p
