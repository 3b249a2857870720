"""Pilots and what was asked of them: one row a pilot, layer and multiple of its labels.

And what ways of training gained over a linear head: one row a task and number of labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamodel.extrapolate import FAMILIES
from metamodel.features import Described, at_sizes, describe
from metamodel.judging import Asked
from metamodel.learners import PROBE
from metamodel.rows import MetaData
from metamodel.schema import PILOT_KEY

FloatArray = NDArray[np.float64]

WHOLE = "all"
"""The part of a task that is the task itself."""

MULTIPLES: tuple[float, ...] = tuple(2 ** (k / 2) for k in range(11))
"""1 to 32 in half doublings."""

JUDGED_MULTIPLES = (2, 4, 8, 32)

COMPARED = ("concat", "setfit", "tuned")
"""Learners that are predicted, the simplest first; others of the table are controls."""

OUTCOMES = ("encoder", "task", "corpus", "learner", "n_train", "accuracy", "failed")
"""Columns that are read of the table of outcomes."""


def judged_pilots(data: MetaData, sizes: Sequence[int]) -> pd.DataFrame:
    """Return the evidence of whole tasks' pilots of some sizes.

    Args:
        data: The meta-dataset.
        sizes: Numbers of labels.
    """
    rows = data.evidence
    kept = (rows["subset"] == WHOLE) & rows["n0"].isin(list(sizes))
    return rows[kept].reset_index(drop=True)


def ask(
    evidence: pd.DataFrame, data: MetaData, multiples: Sequence[float] = MULTIPLES
) -> tuple[pd.DataFrame, Asked]:
    """Return what is asked: a frame with the truth where it is known, and the features.

    Args:
        evidence: Pilots, all layers of each.
        data: Where the truth comes from.
        multiples: Of the pilots' labels.

    Returns:
        Columns encoder, task, corpus, seed, layer, n0, n_classes, pilot, multiple, n, truth (the
        mean accuracy over draws of heads trained on n labels), and what simple predictors say:
        last, law, pow2, pow3, mmf4, median3, spectral, mean (over the other corpora's
        tasks at n under the same encoder, NaN where there is none).
    """
    described = describe(evidence)
    rows = np.repeat(np.arange(len(evidence)), len(multiples))
    multiple = np.tile(np.asarray(multiples, np.float64), len(evidence))
    size = np.round(described.n0[rows] * multiple)
    keys = ["encoder", "task", "corpus", "seed", "layer", "n0", "n_classes"]
    frame = evidence.iloc[rows][keys].reset_index(drop=True)
    frame["pilot"] = described.pilot[rows]
    frame["multiple"], frame["n"] = multiple, size.astype(np.int64)
    truth = mean_outcomes(data)
    frame = frame.merge(truth, on=["encoder", "task", "layer", "n"], how="left")
    for name, predicted in _simple(described, rows, size).items():
        frame[name] = predicted
    frame["mean"] = _mean_elsewhere(frame, truth)
    asked = Asked(at_sizes(described, rows, size), frame["corpus"].to_numpy(object))
    return frame, asked


def mean_outcomes(data: MetaData) -> pd.DataFrame:
    """Return columns encoder, task, layer, n, truth of whole tasks: means over draws.

    At a pilot's own size the draws are the pilots', else all.
    """
    rows, targets = data.evidence, data.targets
    known = rows.iloc[targets.row][[*PILOT_KEY, "layer"]].reset_index(drop=True)
    known["n"], known["truth"] = targets.size.astype(np.int64), targets.accuracy
    whole = known[known["subset"] == WHOLE]
    own = whole["n"] == whole["n0"]
    keys = ["encoder", "task", "layer", "n"]
    drawn = whole[own].groupby(keys, as_index=False)["truth"].mean()
    predicted = whole[~own].groupby(keys, as_index=False)["truth"].first()
    both: pd.DataFrame = pd.concat([predicted, drawn]).drop_duplicates(keys, keep="first")
    return both.reset_index(drop=True)


def _simple(
    described: Described, rows: NDArray[np.int64], size: FloatArray
) -> dict[str, FloatArray]:
    predicted = described.extrapolated(rows, size)
    columns = {"last": described.last[rows], "law": described.law_at(rows, size)}
    columns |= {str(family): predicted[place] for place, family in enumerate(FAMILIES)}
    columns["median3"] = np.sort(predicted, axis=0)[len(predicted) // 2]
    columns["spectral"] = described.spectral_at(rows, size)
    return columns


def _mean_elsewhere(frame: pd.DataFrame, truth: pd.DataFrame) -> FloatArray:
    """Return the mean truth over tasks of other corpora, at the same encoder, layer and size."""
    corpora = frame[["task", "corpus"]].drop_duplicates()
    known = truth.merge(corpora, on="task")
    keys = ["encoder", "layer", "n"]
    total = known.groupby(keys)["truth"].agg(["sum", "count"])
    own = known.groupby(["corpus", *keys])["truth"].agg(["sum", "count"])
    at = pd.MultiIndex.from_frame(frame[keys])
    with_corpus = pd.MultiIndex.from_frame(frame[["corpus", *keys]])
    all_, less = total.reindex(at), own.reindex(with_corpus).fillna(0.0)
    count = all_["count"].to_numpy() - less["count"].to_numpy()
    sums = all_["sum"].to_numpy() - less["sum"].to_numpy()
    return np.where(count > 0, sums / np.where(count > 0, count, 1), np.nan)


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
