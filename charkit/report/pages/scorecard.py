"""The scorecard of a run as tables: the errors of the metamodel next to its baselines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from charkit.config import printable
from charkit.errors import DataError

# Labels of a pilot, and how many times as many it is asked about.
_PLACES = ((64, 2), (64, 8), (128, 4), (256, 2), (256, 8), (512, 4))
_Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class ScoreTable:
    """A table of a scorecard.

    Attributes:
        title: What it compares.
        first: The name of the first column.
        heads: The names of the others.
        rows: Key of a method -> its cells.
    """

    title: str
    first: str
    heads: Sequence[str]
    rows: Mapping[str, Sequence[str]]


def scorecard_tables(scorecard: Mapping[str, Any]) -> list[ScoreTable]:
    """Return the tables of what a scorecard holds; parts may be missing.

    Raises:
        DataError: A part does not hold what it should.
    """
    figures = scorecard.get("figures") or {}
    try:
        made = [
            _accuracy(figures.get("accuracy_recommended") or figures.get("accuracy") or ()),
            _needs(figures.get("needs_recommended") or figures.get("needs") or ()),
            _evaluation((figures.get("evaluation") or {}).get("whole") or {}),
            _layers(figures.get("layers") or ()),
        ]
        return [table for table in made if table.rows]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _something_else(error) from error


def _something_else(error: Exception) -> DataError:
    return DataError(
        f"scorecard.json holds something else: expected what 'make scorecard' writes, got "
        f"{printable(repr(error))}. Make it again, or take it out of the folder."
    )


def coverage_words(scorecard: Mapping[str, Any]) -> str:
    """Return what the 90 % intervals covered, or nothing where that is unknown.

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


def _accuracy(rows: _Rows) -> ScoreTable:
    found = _by_place(rows)
    places = [p for p in _PLACES if any(p in own for own in found.values())]
    return ScoreTable(
        "Accuracy with more labels: mean error in points, recommended layer",
        "method",
        [Markup("{} ×\u00a0{}").format(*place) for place in places],
        {m: [_number(own.get(p)) for p in places] for m, own in found.items()},
    )


def _needs(rows: _Rows) -> ScoreTable:
    metrics = ("reachable_though_not", "unreachable_though_reached")
    return ScoreTable(
        "Whether N labels reach a target: Brier score of the probability, wrong answers",
        "method",
        ["Brier score", "called reachable though not", "called unreachable though reached"],
        {
            str(r["method"]): [_number(r.get("brier"), 3), *(_share(r.get(m)) for m in metrics)]
            for r in rows
        },
    )


def _evaluation(found: Mapping[str, Any]) -> ScoreTable:
    errors, worth = found.get("error") or {}, found.get("worth_rows") or {}
    return ScoreTable(
        "Accuracy on unlabelled texts of the same task: mean error in points",
        "method",
        ["error", "worth labelled test rows"],
        {m: [_number(e), _number(worth.get(m), 0)] for m, e in errors.items()},
    )


def _layers(rows: _Rows) -> ScoreTable:
    sizes = list(dict.fromkeys(int(r["n"]) for r in rows))
    body = {}
    for rule in dict.fromkeys(str(r["rule"]) for r in rows):
        own = {int(r["n"]): r for r in rows if r["rule"] == rule}
        body[rule] = [_number(own[n]["regret"], 2) if n in own else "" for n in sizes]
    heads = [f"{n:,} labels" for n in sizes]
    return ScoreTable("Which layer: points lost against the best layer", "rule", heads, body)


def _number(value: float | None, digits: int = 1) -> str:
    known = value is not None and math.isfinite(value)
    return f"{value:.{digits}f}" if known else ""


def _share(value: float | None) -> str:
    known = value is not None and math.isfinite(value)
    return f"{100 * (value or 0.0):.0f}\u00a0%" if known else ""
