"""The accuracy on texts without labels, predicted from only the head's confidence.

Needed are out-of-fold probabilities of the labelled sample, where it is known who was right, and
the probabilities of the unlabelled texts. None of these can be right under every shift: all
assume that confidence means the same on both (Garg and others 2022, proposition 1).

References:
    Garg, Balakrishnan, Lipton, Neyshabur and Sedghi 2022, "Leveraging unlabeled data to predict
    out-of-distribution performance" (ATC).
    Guillory, Shankar, Ebrahimi, Darrell and Schmidt 2021, "Predicting with confidence on unseen
    distributions" (DoC).

How many labels look wrong: a curve of how often heads are right that ends below one.

A head that is left out of a row and is nearly sure of its class is nearly always right there, if
the label is. With a share e of labels moved to another of C classes at random, the share of rows
where it agrees with the label ends at 1 - e however sure it is:

    P(agrees | s) = e / (C - 1) + (1 - e C / (C - 1)) / (1 + exp(-a - b s)),    b > 0,

for s the log-odds of its confidence. The floor of errors e is the lapse rate of a psychometric
curve; the interval is that of the profile likelihood. Texts that are hard, not mislabelled, show
as little confidence. On hard tasks, where heads are sure of no row, the interval begins at zero.

References:
    Copas 1988, "Binary regression models for contaminated data".
    Wichmann and Hill 2001, "The psychometric function: fitting, sampling, and goodness of fit".
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


SHARES = np.concatenate([[0.0], np.geomspace(0.003, 0.45, 23)])
"""Shares of wrong labels that are tried; half of them wrong looks like a hard task."""

_SURE = 1e-4  # no confidence is read as surer than this: a thousand rows could not show it
_DROP = 2.7055  # of twice the log likelihood at the ends of a 90 % interval
_SPREAD = np.array([2.0, 1.0])  # of a and of log b, before any row is seen: a logit as it stands
_STEPS = 30  # scoring on two weights ends within ten; the limit is for hopeless cases


@dataclass(frozen=True)
class LabelNoise:
    """Share of the labels that look wrong, with its 90 % interval; all from 0 to 1."""

    mean: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """Whether any label is shown to be wrong."""
        return self.low > 0


def label_noise(agrees: NDArray[np.bool_], confidence: FloatArray, n_classes: int) -> LabelNoise:
    """Return the share of labels that look wrong.

    Args:
        agrees: Whether the head that was left out of a row predicts its label, (n,).
        confidence: Its probability of what it predicts, (n,).
        n_classes: Classes that have a label.
    """
    s = np.clip(confidence, _SURE, 1 - _SURE)
    s = np.log(s / (1 - s))
    losses = np.empty(len(SHARES))
    w = np.zeros(2)
    for place, share in enumerate(SHARES):
        losses[place], w = _fit(w, share, s, agrees, n_classes)
    fine = np.linspace(0, SHARES[-1], 901)
    drop = 2 * (np.interp(fine, SHARES, losses) - losses.min())
    inside = fine[drop <= _DROP]
    return LabelNoise(float(fine[drop.argmin()]), float(inside[0]), float(inside[-1]))


def _fit(
    w: FloatArray, share: float, s: FloatArray, agrees: NDArray[np.bool_], n_classes: int
) -> tuple[float, FloatArray]:
    """Return the smallest loss of (a, log b) for a share, and these; by damped Fisher scoring."""
    base, height = share / (n_classes - 1), 1 - share * n_classes / (n_classes - 1)

    def loss(w: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        slope = np.exp(w[1])
        q = 1 / (1 + np.exp(-np.clip(w[0] + slope * s, -30, 30)))
        p = np.clip(base + height * q, 1e-9, 1 - 1e-9)
        value = -np.where(agrees, np.log(p), np.log1p(-p)).sum()
        value += ((w / _SPREAD) ** 2).sum() / 2
        inner = height * q * (1 - q)
        x = np.stack([np.ones_like(s), slope * s], 1)
        pull = x.T @ (inner * (p - agrees) / (p * (1 - p))) + w / _SPREAD**2
        curve = (x.T * (inner**2 / (p * (1 - p)))) @ x + np.diag(1 / _SPREAD**2)
        return float(value), pull, curve

    value, pull, curve = loss(w)
    for _ in range(_STEPS):
        step = np.linalg.solve(curve, pull)
        step /= max(1.0, float(np.abs(step).max()))
        for _halving in range(12):
            found = loss(w - step)
            if found[0] <= value:
                break
            step = step / 2
        else:
            break
        w, gain = w - step, value - found[0]
        value, pull, curve = found
        if gain < 1e-7:
            break
    return value, w
