"""Run experiments and write what they found: table, figure, finding, manifest."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from charkit.config import content_hash, people_name
from charkit.durable import write_whole
from charkit.heads.records import write_table
from charkit.manifest import available_cores, code_version, package_versions
from charkit.report.figures.canvas import file_name, save_figure
from charkit.sealed import sealed_json
from glue_pilot.embeddings import write_csv
from glue_pilot.experiments.base import Bench, Experiment, Found

FOLDER = "experiments"
"""Where findings lie, inside the folder of results."""


@dataclass(frozen=True, eq=False)
class Ran:
    """One run of an experiment.

    Attributes:
        changed: Setting -> value, where it is not the file's.
        found: What was found.
        files: What was written; the finding with its manifest (``.json``) comes first.
        seconds: What it took.
    """

    changed: dict[str, Any]
    found: Found
    files: list[Path]
    seconds: float


def run_experiment(
    experiment: Experiment,
    settings: Any,
    bench: Bench,
    *,
    out: Path,
    changed: Mapping[str, Any] | None = None,
) -> Ran:
    """Run an experiment and write its files into ``out/experiments``.

    Args:
        experiment: The question.
        settings: Of its own kind.
        bench: Tasks and store.
        out: Folder of results.
        changed: What a variant differs in; its files are named by it.

    Raises:
        MissingError: The folder cannot be written, or a table of another target is missing.
    """
    begun = time.monotonic()
    found = experiment.run(settings, bench)
    seconds = time.monotonic() - begun
    stem = file_name("_".join([experiment.name, *_words(changed or {})]))
    folder = out / FOLDER
    table = [folder / f"{stem}.parquet", folder / f"{stem}.csv"]
    write_table(found.table, table[0])
    write_csv(found.table, table[1])
    figures: dict[str, str] = {}
    drawn: list[Path] = []
    for ending, figure in found.figures.items():
        name = f"{stem}_{ending}" if ending else stem
        drawn += save_figure(figure, folder / "figures" / name)
        figures[name] = f"figures/{name}.svg"
    page = write_whole(folder / f"{stem}.md", page_of(experiment, found, list(figures)).encode())
    record = {
        "name": stem,
        "question": experiment.question,
        "asked_by": experiment.asked_by,
        "headline": headline(found),
        "finding": found.finding,
        "summary": {k: v if math.isfinite(v) else None for k, v in found.summary.items()},
        "figures": list(figures.values()),
        "table": table[1].name,
        "manifest": {
            "settings": _named(asdict(settings)),
            "settings_hash": content_hash(asdict(settings)),
            "changed": _named(changed or {}),
            "versions": package_versions(),
            "code": code_version(),
            "cores": available_cores(),
            "seconds": round(seconds, 1),
        },
    }
    place = write_whole(folder / f"{stem}.json", sealed_json(record))
    return Ran(dict(changed or {}), found, [place, page, *table, *drawn], seconds)


def headline(found: Found) -> str:
    """Return the finding in a sentence: the title of the main figure."""
    figures = list(found.figures.values())
    texts = figures[0].texts if figures else []
    return " ".join(texts[0].get_text().replace(r"\$", "$").split()) if texts else ""


def page_of(experiment: Experiment, found: Found, figures: Sequence[str]) -> str:
    """Return question, finding and figures as Markdown."""
    pictures = [f"![{name}](figures/{name}.svg)" for name in figures]
    blocks = [f"# {experiment.question}", f"Asked by: {experiment.asked_by}.", found.finding]
    return "\n\n".join([*blocks, *pictures]) + "\n"


def side_by_side(runs: Sequence[Ran]) -> pd.DataFrame:
    """Return one row a run: what was changed, then its summary."""
    return pd.DataFrame([{**_shown(run.changed), **run.found.summary} for run in runs])


def _shown(changed: Mapping[str, Any]) -> dict[str, Any]:
    return {k: ",".join(map(str, v)) if isinstance(v, list) else v for k, v in changed.items()}


def _words(changed: Mapping[str, Any]) -> list[str]:
    return [f"{name}-{value}" for name, value in _shown(_named(changed)).items()]


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the last part of every whole path: results are passed on."""

    def named(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [named(one) for one in value]
        return people_name(value) if isinstance(value, str) else value

    return {name: named(value) for name, value in values.items()}
