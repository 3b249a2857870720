"""The scorecard's section on how much there was to learn from, as text and as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE = "scorecard_corpora"

_Rows = Sequence[Mapping[str, Any]]


def corpora_section(rows: _Rows) -> list[str]:
    """Return the section as lines of Markdown; nothing where the scorecard is an old one.

    Args:
        rows: From `metamodel.corpora_judging.errors_by_corpora`.
    """
    if not rows:
        return []
    table = pd.DataFrame(list(rows))
    sizes = sorted(table["n0"].unique())
    body = []
    for corpora, own in table.groupby("corpora"):
        errors = own.set_index("n0")["error"]
        body.append([str(corpora), *(f"{errors[n0]:.2f}" for n0 in sizes), f"{errors.mean():.2f}"])
    law = table.groupby("n0")["law"].first()
    body.append(["power law", *(f"{law[n0]:.2f}" for n0 in sizes), f"{law.mean():.2f}"])
    head = ["corpora learned from", *(f"{n0} labels" for n0 in sizes), "mean"]
    return [
        "",
        "## Corpora learned from",
        "",
        f"![Error by the number of corpora learned from](img/{PICTURE}.svg)",
        "",
        "Mean error at 2, 4 and 8 times the labels on corpora left out in six parts, all layers,",
        "by the number of corpora that the metamodel learned from (drawn by chance, at most 300",
        "rows of each; the last number is all that are not left out).",
        "",
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
        *(f"| {' | '.join(cells)} |" for cells in body),
    ]


def corpora_figure(rows: _Rows) -> Figure:
    """Draw the error by the number of corpora learned from, a line a pilot size.

    Args:
        rows: From `metamodel.corpora_judging.errors_by_corpora`, at least one.
    """
    from charkit.report.figures.canvas import FAINT, INK, NORMAL, SMALL, blank, keep_numbers

    table = pd.DataFrame(list(rows))
    counts = sorted(table["corpora"].unique())
    figure, axes = blank(
        title="Error by the number of corpora learned from",
        caption="Mean absolute error in points at 2, 4 and 8 times the labels of the pilot, on "
        "corpora left out. Dashed: the power law through the pilot's own curve, which learns from "
        "no other task.",
        height=2.6,
        left=0.7,
        right=1.0,
    )
    for n0, own in table.groupby("n0"):
        axes.plot(own["corpora"], own["error"], "o-", color=INK, markersize=4, linewidth=1.2)
        axes.axhline(own["law"].iloc[0], color=FAINT, linestyle="--", linewidth=1.0)
        last = own.iloc[-1]
        axes.annotate(
            f"{n0} labels", (last["corpora"], last["error"]), xytext=(6, 0),
            textcoords="offset points", size=SMALL, color=INK, va="center",
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(n) for n in counts], size=SMALL)
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("corpora learned from", size=NORMAL, color=INK)
    axes.set_ylabel("error in points", size=NORMAL, color=INK)
    drawn: Figure = keep_numbers(figure, table)
    return drawn
