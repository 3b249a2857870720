"""What a scorecard opens with, and its sections on corpora and encoders that were left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from charkit.config import people_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE = "scorecard"
SIZES = (64, 128, 256)
MULTIPLES = (2, 4, 8)

_Rows = Sequence[Mapping[str, Any]]


def sentences(figures: Mapping[str, Any]) -> list[str]:
    """Return what is predicted, against what, how sure, and where it fails.

    Args:
        figures: As in ``scorecard.json``.
    """
    rows = [r for r in figures["gains"] if r["n0"] in SIZES and r["multiple"] in MULTIPLES]
    whole = columns(figures["gains"])
    if not whole:
        return ["There are too few corpora to compare the metamodel with its baselines."]
    lines = [
        "A pilot of 64 to 512 labels predicts what accuracy heads reach with 2 to 32 times its "
        "labels, on corpora that were left out; "
        f"for 64 to 256 labels the mean error is {_span(whole, 'error')} points.",
        f"The error of the best of {len(_BASELINES)} baselines of each column is "
        f"{_span(whole, 'best_error')} points; the metamodel's error is {_less(whole)} smaller on "
        f"average, and the paired 90 % interval of the gain is above 0 in "
        f"{sum(r['low'] > 0 for r in whole)} of {len(whole)} columns.",
    ]
    few, many = ([r for r in rows if r["classes"] == name] for name in ("up to 9", "more"))
    if few and many:
        lines.append(
            f"Tasks of at most 9 classes gain least ({_less(few)}, clear in "
            f"{sum(r['low'] > 0 for r in few)} of {len(few)} columns); tasks of more classes gain "
            f"most ({_less(many)})."
        )
    own, wide = (figures["intervals"][n] for n in ("pilots_64_to_256", "wide_64_to_256"))
    needs = {r["method"]: r for r in figures["needs"]}
    lines.append(
        f"90 % intervals cover {_share(own['rows'])} of the predictions at a mean width of "
        f"{own['width']:.2f} (the wide ones {_share(wide['rows'])} at {wide['width']:.2f}), and "
        'the probability of "reached by N labels" is off by '
        f"{_points(needs['metamodel']['calibration'])} points on average (Brier score "
        f"{needs['metamodel']['brier']:.3f}, climatology {needs['climatology']['brier']:.3f})."
    )
    lines.append(_failures(figures, own))
    return lines


_SHORT = {
    "last": "last value",
    "law": "least-squares law",
    "pow2": "2-parameter law",
    "pow3": "3-parameter law",
    "mmf4": "MMF",
    "median3": "median of laws",
    "spectral": "spectral curve",
    "mean": "other tasks",
    "shrunk": "shrunk accuracy",
}
_BASELINES = ("last", "law", "pow2", "pow3", "mmf4", "median3", "spectral", "mean", "shrunk")


def _failures(figures: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    shifted = (figures.get("evaluation") or {}).get("shifted")
    parts = [
        f"on {1 - own['tasks']:.0%} of the tasks fewer than 90 % of the predictions are in their "
        "intervals".replace("%", " %").replace("90  %", "90 %")
    ]
    if shifted:
        parts.append(
            f"where evaluation texts are unlike the labelled ones the error is "
            f"{shifted['error']['metamodel']:.1f} points"
        )
    unlabelled = figures.get("unlabelled") or []
    if unlabelled:
        worst = max(unlabelled, key=lambda r: r["metamodel"] or 0)
        parts.append(f"without any label it is {worst['metamodel']:.0f} points")
    return f"It fails in known places: {'; '.join(parts)}."


def _span(rows: _Rows, name: str) -> str:
    values = [float(r[name]) for r in rows]
    return f"{min(values):.1f} to {max(values):.1f}"


def _less(rows: _Rows) -> str:
    shares = [1 - r["error"] / r["best_error"] for r in rows]
    return f"{100 * sum(shares) / len(shares):.0f} %"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def _points(value: float) -> str:
    return f"{100 * value:.1f}"


def gains_table(rows: _Rows, classes: str) -> list[str]:
    """Return a table of Markdown: metamodel, best baseline and gain for each column.

    Args:
        rows: From `metamodel.judge.scorecard.gains`.
        classes: Which tasks: ``"all"``, ``"up to 9"`` or ``"more"``.
    """
    own = [r for r in rows if r["classes"] == classes and r["n0"] >= SIZES[0]]
    if not own:
        return ["Too few corpora."]
    heads = [f"{r['n0']} x {r['multiple']}" for r in own]
    body: dict[str, list[str]] = {
        "**metamodel**": [f"{r['error']:.1f}" for r in own],
        "best baseline": [f"{r['best_error']:.1f}" for r in own],
        "which": [_SHORT.get(str(r["best"]), str(r["best"])) for r in own],
        "gain": [f"{r['gain']:+.1f}" for r in own],
        "90 % interval of the gain": [f"{r['low']:+.1f} to {r['high']:+.1f}" for r in own],
        "bias": [f"{r['bias']:+.1f}" for r in own],
        "tasks": [str(r["tasks"]) for r in own],
    }
    return [
        f"| | {' | '.join(heads)} |",
        "|" + "---|" * (len(heads) + 1),
        *(f"| {name} | {' | '.join(cells)} |" for name, cells in body.items()),
    ]


def columns(rows: _Rows) -> list[Mapping[str, Any]]:
    """Return the rows of all tasks, pilots of 64 to 256 labels, 2 to 8 times as many.

    Args:
        rows: From `metamodel.judge.scorecard.gains`; too few corpora have none.
    """
    own = [r for r in rows if r["classes"] == "all" and r["n0"] in SIZES]
    return [r for r in own if r["multiple"] in MULTIPLES]


def gains_figure(rows: _Rows) -> Figure:
    """Draw errors of the metamodel and of the best baseline, a row a pilot size and multiple.

    Args:
        rows: From `columns`, at least one.
    """
    from charkit.report.figures.canvas import FAINT, INK, MUTED, NORMAL, SMALL, blank, keep_numbers

    own = list(rows)
    names = [f"{r['n0']} labels x {r['multiple']}" for r in own]
    less = _less(own)
    figure, axes = blank(
        title=f"The error of the metamodel is {less} below that of the best baseline",
        caption="Mean absolute error in points, corpora left out. Full mark: metamodel; "
        "open mark: the best of nine baselines of the row. Bar: where the metamodel's mark would "
        "be, by the paired 90 % interval of the gain over corpora.",
        height=0.26 * (len(own) + 1),
        left=1.35,
        right=0.3,
    )
    y = range(len(own), 0, -1)
    for place, row in zip(y, own, strict=True):
        ends = [row["best_error"] - row["high"], row["best_error"] - row["low"]]
        axes.plot(ends, [place, place], color=MUTED, linewidth=1.2)
    axes.plot(
        [r["best_error"] for r in own], list(y), "o", color=INK, markerfacecolor="white",
        markersize=6,
    )  # fmt: skip
    axes.plot([r["error"] for r in own], list(y), "o", color=INK, markersize=6)
    axes.set_yticks(list(y), names, size=SMALL)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("error in points of accuracy", size=NORMAL, color=INK)
    table = pd.DataFrame(own)[["n0", "multiple", "error", "best", "best_error", "low", "high"]]
    drawn: Figure = keep_numbers(figure, table)
    return drawn


CORPORA_PLOT = "scorecard_corpora"

_CorporaRows = Sequence[Mapping[str, Any]]


def corpora_section(rows: _CorporaRows) -> list[str]:
    """Return the section as lines of Markdown; nothing where the scorecard is an old one.

    Args:
        rows: From `metamodel.judge.leave_out.errors_by_corpora`.
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
        f"![Error by the number of corpora learned from](img/{CORPORA_PLOT}.svg)",
        "",
        "Mean error at 2, 4 and 8 times the labels on corpora left out in six parts, all layers,",
        "by the number of corpora that the metamodel learned from (drawn by chance, at most 300",
        "rows of each; the last number is all that are not left out).",
        "",
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
        *(f"| {' | '.join(cells)} |" for cells in body),
    ]


def corpora_figure(rows: _CorporaRows) -> Figure:
    """Draw the error by the number of corpora learned from, a line a pilot size.

    Args:
        rows: From `metamodel.judge.leave_out.errors_by_corpora`, at least one.
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


COLUMNS = {
    "encoder_left_out": "**metamodel**, encoder left out",
    "metamodel": "metamodel, encoder seen",
    "last": "last value",
    "pow3": "power law, 3 parameters",
    "median3": "median of the three",
}
"""Method of `metamodel.judge.leave_out.METHODS` -> what the page calls it."""


def encoders_section(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the section as lines of Markdown; nothing where there is one encoder.

    Args:
        rows: From `metamodel.judge.leave_out.encoders_left_out`.
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
