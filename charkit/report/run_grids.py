"""Layers by sizes as tables of a run's page: the best layer of every task, each task's scores."""

from __future__ import annotations

import math
from collections.abc import Sequence

from charkit.report.figures.means import Lead, layer_range, short_score
from charkit.report.page_words import text
from charkit.report.run_curves import TaskCurve

_SHADES = 10
"""Classes h0 to h9, light to strong, and v0 to v9, by depth."""


def best_table(curves: Sequence[TaskCurve]) -> str:
    """Return the best layer by task and number of labels, coloured by depth."""
    sizes = sorted({n for c in curves for n in c.leads})
    head = _heads(sizes)
    deepest = max(c.deepest for c in curves)
    rows = []
    for curve in sorted(curves, key=lambda c: c.task):
        cells = "".join(_best_cell(curve, n, deepest) for n in sizes)
        name = text(curve.task, longest=60)
        rows.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
    return (
        '<div class="scroll"><table class="heat" aria-label="Best layer by task and number of '
        f'labels"><thead><tr><th scope="col">labels</th>{head}</tr></thead>\n<tbody>'
        + "\n".join(rows)
        + "</tbody></table></div>"
    )


def _heads(sizes: Sequence[int]) -> str:
    """Return sizes as heads of columns, shorter where the screen is narrow."""
    short = [f"{n // 1024}k" if n % 1024 == 0 else f"{n:,}" for n in sizes]
    return "".join(
        f'<th scope="col" class="number"><span class="full">{n:,}</span>'
        f'<span class="brief" aria-hidden="true">{brief}</span></th>'
        for n, brief in zip(sizes, short, strict=True)
    )


def _best_cell(curve: TaskCurve, n: int, deepest: int) -> str:
    lead = curve.leads.get(n)
    if lead is None:
        return '<td class="none"></td>'
    best, tied = lead.best, lead.tied
    clear = lead.clear(curve.n_layers)
    kind = f"v{round(9 * best / max(deepest, 1))}" if clear else "unclear"
    words = f"best layer {best}"
    if len(tied) > 1:
        words += f"; level with it: {layer_range([k for k in tied if k != best])}"
    if not clear:
        words += "; layers or controls cannot be told apart"
    return f'<td class="{kind}" title="{text(words)}">{best}</td>'


def task_tables(curves: Sequence[TaskCurve]) -> str:
    """Return layer by number of labels for every task; the script shows one at a time."""
    ordered = sorted(curves, key=lambda c: c.task)
    first = max(ordered, key=_gain)
    options = "".join(
        f'<option value="{at}"{" selected" * (c is first)}>{text(c.task, longest=60)} '
        f"({text(c.metric)})</option>"
        for at, c in enumerate(ordered)
    )
    chooser = (
        '<p class="choose" id="choose" hidden><label for="grid-task">Task</label> '
        f'<select id="grid-task" autocomplete="off">{options}</select></p>'
        if len(ordered) > 1
        else ""
    )
    return chooser + "\n".join(_task_table(curve, at) for at, curve in enumerate(ordered))


def _gain(curve: TaskCurve) -> float:
    """Return by how much a curve with signal rises: the one to look at first."""
    rises = (curve.points[-1].mean or 0.0) - (curve.points[0].mean or 0.0)
    return rises if curve.signal else -1.0 + min(rises, 0.0)


def _task_table(curve: TaskCurve, at: int) -> str:
    means = curve.means
    cells = {
        (int(layer), int(n)): float(mean)
        for layer, n, mean in means.real[["layer", "n_train", "mean"]].to_numpy().tolist()
    }
    low, high = min(cells.values()), max(cells.values())
    head = _heads(list(curve.leads))
    rows = []
    for layer in reversed(means.layers):
        row = "".join(
            _score_cell(cells.get((layer, n)), low, high, _mark(layer, lead))
            for n, lead in curve.leads.items()
        )
        rows.append(f'<tr><th scope="row">layer {layer}</th>{row}</tr>')
    name, metric = text(curve.task, longest=60), text(curve.metric)
    return (
        f'<div class="grid-of" data-grid="{at}"><h3>{name}: {metric}</h3><div class="scroll">'
        f'<table class="heat" aria-label="{metric} of {name} by layer and number of labels">'
        f'<thead><tr><th scope="col">labels</th>{head}</tr></thead>\n<tbody>'
        + "\n".join(rows)
        + "</tbody></table></div></div>"
    )


def _mark(layer: int, lead: Lead) -> str:
    return " best" if layer == lead.best else " tied" if layer in lead.tied else ""


def _score_cell(value: float | None, low: float, high: float, mark: str) -> str:
    if value is None or not math.isfinite(value):
        return '<td class="none"></td>'
    shade = min(int(_SHADES * (value - low) / ((high - low) or 1.0)), _SHADES - 1)
    shown = short_score(value).replace("-", "\u2212")
    return f'<td class="h{shade}{mark}">{shown}</td>'
