"""Which layer: the differences between a pilot's layers, from LogME, left-out scores and depth.

What layers share (the difficulty of the task, the luck of the sample) is taken out of the
accuracies that are learned. LogME, left-out loss of heads on the whole sample and on half of it,
and left-out margin are in standard deviations over the pilot's layers; how far they are to be
trusted beside depth may change with the numbers of labels and of classes. Loss of halves and margin
help from 128 labels on and harm nowhere; to give them no weight below that was no better. Two
dozen more figures (left-out accuracies, nearest neighbours, spectra, Fisher norms) were tried
beside them and made the choice no better on corpora left out.

Reference:
    You, Liu, Wang and Long 2021, "LogME: practical assessment of pre-trained models for transfer
    learning".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from metamodel.ridge import Ridge, fit_ridge
from metamodel.rows import corpus_folds, corpus_weights

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PENALTY = 300.0
# Of the depth: a polynomial of degree 4 turns at most three times between first and last layer.
_POWERS = (1, 2, 3, 4)
# Only against division by zero, where all layers of a pilot agree.
_LEAST = 1e-9


@dataclass(frozen=True, eq=False)
class LayerChoice:
    """Tells the layers of a pilot apart.

    Attributes:
        ridge: Predicts a layer's accuracy less the mean over layers.
        tie: Layers whose difference from the best is smaller tie with it: the typical error of a
            difference is exp(level + slope * log2 n0), as (level, slope).
    """

    ridge: Ridge
    tie: tuple[float, float]

    def differences(self, features: pd.DataFrame, pilot: IntArray) -> FloatArray:
        """Return each row's accuracy less the mean of its pilot's layers.

        Args:
            features: Columns of `metamodel.features.NAMES`, all at one number of labels a pilot.
            pilot: Which pilot, and number of labels, each row belongs to, (n_rows,).
        """
        return centre(self.ridge.predict(layer_features(features, pilot)), pilot)

    def tie_width(self, log_n0: float) -> float:
        """Return how much better the best must be to be distinguished, in accuracy.

        Args:
            log_n0: log2 of the available labels; minus infinity or NaN without any.
        """
        level, slope = self.tie
        return float(np.exp(level + slope * (log_n0 if np.isfinite(log_n0) else 0.0)))


def fit_choice(
    features: pd.DataFrame,
    accuracy: FloatArray,
    pilot: IntArray,
    corpora: ArrayLike,
    *,
    n_folds: int | None = 5,
) -> LayerChoice:
    """Fit what tells layers apart.

    Args:
        features: Columns of `metamodel.features.NAMES`, (n_rows, ...).
        accuracy: What was reached, (n_rows,).
        pilot: Which pilot, and number of labels, each row belongs to, (n_rows,).
        corpora: Corpus of each row, (n_rows,).
        n_folds: Parts that corpora are left out in, to learn what a tie is.
    """
    table, target = layer_features(features, pilot), centre(accuracy, pilot)
    groups = np.asarray(corpora, object).astype(str)
    predicted = differences_left_out(table, target, groups, n_folds=n_folds)
    weights = corpus_weights(groups)
    ridge = fit_ridge(table, target, weights, penalty=PENALTY)
    return LayerChoice(
        ridge, _tie(table["log_n0"].to_numpy(np.float64), target - predicted, weights)
    )


def differences_left_out(
    table: pd.DataFrame,
    target: FloatArray,
    corpora: NDArray[np.str_],
    *,
    n_folds: int | None = None,
) -> FloatArray:
    """Return what is predicted of each row by a model that saw nothing of its corpus, (n_rows,).

    Args:
        table: From `layer_features`.
        target: Accuracy less its mean over the pilot's layers, (n_rows,); rows where it is NaN
            are predicted, not learned from.
        corpora: Corpus of each row, (n_rows,).
        n_folds: Parts; None leaves out one corpus at a time.
    """
    folds, predicted = corpus_folds(corpora, n_folds), np.empty(len(target))
    for fold in np.unique(folds):
        out = folds == fold
        rows = ~out & np.isfinite(target)
        ridge = fit_ridge(table[rows], target[rows], corpus_weights(corpora[rows]), penalty=PENALTY)
        predicted[out] = ridge.predict(table[out])
    return predicted


def layer_features(features: pd.DataFrame, pilot: IntArray) -> pd.DataFrame:
    """Return what tells a layer from the pilot's others, and what that may depend on.

    Args:
        features: Columns of `metamodel.features.NAMES`, (n_rows, ...).
        pilot: Which pilot, and number of labels, each row belongs to, (n_rows,).
    """
    own = {}
    half_loss = features["loss"] - features["loss_step"]
    scores = {"logme": features["logme"], "loss": features["loss"], "half_loss": half_loss}
    for name, score in (scores | {"margin": features["margin"]}).items():
        values = centre(score.to_numpy(np.float64), pilot)
        spread = pd.Series(values**2).groupby(pilot).transform("mean").to_numpy() ** 0.5
        own[name] = values / np.maximum(spread, _LEAST)
    depth = features["depth"].to_numpy(np.float64)
    own |= {f"depth_{power}": centre(depth**power, pilot) for power in _POWERS}
    classes = features["log_classes"].to_numpy(np.float64)
    columns = own | {f"{name}_classes": values * (classes - 1) for name, values in own.items()}
    table = pd.DataFrame(columns, index=features.index)
    return table.assign(log_n0=features["log_n0"], log_ratio=features["log_ratio"])


def centre(values: FloatArray, pilot: IntArray) -> FloatArray:
    """Return values less the mean over each pilot's layers, (n_rows,)."""
    series = pd.Series(values)
    return (series - series.groupby(pilot).transform("mean")).to_numpy(np.float64)


def _tie(log_n0: FloatArray, errors: FloatArray, weights: FloatArray) -> tuple[float, float]:
    """Return a line through the log of the errors' size by log2 of n0."""
    size = np.log(np.abs(errors) + 1e-3)
    known = np.isfinite(log_n0)
    if not known.any() or np.ptp(log_n0[known]) == 0:
        return float(np.average(size, weights=weights)), 0.0
    slope, level = np.polyfit(log_n0[known], size[known], 1, w=np.sqrt(weights[known]))
    return float(level), float(slope)
