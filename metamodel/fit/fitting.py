"""From a meta-dataset to a metamodel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamodel.choice import LayerChoice, fit_choice
from metamodel.features import EVALUATION, LABELLED, TEXTLESS, WITHOUT_LABELS, at_sizes, describe
from metamodel.forecaster import Forecaster, fit_forecaster
from metamodel.model import Settings
from metamodel.predict import Metamodel, see
from metamodel.rows import MetaData, at_most
from metamodel.schema import PILOT_KEY

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOST_ROWS = 1_500
"""Rows of a corpus that a model learns from, at most: more of one corpus say little more."""


@dataclass(frozen=True)
class FitSettings:
    """How the models of a metamodel are fitted.

    Attributes:
        labelled: Accuracies of pilots with labels.
        unlabelled: Accuracies without any label.
        evaluation: Accuracies on unlabelled texts.
        most: Rows of a corpus, at most.
        n_folds: Parts that corpora are left out in, for intervals.
        seed: Of draws of rows and of trees.
    """

    labelled: Settings = field(default_factory=lambda: Settings(anchor="oof", penalty=100.0))
    unlabelled: Settings = field(default_factory=lambda: Settings(anchor="chance"))
    evaluation: Settings = field(default_factory=lambda: Settings(anchor="oof"))
    most: int = MOST_ROWS
    n_folds: int = 10
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows to learn from, all of one kind.

    Attributes:
        features: Columns of `metamodel.features.NAMES`, (n, ...).
        accuracy: What was reached, (n,).
        row: Row of evidence, (n,).
        size: Number of labels, (n,).
        corpus: Of each, (n,).
    """

    features: pd.DataFrame
    accuracy: FloatArray
    row: IntArray
    size: FloatArray
    corpus: NDArray[np.object_]

    def take(self, places: IntArray) -> Problem:
        """Return some rows."""
        return Problem(
            self.features.iloc[places].reset_index(drop=True),
            self.accuracy[places],
            self.row[places],
            self.size[places],
            self.corpus[places],
        )


def problem_of(data: MetaData) -> Problem:
    """Return all targets of a meta-dataset with the features of each."""
    targets = data.targets
    features = at_sizes(describe(data.evidence), targets.row, targets.size)
    corpus = data.corpora[targets.row]
    return Problem(features, targets.accuracy, targets.row, targets.size, corpus)


def fit_metamodel(
    data: MetaData, settings: FitSettings, *, encoders: Sequence[str] = ()
) -> Metamodel:
    """Fit everything.

    Args:
        data: The meta-dataset; pilots with labels and without.
        settings: How.
        encoders: Fingerprints of the encoders that the evidence is of.
    """
    n0 = data.evidence["n0"].to_numpy()
    labelled = data.part(n0 > 0)
    problem = problem_of(labelled)
    own = np.flatnonzero(problem.size == labelled.evidence["n0"].to_numpy()[problem.row])
    return Metamodel(
        encoders=tuple(encoders),
        labelled=_forecaster(problem, settings.labelled, settings, LABELLED),
        textless=_forecaster(problem, settings.labelled, settings, TEXTLESS),
        unlabelled=_forecaster(
            problem_of(data.part(n0 == 0)), settings.unlabelled, settings, WITHOUT_LABELS
        ),
        evaluation=_forecaster(problem.take(own), settings.evaluation, settings, EVALUATION),
        choice=choice_of(labelled.evidence, problem, settings),
        seen=see(data.evidence, pd.Series(pilot_numbers(data.evidence))),
    )


def choice_of(evidence: pd.DataFrame, problem: Problem, settings: FitSettings) -> LayerChoice:
    """Fit what tells layers apart."""
    used, pilot = whole_pilots(evidence, problem, settings)
    return fit_choice(used.features, used.accuracy, pilot, used.corpus, n_folds=settings.n_folds)


def whole_pilots(
    evidence: pd.DataFrame, problem: Problem, settings: FitSettings
) -> tuple[Problem, IntArray]:
    """Return rows drawn so that all layers of a pilot at a size are there, and which one each is.

    Args:
        evidence: What the problem's rows point to.
        problem: Rows to draw from.
        settings: How many, and the seed.
    """
    keys = pd.DataFrame({"pilot": pilot_numbers(evidence)[problem.row], "size": problem.size})
    codes = np.asarray(keys.groupby(["pilot", "size"], sort=False).ngroup(), np.int64)
    _, first = np.unique(codes, return_index=True)
    kept = at_most(problem.corpus[first], settings.most // 4, seed=settings.seed)
    mask = np.isin(codes, codes[first][kept])
    return problem.take(np.flatnonzero(mask)), codes[mask]


def pilot_numbers(evidence: pd.DataFrame) -> IntArray:
    """Return the number of the pilot of each row."""
    return np.asarray(evidence.groupby(PILOT_KEY, sort=False).ngroup(), np.int64)


def _forecaster(
    problem: Problem, model: Settings, settings: FitSettings, names: Sequence[str]
) -> Forecaster:
    used = problem.take(at_most(problem.corpus, settings.most, seed=settings.seed))
    return fit_forecaster(
        used.features,
        used.accuracy,
        used.corpus,
        model,
        names=names,
        n_folds=settings.n_folds,
        seed=settings.seed,
    )
