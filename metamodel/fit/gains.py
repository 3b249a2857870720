"""The table of what learners reached, and their gains over the linear head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamodel.learners.compare import FEWEST_CORPORA, PROBE

FloatArray = NDArray[np.float64]

COMPARED = ("concat", "setfit", "tuned")
"""Learners that are predicted, the simplest first; others of the table are controls."""

OUTCOMES = (
    "encoder",
    "task",
    "corpus",
    "learner",
    "n_train",
    "seed",
    "accuracy",
    "failed",
    "mean_tokens",
)
"""Columns that are read of the table of outcomes."""


def check_learner_outcomes(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of outcomes when it can be used.

    Raises:
        ValueError: A column is missing, an accuracy is out of range, or there is no linear head.
    """
    missing = [name for name in OUTCOMES if name not in table]
    if missing:
        raise ValueError(f"columns are missing: expected {missing}, got {list(table.columns)}.")
    known = table["accuracy"].dropna()
    if not known.between(0, 1).all():
        raise ValueError(f"accuracy: expected 0 to 1, got {known.min():g} to {known.max():g}.")
    if PROBE not in set(table["learner"]):
        raise ValueError(
            f"learner: expected {PROBE!r} among them, got {sorted(table['learner'].unique())}."
        )
    return table


def mean_gains(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Return columns encoder, task, corpus, learner, n, truth, gain, tokens: means over draws.

    Args:
        outcomes: Keeps `check_learner_outcomes`. A gain is over the linear head of the same draw.
            Draws without a head are left out, those of runs that diverged, and other learners.
    """
    keys = ["encoder", "task", "corpus", "n_train"]
    runs = outcomes.pivot_table(index=[*keys, "seed"], columns="learner", values="accuracy")
    names = [name for name in COMPARED if name in runs and PROBE in runs]
    if not names:
        return pd.DataFrame(columns=[*keys[:-1], "learner", "n", "truth", "gain", "tokens"])
    found = []
    tokens = outcomes.groupby([*keys, "seed"])["mean_tokens"].mean()
    for name in names:
        own = pd.DataFrame({"truth": runs[name], "gain": runs[name] - runs[PROBE]}).dropna()
        own["tokens"] = tokens
        found.append(own.groupby(keys).mean().assign(learner=name))
    return pd.concat(found).reset_index().rename(columns={"n_train": "n"})


@dataclass(frozen=True, eq=False)
class GainRows:
    """Pilots, and what a learner reached with more labels.

    Attributes:
        table: Columns task, corpus, n0, n, probe (predicted with the corpus left out), truth,
            gain (over the linear head of the same runs), tokens (mean of a text).
        known: Columns of `metamodel.features.gain_features`.
        gains: Gain by corpus and number of labels, means over tasks, (n_corpora, n_knots).
        reference: The same of a learner that was measured on more corpora; None without.
    """

    table: pd.DataFrame
    known: pd.DataFrame
    gains: pd.DataFrame
    reference: pd.DataFrame | None = None

    @property
    def corpora(self) -> NDArray[np.str_]:
        """Corpus of each row."""
        return self.table["corpus"].to_numpy(object).astype(str)

    @property
    def probe(self) -> FloatArray:
        """Predicted accuracy of the linear head."""
        return self.table["probe"].to_numpy(np.float64)

    @property
    def gain(self) -> FloatArray:
        """What the learner reached, less the linear head of the same runs."""
        return self.table["gain"].to_numpy(np.float64)

    @property
    def truth(self) -> FloatArray:
        """What the learner reached."""
        return self.table["truth"].to_numpy(np.float64)

    def accuracy(self, gain: FloatArray) -> FloatArray:
        """Return the learner's accuracies that predicted gains give."""
        return np.clip(self.probe + gain, 0, 1)

    def take(self, places: NDArray[np.bool_]) -> GainRows:
        """Return some rows, and the gains of their corpora; nothing of corpora without a row."""
        table = self.table[places].reset_index(drop=True)
        known = self.known[places].reset_index(drop=True)
        kept, reference = set(table["corpus"]), self.reference
        if reference is not None:
            removed = set(self.table["corpus"]) - kept
            reference = reference[~reference.index.isin(removed)]
        return GainRows(table, known, self.gains.loc[sorted(kept)], reference)

    def mean_gains(self) -> pd.Series:
        """Return the mean gain at each number of labels, every corpus counting alike.

        With a reference, corpora without a run count as well: by the reference's gain there, and
        the mean difference of the two on the corpora of both (a difference estimator).
        """
        means = self.gains.mean(axis=0).dropna()
        if self.reference is None:
            return means
        for n in means.index.intersection(self.reference.columns):
            every = self.reference[n].dropna()
            shared = every[every.index.isin(self.gains.index[self.gains[n].notna()])]
            if len(shared) >= FEWEST_CORPORA:
                means[n] += every.mean() - shared.mean()
        return means
