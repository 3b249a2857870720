"""Predictions for corpora that were left out: what the scorecard is made from.

Every corpus is left out in turn. Models learn from a limited number of rows of each other corpus
(all parts, all sizes) and predict the left-out one's; intervals for it come from the errors made
on the others when they were left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamodel.fitting import Problem
from metamodel.folds import at_most, corpus_folds
from metamodel.forecaster import fit_model, predict_accuracy
from metamodel.intervals import ends_of, fit_band
from metamodel.model import Settings

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Asked:
    """Rows of which something is asked.

    Attributes:
        features: Columns of `metamodel.features.NAMES`, (n, ...).
        corpus: Of each, (n,).
    """

    features: pd.DataFrame
    corpus: NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Predictions without a look at the same corpus.

    Attributes:
        learned: Rows that models learned from.
        learned_mean: Predicted accuracy of each.
        asked: Rows that were asked about.
        mean: Predicted accuracy of each.
    """

    learned: Problem
    learned_mean: FloatArray
    asked: Asked
    mean: FloatArray


def leave_out(
    problem: Problem,
    asked: Asked,
    settings: Settings,
    *,
    names: Sequence[str],
    most: int,
    n_folds: int | None = None,
    seed: int = 0,
    tick: Callable[[int, int], None] | None = None,
) -> LeftOut:
    """Predict rows with their corpus left out.

    Args:
        problem: Rows to learn from.
        asked: Rows to predict.
        settings: How to fit.
        names: Features to read.
        most: Rows of a corpus that models learn from.
        n_folds: Parts; None leaves out one corpus at a time.
        seed: Of draws of rows and of trees.
        tick: Called with corpora (or parts) done and all of them.
    """
    used = problem.take(at_most(problem.corpus, most, seed=seed))
    both = np.concatenate([used.corpus, asked.corpus]).astype(str)
    folds = corpus_folds(both, n_folds)
    learned_fold, asked_fold = folds[: len(used.corpus)], folds[len(used.corpus) :]
    learned_mean, mean = np.empty(len(used.corpus)), np.empty(len(asked.corpus))
    parts = np.unique(folds)
    for done, fold in enumerate(parts):
        keep, out = learned_fold != fold, asked_fold == fold
        model = fit_model(
            used.features[keep],
            used.accuracy[keep],
            used.corpus[keep],
            settings,
            names=names,
            seed=seed,
        )
        learned_mean[~keep] = predict_accuracy(model, used.features[~keep])
        mean[out] = predict_accuracy(model, asked.features[out])
        if tick is not None:
            tick(done + 1, len(parts))
    return LeftOut(used, learned_mean, asked, mean)


@dataclass(frozen=True, eq=False)
class Bands:
    """Intervals of the rows asked about, from the errors of other corpora.

    Attributes:
        spread: Expected absolute error, (n,).
        threshold: Multiples of it that the wide interval reaches to each side, (n,).
        quantiles: Signed multiples, equally likely, (n_corpora, n_quantiles).
        corpus: Row of `quantiles` of each, (n,).
    """

    spread: FloatArray
    threshold: FloatArray
    quantiles: FloatArray
    corpus: IntArray

    @property
    def half(self) -> FloatArray:
        """Half the width of each wide interval before it is cut to [0, 1], (n,)."""
        return self.spread * self.threshold

    @property
    def reach(self) -> tuple[FloatArray, FloatArray]:
        """How far each 90 % interval reaches below and above the mean, before it is cut, (n,)."""
        low, high = ends_of(self.quantiles)[:, self.corpus]
        return -low * self.spread, high * self.spread


def bands_of(found: LeftOut) -> Bands:
    """Return the intervals; a corpus's own errors play no part in its own."""
    learned, asked = found.learned, found.asked
    errors = learned.accuracy - found.learned_mean
    spread, threshold = np.empty(len(found.mean)), np.empty(len(found.mean))
    names, codes = np.unique(asked.corpus.astype(str), return_inverse=True)
    quantiles = []
    for name in names:
        others, own = learned.corpus != name, asked.corpus == name
        band = fit_band(
            learned.features[others],
            found.learned_mean[others],
            errors[others],
            learned.corpus[others],
        )
        spread[own] = band.spread.predict(asked.features[own], found.mean[own])
        threshold[own] = band.threshold
        quantiles.append(band.quantiles)
    return Bands(spread, threshold, np.stack(quantiles), codes.astype(np.int64))
