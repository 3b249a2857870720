"""The figures by which predictions are judged, from tables of predictions and truths.

Absolute errors are averaged within a task first, then over tasks, in points of accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamodel.conformal import coverage, group_threshold
from metamodel.features import MANY_CLASSES
from metamodel.forecaster import LEVEL

FloatArray = NDArray[np.float64]

CLOSE = 0.03
# The 5 % end of an interval then lies at 5 +- 0.5 % (one deviation, sqrt(0.05 * 0.95 / 2000)).
_RESAMPLES = 2000
# From three corpora a bootstrap has ten different resamples: too few for the ends of an interval.
_FEWEST_CORPORA = 4

METHOD_NAMES = {
    "metamodel": "metamodel",
    "last": "last value",
    "pow2": "power law, 2 parameters",
    "pow3": "power law, 3 parameters",
    "mmf4": "MMF, 4 parameters",
    "median3": "median of the three",
    "spectral": "spectral learning curve",
    "mean": "mean over other tasks",
    "ridge": "metamodel, ridge regression only",
    "lightgbm": "metamodel, LightGBM only",
    "law": "power law, least squares of the log error",
    "shrunk": "accuracy on the sample, shrunk, and mean growth",
    "textless": "metamodel without unlabelled texts",
    "every_feature": "ridge and LightGBM on every feature",
    "climatology": "climatology: logistic in gap, size, classes",
    "tier_counts": "tier: counts",
    "tier_norms": "tier: + Fisher norms",
    "tier_distances": "tier: + Fisher distances",
    "tier_curve": "tier: + the pilot's own curve",
    "tier_spectrum": "tier: + spectrum",
    "tier_label_free": "tier: + unlabelled texts (every feature)",
    "metamodel_curve": "metamodel's curve, read backwards",
    "always_4_times": "always 4 times",
    "left_out": "left-out accuracy of the pilot",
    "atc": "ATC",
    "doc": "DoC",
    "average_confidence": "average confidence",
    "last_layer": "last layer",
    "middle_layer": "middle layer",
    "two_thirds_up": "two thirds up",
    "any_layer": "a layer by chance",
    "logme": "LogME",
    "h_score": "H-score",
    "knn": "nearest neighbours",
    "cross_validated_accuracy": "left-out accuracy",
    "left_out_loss": "left-out loss",
    "chance": "a guess",
    "once": "metamodel, its first plan kept",
    "law_drawn": "power law, least squares of the log error, bootstrap draws",
    "pow2_drawn": "power law, 2 parameters, bootstrap draws",
    "pow3_drawn": "power law, 3 parameters, bootstrap draws",
    "double": "double until reached",
    "buy_500": "500 labels",
    "buy_1000": "1,000 labels",
    "a_class": "100 labels a class",
    "none": "buy none",
}
"""Methods of a scorecard, as people call them."""

OURS = "metamodel"


def accuracy_errors(
    frame: pd.DataFrame, methods: Sequence[str], multiples: Sequence[int]
) -> list[dict[str, Any]]:
    """Return one row a method, pilot size and multiple: mean absolute error, share within 3 points.

    Args:
        frame: From `metamodel.judge.leave_out.ask`, with a column a method.
        methods: Columns.
        multiples: Of the pilots' labels.
    """
    rows = []
    for n0, of_size in frame.groupby("n0"):
        for multiple in multiples:
            part = of_size[(of_size["multiple"] == multiple) & of_size["truth"].notna()]
            if part.empty:
                continue
            for name in methods:
                error = (part[name] - part["truth"]).abs()
                known = error.notna()
                by_task = error[known].groupby(part["task"][known])
                rows.append(
                    {
                        "n0": int(str(n0)),
                        "multiple": int(multiple),
                        "method": name,
                        "error": 100 * float(by_task.mean().mean()),
                        "within_3": float(
                            (error[known] <= CLOSE).groupby(part["task"]).mean().mean()
                        ),
                        "tasks": int(part["task"][known].nunique()),
                    }
                )
    return rows


def floor_errors(
    frame: pd.DataFrame, method: str, multiples: Sequence[int]
) -> list[dict[str, Any]]:
    """Return one row a pilot size: what is unknown where nothing is extrapolated, in points.

    Even the accuracy at the pilot's own size is known only from n0 texts. Of n0 texts, each right
    with probability p, the share that is right is off by ``sqrt(2 p (1 - p) / (pi n0))`` on
    average (the mean absolute deviation of its normal approximation).

    Args:
        frame: From `metamodel.judge.leave_out.ask`, with rows of multiple 1 and a column
            ``method``.
        method: Column of what is compared.
        multiples: Of the pilots' labels; layers of pilots count whose truth is known at all.

    Returns:
        Columns n0, sample (error of the accuracy on the sample as that of heads trained on n0
        labels), binomial (of it, what n0 texts that are drawn at random cost), ``error_1`` (of
        the method, for n0 labels too) and ``error_2`` etc. (for more), tasks.
    """
    asked = frame[frame["multiple"].isin([1, *multiples])]
    known = asked.groupby(["pilot", "layer"])["truth"].transform("count") == 1 + len(multiples)
    rows = []
    for n0, part in asked[known].groupby("n0"):
        own, task = part[part["multiple"] == 1], part["task"]
        deviation = (2 * own["truth"] * (1 - own["truth"]) / (np.pi * own["n0"])) ** 0.5
        off = {"sample": (own["last"] - own["truth"]).abs(), "binomial": deviation}
        for multiple in (1, *multiples):
            at = part[part["multiple"] == multiple]
            off[f"error_{multiple}"] = (at[method] - at["truth"]).abs()
        means = {n: 100 * float(e.groupby(task[e.index]).mean().mean()) for n, e in off.items()}
        rows.append({"n0": int(str(n0)), **means, "tasks": int(task.nunique())})
    return rows


def gains(
    frame: pd.DataFrame, method: str, baselines: Sequence[str], multiples: Sequence[int]
) -> list[dict[str, Any]]:
    """Return one row a pilot size, multiple and group of tasks: the best baseline and the gain.

    Args:
        frame: From `metamodel.judge.leave_out.ask`, with columns ``n_classes``, ``method`` and
            baselines.
        method: Column of what is compared.
        baselines: Columns; the one with the smallest error of the row is taken, which favours it.
        multiples: Of the pilots' labels.

    Returns:
        Columns n0, multiple, classes (``"all"``, ``"up to 9"``, ``"more"``), error, best,
        best_error, gain (best_error less error, in points), low, high (its paired 90 % bootstrap
        interval over corpora), bias (prediction less truth), tasks.
    """
    many = frame["n_classes"] > MANY_CLASSES
    rows = []
    for n0 in sorted(frame["n0"].unique()):
        for multiple in multiples:
            at = (frame["n0"] == n0) & (frame["multiple"] == multiple) & frame["truth"].notna()
            for name, group in (("all", at), ("up to 9", at & ~many), ("more", at & many)):
                if frame["corpus"][group].nunique() >= _FEWEST_CORPORA:
                    row = {"n0": int(n0), "multiple": int(multiple), "classes": name}
                    rows.append(row | _gain(frame[group], method, baselines))
    return rows


def _gain(part: pd.DataFrame, method: str, baselines: Sequence[str]) -> dict[str, Any]:
    truth, task = part["truth"], part["task"]
    off = {name: 100 * (part[name] - truth).abs() for name in (method, *baselines)}
    errors = {n: float(e.groupby(task).mean().mean()) for n, e in off.items() if e.notna().all()}
    best = min((name for name in errors if name != method), key=lambda name: errors[name])
    gain, low, high = paired(off[best] - off[method], task, part["corpus"])
    return {
        "error": errors[method],
        "best": best,
        "best_error": errors[best],
        "gain": gain,
        "low": low,
        "high": high,
        "bias": 100 * float((part[method] - truth).groupby(task).mean().mean()),
        "tasks": int(task.nunique()),
    }


def paired(values: pd.Series, tasks: pd.Series, corpora: pd.Series) -> tuple[float, float, float]:
    """Return the mean over tasks, and a 90 % bootstrap interval over corpora.

    With few corpora percentiles are too narrow; their distance from the mean is widened by the
    ratio of the t and the normal quantile and by sqrt(K / (K - 1)).

    Args:
        values: Differences, one a row.
        tasks: Of each row; a task's rows are averaged first.
        corpora: Of each row.
    """
    from scipy.stats import norm, t

    by_task = values.groupby([corpora.astype(str), tasks.astype(str)]).mean()
    sums = by_task.groupby(level=0).agg(["sum", "count"]).to_numpy(np.float64)
    mean = float(by_task.mean())
    k = len(sums)
    if k < 2:
        return mean, float("nan"), float("nan")
    drawn = np.random.default_rng(0).integers(0, k, (_RESAMPLES, k))
    total = sums[drawn].sum(1)
    low, high = np.quantile(total[:, 0] / total[:, 1], [0.05, 0.95])
    wider = np.sqrt(k / (k - 1)) * t.ppf(0.95, k - 1) / norm.ppf(0.95)
    return mean, float(mean + wider * (low - mean)), float(mean + wider * (high - mean))


def share_by_task(flags: NDArray[np.bool_], tasks: NDArray[Any]) -> float:
    """Return the mean over tasks of the share of their rows that are so."""
    return float(pd.Series(flags.astype(float)).groupby(tasks).mean().mean())


def interval_figures(
    truth: FloatArray,
    mean: FloatArray,
    reach: tuple[FloatArray, FloatArray],
    tasks: NDArray[Any],
    corpora: NDArray[Any],
    pooled: FloatArray,
) -> dict[str, Any]:
    """Return coverage by row and task, mean width and interval score.

    Beside them stand intervals of one width for all rows.

    Args:
        truth: Accuracies, (n,).
        mean: Predicted, (n,).
        reach: How far the intervals reach below and above, two times (n,).
        tasks: Of each row, (n,).
        corpora: Of each row, (n,).
        pooled: Absolute errors of the best simple predictor's rows with the same truth, (n,): its
            interval, of one width for all rows, is made as wide as the same share of tasks needs.
    """
    low, high = np.clip(mean - reach[0], 0, 1), np.clip(mean + reach[1], 0, 1)
    inside = (truth >= low - 1e-12) & (truth <= high + 1e-12)
    found = coverage(inside, tasks)
    own = pd.Series(np.abs(truth - mean))
    needed = np.sort(own.groupby(tasks).quantile(0.9, interpolation="higher").to_numpy())
    place = max(int(np.ceil(found["tasks"] * len(needed))) - 1, 0)
    simple = np.sort(
        pd.Series(pooled).groupby(tasks).quantile(0.9, interpolation="higher").to_numpy()
    )
    plain = group_threshold(own.to_numpy(), corpora, level=0.9, share=0.5)
    outside = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    by_task = pd.Series(inside.astype(np.float64)).groupby(tasks).mean()
    return {
        **found,
        "mean_of_tasks": float(by_task.mean()),
        "width": float(np.mean(high - low)),
        "interval_score": float(np.mean(high - low + 2 / (1 - LEVEL) * outside)),
        "uncut_width": float(np.mean(reach[0] + reach[1])),
        "pooled_width": float(2 * needed[place]),
        "simple_width": float(2 * simple[place]),
        "half_of_corpora_width": float(2 * plain),
        "n_rows": len(truth),
        "n_tasks": int(pd.Series(tasks).nunique()),
    }


def regrets(frame: pd.DataFrame, rules: Sequence[str]) -> list[dict[str, Any]]:
    """Return what choosing a layer by each rule costs, in points, and how often it is right.

    Args:
        frame: One row a pilot and layer: task, pilot, layer, truth, and a column a rule, the
            higher the better.
        rules: Columns.
    """
    table = frame.sort_values(["pilot", "layer"]).reset_index(drop=True)
    best = table.groupby("pilot")["truth"].transform("max")
    rank = table.groupby("pilot")["truth"].rank(ascending=False, method="min")
    rows = []
    for rule in rules:
        known = table[table[rule].notna()]
        taken = known.groupby("pilot")[rule].idxmax()
        tasks = table.loc[taken, "task"].to_numpy(object)
        lost = 100 * (best - table["truth"])[taken].to_numpy()
        order = [
            float(part[rule].corr(part["truth"], method="kendall"))
            for _, part in known.groupby("pilot")
            if part[rule].nunique() > 1 and part["truth"].nunique() > 1
        ]
        rows.append(
            {
                "rule": rule,
                "regret": float(pd.Series(lost).groupby(tasks).mean().mean()),
                "top_1": share_by_task(rank[taken].to_numpy() <= 1, tasks),
                "top_3": share_by_task(rank[taken].to_numpy() <= 3, tasks),
                "kendall": float(np.mean(order)) if order else float("nan"),
            }
        )
    return rows
