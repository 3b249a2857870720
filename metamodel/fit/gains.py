"""The table of what learners reached, and their gains over the linear head."""

from __future__ import annotations

import pandas as pd

from metamodel.learners import PROBE

COMPARED = ("concat", "setfit", "tuned")
"""Learners that are predicted, the simplest first; others of the table are controls."""

OUTCOMES = ("encoder", "task", "corpus", "learner", "n_train", "accuracy", "failed")
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
    """Return columns encoder, task, corpus, learner, n, truth, gain: means over runs.

    Args:
        outcomes: Keeps `check_learner_outcomes`. A gain is over the linear head of the same task
            and number of labels. Other learners are left out, and tasks without a head.
    """
    keys = ["encoder", "task", "corpus", "n_train"]
    means = outcomes.groupby([*keys, "learner"])["accuracy"].mean().unstack("learner")
    others = [name for name in COMPARED if name in means]
    found = [
        pd.DataFrame({"learner": name, "truth": means[name], "gain": means[name] - means[PROBE]})
        for name in others
    ]
    table = pd.concat(found).reset_index().dropna(subset=["truth", "gain"])
    return table.rename(columns={"n_train": "n"})
