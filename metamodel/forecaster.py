"""A model of accuracies and intervals around it, fitted so that no corpus judges itself.

How wide: the expected size of an error by row, and the multiples of it that cover new corpora.

A model of the error's size (`Spread`) makes rows comparable. Two intervals are made of it. The 90 %
interval ends at the 5 % and 95 % quantiles of the errors in these units, every corpus counting
alike: nine predictions in ten are in it. The wide one comes from conformal prediction over corpora
(`metamodel.conformal`): it covers nine rows in ten of nearly every corpus. Errors are those made on
corpora that the model has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from metamodel.conformal import group_threshold, row_threshold
from metamodel.model import Mixture, Settings, anchor_of, fit_mixture
from metamodel.ridge import Ridge, fit_ridge, ridge_from
from metamodel.rows import corpus_folds, corpus_weights

FloatArray = NDArray[np.float64]

# The level that the README promises; the scorecard shows how often it holds.
LEVEL = 0.9
ENDS = (0.05, 0.95)
"""Probabilities of the ends of a 90 % interval."""

TASK_SHARE = 0.85
"""Share of new corpora of which `LEVEL` of the rows are to be covered."""

_READ = (
    *("log_n0", "log_ratio", "log_n", "log_classes", "chance", "depth", "disagreement"),
    *("step_1", "loss", "margin_q25", "state_shift", "class_shift"),
)
_LEAST = 0.005  # half a point: no head's accuracy is known better
_PENALTY = 100.0
# Each model of the spread learns from nine corpora in ten, nearly as many as the one that is kept.
_FOLDS = 10
# An odd number, so that the median is one of them; steps of a hundredth, half of them at the ends.
_N_QUANTILES = 99


@dataclass(frozen=True, eq=False)
class Spread:
    """The expected size of errors.

    Attributes:
        model: Of the logarithm of the size.
        scale: What its exponential is multiplied by to be right in the mean.
    """

    model: Ridge
    scale: float

    def predict(self, features: pd.DataFrame, mean: FloatArray) -> FloatArray:
        """Return the expected absolute error of each row, in accuracy.

        Args:
            features: Columns of `metamodel.features.NAMES`.
            mean: Predicted accuracies, (n_rows,).
        """
        predicted = np.exp(self.model.predict(_read(features, mean)))
        return np.asarray(np.maximum(self.scale * predicted, _LEAST))


def fit_spread(
    features: pd.DataFrame, mean: FloatArray, errors: FloatArray, corpora: ArrayLike
) -> Spread:
    """Fit the expected size of errors made on corpora not seen.

    Args:
        features: Columns of `metamodel.features.NAMES`, (n_rows, ...).
        mean: Predicted accuracies, (n_rows,).
        errors: Truth less prediction, (n_rows,).
        corpora: Corpus of each row, (n_rows,).
    """
    sizes = np.abs(errors)
    weights = corpus_weights(corpora)
    table = _read(features, mean)
    model = fit_ridge(table, np.log(sizes + _LEAST), weights, penalty=_PENALTY)
    predicted = np.exp(model.predict(table))
    scale = np.average(sizes, weights=weights) / np.average(predicted, weights=weights)
    return Spread(model, float(scale))


@dataclass(frozen=True, eq=False)
class Band:
    """Intervals around predictions.

    Attributes:
        spread: Expected size of errors.
        threshold: Multiple of it that the wide interval reaches to each side.
        quantiles: Signed multiples of it, at equal steps of probability, (n_quantiles,): what
            errors look like, every corpus counting alike.
    """

    spread: Spread
    threshold: float
    quantiles: FloatArray

    @property
    def ends(self) -> tuple[float, float]:
        """Signed multiples at which the 90 % interval ends."""
        low, high = ends_of(self.quantiles)
        return float(low), float(high)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "spread": {"model": self.spread.model.to_dict(), "scale": self.spread.scale},
            "threshold": self.threshold,
            "quantiles": self.quantiles.tolist(),
        }


def band_from(given: dict[str, Any]) -> Band:
    """Return the intervals that `Band.to_dict` wrote.

    Raises:
        KeyError: A field is missing.
    """
    spread = Spread(ridge_from(given["spread"]["model"]), given["spread"]["scale"])
    return Band(spread, given["threshold"], np.array(given["quantiles"], np.float64))


def ends_of(quantiles: FloatArray) -> FloatArray:
    """Return the multiples at which 90 % intervals end, (2, ...).

    Args:
        quantiles: From `Band.quantiles`, (..., n_quantiles).
    """
    n = quantiles.shape[-1]
    steps = (np.arange(n) + 0.5) / n
    rows = quantiles.reshape(-1, n)
    found = np.array([np.interp(ENDS, steps, row) for row in rows])
    return np.asarray(found.T.reshape(2, *quantiles.shape[:-1]))


def fit_band(
    features: pd.DataFrame, mean: FloatArray, errors: FloatArray, corpora: ArrayLike
) -> Band:
    """Fit intervals to errors made on corpora not seen.

    The sizes that calibrate them are predicted for each corpus from the others.

    Args:
        features: Columns of `metamodel.features.NAMES`.
        mean: Predicted accuracies, (n_rows,).
        errors: Truth less prediction, (n_rows,).
        corpora: Corpus of each row, (n_rows,).
    """
    groups = np.asarray(corpora, object).astype(str)
    folds = corpus_folds(groups, _FOLDS)
    expected = np.empty(len(errors))
    for fold in np.unique(folds):
        out = folds == fold
        spread = fit_spread(features[~out], mean[~out], errors[~out], groups[~out])
        expected[out] = spread.predict(features[out], mean[out])
    scores = errors / expected
    spread = fit_spread(features, mean, errors, groups)
    # Quantiles of scores, every group weighing alike.
    _, codes = np.unique(groups, return_inverse=True)
    weights = 1 / np.bincount(codes)[codes]
    order = scores.argsort(kind="stable")
    mass = (weights[order].cumsum() - weights[order] / 2) / weights.sum()
    steps = (np.arange(_N_QUANTILES) + 0.5) / _N_QUANTILES
    quantiles = np.asarray(np.interp(steps, mass, scores[order]))
    return Band(spread, _threshold(np.abs(scores), groups), quantiles)


def _threshold(scores: FloatArray, groups: NDArray[np.str_]) -> float:
    """Return the larger of the two promises; the largest score where groups are too few."""
    predicted = max(
        row_threshold(scores, groups, level=LEVEL),
        group_threshold(scores, groups, level=LEVEL, share=TASK_SHARE),
    )
    return float(predicted) if np.isfinite(predicted) else float(scores.max())


def _read(features: pd.DataFrame, mean: FloatArray) -> pd.DataFrame:
    table = features[[name for name in _READ if name in features]].copy()
    table["deviation"] = np.log(np.clip(mean * (1 - mean), 0.01, None))
    table["room"] = np.clip(mean - features["chance"].to_numpy(np.float64), 0, 1)
    return table


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
