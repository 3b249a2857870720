"""Corpora left out in turn: what is asked, and what is predicted for them.

Models learn from a limited number of rows of each other corpus (all parts, all sizes) and predict
the left-out one's; intervals for it come from the errors made on the others when they were left
out. What is asked is one row a pilot, layer and multiple of its labels. Two further questions are
answered in the same way: do more corpora to learn from still help (a few are drawn of the others),
and how well does a model do under an encoder that it never saw, of a task that it never saw?
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamodel.conformal import coverage
from metamodel.extrapolate import FAMILIES
from metamodel.features import LABELLED, Described, at_sizes, describe
from metamodel.fit.fitting import FitSettings, Problem
from metamodel.forecaster import ends_of, fit_band, fit_model, predict_accuracy
from metamodel.judge.scorecard import accuracy_errors
from metamodel.model import Settings
from metamodel.rows import MetaData, at_most, corpus_folds
from metamodel.schema import PILOT_KEY

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


WHOLE = "all"
"""The part of a task that is the task itself."""

MULTIPLES: tuple[float, ...] = tuple(2 ** (k / 2) for k in range(11))
"""1 to 32 in half doublings."""

# What people ask: one to three doublings; and 32, the largest that is asked about.
JUDGED_MULTIPLES = (2, 4, 8, 32)


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


COUNTS = (5, 10, 20, 40)
"""Corpora that models learn from, beside all that there are."""

DRAWS = 2
"""Draws of the corpora, where not all are taken."""

# As in `metamodel.fit.tune`: the settings that are used here were chosen at these sizes.
PILOTS_BY_CORPORA = (64, 128, 256)
BY_CORPORA = (2, 4, 8)


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
        frame: From `ask`.
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
    found = pd.DataFrame(accuracy_errors(frame, ["learned", "law"], BY_CORPORA))
    found = found[found["n0"].isin(PILOTS_BY_CORPORA)]
    means = found.pivot_table(index="n0", columns="method", values="error")
    return [
        {"corpora": corpora, "n0": int(str(n0)), "error": row["learned"], "law": row["law"]}
        for n0, row in means.iterrows()
    ]


METHODS = ("encoder_left_out", "metamodel", "last", "pow3", "median3")
N_FOLDS = 10
"""Parts that corpora are left out in."""


def encoders_left_out(
    problem: Problem,
    frame: pd.DataFrame,
    asked: Asked,
    settings: FitSettings,
    data: MetaData,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Return errors at each multiple with an encoder left out, and how much intervals cover.

    Args:
        problem: Rows to learn from, of all encoders.
        frame: From `ask`, with a column ``metamodel``: predictions with only the corpus left out.
        asked: The features of the frame's rows.
        settings: How models are fitted.
        data: What the problem's rows point to.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        One row an encoder, pilot size and multiple: an error in points a method (``METHODS``),
        ``covered`` and ``width`` of the left-out encoder's 90 % intervals, and ``tasks``.
    """
    learned = data.evidence["encoder"].to_numpy(object)[problem.row]
    names = sorted(frame["encoder"].unique())
    rows: list[dict[str, Any]] = []
    for done, name in enumerate(names):
        progress("encoders left out", done, len(names))
        own = (frame["encoder"] == name).to_numpy()
        rows += _left_out(
            problem.take(np.flatnonzero(learned != name)),
            frame[own].reset_index(drop=True),
            Asked(asked.features[own].reset_index(drop=True), asked.corpus[own]),
            settings,
            name,
        )
    progress("encoders left out", len(names), len(names))
    return rows


def _left_out(
    problem: Problem, frame: pd.DataFrame, asked: Asked, settings: FitSettings, name: str
) -> list[dict[str, Any]]:
    found = leave_out(
        problem,
        asked,
        settings.labelled,
        names=LABELLED,
        most=settings.most,
        n_folds=N_FOLDS,
        seed=settings.seed,
    )
    below, above = bands_of(found).reach
    predicted = frame.assign(encoder_left_out=found.mean)
    table = pd.DataFrame(accuracy_errors(predicted, METHODS, JUDGED_MULTIPLES))
    if table.empty:
        return []
    rows = []
    pairs = table[["n0", "multiple"]].drop_duplicates().to_numpy(np.int64).tolist()
    for n0, multiple in pairs:
        part = table[(table["n0"] == n0) & (table["multiple"] == multiple)]
        at = ((frame["n0"] == n0) & (frame["multiple"] == multiple)).to_numpy()
        errors = dict(zip(part["method"], part["error"], strict=True))
        rows.append(
            {
                "encoder": name,
                "n0": n0,
                "multiple": multiple,
                **errors,
                **_intervals(frame[at], found.mean[at], below[at], above[at]),
                "tasks": int(part["tasks"].max()),
            }
        )
    return rows


def _intervals(
    frame: pd.DataFrame,
    mean: NDArray[np.float64],
    below: NDArray[np.float64],
    above: NDArray[np.float64],
) -> dict[str, float]:
    known = frame["truth"].notna().to_numpy()
    off = frame["truth"].to_numpy(np.float64)[known] - mean[known]
    inside = (off <= above[known]) & (off >= -below[known])
    found = coverage(inside, frame["task"].to_numpy(object)[known])
    width = float((below[known] + above[known]).mean())
    return {"covered": float(found["rows"]), "width": width}
