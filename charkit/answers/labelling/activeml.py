"""scikit-activeml's strategies with the settings that suit unit vectors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skactiveml.classifier import SklearnClassifier
from skactiveml.pool import Badge, MaxHerding, ProbCover, TypiClust

from charkit.heads.probe import LinearProbe

_LOOSE = 1e-3
"""Relative objective gap of the heads that are asked where they are unsure."""


def query(
    features: NDArray[np.float64],
    labels: NDArray[np.float64],
    *,
    n: int,
    strategy: str,
    n_classes: int,
    seed: int,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the rows to label next, and what the strategy thought of every row at each choice.

    Args:
        features: Unit vectors, (n_rows, width).
        labels: Class codes, NaN where there is none, (n_rows,).
        n: How many.
        strategy: One of `charkit.answers.labelling.strategies.STRATEGIES` but ``margin`` and
            ``random``.
        n_classes: How many classes there are.
        seed: Of all chance.

    Returns:
        Rows, (n,); utilities, (n, n_rows).
    """
    method, more = _make(strategy, n_classes, seed)
    candidates = np.flatnonzero(np.isnan(labels))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)  # they are
        rows, utilities = method.query(
            features, labels, candidates=candidates, batch_size=n, return_utilities=True, **more
        )
    return rows, utilities


def _make(strategy: str, n_classes: int, seed: int) -> tuple[Any, dict[str, Any]]:
    """Return a strategy and what its ``query`` needs beside features and labels."""
    if strategy == "typiclust":
        return TypiClust(random_state=seed, cluster_algo_dict={"n_init": 1}), {}
    if strategy == "probcover":
        return ProbCover(n_classes=n_classes, random_state=seed), {}
    if strategy == "maxherding":
        # the kernel's width is 1 for unit vectors, as its authors set it
        return MaxHerding(metric_dict={"gamma": 1.0}, random_state=seed), {}
    head = SklearnClassifier(LinearProbe(tolerance=_LOOSE), random_state=seed)
    return Badge(random_state=seed), {"clf": head}
