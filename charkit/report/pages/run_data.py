"""What a folder of results may hold, and how it is read: the contract of the run's page.

    answer.json                 what ``charkit estimate --out`` writes
    table.parquet, *.svg        what ``charkit sweep --out`` writes
    NAME.parquet, figures/      the same, as a study writes it
    experiments/NAME.json       question, headline, finding (Markdown), figures, table, summary,
                                manifest
    scorecard.json              errors of methods
    answer/answer.json          an answer as an example

Every part may be missing, but not all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from charkit.config import printable
from charkit.errors import DataError, MissingError
from charkit.heads.records import COLUMNS
from charkit.sealed import read_sealed, read_sealed_table, reading

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
