"""The results of the study of test labels, written: table of cases, figures as JSON, a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from charkit.durable import write_whole
from charkit.manifest import available_cores, code_version, package_versions
from glue_pilot.evaluate_cases import EvaluateStudy
from glue_pilot.evaluate_study import METHODS, WITHOUT

KINDS = {False: "the sample's own corpus", True: "another corpus, same labels"}
COMMAND, RANDOM = "charkit evaluate", "random rows"


def write_evaluate_study(
    rows: pd.DataFrame,
    found: pd.DataFrame,
    floor: dict[str, float],
    study: EvaluateStudy,
    out: Path,
) -> list[Path]:
    """Write ``<name>.csv``, ``.json`` and ``.md``.

    Args:
        rows: From `glue_pilot.evaluate_study.simulate`.
        found: From `glue_pilot.evaluate_study.figures`.
        floor: From `glue_pilot.evaluate_study.floor_of`.
        study: What made them.
        out: The folder; made when absent.

    Returns:
        The files written.
    """
    stem = out / study.name
    numbers = {
        "study": {**vars(study)},
        "figures": _plain(found),
        "floor": floor,
        "findings": findings(found, floor),
        "cores": available_cores(),
        "versions": package_versions(),
        "code": code_version(),
    }
    files = {
        ".csv": rows.to_csv(index=False, lineterminator="\n"),
        ".json": json.dumps(numbers, indent=1, sort_keys=True, allow_nan=False) + "\n",
        ".md": page(found, floor, study),
    }
    return [write_whole(stem.with_suffix(end), text.encode()) for end, text in files.items()]


def _plain(found: pd.DataFrame) -> list[dict[str, Any]]:
    table = found.astype(object).where(found.notna(), None)
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def _row(found: pd.DataFrame, shifted: bool, n: int, method: str) -> pd.Series[Any] | None:
    part = found[(found["shifted"] == shifted) & (found["n"] == n) & (found["method"] == method)]
    return None if part.empty else part.iloc[0]


def findings(found: pd.DataFrame, floor: dict[str, float]) -> list[str]:
    """Return what was found, as sentences."""
    lines = []
    for shifted, kind in KINDS.items():
        for n in sorted({int(v) for v in found["n"] if v}):
            mine, random = (_row(found, shifted, n, name) for name in (COMMAND, RANDOM))
            if mine is None or random is None:
                continue
            lines.append(
                f"{kind}, {n} test labels: error {mine['error']:.1f} points "
                f"({mine['error_low']:.1f} to {mine['error_high']:.1f}), random rows "
                f"{random['error']:.1f}; interval covers {100 * mine['covered']:.0f} %, "
                f"{100 * mine['width']:.0f} points wide (random rows: "
                f"{100 * random['covered']:.0f} %, {100 * random['width']:.0f})"
            )
        free = _row(found, shifted, 0, WITHOUT["expected"])
        if free is not None:
            lines.append(
                f"{kind}, no test label: error {free['error']:.1f} points, as far as "
                f"{free['rows_worth']:.0f} random test labels"
            )
    if np.isfinite(floor["strata"]):
        lines.append(
            f"under shift, {floor['n']:.0f} test labels: {floor['random']:.1f} points is the mean "
            f"error of random rows, {floor['strata']:.1f} that of the same strata if their true "
            "shares were known beforehand: what is below comes from the prior"
        )
    return lines


def page(found: pd.DataFrame, floor: dict[str, float], study: EvaluateStudy) -> str:
    """Return the findings as Markdown."""
    counts = {
        shifted: (int(part["cases"].max()), int(part["corpora"].max()))
        for shifted, part in found.groupby("shifted")
    }
    sizes = ", ".join(f"{cases} cases of {n} pool corpora ({KINDS[bool(kind)]})"
                      for kind, (cases, n) in counts.items())  # fmt: skip
    lines = [
        f"{sizes}. Labelled samples of {', '.join(map(str, study.n_labelled))} rows, pools of at "
        f"most {study.n_pool:,}, {study.n_draws} draws of test rows from each; every corpus counts "
        "alike; in brackets 90 % intervals, from drawing corpora with replacement. The five "
        "numbers of the estimate's prior were chosen on these tasks; intervals do not use it.",
        "",
        *(f"- {line}" for line in findings(found, floor)),
    ]
    for shifted, kind in KINDS.items():
        if shifted in counts:
            lines += ["", f"Pools of {kind}:", "", *_table(found, shifted)]
    return "\n".join([*lines, ""])


def _table(found: pd.DataFrame, shifted: bool) -> list[str]:
    lines = [
        "| estimate | test labels | error, points | interval covers | width, points | worth |",
        "|---|---|---|---|---|---|",
    ]
    part = found[found["shifted"] == shifted]
    for n in sorted({int(v) for v in part["n"]}):
        for method in WITHOUT.values() if n == 0 else METHODS:
            row = _row(part, shifted, n, method)
            if row is None:
                continue
            error = f"{row['error']:.1f} ({row['error_low']:.1f} to {row['error_high']:.1f})"
            rest = (
                f" | | {row['rows_worth']:.0f} random rows |"
                if n == 0
                else f"{100 * row['covered']:.0f} % | {100 * row['width']:.0f} | |"
            )
            lines.append(f"| {method} | {n or 'none'} | {error} | {rest}")
    return lines
