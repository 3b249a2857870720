"""Fit what ways of training add to a linear head, and judge it on corpora left out.

Every prediction of the linear head is made by a metamodel that saw nothing of the corpus. The
rival of everything is the mean gain of the learner at that number of labels. What a ridge
regression adds is chosen on inner folds by corpus, judged on outer ones, and shipped only where
the paired 90 % bootstrap interval of what it gains over the mean gain excludes zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamodel.features import LABELLED, at_sizes, describe, gain_features
from metamodel.fit.fitting import FitSettings, problem_of
from metamodel.fit.gains import COMPARED, GainRows, check_learner_outcomes, mean_gains
from metamodel.forecaster import ends_of, fit_band
from metamodel.judge.evaluate import FOLDS, Progress, layer_scores
from metamodel.judge.leave_out import WHOLE, Asked, leave_out
from metamodel.judge.scorecard import paired
from metamodel.learners.compare import FEWEST_CORPORA, Gain, Learner, Learners
from metamodel.ridge import fit_ridge
from metamodel.rows import MetaData, corpus_folds, corpus_weights

FloatArray = NDArray[np.float64]

PILOTS = (16, 32, 64, 128, 256, 512)
JUDGED_PILOTS, JUDGED_MULTIPLE = (64, 256), 4
"""Errors are those at 4 times 64 and 256 labels."""

APART = 0.02
"""Two learners differ where their accuracies are more than two points apart."""

GROUPS: dict[str, tuple[str, ...]] = {
    "classes": ("log_classes", "log_n_class", "label_entropy"),
    "the linear head": ("probe", "probe_2", "loss", "margin", "own_oof", "knn", "h_score"),
    "the sample's curve": ("law_slope", "curve_500"),
    "spectrum": ("rank_entropy", "decay", "class_gap", "spectral_noise", "state_shift"),
    "alignment": ("alignment_4", "alignment_64"),
    "words and length": ("random",),  # what a head on the random encoder reads
    "Fisher norms": (
        *("fisher_norm", "fisher_low", "fisher_mid", "fisher_high", "fisher_own"),
        *("fisher_spread", "fisher_trivial"),
    ),
}
"""Features that may move a gain: each group is tried by itself, then all together."""

REFERENCE = "tuned"
"""The learner with the most runs: it completes the mean gains of those with fewer."""

PENALTIES = (300.0, 1000.0, 3000.0)
_OUTER, _INNER = 10, 4  # parts that corpora are left out in
_ROUNDS = 2  # as the metamodel's: towards the least absolute error


@dataclass(frozen=True)
class Way:
    """A way to predict a gain; without features the mean gain."""

    features: tuple[str, ...] = ()
    penalty: float = 0.0


_ALL = tuple(name for names in GROUPS.values() for name in names)
WAYS = (Way(), *(Way(names, p) for names in (*GROUPS.values(), _ALL) for p in PENALTIES))


def predicted_heads(
    data: MetaData, gains: pd.DataFrame, settings: FitSettings, progress: Progress
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the predicted linear heads of all pilots at the measured numbers of labels.

    Args:
        data: The meta-dataset.
        gains: From `mean_gains`.
        settings: How the metamodel is fitted.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        Columns encoder, task, corpus, n0, n, probe, one row a pilot and number of labels, at the
        layer that is recommended with the corpus left out; and the features of each.
    """
    labelled = data.part(data.evidence["n0"].to_numpy() > 0)
    rows = labelled.evidence
    kept = (rows["subset"] == WHOLE) & rows["n0"].isin(PILOTS) & rows["task"].isin(gains["task"])
    pilots = rows[kept & rows["encoder"].isin(gains["encoder"])].reset_index(drop=True)
    described = describe(pilots)
    n0 = described.n0
    sizes = sorted(gains["n"].unique())
    parts = [(np.arange(len(n0)), n0)] + [
        (own, np.full(len(own), float(n))) for n in sizes if len(own := np.flatnonzero(n0 < n))
    ]
    place, size = (np.concatenate(found) for found in zip(*parts, strict=True))
    features = at_sizes(described, place, size)
    keys = ["encoder", "task", "corpus", "n0", "layer"]
    frame = pilots.iloc[place][keys].reset_index(drop=True)
    frame = frame.assign(n=size.astype(np.int64), pilot=described.pilot[place])
    frame["multiple"] = size / n0[place]
    asked = Asked(features, frame["corpus"].to_numpy(object))
    problem = problem_of(labelled)
    found = leave_out(
        problem,
        asked,
        settings.labelled,
        names=LABELLED,
        most=settings.most,
        n_folds=FOLDS,
        seed=settings.seed,
        tick=lambda done, total: progress("linear heads", done, total),
    )
    frame["probe"] = found.mean
    frame["lead"] = layer_scores(labelled, problem, frame, asked, settings, progress)
    now = frame[frame["multiple"] == 1]
    best = now.loc[now.groupby("pilot")["lead"].idxmax(), ["pilot", "layer"]]
    chosen = (frame["layer"] == frame["pilot"].map(best.set_index("pilot")["layer"])).to_numpy()
    columns = ["encoder", "task", "corpus", "n0", "n", "probe"]
    return (
        frame.loc[chosen, columns].reset_index(drop=True),
        features[chosen].reset_index(drop=True),
    )


def gain_rows(
    heads: pd.DataFrame, features: pd.DataFrame, gains: pd.DataFrame, name: str
) -> tuple[GainRows, pd.DataFrame]:
    """Return the rows of one learner, and their features.

    Args:
        heads: From `predicted_heads`.
        features: Of each.
        gains: From `mean_gains`.
        name: The learner. The reference of others is fine-tuning, which has the most runs.
    """
    own = gains[gains["learner"] == name]
    table = heads.merge(own, on=["encoder", "task", "corpus", "n"], how="left")
    kept = table["truth"].notna().to_numpy()
    table, features = (t[kept].reset_index(drop=True) for t in (table, features))
    known = gain_features(features, table["probe"].to_numpy(np.float64))
    by_corpus, reference = (
        gains[gains["learner"] == learner].groupby(["corpus", "n"])["gain"].mean().unstack()
        for learner in (name, REFERENCE)
    )
    by_corpus = by_corpus.loc[sorted(set(table["corpus"]))]
    return GainRows(table, known, by_corpus, None if name == REFERENCE else reference), features


def fit_gain(rows: GainRows, way: Way) -> Gain:
    """Fit the mean gain, and what features add to it.

    Args:
        rows: Pilots of one learner.
        way: How.
    """
    mean = rows.mean_gains()
    gain = Gain(np.log2(mean.index.to_numpy(np.float64)), mean.to_numpy(np.float64))
    if not way.features:
        return gain
    missing = rows.gain - gain.predict(rows.known)
    weights = corpus_weights(rows.corpora)
    table = rows.known[list(way.features)]
    return replace(
        gain, ridge=fit_ridge(table, missing, weights, penalty=way.penalty, rounds=_ROUNDS)
    )


def left_out(rows: GainRows, way: Way) -> FloatArray:
    """Return the gain of each row, predicted with its corpus left out."""
    return _by_fold(rows, _OUTER, lambda learned: fit_gain(learned, way))


def nested(rows: GainRows, ways: Sequence[Way] | None = None) -> FloatArray:
    """Return the same where one of several ways is chosen on inner folds each time."""
    return _by_fold(rows, _OUTER, lambda learned: fit_gain(learned, choose(learned, ways)))


def choose(rows: GainRows, ways: Sequence[Way] | None = None) -> Way:
    """Return the way whose gains on corpora left out are least off, every corpus counting alike."""

    def error(way: Way) -> float:
        off = np.abs(_by_fold(rows, _INNER, lambda own: fit_gain(own, way)) - rows.gain)
        return float(pd.Series(off).groupby(rows.corpora).mean().mean())

    return min(ways or WAYS, key=error)


def by_group(
    rows: GainRows,
    groups: Mapping[str, tuple[str, ...]] = GROUPS,
    penalties: Sequence[float] = PENALTIES,
) -> list[dict[str, Any]]:
    """Return what each group of features by itself gains over the mean gain, where it is known.

    Args:
        rows: Pilots of one learner.
        groups: Name -> columns of what is known.
        penalties: Inner folds choose one, or no feature at all.
    """
    found = []
    for name, features in groups.items():
        known = rows.known[list(features)].notna().any(axis=1).to_numpy()
        part = rows.take(known)
        if part.gains.shape[0] < FEWEST_CORPORA:
            continue
        ways = [Way(), *(Way(features, penalty) for penalty in penalties)]
        base, chosen = left_out(part, Way()), nested(part, ways)
        gained, low, high = _compare(part, np.abs(base - part.gain) - np.abs(chosen - part.gain))
        tasks = int(part.table["task"].nunique())
        found.append({"group": name, "tasks": tasks, "gained": gained, "low": low, "high": high})
    return found


def _by_fold(rows: GainRows, n_folds: int, fit: Callable[[GainRows], Gain]) -> FloatArray:
    folds, predicted = corpus_folds(rows.corpora, n_folds), np.empty(len(rows.table))
    for fold in np.unique(folds):
        out = folds == fold
        predicted[out] = fit(rows.take(~out)).predict(rows.known[out])
    return predicted


def fit_learners(
    data: MetaData,
    outcomes: pd.DataFrame,
    settings: FitSettings,
    *,
    encoders: Sequence[str],
    progress: Progress,
) -> Learners:
    """Fit and judge everything that the outcomes hold.

    Args:
        data: The meta-dataset.
        outcomes: Keeps `check_learner_outcomes`.
        settings: How the metamodel is fitted.
        encoders: Fingerprints of the encoders of the outcomes that the meta-dataset has too.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        ValueError: The outcomes cannot be used, or too few corpora are in both tables.
    """
    measured = check_learner_outcomes(outcomes)
    for key in ("encoder", "task"):
        measured = measured[measured[key].isin(data.evidence[key])]
    gains = mean_gains(measured)
    n_corpora = gains.groupby(["learner", "n"])["corpus"].transform("nunique")
    gains = gains[n_corpora >= FEWEST_CORPORA]  # the mean of a few is no mean gain
    corpora = sorted(gains["corpus"].unique())
    if len(corpora) < FEWEST_CORPORA:
        raise ValueError(
            f"outcomes of learners: expected {FEWEST_CORPORA} corpora with the same number of "
            "labels that the meta-dataset has too, got fewer."
        )
    heads, features = predicted_heads(data, gains, settings, progress)
    names = [name for name in COMPARED if name in set(gains["learner"])]
    learners, figures = [], {}
    for done, name in enumerate(names):
        progress("learners", done, len(names))
        rows, own = gain_rows(heads, features, gains, name)
        learner, figures[name] = _fit_learner(rows, own, name, corpora)
        figures[name]["failed"] = _failed(measured, name)
        learners.append(learner)
    progress("learners", len(names), len(names))
    return Learners(
        encoders=tuple(encoders),
        names_of_encoders=tuple(sorted(gains["encoder"].unique())),
        n_corpora=len(corpora),
        learners=tuple(learners),
        figures=figures,
    )


def _fit_learner(
    rows: GainRows, features: pd.DataFrame, name: str, corpora: Sequence[str]
) -> tuple[Learner, dict[str, Any]]:
    simple, chosen = left_out(rows, Way()), nested(rows)
    gained = _compare(rows, np.abs(simple - rows.gain) - np.abs(chosen - rows.gain))
    helps = gained[1] > 0
    way = choose(rows) if helps else Way()
    judged = chosen if helps else simple
    gain, own = fit_gain(rows, way), left_out(rows, way)
    mean = rows.accuracy(own)
    band = fit_band(features, mean, rows.truth - mean, rows.corpora)
    figures = {
        "features": list(way.features),
        "penalty": way.penalty,
        "gained": list(gained),
        "groups": by_group(rows),
        "errors": _errors(rows, simple, chosen, judged),
        "winner": _winner(rows, judged),
        "intervals": _covered(rows, features, judged),
        "corpora": int(pd.Series(rows.corpora).nunique()),
        "tasks": int(rows.table["task"].nunique()),
        "gains": [
            {"n": round(2.0**at), "mean": 100 * value}
            for at, value in zip(gain.log_n.tolist(), gain.mean.tolist(), strict=True)
        ],
    }
    tokens = float(rows.table["tokens"].min()), float(rows.table["tokens"].max())
    return Learner(name, gain, band, _missing(rows, own, gain, corpora), tokens), figures


def _missing(
    rows: GainRows, predicted: FloatArray, gain: Gain, corpora: Sequence[str]
) -> FloatArray:
    """Return the true gain less the predicted one, (n_corpora, n_knots), means over pilots."""
    off = pd.Series(rows.gain - predicted)
    table = off.groupby([rows.corpora, rows.table["n"].to_numpy()]).mean().unstack()
    sizes = np.round(2**gain.log_n).astype(np.int64)
    return np.asarray(table.reindex(index=list(corpora), columns=list(sizes)), np.float64)


def _compare(
    rows: GainRows, less: FloatArray, kept: NDArray[np.bool_] | None = None
) -> tuple[float, float, float]:
    """Return a mean difference in points, every task counting alike, and its 90 % interval."""
    part = np.ones(len(less), bool) if kept is None else kept
    table = rows.table[part]
    return paired(pd.Series(100 * less[part], table.index), table["task"], table["corpus"])


def _errors(
    rows: GainRows, simple: FloatArray, chosen: FloatArray, judged: FloatArray
) -> list[dict[str, Any]]:
    """Return mean absolute errors at 4 times each judged number of labels, and at all of them."""
    four = rows.table["n"] == JUDGED_MULTIPLE * rows.table["n0"]
    found = []
    for n0 in (*JUDGED_PILOTS, 0):
        kept = four & (rows.table["n0"].isin(JUDGED_PILOTS) if not n0 else rows.table["n0"] == n0)
        part = kept.to_numpy()
        if rows.table["corpus"][part].nunique() < 2:
            continue
        off = [np.abs(rows.accuracy(gain) - rows.truth) for gain in (simple, chosen)]
        gained, low, high = _compare(rows, off[0] - off[1], part)
        task = rows.table["task"][part]
        errors = {
            "probe": _error(rows, np.zeros(len(part)), part),
            "mean_gain": _error(rows, simple, part),
            "features": _error(rows, chosen, part),
            "shipped": _error(rows, judged, part),
            "true_gain": _error(rows, rows.gain, part),  # what the linear head's own error leaves
        }
        counts = {"n0": n0, "tasks": int(task.nunique())}
        found.append({**counts, **errors, "gained": gained, "low": low, "high": high})
    return found


def _error(rows: GainRows, predicted: FloatArray, kept: NDArray[np.bool_]) -> float:
    """Return the mean absolute error in points, every task counting alike."""
    off = pd.Series(100 * np.abs(rows.accuracy(predicted) - rows.truth)[kept])
    return float(off.groupby(rows.table["task"][kept].to_numpy()).mean().mean())


def _winner(rows: GainRows, predicted: FloatArray) -> dict[str, Any]:
    """Return how often the better of learner and linear head is named, where they differ."""
    gain = rows.gain
    kept = (np.abs(gain) > APART) & rows.table["n0"].isin(JUDGED_PILOTS).to_numpy()
    if not kept.any():
        return {"rows": 0}
    task = rows.table["task"][kept].to_numpy(object)
    right = (np.sign(predicted) == np.sign(gain))[kept]
    ahead = (gain > 0)[kept]

    def share(flags: NDArray[np.bool_]) -> float:
        return float(pd.Series(flags.astype(float)).groupby(task).mean().mean())

    counts = {"rows": int(kept.sum()), "tasks": len(np.unique(task))}
    return {**counts, "right": share(right), "learner_ahead": share(ahead)}


def _covered(rows: GainRows, features: pd.DataFrame, predicted: FloatArray) -> dict[str, Any]:
    """Return how often truths are in intervals made from the errors of other corpora."""
    mean, corpora = rows.accuracy(predicted), rows.corpora
    errors = rows.truth - mean
    low, high = np.empty(len(errors)), np.empty(len(errors))
    folds = corpus_folds(corpora, _OUTER)
    for fold in np.unique(folds):
        own = folds == fold
        band = fit_band(features[~own], mean[~own], errors[~own], corpora[~own])
        spread = band.spread.predict(features[own], mean[own])
        ends = ends_of(band.quantiles)
        low[own], high[own] = spread * ends[0], spread * ends[1]
    inside = (errors >= low) & (errors <= high)
    kept = rows.table["n0"].isin(JUDGED_PILOTS).to_numpy()
    by_task = pd.Series(inside[kept].astype(float)).groupby(rows.table["task"][kept].to_numpy())
    width = (np.clip(mean + high, 0, 1) - np.clip(mean + low, 0, 1))[kept]
    means = by_task.mean()
    return {
        "covered": float(means.mean()),
        "tasks_covered": float((means >= 0.9 - 1e-12).mean()),
        "width": float(width.mean()),
    }


def _failed(outcomes: pd.DataFrame, name: str) -> list[int]:
    """Return failed runs and all runs of a learner."""
    own = outcomes[outcomes["learner"] == name]
    return [int(own["failed"].astype(bool).sum()), len(own)]
