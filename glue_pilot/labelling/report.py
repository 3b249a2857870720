"""The results of the study of what to label next, written: tables, page, figure, policy."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    save_figure,
    spread,
)
from charkit.store.durable import write_whole
from charkit.store.manifest import available_cores, code_version, package_versions
from charkit.store.sealed import sealed_json
from glue_pilot.labelling.findings import AUTO, Findings, findings_lines, policy_words
from glue_pilot.labelling.study import NextStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {
    "typiclust": "#0072b2",
    "probcover": "#56b4e9",
    "maxherding": "#009e73",
    "margin": "#d55e00",
    "badge": "#cc79a7",
    AUTO: INK,
}
"""Okabe and Ito 2008: for all eyes."""


def write_next_study(
    steps: pd.DataFrame, found: Findings, study: NextStudy, out: Path
) -> list[Path]:
    """Write ``<name>.csv``, ``.json``, ``.md``, the policy and the figure.

    Args:
        steps: From `glue_pilot.labelling.study.run_next_study`.
        found: From `glue_pilot.labelling.findings.find`.
        study: What made them.
        out: The folder; made when absent.

    Returns:
        The files written.
    """
    stem = out / study.name
    files = {
        stem.with_suffix(".csv"): steps.to_csv(index=False, lineterminator="\n"),
        stem.with_suffix(".json"): _json(numbers(found, study)),
        stem.with_suffix(".md"): page(found, study),
        out / f"{study.name}_policy.json": policy_file(found, study).decode(),
    }
    written = [write_whole(path, text.encode()) for path, text in files.items()]
    figure = gains_figure(found)
    return [*written, *save_figure(figure, out / "figures" / f"{study.name}_labels")]


def policy_file(found: Findings, study: NextStudy) -> bytes:
    """Return the policy as `charkit.answers.labelling.strategies` reads it."""
    source = (
        f"make next-study: {len(found.corpora)} corpora, {study.n_seeds} pools of "
        f"{study.n_pool:,} texts each, layer {study.layer} of {study.encoder}"
    )
    return sealed_json({"bands": [band.to_dict() for band in found.bands], "source": source})


def numbers(found: Findings, study: NextStudy) -> dict[str, Any]:
    """Return all that was found, as JSON values, beside what made it."""
    return {
        "study": {**vars(study)},
        "corpora": list(found.corpora),
        "by_budget": found.by_budget.to_dict("records"),
        "by_share": found.by_share.replace(np.inf, None).to_dict("records"),
        "adequacy": found.adequacy.to_dict("records"),
        "bands": [band.to_dict() for band in found.bands],
        "left_out": found.left_out,
        "findings": findings_lines(found),
        "cores": available_cores(),
        "versions": package_versions(),
        "code": code_version(),
    }


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def page(found: Findings, study: NextStudy) -> str:
    """Return the findings as Markdown."""
    lines = [
        f"{len(found.corpora)} tasks, one a corpus ({', '.join(found.corpora)}); of each "
        f"{study.n_seeds} pools of {study.n_pool:,} texts, labelled in steps up to "
        f"{', '.join(map(str, study.budgets))} labels; heads on layer {study.layer} of "
        f"{study.encoder}, accuracy on at most {study.n_evaluation:,} evaluation texts. Random is "
        f"the mean of {study.n_random} labellings of the same pool. In brackets: 90 % intervals, "
        "from drawing corpora with replacement.",
        "",
        *(f"- {line}" for line in findings_lines(found)),
        "",
        "Accuracy above random's, in points:",
        "",
        *_by_budget(found, "gain", "{:+.1f}"),
        "",
        "Random labels that reach the same accuracy, as a multiple of the labels spent:",
        "",
        *_by_budget(found, "saved", "{:.2f}"),
        "",
        f"`{AUTO}` is on each corpus the policy that gained most on the others "
        f"({_counted(found.left_out)}). The one that gained most on all is shipped: "
        f"{policy_words(found.bands)}.",
        "",
        "Accuracy above random's by labels a class before the step, in points:",
        "",
        *_by_share(found.by_share),
        "",
        "How often the bound on the error of copying the nearest label held, and how far above the "
        "error it was:",
        "",
        "| labels chosen by | cases | held | bound less error, points | below 1 |",
        "|---|---|---|---|---|",
        *(
            f"| {r.policy} | {r.n_cases} | {r.held:.0%} | {r.gap:.0f} | {r.informative:.0%} |"
            for r in found.adequacy.itertuples()
        ),
    ]
    return "\n".join([*lines, ""])


def _counted(left_out: dict[str, str]) -> str:
    counts = Counter(left_out.values()).most_common()
    return "; ".join(f"{name}: {count} of {len(left_out)}" for name, count in counts)


def _by_budget(found: Findings, name: str, form: str) -> list[str]:
    table = found.by_budget
    sizes = sorted(table["n"].unique())
    lines = [f"| labels | {' | '.join(f'{n:,}' for n in sizes)} |", f"|---|{'---|' * len(sizes)}"]
    if name == "gain":
        level = table.drop_duplicates("n").set_index("n")["random_accuracy"]
        cells = [f"{level[n]:.3f}" for n in sizes]
        lines.append(f"| accuracy of random | {' | '.join(cells)} |")
    for policy in dict.fromkeys(table["policy"]):
        rows = table[table["policy"] == policy].set_index("n")
        cells = [_cell(rows.loc[n], name, form) if n in rows.index else "" for n in sizes]
        lines.append(f"| {policy} | {' | '.join(cells)} |")
    return lines


def _by_share(table: pd.DataFrame) -> list[str]:
    names = list(dict.fromkeys(table["strategy"]))
    lines = [
        f"| labels a class | corpora | {' | '.join(names)} |",
        f"|---|---|{'---|' * len(names)}",
    ]
    for low in table["from"].unique():
        rows = table[table["from"] == low].set_index("strategy")
        high = float(rows["below"].iloc[0])
        bounds = f"{low:g} and more" if np.isinf(high) else f"{low:g} to {high:g}"
        cells = [_cell(rows.loc[n], "gain", "{:+.1f}") if n in rows.index else "" for n in names]
        lines.append(f"| {bounds} | {int(rows['n_corpora'].max())} | {' | '.join(cells)} |")
    return lines


def _cell(row: Any, name: str, form: str) -> str:
    value, low, high = (form.format(row[c]) for c in (name, f"{name}_low", f"{name}_high"))
    return f"{value} ({low} to {high})"


def gains_figure(found: Findings) -> Figure:
    """Draw the accuracy above random's by the number of labels, one line a policy."""
    table = found.by_budget
    figure, axes = blank(
        title="What choosing the texts to label brings over labelling at random",
        caption=f"Mean over {len(found.corpora)} corpora. {AUTO}: on each corpus the policy that "
        "the others give; the band is its 90 % bootstrap interval over corpora.",
        height=3.0,
        left=0.6,
        right=1.05,
    )
    names = [name for name in COLOURS if (table["policy"] == name).any()]
    ends = []
    for policy in names:
        rows = table[table["policy"] == policy]
        strong = policy == AUTO
        axes.plot(
            rows["n"], rows["gain"], color=COLOURS[policy], linewidth=2.2 if strong else 1.4,
            marker="o", markersize=3.5,
        )  # fmt: skip
        if strong:
            axes.fill_between(
                rows["n"], rows["gain_low"], rows["gain_high"], color=INK, alpha=0.1, linewidth=0
            )
        ends.append(float(rows["gain"].iloc[-1]))
    low, high = axes.get_ylim()
    places = spread(ends, gap=0.065 * (high - low), low=low, high=high)
    right = int(table["n"].max())
    for place, policy in zip(places, names, strict=True):
        axes.annotate(
            policy, (right, place), xytext=(8, 0), textcoords="offset points", va="center",
            size=SMALL, color=COLOURS[policy], annotation_clip=False,
        )  # fmt: skip
    axes.axhline(0, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_xscale("log", base=2)
    sizes = sorted(table["n"].unique())
    axes.set_xticks(sizes, [f"{n:,}" for n in sizes])
    axes.minorticks_off()
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_xlabel("labels", size=NORMAL, color=INK)
    axes.set_ylabel("points above random", size=NORMAL, color=INK)
    return keep_numbers(figure, table)
