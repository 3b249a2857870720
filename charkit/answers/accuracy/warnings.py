"""What speaks against an estimate: codes for machines, sentences for people.

A grave verdict means that the numbers must not be trusted; the others say what to mind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from charkit.answers.pilot.pilot import FEW, Pilot, PilotEvidence
from charkit.answers.quantities import LIKELY, LabelsNeeded
from charkit.config import people_name, printable
from charkit.tasks.task import IMBALANCED

Severity = Literal["refusal", "warning", "note"]
"""Not to be trusted; mind this; for information."""

Code = Literal[
    "no_signal",
    "no_help",
    "other_encoder",
    "outside_seen",
    "language",
    "shift",
    "plateau_below_target",
    "not_reached_by_n",
    "target_below_majority",
    "tiny_sample",
    "rare_classes",
    "many_classes",
    "imbalance",
    "duplicates",
    "truncated",
]
"""Reasons to doubt an estimate; `docs/estimate.md` explains each."""

REFUSED: dict[Code, str] = {
    "no_signal": "the labels show no signal",
    "other_encoder": "the metamodel was not checked under such encoders",
    "language": "the encoder hardly knows the language of these texts",
    "outside_seen": "the sample is unlike every known task",
    "shift": "the unlabelled texts are unlike the labelled ones",
    "tiny_sample": "there are fewer than two labels a class",
}
"""Codes that can forbid using the numbers -> the reason in a few words."""

FEWEST_A_CLASS = 2
"""With fewer labels a class most classes cannot be checked inside the sample. Tried on samples of
four tasks of 50 to 150 classes: with 1.3 and 1.6 labels a class 3 of 16 intervals missed the truth
and means were up to 28 points too low; with 2.1 to 4.2 a class 2 of 32 missed."""

# A bound by what is known, not by a measurement: few of the metamodel's own tasks have more
# classes.
MANY_CLASSES = 100

# By Good (1953, "The population frequencies of species and the estimation of population
# parameters") the share of singletons in a random sample is also the expected share of other texts
# whose class has no label yet. That a twentieth of lost texts is worth a warning is a choice.
MOST_SINGLE = 0.05
"""A larger share of labels that are the only one of their class is worth a warning."""

# Two notes, no doubts about the numbers. Their bounds are a choice, not a measurement.
MOST_REPEATS = 0.02
MOST_CUT = 0.1

# A point of accuracy: the smallest gain that the accuracies of the answer, shown in whole per
# cent, would show. The metamodel is off by more than that (docs/scorecard.md), so it is no test of
# flatness.
FLAT_GAIN = 0.01

SHIFT_LIMITS = {
    "state_shift": 0.35,
    "class_shift": 0.25,
    "confidence_gap": 0.1,
}
"""Test texts of five known tasks stay below these, by a margin; those of other tasks exceed the
first."""

FAR_STATES = 1.2
"""Mean over the layers: English texts of other tasks lie up to 0.9 away, German ones 1.5."""


@dataclass(frozen=True)
class Verdict:
    """One thing that speaks against an estimate.

    Attributes:
        code: For machines.
        sentence: For people.
        severity: How grave it is.
    """

    code: Code
    sentence: str
    severity: Severity = "warning"

    @property
    def grave(self) -> bool:
        """Whether the numbers must not be trusted."""
        return self.severity == "refusal"

    def row(self) -> dict[str, str]:
        """Return the fields as a row."""
        return {"code": self.code, "sentence": self.sentence, "severity": self.severity}


@dataclass(frozen=True, eq=False)
class Case:
    """All that verdicts are taken from.

    Attributes:
        pilot: The texts.
        found: What was measured on them.
        encoder: Name of the encoder.
        of_encoder: The warning about the encoder; None where the metamodel was made for it.
        outside: Values that the metamodel has not seen, as text.
        layer: The recommended layer.
    """

    pilot: Pilot
    found: PilotEvidence
    encoder: str
    of_encoder: Verdict | None
    outside: Sequence[str]
    layer: int

    @property
    def row(self) -> pd.Series:
        """The evidence of the recommended layer."""
        rows = self.found.rows
        return rows[rows["layer"] == self.layer].iloc[0]


def reach_verdict(need: LabelsNeeded | None, curve: pd.DataFrame) -> tuple[Verdict, ...]:
    """Return the warning about a target that is hardly reached; nothing where it likely is.

    Args:
        need: The labels needed; None where no target was asked for.
        curve: Columns n, mean, low, high of the recommended layer.
    """
    if need is None or need.probability >= LIKELY:
        return ()
    rows = curve.sort_values("n")
    last = rows.iloc[-1]
    half = rows.iloc[(rows["n"] - last["n"] / 2).abs().argmin()]
    gain = float(last["mean"] - half["mean"])
    if gain < FLAT_GAIN and last["high"] < need.target:
        return (
            Verdict(
                "plateau_below_target",
                f"the curve levels off near {last['mean']:.2f}, below {need.target:g}: the last "
                f"doubling, to {last['n']:,.0f} labels, adds {100 * gain:.1f} points. More labels "
                "will hardly help: other labels, texts or another encoder might",
            ),
        )
    return (
        Verdict(
            "not_reached_by_n",
            f"{need.target:g} is not expected by {need.largest:,} labels (probability "
            f"{need.probability:.0%})",
        ),
    )


def target_verdict(target: float | None, pilot: Pilot) -> tuple[Verdict, ...]:
    """Return the warning about a target that needs no texts; nothing for others.

    Args:
        target: The accuracy asked for; None for none.
        pilot: The texts.
    """
    share = pilot.majority
    what = f"the share of class {printable(pilot.majority_name)!r} among the labels"
    if share is None:
        share, what = 1 / pilot.n_classes, f"one class in {pilot.n_classes}"
    if target is None or target > share:
        return ()
    return (
        Verdict(
            "target_below_majority",
            f"always predicting one class reaches {target:g} already ({share:.3f}, {what}): how "
            "many labels reach it says nothing about what heads learn. Ask for a higher target",
        ),
    )


def verdicts_of(case: Case) -> tuple[Verdict, ...]:
    """Return what speaks against an estimate."""
    rules: tuple[Callable[[Case], Verdict | None], ...] = (
        _signal,
        _encoder,
        _outside,
        _language,
        _shift,
        _sample,
        _single,
        _classes,
        _majority,
        _repeats,
        _cut,
        _help,
    )
    return tuple(verdict for rule in rules if (verdict := rule(case)) is not None)


def _signal(case: Case) -> Verdict | None:
    signal = case.found.signal
    if signal is None or signal.signal:
        return None
    if case.pilot.n_labels < max(FEW, FEWEST_A_CLASS * case.pilot.n_classes):
        return Verdict(
            "no_signal",
            f"{case.pilot.n_labels} labels show no signal ({signal.reason}): so few rarely do; "
            "label more before much money is spent",
        )
    return Verdict(
        "no_signal",
        f"{signal.reason}: nothing shows that these labels can be learnt from these texts",
        "refusal",
    )


def _help(case: Case) -> Verdict | None:
    rows = case.found.rows
    if case.pilot.n_labels < FEW or rows["random_accuracy"].isna().all():
        return None
    best, random = float(rows["oof_accuracy"].max()), float(rows["random_accuracy"].max())
    # standard error of the difference of two accuracies, as if the texts were others each time
    noise = np.sqrt(max(best * (1 - best), 1e-4) * 2 / case.pilot.n_used)
    if best - random > noise:
        return None
    return Verdict(
        "no_help",
        f"a random encoder of the same shape does about as well ({random:.2f} beside {best:.2f}): "
        "nothing shows that the encoder's training helps here",
        "note",
    )


def _encoder(case: Case) -> Verdict | None:
    return case.of_encoder


def _outside(case: Case) -> Verdict | None:
    if not case.outside:
        return None
    shown = "; ".join(case.outside[:4]) + ("; ..." if len(case.outside) > 4 else "")
    return Verdict(
        "outside_seen",
        f"outside what the metamodel has seen: {shown}",
        "refusal" if len(case.outside) >= _FAR else "warning",
    )


# One value outside is common: of many features one is extreme by chance. A choice, not a
# measurement.
_FAR = 3


def _language(case: Case) -> Verdict | None:
    own, other = case.found.labelled_texts, case.found.unlabelled_texts
    for figures, what in ((other, "unlabelled texts"), (own, "labelled texts")):
        if figures is not None and figures.foreign:
            unlike = own is not None and not own.foreign
            return Verdict(
                "language",
                f"the {what} seem to be in a language or script that {people_name(case.encoder)} "
                f"hardly knows ({figures.pieces:.2f} pieces a character, {figures.unknown:.0%} "
                f"unknown){', unlike the labelled ones' if unlike else ''}",
                "refusal",
            )
    return None


def _shift(case: Case) -> Verdict | None:
    if case.pilot.unlabelled is None or not case.pilot.n_labels:
        return None
    rows = case.found.rows
    values = {name: float(case.row[name]) for name in SHIFT_LIMITS}
    values["state_shift"] = float(rows["state_shift"].mean())
    seen = [
        words.format(values[name])
        for name, words in _SHIFT_WORDS.items()
        if values[name] > _shift_limit(name, case.pilot)
    ]
    what = "evaluation" if case.pilot.judged else "unlabelled"
    if values["state_shift"] > FAR_STATES:
        return Verdict(
            "shift",
            f"the {what} texts are so unlike the labelled ones that they may be in another "
            f"language or of another kind altogether: {', '.join(seen)}",
            "refusal",
        )
    if not seen:
        return None
    return Verdict(
        "shift",
        f"the {what} texts are unlike the labelled sample: {', '.join(seen)}. The curve speaks of "
        "texts like the labelled ones",
    )


_SHIFT_WORDS = {
    "state_shift": "their states lie {:.2f} standard deviations from the labelled ones'",
    "class_shift": "the predicted classes differ by {:.0%} from the labels",
    "confidence_gap": "heads are {:.0%} less sure of them",
}


def _shift_limit(name: str, pilot: Pilot) -> float:
    """Return what a sample of the same texts hardly exceeds: the limit, and noise of the size."""
    assert pilot.unlabelled is not None
    # the standard error of a difference of two means of unit variance; shares of classes add up
    # the errors of all classes, each about 1 / sqrt(C) as large
    noise = np.sqrt(1 / max(pilot.n_used, 1) + 1 / max(len(pilot.unlabelled), 1))
    if name == "class_shift":
        noise *= np.sqrt(pilot.n_classes)
    return float(SHIFT_LIMITS[name] + noise)


def _sample(case: Case) -> Verdict | None:
    pilot = case.pilot
    wanted = max(FEW, FEWEST_A_CLASS * pilot.n_classes)
    if not pilot.n_labels or pilot.n_labels >= wanted:
        return None
    if pilot.n_labels < FEWEST_A_CLASS * pilot.n_classes:
        return Verdict(
            "tiny_sample",
            f"{pilot.n_labels:,} labels for {pilot.n_classes:,} classes are fewer than two a "
            "class: most classes cannot be checked inside the sample, and neither the accuracy "
            f"nor its interval holds. Label at least {wanted:,}",
            "refusal",
        )
    return Verdict(
        "tiny_sample",
        f"{pilot.n_labels} labels for {pilot.n_classes} classes are few: the intervals are wide; "
        f"{wanted:,} or more would narrow them most",
    )


def _single(case: Case) -> Verdict | None:
    """Warn of classes with a single label: how many other classes have none at all?"""
    pilot = case.pilot
    if pilot.n_single <= MOST_SINGLE * max(pilot.n_used, 1):
        return None
    share = pilot.n_single / pilot.n_used
    return Verdict(
        "rare_classes",
        f"{pilot.n_single:,} of {pilot.n_used:,} labels are the only one of their class: no head "
        f"can be checked on these. If the sample was drawn at random, about {share:.0%} of other "
        "texts are of classes that have no label yet, and no head is right on them (Good 1953)",
    )


def _classes(case: Case) -> Verdict | None:
    if case.pilot.n_classes <= MANY_CLASSES:
        return None
    return Verdict(
        "many_classes",
        f"{case.pilot.n_classes:,} classes: few such tasks are known, and classes without "
        "a label are never predicted",
    )


def _majority(case: Case) -> Verdict | None:
    share = case.pilot.majority
    if share is None or share <= IMBALANCED:
        return None
    name = printable(case.pilot.majority_name)
    return Verdict(
        "imbalance",
        f"{share:.0%} of the labels are {name!r}: accuracy says little about the other classes; "
        "look at macro-F1 and balanced accuracy",
    )


def _repeats(case: Case) -> Verdict | None:
    pilot = case.pilot
    found = []
    if pilot.n_repeated > MOST_REPEATS * max(pilot.n_labels, 1):
        found.append(f"{pilot.n_repeated:,} labelled rows repeat others and were left out")
    if pilot.n_shared:
        found.append(f"{pilot.n_shared:,} unlabelled texts are labelled rows too")
    return Verdict("duplicates", "; ".join(found), "note") if found else None


def _cut(case: Case) -> Verdict | None:
    share = case.found.frac_truncated
    if share <= MOST_CUT:
        return None
    return Verdict(
        "truncated",
        f"{share:.0%} of the texts were cut at {case.found.max_length} tokens (--max-length)",
        "note",
    )
