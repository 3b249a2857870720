"""The scorecard's predictions: every corpus left out in turn, every figure beside its baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamodel.choice import centre, differences_left_out, layer_features
from metamodel.features import EVALUATION, LABELLED, NAMES, TEXTLESS, TIERS, WITHOUT_LABELS, up_to
from metamodel.fit.fitting import FitSettings, Problem, problem_of, whole_pilots
from metamodel.judge.leave_out import (
    JUDGED_MULTIPLES,
    WHOLE,
    Asked,
    Bands,
    LeftOut,
    ask,
    bands_of,
    encoders_left_out,
    errors_by_corpora,
    judged_pilots,
    leave_out,
)
from metamodel.judge.needs import need_events, needs_of, reliability
from metamodel.judge.rounds import forecasts_again, money_of
from metamodel.judge.scorecard import (
    accuracy_errors,
    floor_errors,
    gains,
    interval_figures,
    regrets,
)
from metamodel.model import Settings
from metamodel.rows import MetaData

FloatArray = NDArray[np.float64]
Progress = Callable[[str, int, int], None]

PILOTS = (16, 32, 64, 128, 256, 512)
FULL = (64, 128, 256)
"""Pilot sizes at which label needs, intervals and collection are judged."""

SIMPLE = ("last", "law", "pow2", "pow3", "mmf4", "median3", "spectral", "mean")
BASELINES = (*SIMPLE, "shrunk")
"""What the metamodel is compared with in each column."""

FLOOR_MULTIPLES = (2, 4, 8)
"""Multiples whose errors stand next to the error for the pilot's own size: what most tasks have."""

FOLDS = 12
"""Parts that corpora are left out in: three corpora each with 35, so models learn from the rest."""

QUICK_FOLDS, QUICK_ROWS = 6, 300
"""The same, and rows of a corpus, for methods that are no baseline: a row a method, for comparison
only."""

# Labelled test rows whose own error is shown beside: what labelling them would give instead.
ROWS = (8, 16, 32, 64, 100, 128)

SHRUNK = (
    *("log_n0", "log_ratio", "oof", "mean_oof", "oof_2", "loss", "mean_loss"),
    *("log_classes", "chance"),
)
"""Features of the simplest learned rule: accuracy and loss on the sample, shrunk, and the mean
growth at such an accuracy."""

EVERY = Settings(
    anchor="median3", penalty=2500.0, share_ridge=0.6, n_rounds=180, num_leaves=14, min_rows=219
)
"""Settings that did best with all features."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """What was asked, and what each method said.

    Attributes:
        frame: From `metamodel.judge.leave_out.ask`, with a column a method, and ``recommended``:
            whether the metamodel recommends the layer.
        main: The metamodel's own predictions.
        bands: Its intervals.
        figures: The scorecard.
    """

    frame: pd.DataFrame
    main: LeftOut
    bands: Bands
    figures: dict[str, Any]


def evaluate(
    data: MetaData, settings: FitSettings, progress: Progress, *, only_rounds: bool = False
) -> Judgement:
    """Return the scorecard of a way to fit a metamodel.

    Args:
        data: The meta-dataset.
        settings: How models are fitted; what is judged is not fitted to the judged corpus.
        progress: Called as ``progress(stage, done, total)``.
        only_rounds: Make only the sections on forecasts that are made again and on buying.
    """
    n0 = data.evidence["n0"].to_numpy()
    labelled, without = data.part(n0 > 0), data.part(n0 == 0)
    problem = problem_of(labelled)
    pilots = judged_pilots(labelled, PILOTS)
    frame, asked = ask(pilots, labelled)
    main = None
    for name, model, names in rivals(settings.labelled)[: 1 if only_rounds else None]:
        quick = name not in ("metamodel", "shrunk")
        found = _leave_out(problem, asked, model, settings, names, name, progress, quick=quick)
        frame[name] = found.mean
        main = main or found
    assert main is not None
    bands = bands_of(main)
    choice = layer_scores(labelled, problem, frame, asked, settings, progress)
    frame["difference"] = choice
    frame["recommended"] = _recommended(frame)
    rounds = {
        "again": forecasts_again(frame, bands),
        "money": money_of(frame, bands, pilots, lambda k, n: progress("buying in rounds", k, n)),
    }
    if only_rounds:
        return Judgement(frame, main, bands, rounds)
    figures = _figures(frame, main, bands, pilots) | rounds
    figures["evaluation"] = evaluation_figures(labelled, problem, settings, progress)
    figures["unlabelled"] = unlabelled_figures(without, settings, progress)
    figures["corpora"] = errors_by_corpora(
        problem,
        frame,
        asked,
        settings,
        LABELLED,
        progress,
        most=min(settings.most, QUICK_ROWS),
        n_folds=QUICK_FOLDS,
    )
    if frame["encoder"].nunique() > 1:
        figures["encoders"] = encoders_left_out(problem, frame, asked, settings, labelled, progress)
    return Judgement(frame, main, bands, figures)


def rivals(settings: Settings) -> list[tuple[str, Settings, tuple[str, ...]]]:
    """Return name, settings and features of all that is compared; the metamodel first."""
    trees = replace(settings, share_ridge=0.0, trees_up_to=0.0)
    shrunk = Settings(anchor="chance", penalty=100.0)
    plain = replace(settings, share_ridge=1.0, trees_up_to=0.0)
    results = [
        ("metamodel", settings, LABELLED),
        ("ridge", plain, LABELLED),
        ("lightgbm", trees, LABELLED),
        ("textless", settings, TEXTLESS),
        ("shrunk", shrunk, SHRUNK),
        ("every_feature", EVERY, NAMES),
    ]
    tiers = [(f"tier_{tier}", _anchored(plain, tier), up_to(tier)) for tier in TIERS]
    seen: list[tuple[Settings, tuple[str, ...]]] = []
    kept = []
    for name, model, names in [*results, *tiers]:
        if (model, names) not in seen:
            seen.append((model, names))
            kept.append((name, model, names))
    return kept


def _anchored(settings: Settings, tier: str) -> Settings:
    """Return settings whose anchor uses nothing beyond a tier."""
    if tier in ("counts", "norms", "distances"):
        return replace(settings, anchor="chance")
    return settings


def _leave_out(
    problem: Problem,
    asked: Asked,
    model: Settings,
    settings: FitSettings,
    names: tuple[str, ...],
    stage: str,
    progress: Progress,
    *,
    quick: bool = False,
) -> LeftOut:
    """Leave out corpora in parts; quickly: in fewer parts, and with fewer rows of a corpus."""
    return leave_out(
        problem,
        asked,
        model,
        names=names,
        most=min(settings.most, QUICK_ROWS) if quick else settings.most,
        n_folds=QUICK_FOLDS if quick else FOLDS,
        seed=settings.seed,
        tick=lambda done, total: progress(stage, done, total),
    )


def layer_scores(
    data: MetaData,
    problem: Problem,
    frame: pd.DataFrame,
    asked: Asked,
    settings: FitSettings,
    progress: Progress,
) -> FloatArray:
    """Return, for every row asked about, its layer's predicted lead over the mean of layers."""
    progress("layers", 0, 1)
    learned, pilot = whole_pilots(data.evidence, problem, settings)
    other = np.asarray(frame.groupby(["pilot", "multiple"], sort=False).ngroup(), np.int64)
    table: pd.DataFrame = pd.concat(
        [layer_features(learned.features, pilot), layer_features(asked.features, other)],
        ignore_index=True,
    )
    target = np.concatenate([centre(learned.accuracy, pilot), np.full(len(frame), np.nan)])
    corpora = np.concatenate([learned.corpus, asked.corpus]).astype(str)
    results = differences_left_out(table, target, corpora)
    progress("layers", 1, 1)
    return results[len(pilot) :]


def _recommended(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Return whether a row is of the layer recommended with the available labels."""
    now = frame[frame["multiple"] == 1]
    taken = now.loc[now.groupby("pilot")["difference"].idxmax(), ["pilot", "layer"]]
    best = dict(zip(taken["pilot"], taken["layer"], strict=True))
    return (frame["layer"] == frame["pilot"].map(best)).to_numpy()


def _figures(
    frame: pd.DataFrame, main: LeftOut, bands: Bands, pilots: pd.DataFrame
) -> dict[str, Any]:
    made = [str(c) for c in frame if c in _METHODS or str(c).startswith("tier_")]
    methods = [*SIMPLE, *made]
    recommended = frame[frame["recommended"]]
    full = frame["n0"].isin(FULL)
    chosen = (full & frame["recommended"]).to_numpy()
    events = need_events(frame, main, bands, full.to_numpy())
    return {
        "accuracy": accuracy_errors(frame, methods, JUDGED_MULTIPLES),
        "accuracy_recommended": accuracy_errors(recommended, methods, JUDGED_MULTIPLES),
        "floor": floor_errors(frame, "metamodel", FLOOR_MULTIPLES),
        "gains": gains(frame, "metamodel", BASELINES, JUDGED_MULTIPLES),
        "gains_recommended": gains(recommended, "metamodel", BASELINES, JUDGED_MULTIPLES),
        "needs": needs_of(events),
        "needs_recommended": needs_of(need_events(frame, main, bands, chosen)),
        "reliability": reliability(events["metamodel"], events["reached"]),
        "intervals": _intervals(frame, bands),
        "layers": _layer_figures(frame, pilots),
    }


_METHODS = ("metamodel", "ridge", "lightgbm", "textless", "shrunk", "every_feature")


def _intervals(frame: pd.DataFrame, bands: Bands) -> dict[str, Any]:
    found = {}
    parts = [("pilots_64_to_256", FULL, bands.reach), ("pilots_16_to_512", PILOTS, bands.reach)]
    parts.append(("wide_64_to_256", FULL, (bands.half, bands.half)))
    for name, sizes, reach in parts:
        rows = (
            frame["n0"].isin(sizes)
            & frame["multiple"].isin(JUDGED_MULTIPLES)
            & frame["truth"].notna()
        ).to_numpy()
        part = frame[rows]
        truth = part["truth"].to_numpy(np.float64)
        found[name] = interval_figures(
            truth,
            part["metamodel"].to_numpy(np.float64),
            (reach[0][rows], reach[1][rows]),
            part["task"].to_numpy(object),
            part["corpus"].to_numpy(object),
            np.abs(part["law"].to_numpy(np.float64) - truth),
        )
    return found


def _layer_figures(frame: pd.DataFrame, pilots: pd.DataFrame) -> list[dict[str, Any]]:
    """Return regrets with 64, 256 and 1,024 labels; for the last, pilots of 512 are asked."""
    keys = ["encoder", "task", "seed", "n0", "layer"]
    figures = pilots[
        [*keys, "n_layers", "logme", "h_score", "knn_accuracy", "oof_accuracy", "oof_loss"]
    ]
    rows = []
    for n, n0, multiple in ((64, 64, 1), (256, 256, 1), (1024, 512, 2)):
        part = frame[(frame["n0"] == n0) & (frame["multiple"] == multiple) & frame["truth"].notna()]
        part = part.merge(figures, on=keys)
        part = part.assign(
            metamodel=part["difference"],
            last_layer=part["layer"],
            middle_layer=-(part["layer"] - np.round(part["n_layers"] / 2)).abs(),
            two_thirds_up=-(part["layer"] - np.round(2 * part["n_layers"] / 3)).abs(),
            left_out_loss=-part["oof_loss"],
        )
        names = {"oof_accuracy": "cross_validated_accuracy", "knn_accuracy": "knn"}
        part = part.rename(columns=names)
        rules = (
            *("metamodel", "last_layer", "middle_layer", "two_thirds_up", "logme", "h_score"),
            *("knn", "cross_validated_accuracy", "left_out_loss"),
        )
        whole = part.groupby("pilot")["layer"].transform("size") == part["n_layers"] + 1
        results = regrets(part[whole], rules)
        rows += [{"n": n, "pilots_of": n0, **row} for row in results]
        level = part[whole].groupby(["task", "pilot"])["truth"].agg(lambda t: t.max() - t.mean())
        chance = 100 * float(level.groupby("task").mean().mean())
        rows.append({"n": n, "pilots_of": n0, "rule": "any_layer", "regret": chance})
    return rows


def evaluation_figures(
    data: MetaData, problem: Problem, settings: FitSettings, progress: Progress
) -> dict[str, Any]:
    """Return errors of the predicted accuracy on unlabelled evaluation texts, in points.

    ``rows``: errors of this number of labelled test rows.
    """
    evidence = data.evidence
    own = problem.take(np.flatnonzero(problem.size == evidence["n0"].to_numpy()[problem.row]))
    rows = evidence.iloc[own.row].reset_index(drop=True)
    found = _leave_out(
        own,
        Asked(own.features, own.corpus),
        settings.evaluation,
        settings,
        EVALUATION,
        "unlabelled evaluation texts",
        progress,
    )
    half = bands_of(found).half
    table = rows[["task", "n0", "subset", "atc", "doc", "average_confidence"]].assign(
        left_out=rows["oof_accuracy"], metamodel=found.mean, truth=own.accuracy, half=half
    )
    shifted = table["subset"].str.startswith("shift")
    results = {}
    for name, part in (("whole", table[table["subset"] == WHOLE]), ("shifted", table[shifted])):
        part = part[part["n0"] >= min(FULL)]
        if len(part):
            results[name] = _evaluation_part(part)
    return results


def _evaluation_part(part: pd.DataFrame) -> dict[str, Any]:
    task = part["task"]

    def mean(values: pd.Series) -> float:
        return 100 * float(values.groupby(task).mean().mean())

    methods = ("metamodel", "left_out", "atc", "doc", "average_confidence")
    errors = {name: mean((part[name] - part["truth"]).abs()) for name in methods}
    scale = np.sqrt(2 * part["truth"] * (1 - part["truth"]) / np.pi)
    inside = (part["metamodel"] - part["truth"]).abs() <= part["half"]
    return {
        "error": errors,
        "rows": {str(k): mean(scale / np.sqrt(k)) for k in ROWS},
        "worth_rows": {name: float((mean(scale) / error) ** 2) for name, error in errors.items()},
        "covered": float(inside.groupby(task).mean().mean()),
        "width": float(2 * part["half"].mean()),
        "pilots": len(part),
        "tasks": int(task.nunique()),
    }


def unlabelled_figures(
    data: MetaData, settings: FitSettings, progress: Progress
) -> list[dict[str, Any]]:
    """Return errors of predictions without any label, beside the mean over other tasks."""
    problem = problem_of(data)
    evidence = data.evidence
    whole = np.flatnonzero(evidence["subset"].to_numpy(object)[problem.row] == WHOLE)
    judged = problem.take(whole)
    asked = Asked(judged.features, judged.corpus)
    found = _leave_out(
        problem, asked, settings.unlabelled, settings, WITHOUT_LABELS, "no labels", progress
    )
    below, above = bands_of(found).reach
    frame = evidence.iloc[judged.row][["encoder", "task", "corpus", "layer"]].reset_index(drop=True)
    frame = frame.assign(n=judged.size, truth=judged.accuracy, metamodel=found.mean)
    frame["chance"] = judged.features["chance"]
    keys = ["encoder", "layer", "n"]
    sums = frame.groupby(keys)["truth"].transform("sum")
    count = frame.groupby(keys)["truth"].transform("count")
    own = frame.groupby(["corpus", *keys])["truth"].transform("sum")
    own_count = frame.groupby(["corpus", *keys])["truth"].transform("count")
    frame["mean"] = (sums - own) / (count - own_count).where(count > own_count)
    off = frame["truth"] - frame["metamodel"]
    frame["inside"] = (off <= above) & (off >= -below)
    rows = []
    for n in (64, 256, 1024):
        part = frame[frame["n"] == n]
        row: dict[str, Any] = {"n": n, "tasks": int(part["task"].nunique())}
        for name in ("metamodel", "mean", "chance"):
            error = (part[name] - part["truth"]).abs()
            row[name] = 100 * float(error.groupby(part["task"]).mean().mean())
        row["covered"] = float(part["inside"].groupby(part["task"]).mean().mean())
        rows.append(row)
    return rows
