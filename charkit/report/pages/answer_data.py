"""The answer of ``charkit estimate`` as a page reads it: checked numbers, unknown ones None.

What is read is what `charkit.answers` writes as JSON, of this version or an older one, or what
another program wrote in its form: every key but ``accuracy`` may be missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

from charkit.config import printable
from charkit.errors import UsageError
from charkit.report.pages.chart import Point
from charkit.report.pages.html import accuracy, flat, interval, labels, plain, value_text

_STRONGEST = 2
"""A sentence that names this many of the strongest features repeats their table."""

_NAMES = {
    "covered": "share near a labelled text",
    "low": "at least",
    "high": "at most",
    "misled": "labelled texts next to another class",
    "bound": "error of copying the nearest label, at most",
}
_IN_SENTENCES = ("sentence", "radius", "what", "n_labelled", "n_unlabelled")


@dataclass(frozen=True)
class Need:
    """How many labels reach a target, as `charkit.answers` gives it; unknown numbers are None."""

    target: float
    n: int | None
    low: int | None
    high: int | None
    probability: float | None
    largest: int | None
    reached: bool

    @property
    def labels(self) -> str:
        """How many labels it takes, or that it is not reached."""
        if self.n is not None:
            return labels(self.n)
        return f"not reached by {self.largest:,}" if self.largest else "not reached"

    @property
    def ends(self) -> str:
        """Between how many labels it is reached."""
        if self.low is None and self.high is None:
            if self.probability is not None:
                return f"Probability that it is: {self.probability:.0%}".replace("%", " %")
            return "Unknown" if self.reached else "Even the upper end of the band stays below it"
        low = f"{self.low:,}" if self.low is not None else "up"
        if self.high is not None:
            return f"90 % interval {low} to {self.high:,}"
        beyond = f"to more than {self.largest:,}" if self.largest else "or more"
        return f"90 % interval {low} {beyond}"


class Contribution(NamedTuple):
    """What one feature added to the expected accuracy, in points (hundredths)."""

    feature: str
    value: str
    points: float


class PageLearner(NamedTuple):
    """A way of training: its name, and its accuracy at some sizes."""

    name: str
    points: Sequence[Point]

    def at(self, n: int) -> Point | None:
        """The point of a size; None where it has none."""
        return next((p for p in self.points if p.n == n and p.mean is not None), None)


class EarlierLine(NamedTuple):
    """An earlier answer: its labels, what it predicted for today's, today's value, the outcome."""

    n: int
    then: Point
    now: Point
    found: str


class ClassLine(NamedTuple):
    """One class: its name, its labels in the sample, its recall now and with the most labels."""

    name: str
    labels: int
    now: Point
    later: Point


@dataclass(frozen=True)
class PageAnswer:
    """All that a page can show of an answer; what the answer lacks is None or empty.

    Attributes:
        task: Its name.
        encoder: Its name.
        n: Labels available.
        n_classes: Classes.
        question: What was asked.
        headline: The answer in one sentence.
        sentences: Further ones; without those that repeat a warning or a table.
        details: What stands behind them, likewise.
        sizes: The sizes of the table.
        curve: The recommended layer's dense curve, or else `sizes`; drawable points only.
        others: The curves of the other layers.
        observed: The sample's own learning curve: labels, accuracy.
        need: Labels for the target.
        layer: The recommended layer.
        layers: The layers compared: a layer, its score and interval.
        tied: Layers that tie with the best.
        evaluation: Expected accuracy on the evaluation texts.
        classes: Each class of the sample, the least recall first.
        worth: Labelled rows that would show the same about it.
        zero_shot: Accuracy of predictions that needed no label.
        learners: Ways of training next to each other, the linear head first; at least two or none.
        earlier: Earlier answers that are compared, the oldest first.
        before: The curve that the latest of them predicted, as far as `curve` goes.
        notes: What was guessed, dropped or left out.
        texts: Names and values of what is known of the texts.
        verdicts: Warnings: code, sentence, severity.
        contributions: The largest first.
        manifest: Names and values of the record.
    """

    task: str
    encoder: str
    n: int | None
    n_classes: int | None
    question: str
    headline: str
    sentences: Sequence[str]
    details: Sequence[str]
    sizes: Sequence[Point]
    curve: Sequence[Point]
    others: Sequence[Sequence[Point]]
    observed: Sequence[tuple[int, float]]
    need: Need | None
    layer: int | None
    layers: Sequence[Point]
    tied: Sequence[int]
    evaluation: Point | None
    classes: Sequence[ClassLine]
    worth: float | None
    zero_shot: float | None
    learners: Sequence[PageLearner]
    earlier: Sequence[EarlierLine]
    before: Sequence[Point]
    notes: Sequence[str]
    texts: Mapping[str, str]
    verdicts: Sequence[tuple[str, str, str]]
    contributions: Sequence[Contribution]
    manifest: Mapping[str, str]

    @property
    def here(self) -> Point | None:
        """The row of the table at the number of labels available, where there is one."""
        return next((row for row in self.sizes if row.n == self.n), None)

    @property
    def compared(self) -> list[tuple[int, list[tuple[Point | None, bool]]]]:
        """Rows of the table of learners: a size, and each one's point and whether it is best."""
        rows = []
        for n in sorted({p.n for learner in self.learners for p in learner.points}):
            points = [learner.at(n) for learner in self.learners]
            means = [p.mean for p in points if p is not None and p.mean is not None]
            best = max(means) if len(means) > 1 else None
            rows.append((n, [(p, p is not None and p.mean == best) for p in points]))
        return rows

    @property
    def described(self) -> str:
        """What the drawing of the curve shows, as text; empty where nothing is drawn."""
        if not self.curve:
            return ""
        first, last = self.curve[0], self.curve[-1]
        end = f"{accuracy(last.mean)} at {labels(last.n)}"
        ends = f"90 % interval {interval(last.low, last.high)}"
        if first is last:
            return f"Expected accuracy {end} ({ends})."
        moves = "rises" if (first.mean or 0) <= (last.mean or 0) else "falls"
        start = f"{accuracy(first.mean)} at {labels(first.n)}"
        return f"Expected accuracy {moves} from {start} to {end} ({ends})."


def read_answer(answer: Mapping[str, Any]) -> PageAnswer:
    """Check an answer and bring it into the page's form.

    Args:
        answer: What ``charkit estimate --format json`` prints; every key but ``accuracy`` may
            be missing.

    Raises:
        UsageError: ``accuracy`` is missing, or something that must be a number is none.
    """
    if not isinstance(answer.get("accuracy"), Sequence):
        names = ", ".join(printable(str(k)) for k in answer) or "nothing"
        raise UsageError(
            "no accuracies in the answer: expected a list under 'accuracy', got "
            f"{names}. Give what 'charkit estimate --format json' prints."
        )
    sizes = sorted(map(_point, answer["accuracy"]), key=lambda row: row.n)
    layer, n = _count(answer, "layer"), _count(answer, "n")
    curve, others = _curves(answer.get("curve") or (), layer)
    curve = curve or _drawable(sizes)
    need = _need(answer.get("labels_for_target"), max((p.n for p in curve or sizes), default=None))
    verdicts = [
        (str(row.get("code") or ""), str(row.get("sentence") or ""), str(row.get("severity") or ""))
        for row in answer.get("verdicts") or ()
    ]
    contributions = _contributions(answer.get("contributions") or ())
    lines = list(map(str, answer.get("sentences") or ()))
    n_short = len(answer.get("summary") or lines)
    short = lines[:1] + _only_here(lines[1:n_short], verdicts, contributions)
    headline, *sentences = [s for s in short if s] or [_headline(sizes, need, n)]
    observed = [
        (round(_needed(row, "n")), _number(row, "accuracy")) for row in answer.get("observed") or ()
    ]
    rows = answer.get("layers") or ()
    layers = [_point(row, "layer", "score") for row in rows]
    evaluation = answer.get("eval_accuracy")
    compared = [r for r in (answer.get("earlier") or {}).get("rounds") or () if r.get("predicted")]
    before = _drawable([_point(row) for r in compared[-1:] for row in r.get("curve") or ()])
    return PageAnswer(
        task=str(answer.get("task") or ""),
        encoder=str(answer.get("encoder") or ""),
        n=n,
        n_classes=_count(answer, "n_classes"),
        question=str(answer.get("question") or ""),
        headline=headline,
        sentences=sentences,
        details=_only_here(lines[n_short:], verdicts, contributions),
        sizes=sizes,
        curve=curve,
        others=others,
        observed=sorted((n, value) for n, value in observed if n > 0 and value is not None),
        need=need,
        layer=layer,
        layers=layers,
        tied=[p.n for p, row in zip(layers, rows, strict=True) if row.get("tied_with_best")],
        evaluation=_point({"n": n or 0, **evaluation}) if evaluation else None,
        classes=_classes(answer.get("classes") or ()),
        worth=_number(answer, "worth_labelled_rows"),
        zero_shot=_number(answer.get("zero_shot") or {}, "accuracy"),
        learners=_learners(answer.get("learners") or ()),
        earlier=[
            EarlierLine(
                round(_needed(r, "n")),
                _point(r["predicted"]),
                _point(r.get("now") or {}),
                str(r.get("found") or ""),
            )
            for r in compared
        ],
        before=[p for p in before if curve and p.n <= curve[-1].n],
        notes=list(map(str, answer.get("notes") or ())),
        texts=_texts(answer),
        verdicts=verdicts,
        contributions=contributions,
        manifest=flat(answer.get("manifest") or {}),
    )


def _learners(rows: Sequence[Mapping[str, Any]]) -> list[PageLearner]:
    found = [
        PageLearner(
            str(row.get("name") or row.get("learner") or "?"),
            sorted(map(_point, row.get("accuracy") or ()), key=lambda p: p.n),
        )
        for row in rows
    ]
    return found if len(found) > 1 else []


def _number(row: Mapping[str, Any], name: str) -> float | None:
    """Return a finite number, or None where it is missing, null or not finite."""
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real):
        raise UsageError(
            f"not a number in the answer: expected a number or null under {name!r}, got "
            f"{printable(repr(value))}. Give what 'charkit estimate --format json' prints."
        )
    return float(value) if math.isfinite(value) else None


def _count(row: Mapping[str, Any], name: str) -> int | None:
    value = _number(row, name)
    return None if value is None else round(value)


def _needed(row: Mapping[str, Any], name: str) -> float:
    value = _number(row, name)
    if value is None:
        raise UsageError(
            f"a number is missing in the answer: expected one under {name!r}, got "
            f"{printable(repr(dict(row)))}. Give what 'charkit estimate --format json' prints."
        )
    return value


def _point(row: Mapping[str, Any], n: str = "n", mean: str = "mean") -> Point:
    return Point(round(_needed(row, n)), *(_number(row, k) for k in (mean, "low", "high")))


def _drawable(rows: Sequence[Point]) -> list[Point]:
    """Return what a logarithmic axis can show, one point a size, in its order."""
    points = {row.n: row for row in rows if row.n > 0 and row.mean is not None}
    return [points[n] for n in sorted(points)]


def _curves(
    rows: Sequence[Mapping[str, Any]], layer: int | None
) -> tuple[list[Point], list[list[Point]]]:
    """Return the recommended layer's curve and those of the others."""
    grouped: dict[int, list[Point]] = {}
    for row in rows:
        own = _count(row, "layer")
        own = own if own is not None else layer if layer is not None else -1
        grouped.setdefault(own, []).append(_point(row))
    drawn = {k: _drawable(v) for k, v in sorted(grouped.items())}
    main = layer if layer in drawn else next(iter(drawn), None)
    return drawn.get(main or 0, []), [v for k, v in drawn.items() if k != main and v]


def _need(row: Mapping[str, Any] | None, largest: int | None) -> Need | None:
    if not row:
        return None
    n, known = _count(row, "n"), _count(row, "largest")
    reached = bool(row.get("reached", n is not None)) and n is not None
    return Need(
        target=_needed(row, "target"),
        n=n if reached else None,
        low=_count(row, "low"),
        high=_count(row, "high"),
        probability=_number(row, "probability"),
        largest=largest if known is None else known,
        reached=reached,
    )


def _contributions(rows: Sequence[Mapping[str, Any]]) -> list[Contribution]:
    found = []
    for row in rows:
        value, points = row.get("value"), _number(row, "points")
        unknown = value is None or (isinstance(value, Real) and not math.isfinite(value))
        shown = "" if unknown else value_text(value)  # a group of features has no value
        if points is not None:
            found.append(Contribution(str(row.get("feature", "")), shown, points))
    return sorted(found, key=lambda c: -abs(c.points))


def _classes(rows: Sequence[Mapping[str, Any]]) -> list[ClassLine]:
    found = []
    for row in rows:
        points = sorted(map(_point, row.get("recall") or ()), key=lambda p: p.n)
        if points:
            count = _count(row, "labels") or 0
            name = plain(str(row.get("class", "")), longest=60)
            found.append(ClassLine(name, count, points[0], points[-1]))
    return found


def _only_here(
    sentences: Sequence[str],
    verdicts: Sequence[tuple[str, str, str]],
    contributions: Sequence[Contribution],
) -> list[str]:
    """Return the sentences that repeat no warning and not the table of contributions."""
    warnings = [sentence for _, sentence, _ in verdicts if sentence]
    strongest = [c.feature for c in contributions[:_STRONGEST]]

    def elsewhere(sentence: str) -> bool:
        drove = len(strongest) == _STRONGEST and all(name in sentence for name in strongest)
        return drove or any(sentence.endswith(warning) for warning in warnings)

    return [s for s in sentences if s and not elsewhere(s)]


def _headline(sizes: Sequence[Point], need: Need | None, n: int | None) -> str:
    """Return the answer in one sentence, made of its numbers."""
    if need is not None:
        return f"Accuracy {need.target:g}: {need.labels}."
    known = [row for row in sizes if row.n == n] or [row for row in sizes if row.mean is not None]
    if not known or known[0].mean is None:
        return "No accuracy can be given."
    row = known[0]
    return (
        f"With {labels(row.n)}, expect an accuracy of {accuracy(row.mean)} "
        f"(90 % interval {interval(row.low, row.high)})."
    )


def _texts(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return what the sentences leave out of the texts, and what to label next."""
    majority, first = _number(answer, "majority"), answer.get("next") or {}
    values = answer.get("adequacy") or {}
    named = {} if majority is None else {"share of the largest class": accuracy(majority)}
    named |= flat({_NAMES.get(k, k): v for k, v in values.items() if k not in _IN_SENTENCES})
    if first.get("places"):
        places = ", ".join(value_text(place) for place in first["places"])
        named["label next"] = f"{first.get('unit', 'row')} {places}"
    return named
