"""What the stages of a head's training say: words and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from glue_pilot.experiments.layers_figures import interval_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONVERGED, SHUFFLED = "converged", "shuffled"


def _value(means: pd.DataFrame, stage: str, what: str) -> pd.Series:
    chosen = means[(means["stage"] == stage) & (means["what"] == what)]
    nothing = pd.Series(dict.fromkeys(means.columns[3:], float("nan")))
    return chosen.iloc[0] if len(chosen) else nothing


def _said(row: pd.Series) -> str:
    return f"{row['mean']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


def _verdict(means: pd.DataFrame, stage: str, what: str) -> str:
    row = _value(means, stage, what)
    if row["gap_high"] < 0:
        return "lower"
    return "higher" if row["gap_low"] > 0 else "not told apart"


def finding_of(means: pd.DataFrame, *, n: int, draws: int) -> str:
    """Say what the means say.

    Args:
        means: From `classifier.mean_table`.
        n: Labelled texts a sample.
        draws: Samples a task.
    """
    stages = [s for s in dict.fromkeys(means["stage"]) if s not in (CONVERGED, SHUFFLED)]
    told = _telling(stages)
    tasks = int(means["tasks"].max())
    sentences = [
        f"{_answer(means, stages)}\n\n{tasks} tasks, {n} texts each, {draws} samples; the head "
        "reads the last layer, and is stopped during gradient descent. In brackets: 90 % "
        "intervals, tasks drawn by corpus; clearly: the interval of the difference leaves out "
        "nought.",
        "Accuracy: " + _listed(means, told, "accuracy") + ".",
        "Distance of the embedding to the converged head's, in units of the mean distance "
        "between tasks: " + _listed(means, told, "moved", without=CONVERGED) + ".",
        "Another sample of the task is nearer than other tasks in this share of cases: "
        + _listed(means, told, "known_again") + ".",
    ]  # fmt: skip
    if _has_siblings(means):
        sentences.append(
            "NDCG of siblings (labels of one kind, other texts; chance "
            f"{_value(means, CONVERGED, 'chance')['mean']:.2f}): "
            + _listed(means, told, "ndcg") + "."
        )  # fmt: skip
        sentences.append(_ndcg_words(means, [*stages, SHUFFLED]))
    sentences.append(_again_words(means, [*stages, SHUFFLED]))
    return " ".join(sentences)


def _telling(stages: list[str]) -> list[str]:
    """Return the head before training, after the fewest steps and after the most."""
    steps = [s for s in stages if s.isdigit()]
    return list(dict.fromkeys([*stages[:1], *steps[:1], *steps[-1:]]))


def _answer(means: pd.DataFrame, stages: list[str]) -> str:
    """Say first whether convergence is needed, and whether labels are."""
    what = "ndcg" if _has_siblings(means) else "known_again"
    doing = "rank siblings" if what == "ndcg" else "know tasks again"
    early = [
        s for s in stages
        if s.isdigit()
        and _verdict(means, s, "accuracy") == "lower"
        and _verdict(means, s, what) != "lower"
    ]  # fmt: skip
    if early:
        better = _verdict(means, early[0], what) == "higher"
        first = (
            ("A fully trained head is not needed here" if better
             else "That a fully trained head is needed is not shown")
            + f": after {_words(early[0])} it is clearly less accurate, and embeddings under it "
            + f"{doing} " + ("clearly better." if better else "no worse, as far as can be told.")
        )  # fmt: skip
    else:
        first = (
            "That less training serves as well is not shown: no clearly less accurate head lets "
            f"embeddings {doing} as well."
        )
    lower = _verdict(means, SHUFFLED, what) == "lower"
    end = "clearly less well: labels count." if lower else "no worse, as far as can be told."
    return f"{first} Heads of shuffled labels let embeddings {doing} {end}"


def _has_siblings(means: pd.DataFrame) -> bool:
    return not np.isnan(_value(means, CONVERGED, "ndcg")["mean"])


def _listed(means: pd.DataFrame, stages: list[str], what: str, *, without: str = "") -> str:
    words = []
    for stage in [*stages, CONVERGED, SHUFFLED]:
        if stage != without:
            words.append(f"{_words(stage)} {_said(_value(means, stage, what))}")
    return "; ".join(words)


def _words(stage: str) -> str:
    if stage.isdigit():
        return f"{stage} step" if stage == "1" else f"{stage} steps"
    return {"random": "random weights", SHUFFLED: "shuffled labels"}.get(stage, stage)


def _ndcg_words(means: pd.DataFrame, stages: list[str]) -> str:
    worse = [_words(s) for s in stages if _verdict(means, s, "ndcg") == "lower"]
    chance = _value(means, CONVERGED, "chance")["mean"]
    above = "lies above" if _value(means, CONVERGED, "ndcg")["low"] > chance else "reaches down to"
    better = [_words(s) for s in stages if _verdict(means, s, "ndcg") == "higher"]
    tail = f"The converged head's interval {above} chance."
    if better:
        tail = f"Clearly better: {_and(better)}. {tail}"
    if not worse:
        return f"No stage ranks siblings clearly worse than the converged head does. {tail}"
    return f"Siblings are ranked clearly worse than by the converged head: {_and(worse)}. {tail}"


def _again_words(means: pd.DataFrame, stages: list[str]) -> str:
    worse = [_words(s) for s in stages if _verdict(means, s, "known_again") == "lower"]
    said = (
        f"A task is known again clearly less well than under the converged head: {_and(worse)}."
        if worse
        else "No stage knows tasks again clearly less well than the converged head does."
    )
    plain = [s for s in ("random", SHUFFLED) if s in stages]
    unmoved = [_words(s) for s in plain if _verdict(means, s, "known_again") != "lower"]
    if unmoved:
        said += (
            f" Under heads of {_and(unmoved)} tasks are known again as well: here the texts alone "
            "tell them apart."
        )
    return said


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


_PLACES = {CONVERGED: "con-\nverged", SHUFFLED: "shuffled\nlabels"}


def figures_of(means: pd.DataFrame) -> dict[str, Figure]:
    """Draw what embeddings tell by stage, and how far they lie from the converged one."""
    lines = {
        "accuracy": "accuracy of the head",
        "known_again": "task known again",
        "ndcg": "NDCG of siblings",
    }
    placed = means.assign(place=means["stage"].replace(_PLACES))
    shown = placed[placed["what"].isin(lines)]
    moved = placed[placed["what"] == "moved"]
    what = "ndcg" if _has_siblings(means) else "known_again"
    first = next((s for s in means["stage"] if s.isdigit()), CONVERGED)
    values = [float(_value(means, s, what)["mean"]) for s in (first, CONVERGED, SHUFFLED)]
    chance = float(_value(means, CONVERGED, "chance")["mean"])
    main = interval_lines(
        shown.assign(line=shown["what"].map(lines)),
        title=f"{lines[what]}: {values[0]:.2f} after {_words(first)}, {values[1]:.2f} converged, "
        f"{values[2]:.2f} with shuffled labels",
        caption="Known again: share of other tasks that are farther than another sample of the "
        f"task. Chance of NDCG: {chance:.2f}. Bars: 90 % bootstrap intervals over corpora.",
        across="steps of gradient descent",
        up="share, or NDCG",
        apart=_PLACES[SHUFFLED],
    )
    far = interval_lines(
        moved.assign(line="embedding"),
        title="How far the embedding lies from the converged head's",
        caption="Aitchison's distance over the mean distance between tasks (dashed: as far as "
        "another task). Bars: 90 % bootstrap intervals over corpora.",
        across="steps of gradient descent",
        up="distance / distance between tasks",
        level=1,
        apart=_PLACES[SHUFFLED],
    )
    return {"": main, "stability": far}


def summary_of(means: pd.DataFrame, quantities: Sequence[str]) -> dict[str, float]:
    """Return the means of some quantities at the telling stages."""
    names = {CONVERGED: CONVERGED, SHUFFLED: SHUFFLED, "random": "random", "1": "one_step"}
    return {
        f"{what}_{name}": float(_value(means, stage, what)["mean"])
        for stage, name in names.items()
        for what in quantities
    }
