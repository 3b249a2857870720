"""The learning curve of the page as SVG: band, curve, measured points, target, labels needed.

Every chart is drawn twice, for a screen and for a phone, since text in a drawing shrinks with
it; the style sheet shows one of them. Colours are classes, so that they follow the theme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from charkit.report.page_answer import Expected, Need, PageAnswer
from charkit.report.page_words import accuracy, interval, labels, text

_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)
_FAMILIES = ((1, 2, 5), (1, 3), (1,))
_ABOVE = 0.02


@dataclass(frozen=True)
class Frame:
    """Where numbers lie in a drawing: n on a logarithmic axis, accuracies on a linear one.

    Attributes:
        width: Of the drawing, in its own units.
        height: Of the drawing.
        left: Margin for the accuracies' labels.
        right: Margin.
        top: Margin.
        bottom: Margin for the sizes' labels.
        n_low: The smallest n.
        n_high: The largest n.
        low: The smallest accuracy.
        high: The largest accuracy.
    """

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    n_low: float
    n_high: float
    low: float
    high: float

    def x(self, n: float) -> float:
        """Return where a number of labels lies."""
        share = math.log(n / self.n_low) / math.log(self.n_high / self.n_low)
        return self.left + share * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Return where an accuracy lies."""
        share = (value - self.low) / (self.high - self.low)
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)


def value_range(answer: PageAnswer) -> tuple[float, float]:
    """Return the accuracies that the chart spans, ends on whole hundredths within [0, 1]."""
    values = [v for p in answer.curve for v in (p.mean, p.low, p.high) if v is not None]
    values += [p.mean for rows in answer.others.values() for p in rows if p.mean is not None]
    values += [value for _, value in answer.observed]
    if answer.need is not None and 0 <= answer.need.target <= 1:
        values.append(answer.need.target)
    low, high = max(min(values), 0.0), min(max(values) + _ABOVE, 1.0)
    step = _step(low, high)
    low = max(math.floor(low / step + 1e-9) * step, 0.0)
    high = min(math.ceil(high / step - 1e-9) * step, 1.0)
    high = min(max(high, low + 2 * step), 1.0)
    return round(max(min(low, high - 2 * step), 0.0), 4), round(high, 4)


def _step(low: float, high: float) -> float:
    return next((s for s in _STEPS if (high - low) / s <= 6), _STEPS[-1])


def charts(answer: PageAnswer) -> str:
    """Return the wide and the narrow drawing, or nothing where no point can be drawn."""
    if not answer.curve:
        return ""
    sizes = [p.n for p in answer.curve] + [n for n, _ in answer.observed]
    if answer.n:
        sizes.append(answer.n)
    alone = min(sizes) == max(sizes)
    n_low, n_high = min(sizes) / (1 + alone), max(sizes) * (1.0 + alone)
    low, high = value_range(answer)
    wide = Frame(720, 400, 50, 20, 34, 50, n_low, n_high, low, high)
    narrow = Frame(320, 290, 42, 12, 34, 48, n_low, n_high, low, high)
    return "\n".join(
        f'<div class="plot {name}">{_drawing(answer, frame)}</div>'
        for name, frame in (("wide", wide), ("narrow", narrow))
    )


def described(answer: PageAnswer) -> str:
    """Return in words what the drawing shows."""
    first, last = answer.curve[0], answer.curve[-1]
    end = f"{accuracy(last.mean)} at {labels(last.n)}"
    ends = f"90 % interval {interval(last.low, last.high)}"
    if first is last:
        return f"Expected accuracy {end} ({ends})."
    moves = "rises" if (first.mean or 0) <= (last.mean or 0) else "falls"
    start = f"{accuracy(first.mean)} at {labels(first.n)}"
    return f"Expected accuracy {moves} from {start} to {end} ({ends})."


def _drawing(answer: PageAnswer, frame: Frame) -> str:
    parts = [
        f'<svg class="chart" viewBox="0 0 {frame.width} {frame.height}" role="img" '
        f'aria-label="{text(described(answer))}" data-x="{frame.left} {frame.width - frame.right}" '
        f'data-y="{frame.height - frame.bottom} {frame.top}" '
        f'data-n="{_f(frame.n_low)} {_f(frame.n_high)}" data-v="{frame.low:g} {frame.high:g}">',
        *_axes(frame),
        *_here(answer, frame),
        *(f'<path class="other" d="{_path(rows, frame)}"/>' for rows in answer.others.values()),
        *_curve(answer.curve, {p.n for p in answer.accuracy}, frame),
        *(_dot("observed", n, value, frame) for n, value in answer.observed),
        *_target(answer.need, frame),
        *_cursor(frame),
        "</svg>",
    ]
    return "\n".join(parts)


def _f(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _path(rows: Sequence[Expected], frame: Frame) -> str:
    points = (f"{_f(frame.x(p.n))} {_f(frame.y(p.mean))}" for p in rows if p.mean is not None)
    return "M" + "L".join(points)


def _line(name: str, x: tuple[float, float], y: tuple[float, float]) -> str:
    return f'<line class="{name}" x1="{_f(x[0])}" y1="{_f(y[0])}" x2="{_f(x[1])}" y2="{_f(y[1])}"/>'


def _text(name: str, x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text class="{name}" x="{_f(x)}" y="{_f(y)}" text-anchor="{anchor}">{words}</text>'


def _axes(frame: Frame) -> list[str]:
    right, floor = frame.width - frame.right, frame.height - frame.bottom
    parts = [_text("axis", 2, frame.top - 18, "accuracy")]
    step = _step(frame.low, frame.high)
    places = 2 if step < 0.1 else 1
    for k in range(math.ceil(frame.low / step - 1e-9), math.floor(frame.high / step + 1e-9) + 1):
        y = frame.y(k * step)
        parts.append(_line("grid", (frame.left, right), (y, y)))
        parts.append(_text("tick", frame.left - 8, y + 4.5, f"{k * step:.{places}f}", "end"))
    parts.append(_line("base", (frame.left, right), (floor, floor)))
    for n in size_ticks(frame):
        x = frame.x(n)
        parts.append(_line("base", (x, x), (floor, floor + 5)))
        parts.append(_text("tick", x, floor + 20, f"{n:,}", "middle"))
    middle = (frame.left + right) / 2
    parts.append(_text("axis", middle, frame.height - 8, "labelled texts (log scale)", "middle"))
    return parts


def size_ticks(frame: Frame) -> list[int]:
    """Return round sizes whose labels do not touch: 1, 2, 5 times powers of ten, or fewer."""
    decades = range(int(math.log10(frame.n_high)) + 1)
    for family in _FAMILIES:
        ticks = [f * 10**k for k in decades for f in family]
        ticks = [n for n in ticks if frame.n_low <= n <= frame.n_high]
        halves = [4.0 * len(f"{n:,}") for n in ticks]
        ends = [(frame.x(n) - h, frame.x(n) + h) for n, h in zip(ticks, halves, strict=True)]
        apart = all(a[1] + 6 < b[0] for a, b in pairwise(ends))
        if len(ticks) >= 2 and apart:
            return ticks
    return [math.ceil(frame.n_low), math.floor(frame.n_high)]


def _here(answer: PageAnswer, frame: Frame) -> list[str]:
    """Mark the number of labels at hand."""
    if not answer.n:
        return []
    x, words = frame.x(answer.n), f"your {labels(answer.n)}"
    half = 3.6 * len(words)
    middle = min(max(x, 62 + half), frame.width - half)
    return [
        _line("now", (x, x), (frame.top - 8, frame.height - frame.bottom)),
        _text("note", middle, frame.top - 18, words, "middle"),
    ]


def _curve(curve: Sequence[Expected], sizes: set[int], frame: Frame) -> list[str]:
    """Draw the band, the line, and a dot at each size of the table."""
    banded = [(frame.x(p.n), p.low, p.high) for p in curve if None not in (p.low, p.high)]
    upper = [f"{_f(x)} {_f(frame.y(min(high or 0, frame.high)))}" for x, _, high in banded]
    lower = [f"{_f(x)} {_f(frame.y(max(low or 0, frame.low)))}" for x, low, _ in banded]
    parts = []
    if len(banded) > 1:
        parts.append(f'<path class="band" d="M{"L".join(upper + lower[::-1])}Z"/>')
    elif banded:
        parts.append(f'<path class="whisker" d="M{upper[0]}L{lower[0]}"/>')
    if len(curve) > 1:
        parts.append(f'<path class="mean" d="{_path(curve, frame)}"/>')
    return [*parts, *(_dot("size", p.n, p.mean or 0.0, frame) for p in curve if p.n in sizes)]


def _dot(name: str, n: int, value: float, frame: Frame) -> str:
    return f'<circle class="{name}" cx="{_f(frame.x(n))}" cy="{_f(frame.y(value))}" r="4"/>'


def _target(need: Need | None, frame: Frame) -> list[str]:
    """Draw the target and the labels that it needs; hidden where no target was asked for."""
    shown = need is not None and frame.low <= need.target <= frame.high
    value = need.target if need is not None and shown else frame.high
    right, floor, y = frame.width - frame.right, frame.height - frame.bottom, frame.y(value)
    hidden = "" if shown else ' visibility="hidden"'
    parts = [
        f'<g class="target"{hidden}>',
        _line("goal", (frame.left, right), (y, y)),
        _text("goal-name", frame.left + 6, y - 7, f"target {value:.3f}"),
    ]
    low, high, n = _inside(need, frame) if shown else (None, None, None)
    span = (frame.x(low), frame.x(high)) if low and high else (0.0, 0.0)
    x = frame.x(n) if n else 0.0
    parts += [
        _hide(_line("needed-span", span, (y, y)), hide=not (low and high)),
        _hide(_line("needed-drop", (x, x), (y, floor)), hide=not n),
        _hide(f'<circle class="needed" cx="{_f(x)}" cy="{_f(y)}" r="5.5"/>', hide=not n),
        "</g>",
    ]
    return parts


def _inside(need: Need | None, frame: Frame) -> tuple[float | None, float | None, float | None]:
    """Return the ends and the middle of the labels needed, cut at the frame's sizes."""
    if need is None:
        return None, None, None

    def cut(n: int | None) -> float | None:
        return None if n is None else min(max(float(n), frame.n_low), frame.n_high)

    high = frame.n_high if need.high is None and need.low is not None else cut(need.high)
    outside = need.n is None or need.n > frame.n_high
    return cut(need.low), high, None if outside else cut(need.n)


def _hide(element: str, *, hide: bool) -> str:
    return element.replace("/>", ' visibility="hidden"/>') if hide else element


def _cursor(frame: Frame) -> list[str]:
    """Draw what follows the pointer; the page's script shows it."""
    return [
        _hide(_line("cursor", (0, 0), (frame.top, frame.height - frame.bottom)), hide=True),
        _hide('<circle class="cursor-dot" cx="0" cy="0" r="5"/>', hide=True),
    ]
