"""One HTML file that answers: what accuracy, how many labels, which layer, and what to doubt.

The page asks nothing of any network (a policy inside it forbids that), shows its whole answer
without its script, follows the light or dark theme, and can be printed. The script adds values
under the pointer and a slider for other targets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from charkit.report.pages import chart
from charkit.report.pages.answer_data import Contribution, Need, PageAnswer, read_answer
from charkit.report.pages.html import data, labels, plain, render
from charkit.store.durable import write_whole

_LONG = 110
"""A headline of more letters takes more than three lines, and is set smaller."""

_SLIDER_STEPS = (0.005, 0.001, 0.0001)
"""The first one that meets the target."""

_COLOURS = (2, 3, 6, 5)
"""Of the palette, for learners: none like the curve's own or the target's."""

BEFORE = "line before"
"""Class of the curve that the latest earlier answer predicted."""

_MOST = 12
"""Further contributions share one row."""

_MOST_CLASSES = 12
"""Further classes are counted; answer.json has them."""

# The first one with six ticks at most: they stand apart on a phone as well.
_VALUE_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)


def write_page(answer: Mapping[str, Any], path: Path) -> Path:
    """Write an answer as one HTML file that opens without a network, whole or not at all.

    Args:
        answer: What ``charkit estimate --format json`` prints; see `page_html`.
        path: Where to.

    Returns:
        The file.

    Raises:
        UsageError: The answer has no accuracies, or something that must be a number is none.
        MissingError: The folder cannot be written.
    """
    return write_whole(path, page_html(answer).encode())


def page_html(answer: Mapping[str, Any], *, title: str | None = None) -> str:
    """Return an answer as one HTML page; the same answer gives the same page.

    Args:
        answer: What ``charkit estimate --format json`` prints. Every key but ``accuracy`` may be
            missing; null and NaN are unknown numbers. Accuracies in [0, 1].
        title: Of the window. Default: made of the task's name.

    Raises:
        UsageError: The answer has no accuracies, or something that must be a number is none.
    """
    read = read_answer(answer)
    need, available = read.need, read.n
    texts = read.worth is not None or bool(read.texts or read.notes)
    larger = [p.n for p in read.sizes if available and p.n > available]
    size_words = {n: f"{n / (available or 1):.3g} ×" for n in larger}
    layer_words = dict.fromkeys(read.tied, "tied with it")
    return render(
        "answer.html",
        title=title or ": ".join(filter(None, ("charkit", read.task))),
        about=_about(read),
        question=read.question or "What accuracy can be expected?",
        headline=read.headline,
        long=len(read.headline) > _LONG,
        sentences=read.sentences,
        details=read.details,
        verdicts=read.verdicts,
        answer=read,
        tied=_ties([k for k in read.tied if k != read.layer]),
        chart=draw_curve(read),
        goal=_goal(read),
        sizes=_rows(read.sizes, available, "yours", size_words),
        layers=_rows(read.layers, read.layer, "recommended", layer_words),
        contributions=_contributions(read.contributions[:_MOST]),
        rest=read.contributions[_MOST:],
        texts=texts,
        lines=learner_lines(read),
        classes=read.classes[:_MOST_CLASSES],
        n_classes_left=len(read.classes[_MOST_CLASSES:]),
        n_cards=sum(
            map(
                bool,
                (
                    *(read.sizes, read.earlier, read.learners, read.layers, read.classes),
                    *(read.contributions, texts),
                ),
            )
        ),
        numbers=data(
            {
                "curves": [{"points": read.curve}],
                "n": available,
                "observed": read.observed,
                "need": need and [need.target, need.n, need.low, need.high],
            }
        ),
    )


def _about(answer: PageAnswer) -> list[str]:
    """Return task, encoder and sample."""
    parts = [plain(name, longest=80) for name in (answer.task, answer.encoder) if name]
    if answer.n is not None:
        parts.append(labels(answer.n) if answer.n else "no labels yet")
    return parts + ([f"{answer.n_classes:,} classes"] if answer.n_classes else [])


def _ties(tied: Sequence[int]) -> str:
    if len(tied) > 6:
        return f"{len(tied)} other layers tie with it"
    names = ", ".join(map(str, tied))
    return f"layers {names} tie" if len(tied) > 1 else f"layer {names} ties" if tied else ""


def _rows(
    points: Sequence[chart.Point], here: int | None, word: str, words: Mapping[int, str]
) -> list[tuple[chart.Point, str, bool, Markup]]:
    """Return a table's points, each with a word, whether it is marked, and its interval drawn.

    Args:
        points: Of sizes or layers.
        here: The marked one.
        word: Next to the marked one.
        words: Next to others.
    """
    known = [v for p in points for v in (p.low, p.mean, p.high) if v is not None] or [0.0]
    least, span = min(known), max(known) - min(known)

    def place(value: float) -> float:
        return 2 + 96 * (value - least) / span

    rows = []
    for p in points:
        bar, marked = Markup(""), p.n == here
        if p.mean is not None and span > 0:
            start, end = (place(p.mean if v is None else v) for v in (p.low, p.high))
            wide = max(end - start, 0.5)
            bar += chart.shape("rect", "bar-range", x=start, y=4, width=wide, height=6)
            bar += chart.shape("rect", "bar-mean", x=place(p.mean) - 1, y=1, width=2, height=12)
        rows.append((p, word if marked else words.get(p.n, ""), marked, bar))
    return rows


def _contributions(found: Sequence[Contribution]) -> list[tuple[Contribution, Markup]]:
    """Return each contribution with a bar to the right for a gain, to the left for a loss."""
    widest = max((abs(c.points) for c in found), default=0.0) or 1.0
    rows = []
    for c in found:
        share = c.points / widest
        kind, start = ("bar-loss" if share < 0 else "bar-gain"), 50 + 48 * min(share, 0)
        zero = chart.shape("rect", "bar-zero", x="49.6", y=0, width="0.8", height=14)
        own = chart.shape("rect", kind, x=start, y=3, width=48 * abs(share), height=8)
        rows.append((c, zero + own))
    return rows


def value_range(answer: PageAnswer) -> tuple[float, float, float]:
    """Return the accuracies that the chart spans within [0, 1], and the step of its ticks."""
    values = [v for p in answer.curve for v in (p.mean, p.low, p.high) if v is not None]
    values += [p.mean for rows in answer.others for p in rows if p.mean is not None]
    values += [value for _, value in answer.observed]
    values += [p.mean for p in answer.before if p.mean is not None]
    values += [p.mean for k in answer.learners for p in k.points if p.mean is not None]
    if answer.need is not None and 0 <= answer.need.target <= 1:
        values.append(answer.need.target)
    if answer.zero_shot is not None and 0 <= answer.zero_shot <= 1:
        values.append(answer.zero_shot)
    low, high = max(min(values), 0.0), min(max(values) + 0.02, 1.0)  # some air above
    step = _step(low, high)
    low = max(math.floor(low / step + 1e-9) * step, 0.0)
    high = min(math.ceil(high / step - 1e-9) * step, 1.0)
    high = min(max(high, low + 2 * step), 1.0)
    low, high = round(max(min(low, high - 2 * step), 0.0), 4), round(high, 4)
    return low, high, _step(low, high)


def _step(low: float, high: float) -> float:
    return next((s for s in _VALUE_STEPS if (high - low) / s <= 6), _VALUE_STEPS[-1])


def draw_curve(answer: PageAnswer, *, kind: str = "plot") -> Markup:
    """Return the learning curve for a screen and for a phone; nothing without a point.

    Args:
        answer: The answer.
        kind: ``"still"`` where the page's script reads another chart.
    """
    if not answer.curve:
        return Markup("")
    sizes = (
        [p.n for p in (*answer.curve, *answer.before)]
        + [n for n, _ in answer.observed]
        + [answer.n or 0]
    )
    span = chart.size_span(n for n in sizes if n)
    low, high, step = value_range(answer)
    frames = {
        "wide": chart.Frame(720, 400, 50, 20, 50, span, (low, high), step),
        "narrow": chart.Frame(320, 290, 42, 12, 48, span, (low, high), step),
    }
    return chart.draw(
        frames, lambda frame: _shapes(answer, frame), described=answer.described, kind=kind
    )


def _shapes(answer: PageAnswer, frame: chart.Frame) -> list[Markup]:
    sizes = {p.n for p in answer.sizes}
    dots = [("size", p.n, p.mean or 0.0) for p in answer.curve if p.n in sizes]
    dots += [("observed", n, value) for n, value in answer.observed]
    banded = sum(p.low is not None and p.high is not None for p in answer.curve)
    band = "band" if banded > 1 else "whisker"
    cursor = chart.line("cursor", (0, 0), (frame.top, frame.floor), shown=False)
    return [
        *chart.axes(frame, "accuracy", "labelled texts"),
        *_available(answer.n, frame),
        *(chart.curve("other", rows, frame) for rows in answer.others),
        *(chart.curve(kind, points, frame) for kind, _, points in learner_lines(answer)),
        chart.band(band, answer.curve, frame),
        chart.curve("mean", answer.curve, frame),
        *(chart.dot(kind, (frame.x(n), frame.y(value)), 4) for kind, n, value in dots),
        *_zero_shot(answer.zero_shot, frame),
        *_target(answer.need, frame),
        cursor,
        chart.dot("cursor-dot", (0, 0), 5, shown=False),
    ]


def learner_lines(answer: PageAnswer) -> list[tuple[str, str, list[chart.Point]]]:
    """Return class, name and points of each line next to the curve, which is the first learner's.

    Levels, such as zero-shot predictions', have a line of their own. What an earlier answer
    predicted is the last one.
    """
    shown = {p.n for p in answer.curve}
    lines = []
    for k, learner in enumerate(answer.learners[1:]):
        points = [p for p in learner.points if p.n in shown]
        if len({p.mean for p in points}) > 1:
            kind = f"line t{_COLOURS[k % len(_COLOURS)]} d{1 + k % 3}"
            lines.append((kind, learner.name, points))
    if len(answer.before) > 1:
        name = f"predicted with {labels(answer.earlier[-1].n)}"
        lines.append((BEFORE, name, list(answer.before)))
    return lines


def _zero_shot(value: float | None, frame: chart.Frame) -> list[Markup]:
    """Draw the accuracy of predictions that needed no label."""
    if value is None or not frame.values[0] <= value <= frame.values[1]:
        return []
    return chart.level(frame, value, "zero-shot predictions")


def _available(n: int | None, frame: chart.Frame) -> list[Markup]:
    """Mark the number of labels available."""
    if not n:
        return []
    x, words = frame.x(n), f"your {labels(n)}"
    half = 3.6 * len(words)
    middle = min(max(x, 62 + half), frame.width - half)
    return [
        chart.line("now", (x, x), (frame.top - 8, frame.floor)),
        chart.words("note", (middle, frame.top - 18), words, "middle"),
    ]


def _target(need: Need | None, frame: chart.Frame) -> list[Markup]:
    """Draw the target and the labels that it needs; hidden where no target was asked for."""
    inside = need is not None and frame.values[0] <= need.target <= frame.values[1]
    shown = need if inside else None
    value = frame.values[1] if shown is None else shown.target
    y, (first, last) = frame.y(value), frame.sizes

    def cut(n: int | None) -> float | None:
        return None if n is None else frame.x(min(max(float(n), first), last))

    low, high, n = (None, None, None)
    if shown is not None:
        low = cut(shown.low)
        high = frame.end if shown.high is None and low is not None else cut(shown.high)
        n = cut(shown.n) if shown.n is not None and shown.n <= last else None
    span = (low, high) if low is not None and high is not None else None
    x = n or 0.0
    hidden = Markup("" if shown is not None else ' visibility="hidden"')
    return [
        Markup('<g class="target"{}>').format(hidden),
        *chart.goal(frame, value, 3),
        chart.line("needed-span", span or (0.0, 0.0), (y, y), shown=span is not None),
        chart.line("needed-drop", (x, x), (y, frame.floor), shown=n is not None),
        chart.dot("needed", (x, y), 5.5, shown=n is not None),
        Markup("</g>"),
    ]


def _goal(answer: PageAnswer) -> dict[str, Any] | None:
    """Return the slider's ends, steps and start; None where the curve has too few points."""
    if len(answer.curve) < 2:
        return None
    low, high, _ = value_range(answer)
    last = answer.curve[-1].mean or high
    start = min(max(int(last * 100) / 100, low), high)
    value = start if answer.need is None else answer.need.target
    met = (s for s in _SLIDER_STEPS if abs(value / s - round(value / s)) < 1e-6)
    step = next(met, _SLIDER_STEPS[-1])
    return {"low": low, "high": high, "step": step, "value": value}
