"""What scores without a trained head make of a layer, as a row next to the heads' own score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from charkit.config import TaskKind
from charkit.errors import DataError
from charkit.heads.transferability import h_score, log_evidence, neighbour_accuracy


@dataclass(frozen=True)
class Rivals:
    """Scores of a layer's features and labels, the larger the better; NaN where there is none.

    Attributes:
        logme: Nats a contrast and target, see `charkit.heads.transferability.log_evidence`.
        h_score: 0 to C - 1; classification only.
        knn: Leave-one-out accuracy of five nearest neighbours; classification only.
    """

    logme: float
    h_score: float
    knn: float


def rival_scores(features: ArrayLike, labels: ArrayLike, *, kind: TaskKind) -> Rivals:
    """Return the rivals' scores of one layer.

    Args:
        features: Shape (n_samples, width).
        labels: Shape (n_samples,).
        kind: What the labels are.

    Returns:
        The scores; all NaN where the sample allows none (fewer than 3 rows, constant labels).
    """
    none = float("nan")
    x, y = np.asarray(features, np.float64), np.asarray(labels)
    try:
        logme = log_evidence(x, y, kind=kind)
    except DataError:
        return Rivals(none, none, none)
    if kind == "regression":
        return Rivals(logme, none, none)
    return Rivals(logme, h_score(x, y), neighbour_accuracy(x, y))
