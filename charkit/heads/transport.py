"""Accuracy on texts without labels by optimal transport of predictions to labels (COTT).

The probabilities of the unlabelled texts are matched with one-hot labels in the shares that the
labelled sample has, at the least total cost; the cost of a text is 1 minus the probability of the
label that it is matched with (the largest difference of the two distributions). A text counts as
wrong whose cost is above the level that as many labelled texts exceed as are wrong.

Reference: Lu, Qin, Zhai, Shen, Zhang, Wang and Lin 2023, "Characterizing out-of-distribution error
via optimal transport" (COT and COTT).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def cott_accuracy(known: ArrayLike, labels: ArrayLike, unknown: ArrayLike) -> float:
    """Return the share right among unlabelled texts by COTT, from 0 to 1.

    Args:
        known: Out-of-fold probabilities of the labelled texts, (n_known, n_classes).
        labels: Their class codes, (n_known,).
        unknown: Probabilities of the unlabelled texts, (n_unknown, n_classes).
    """
    p, q = np.asarray(known, np.float64), np.asarray(unknown, np.float64)
    codes = np.asarray(labels, np.int64)
    shares = np.bincount(codes, minlength=p.shape[1]) / len(codes)
    mine, theirs = _costs(p, shares), _costs(q, shares)
    n_wrong = int((p.argmax(1) != codes).sum())
    ordered = np.sort(mine)[::-1]
    if n_wrong == 0:
        return 1.0
    if n_wrong == len(ordered):
        return 0.0
    level = (ordered[n_wrong - 1] + ordered[n_wrong]) / 2
    return float((theirs < level).mean() + (theirs == level).mean() / 2)


def _costs(p: FloatArray, shares: FloatArray) -> FloatArray:
    """Return the cost of each row where rows meet labels of the given shares at least cost."""
    from scipy.optimize import linear_sum_assignment  # not at import: some machines lack it

    targets = np.repeat(np.arange(len(shares)), _counts(shares, len(p)))
    cost = 1 - p[:, targets]
    rows, columns = linear_sum_assignment(cost)
    out = np.empty(len(p))
    out[rows] = cost[rows, columns]
    return out


def _counts(shares: FloatArray, n: int) -> NDArray[np.int64]:
    """Return whole numbers in the given shares that add up to n (largest remainders).

    >>> _counts(np.array([0.5, 0.25, 0.25]), 5).tolist()
    [3, 1, 1]
    """
    wanted = shares * n
    counts = np.floor(wanted).astype(np.int64)
    order = np.argsort(counts - wanted, kind="stable")
    counts[order[: n - counts.sum()]] += 1
    return counts
