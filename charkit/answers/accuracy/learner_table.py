"""Ways of training side by side: accuracy by number of labels, and where one overtakes another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.accuracy.zero_shot import ZeroShot, compare_zero_shot
from charkit.answers.quantities import percent, rough, span
from charkit.config import people_name
from charkit.errors import DataError

if TYPE_CHECKING:
    from charkit.encoders.encoder import Encoder
    from metamodel.learners.compare import Crossing, Learners, Predicted

PROBE, ZERO_SHOT = "probe", "zero_shot"

NAMES = {
    PROBE: ("linear head", "A linear head"),
    "concat": ("head on all layers", "A head on all layers"),
    "setfit": ("SetFit", "SetFit"),
    "tuned": ("fine-tuning", "Fine-tuning"),
    ZERO_SHOT: ("zero-shot", "Zero-shot predictions"),
}
"""Learner -> its name for people, and the same as the subject of a sentence."""

_TEXTS_BEYOND = 2.0  # texts twice as long as any that were measured are unlike them

_SURE = 0.05
"""A learner is better by more than its doubt where at most so large a share of draws is behind."""


@dataclass(frozen=True, eq=False)
class LearnerTable:
    """Learners side by side.

    Attributes:
        have: Labels that there are.
        sizes: Numbers of labels of the table.
        curves: Learner -> columns n, mean, low, high, at the sizes that it was measured near.
        crossings: Where one overtakes another, from fewer labels to more.
        sure: Learners that are better than the linear head by more than their doubt somewhere.
        measured: Learner -> smallest and largest number of labels that it was measured with.
        unlike: Learner -> why its column has no star: texts or encoder are unlike its runs.
    """

    have: int
    sizes: tuple[int, ...]
    curves: Mapping[str, pd.DataFrame]
    crossings: tuple[Crossing, ...]
    sure: tuple[str, ...]
    measured: Mapping[str, tuple[int, int]]
    unlike: Mapping[str, str]

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a learner: learner, name, accuracy (a list of n, mean, low, high)."""
        return [
            {"learner": name, "name": people_learner(name), "accuracy": self._at_sizes(name)}
            for name in self.curves
        ]

    def _at_sizes(self, name: str) -> list[dict[str, Any]]:
        table = self.curves[name]
        return [
            {"n": int(n), "mean": mean, "low": low, "high": high}
            for n, mean, low, high in table[["n", "mean", "low", "high"]].to_numpy(float).tolist()
            if int(n) in self.sizes
        ]

    def drawn(self) -> dict[str, pd.DataFrame]:
        """Return the curve of each way of training but the linear head, by its name for people."""
        return {
            people_learner(name): table
            for name, table in self.curves.items()
            if name not in (PROBE, ZERO_SHOT) and len(table)
        }

    def crossing_rows(self) -> list[dict[str, Any]]:
        """Return one row a pair: a, b, n, low, high, and what `Crossing` has more."""
        return [dict(vars(crossing)) for crossing in self.crossings]

    def shown_rows(self) -> list[dict[str, Any]]:
        """Return one row a size for people, a column a learner that has numbers.

        The best of a row has a star.
        """
        found = {name: {row["n"]: row for row in self._at_sizes(name)} for name in self.curves}
        cells = {name: rows for name, rows in found.items() if rows}
        shown = []
        for n in self.sizes:
            known = {name: rows[n] for name, rows in cells.items() if n in rows}
            like = {name: row["mean"] for name, row in known.items() if name not in self.unlike}
            best = max(like, key=lambda name: like[name]) if len(like) > 1 else None
            row: dict[str, Any] = {"labels": n}
            for name in cells:
                own = known.get(name)
                ends = "" if own is None else f" ({span(own['low'], own['high'])})"
                row[people_learner(name)] = (
                    "-" if own is None else percent(own["mean"]) + ends + " *" * (name == best)
                )
            shown.append(row)
        return shown

    @property
    def sentence(self) -> str | None:
        """Where the best sure learner overtakes the linear head; None where none is sure."""
        means = pd.DataFrame({n: self.curves[n].set_index("n")["mean"] for n in self.sure})
        common = means.dropna()
        if common.empty:  # no number of labels has them all
            common = means.dropna(how="all")
        if common.empty:
            return None
        best = common.iloc[-1].idxmax()  # with the most labels
        return next(self._words(c) for c in self.crossings if (c.a, c.b) == (PROBE, best))

    def lines(self) -> list[str]:
        """Return what stands behind the table: every crossing, and where numbers come from."""
        known = (ZERO_SHOT, PROBE)  # the answer has a sentence of its own on these two
        lines = [self._words(c) for c in self.crossings if (c.a, c.b) != known]
        missing: dict[tuple[int, int], list[str]] = {}
        for name in self.curves:
            if len(self._at_sizes(name)) < len(self.sizes) and name in self.measured:
                missing.setdefault(self.measured[name], []).append(people_learner(name))
        for (low, high), names in missing.items():
            measured = f"{low:,} labels" if low == high else f"{low:,} to {high:,} labels"
            were = "they were" if len(names) > 1 else "it was"
            lines.append(
                f"No number for {' and '.join(names)} far from the {measured} that {were} "
                "measured with."
            )
        return [*lines, *dict.fromkeys(self.unlike.values())]

    def _words(self, crossing: Crossing) -> str:
        from metamodel.learners.compare import LIKELY

        first, other = _subject(crossing.b), _object(crossing.a)
        if crossing.n is None:
            return (
                f"{first} is not expected to overtake {other} within {crossing.largest:,} labels "
                f"(chance {percent(crossing.probability)})."
            )
        if crossing.n <= crossing.smallest:
            your = "your " if crossing.smallest == self.have else ""
            chance = "" if crossing.already is None else f" (chance {percent(crossing.already)})"
            verb = "may" if (crossing.already or 1.0) < LIKELY else "should"
            return (
                f"{first} {verb} be better than {other} already with {your}"
                f"{crossing.smallest:,} labels{chance}."
            )
        return (
            f"{first} overtakes {other} at about {rough(crossing.n)} labels "
            f"(90 % interval {_ends(crossing)})."
        )


def people_learner(name: str) -> str:
    """Return a learner's name for people."""
    return NAMES.get(name, (name, name))[0]


def _subject(name: str) -> str:
    return NAMES.get(name, (name, name))[1]


def _object(name: str) -> str:
    words = _subject(name)
    the = "the " if words.startswith(("A ", "Zero")) else ""
    return the + words.removeprefix("A ").replace("Zero", "zero").replace("Fine-", "fine-")


def _ends(crossing: Crossing) -> str:
    low, high = crossing.low, crossing.high
    start = "fewer" if low is None or low <= crossing.smallest else rough(low)
    return f"{start} to " + (f"more than {crossing.largest:,}" if high is None else rough(high))


def shipped_learners() -> Learners | None:
    """Return the ways of training that come with the package; None where it has none.

    Raises:
        DataError: Their file is damaged.
    """
    from metamodel.learners.files import load_learners

    try:
        return load_learners()
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(
            f"the table of ways of training cannot be used: {error} Install charkit again, or make "
            "it: make learners."
        ) from error


def known_learners() -> tuple[str, ...]:
    """Return the names of the learners that can be compared, the simplest first.

    Raises:
        DataError: Their file is damaged.
    """
    found = shipped_learners()
    return (PROBE,) if found is None else found.names


def learners_under(
    known: Learners, asked: Sequence[str], encoder: Encoder, have: int
) -> tuple[Learners | None, list[str]]:
    """Return the ways of training that are predicted for an answer, and what is to be noted.

    Args:
        known: All that are known.
        asked: Names of those that are asked for.
        encoder: The encoder of the answer.
        have: Labels that there are.

    Returns:
        None where nothing is predicted; the notes say why.
    """
    none = "no ways of training next to the linear head: "
    if not have:
        return None, [none + "they are predicted from some labels: there are none"]
    notes = []
    if encoder.fingerprint not in known.encoders:
        measured, name = " and ".join(known.names_of_encoders), people_name(encoder.name)
        elsewhere = known.elsewhere
        if elsewhere is None or encoder.random_seed is not None or encoder.apart:
            return None, [f"{none}they were measured with {measured}, not with {name}"]
        known = known.under_others()
        other = [people_learner(learner) for learner in asked if learner not in known.names]
        if other:
            notes = [f"no number for {' and '.join(other)}: not measured under other encoders"]
        if not set(asked) & set(known.ranges):
            return None, notes
        held = min(row["covered_wide"] for row in elsewhere.figures if not row["known"])
        wider = f"{known.widening - 1:.0%} wider" if known.widening > 1 else "as wide as with it"
        notes.insert(
            0,
            f"ways of training were measured with {measured}, not with {name}: their intervals are "
            f"{wider}. With a width chosen on the other ones, at least {held:.0%} held under each "
            f"of {len(elsewhere.encoders)} encoders (from {elsewhere.n0:,} to {elsewhere.n:,} "
            f"labels, {elsewhere.corpora} corpora)",
        )
    low, high = known.measured
    if have > known.ends[1]:
        notes = [f"{none}they were measured with {low:,} to {high:,} labels: there are {have:,}"]
        return None, notes
    return (known if set(asked) & set(known.ranges) else None), notes


def learner_table(
    found: Predicted,
    names: Sequence[str],
    *,
    have: int,
    sizes: Sequence[int],
    tokens: float,
) -> LearnerTable:
    """Return learners side by side.

    Args:
        found: What is predicted of them.
        names: Which ones, the simplest first.
        have: Labels that there are.
        sizes: Numbers of labels of the table.
        tokens: Mean tokens of the texts.
    """
    unlike = {
        name: reason
        for name in names
        if name != PROBE and (reason := _doubt_of(name, tokens, found.known))
    }
    crossings = [
        found.crossing(a, b)
        for k, a in enumerate(names)
        for b in names[k + 1 :]
        if found.comparable(a, b) and not {a, b} & set(unlike)
    ]
    sure = [
        name
        for name in names
        if PROBE in names
        and name not in {PROBE, *unlike}
        and found.comparable(PROBE, name)
        and bool(((found.differences(PROBE, name) <= 0).mean(0) <= _SURE).any())
    ]
    return LearnerTable(
        have,
        tuple(sizes),
        {name: found.curve(name) for name in names},
        tuple(crossings),
        tuple(sure),
        found.known.ranges,
        unlike,
    )


def _doubt_of(name: str, tokens: float, known: Learners) -> str:
    """Return why a learner is not compared with others; empty where it is."""
    if known.elsewhere is not None and not known.names_better:
        right, tasks = known.elsewhere.named_right
        return (
            "Under encoders that ways of training were not measured with, the better one was named "
            f"on {right} of {tasks} tasks: no column has a star."
        )
    low, high = known.tokens[name]
    if low / _TEXTS_BEYOND <= tokens <= high * _TEXTS_BEYOND:
        return ""
    return (
        f"{_subject(name)} was measured on tasks whose texts have {low:.0f} to {high:.0f} tokens "
        f"on average; these have {tokens:.0f}. Its column has no star."
    )


def with_zero_shot(
    table: LearnerTable, found: Predicted, given: ZeroShot, right: NDArray[np.bool_]
) -> LearnerTable:
    """Return the table with predictions that needed no label as a further learner.

    Args:
        table: The learners.
        found: What is predicted of them.
        given: The predictions, next to the linear head.
        right: Whether each is right, (n_rows,).
    """
    level = {"mean": given.accuracy, "low": given.low, "high": given.high}
    curve = pd.DataFrame({"n": table.sizes}).assign(**level)
    crossings = [_break_even(PROBE, given, min(table.sizes))]
    for name in table.curves:
        sizes = found.sizes[found.near(name)]
        if name != PROBE and len(sizes):
            smallest, largest = round(float(sizes[0])), round(float(sizes[-1]))
            needs = partial(found.needs, name)
            other = compare_zero_shot(int(right.sum()), len(right), needs, largest=largest)
            crossings.append(_break_even(name, other, smallest))
    if PROBE not in table.curves:
        crossings = crossings[1:]
    return replace(
        table,
        curves={**table.curves, ZERO_SHOT: curve},
        crossings=(*table.crossings, *crossings),
    )


def _break_even(name: str, found: ZeroShot, smallest: int) -> Crossing:
    from metamodel.learners.compare import Crossing

    n, low, high = (
        None if value is None or not math.isfinite(value) else float(value)
        for value in (found.labels, found.labels_low, found.labels_high)
    )
    return Crossing(ZERO_SHOT, name, n, low, high, found.probability, None, smallest, found.largest)
