"""One HTML file that shows a run: the answer, the curves, every experiment, the scorecard.

Like the page of an answer it asks nothing of any network (a policy inside it forbids that),
shows everything without its script, follows the light or dark theme, and can be printed. The
script adds values under the pointer, a slider for the target and a choice of task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from charkit.config import people_name, printable
from charkit.errors import UsageError
from charkit.report.figures.means import Lead, layer_range, short_score
from charkit.report.pages.answer import draw_curve, page_html
from charkit.report.pages.answer_data import read_answer
from charkit.report.pages.curves import (
    TaskCurve,
    curves_of,
    described,
    draw_curves,
    first_target,
    reach,
    task_class,
    value_span,
)
from charkit.report.pages.html import data, flat, minus, plain, put_inside, render, value_text
from charkit.report.pages.run_data import Experiment, Picture, RunFolder, read_run, scorecard_tables
from charkit.report.pages.words import question_of, sentences_of, short_of, warnings_of
from charkit.store.durable import write_whole
from charkit.store.sealed import reading
from metamodel.judge.scorecard import METHOD_NAMES, OURS

FILE = "report.html"
"""The file in the run's folder, unless another one is named."""

# Classes h0 to h9 of the style sheet, light to strong, and v0 to v9, by depth.
_SHADES = 10


def write_report(
    run: str | Path, *, out: str | Path | None = None, title: str | None = None
) -> Path:
    """Write one HTML file from a folder of results; it opens without a network.

    Args:
        run: What ``charkit estimate --out``, ``charkit sweep --out`` or a study wrote: an
            answer, a sweep's table, experiments, a scorecard; any of them may be missing.
        out: The file. Default: ``report.html`` in the folder.
        title: What stands above the page. Default: the study's or the folder's name.

    Returns:
        The file.

    Raises:
        MissingError: There is no such folder, it holds nothing that is known, or the file cannot
            be written.
        DataError: A file of the folder cannot be read.
        UsageError: An answer holds something that must be a number and is none.
    """
    folder = Path(run)
    found = read_run(folder)
    place = Path(out) if out is not None else folder / FILE
    where = f"a result in {printable(str(folder))}"
    advice = "Make the results again, or take the one that was changed out of the folder."
    with reading(where, "values that a page can show", advice=advice):
        page = run_html(found, title=title).encode()
    return write_whole(place, page)


def run_html(run: RunFolder, *, title: str | None = None) -> str:
    """Return a run as one HTML page; the same run gives the same page.

    Args:
        run: What a folder of results holds.
        title: What stands above the page. Default: the run's name.

    Raises:
        DataError: The scorecard does not hold what it should.
        UsageError: An answer holds something that must be a number and is none.
    """
    if run.only_answer and run.answer is not None and not run.scorecard:
        return page_html(run.answer, title=title)
    curves = curves_of(run.table) if run.table is not None else ()
    inside, left_out = put_inside(_pictures(run))
    first, *rest = sentences_of(run, curves)
    return render(
        "run.html",
        title=plain(title or run.name, longest=120),
        about=_about(run, curves),
        question=question_of(run),
        headline=first,
        long=True,
        sentences=rest,
        verdicts=warnings_of(run, curves, left_out),
        numbers=_numbers(curves),
        measured=_measured(curves) if curves else None,
        layers=_layers(curves) if curves else None,
        experiments=[(e, short_of(e), _changed(e), _experiment_record(e)) for e in run.experiments],
        pictures=run.pictures,
        inside=inside,
        tables=scorecard_tables(run.scorecard),
        methods=METHOD_NAMES,
        ours=OURS,
        example=_example(run.answer),
        record=_record(run),
    )


def _pictures(run: RunFolder) -> list[Picture]:
    """Return all figures: each experiment's main one, then the second ones, ..., then others."""
    most = max((len(e.pictures) for e in run.experiments), default=0)
    named = [e.pictures[k] for k in range(most) for e in run.experiments if k < len(e.pictures)]
    return [*named, *run.pictures]


def _about(run: RunFolder, curves: Sequence[TaskCurve]) -> list[str]:
    encoders = sorted({people_name(curve.means.encoder) for curve in curves})
    parts = [plain(name, longest=60) for name in encoders[:3]]
    n_tasks = len({curve.means.task for curve in curves})
    for count, word in ((n_tasks, "task"), (len(run.experiments), "experiment")):
        if count:
            parts.append(f"{count} {word}{'s' * (count > 1)}")
    return parts


def _numbers(curves: Sequence[TaskCurve]) -> Markup:
    """Return what the script needs of the curves."""
    rows = [
        {"name": c.task[:60], "metric": c.metric, "layer": c.layer, "points": c.points}
        for c in curves
    ]
    return data({"curves": rows})


def _measured(curves: Sequence[TaskCurve]) -> dict[str, Any]:
    """Return the chart and, next to it, the labels that a target takes."""
    target = first_target(curves)
    low, high = value_span(curves)
    rows = [(curve, reach(curve, target), task_class(at)) for at, curve in enumerate(curves)]
    met = sum(found.n is not None for _, found, _ in rows)
    word = "curve" if len({c.means.encoder for c in curves}) > 1 else "task"
    return {
        "chart": draw_curves(curves, target),
        "described": described(curves),
        "goal": {"low": low, "high": high, "step": 0.01, "value": target},
        "met": f"{met} of {len(curves)} {word}{'s' * (len(curves) > 1)}",
        "rows": rows,
    }


def _layers(curves: Sequence[TaskCurve]) -> dict[str, Any]:
    """Return the best layer by task and number of labels, then each task's scores.

    A cell is a class, a text and what is shown when one points at it; None where nothing was
    measured.
    """
    ordered = sorted(curves, key=lambda c: c.task)
    sizes = sorted({n for c in curves for n in c.leads})
    deepest = max(c.deepest for c in curves)
    return {
        "sizes": sizes,
        "best": [(c.task, [_best_cell(c, n, deepest) for n in sizes]) for c in ordered],
        "tasks": [(c, _score_rows(c)) for c in ordered],
        "first": max(ordered, key=_rise),
    }


def _rise(curve: TaskCurve) -> float:
    """Return by how much a curve with signal rises: the one to look at first."""
    rise = curve.end - curve.start
    return rise if curve.signal else -1.0 + min(rise, 0.0)


def _best_cell(curve: TaskCurve, n: int, deepest: int) -> tuple[str, str, str] | None:
    lead = curve.leads.get(n)
    if lead is None:
        return None
    clear = lead.clear(curve.n_layers)
    words = f"best layer {lead.best}"
    if len(lead.tied) > 1:
        words += f"; level with it: {layer_range(k for k in lead.tied if k != lead.best)}"
    if not clear:
        words += "; layers or controls do not differ clearly"
    kind = f"v{round((_SHADES - 1) * lead.best / max(deepest, 1))}" if clear else "unclear"
    return kind, str(lead.best), words


def _score_rows(curve: TaskCurve) -> list[tuple[str, list[tuple[str, str, str] | None]]]:
    """Return the mean scores of every layer, the deepest first."""
    columns = ["layer", "n_train", "mean"]
    rows = curve.means.real[columns].to_numpy(dtype=float).tolist()
    cells = {(int(layer), int(n)): mean for layer, n, mean in rows}
    low, high = min(cells.values()), max(cells.values())

    def cell(layer: int, n: int, lead: Lead) -> tuple[str, str, str] | None:
        value = cells.get((layer, n))
        if value is None:
            return None
        shade = min(int(_SHADES * (value - low) / ((high - low) or 1.0)), _SHADES - 1)
        mark = " best" if layer == lead.best else " tied" if layer in lead.tied else ""
        return f"h{shade}{mark}", minus(short_score(value)), ""

    layers = reversed(curve.means.layers)
    return [(f"layer {k}", [cell(k, n, lead) for n, lead in curve.leads.items()]) for k in layers]


def _changed(experiment: Experiment) -> str:
    """Return the settings that differ from the study's own."""
    changed = experiment.manifest.get("changed")
    values = changed.items() if isinstance(changed, Mapping) else ()
    return ", ".join(f"{name} = {value_text(value)}" for name, value in values)


def _experiment_record(experiment: Experiment) -> dict[str, str]:
    table = {"table": f"experiments/{experiment.table}"} if experiment.table else {}
    return _flat_record(experiment.manifest) | table


def _flat_record(values: Mapping[str, Any]) -> dict[str, str]:
    """Return names and values as text, empty ones left out; versions and code in a line."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and name == "versions":
            found[name] = ", ".join(f"{k} {v}" for k, v in value.items())
        elif isinstance(value, Mapping) and name == "code":
            found[name] = _commit(value)
        elif isinstance(value, Mapping):
            found |= {f"{name} {k}": v for k, v in _flat_record(value).items()}
        elif value not in ("", None, [], ()):
            found[str(name)] = value_text(value)
    return found


def _commit(code: Mapping[str, Any]) -> str:
    """Return which code it was, in a few letters."""
    changed = " with changes" if code.get("dirty") else ""
    return f"{str(code.get('commit') or 'unknown')[:12]}{changed}"


def _example(answer: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return an answer as an example, with its warnings and its curve.

    Raises:
        UsageError: The answer is none.
    """
    if answer is None:
        return None
    try:
        read = read_answer(answer)
    except UsageError as error:
        raise UsageError(f"answer.json: {error}") from None
    return {"answer": read, "chart": draw_curve(read, kind="still")}


def _record(run: RunFolder) -> dict[str, str]:
    """Return how the run was made: table, scorecard, files."""
    values: dict[str, str] = {}
    table = run.table
    if table is not None and len(table):
        real = table[table["control"] == "none"]
        values |= flat(
            {
                "table": run.table_file,
                "cells": len(table),
                "cells without controls": len(real),
                "encoders": sorted(map(people_name, real["encoder"].unique().tolist())),
                "fingerprints": sorted(real["encoder_fingerprint"].unique().tolist()),
                "layers": sorted(real["layer"].unique().tolist()),
                "sizes": sorted(real["n_train"].unique().tolist()),
                "seeds": sorted(real["seed"].unique().tolist()),
                "controls": sorted(set(table["control"].unique().tolist()) - {"none"}),
                "figures in the folder": run.drawn,
            }
        )
    record = {k: v for k, v in run.scorecard.items() if k != "figures"}
    values |= {f"scorecard: {k}": v for k, v in _flat_record(record).items()}
    commits: dict[str, list[str]] = {}
    for experiment in run.experiments:
        code = experiment.manifest.get("code")
        if isinstance(code, Mapping):
            commits.setdefault(_commit(code), []).append(experiment.name)
    return values | {f"experiments at {code}": ", ".join(e) for code, e in commits.items()}
