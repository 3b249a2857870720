"""The scorecard's section on encoders that were left out, where there are several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from charkit.config import people_name

COLUMNS = {
    "encoder_left_out": "**metamodel**, encoder left out",
    "metamodel": "metamodel, encoder seen",
    "last": "last value",
    "pow3": "power law, 3 parameters",
    "median3": "median of the three",
}
"""Method of `metamodel.encoder_judging.METHODS` -> what the page calls it."""


def encoders_section(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the section as lines of Markdown; nothing where there is one encoder.

    Args:
        rows: From `metamodel.encoder_judging.encoders_left_out`.
    """
    if not rows:
        return []
    head = ["encoder", "labels", *COLUMNS.values(), "rows covered", "mean width", "tasks"]
    return [
        "",
        "## Another encoder",
        "",
        "Every encoder left out in turn, together with the corpus that is asked about; beside it",
        "the metamodel that saw the encoder on other corpora. Errors as above; intervals are those",
        "of the metamodel that did not see the encoder.",
        "",
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
        *(f"| {' | '.join(_cells(row))} |" for row in rows),
    ]


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        people_name(row["encoder"]),
        f"{row['n0']} x {row['multiple']}",
        *(_number(row[method], 1) for method in COLUMNS),
        f"{100 * row['covered']:.0f} %",
        _number(row["width"], 3),
        str(row["tasks"]),
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"
