"""The answer of ``charkit estimate`` as the page reads it: checked numbers, unknown ones None."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from charkit.config import printable
from charkit.errors import UsageError

_TELLING = 2
"""A sentence that names so many of the strongest features repeats their table."""


@dataclass(frozen=True)
class Expected:
    """An accuracy at a number of labels with its 90 % interval.

    Attributes:
        n: Labels.
        mean: The expected accuracy in [0, 1]; None where unknown, as the ends are.
        low: Lower end.
        high: Upper end.
    """

    n: int
    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Need:
    """How many labels reach a target.

    Attributes:
        target: The accuracy to reach.
        n: Labels; None where not reached.
        low: With luck so few; None where unknown.
        high: Surely so many; None where not reached by the largest size.
        reached: Whether the expected accuracy reaches the target at all.
        probability: That it does so by the largest size; None where not told.
        largest: The largest number of labels looked at; None where not told.
    """

    target: float
    n: int | None
    low: int | None
    high: int | None
    reached: bool
    probability: float | None
    largest: int | None


@dataclass(frozen=True)
class LayerScore:
    """One layer among the others.

    Attributes:
        layer: 0 for the embeddings, then 1 to the last.
        score: Its score; None where unknown, as the ends are.
        low: Lower end of its 90 % interval.
        high: Upper end.
        tied: Whether it cannot be told from the best.
    """

    layer: int
    score: float | None
    low: float | None
    high: float | None
    tied: bool


@dataclass(frozen=True)
class Verdict:
    """A warning: a code to look up, a sentence, and how grave it is."""

    code: str
    sentence: str
    severity: str


@dataclass(frozen=True)
class Contribution:
    """What one feature added to the expected accuracy, in points (hundredths)."""

    feature: str
    value: str
    points: float


@dataclass(frozen=True)
class PageAnswer:
    """All that a page can show; what the answer did not tell is None or empty.

    Attributes:
        facts: Task, encoder and mode, as far as told.
        n: Labels at hand; None where not told.
        n_classes: Classes.
        question: What was asked.
        sentences: The answer in words, the first one the most important; without those that
            repeat a warning or the table of what drove the answer.
        accuracy: The sizes of the table.
        curve: The recommended layer's dense curve, or else `accuracy`; drawable points only.
        others: The curves of the other layers.
        observed: The sample's own learning curve: labels, accuracy.
        need: Labels for the target.
        layer: The recommended layer.
        layers: All layers compared.
        evaluation: Expected accuracy on the evaluation texts; its `n` is that of the answer.
        worth: Labelled rows that would tell the same about it.
        majority: Share of the largest class among the labels.
        notes: What was guessed, dropped or left out.
        adequacy: Names and values of what is known of the sample's adequacy.
        verdicts: Warnings.
        contributions: What drove the answer, the largest first.
        manifest: Names and values of the record.
    """

    facts: Mapping[str, str]
    n: int | None
    n_classes: int | None
    question: str
    sentences: tuple[str, ...]
    accuracy: tuple[Expected, ...]
    curve: tuple[Expected, ...]
    others: Mapping[int, tuple[Expected, ...]]
    observed: tuple[tuple[int, float], ...]
    need: Need | None
    layer: int | None
    layers: tuple[LayerScore, ...]
    evaluation: Expected | None
    worth: float | None
    majority: float | None
    notes: tuple[str, ...]
    adequacy: Mapping[str, str]
    verdicts: tuple[Verdict, ...]
    contributions: tuple[Contribution, ...]
    manifest: Mapping[str, str]

    def at_hand(self) -> Expected | None:
        """Return the row of the table at the number of labels at hand, where there is one."""
        return next((row for row in self.accuracy if row.n == self.n), None)


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
    sizes = tuple(sorted(map(_expected, answer["accuracy"]), key=lambda row: row.n))
    layer = _count(answer, "layer")
    curve, others = _curves(answer.get("curve") or (), layer)
    n, evaluation = _count(answer, "n"), answer.get("eval_accuracy")
    verdicts = tuple(map(_verdict, answer.get("verdicts") or ()))
    contributions = _contributions(answer.get("contributions") or ())
    return PageAnswer(
        facts={k: str(answer[k]) for k in ("task", "encoder", "mode") if answer.get(k)},
        n=n,
        n_classes=_count(answer, "n_classes"),
        question=str(answer.get("question") or ""),
        sentences=_sentences(answer, verdicts, contributions),
        accuracy=sizes,
        curve=curve or _drawable(sizes),
        others=others,
        observed=_observed(answer.get("observed") or ()),
        need=_need(answer.get("labels_for_target")),
        layer=layer,
        layers=tuple(map(_layer, answer.get("layers") or ())),
        evaluation=_expected({"n": n or 0, **evaluation}) if evaluation else None,
        worth=_number(answer, "worth_labelled_rows"),
        majority=_number(answer, "majority"),
        notes=tuple(map(str, answer.get("notes") or ())),
        adequacy=_adequacy(answer),
        verdicts=verdicts,
        contributions=contributions,
        manifest=_named(answer.get("manifest") or {}),
    )


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


def _expected(row: Mapping[str, Any]) -> Expected:
    n = round(_needed(row, "n"))
    return Expected(n, _number(row, "mean"), _number(row, "low"), _number(row, "high"))


def _drawable(rows: Sequence[Expected]) -> tuple[Expected, ...]:
    """Return what a logarithmic axis can show, one point a size, in its order."""
    points = {row.n: row for row in rows if row.n > 0 and row.mean is not None}
    return tuple(points[n] for n in sorted(points))


def _curves(
    rows: Sequence[Mapping[str, Any]], layer: int | None
) -> tuple[tuple[Expected, ...], dict[int, tuple[Expected, ...]]]:
    """Return the recommended layer's curve and those of the others."""
    grouped: dict[int, list[Expected]] = {}
    for row in rows:
        own = _count(row, "layer")
        own = own if own is not None else layer if layer is not None else -1
        grouped.setdefault(own, []).append(_expected(row))
    drawn = {k: _drawable(v) for k, v in sorted(grouped.items())}
    main = layer if layer in drawn else next(iter(drawn), None)
    if main is None:
        return (), {}
    return drawn[main], {k: v for k, v in drawn.items() if k != main and v}


def _observed(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[int, float], ...]:
    pairs = [(round(_needed(row, "n")), _number(row, "accuracy")) for row in rows]
    return tuple(sorted((n, a) for n, a in pairs if n > 0 and a is not None))


def _need(row: Mapping[str, Any] | None) -> Need | None:
    if not row:
        return None
    n, low, high = (_count(row, name) for name in ("n", "low", "high"))
    reached = bool(row.get("reached", n is not None)) and n is not None
    return Need(
        target=_needed(row, "target"),
        n=n if reached else None,
        low=low,
        high=high,
        reached=reached,
        probability=_number(row, "probability"),
        largest=_count(row, "largest"),
    )


def _layer(row: Mapping[str, Any]) -> LayerScore:
    score, low, high = (_number(row, name) for name in ("score", "low", "high"))
    return LayerScore(
        round(_needed(row, "layer")), score, low, high, bool(row.get("tied_with_best"))
    )


def _verdict(row: Mapping[str, Any]) -> Verdict:
    return Verdict(*(str(row.get(name) or "") for name in ("code", "sentence", "severity")))


def _contributions(rows: Sequence[Mapping[str, Any]]) -> tuple[Contribution, ...]:
    found = [
        Contribution(str(row.get("feature", "")), _told(row.get("value")), points)
        for row in rows
        if (points := _number(row, "points")) is not None
    ]
    return tuple(sorted(found, key=lambda c: -abs(c.points)))


def _sentences(
    answer: Mapping[str, Any], verdicts: Sequence[Verdict], contributions: Sequence[Contribution]
) -> tuple[str, ...]:
    """Return the sentences that the page does not tell elsewhere."""
    told = [v.sentence for v in verdicts if v.sentence]
    strongest = [c.feature for c in contributions[:_TELLING]]

    def elsewhere(sentence: str) -> bool:
        drove = len(strongest) == _TELLING and all(name in sentence for name in strongest)
        return drove or any(sentence.endswith(words) for words in told)

    first, *others = map(str, answer.get("sentences") or ("",))
    return tuple(s for s in (first, *(o for o in others if not elsewhere(o))) if s)


_PLAIN_NAMES = {
    "covered": "share near a labelled text",
    "low": "at least",
    "high": "at most",
    "misled": "labelled texts beside another class",
    "bound": "error of copying the nearest label, at most",
}
_TOLD = ("sentence", "radius", "what", "n_labelled", "n_unlabelled")


def _adequacy(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return what the sentences do not tell of adequacy, and what to label next."""
    values = answer.get("adequacy") or {}
    named = _named({_PLAIN_NAMES.get(k, k): v for k, v in values.items() if k not in _TOLD})
    first = answer.get("next") or {}
    if first.get("places"):
        places = ", ".join(plain(place) for place in first["places"])
        named["label next"] = f"{first.get('unit', 'row')} {places}"
    return named


def _named(values: Mapping[str, Any]) -> dict[str, str]:
    """Return names and values as text; a mapping inside is told as ``outer inner``."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= {f"{name} {k}": v for k, v in _named(value).items()}
        else:
            flat[str(name)] = plain(value)
    return flat


def _told(value: Any) -> str:
    """Return a contribution's value; a group of figures has none, and nothing stands for it."""
    missing = value is None or (isinstance(value, Real) and not math.isfinite(float(value)))
    return "" if missing else plain(value)


def plain(value: Any) -> str:
    """Return a value of an answer for people: short numbers, lists in one line.

    >>> plain(0.84123456), plain(12345), plain(None), plain(["a", True])
    ('0.841', '12,345', 'unknown', 'a, yes')
    """
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Real):
        number = float(value)
        if not math.isfinite(number):
            return "unknown"
        if number == round(number) and abs(number) < 1e15:
            return f"{number:,.0f}"
        return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(plain, value))
    return str(value)
