"""README.md: five figures and the answers of `make demo`; the last also on the page of estimate."""

from __future__ import annotations

import json
import shutil
from typing import Any

from page_writers.blocks import HERE, ROOT, replaced, with_block

FIVE = ("<!-- five figures: begin -->", "<!-- five figures: end -->")


ANSWER = ("<!-- answer: begin -->", "<!-- answer: end -->")


AGAIN = ("<!-- again: begin -->", "<!-- again: end -->")


def readme() -> str:
    """Return README.md with the block of five measured figures made anew."""
    return with_block(ROOT / "README.md", five_block(), FIVE)


def with_answer(page: str) -> str:
    """Return README's text with the answer of `make demo` made anew, where the demo has run."""
    place = ROOT / "results" / "demo" / "answer"
    if not (place / "answer.json").is_file():
        return page
    answer = json.loads((place / "answer.json").read_text(encoding="utf-8"))
    (HERE / "img").mkdir(exist_ok=True)
    shutil.copy(place / "curve.svg", HERE / "img" / "answer.svg")
    lines = [
        "```text",
        *answer["sentences"][: _summary_lines(answer)],
        *_learner_lines(answer),
        "```",
        "",
    ]
    picture = (
        "![Expected accuracy by number of labels, with its 90 % interval](docs/img/answer.svg)"
    )
    return replaced(page, "\n".join([*lines, picture, ""]), ANSWER)


def with_grown(page: str, *, details: bool) -> str:
    """Return a page with the second answer of `make demo` made anew, where the demo has run.

    Args:
        page: Its text.
        details: Whether with the lines on labels needed and chances.
    """
    place = ROOT / "results" / "demo" / "grown" / "answer.json"
    if not place.is_file():
        return page
    answer = json.loads(place.read_text(encoding="utf-8"))
    summary = answer["summary"]
    moved = [s for s in answer["sentences"] if " then, " in s] if details else []
    lines = [*summary, "", *moved] if details else [s for s in summary if "was predicted" in s]
    return replaced(page, "\n".join(["```text", *lines, "```", ""]), AGAIN)


def _learner_lines(answer: dict[str, Any]) -> list[str]:
    """Return the answer's table of learners as text; nothing without one."""
    from charkit.answers.quantities import percent, span

    columns = [["labels", *(f"{row['n']:,}" for row in answer["accuracy"])]]
    for learner in (own for own in answer.get("learners") or () if own["accuracy"]):
        at = {
            row["n"]: f"{percent(row['mean'])} ({span(row['low'], row['high'])})"
            for row in learner["accuracy"]
        }
        columns.append([learner["name"], *(at.get(row["n"], "-") for row in answer["accuracy"])])
    if len(columns) == 1:
        return []
    widths = [max(map(len, column)) for column in columns]
    rows = zip(*columns, strict=True)
    return [
        "",
        *("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows),
    ]


def _summary_lines(answer: dict[str, Any]) -> int:
    """Return how many of the sentences are the summary: those before the task's own line."""
    task = f"{answer['task']}: "
    return next(i for i, line in enumerate(answer["sentences"]) if line.startswith(task))


def five_block() -> str:
    """Return what a new user asks first, in five figures, each with what it is compared with."""
    card = json.loads((HERE / "scorecard.json").read_text(encoding="utf-8"))["figures"]

    def error(method: str) -> float:
        rows = card["accuracy_recommended"]
        found = (r for r in rows if (r["n0"], r["multiple"], r["method"]) == (128, 4, method))
        return float(next(found)["error"])

    cold = _measured("estimate", "cold, 300 + 300 texts, 6 classes")
    again = _measured("estimate", "second run, 300 + 300 texts, 6 classes")
    encode = _measured("encode", "encode mixed: float32 / peer float32")
    heads = _measured("heads", "strength chosen")
    rows = (
        (
            "How far off is the predicted accuracy at 4 times your labels?",
            f"{error('metamodel'):.1f} points",
            f"{error('last'):.1f} points if you take today's accuracy for the answer",
        ),
        (
            "How often is the truth inside the 90 % interval?",
            f"{card['intervals']['pilots_64_to_256']['rows']:.1%}".replace("%", " %"),
            "90 % is promised",
        ),
        (
            "How long does an answer take (300 + 300 short texts)?",
            f"{cold['value']:.0f} s of processor time",
            f"{again['value']:.0f} s when you ask again",
        ),
        (
            "How fast are texts encoded?",
            f"{encode['value']:,.0f} tokens a second",
            f"{encode['ratio']:.2g} times sentence-transformers",
        ),
        (
            "How fast are linear heads trained?",
            f"{heads['value']:.0f} heads a second",
            f"{heads['ratio']:.2g} times scikit-learn",
        ),
    )
    lines = ["| question | measured | compared with |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""])


def _measured(file: str, name: str) -> dict[str, Any]:
    """Return one figure of benchmarks/results."""
    place = ROOT / "benchmarks" / "results" / f"{file}.json"
    figures = json.loads(place.read_text(encoding="utf-8"))["figures"]
    return next(f for f in figures if f["name"].removeprefix(f"{file}: ") == name)
