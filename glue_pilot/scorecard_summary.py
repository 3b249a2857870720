"""What a scorecard opens with: one plot and five sentences, made from its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

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
        rows: From `metamodel.scorecard.gains`.
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
        rows: From `metamodel.scorecard.gains`; too few corpora have none.
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
