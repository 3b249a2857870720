"""The results of the study of classes and labels, written: figures as JSON, sentences, tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from charkit.durable import write_whole
from charkit.manifest import available_cores, code_version, package_versions
from glue_pilot.quality_figures import (
    RULES,
    class_figures,
    class_rows,
    forecast_rows,
    noise_figures,
    noise_rows,
    relabelling,
)
from glue_pilot.quality_study import Case, Measured, QualityStudy

Row = dict[str, Any]

METRICS = {
    "recall": "recall of a class",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
}


def write_quality_study(
    cases: Sequence[Case], measured: Sequence[Measured], study: QualityStudy, out: Path
) -> tuple[list[str], list[Path]]:
    """Write ``<name>.json`` and ``.md``; return the findings and the files.

    Args:
        cases: What was measured.
        measured: What was found.
        study: What made them.
        out: The folder; made when absent.
    """
    noise = noise_rows(cases, measured)
    found = {
        "classes": class_figures(forecast_rows(class_rows(cases, measured))),
        "noise": noise_figures(noise),
        "relabelling": relabelling(noise),
    }
    lines = findings(found, noise)
    numbers = {
        "study": vars(study),
        **found,
        "findings": lines,
        "cores": available_cores(),
        "versions": package_versions(),
        "code": code_version(),
    }
    stem = out / study.name
    text = json.dumps(numbers, indent=1, sort_keys=True, allow_nan=False) + "\n"
    pages = {".json": text, ".md": page(found, lines, noise)}
    return lines, [write_whole(stem.with_suffix(end), t.encode()) for end, t in pages.items()]


def findings(found: dict[str, list[Row]], noise: pd.DataFrame) -> list[str]:
    """Return what was found, as sentences."""
    lines = []
    last = max(row["multiple"] for row in found["classes"])
    for row in (row for row in found["classes"] if row["multiple"] == last):
        lines.append(
            f"{METRICS[row['metric']]} at {last} times the labels: error {_points(row['odds'])} "
            f"points, as it is {row['stay']['mean']:.1f} (better by {_points(row['gain'])}), with "
            f"the growth of the accuracy known {row['known']['mean']:.1f}; interval covers "
            f"{row['covered']:.0%}"
        )
    planted = [row for row in found["noise"] if row["noise"] > 0]
    covered = sum(row["covered"] * row["samples"] for row in planted)
    lines.append(
        f"wrong labels: the interval covers {covered / sum(r['samples'] for r in planted):.0%} of "
        f"the samples with labels made wrong; it shows some in "
        f"{sum(r['shown'] * r['samples'] for r in planted):.0f} of "
        f"{sum(r['samples'] for r in planted)}, and in "
        f"{sum(r['shown'] * r['samples'] for r in found['noise'] if r['noise'] == 0):.0f} of "
        f"{int((noise['noise'] == 0).sum())} samples as they are"
    )
    for row in found["relabelling"]:
        if row["samples"]:
            lines.append(
                f"where wrong labels are {row['group']} ({row['samples']} samples): relabelling "
                f"{_points(row['relabelled'])} points, labelling as many more "
                f"{_points(row['labelled'])}, difference {_points(row['difference'])}"
            )
    return [line.replace("%", " %") for line in lines]


def page(found: dict[str, list[Row]], lines: Sequence[str], noise: pd.DataFrame) -> str:
    """Return the findings and tables as Markdown."""
    n_tasks, n_corpora = noise["task"].nunique(), noise["corpus"].nunique()
    parts = [
        f"{n_tasks} tasks of {n_corpora} corpora; the growth of the accuracy is forecast from the "
        "other corpora; every corpus counts alike; in brackets 90 % intervals, from drawing "
        "corpora with replacement. Errors in points.",
        "\n".join(f"- {line}" for line in lines),
        _table(
            ["share", "labels", *RULES.values(), "growth known", "interval covers", "width"],
            [_class_cells(row) for row in found["classes"]],
        ),
        _table(
            ["labels", "made wrong", "bias", "error", "interval covers", "upper end", "shown"],
            [_noise_cells(row) for row in found["noise"]],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _class_cells(row: Row) -> list[str]:
    errors = [_points(row[rule]) for rule in (*RULES, "known")]
    share = [METRICS[row["metric"]], f"{row['multiple']} x"]
    return [*share, *errors, f"{row['covered']:.0%}", f"{row['width']:.0f}"]


def _noise_cells(row: Row) -> list[str]:
    cells = [f"{row['n']:,}", f"{row['noise']:.0%}", f"{row['bias']:+.1f}", f"{row['error']:.1f}"]
    return [*cells, f"{row['covered']:.0%}", f"{row['high']:.0f}%", f"{row['shown']:.0%}"]


def _points(value: dict[str, float]) -> str:
    return f"{value['mean']:.1f} ({value['low']:.1f} to {value['high']:.1f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return text.replace("%", " %").replace("  %", " %")
