"""What the three comparisons of layers say: words, figures, and the numbers of the summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from glue_pilot.experiments.layers_figures import interval_lines, number_grid
from glue_pilot.experiments.layers_matrices import METRICS, difference
from glue_pilot.experiments.layers_mixes import LAST, MIXES, SINGLE
from glue_pilot.experiments.layers_regret import ELSEWHERE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRIC_WORDS = {"log_ratio": "log-ratio distance", "cosine": "Task2Vec's cosine"}


def finding_of(
    matrices: pd.DataFrame, regrets: pd.DataFrame, mixes: pd.DataFrame, *, last: int
) -> str:
    """Say what the tables say, one paragraph a question."""
    distances = " ".join(_distance_words(matrices, metric, last) for metric in METRICS)
    return "\n\n".join(
        [
            f"**Distances.** Triples of two tasks with labels of one kind and other texts, and a "
            f"third ({int(matrices['triples'].iloc[0])} triples). The gap is how much farther "
            "the third lies, over the mean distance; intervals (90 %, in brackets) draw whole "
            f"corpora. {distances} Tasks of one kind often have texts of one sort as well: the "
            "gap does not say which of the two a layer tells.",
            f"**Heads.** {_regret_words(regrets, last)}",
            f"**Mixes.** {_mix_words(mixes)}",
        ]
    )


# -- distances -------------------------------------------------------------------------------


def _at(matrices: pd.DataFrame, metric: str, measure: str) -> pd.DataFrame:
    chosen = (matrices["metric"] == metric) & (matrices["measure"] == measure)
    return matrices[chosen].set_index(["cache_layer", "head_layer"])


def _value(matrices: pd.DataFrame, place: tuple[int, int], metric: str, measure: str) -> pd.Series:
    found = _at(matrices, metric, measure)
    return found[[p == place for p in found.index]].iloc[0]


def _said(row: pd.Series) -> str:
    if row["low"] != row["low"]:
        return f"{row['value']:.2f} (no interval)"
    return f"{row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


def _distance_words(matrices: pd.DataFrame, metric: str, last: int) -> str:
    early, late, whole = (0, 1), (last - 1, last), (0, last)
    gap = _at(matrices, metric, "gap")["value"]
    cache, head = list(gap.index)[int(gap.argmax())]
    told = _value(matrices, (cache, head), metric, "told")
    words = [
        f"By {METRIC_WORDS[metric]}, the gap is {_said(_value(matrices, early, metric, 'gap'))} "
        f"on the first layer alone, {_said(_value(matrices, late, metric, 'gap'))} on the last "
        f"alone, {_said(_value(matrices, whole, metric, 'gap'))} on all under the last layer's "
        f"head; the largest, {gap.max():.2f} (picked among {len(gap)}, so a little lucky), has "
        f"features cached at layer {cache} and "
        f"the head at layer {head} ({told['value']:.0%} of triples told right there, a third by "
        f"chance){_lead(matrices, metric, (cache, head), whole)}."
    ]
    words.append(_uniform_words(matrices, metric, early, late))
    return " ".join(words)


def _lead(
    matrices: pd.DataFrame, metric: str, best: tuple[int, int], whole: tuple[int, int]
) -> str:
    """Say by how much the best place leads on all layers under the last layer's head."""
    lead, low, high = difference(matrices, best, whole, metric=metric, measure="gap")
    if best == whole or low != low:
        return ""
    return f", {lead:.2f} ({low:.2f} to {high:.2f}) more than on all under the last layer's head"


def _uniform_words(
    matrices: pd.DataFrame, metric: str, early: tuple[int, int], late: tuple[int, int]
) -> str:
    """Say whether the matrix is more uniform from the first layer, as the seed expects."""
    spread, low, high = difference(matrices, late, early, metric=metric, measure="spread")
    if low != low:
        return "Too few triples tell whether the first layer's matrix is more uniform."
    said = (
        "on the last layer alone the spread of a triple's distances differs from the first's by "
        f"{spread:+.2f} ({low:+.2f} to {high:+.2f})"
    )
    if low > 0:
        return f"The matrix is more uniform from the first layer: {said}."
    if high < 0:
        return f"The matrix is LESS uniform from the first layer: {said}."
    return f"It is not shown that the first layer's matrix is more uniform: {said}."


# -- heads -----------------------------------------------------------------------------------


def _points(row: pd.Series, name: str) -> str:
    return f"{100 * row[name]:.1f} points ({100 * row['low']:.1f} to {100 * row['high']:.1f})"


def _regret_words(regrets: pd.DataFrame, last: int) -> str:
    sizes = sorted(regrets["n"].unique())
    words = []
    for n in dict.fromkeys([sizes[0], sizes[len(sizes) // 2], sizes[-1]]):
        here = regrets[regrets["n"] == n]
        layers = here[here["layer"] >= 0]
        own = layers[layers["layer"] == last].iloc[0]
        cheap = layers.iloc[int(layers["regret"].argmin())]
        often = layers.iloc[int(layers["best"].argmax())]
        rule = here[here["rule"] == ELSEWHERE].iloc[0]
        words.append(
            f"At n = {n:,} ({int(own['tasks'])} tasks) the last layer costs "
            f"{_points(own, 'regret')} against the layer that is best on the task's other draws; "
            f"the cheapest fixed layer is {int(cheap['layer'])} with {_points(cheap, 'regret')}; "
            f"the one best on other corpora costs {_points(rule, 'regret')}. Most often best is "
            f"layer {int(often['layer'])}, for {often['best']:.0%} of tasks"
            + ("." if often["layer"] == last else f"; the last for {own['best']:.0%}.")
        )
    ends = regrets[regrets["layer"] == last].sort_values("n")
    clear = ends[ends["low"] > 0]["n"]
    words.append(
        f"The last layer's cost is clear (its interval above nought) at {len(clear)} of "
        f"{len(ends)} sizes."
    )
    return " ".join(words)


# -- mixes -----------------------------------------------------------------------------------


def _mix_words(mixes: pd.DataFrame) -> str:
    words = [
        f"Against the single layer with the least left-out loss ({int(mixes['tasks'].max())} "
        "tasks; the embeddings count as a layer):"
    ]
    for method in (LAST, *MIXES):
        rows = mixes[mixes["method"] == method].sort_values("n")
        gains = ", ".join(
            f"{100 * r['gain']:+.1f} points ({100 * r['low']:+.1f} to {100 * r['high']:+.1f}) at "
            f"n = {int(r['n']):,}"
            for _, r in rows.iterrows()
        )
        words.append(f"{method}: {gains}; {_from_which(rows)}.")
    return " ".join(words)


def _from_which(rows: pd.DataFrame) -> str:
    """Say from which n on a method is clearly better, and where it is clearly worse."""
    sizes = [int(n) for n in rows["n"]]
    better = list(rows["low"] > 0)
    worse = [f"{n:,}" for n, bad in zip(sizes, rows["high"] < 0, strict=True) if bad]
    start = next((k for k in range(len(better)) if all(better[k:])), None)
    if start is not None:
        return f"clearly better from n = {sizes[start]:,} on"
    if worse:
        return f"clearly worse at n = {', '.join(worse)}"
    return "clearly better at some n only" if any(better) else "not clearly better at any n"


# -- figures and summary ---------------------------------------------------------------------


def figures_of(
    matrices: pd.DataFrame, regrets: pd.DataFrame, mixes: pd.DataFrame, *, last: int
) -> dict[str, Figure]:
    """Draw regret by n (the main one), the gap by layer and cache layer, and what mixes gain."""
    return {
        "": _regret_figure(regrets, last),
        "distances": _gap_figure(matrices, last),
        "cache": _cache_figure(matrices, last),
        "mixes": _mix_figure(mixes),
    }


def _percent(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows.assign(mean=100 * rows[name], low=100 * rows["low"], high=100 * rows["high"])


def _regret_figure(regrets: pd.DataFrame, last: int) -> Figure:
    shown = regrets[regrets["layer"].isin([last - 2, last - 1, last]) | (regrets["layer"] == -1)]
    shown = _percent(shown, "regret").assign(line=shown["rule"], place=shown["n"].astype(str))
    ends = regrets[regrets["layer"] == last]
    rule = regrets[regrets["rule"] == ELSEWHERE]
    return interval_lines(
        shown.sort_values(["line", "n"]).sort_values("n", kind="stable"),
        title=f"The last layer costs {100 * ends['regret'].mean():.1f} points on average, the one "
        f"best on other corpora {100 * rule['regret'].mean():.1f}",
        caption="Cost against the layer that is best on the task's other draws, mean over tasks. "
        "Bars: 90 % bootstrap intervals over corpora.",
        across="labelled training texts (n)",
        up="regret (points of accuracy)",
        level=0,
    )


def _gap_figure(matrices: pd.DataFrame, last: int) -> Figure:
    gaps = matrices[(matrices["measure"] == "gap") & (matrices["metric"] == "log_ratio")]
    single = gaps[gaps["cache_layer"] == gaps["head_layer"] - 1].assign(
        line="the head's layer alone"
    )
    under = gaps[gaps["head_layer"] == last].assign(line="from here to the last")
    whole = gaps[gaps["cache_layer"] == 0].assign(line="all layers up to here")
    rows = pd.concat(
        [
            single.assign(place=single["head_layer"].astype(str)),
            under.assign(place=(under["cache_layer"] + 1).astype(str)),
            whole.assign(place=whole["head_layer"].astype(str)),
        ]
    ).rename(columns={"value": "mean"})
    best = gaps.iloc[int(gaps["value"].argmax())]
    return interval_lines(
        rows.drop(columns="resampled"),
        title=f"A dissimilar task stands out most ({best['value']:.2f}) with layers "
        f"{int(best['cache_layer']) + 1} to {int(best['head_layer'])}",
        caption="Gap: how much farther a task with another kind of label lies than two with one "
        "kind, over their mean log-ratio distance (dashed: no farther). Bars: 90 % bootstrap "
        "intervals over corpora.",
        across="layer",
        up="gap / mean distance",
        level=0,
    )


def _cache_figure(matrices: pd.DataFrame, last: int) -> Figure:
    told = matrices[(matrices["measure"] == "told") & (matrices["metric"] == "log_ratio")]
    grid = told.pivot_table(index="cache_layer", columns="head_layer", values="value")
    best = told.iloc[int(told["value"].argmax())]
    whole = _value(matrices, (0, last), "log_ratio", "told")
    return number_grid(
        grid,
        title=f"Similar tasks are the nearest in {best['value']:.0%} of triples from cache layer "
        f"{int(best['cache_layer'])} to head layer {int(best['head_layer'])}, in "
        f"{whole['value']:.0%} from all layers",
        caption="Share of triples where the two tasks with labels of one kind are nearer to each "
        "other than to the third (log-ratio distance; a third by chance). The embedding has "
        "the layers above the cache layer, up to the head's.",
        across="layer that the head reads",
        up="cache layer",
    )


def _mix_figure(mixes: pd.DataFrame) -> Figure:
    shown = mixes[mixes["method"] != SINGLE].sort_values("n")
    shown = _percent(shown, "gain").assign(line=shown["method"], place=shown["n"].astype(str))
    largest = mixes[(mixes["n"] == mixes["n"].max()) & mixes["method"].isin(MIXES)]
    best = largest.iloc[int(largest["gain"].argmax())]
    return interval_lines(
        shown,
        title=f"At n = {int(best['n']):,} the {best['method']} gains most on one layer: "
        f"{100 * best['gain']:+.1f} points",
        caption="Accuracy less that of the single layer with the least left-out loss, mean over "
        "tasks. Bars: 90 % bootstrap intervals over corpora.",
        across="labelled training texts (n)",
        up="gain (points of accuracy)",
        level=0,
    )


def summary_of(
    matrices: pd.DataFrame, regrets: pd.DataFrame, mixes: pd.DataFrame, *, last: int
) -> dict[str, float]:
    """Return the few numbers that are set side by side."""
    found = {}
    for metric in METRICS:
        for word, place in (("first", (0, 1)), ("last", (last - 1, last)), ("all", (0, last))):
            row = _value(matrices, place, metric, "gap")
            found[f"gap_{metric}_{word}"] = float(row["value"])
    found["regret_last"] = float(regrets[regrets["layer"] == last]["regret"].mean())
    found["regret_elsewhere"] = float(regrets[regrets["rule"] == ELSEWHERE]["regret"].mean())
    largest = mixes[mixes["n"] == mixes["n"].max()].set_index("method")["gain"]
    return found | {f"gain_{m.replace(' ', '_')}": float(largest[m]) for m in (LAST, *MIXES)}
