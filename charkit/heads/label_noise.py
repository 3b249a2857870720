"""How many labels look wrong: a curve of how often heads are right that ends below one.

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
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

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
