"""The answer of `charkit estimate`: expected accuracies, labels needed, layer, doubts, as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from charkit.answers.accuracy.advice import Advice
from charkit.answers.accuracy.earlier import ANSWER, Earlier, compare, read_earlier
from charkit.answers.accuracy.learner_table import LearnerTable
from charkit.answers.accuracy.warnings import REFUSED, Verdict
from charkit.answers.accuracy.zero_shot import ZeroShot
from charkit.answers.pilot.classes import ClassOutlook, LabelQuality
from charkit.answers.quantities import (
    Interval,
    LabelsNeeded,
    LeftOut,
    Purchase,
    exact_percent,
    percent,
    rough,
    span,
)
from charkit.config import layer_list, people_name
from charkit.escape import csv_of
from charkit.heads.metrics.label_free import equivalent_rows
from charkit.store.durable import os_errors_as_missing, write_whole
from charkit.store.sealed import sealed_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DEVIATIONS = 1.6448536269514722  # half a 90 % interval of the normal distribution
# A choice: the largest ones, few enough to be read.
_SHOWN_CONTRIBUTIONS = 5
_MOST_LINES = 6  # of the summary
# Less than this rounds to 0.0 points.
_SMALL_POINTS = 0.05


@dataclass(frozen=True, eq=False)
class EstimateAnswer:
    """What can be expected of labelling more.

    Attributes:
        name: The task.
        encoder: Name of the encoder.
        mode: ``"none"``, ``"few"`` or ``"pilot"``: how many labels there are.
        n_labels: Labels that there are.
        n_classes: Classes.
        sizes: Numbers of labels that the answer speaks of.
        curve: Columns layer, n, mean, low, high (a 90 % interval), wide_low, wide_high (a range
            that holds on 9 tasks in 10); the sizes and others between them.
        observed: What was measured on the sample at the recommended layer: n, accuracy.
        layer: The recommended layer, 0 = embeddings.
        layers: Columns layer, score, low, high, tied_with_best.
        need: Labels for the target; None where none was asked for.
        eval_accuracy: Expected accuracy on the unlabelled texts, with the labels that there are;
            None
            without such texts.
        eval_what: What these texts are, as text.
        verdicts: What speaks against it all, the gravest first.
        contributions: What drove the answer: feature, value, points; the largest first.
        purchase: How to buy labels; None where no costs were given.
        advice: How adequate the sample is and what to label next; None where not asked for.
        majority: Share of the largest class among the labels; None without labels.
        left_out: What heads on the recommended layer make of labels left out; None where that is
            not known.
        outlook: Recall of each class, balanced accuracy and macro-F1; None where not known.
        quality: Labels that look wrong; None without labels.
        zero_shot: Predictions that needed no label, next to trained heads; None where there are
            none.
        learners: Ways of training side by side; None where only the linear head is known.
        labelled_rows: What later answers recognise the labelled rows by; see
            `charkit.answers.accuracy.earlier.digests_of`.
        earlier: What earlier answers predicted, next to this one; None where there are none.
        notes: What was guessed, dropped, or left out.
        about: What made the answer: versions, keys.
        found: Whether the store had all evidence.
    """

    name: str
    encoder: str
    mode: str
    n_labels: int
    n_classes: int
    sizes: tuple[int, ...]
    curve: pd.DataFrame
    observed: pd.DataFrame
    layer: int
    layers: pd.DataFrame
    need: LabelsNeeded | None
    eval_accuracy: Interval | None
    eval_what: str
    verdicts: tuple[Verdict, ...]
    contributions: pd.DataFrame
    purchase: Purchase | None = None
    advice: Advice | None = None
    majority: float | None = None
    left_out: LeftOut | None = None
    outlook: ClassOutlook | None = None
    quality: LabelQuality | None = None
    zero_shot: ZeroShot | None = None
    learners: LearnerTable | None = None
    labelled_rows: Mapping[str, Any] = field(default_factory=dict)
    earlier: Earlier | None = None
    notes: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    found: bool = False

    @property
    def trustworthy(self) -> bool:
        """Whether no warning forbids using the numbers."""
        return not any(verdict.grave for verdict in self.verdicts)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a size: the expected accuracy of the recommended layer."""
        own = self.curve[(self.curve["layer"] == self.layer) & self.curve["n"].isin(self.sizes)]
        names = ["n", "mean", "low", "high", "wide_low", "wide_high"]
        numbers = own.sort_values("n")[names].to_numpy(float)
        return [dict(zip(names, (int(n), *rest), strict=True)) for n, *rest in numbers.tolist()]

    def shown_rows(self) -> list[dict[str, Any]]:
        """Return `rows` for people: accuracies in per cent; learners side by side, if known."""
        if self.learners is not None:
            return self.learners.shown_rows()
        return [
            {
                "labels": row["n"],
                "accuracy": percent(row["mean"]),
                "range": span(row["low"], row["high"]),
            }
            for row in self.rows()
        ]

    @property
    def worth(self) -> float | None:
        """How many labelled test rows estimate the accuracy as precisely; None if unknown."""
        found = self.eval_accuracy
        if found is None or not found.low < found.high or not 0 < found.mean < 1:
            return None
        deviation = (found.high - found.low) / 2 / _DEVIATIONS
        return equivalent_rows(deviation * math.sqrt(2 / math.pi), found.mean)

    def compared_with(
        self, earlier: str | Path | Mapping[str, Any] | EstimateAnswer
    ) -> EstimateAnswer:
        """Return the answer with what an earlier one predicted for the labels that there are now.

        Answers before that one are compared as well. Where its rows are not all among today's,
        nothing is compared, and `earlier` has the reason.

        Args:
            earlier: An answer about fewer of these rows: the folder that it was saved in, its
                answer.json, what `charkit.answers.accuracy.earlier.read_earlier` made of that, or
                the answer itself.

        Raises:
            MissingError: There is no such file.
            DataError: It is damaged, or no answer of charkit.
        """
        if isinstance(earlier, EstimateAnswer):
            before: Mapping[str, Any] = earlier.to_dict()
        else:
            before = earlier if isinstance(earlier, Mapping) else read_earlier(earlier)
        found = compare(self.to_dict(), before)
        return replace(self, earlier=found if found.rounds or found.reason else None)

    def lines(self) -> list[str]:
        """Return the answer as sentences: the summary, then the details."""
        return [*self.summary(), *self.details()]

    def summary(self) -> list[str]:
        """Return the answer in at most six short lines, the most important first."""
        first = [] if self.trustworthy else [f"Do not use these numbers: {self._refused()}."]
        if self.need is not None:
            first.append(self.need.sentence(self.n_labels))
        first.append(self._curve_line())
        if self.earlier is not None and self.earlier.short is not None and self.trustworthy:
            first.append(self.earlier.short)
        then = [self._layer_line()]
        if self.purchase is not None:
            then.append(self.purchase.sentence(self.n_labels))
        warnings = [v.code for v in self.verdicts if v.severity == "warning" and self.trustworthy]
        last = []
        if warnings:
            plural = "" if len(warnings) == 1 else "s"
            last = [f"{len(warnings)} warning{plural}, see below: {', '.join(warnings)}."]
        room = _MOST_LINES - len(first) - len(then) - len(last)
        between = self._between()[:room]
        if self.purchase is None and self.advice is not None and len(between) < room:
            then.append(self.advice.short)
        return [*first, *between, *then, *last]

    def _between(self) -> list[str]:
        """Return the lines that depend on the sample, the most important first.

        What has no place in the summary stands in the details.
        """
        lines = [] if self.zero_shot is None else [self.zero_shot.sentence(self.n_labels)]
        parts = (self.outlook, self.quality) if self.trustworthy else ()
        lines += [part.short for part in parts if part is not None and part.short is not None]
        if self._overtakes is not None:
            lines.append(self._overtakes)
        if not self._evaluation_later:
            lines.append(f"On {self.eval_what}, expect {self.eval_accuracy}.")
        return lines

    @property
    def _overtakes(self) -> str | None:
        return self.learners.sentence if self.learners and self.trustworthy else None

    @property
    def _evaluation_later(self) -> bool:
        """Whether the accuracy on the unlabelled texts is not known, or has no place before."""
        more = self.zero_shot is not None or self._overtakes is not None
        return more or self.eval_accuracy is None

    def details(self) -> list[str]:
        """Return what stands behind the summary: how sure it is, warnings, what moved it."""
        lines = [f"{self._place()}. Every range is a 90 % interval."]
        if self.need is not None and self.need.budgets:
            lines.append(self.need.chances)
        lines.append(self._wide_line())
        if self.earlier is not None:
            lines += self.earlier.lines()
        if self._evaluation_later and self.eval_accuracy is not None:
            lines.append(f"On {self.eval_what}, expect {self.eval_accuracy}.")
        shown = self.summary()
        lines += [line for line in self._between() if line not in shown]
        if self.worth is not None:
            lines.append(
                f"The accuracy on {self.eval_what} is as precise as a test on about "
                f"{rough(self.worth)} labelled texts."
            )
        parts = [p for p in (self.learners, self.outlook, self.quality) if p is not None]
        lines += [line for part in parts for line in part.lines() if line not in shown]
        if self.purchase is not None:
            lines.append(self.purchase.price)
        if self.advice is not None:
            lines += self.advice.lines()
        lines += [f"{v.code}: {v.sentence}" for v in self.verdicts]
        return [*dict.fromkeys(lines), *self._drove()]

    def _refused(self) -> str:
        grave = [v.code for v in self.verdicts if v.grave]
        return "; ".join(REFUSED.get(code, "see below") for code in dict.fromkeys(grave))

    def _place(self) -> str:
        labels = f"{self.n_labels:,} labels" if self.n_labels else "no labels"
        return f"{self.name}: {labels}, {self.n_classes:,} classes, {people_name(self.encoder)}"

    def _curve_line(self) -> str:
        first, *_, last = (*self.rows(), self.rows()[-1])
        your = "your " if first["n"] == self.n_labels else ""
        line = f"With {your}{first['n']:,} labels, expect {_expected(first)}"
        if last["n"] != first["n"]:
            line += f"; with {last['n']:,}, {_expected(last)}"
        return f"{line}."

    def _wide_line(self) -> str:
        first, *_, last = (*self.rows(), self.rows()[-1])
        line = "The range that holds on 9 tasks in 10 is wider: "
        line += f"{span(first['wide_low'], first['wide_high'])} with {first['n']:,} labels"
        if last["n"] != first["n"]:
            line += f", {span(last['wide_low'], last['wide_high'])} with {last['n']:,}"
        return line

    def _layer_line(self) -> str:
        tied = sorted(self.layers.loc[self.layers["tied_with_best"].astype(bool), "layer"])
        others = [int(layer) for layer in tied if layer != self.layer]
        line = f"Use layer {self.layer} of {people_name(self.encoder)}"
        if not others:
            return f"{line}."
        if len(others) == len(self.layers) - 1:
            return f"{line}; no other layer is shown to be worse."
        verb = "layer {} is as good" if len(others) == 1 else "layers {} are as good"
        return f"{line}; {verb.format(layer_list(others))}."

    def _drove(self) -> list[str]:
        rows = self.contributions
        rows = rows[rows["points"].abs() >= _SMALL_POINTS].head(_SHOWN_CONTRIBUTIONS)
        if rows.empty:
            return []
        parts = [f"{r.feature}{_value(r.value)} ({r.points:+.1f})" for r in rows.itertuples()]
        return [f"What moved the answer away from chance, in points: {'; '.join(parts)}"]

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as JSON can hold it, unknown numbers as None."""
        need = self.need
        unseen, advice = self.eval_accuracy, self.advice
        adequate, first = (advice.adequacy, advice.next) if advice is not None else (None, None)
        question = "What accuracy can be expected?"
        if need is not None:
            question = f"How many labels reach {exact_percent(need.target)} accuracy?"
        whole = {
            "task": self.name,
            "encoder": people_name(self.encoder),
            "mode": self.mode,
            "question": question,
            "metric": "accuracy",
            "n": self.n_labels,
            "n_classes": self.n_classes,
            "majority": self.majority,
            "left_out": None if self.left_out is None else vars(self.left_out),
            "accuracy": self.rows(),
            "labels_for_target": None if need is None else need.row(),
            "budgets": None if need is None else need.budget_rows(),
            "layer": self.layer,
            "layers": self.layers.to_dict("records"),
            "eval_accuracy": None if unseen is None else unseen.row(),
            "classes": None if self.outlook is None else self.outlook.rows(),
            "balanced_accuracy": None if self.outlook is None else self.outlook.balanced_rows(),
            "macro_f1": None if self.outlook is None else self.outlook.macro_rows(),
            "label_quality": None if self.quality is None else self.quality.to_dict(),
            "zero_shot": None if self.zero_shot is None else self.zero_shot.row(),
            "learners": [] if self.learners is None else self.learners.rows(),
            "crossings": [] if self.learners is None else self.learners.crossing_rows(),
            "worth_labelled_rows": self.worth,
            "adequacy": None if adequate is None else adequate.to_dict(),
            "next": None if first is None else first.row(),
            "verdicts": [v.row() for v in self.verdicts],
            "trustworthy": self.trustworthy,
            "contributions": self.contributions.to_dict("records"),
            "plan": None if self.purchase is None else self.purchase.row(),
            "earlier": None if self.earlier is None else self.earlier.to_dict(),
            "observed": self.observed.to_dict("records"),
            "curve": self.curve.to_dict("records"),
            "summary": self.summary(),
            "sentences": self.lines(),
            "notes": list(self.notes),
            "labelled_rows": dict(self.labelled_rows) or None,
            "manifest": dict(self.about),
        }
        return {name: _plain(value) for name, value in whole.items()}

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a size: n, mean, low, high, wide_low, wide_high."""
        return pd.DataFrame(self.rows())

    def plot(self) -> Figure:
        """Draw the expected accuracy by number of labels, with its interval.

        Raises:
            MissingError: matplotlib is not installed.
        """
        from charkit.report.figures.curves import forecast_curve

        own = self.curve[self.curve["layer"] == self.layer]
        title = self.summary()[0].removesuffix(".")
        lines = {} if self.learners is None else self.learners.drawn()
        return forecast_curve(
            own[["n", "mean", "low", "high"]],
            title=title,
            caption=f"Line: expected accuracy of a linear head on layer {self.layer} of "
            f"{people_name(self.encoder)}; band: 90 % interval"
            + ("; dashes: other ways of training" if lines else "")
            + ("; dots: measured on the sample." if len(self.observed) else "."),
            present=self.n_labels or None,
            observed=self.observed,
            target=None if self.need is None else self.need.target,
            majority=self.majority,
            zero_shot=None if self.zero_shot is None else self.zero_shot.accuracy,
            others=lines,
        )

    def save(self, folder: str | Path) -> list[Path]:
        """Write answer.json, curve.csv, the curve as .svg and .png, and report.html.

        Pictures are left out where matplotlib is not installed.

        Args:
            folder: Where to; made when missing.

        Raises:
            MissingError: The folder cannot be written.
        """
        from charkit.report.figures.canvas import save_figure
        from charkit.report.pages.answer import write_page

        place = Path(folder)
        with os_errors_as_missing(place):
            place.mkdir(parents=True, exist_ok=True)
        whole = self.to_dict()
        files = [write_whole(place / ANSWER, sealed_json(whole))]
        if find_spec("matplotlib") is not None:
            files += save_figure(self.plot(), place / "curve")
        table = csv_of(self.curve)
        written = write_whole(place / "curve.csv", table.encode())
        return [
            *(f for f in files if f != written),
            written,
            write_page(whole, place / "report.html"),
        ]

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        lines = "<br>".join(escape(line) for line in self.lines())
        shown = self.to_pandas().to_html(index=False, float_format="{:.3f}".format)
        return f"<p>{lines}</p>{shown}"


def _expected(row: Mapping[str, Any]) -> str:
    return f"{percent(row['mean'])} accuracy ({span(row['low'], row['high'])})"


def _value(value: Any) -> str:
    """Return a value behind a space; nothing where it is unknown."""
    if isinstance(value, str):
        return f" {value}"
    number = float("nan") if value is None else float(value)
    if not math.isfinite(number):
        return ""
    return f" {number:,.0f}" if number == round(number) else f" {number:.3g}"


def _plain(value: Any) -> Any:
    """Return what JSON can hold: NumPy numbers as Python's, what is not finite as None."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    item = getattr(value, "item", None)
    value = item() if callable(item) else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
