"""What the failure cases show: shares by kind, figures, and the finding in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from charkit.report.figures.canvas import (
    FAINT,
    INK,
    MUTED,
    NORMAL,
    SMALL,
    blank,
    keep_numbers,
    safe,
)
from glue_pilot.experiments.dots import MARKS, dots_figure
from glue_pilot.experiments.failures_cases import KINDS, NOISE, PLAIN
from glue_pilot.siblings import resampled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES = {
    "right": "told right",
    "misleading": "misleading",
}
"""Column of the table -> what the figure calls it."""


def scores(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a kind: cases, corpora, shares, and 90 % intervals over corpora.

    Args:
        table: One row a case.
    """
    rows = []
    for kind in KINDS:
        part = table[table["kind"] == kind]
        if part.empty:
            continue
        row: dict[str, object] = {
            "kind": kind,
            "cases": len(part),
            "corpora": part["corpus"].nunique(),
            "inside": float(part["inside"].mean()),
            "evaluation_inside": float(part["evaluation_inside"].mean()),
            "verdict_right": float(part["verdict_right"].mean()),
            "refused": float(part["refused"].mean()),
        }
        for name in MEASURES:
            found = resampled(part[name].to_numpy(np.float64), list(part["corpus"]))
            row |= {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}
        rows.append(row)
    return pd.DataFrame(rows)


def title(told: pd.DataFrame) -> str:
    """Return the finding in one line."""
    shares = np.average(told["right"], weights=told["cases"])
    worst = told.sort_values(["right", "misleading"], ascending=[True, False]).iloc[0]
    return (
        f"Told right in {shares:.0%} of {told['cases'].sum()} cases, least often where there is "
        f"{_of(worst['kind'])} ({worst['right']:.0%})"
    )


def _of(kind: str) -> str:
    return {"tiny sample": "a tiny sample", "shifted texts": "a shift"}.get(kind, kind)


def finding(table: pd.DataFrame, told: pd.DataFrame, *, multiple: int, seen: bool) -> str:
    """Return what was found, in Markdown; every number is taken from the tables.

    Args:
        table: One row a case.
        told: From `scores`.
        multiple: Of the labels at hand, at which the truth was measured.
        seen: Whether the metamodel had learned from these corpora.
    """
    right, misleading, inside = (table[name].mean() for name in ("right", "misleading", "inside"))
    lines = [
        f"{len(table)} cases of {table['corpus'].nunique()} corpora were made to fail, each in one "
        "known way or in none, and put to `charkit estimate`. A case is told right when the "
        "verdict that is called for is among those given; where none is called for, when the "
        f"answer is not refused and its 90 % interval at {multiple} times the labels contains what "
        "heads then reached. An answer is misleading when a truth lies outside its interval and "
        "nothing warned of that.",
        f"**{right:.0%} of the cases were told right, {misleading:.0%} were misleading; the "
        f"interval at {multiple} times the labels contained the truth in {inside:.0%}.**",
        *(_kind_line(row) for _, row in told.iterrows()),
        _unseen_line(table),
        _noise_line(table, multiple),
        _limits(seen),
    ]
    return "\n\n".join(line for line in lines if line)


def _kind_line(row: pd.Series) -> str:
    missed = "" if row["misleading"] == 0 else f", misleading {row['misleading']:.0%}"
    return (
        f"- {row['kind']} ({row['cases']} cases, {row['corpora']} corpora): told right "
        f"{row['right']:.0%} ({row['right_low']:.0%} to {row['right_high']:.0%}), refused "
        f"{row['refused']:.0%}, interval holds {row['inside']:.0%}, on the evaluation texts "
        f"{row['evaluation_inside']:.0%}{missed}."
    )


def _unseen_line(table: pd.DataFrame) -> str:
    made = table["generated"].astype(bool)
    if made.all() or not made.any():
        return ""
    return (
        f"Of the {made.sum()} cases made of generated tasks {table.loc[made, 'right'].mean():.0%} "
        f"were told right, of the {(~made).sum()} of real ones "
        f"{table.loc[~made, 'right'].mean():.0%}."
    )


def _noise_line(table: pd.DataFrame, multiple: int) -> str:
    plain, noise = (table[table["kind"] == kind] for kind in (PLAIN, NOISE))
    if plain.empty or noise.empty:
        return ""
    warned = noise["warned"].mean()
    drop = 100 * (plain["truth"].mean() - noise["truth"].mean())
    speaks = "no verdict names it" if warned == 0 else f"{warned:.0%} of the answers were refused"
    return (
        f"Noise in the labels costs {drop:.0f} points at {multiple} times the labels, measured on "
        f"labels as noisy; {speaks}: the tool cannot tell noise from a hard task, it can only "
        "tell what to expect."
    )


def _limits(seen: bool) -> str:
    metamodel = (
        "The shipped metamodel was asked, which had learned from most of these corpora: intervals "
        "look better than they are for new tasks (generated ones are new to it)."
        if seen
        else "The metamodel was fitted anew without any corpus of these cases; the limits of the "
        "verdicts were once set on a few of them, and stayed."
    )
    return (
        f"{metamodel} The truths are accuracies on a few hundred texts, whose own sampling error "
        "counts against the interval here. Another language is played by Latin letters changed "
        "for others, which is easier to notice than a language close to English."
    )


# -- figures ----------------------------------------------------------------------------------


def draw(
    table: pd.DataFrame, told: pd.DataFrame, *, title: str, multiple: int
) -> dict[str, Figure]:
    """Return the shares by kind, and every case: what was told beside what is true."""
    rows = pd.DataFrame(
        {
            "method": row["kind"],
            "series": words,
            "value": row[name],
            "low": row[f"{name}_low"],
            "high": row[f"{name}_high"],
        }
        for _, row in told.iterrows()
        for name, words in MEASURES.items()
    )
    shares = dots_figure(
        rows,
        title=title,
        caption="Share of cases, 90 % interval over corpora. Told right: the verdict that is "
        "called for was given, or where none is, the interval held. Misleading: a truth outside "
        "its interval, and no warning.",
        label="share of the cases",
        limits=(-0.03, 1.03),
    )
    return {"": shares, "cases": _cases_figure(table, multiple)}


def _cases_figure(table: pd.DataFrame, multiple: int) -> Figure:
    wrong = int((~table["inside"]).sum())
    silent = int((~table["inside"] & ~table["warned"]).sum())
    figure, axes = blank(
        title=f"{wrong} of {len(table)} intervals at {multiple} times the labels miss the truth, "
        f"{silent} of them unwarned",
        caption="A mark a case: expected accuracy with its 90 % interval beside what heads reached "
        f"with {multiple} times the labels. On the line they agree.",
        height=3.6,
        left=0.6,
        right=0.2,
    )
    groups = {
        "no warning": ~table["warned"],
        "warned or refused": table["warned"].astype(bool),
    }
    for (name, rows), (colour, mark) in zip(groups.items(), MARKS, strict=False):
        part = table[rows]
        axes.vlines(part["truth"], part["low"], part["high"], color=colour, linewidth=1, alpha=0.35)
        axes.plot(part["truth"], part["mean"], mark, color=colour, markersize=4, label=name)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0.5)
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.01)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(
        safe(f"accuracy reached with {multiple} times the labels"), size=NORMAL, color=INK
    )
    axes.set_ylabel("accuracy expected", size=NORMAL, color=INK)
    axes.legend(loc="upper left", fontsize=SMALL, frameon=False, labelcolor=INK)
    columns = ["kind", "case", "task", "truth", "mean", "low", "high", "warned"]
    return keep_numbers(figure, table[columns])
