"""The scorecard of a run as tables: what the metamodel misses by, beside its baselines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from charkit.config import printable
from charkit.errors import DataError
from charkit.report.page_words import text

METHOD_NAMES = {
    "metamodel": "metamodel",
    "last": "last value",
    "pow2": "power law, 2 parameters",
    "pow3": "power law, 3 parameters",
    "mmf4": "MMF, 4 parameters",
    "median3": "median of the three",
    "spectral": "spectral learning curve",
    "mean": "mean over other tasks",
    "ridge": "ridge regression",
    "lightgbm": "LightGBM",
    "lightgbm_no_fisher": "LightGBM without Fisher features",
    "ridge_and_lightgbm": "ridge regression and LightGBM, averaged",
    "no_fisher": "metamodel without Fisher features",
    "no_fisher_no_spectrum": "metamodel without Fisher and spectral features",
    "tier_counts": "tier: counts",
    "tier_norms": "tier: + Fisher norms",
    "tier_distances": "tier: + Fisher distances",
    "tier_curve": "tier: + the pilot's own curve",
    "tier_spectrum": "tier: + spectrum",
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
}
"""Methods of a scorecard, as people call them."""

OURS = "metamodel"
_PLACES = ((64, 2), (64, 8), (128, 4), (256, 2), (256, 8), (512, 4))
_Rows = Sequence[Mapping[str, Any]]


def scorecard_tables(scorecard: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return heads and tables (HTML) of what a scorecard holds; parts may be missing.

    Raises:
        DataError: A part does not hold what it should.
    """
    figures = scorecard.get("figures") or {}
    try:
        made = [
            (
                "Accuracy with more labels: mean error in points, recommended layer",
                _accuracy(figures.get("accuracy_recommended") or figures.get("accuracy") or ()),
            ),
            (
                "Labels for a target: share told within a factor of 2",
                _needs(figures.get("needs_recommended") or figures.get("needs") or ()),
            ),
            (
                "Accuracy on unlabelled texts of the same task: mean error in points",
                _evaluation((figures.get("evaluation") or {}).get("whole") or {}),
            ),
            (
                "Which layer: points lost against the best layer",
                _layers(figures.get("layers") or ()),
            ),
        ]
        return [(head, table) for head, table in made if table]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _something_else(error) from error


def _something_else(error: Exception) -> DataError:
    return DataError(
        f"scorecard.json holds something else: expected what 'make scorecard' writes, got "
        f"{printable(repr(error))}. Make it again, or take it out of the folder."
    )


def coverage_words(scorecard: Mapping[str, Any]) -> str:
    """Return what the 90 % intervals covered, or nothing where it is not told.

    Raises:
        DataError: The part does not hold what it should.
    """
    try:
        return _coverage(scorecard)
    except (AttributeError, TypeError) as error:
        raise _something_else(error) from error


def _coverage(scorecard: Mapping[str, Any]) -> str:
    found = ((scorecard.get("figures") or {}).get("intervals") or {}).get("pilots_64_to_256") or {}
    rows, tasks, n_tasks = (found.get(name) for name in ("rows", "tasks", "n_tasks"))
    if rows is None or tasks is None:
        return ""
    of = f" of {n_tasks} tasks" if n_tasks else " of the tasks"
    return (
        f"90 % intervals of pilots of 64 to 256 labels covered {_share(rows)} of the cases, and "
        f"at least 90 % of the cases on {_share(tasks)}{of}."
    )


def error_of(scorecard: Mapping[str, Any], method: str) -> float | None:
    """Return a method's mean error in points over the table's places; None where one is missing."""
    rows = (scorecard.get("figures") or {}).get("accuracy_recommended") or ()
    errors = _by_place(rows).get(method) or {}
    found = [errors.get(place) for place in _PLACES]
    known = [e for e in found if e is not None]
    return sum(known) / len(known) if len(known) == len(_PLACES) else None


def _by_place(rows: _Rows) -> dict[str, dict[tuple[int, int], float]]:
    found: dict[str, dict[tuple[int, int], float]] = {}
    for row in rows:
        own = found.setdefault(str(row["method"]), {})
        if row["error"] is not None and math.isfinite(row["error"]):
            own[int(row["n0"]), int(row["multiple"])] = float(row["error"])
    return found


def _accuracy(rows: _Rows) -> str:
    found = _by_place(rows)
    places = [p for p in _PLACES if any(p in own for own in found.values())]
    body = {m: [_number(own.get(p)) for p in places] for m, own in found.items()}
    return _table("method", [f"{n0} ×\u00a0{k}" for n0, k in places], body)


def _needs(rows: _Rows) -> str:
    multiples = list(dict.fromkeys(str(r["multiple"]) for r in rows if r["multiple"] != "all"))
    body: dict[str, list[str]] = {}
    for method in dict.fromkeys(str(r["method"]) for r in rows):
        own = {str(r["multiple"]): r for r in rows if r["method"] == method}
        cells = [_share(own[m]["within_2"]) if m in own else "" for m in multiples]
        first = own[multiples[0]]
        body[method] = [*cells, _share(first["reachable_though_not"])]
    heads = [f"truth {text(m)}\u00a0×" for m in multiples]
    return _table("method", [*heads, "told though out of reach"], body)


def _evaluation(found: Mapping[str, Any]) -> str:
    errors, worth = found.get("error") or {}, found.get("worth_rows") or {}
    body = {m: [_number(e), _number(worth.get(m), 0)] for m, e in errors.items()}
    return _table("method", ["error", "worth labelled test rows"], body)


def _layers(rows: _Rows) -> str:
    sizes = list(dict.fromkeys(int(r["n"]) for r in rows))
    body: dict[str, list[str]] = {}
    for rule in dict.fromkeys(str(r["rule"]) for r in rows):
        own = {int(r["n"]): r for r in rows if r["rule"] == rule}
        body[rule] = [_number(own[n]["regret"], 2) if n in own else "" for n in sizes]
    return _table("rule", [f"{n:,} labels" for n in sizes], body)


def _table(first: str, heads: Sequence[str], body: Mapping[str, Sequence[str]]) -> str:
    if not body:
        return ""
    head = "".join(f'<th scope="col" class="number">{h}</th>' for h in heads)
    lines = []
    for method, cells in body.items():
        name = text(METHOD_NAMES.get(method, method.replace("_", " ")))
        ours = ' class="here"' if method == OURS else ""
        row = "".join(f'<td class="number">{cell}</td>' for cell in cells)
        lines.append(f'<tr{ours}><th scope="row">{name}</th>{row}</tr>')
    return (
        f'<div class="scroll"><table class="score"><thead><tr><th scope="col">{first}</th>{head}'
        f"</tr></thead>\n<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _number(value: float | None, digits: int = 1) -> str:
    known = value is not None and math.isfinite(value)
    return f"{value:.{digits}f}" if known else ""


def _share(value: float | None) -> str:
    known = value is not None and math.isfinite(value)
    return f"{100 * (value or 0.0):.0f}\u00a0%" if known else ""
