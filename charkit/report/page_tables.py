"""The tables of the page: sizes, layers, what drove the answer, names and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from charkit.report.page_answer import Contribution, PageAnswer
from charkit.report.page_words import accuracy, interval, text

_MOST = 12
"""Contributions beyond these are told as one row."""


@dataclass(frozen=True)
class _Column:
    """A table's column: its head, and whether it holds numbers."""

    head: str
    numbers: bool = True


_Row = tuple[Sequence[str], str]  # cells as HTML, the row's class


def _table(columns: Sequence[_Column], rows: Sequence[_Row], *, name: str, kind: str) -> str:
    kinds = [' class="number"' if c.numbers else "" for c in columns]
    head = "".join(
        f'<th scope="col"{kind}>{c.head}</th>' for c, kind in zip(columns, kinds, strict=True)
    )
    body = []
    for cells, row_class in rows:
        first, *rest = (f"{kind}>{cell}" for kind, cell in zip(kinds, cells, strict=True))
        marked = f' class="{row_class}"' if row_class else ""
        body.append(
            f'<tr{marked}><th scope="row"{first}</th>'
            + "".join(f"<td{cell}</td>" for cell in rest)
            + "</tr>"
        )
    return (
        f'<table class="{kind}" aria-label="{name}"><thead><tr>{head}</tr></thead>\n<tbody>'
        + "\n".join(body)
        + "</tbody></table>"
    )


def sizes_table(answer: PageAnswer) -> str:
    """Return the expected accuracy at each size."""
    scale = _scale([(p.low, p.mean, p.high) for p in answer.accuracy])
    rows: list[_Row] = []
    for p in answer.accuracy:
        here = p.n == answer.n
        times = p.n / answer.n if answer.n else 0
        beside = "yours" if here else f"{times:.3g} ×" if times >= 1 else ""
        cells = [
            f"{p.n:,}<small>{beside}</small>",
            accuracy(p.mean),
            interval(p.low, p.high),
            _range_bar(p.low, p.mean, p.high, scale),
        ]
        rows.append((cells, "here" if here else ""))
    columns = [_Column("labels"), _Column("accuracy"), _Column("90 % interval"), _Column("")]
    return _table(columns, rows, name="Expected accuracy by number of labels", kind="sizes")


def layers_table(answer: PageAnswer) -> str:
    """Return the score of each layer, the recommended one marked."""
    scale = _scale([(row.low, row.score, row.high) for row in answer.layers])
    rows: list[_Row] = []
    for row in answer.layers:
        chosen = row.layer == answer.layer
        words = "recommended" if chosen else "tied with it" if row.tied else ""
        cells = [
            f"{row.layer}<small>{words}</small>",
            accuracy(row.score),
            interval(row.low, row.high),
            _range_bar(row.low, row.score, row.high, scale),
        ]
        rows.append((cells, "here" if chosen else ""))
    columns = [_Column("layer"), _Column("score"), _Column("90 % interval"), _Column("")]
    return _table(columns, rows, name="Layers compared", kind="layers")


def contributions_table(contributions: Sequence[Contribution]) -> str:
    """Return what each feature added to the expected accuracy or took from it."""
    shown, rest = contributions[:_MOST], contributions[_MOST:]
    widest = max((abs(c.points) for c in shown), default=0.0) or 1.0
    rows: list[_Row] = [
        (
            [
                _breakable(c.feature),
                text(c.value),
                f"{c.points:+.1f}".replace("-", "\u2212"),
                _signed_bar(c.points / widest),
            ],
            "",
        )
        for c in shown
    ]
    if rest:
        total = f"{sum(c.points for c in rest):+.1f}".replace("-", "\u2212")
        rows.append(([f"{len(rest)} more together", "", total, ""], ""))
    columns = [
        _Column("what", numbers=False), _Column("value"), _Column("points"), _Column(""),
    ]  # fmt: skip
    return _table(columns, rows, name="What drove the answer", kind="drove")


def named_values(values: Mapping[str, str]) -> str:
    """Return names and values as a list of definitions."""
    rows = (f"<div><dt>{_breakable(k)}</dt><dd>{text(v)}</dd></div>" for k, v in values.items())
    return f'<dl class="named">{"".join(rows)}</dl>'


def _breakable(name: str) -> str:
    """Return a column's name as words: ``oof_margin`` becomes ``oof margin``."""
    return text(name.replace("_", " "))


def _scale(rows: Sequence[tuple[float | None, ...]]) -> tuple[float, float]:
    known = [v for row in rows for v in row if v is not None]
    return (min(known), max(known)) if known else (0.0, 1.0)


def _range_bar(
    low: float | None, mean: float | None, high: float | None, scale: tuple[float, float]
) -> str:
    """Return an interval and its middle as a small drawing, on one scale for the table."""
    span = scale[1] - scale[0]
    if mean is None or span <= 0:
        return ""

    def place(value: float) -> float:
        return 2 + 96 * (value - scale[0]) / span

    start, end = place(mean if low is None else low), place(mean if high is None else high)
    return (
        '<svg class="bar" viewBox="0 0 100 14" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="bar-range" x="{start:.1f}" y="4" width="{max(end - start, 0.5):.1f}" '
        f'height="6"/><rect class="bar-mean" x="{place(mean) - 1:.1f}" y="1" width="2" '
        'height="12"/></svg>'
    )


def _signed_bar(share: float) -> str:
    """Return a bar to the right for a gain, to the left for a loss; share in [-1, 1]."""
    start, kind = (50 + 48 * min(share, 0), "loss" if share < 0 else "gain")
    return (
        '<svg class="bar" viewBox="0 0 100 14" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="bar-zero" x="49.6" y="0" width="0.8" height="14"/><rect class="bar-{kind}" '
        f'x="{start:.1f}" y="3" width="{48 * abs(share):.1f}" height="8"/></svg>'
    )
