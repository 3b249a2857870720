"""Does more to learn from still help: errors on corpora left out by the number of corpora learned.

Corpora are left out in parts as in the scorecard; of the others a few are drawn, and models learn
from these alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamodel.fitting import FitSettings, Problem
from metamodel.folds import at_most, corpus_folds
from metamodel.forecaster import fit_model, predict_accuracy
from metamodel.judging import Asked
from metamodel.scorecard import accuracy_errors

FloatArray = NDArray[np.float64]
Progress = Callable[[str, int, int], None]

COUNTS = (5, 10, 20, 40)
"""Corpora that models learn from, beside all that there are."""

DRAWS = 2
"""Draws of the corpora, where not all are taken."""

SIZES = (64, 128, 256)
MULTIPLES = (2, 4, 8)


def errors_by_corpora(
    problem: Problem,
    frame: pd.DataFrame,
    asked: Asked,
    settings: FitSettings,
    names: tuple[str, ...],
    progress: Progress,
    *,
    most: int,
    n_folds: int,
) -> list[dict[str, Any]]:
    """Return the mean error at 2, 4 and 8 times the labels by the number of corpora learned from.

    Args:
        problem: Rows to learn from.
        frame: From `metamodel.frame.ask`.
        asked: The features of the frame's rows.
        settings: How models are fitted.
        names: Features to read.
        progress: Called as ``progress(stage, done, total)``.
        most: Rows of a corpus that models learn from.
        n_folds: Parts that corpora are left out in.

    Returns:
        One row a number of corpora (the mean over parts; all that are left is the last) and pilot
        size: ``corpora``, ``n0``, ``error`` and, of the same rows, ``law``, in points.
    """
    used = problem.take(at_most(problem.corpus, most, seed=settings.seed))
    folds = corpus_folds(np.concatenate([used.corpus, asked.corpus]).astype(str), n_folds)
    learned_fold, asked_fold = folds[: len(used.corpus)], folds[len(used.corpus) :]
    smallest = min(len(set(used.corpus[learned_fold != fold])) for fold in np.unique(folds))
    plan = [(n, draw) for n in COUNTS if n < smallest for draw in range(DRAWS)]
    rows: list[dict[str, Any]] = []
    for done, (count, draw) in enumerate([*plan, (None, 0)]):
        progress("corpora to learn from", done, len(plan) + 1)
        mean, taken = np.full(len(frame), np.nan), []
        for fold in np.unique(folds):
            others = np.unique(used.corpus[learned_fold != fold].astype(str))
            drawn = np.random.default_rng([settings.seed, draw, int(fold)]).permutation(others)
            drawn = drawn[:count]
            keep = np.isin(used.corpus.astype(str), drawn)
            model = fit_model(
                used.features[keep],
                used.accuracy[keep],
                used.corpus[keep],
                settings.labelled,
                names=names,
                seed=settings.seed,
            )
            out = asked_fold == fold
            mean[out] = predict_accuracy(model, asked.features[out])
            taken.append(len(drawn))
        rows += _rows(frame.assign(learned=mean), round(float(np.mean(taken))))
    table = pd.DataFrame(rows).groupby(["corpora", "n0"], as_index=False).mean()
    progress("corpora to learn from", len(plan) + 1, len(plan) + 1)
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def _rows(frame: pd.DataFrame, corpora: int) -> list[dict[str, Any]]:
    found = pd.DataFrame(accuracy_errors(frame, ["learned", "law"], MULTIPLES))
    found = found[found["n0"].isin(SIZES)]
    means = found.pivot_table(index="n0", columns="method", values="error")
    return [
        {"corpora": corpora, "n0": int(str(n0)), "error": row["learned"], "law": row["law"]}
        for n0, row in means.iterrows()
    ]
