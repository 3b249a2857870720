"""The measured learning curves of a run as one drawing, a line a task, for screen and phone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from charkit.report.page_chart import Frame, size_ticks
from charkit.report.page_words import text
from charkit.report.run_curves import TaskCurve, reach, value_span, value_step

N_COLOURS = 7
"""The palette's colours; further tasks take them again, dashed."""

_MOST_NAMED = 16
"""More lines than this are named in the table alone."""

_CROWD = 12
"""With more lines than this, bands are shown only for the one that is pointed at."""

_BETWEEN = 16.0
_LETTERS = 19


def line_class(at: int) -> str:
    """Return the classes of a task's colour and dashes, by its place."""
    return f"t{at % N_COLOURS} d{at // N_COLOURS % 4}"


def swatch(at: int) -> str:
    """Return a small drawing of a task's line."""
    return (
        '<svg class="swatch" viewBox="0 0 24 12" aria-hidden="true">'
        f'<path class="line {line_class(at)}" d="M1 6H23"/></svg>'
    )


def run_charts(curves: Sequence[TaskCurve], target: float) -> str:
    """Return the wide and the narrow drawing."""
    sizes = [p.n for c in curves for p in c.points]
    alone = min(sizes) == max(sizes)
    ends = min(sizes) / (1 + alone), max(sizes) * (1.0 + alone)
    low, high = value_span(curves)
    named = 170 if len(curves) <= _MOST_NAMED else 20
    wide = Frame(760, 600, 46, named, 34, 50, *ends, low, high)
    narrow = Frame(330, 330, 36, 12, 34, 48, *ends, low, high)
    return "\n".join(
        f'<div class="plot {name}">{_drawing(curves, target, frame)}</div>'
        for name, frame in (("wide", wide), ("narrow", narrow))
    )


def described(curves: Sequence[TaskCurve]) -> str:
    """Return in words what the drawing shows."""
    last = max(p.n for c in curves for p in c.points)
    first = min(p.n for c in curves for p in c.points)
    several = len({curve.means.encoder for curve in curves}) > 1
    line = "One line a task and encoder" if several else "One line a task"
    tasks = line if len(curves) > 1 else "One task"
    band = "Band" if len(curves) <= _CROWD else "Band of the line under the pointer"
    return (
        f"{tasks} from {first:,} to {last:,} labels, each at the layer that is best at its "
        f"largest size. {band}: 90 % interval over evaluation texts and training draws."
    )


def axis_name(curves: Sequence[TaskCurve]) -> str:
    """Return the name of the values: accuracy, or that it is the task's own metric."""
    metrics = {c.metric for c in curves}
    if metrics == {"accuracy"}:
        return "accuracy"
    return metrics.pop() if len(metrics) == 1 else "accuracy (or the task's own metric)"


def _drawing(curves: Sequence[TaskCurve], target: float, frame: Frame) -> str:
    ticks = f'data-n="{frame.n_low:g} {frame.n_high:g}" data-v="{frame.low:g} {frame.high:g}"'
    kind = "chart crowd" if len(curves) > _CROWD else "chart"
    parts = [
        f'<svg class="{kind}" viewBox="0 0 {frame.width} {frame.height}" role="img" '
        f'aria-label="{text(described(curves))}" data-x="{frame.left} {frame.width - frame.right}" '
        f'data-y="{frame.height - frame.bottom} {frame.top}" {ticks}>',
        *_axes(frame, axis_name(curves)),
        *(_band(curve, at, frame) for at, curve in enumerate(curves)),
        *(_line(curve, at, frame) for at, curve in enumerate(curves)),
        *_target(curves, target, frame),
        *(_names(curves, frame) if frame.right > 100 else ()),
        '<circle class="cursor-dot" cx="0" cy="0" r="5" visibility="hidden"/>',
        "</svg>",
    ]
    return "\n".join(parts)


def _f(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _axes(frame: Frame, name: str) -> list[str]:
    right, floor = frame.width - frame.right, frame.height - frame.bottom
    parts = [f'<text class="axis" x="2" y="{frame.top - 18}">{text(name)}</text>']
    step = value_step(frame.low, frame.high)
    for k in range(math.ceil(frame.low / step - 1e-9), math.floor(frame.high / step + 1e-9) + 1):
        y = _f(frame.y(k * step))
        mark = f"{k * step:.{2 if step in (0.05, 0.25) else 1}f}".replace("-", "\u2212")
        parts.append(f'<line class="grid" x1="{frame.left}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(
            f'<text class="tick" x="{frame.left - 7}" y="{y}" dy="4.5" text-anchor="end">'
            f"{mark}</text>"
        )
    parts.append(f'<line class="base" x1="{frame.left}" x2="{right}" y1="{floor}" y2="{floor}"/>')
    for n in size_ticks(frame):
        x = _f(frame.x(n))
        parts.append(f'<line class="base" x1="{x}" x2="{x}" y1="{floor}" y2="{floor + 5}"/>')
        parts.append(
            f'<text class="tick" x="{x}" y="{floor + 20}" text-anchor="middle">{n:,}</text>'
        )
    middle = _f((frame.left + right) / 2)
    parts.append(
        f'<text class="axis" x="{middle}" y="{frame.height - 8}" text-anchor="middle">'
        "labels (log scale)</text>"
    )
    return parts


def _band(curve: TaskCurve, at: int, frame: Frame) -> str:
    rows = [(p.n, p.low, p.high) for p in curve.points if p.low is not None and p.high is not None]
    upper = [f"{_f(frame.x(n))} {_f(frame.y(high))}" for n, _, high in rows]
    lower = [f"{_f(frame.x(n))} {_f(frame.y(low))}" for n, low, _ in rows]
    if not rows:
        return ""
    shape = "L".join(upper + lower[::-1])
    closed = "Z" if len(rows) > 1 else ""
    return f'<path class="range {line_class(at)}" data-task="{at}" d="M{shape}{closed}"/>'


def _line(curve: TaskCurve, at: int, frame: Frame) -> str:
    places = [(_f(frame.x(p.n)), _f(frame.y(p.mean or 0.0))) for p in curve.points]
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="2.6"/>' for x, y in places)
    drawn = "L".join(f"{x} {y}" for x, y in places)
    path = f'<path class="line" d="M{drawn}"/>' if len(places) > 1 else ""
    return f'<g class="task {line_class(at)}" data-task="{at}">{path}{dots}</g>'


def _target(curves: Sequence[TaskCurve], target: float, frame: Frame) -> list[str]:
    right, y = frame.width - frame.right, _f(frame.y(target))
    parts = [
        f'<line class="goal" x1="{frame.left}" x2="{right}" y1="{y}" y2="{y}"/>',
        f'<text class="goal-name" x="{frame.left + 6}" y="{y}" dy="-7">target {target:.2f}</text>',
    ]
    for at, curve in enumerate(curves):
        n = reach(curve, target).n
        shown = "hidden" if n is None else "inherit"
        x = _f(frame.x(n or frame.n_low))
        parts.append(
            f'<circle class="met {line_class(at)}" data-task="{at}" cx="{x}" cy="{y}" r="5" '
            f'visibility="{shown}"/>'
        )
    return parts


def _names(curves: Sequence[TaskCurve], frame: Frame) -> list[str]:
    """Name the lines beside their ends, moved apart where they would touch."""
    right = frame.width - frame.right
    ends = [frame.y(c.points[-1].mean or 0.0) for c in curves]
    parts = []
    for at, y in enumerate(_apart(ends, frame.top, frame.height - frame.bottom)):
        end = frame.x(curves[at].points[-1].n)
        name = curves[at].task
        short = name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
        parts.append(
            f'<path class="leader" d="M{_f(end + 5)} {_f(ends[at])}L{right + 6} {_f(ends[at])}'
            f'L{right + 16} {_f(y)}"/>'
            f'<circle class="end {line_class(at)}" cx="{right + 20}" cy="{_f(y)}" r="4"/>'
            f'<text class="name" data-task="{at}" x="{right + 29}" y="{_f(y)}" dy="4.5">'
            f"{text(short)}</text>"
        )
    return parts


def _apart(places: Sequence[float], top: float, bottom: float) -> list[float]:
    """Return places in the same order (descending values: ascending y), a line's height apart."""
    moved: list[float] = []
    for y in places:
        moved.append(max(y, moved[-1] + _BETWEEN) if moved else max(y, top))
    limit = bottom
    for at in reversed(range(len(moved))):
        moved[at] = min(moved[at], limit)
        limit = moved[at] - _BETWEEN
    return moved
