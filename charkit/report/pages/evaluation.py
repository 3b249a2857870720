"""One HTML file with the answer of ``charkit evaluate``: accuracy, what more labels bring, rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from charkit.report.pages.html import data, render, value_text
from charkit.store.durable import write_whole

# Further rows are counted, not shown.
_MOST = 200

_LEFT, _SPAN = 150.0, 550.0
"""Where the accuracy 0 is drawn, and how far from it 1 is."""


def write_evaluation_page(
    answer: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], path: Path
) -> Path:
    """Write an answer as one HTML file that opens without a network, whole or not at all.

    Args:
        answer: What ``charkit evaluate --format json`` prints, without ``rows``.
        rows: Its ``rows``.
        path: Where to.

    Raises:
        MissingError: The folder cannot be written.
    """
    return write_whole(path, evaluation_html(answer, rows).encode())


def evaluation_html(answer: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return an answer as one HTML page; the same answer gives the same page.

    Args:
        answer: What ``charkit evaluate --format json`` prints, without ``rows``.
        rows: Its ``rows``.
    """
    headline, *sentences = answer["sentences"]
    shown = [{name: value_text(value) for name, value in row.items()} for row in rows[:_MOST]]
    return render(
        "evaluation.html",
        title=f"charkit evaluate: {answer['name']}",
        about=[
            answer["name"],
            answer["encoder"],
            f"{answer['n_labelled']:,} labels",
            f"{answer['n_tested']:,} test labels",
        ],
        question="How accurate is the head on these texts?",
        headline=headline,
        long=True,
        sentences=sentences,
        verdicts=[("", line, "warning") for line in answer["warnings"]],
        numbers=data({}),
        ticks=[(tick / 5, _place(tick / 5)) for tick in range(6)],
        intervals=_intervals(answer),
        rows=shown,
        n_more=len(rows) - len(shown),
        notes=answer["notes"],
    )


def _intervals(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the interval, and the one from as many random labels, as they are drawn."""
    ahead, found = answer["outlook"], answer["accuracy"]
    if found is None:
        middle, half = answer["expected_without_labels"], ahead["width"] / 2
        ends = (middle - half, middle + half)
    else:
        middle, ends = found["mean"], (found["low"], found["high"])
    half = ahead["random_width"] / 2
    lines = (("chosen", *ends), ("random", middle - half, middle + half))
    return [
        {
            "name": f"{ahead['n']:,} {kind} labels",
            "start": _place(max(low, 0.0)),
            "end": _place(min(high, 1.0)),
            "middle": _place(middle),
            "y": 22 + 32 * number,
        }
        for number, (kind, low, high) in enumerate(lines)
    ]


def _place(value: float) -> float:
    return round(_LEFT + _SPAN * value, 1)
