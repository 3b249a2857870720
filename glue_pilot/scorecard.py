"""The scorecard as JSON, as a page, and as a figure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from charkit.durable import write_whole
from charkit.manifest import available_cores, code_version, package_versions
from charkit.sealed import sealed_json
from glue_pilot.scorecard_encoders import encoders_section
from metamodel.scorecard import METHOD_NAMES, OURS

NAMES = {**METHOD_NAMES, OURS: f"**{METHOD_NAMES[OURS]}**"}
SIZES = (64, 128, 256, 512)


def write_scorecard(figures: dict[str, Any], out: Path, seconds: float) -> list[Path]:
    """Write ``scorecard.json`` with its environment, and ``scorecard.md``."""
    said = {
        "figures": _plain(figures),
        "seconds": round(seconds),
        "cores": available_cores(),
        "versions": package_versions(),
        "code": code_version(),
    }
    return [
        write_whole(out / "scorecard.json", sealed_json(said)),
        write_whole(out / "scorecard.md", scorecard_page(said["figures"]).encode()),
    ]


def scorecard_page(figures: dict[str, Any]) -> str:
    """Return the scorecard as a page of Markdown.

    Args:
        figures: As in ``scorecard.json``.
    """
    lines = [
        "# Scorecard",
        "",
        "Every corpus left out in turn; pilots are single real draws. Errors are mean absolute",
        "errors in points of accuracy, averaged within a task, then over tasks.",
        "",
        "## Accuracy with more labels, all layers",
        "",
        *_accuracy(figures["accuracy"]),
        "",
        "## Accuracy with more labels, recommended layer",
        "",
        *_accuracy(figures["accuracy_recommended"]),
        "",
        "## Labels needed (pilots of 64 to 256), all layers",
        "",
        "Share told within a factor of 2 where the truth is 2, 4, 8 or 16 times the pilot; share",
        "called unreachable though reached; share called reachable though two points above what",
        "32 times the labels gave. A constant answer shows what the first figure is worth: the",
        "rank correlation over all multiples says what a method knows beyond that.",
        "",
        *_needs(figures["needs"]),
        "",
        "## Labels needed, recommended layer",
        "",
        *_needs(figures["needs_recommended"]),
        "",
        "## Buying labels for what 8 times the pilot reaches",
        "",
        *_table(
            ["method", "rounds", "target missed", "labels bought / needed, where met"],
            [
                [_name(r["method"]), r["rounds"], _share(r["failure"]), _number(r["cost_ratio"])]
                for r in figures["collection"]
            ],
        ),
        "",
        "## 90 % intervals",
        "",
        *_intervals(figures["intervals"]),
        "",
        "## Accuracy on unlabelled evaluation texts (pilots of 64 to 512)",
        "",
        *_evaluation(figures["evaluation"]),
        "",
        "## Which layer",
        "",
        *_layers(figures["layers"]),
        "",
        "## Without any label",
        "",
        *_table(
            ["labels later", "metamodel", NAMES["mean"], NAMES["chance"], "rows covered", "tasks"],
            [
                [
                    f"{r['n']:,}",
                    *(_number(r[k]) for k in ("metamodel", "mean", "chance")),
                    _share(r["covered"]),
                    r["tasks"],
                ]
                for r in figures["unlabelled"]
            ],
        ),
        *encoders_section(figures.get("encoders", [])),
    ]
    return "\n".join([*lines, ""])


def _accuracy(rows: list[dict[str, Any]]) -> list[str]:
    table = pd.DataFrame(rows)
    table = table[table["n0"].isin(SIZES)]
    places = [
        (n0, k)
        for n0 in SIZES
        for k in (2, 4, 8, 32)
        if ((table["n0"] == n0) & (table["multiple"] == k)).any()
    ]
    body = []
    for method in table["method"].unique():
        own = table[table["method"] == method].set_index(["n0", "multiple"])
        body.append([_name(method), *(_number(own["error"].get(place)) for place in places)])
    close = table[table["method"] == "metamodel"].set_index(["n0", "multiple"])["within_3"]
    body.append(["metamodel: within 3 points", *(_share(close.get(place)) for place in places)])
    return _table(["method", *(f"{n0} x {k}" for n0, k in places)], body)


def _needs(rows: list[dict[str, Any]]) -> list[str]:
    table = pd.DataFrame(rows)
    multiples = [m for m in table["multiple"].unique() if m != "all"]
    body = []
    for method in table["method"].unique():
        own = table[table["method"] == method].set_index("multiple")
        body.append(
            [
                _name(method),
                *(_share(own.loc[m, "within_2"]) for m in multiples),
                *(_share(own.loc[m, "unreachable_though_reached"]) for m in multiples),
                _share(own.loc[multiples[0], "reachable_though_not"]),
                _number(own.loc["all", "median_log2"]),
                _number(own.loc["all", "spearman"]),
            ]
        )
    head = [
        "method",
        *(f"within 2, {m}x" for m in multiples),
        *(f"unreachable, {m}x" for m in multiples),
        *("reachable though not", "median doublings off", "rank correlation"),
    ]
    return _table(head, body)


def _intervals(found: dict[str, dict[str, Any]]) -> list[str]:
    rows = [
        [
            name.replace("_", " "),
            _share(r["rows"]),
            _share(r["tasks"]),
            _number(r["width"], 3),
            _number(r["pooled_width"], 3),
            _number(r["simple_width"], 3),
        ]
        for name, r in found.items()
    ]
    head = ["pilots", "rows covered", "tasks covered", "mean width"]
    more = ["one width for all, same tasks covered", "the same around the median of power laws"]
    return _table([*head, *more], rows)


def _evaluation(found: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for part, r in found.items():
        k = [f"{n} labelled test rows" for n in r["rows"]]
        rows = [
            *(
                [_name(m), _number(error), f"{r['worth_rows'][m]:.0f}"]
                for m, error in r["error"].items()
            ),
            *(
                [name, _number(e), n]
                for name, n, e in zip(k, r["rows"], r["rows"].values(), strict=True)
            ),
        ]
        what = (
            "texts of the same task" if part == "whole" else "texts of another part of it (shift)"
        )
        lines += [
            f"{what.capitalize()}: {r['pilots']:,} rows of {r['tasks']} tasks, "
            f"{_share(r['covered'])} covered, mean width {r['width']:.3f}.",
            "",
            *_table(["method", "error", "worth labelled test rows"], rows),
            "",
        ]
    return lines[:-1]


def _layers(rows: list[dict[str, Any]]) -> list[str]:
    table = pd.DataFrame(rows)
    sizes = list(table["n"].unique())
    body = []
    for rule in table["rule"].unique():
        own = table[table["rule"] == rule].set_index("n")
        body.append(
            [
                _name(rule),
                *(_number(own.loc[n, "regret"], 2) for n in sizes),
                *(_share(own.loc[n, "top_1"]) for n in sizes),
                *(_share(own.loc[n, "top_3"]) for n in sizes),
                *(_number(own.loc[n, "kendall"], 2) for n in sizes),
            ]
        )
    heads = [f"{what}, {n:,}" for what in ("regret", "best", "in best 3", "Kendall") for n in sizes]
    note = "Regret in points against the best layer; for 1,024 labels, pilots of 512 were asked."
    return [note, "", *_table(["rule", *heads], body)]


def _name(method: str) -> str:
    return NAMES.get(method, method)


def _number(value: Any, digits: int = 1) -> str:
    known = value is not None and math.isfinite(float(value))
    return f"{float(value):.{digits}f}" if known else ""


def _share(value: Any) -> str:
    known = value is not None and math.isfinite(float(value))
    return f"{100 * float(value):.0f} %" if known else ""


def _table(head: list[str], rows: list[list[Any]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
    ]


def _plain(value: Any) -> Any:
    """Return JSON values: what is not finite becomes None."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    item = getattr(value, "item", None)
    value = item() if callable(item) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
