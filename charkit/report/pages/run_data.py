"""What a folder of results may hold, and how it is read: the contract of the run's page.

    answer.json                 what ``charkit estimate --out`` writes
    table.parquet, *.svg        what ``charkit sweep --out`` writes
    NAME.parquet, figures/      the same, as a study writes it
    experiments/NAME.json       question, headline, finding (Markdown), figures, table, summary,
                                manifest
    scorecard.json              errors of methods
    answer/answer.json          an answer as an example

Every part may be missing, but not all of them.

The scorecard of a run as tables: the errors of the metamodel next to its baselines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from charkit.config import printable
from charkit.errors import DataError, MissingError
from charkit.heads.sweep.table import COLUMNS
from charkit.store.sealed import read_sealed, read_sealed_table, reading

EXPERIMENTS = "experiments"
FIGURES = "figures"
SCORECARD = "scorecard.json"
ANSWER = "answer.json"

ORDER = (
    "layers",
    "classifier",
    "sensitivity",
    "siblings",
    "clusters",
    "distinction",
    "norm",
    "distance",
    "experts",
    "intermediate",
    "failures",
)
"""Experiments in the order of the page; others follow by name."""

# The columns of a sweep's table that the page reads; a table that has them all is one.
_SWEEP_COLUMNS = frozenset(
    {
        *("task", "subset", "encoder", "encoder_fingerprint", "control", "layer", "n_train"),
        *("seed", "state", "n_eval", "metric", "score", "score_low", "score_high", "accuracy"),
        *("message", "frac_truncated", "converged"),
    }
)

_TYPES = {c.name: c.dtype for c in COLUMNS if c.name in _SWEEP_COLUMNS and c.dtype != "string"}
_ADVICE = "Make it again, or take it out of the folder."
_LARGEST_SCORE = 1e6  # larger ones leave no room for the curves on an axis

# Figures of a sweep: the page draws these itself.
_OF_SWEEPS = ("curves_", "layers_", "best_layers")


@dataclass(frozen=True)
class Picture:
    """A figure of a run.

    Attributes:
        name: Without an ending.
        svg: The drawing; it exists.
        csv: The plotted numbers; None where there are none.
    """

    name: str
    svg: Path
    csv: Path | None


@dataclass(frozen=True, eq=False)
class Experiment:
    """What an experiment found.

    Attributes:
        name: Of its files.
        question: Ends with a question mark.
        asked_by: What asks it.
        headline: The finding in a sentence; empty where unknown.
        finding: Markdown.
        pictures: Those that exist, the main one first.
        table: Name of the file with its numbers; empty where unknown.
        summary: Its few numbers.
        manifest: How it was made.
    """

    name: str
    question: str
    asked_by: str
    headline: str
    finding: str
    pictures: tuple[Picture, ...]
    table: str
    summary: Mapping[str, Any]
    manifest: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class RunFolder:
    """All that a folder of results has for a page.

    Attributes:
        name: Of the study, or of the folder.
        table: A sweep's table; None where there is none.
        table_file: Its name.
        other_tables: Names of further sweep tables, which are not shown.
        experiments: In the order of the page.
        pictures: Figures that no experiment and no sweep names.
        drawn: How many files of a sweep's figures there are.
        scorecard: What ``scorecard.json`` holds; empty where there is none.
        answer: An answer; None where there is none.
    """

    name: str
    table: pd.DataFrame | None
    table_file: str
    other_tables: tuple[str, ...]
    experiments: tuple[Experiment, ...]
    pictures: tuple[Picture, ...]
    drawn: int
    scorecard: Mapping[str, Any]
    answer: Mapping[str, Any] | None

    @property
    def only_answer(self) -> bool:
        """Whether the folder is that of one answer and nothing else."""
        return self.answer is not None and self.table is None and not self.experiments


def read_run(folder: Path) -> RunFolder:
    """Read what a folder of results holds.

    Args:
        folder: What ``charkit estimate --out``, ``charkit sweep --out`` or a study wrote.

    Raises:
        MissingError: It is no folder, or nothing in it is known.
        DataError: A file cannot be read, or does not hold what it should.
    """
    if not folder.is_dir():
        what = "a file" if folder.exists() else "nothing"
        raise MissingError(
            f"no run at {folder}: expected a folder of results, got {what}. Name what 'charkit "
            "estimate --out' or 'charkit sweep --out' or a study wrote."
        )
    tables = [p for p in sorted(folder.glob("*.parquet")) if _columns(p) >= _SWEEP_COLUMNS]
    # A study writes its counts (.json) next to its table: that one comes first.
    tables = sorted(tables, key=lambda p: not p.with_suffix(".json").is_file())
    experiments = _experiments(folder)
    answers = [p for p in (folder / ANSWER, folder / "answer" / ANSWER) if p.is_file()]
    answer = _json(answers[0]) if answers else None
    scorecard = _json(folder / SCORECARD) if (folder / SCORECARD).is_file() else {}
    drawings = [*sorted(folder.glob("*.svg")), *sorted((folder / FIGURES).glob("*.svg"))]
    pictures = [_picture(place) for place in drawings if _is_here(place)]
    if not (tables or experiments or answer or scorecard):
        held = ", ".join(sorted(printable(p.name) for p in folder.iterdir())[:8]) or "nothing"
        raise MissingError(
            f"nothing to report in {folder}: expected {ANSWER}, a sweep's table (.parquet), "
            f"{EXPERIMENTS}/*.json or {SCORECARD}, got {held}. Name what 'charkit estimate --out' "
            "or 'charkit sweep --out' or a study wrote."
        )
    first = tables[0] if tables else None
    named = first.stem if first is not None and first.stem != "table" else folder.resolve().name
    return RunFolder(
        name=named,
        table=_table(first) if first is not None else None,
        table_file=first.name if first is not None else "",
        other_tables=tuple(t.name for t in tables[1:]),
        experiments=experiments,
        pictures=tuple(p for p in pictures if not p.name.startswith(_OF_SWEEPS)),
        drawn=sum(p.name.startswith(_OF_SWEEPS) for p in pictures),
        scorecard=scorecard,
        answer=answer,
    )


def _columns(path: Path) -> set[str]:
    import pyarrow.parquet as pq

    with reading(printable(path.name), "parquet", advice=_ADVICE):
        return set(pq.read_schema(path).names)


def _table(path: Path) -> pd.DataFrame:
    where = printable(path.name)
    whole = read_sealed_table(path, where, advice=_ADVICE)
    with reading(where, "a sweep's table", advice=_ADVICE):
        table: pd.DataFrame = whole.select(sorted(_SWEEP_COLUMNS)).to_pandas().astype(_TYPES)
    _check_values(table, where)
    return table[table["subset"] == "all"] if (table["subset"] == "all").any() else table


def _check_values(table: pd.DataFrame, where: str) -> None:
    """Refuse a table whose cells no curve can show; one that a person changed has no seal."""
    done = table[table["state"] == "done"]
    for name, wrong, expected in (
        ("n_train", done["n_train"] < 1, "at least 1"),
        ("n_eval", done["n_eval"] < 1, "at least 1"),
        ("score", done["score"].abs() > _LARGEST_SCORE, f"at most {_LARGEST_SCORE:,.0f}"),
    ):
        if wrong.any():
            got = done.loc[wrong, name].iloc[0]
            raise DataError(f"{where}: expected {name} of {expected}, got {got}. {_ADVICE}")


def _json(path: Path) -> Mapping[str, Any]:
    """Return what a file holds.

    Raises:
        DataError: It is not JSON, or no object.
    """
    return read_sealed(path, _named(path), advice=_ADVICE)


def _named(path: Path) -> str:
    return printable(f"{path.parent.name}/{path.name}")


def _experiments(folder: Path) -> tuple[Experiment, ...]:
    found = [_experiment(place) for place in sorted((folder / EXPERIMENTS).glob("*.json"))]

    def order(experiment: Experiment) -> tuple[int, str]:
        places = [k for k, name in enumerate(ORDER) if experiment.name.startswith(name)]
        return (places[0] if places else len(ORDER), experiment.name)

    return tuple(sorted(found, key=order))


def _experiment(path: Path) -> Experiment:
    written = _json(path)
    kinds: Mapping[str, type] = {
        "question": str, "asked_by": str, "headline": str, "finding": str, "table": str,
        "figures": list, "summary": dict, "manifest": dict,
    }  # fmt: skip
    found = {name: written.get(name) or kind() for name, kind in kinds.items()}
    for name, kind in kinds.items():
        if not isinstance(found[name], kind):
            raise DataError(
                f"{_named(path)}: expected {kind.__name__} under {name!r}, got "
                f"{printable(repr(found[name]))}. Run the experiment again."
            )
    figures = found.pop("figures")
    pictures = (_inside(path.parent, str(figure)) for figure in figures)
    return Experiment(
        name=str(written.get("name") or path.stem),
        pictures=tuple(p for p in pictures if p is not None),
        **found,
    )


def _inside(folder: Path, named: str) -> Picture | None:
    """Return a figure that a file names; None where it does not exist or is elsewhere."""
    try:
        place = (folder / named).resolve()
    except (OSError, ValueError):
        return None
    if folder.resolve() not in place.parents or place.suffix != ".svg":
        return None
    return _picture(place) if place.is_file() else None


def _picture(svg: Path) -> Picture:
    csv = svg.with_suffix(".csv")
    return Picture(svg.stem, svg, csv if csv.is_file() and _is_here(csv) else None)


def _is_here(place: Path) -> bool:
    """Return whether a file is no link to another folder."""
    return place.resolve().parent == place.parent.resolve()


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
