"""A model of accuracies and intervals around it, fitted so that no corpus judges itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from metamodel.intervals import Band, fit_band
from metamodel.model import Mixture, Settings, anchor_of, fit_mixture
from metamodel.rows import corpus_folds, corpus_weights

FloatArray = NDArray[np.float64]

# As in `metamodel.features`: a share of a shorter way from chance to 1 means nothing.
_LEAST_GAP = 0.05


@dataclass(frozen=True, eq=False)
class Forecaster:
    """Predicts accuracies, and how far off they may be.

    Attributes:
        mixture: What it adds to the anchor, as a share of the way from chance to 1.
        band: Intervals.
    """

    mixture: Mixture
    band: Band

    def mean(self, features: pd.DataFrame) -> FloatArray:
        """Return expected accuracies of rows with the columns `metamodel.features.NAMES`."""
        return predict_accuracy(self.mixture, features)

    def spread(self, features: pd.DataFrame, mean: FloatArray) -> FloatArray:
        """Return the expected absolute error of each row."""
        return self.band.spread.predict(features, mean)

    def interval(self, mean: FloatArray, spread: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the ends of 90 % intervals, within [0, 1]."""
        low, high = self.band.ends
        return np.clip(mean + low * spread, 0, 1), np.clip(mean + high * spread, 0, 1)

    def wide(self, mean: FloatArray, spread: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the ends of intervals that hold 90 % of the time on 9 tasks in 10."""
        half = self.band.threshold * spread
        return np.clip(mean - half, 0, 1), np.clip(mean + half, 0, 1)


def fit_forecaster(
    features: pd.DataFrame,
    accuracy: FloatArray,
    corpora: ArrayLike,
    settings: Settings,
    *,
    names: Sequence[str],
    n_folds: int = 5,
    seed: int = 0,
) -> Forecaster:
    """Fit a model to all rows, and intervals to its errors on corpora left out.

    Args:
        features: Columns of `metamodel.features.NAMES`, (n_rows, ...).
        accuracy: What was reached, (n_rows,).
        corpora: Corpus of each row, (n_rows,).
        settings: How to fit.
        names: Features to read.
        n_folds: Parts that the corpora are left out in.
        seed: Of the trees.
    """
    groups = np.asarray(corpora, object).astype(str)
    mean = out_of_corpus(
        features, accuracy, groups, settings, names=names, n_folds=n_folds, seed=seed
    )
    band = fit_band(features, mean, accuracy - mean, groups)
    return Forecaster(fit_model(features, accuracy, groups, settings, names=names, seed=seed), band)


def out_of_corpus(
    features: pd.DataFrame,
    accuracy: FloatArray,
    corpora: ArrayLike,
    settings: Settings,
    *,
    names: Sequence[str],
    n_folds: int | None = 5,
    seed: int = 0,
) -> FloatArray:
    """Return the accuracy of each row as predicted by a model that saw nothing of its corpus.

    Args:
        features: Columns of `metamodel.features.NAMES`, (n_rows, ...).
        accuracy: What was reached, (n_rows,).
        corpora: Corpus of each row, (n_rows,).
        settings: How to fit.
        names: Features to read.
        n_folds: Parts; None leaves out one corpus at a time.
        seed: Of the trees.
    """
    groups = np.asarray(corpora, object).astype(str)
    folds = corpus_folds(groups, n_folds)
    predicted = np.empty(len(accuracy))
    for fold in np.unique(folds):
        out = folds == fold
        model = fit_model(
            features[~out], accuracy[~out], groups[~out], settings, names=names, seed=seed
        )
        predicted[out] = predict_accuracy(model, features[out])
    return predicted


def fit_model(
    features: pd.DataFrame,
    accuracy: FloatArray,
    corpora: ArrayLike,
    settings: Settings,
    *,
    names: Sequence[str],
    seed: int = 0,
) -> Mixture:
    """Fit what is missing from the anchor; errors are weighed in points of accuracy.

    Args:
        features: Columns of `metamodel.features.NAMES`, (n_rows, ...).
        accuracy: What was reached, (n_rows,).
        corpora: Corpus of each row, (n_rows,).
        settings: How to fit.
        names: Features to read.
        seed: Of the trees.
    """
    chance, way = _way(features)
    target = (accuracy - chance) / way - anchor_of(features, settings.anchor)
    weights = corpus_weights(corpora) * way**2
    return fit_mixture(features, target, weights, settings, names=names, seed=seed)


def predict_accuracy(model: Mixture, features: pd.DataFrame) -> FloatArray:
    """Return the accuracies that a model predicts, within [0, 1]."""
    chance, way = _way(features)
    predicted = anchor_of(features, model.settings.anchor) + model.predict(features)
    return np.asarray(np.clip(chance + way * predicted, 0.0, 1.0))


def _way(features: pd.DataFrame) -> tuple[FloatArray, FloatArray]:
    chance = features["chance"].to_numpy(np.float64)
    return chance, np.maximum(1 - chance, _LEAST_GAP)
