"""The answer of `charkit estimate`: expected accuracies, labels needed, layer, doubts, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from charkit.answers.advice import Advice
from charkit.answers.verdicts import LIKELY, Verdict
from charkit.config import people_name
from charkit.durable import write_whole, writing
from charkit.escape import csv_of
from charkit.heads.findings import layer_list
from charkit.heads.label_free import equivalent_rows
from charkit.sealed import sealed_json
from charkit.tasks.task import IMBALANCED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DEVIATIONS = 1.6448536269514722  # half a 90 % interval of the normal distribution
_SHOWN_CONTRIBUTIONS = 5
_SMALL_POINTS = 0.05


@dataclass(frozen=True)
class Interval:
    """An accuracy with its 90 % interval, all from 0 to 1."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} (90 % interval {self.low:.3f} to {self.high:.3f})"

    def row(self) -> dict[str, float]:
        """Return the fields as a row."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class LabelsNeeded:
    """How many labels reach a target.

    Attributes:
        target: The accuracy.
        n: Typical number of labels, if it is reached; None where it is ruled out.
        low: As few may suffice; None where unknown.
        high: As many will; None where not even ``largest`` surely do.
        reached: Whether it is not ruled out by ``largest`` (`metamodel.needs.LEAST_PROBABILITY`).
        probability: That it is reached by ``largest``.
        largest: The largest number of labels that is looked at.
    """

    target: float
    n: int | None
    low: int | None
    high: int | None
    reached: bool
    probability: float
    largest: int

    def row(self) -> dict[str, Any]:
        """Return the fields as a row."""
        return {
            "target": self.target,
            "n": self.n,
            "low": self.low,
            "high": self.high,
            "reached": self.reached,
            "probability": self.probability,
            "largest": self.largest,
        }

    def words(self, have: int) -> str:
        """Return the answer as a sentence.

        Args:
            have: Labels at hand.
        """
        if self.n is None:
            return (
                f"{self.target:g} is not reached by {self.largest:,} labels "
                f"(probability that it is: {self.probability:.0%})"
            )
        if self.n <= have:
            found = f"{self.target:g} is expected with the {have:,} labels at hand"
        elif self.probability < LIKELY:
            found = (
                f"{self.target:g} may be out of reach: with {self.largest:,} labels it is reached "
                f"with probability {self.probability:.0%}; if it is, about {self.n:,} labels are "
                "typical"
            )
        else:
            found = f"{self.target:g} is expected with about {self.n:,} labels"
        low = "fewer" if self.low is None else f"{self.low:,}"
        if self.high is None:
            return f"{found} (90 % interval {low} to more than {self.largest:,})"
        return f"{found} (90 % interval {low} to {self.high:,})"


@dataclass(frozen=True)
class Purchase:
    """The cheapest way to buy labels, in expectation.

    Attributes:
        totals: Labels in hand after each round, as long as the target is not reached.
        cost: Expected cost, labels and penalty together.
        missed: Probability that the target is not reached in the end.
    """

    totals: tuple[int, ...]
    cost: float
    missed: float

    def row(self) -> dict[str, Any]:
        """Return the fields as a row."""
        return {"totals": list(self.totals), "cost": self.cost, "missed": self.missed}

    def words(self, have: int) -> str:
        """Return the plan as a sentence."""
        if self.totals[-1] <= have:
            plan = "buy no labels: they cost more than missing the target"
        else:
            steps = [f"{total:,}" for total in dict.fromkeys(self.totals)]
            plan = f"have {steps[0]} labels in all"
            for step in steps[1:]:
                plan += f"; if that is not enough, {step}"
        return f"{plan} (expected cost {self.cost:,.0f}, missed with probability {self.missed:.0%})"


@dataclass(frozen=True)
class LeftOut:
    """What heads make of the labels, each left out of the fit in turn; from 0 to 1.

    Labels that are the only one of their class are not counted.

    Attributes:
        accuracy: Share right.
        macro_f1: Mean of F1 over the classes.
        balanced_accuracy: Mean of recall over the classes.
    """

    accuracy: float
    macro_f1: float
    balanced_accuracy: float

    @property
    def sentence(self) -> str:
        """The metrics in words."""
        return (
            f"each label left out in turn: accuracy {self.accuracy:.3f}, macro-F1 "
            f"{self.macro_f1:.3f}, balanced accuracy {self.balanced_accuracy:.3f}"
        )


@dataclass(frozen=True, eq=False)
class EstimateAnswer:
    """What can be expected of labelling more.

    Attributes:
        name: The task.
        encoder: Name of the encoder.
        mode: ``"none"``, ``"few"`` or ``"pilot"``: how many labels there are.
        n_labels: Labels at hand.
        n_classes: Classes.
        sizes: Numbers of labels that the answer speaks of.
        curve: Columns layer, n, mean, low, high; the sizes and others between them.
        observed: What was measured on the sample at the recommended layer: n, accuracy.
        layer: The recommended layer, 0 = embeddings.
        layers: Columns layer, score, low, high, tied_with_best.
        need: Labels for the target; None where none was asked for.
        eval_accuracy: Expected accuracy on the unlabelled texts, with the labels at hand; None
            without such texts.
        eval_what: What these texts are, in words.
        verdicts: What speaks against it all, the gravest first.
        contributions: What drove the answer: feature, value, points; the largest first.
        purchase: How to buy labels; None where no costs were given.
        advice: How adequate the sample is and what to label next; None where not asked for.
        majority: Share of the largest class among the labels; None without labels.
        left_out: What heads on the recommended layer make of labels left out; None where that is
            not known.
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
    notes: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    found: bool = False

    @property
    def trustworthy(self) -> bool:
        """Whether no verdict forbids to rely on the numbers."""
        return not any(verdict.grave for verdict in self.verdicts)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a size: the expected accuracy of the recommended layer."""
        own = self.curve[(self.curve["layer"] == self.layer) & self.curve["n"].isin(self.sizes)]
        names = ["n", "mean", "low", "high"]
        numbers = own.sort_values("n")[names].to_numpy(float)
        return [dict(zip(names, (int(n), *rest), strict=True)) for n, *rest in numbers.tolist()]

    @property
    def worth(self) -> float | None:
        """How many labelled evaluation rows would tell the accuracy as well; None if none."""
        told = self.eval_accuracy
        if told is None or not told.low < told.high or not 0 < told.mean < 1:
            return None
        deviation = (told.high - told.low) / 2 / _DEVIATIONS
        return equivalent_rows(deviation * math.sqrt(2 / math.pi), told.mean)

    def lines(self) -> list[str]:
        """Return the answer in words, the most important first."""
        lines = [] if self.need is None else [self.need.words(self.n_labels)]
        first, last = self.rows()[0], self.rows()[-1]
        lines.append(f"{self._place()}: {_at(first)}; {_at(last)}")
        lines.append(self._layer_line())
        if self.eval_accuracy is not None:
            lines.append(f"accuracy on {self.eval_what}: {self.eval_accuracy}{self._worth()}")
        if self.left_out is not None and (self.majority or 0.0) > IMBALANCED:
            lines.append(f"{self.left_out.sentence} (the largest class: {self.majority:.3f})")
        if self.purchase is not None:
            lines.append(self.purchase.words(self.n_labels))
        if self.advice is not None:
            lines += self.advice.lines()
        lines += [f"{v.code}: {v.sentence}" for v in self.verdicts]
        if not self.trustworthy:
            lines.append("so the numbers above are not to be trusted")
        return lines + self._drove()

    def _place(self) -> str:
        labels = f"{self.n_labels:,} labels" if self.n_labels else "no labels"
        return f"{self.name}, {labels}, {people_name(self.encoder)}"

    def _layer_line(self) -> str:
        tied = sorted(self.layers.loc[self.layers["tied_with_best"].astype(bool), "layer"])
        others = [int(layer) for layer in tied if layer != self.layer]
        if not others:
            return f"layer {self.layer} is recommended"
        if len(others) == len(self.layers) - 1:
            return f"layer {self.layer} is recommended, but the layers cannot be told apart"
        verb = "layer {} ties" if len(others) == 1 else "layers {} tie"
        return f"layer {self.layer} is recommended; {verb.format(layer_list(others))} with it"

    def _worth(self) -> str:
        return "" if self.worth is None else f", worth {self.worth:,.0f} labelled test rows"

    def _drove(self) -> list[str]:
        rows = self._largest()
        if rows.empty:
            return []
        parts = [f"{r.feature}{_value(r.value)} ({r.points:+.1f})" for r in rows.itertuples()]
        return [f"what drove it, in points of accuracy: {'; '.join(parts)}"]

    def _largest(self) -> pd.DataFrame:
        rows = self.contributions
        return rows[rows["points"].abs() >= _SMALL_POINTS].head(_SHOWN_CONTRIBUTIONS)

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as JSON can hold it, unknown numbers as None."""
        need = self.need
        told, advice = self.eval_accuracy, self.advice
        adequate, first = (advice.adequacy, advice.next) if advice is not None else (None, None)
        question = "what accuracy can be expected?"
        if need is not None:
            question = f"how many labels reach an accuracy of {need.target:g}?"
        said = {
            "task": self.name,
            "encoder": people_name(self.encoder),
            "mode": self.mode,
            "question": question,
            "n": self.n_labels,
            "n_classes": self.n_classes,
            "majority": self.majority,
            "left_out": None if self.left_out is None else vars(self.left_out),
            "accuracy": self.rows(),
            "labels_for_target": None if need is None else need.row(),
            "layer": self.layer,
            "layers": self.layers.to_dict("records"),
            "eval_accuracy": None if told is None else told.row(),
            "worth_labelled_rows": self.worth,
            "adequacy": None if adequate is None else adequate.to_dict(),
            "next": None if first is None else first.row(),
            "verdicts": [v.row() for v in self.verdicts],
            "trustworthy": self.trustworthy,
            "contributions": self.contributions.to_dict("records"),
            "plan": None if self.purchase is None else self.purchase.row(),
            "observed": self.observed.to_dict("records"),
            "curve": self.curve.to_dict("records"),
            "sentences": self.lines(),
            "notes": list(self.notes),
            "manifest": dict(self.about),
        }
        return {name: _plain(value) for name, value in said.items()}

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a size: n, mean, low, high."""
        return pd.DataFrame(self.rows())

    def plot(self) -> Figure:
        """Draw the expected accuracy by number of labels, with its interval.

        Raises:
            MissingError: matplotlib is not installed.
        """
        from charkit.report.forecast import forecast_curve

        own = self.curve[self.curve["layer"] == self.layer]
        title = self.lines()[0]
        return forecast_curve(
            own[["n", "mean", "low", "high"]],
            title=title,
            caption=f"Line: expected accuracy of a linear head on layer {self.layer} of "
            f"{people_name(self.encoder)}; band: 90 % interval"
            + ("; dots: measured on the sample." if len(self.observed) else "."),
            present=self.n_labels or None,
            observed=self.observed,
            target=None if self.need is None else self.need.target,
            majority=self.majority,
        )

    def save(self, folder: str | Path) -> list[Path]:
        """Write answer.json, curve.csv, the curve as .svg and .png, and report.html.

        Pictures are left out where matplotlib is not installed.

        Args:
            folder: Where to; made when missing.

        Raises:
            MissingError: The folder cannot be written.
        """
        from charkit.report.canvas import save_figure
        from charkit.report.page import write_page

        place = Path(folder)
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
        said = self.to_dict()
        files = [write_whole(place / "answer.json", sealed_json(said))]
        if find_spec("matplotlib") is not None:
            files += save_figure(self.plot(), place / "curve")
        table = csv_of(self.curve)
        written = write_whole(place / "curve.csv", table.encode())
        return [
            *(f for f in files if f != written),
            written,
            write_page(said, place / "report.html"),
        ]

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        lines = "<br>".join(escape(line) for line in self.lines())
        shown = self.to_pandas().to_html(index=False, float_format="{:.3f}".format)
        return f"<p>{lines}</p>{shown}"


def _at(row: Mapping[str, Any]) -> str:
    shown = Interval(row["mean"], row["low"], row["high"])
    return f"with {row['n']:,} labels expect {shown}"


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
