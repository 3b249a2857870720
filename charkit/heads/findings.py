"""What a sweep found, as sentences: best score, ties, controls, and what was cut or left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from charkit.config import layer_list, people_name
from charkit.heads.choice import LayerChoice
from charkit.heads.compare import LayerComparison, compare_layers
from charkit.heads.records import CONTROL_NAMES, SHOWN_BESIDE, metric_name
from charkit.tasks.card import TaskCard

if TYPE_CHECKING:
    from charkit.heads.result import SweepResult

CUT_SHARE = 0.01
"""A larger share of cut texts is worth a line."""


def findings_of(result: SweepResult) -> list[str]:
    """Return a first line and a few indented ones for every task, encoder and subset."""
    lines = []
    for card in result.cards:
        best = result.best_layers(card.name)
        if best.empty:
            lines.append(f"{card.name}: no head was trained; see the column 'message'")
        for names, rows in best.groupby(["subset", "encoder"], sort=False) if len(best) else ():
            subset, encoder = map(str, names)
            top = rows.iloc[-1]
            lines += [_score(top, card, subset), *_details(card, top)]
            if subset == "all":
                lines += _comparison(compare_layers(result, card.name, encoder), top)
            lines += _left_out(result, card, subset, encoder)
    return lines


def _score(top: pd.Series, card: TaskCard, subset: str) -> str:
    part = "" if subset == "all" else f" ({subset})"
    return (
        f"{card.name}{part}: {metric_name(card.metric)} {top['score']:.3f} (90 % interval "
        f"{top['low']:.3f} to {top['high']:.3f}) with {int(top['n_train']):,} labels, layer "
        f"{int(top['layer'])} of {people_name(str(top['encoder']))}, "
        f"L2 strength {top['strength']:.2g}"
    )


def _details(card: TaskCard, top: pd.Series) -> list[str]:
    beside = [f"{name} {top[c]:.3f}" for c, name in CONTROL_NAMES.items() if c in top.index]
    lines = [f"  controls: {', '.join(beside)}"] if beside else []
    known = [m for m in SHOWN_BESIDE if m in top.index and top[m] == top[m]]
    others = [f"{metric_name(m)} {top[m]:.3f}" for m in known]
    if others:
        lines.append(f"  one class has most of the evaluation texts: {', '.join(others)}")
    if card.ceiling is not None:
        lines.append(f"  known ceiling: {card.ceiling:.3f}")
    return lines


def _comparison(compared: LayerComparison | None, top: pd.Series) -> list[str]:
    if compared is None:
        return []
    lines = [f"  {ties(compared.choice)}"]
    if top["last_layer"] < top["score"]:
        lines[0] += f"; layer {compared.choice.layers[-1]} has {top['last_layer']:.3f}"
    if compared.verdict is not None and not compared.verdict.signal:
        lines.append(f"  {compared.verdict.reason}")
    elif compared.training_helps is False:
        lines.append("  " + NO_HELP)
    return lines


NO_HELP = (
    "a random encoder of the same shape does as well: nothing shows that the encoder's training "
    "helps here"
)


def ties(choice: LayerChoice) -> str:
    """Return a sentence about the layers that tie with the best."""
    tied = [
        layer
        for layer, tie in zip(choice.layers, choice.tied_with_best, strict=True)
        if tie and layer != choice.best
    ]
    if not tied:
        return f"layer {choice.best} is best" + (
            "; no other ties with it" if len(choice.layers) > 1 else ""
        )
    if len(tied) == len(choice.layers) - 1:
        return f"layer {choice.best} is highest, but all layers tie with it"
    verb = "layer {} ties" if len(tied) == 1 else "layers {} tie"
    return f"layer {choice.best} is best; {verb.format(layer_list(tied))} with it"


def _left_out(result: SweepResult, card: TaskCard, subset: str, encoder: str) -> list[str]:
    lines = []
    jobs = [
        job
        for job in result.jobs
        if (job.card.name, job.subset, job.probe.encoder) == (card.name, subset, encoder)
        and job.control == "none"
    ]
    rows = result.table[result.table["key"].isin([job.key for job in jobs])]
    cut = float(rows["frac_truncated"].max())
    if cut > CUT_SHARE:
        lines.append(f"  {cut_words(cut, jobs[0].probe.max_length)}")
    largest = rows[rows["n_train"] == rows["n_train"].max()]
    unseen = float(largest["frac_unseen"].mean())
    if unseen > 0:
        lines.append(
            f"  {unseen:.1%} of the evaluation texts are of classes without a training text: they "
            "count as errors"
        )
    without = sorted(set(jobs[0].sizes) - set(rows["n_train"]))
    if without:
        lines.append(f"  sizes left out, the sample does not allow them: {sizes_list(without)}")
    return lines


def cut_words(frac: float, max_length: int) -> str:
    """Return how many texts were cut, and where."""
    return f"{frac:.0%} of the texts were cut at {max_length} tokens (--max-length)"


def sizes_list(sizes: Sequence[int]) -> str:
    """Return sizes with thousands marked."""
    return ", ".join(f"{size:,}" for size in sizes)
