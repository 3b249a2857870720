"""Which rows of a pool are labelled for testing: drawn once, kept in a file beside the texts."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.labelling.next_labels import quoted
from charkit.config import printable
from charkit.errors import CharkitError, DataError, UsageError
from charkit.heads.sample.active_testing import FEWEST, Strata, labelling_order
from charkit.store.durable import write_whole
from charkit.store.sealed import read_sealed, sealed_json
from charkit.tasks.readers.looks import is_missing
from charkit.tasks.readers.tables import read_table
from charkit.tasks.task import Split

IntArray = NDArray[np.int64]

FORMAT_VERSION = 1
ENDING = ".plan.json"
COLUMNS = ("text", "pair", "label")
DIGITS = 6
"""Of expected correctness, in the file as in the computation: both give the same estimate."""

_ADVICE = "Write the rows again: charkit evaluate with --out, without --labels."


@dataclass(frozen=True, eq=False)
class TestPlan:
    """A head, what it predicts for a pool, and the order in which the pool's rows are labelled.

    Attributes:
        made_from: Hashes and names of what determines it: ``labelled``, ``pool``, ``encoder``,
            ``max_length``, ``layer_asked``.
        layer: Whose head is tested.
        seed: Of the draw.
        class_names: Names by class code.
        n_labelled: Rows of the labelled sample that the head learnt from.
        n_drawn: Rows that were drawn to be labelled: the first of the order.
        predicted: Class code of every row of the pool, (n_pool,).
        strata: The pool in strata of expected correctness.
    """

    __test__ = False  # for pytest: a plan of tests is no test

    made_from: dict[str, Any]
    layer: int
    seed: int
    class_names: tuple[str, ...]
    n_labelled: int
    n_drawn: int
    predicted: IntArray
    strata: Strata

    @property
    def n_pool(self) -> int:
        """Rows of the pool."""
        return len(self.predicted)

    @cached_property
    def order(self) -> IntArray:
        """Rows of the pool in the order of labelling, (n_pool,)."""
        return labelling_order(self.strata, self.seed)

    def counts(self, rows: IntArray) -> IntArray:
        """Return how many of these rows each stratum has, (n_strata,)."""
        return np.bincount(self.strata.of[rows], minlength=len(self.strata.size))

    def weights(self, rows: IntArray) -> NDArray[np.float64]:
        """Return for how many rows of the pool each of these labelled rows stands."""
        of = self.strata.of[rows]
        return np.asarray(self.strata.size[of] / self.counts(rows)[of])

    def to_bytes(self) -> bytes:
        """Return the plan as the bytes of its file."""
        return sealed_json(
            {
                "format": FORMAT_VERSION,
                "made_from": self.made_from,
                "layer": self.layer,
                "seed": self.seed,
                "class_names": list(self.class_names),
                "n_labelled": self.n_labelled,
                "n_drawn": self.n_drawn,
                "predicted": self.predicted.tolist(),
                "expected": self.strata.expected.tolist(),
                "stratum": self.strata.of.tolist(),
                "spread": self.strata.spread.tolist(),
            }
        )


def plan_place(path: Path) -> Path:
    """Return the file that keeps the plan of a file of texts to label.

    >>> plan_place(Path("test.csv")).name
    'test.csv.plan.json'
    """
    return path.with_name(path.name + ENDING)


def read_plan(path: Path) -> TestPlan | None:
    """Return the plan that is kept beside a file of labels; None where there is none.

    Raises:
        DataError: It was changed, or is of another version.
    """
    place = plan_place(path)
    if not place.is_file():
        return None
    found = read_sealed(place, place.name, advice=_ADVICE)
    try:
        if found["format"] != FORMAT_VERSION:
            raise ValueError(f"format {found['format']!r}")
        of = np.array(found["stratum"], np.int64)
        expected = np.array(found["expected"], np.float64)
        predicted = np.array(found["predicted"], np.int64)
        spread = np.array(found["spread"], np.float64)
        size = np.bincount(of)
        if not len(of) == len(expected) == len(predicted) or len(size) != len(spread):
            raise ValueError("lists of different lengths")
        return TestPlan(
            made_from=dict(found["made_from"]),
            layer=int(found["layer"]),
            seed=int(found["seed"]),
            class_names=tuple(map(str, found["class_names"])),
            n_labelled=int(found["n_labelled"]),
            n_drawn=int(found["n_drawn"]),
            predicted=predicted,
            strata=Strata(of, expected, size, spread),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{place.name} is no plan of this version: expected format {FORMAT_VERSION}, got "
            f"{printable(str(error))!r}. {_ADVICE}"
        ) from error


WHAT = {
    "labelled": "the labelled sample changed, so that its head is another",
    "pool": "the pool changed, so that its rows were drawn with other probabilities",
    "encoder": "the encoder is another",
    "max_length": "--max-length is another",
    "layer_asked": "--layer is another",
}


def check_plan(plan: TestPlan, made_from: dict[str, Any], where: str, *, seed: int | None) -> None:
    """Refuse a plan that was made from other things than those that are there now.

    Raises:
        DataError: Something changed since the rows were drawn.
    """
    for name, reason in WHAT.items():
        if plan.made_from.get(name) != made_from[name]:
            then, now = plan.made_from.get(name), made_from[name]
            raise DataError(
                f"{where}: {reason}: expected what its rows were drawn from "
                f"({_short(then)}), got {_short(now)}. Give the files and options of that time, "
                "or draw rows anew: the command without --labels, with another --out."
            )
    if seed is not None and seed != plan.seed:
        raise UsageError(
            f"--seed differs from the plan beside {where}: expected {plan.seed}, got {seed}. "
            "Leave --seed out."
        )


def _short(value: Any) -> str:
    return printable(str(value), longest=12)


def check_budget(budget: int, n_pool: int, name: str) -> None:
    """Refuse a number of test labels that the pool does not have, or that says nothing.

    Raises:
        UsageError: It is out of range.
        DataError: The pool is too small for any.
    """
    if n_pool < FEWEST:
        raise DataError(
            f"{name}: the pool is too small to be tested: expected at least {FEWEST} different "
            f"texts that are not labelled yet, got {n_pool}. Add texts to the pool."
        )
    if not FEWEST <= budget <= n_pool:
        raise UsageError(
            f"budget out of range: expected {FEWEST} to {n_pool:,}, the different texts of the "
            f"pool that are not labelled yet, got {budget:,}. Choose a number in between."
        )


def rows_table(
    plan: TestPlan, texts: Split, rows: IntArray, labels: dict[int, str]
) -> pd.DataFrame:
    """Return one line a row to label, the first first.

    Args:
        plan: The plan.
        texts: The pool.
        rows: The start of the order of labelling.
        labels: Labels that are known, by row.
    """
    places = texts.where()
    columns: dict[str, Any] = {
        "rank": np.arange(1, len(rows) + 1),
        places.unit: [places.numbers[row] for row in rows],
        "text": [texts.texts[row] for row in rows],
    }
    if texts.pairs is not None:
        columns["pair"] = [texts.pairs[row] for row in rows]
    weights = plan.weights(rows)
    columns["label"] = [labels.get(int(row), "") for row in rows]
    columns["weight"] = np.round(weights, DIGITS)
    columns["probability"] = np.round(1 / weights, DIGITS)
    return pd.DataFrame(columns)


def save_rows(
    table: pd.DataFrame, plan: TestPlan, names: tuple[str, str, str], path: str | Path
) -> list[Path]:
    """Write rows to label as CSV, and the plan beside it.

    Args:
        table: From `rows_table`.
        plan: The plan.
        names: Names of the text, pair and label columns in the source.
        path: A file that ends in .csv.

    Raises:
        UsageError: It has another ending.
        MissingError: A file cannot be written.
    """
    place = check_out(path)
    _keep_labels(place, names[2], table)
    table = table.copy()
    for column in {"text", "pair", "label"} & set(table.columns):
        table[column] = [quoted(text) for text in table[column]]
    named = table.rename(columns=dict(zip(COLUMNS, names, strict=True)))
    if named.columns.is_unique:
        table = named
    text = table.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    return [
        write_whole(place, str(text).encode()),
        write_whole(plan_place(place), plan.to_bytes()),
    ]


def _keep_labels(place: Path, label: str, table: pd.DataFrame) -> None:
    """Refuse to write over labels that somebody filled in, unless all of them are written again.

    Raises:
        UsageError: The file has labels that the table does not have.
    """
    if not place.is_file():
        return
    try:
        columns = read_table(place).columns
    except CharkitError:  # no table of ours: to be written over as asked
        return
    there = next((columns[name] for name in (label, "label") if name in columns), [])
    n_there = sum(not is_missing(value) for value in there)
    if n_there > int((table["label"] != "").sum()):
        raise UsageError(
            f"{place.name} holds {n_there:,} labels that would be lost: expected a new file for "
            "--out, got that one. To evaluate its labels give --labels instead; to draw rows anew "
            "write another file."
        )


def check_out(path: str | Path) -> Path:
    """Return the file of rows to label.

    Raises:
        UsageError: It does not end in .csv.
    """
    place = Path(path)
    if place.suffix.lower() != ".csv":
        raise UsageError(
            f"--out is a table for labels: expected a file that ends in .csv, got "
            f"{printable(place.name)!r}. Write --out test.csv."
        )
    return place
