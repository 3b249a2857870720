"""The answer of `charkit evaluate`: rows to label, accuracy with its interval, what more brings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.evaluation.labels import TestLabels
from charkit.answers.evaluation.plan import TestPlan, save_rows
from charkit.config import people_name
from charkit.heads.metrics.intervals import LEVEL, wilson_interval
from charkit.heads.sample.active_testing import PoolAccuracy, Strata, allocation, pool_accuracy

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FEWEST_A_CLASS = 5
"""Test labels of each class that macro-F1 and balanced accuracy need to be shown."""

# The 5 % end of an interval then lies at 5 +- 0.5 % (one deviation, sqrt(0.05 * 0.95 / 2000)).
DRAWS = 2_000
# Fewer labels saved than one in twenty are not worth a line.
_WORTH_A_LINE = 1.05


@dataclass(frozen=True)
class Outlook:
    """What test labels bring, from what is known now.

    Attributes:
        n: Test labels.
        width: Width of the 90 % interval that they give, as a fraction.
        halve: Test labels in all that would halve it; the whole pool at most.
        random_width: Width of Wilson's interval from as many labels drawn at random.
        random_n: Labels drawn at random whose interval is as wide; None: more than the pool has.
        weight: Largest weight of a labelled row, in those of a row drawn at random.
    """

    n: int
    width: float
    halve: int
    random_width: float
    random_n: int | None
    weight: float


@dataclass(frozen=True)
class ClassScores:
    """Scores that weigh classes alike; None where a class has too few test labels.

    Attributes:
        balanced_accuracy: Mean, low and high of the mean recall.
        macro_f1: The same of the mean F1.
        reason: Why they are not there; empty where they are.
    """

    balanced_accuracy: tuple[float, float, float] | None
    macro_f1: tuple[float, float, float] | None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class PoolEvaluation:
    """How accurate a head is on a pool, and which rows to label to know it better.

    Attributes:
        name: The source.
        encoder: Name of the encoder.
        plan: The head, what it predicts, and the order of labelling.
        table: One line a row to label, the first first: rank, line or row of its file, text,
            pair, label, weight (rows of the pool that it stands for), probability of being drawn.
        accuracy: Estimate for the pool, with its 90 % interval; without any test label what the
            head's confidence says, which a shift makes wrong.
        n_tested: Rows with a test label.
        n_right: How many of them the head predicts right.
        outlook: What the test labels bring, and what more would.
        scores: Balanced accuracy and macro-F1; None without test labels.
        columns: Names of the text, pair and label columns in the source.
        notes: What was guessed, dropped or counted.
        warnings: What makes the estimate doubtful.
    """

    name: str
    encoder: str
    plan: TestPlan
    table: pd.DataFrame
    accuracy: PoolAccuracy
    n_tested: int
    n_right: int
    outlook: Outlook
    scores: ClassScores | None
    columns: tuple[str, str, str]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def expected(self) -> float:
        """Accuracy on the pool as the head's confidence has it, without test labels."""
        return float(self.plan.strata.expected.mean())

    @property
    def n_blank(self) -> int:
        """Rows of the table that have no test label."""
        return int((self.table["label"] == "").sum())

    @property
    def sentences(self) -> list[str]:
        """The answer as sentences, without notes."""
        where = (
            f"layer {self.plan.layer} of {people_name(self.encoder)}, "
            f"{self.plan.n_labelled:,} labels"
        )
        if not self.n_tested:
            lines = [
                f"{self.name}: label these {len(self.table):,} of {self.plan.n_pool:,} texts to "
                f"know the accuracy there ({where})",
                f"without test labels: about {_per_cent(self.expected)} if the head is as sure of "
                "itself as it should be, which a shift may spoil",
            ]
        else:
            found = self.accuracy
            lines = [
                f"{self.name}: accuracy {_per_cent(found.mean)} ({_per_cent(found.low)} to "
                f"{_per_cent(found.high)}, 90 % interval) on the {self.plan.n_pool:,} texts of the "
                f"pool, from {self.n_tested:,} test labels and the head's predictions ({where})",
                f"without test labels the head would expect {_per_cent(self.expected)}",
            ]
        return [*lines, *self._outlook(), *self._scores()]

    def _outlook(self) -> list[str]:
        ahead = self.outlook
        verb = "give" if self.n_tested >= ahead.n else "will give"
        random = f"{ahead.n:,} drawn at random one of {100 * ahead.random_width:.0f}"
        if ahead.random_n is not None and ahead.random_n > _WORTH_A_LINE * ahead.n:
            random += f", so that {ahead.random_n:,} random ones would do as much"
        lines = [
            f"{ahead.n:,} test labels {verb} an interval about "
            f"{100 * ahead.width:.0f} points wide; {random}"
        ]
        if ahead.halve < self.plan.n_pool:
            lines.append(
                f"{ahead.halve - ahead.n:,} more test labels would halve it ({ahead.halve:,} in "
                "all): --budget"
            )
        else:
            lines.append("only labels of the whole pool would halve it")
        lines.append(
            f"no label stands for more than {ahead.weight:.1f} times the texts of a random one"
        )
        return lines

    def _scores(self) -> list[str]:
        if self.scores is None:
            return []
        if self.scores.balanced_accuracy is None or self.scores.macro_f1 is None:
            return [f"no balanced accuracy and macro-F1: {self.scores.reason}"]
        balanced, macro = self.scores.balanced_accuracy, self.scores.macro_f1
        return [
            f"balanced accuracy {_range(balanced)}, macro-F1 {_range(macro)}, each with its 90 % "
            "interval"
        ]

    def lines(self) -> list[str]:
        """Return the answer as sentences, then warnings and notes."""
        return [
            *self.sentences,
            *(f"warning: {line}" for line in self.warnings),
            *(f"note: {line}" for line in self.notes),
        ]

    def about(self) -> dict[str, Any]:
        """Return all but the rows, as JSON values."""
        tested = self.n_tested > 0
        found = self.accuracy
        return {
            "name": self.name,
            "encoder": self.encoder,
            "layer": self.plan.layer,
            "seed": self.plan.seed,
            "n_labelled": self.plan.n_labelled,
            "n_pool": self.plan.n_pool,
            "n_tested": self.n_tested,
            "n_right": self.n_right,
            "expected_without_labels": self.expected,
            "accuracy": {"mean": found.mean, "low": found.low, "high": found.high}
            if tested
            else None,
            "outlook": asdict(self.outlook),
            "scores": None if self.scores is None else asdict(self.scores),
            "sentences": self.sentences,
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a text to label."""
        return [{str(k): v for k, v in row.items()} for row in self.table.to_dict("records")]

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a text to label."""
        return self.table.copy()

    def save(self, path: str | Path) -> list[Path]:
        """Write the rows to label as CSV, and beside it the plan that they were drawn by.

        Texts that a spreadsheet would take for formulas get an apostrophe in front.

        Raises:
            UsageError: The file does not end in .csv.
            MissingError: A file cannot be written.
        """
        return save_rows(self.table, self.plan, self.columns, path)

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        lines = "<br>".join(escape(line) for line in self.lines())
        return f"<p>{lines}</p>{self.table.to_html(index=False)}"


def _per_cent(share: float) -> str:
    """Return a share for people.

    >>> _per_cent(0.8765)
    '87.6 %'
    """
    return f"{100 * share:.1f} %"


def _range(score: tuple[float, float, float]) -> str:
    return f"{_per_cent(score[0])} ({_per_cent(score[1])} to {_per_cent(score[2])})"


def outlook(plan: TestPlan, labelled: IntArray, found: PoolAccuracy, n_planned: int) -> Outlook:
    """Return what test labels bring.

    Args:
        plan: The plan.
        labelled: Labelled rows of each stratum, (n_strata,).
        found: What is known now.
        n_planned: Rows that are to be labelled in all.
    """
    strata, n_pool = plan.strata, plan.n_pool
    n_tested = int(labelled.sum())
    if n_tested:
        shares, mean = found.shares, found.mean
    else:
        shares = np.bincount(strata.of, weights=strata.expected) / strata.size
        mean = float(strata.expected.mean())
    turns = allocation(strata)
    done = n_tested >= n_planned
    n = n_tested if done else n_planned
    width = found.high - found.low if done else _width(strata, turns, shares, n)
    counts = labelled if done else np.bincount(turns[:n], minlength=len(strata.size))
    seen = counts > 0
    weight = (strata.size[seen] / counts[seen]).max() * n / n_pool
    return Outlook(
        n=n,
        width=float(width),
        halve=_halve(strata, turns, shares, n, width / 2),
        random_width=_random_width(mean, n, n_pool),
        random_n=_random_n(mean, width, n_pool),
        weight=float(weight),
    )


def _width(strata: Strata, turns: IntArray, shares: FloatArray, n: int) -> float:
    """Return the width of the interval from n labels that come out as expected."""
    counts = np.bincount(turns[:n], minlength=len(strata.size))
    found = pool_accuracy(strata, counts, counts * shares)
    return found.high - found.low


def _halve(strata: Strata, turns: IntArray, shares: FloatArray, n: int, goal: float) -> int:
    """Return the fewest labels in all whose interval is no wider than the goal."""
    low, high = n, len(turns)
    while high - low > 1:
        middle = (low + high) // 2
        if _width(strata, turns, shares, middle) <= goal:
            high = middle
        else:
            low = middle
    return high


def _random_width(mean: float, n: int, n_pool: int) -> float:
    """Return the width of Wilson's interval from n of a pool's rows drawn at random."""
    if n >= n_pool:
        return 0.0
    low, high = wilson_interval(mean, n * (n_pool - 1) / (n_pool - n))
    return float(high - low)


def _random_n(mean: float, width: float, n_pool: int) -> int | None:
    """Return the fewest random rows whose interval is no wider; None where only all are."""
    low, high = 1, n_pool
    while high - low > 1:
        middle = (low + high) // 2
        if _random_width(mean, middle, n_pool) <= width:
            high = middle
        else:
            low = middle
    return high if high < n_pool else None


def class_scores(plan: TestPlan, tested: TestLabels) -> ClassScores:
    """Return balanced accuracy and macro-F1 of the pool from weighted test labels.

    Each labelled row stands for N_h / n_h rows of its stratum.

    Args:
        plan: The plan.
        tested: The test labels.
    """
    rows = tested.rows
    truth = np.array([tested.codes[int(row)] for row in rows])
    classes, counts = np.unique(truth, return_counts=True)
    if len(classes) < 2:
        return ClassScores(None, None, "the test labels are of one class")
    if counts.min() < FEWEST_A_CLASS:
        return ClassScores(
            None,
            None,
            f"expected {FEWEST_A_CLASS} test labels of each class that there is, got "
            f"{counts.min()} of one",
        )
    weights = plan.weights(rows)
    place = np.searchsorted(classes, plan.predicted[rows])
    place = np.where(np.isin(plan.predicted[rows], classes), place, len(classes))  # another class
    counts_of = np.zeros((len(classes), len(classes) + 1))
    np.add.at(counts_of, (np.searchsorted(classes, truth), place), weights)
    squares = np.array([(weights[truth == code] ** 2).sum() for code in classes])
    effective = counts_of.sum(1) ** 2 / squares
    drawn = _drawn_counts(counts_of, effective, np.random.default_rng(plan.seed))
    every = np.concatenate([counts_of[None], drawn])
    hit, real = np.einsum("dcc->dc", every[:, :, :-1]), every.sum(2)
    named = every[:, :, :-1].sum(1)
    return ClassScores(_ends((hit / real).mean(1)), _ends((2 * hit / (real + named)).mean(1)))


def _drawn_counts(
    counts: FloatArray, effective: FloatArray, generator: np.random.Generator
) -> FloatArray:
    """Return draws of the table of true and predicted classes, (DRAWS, n_classes, n_classes + 1).

    Class shares and each class's predictions are Dirichlet, with as many labels as the weighted
    ones are worth (Kish 1965), and one more that is spread evenly.
    """
    shares = counts.sum(1) / counts.sum()
    total = counts.sum() ** 2 / (counts.sum(1) ** 2 / effective).sum()
    classes = generator.dirichlet(shares * total + 1 / len(shares), DRAWS)
    rows = [
        generator.dirichlet(row / row.sum() * n + 1 / len(row), DRAWS)
        for row, n in zip(counts, effective, strict=True)
    ]
    return np.asarray(classes[:, :, None] * np.stack(rows, 1))


def _ends(values: FloatArray) -> tuple[float, float, float]:
    """Return the estimate, which comes first, and the interval of the draws."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values[1:], [tail, 1 - tail])
    return float(values[0]), float(min(low, values[0])), float(max(high, values[0]))
