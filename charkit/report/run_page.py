"""One HTML file that tells a run: the answer, the curves, every experiment, the scorecard.

Like the page of an answer it asks nothing of any network (a policy inside it forbids that),
tells everything without its script, follows the light or dark theme, and can be printed. The
script adds values under the pointer, a slider for the target and a choice of task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from charkit.config import people_name, printable
from charkit.durable import write_whole
from charkit.report.page import page_html
from charkit.report.page_parts import about, asset, bullets, policy, verdict_list
from charkit.report.page_tables import named_values
from charkit.report.page_words import text
from charkit.report.run_curves import TaskCurve, curves_of, encoders_of
from charkit.report.run_figures import put_inside
from charkit.report.run_folder import Picture, RunFolder, read_run
from charkit.report.run_parts import (
    commit,
    curves_section,
    example_section,
    experiment_sections,
    flat,
    layers_section,
    pictures_section,
    scorecard_section,
    section,
    short_section,
)
from charkit.report.run_words import question_of, sentences_of, warnings_of
from charkit.sealed import reading

FILE = "report.html"
"""Where a report lies in its run, unless another place is named."""


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
    inside = put_inside(_pictures(run))
    style, script = asset("page.css") + asset("run.css"), asset("run.js")
    parts = {
        "curves": curves_section(curves),
        "findings": short_section(run.experiments),
        "layers": layers_section(curves),
        "experiments": experiment_sections(run.experiments, inside),
        "figures": pictures_section(run, inside),
        "scorecard": scorecard_section(run),
        "example": example_section(run.answer),
        "record": _record(run),
    }
    first, *rest = sentences_of(run, curves)
    name = title or run.name
    return Template(asset("run.html")).substitute(
        parts,
        name=text(name, longest=120),
        title=text(name, longest=120),
        policy=policy(style, script),
        style=style,
        script=script,
        about=about(_about(run, curves)),
        question=text(question_of(run)),
        headline=text(first),
        sentences=bullets(rest),
        verdicts=verdict_list(warnings_of(run, curves, inside.left_out)),
        contents=_contents(parts),
        data=_data(curves),
    )


def _pictures(run: RunFolder) -> list[Picture]:
    """Return all figures: each experiment's main one, then the second ones, ..., then others."""
    most = max((len(e.pictures) for e in run.experiments), default=0)
    told = [e.pictures[k] for k in range(most) for e in run.experiments if k < len(e.pictures)]
    return [*told, *run.pictures]


def _about(run: RunFolder, curves: Sequence[TaskCurve]) -> list[str]:
    said = [text(name, longest=60) for name in encoders_of(curves)[:3]]
    n_tasks = len({curve.means.task for curve in curves})
    for count, word in ((n_tasks, "task"), (len(run.experiments), "experiment")):
        if count:
            said.append(f"{count} {word}{'s' * (count > 1)}")
    return said


def _contents(parts: Mapping[str, str]) -> str:
    names = {
        "curves": "Learning curves",
        "findings": "Findings",
        "layers": "Layers",
        "figures": "More figures",
        "scorecard": "Scorecard",
        "example": "Example",
        "record": "Record",
    }
    links = "".join(f'<li><a href="#{k}">{v}</a></li>' for k, v in names.items() if parts[k])
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav>'


def _data(curves: Sequence[TaskCurve]) -> str:
    """Return what the script needs; no text in it can end its element."""
    tasks = [
        {
            "name": curve.task[:60],
            "metric": curve.metric,
            "layer": curve.layer,
            "points": [[p.n, *map(_short, (p.mean, p.low, p.high))] for p in curve.points],
        }
        for curve in curves
    ]
    said = json.dumps({"tasks": tasks}, separators=(",", ":"), allow_nan=False)
    return said.replace("<", "\\u003c").replace("&", "\\u0026").replace(">", "\\u003e")


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def _record(run: RunFolder) -> str:
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
    values |= {f"scorecard: {k}": v for k, v in flat(record).items()}
    commits: dict[str, list[str]] = {}
    for experiment in run.experiments:
        code = experiment.manifest.get("code")
        if isinstance(code, Mapping):
            commits.setdefault(commit(code), []).append(experiment.name)
    values |= {f"experiments at {code}": ", ".join(names) for code, names in commits.items()}
    return section("record", "Record", named_values(values) if values else "")
