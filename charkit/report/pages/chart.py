"""Learning curves as SVG inside a page: axes, bands, lines, dots, a target.

Every chart is drawn twice, for a screen and for a phone, since text in a drawing shrinks with
it; the style sheet shows one of them. Colours are classes, so that they follow the theme. The
page's script moves the target and shows values under the pointer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from markupsafe import Markup

from charkit.report.pages.html import plain

# Ticks of the sizes: the first of these times powers of ten whose labels do not touch.
_FAMILIES = ((1, 2, 5), (1, 3), (1,))


class Point(NamedTuple):
    """A value at a number of labels, or of a layer, with its 90 % interval; None where unknown."""

    n: int
    mean: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Frame:
    """Where numbers are in a drawing: n on a logarithmic axis, values on a linear one.

    Attributes:
        width: Of the drawing, in its own units.
        height: Of the drawing.
        left: Margin for the values' labels.
        right: Margin.
        bottom: Margin for the sizes' labels.
        sizes: The smallest and the largest n.
        values: The smallest and the largest value.
        step: Between the ticks of the values.
        top: Margin.
    """

    width: int
    height: int
    left: int
    right: int
    bottom: int
    sizes: tuple[float, float]
    values: tuple[float, float]
    step: float
    top: int = 34

    def x(self, n: float) -> float:
        """Return the place of a number of labels."""
        low, high = self.sizes
        share = math.log(n / low) / math.log(high / low)
        return self.left + share * (self.end - self.left)

    def y(self, value: float) -> float:
        """Return the place of a value."""
        low, high = self.values
        return self.floor - (value - low) / (high - low) * (self.floor - self.top)

    @property
    def end(self) -> int:
        """Where the axis of sizes ends."""
        return self.width - self.right

    @property
    def floor(self) -> int:
        """Where the axis of sizes is."""
        return self.height - self.bottom


def size_span(sizes: Iterable[int]) -> tuple[float, float]:
    """Return the ends of the axis of sizes: a single size stands in its middle."""
    known = list(sizes)
    low, high = min(known), max(known)
    return (low, high) if low < high else (low / 2, high * 2)


def draw(
    frames: Mapping[str, Frame],
    shapes: Callable[[Frame], Iterable[Markup]],
    *,
    described: str,
    kind: str = "plot",
    more: str = "",
) -> Markup:
    """Return a chart in each of its sizes.

    Args:
        frames: ``wide`` and ``narrow``.
        shapes: What is in it, the lowest first.
        described: What it shows, for those who do not see it.
        kind: ``"still"`` where the page's script reads another chart.
        more: Further classes of the drawing, each behind a space.
    """
    return Markup("\n").join(
        Markup(
            '<div class="{} {}"><svg class="chart{}" viewBox="0 0 {} {}" role="img" '
            'aria-label="{}" data-x="{} {}" data-y="{} {}" data-n="{:g} {:g}" data-v="{:g} {:g}">\n'
            "{}\n</svg></div>"
        ).format(
            *(kind, name, more, f.width, f.height, plain(described), f.left, f.end, f.floor, f.top),
            *(*f.sizes, *f.values, Markup("\n").join(shapes(f))),
        )
        for name, f in frames.items()
    )


def shape(tag: str, kind: str, *, shown: bool = True, **given: float | str) -> Markup:
    """Return an element of a class; an underscore in an attribute's name becomes a hyphen."""
    numbers = ((name, v if isinstance(v, str) else short(v)) for name, v in given.items())
    attributes = Markup("").join(
        Markup(' {}="{}"').format(name.replace("_", "-"), value) for name, value in numbers
    )
    named = Markup(' class="{}"').format(kind) if kind else ""
    hidden = Markup("" if shown else ' visibility="hidden"')
    return Markup("<{}{}{}{}/>").format(tag, named, attributes, hidden)


def line(
    kind: str, x: tuple[float, float], y: tuple[float, float], *, shown: bool = True
) -> Markup:
    """Return a straight line."""
    return shape("line", kind, x1=x[0], x2=x[1], y1=y[0], y2=y[1], shown=shown)


def path(kind: str, places: Sequence[tuple[float, float]], end: str = "", **given: Any) -> Markup:
    """Return straight lines from place to place; the end ``"Z"`` closes them."""
    drawn = "L".join(f"{short(x)} {short(y)}" for x, y in places)
    return shape("path", kind, d=f"M{drawn}{end}", **given)


def words(
    kind: str, place: tuple[float, float], shown: str, anchor: str = "start", **given: Any
) -> Markup:
    """Return text at a place; `anchor` is which part of it is there: start, middle or end."""
    start = shape("text", kind, x=place[0], y=place[1], text_anchor=anchor, **given)
    return Markup("{}>{}</text>").format(start[:-2], plain(shown))


def short(value: float) -> str:
    """Return a number of a drawing with one decimal place, none where it is whole."""
    return f"{value:.1f}".removesuffix(".0")


def axes(frame: Frame, name: str, sizes_name: str) -> list[Markup]:
    """Return grid, ticks and names of both axes."""
    parts = [words("axis", (2, frame.top - 18), name)]
    low, high, step = *frame.values, frame.step
    places = 1 if math.isclose(step * 10, round(step * 10)) else 2
    for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        y, mark = frame.y(k * step), f"{k * step:.{places}f}".replace("-", "\u2212")
        parts.append(line("grid", (frame.left, frame.end), (y, y)))
        parts.append(words("tick", (frame.left - 8, y + 4.5), mark, "end"))
    parts.append(line("base", (frame.left, frame.end), (frame.floor, frame.floor)))
    for n in size_ticks(frame):
        x = frame.x(n)
        parts.append(line("base", (x, x), (frame.floor, frame.floor + 5)))
        parts.append(words("tick", (x, frame.floor + 20), f"{n:,}", "middle"))
    middle = ((frame.left + frame.end) / 2, frame.height - 8)
    return [*parts, words("axis", middle, f"{sizes_name} (log scale)", "middle")]


def size_ticks(frame: Frame) -> list[int]:
    """Return round sizes whose labels do not touch: 1, 2, 5 times powers of ten, or fewer."""
    low, high = frame.sizes
    for family in _FAMILIES:
        ticks = [f * 10**k for k in range(int(math.log10(high)) + 1) for f in family]
        ticks = [n for n in ticks if low <= n <= high]
        halves = [4.0 * len(f"{n:,}") for n in ticks]
        ends = [(frame.x(n) - h, frame.x(n) + h) for n, h in zip(ticks, halves, strict=True)]
        if len(ticks) >= 2 and all(a[1] + 6 < b[0] for a, b in pairwise(ends)):
            return ticks
    return [math.ceil(low), math.floor(high)]


def curve(kind: str, points: Sequence[Point], frame: Frame) -> Markup:
    """Return a line through the means; nothing where there is only one."""
    places = [(frame.x(p.n), frame.y(p.mean)) for p in points if p.mean is not None]
    return path(kind, places) if len(places) > 1 else Markup("")


def band(kind: str, points: Sequence[Point], frame: Frame, **given: Any) -> Markup:
    """Return the intervals around a curve, cut at the frame; of a single one a line."""
    low, high = frame.values
    ends = [(p.n, p.low, p.high) for p in points if p.low is not None and p.high is not None]
    upper = [(frame.x(n), frame.y(min(top, high))) for n, _, top in ends]
    lower = [(frame.x(n), frame.y(max(bottom, low))) for n, bottom, _ in ends]
    closed = "Z" if len(ends) > 1 else ""
    return path(kind, [*upper, *lower[::-1]], closed, **given) if ends else Markup("")


def dot(kind: str, place: tuple[float, float], r: float, **given: Any) -> Markup:
    """Return a dot."""
    return shape("circle", kind, cx=place[0], cy=place[1], r=r, **given)


def level(frame: Frame, value: float, name: str) -> list[Markup]:
    """Return a line at an accuracy that does not depend on labels, and its name."""
    y = frame.y(value)
    named = words("note", (frame.end - 6, y - 7), name, "end")
    return [line("level", (frame.left, frame.end), (y, y)), named]


def goal(frame: Frame, target: float, digits: int) -> list[Markup]:
    """Return the line of a target and its name."""
    y = frame.y(target)
    name = words("goal-name", (frame.left + 6, y - 7), f"target {target:.{digits}f}")
    return [line("goal", (frame.left, frame.end), (y, y)), name]
