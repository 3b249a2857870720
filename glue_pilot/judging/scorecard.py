"""The scorecard as JSON, as a page, and as a figure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from charkit.report.figures.canvas import save_figure
from charkit.store.durable import write_whole
from charkit.store.manifest import available_cores, code_version, package_versions
from charkit.store.sealed import sealed_json
from glue_pilot.judging.summary import (
    CORPORA_PLOT,
    PICTURE,
    columns,
    corpora_figure,
    corpora_section,
    encoders_section,
    gains_figure,
    gains_table,
    sentences,
)
from metamodel.judge.rounds import LAWS, RULES
from metamodel.judge.scorecard import METHOD_NAMES, OURS

NAMES = {**METHOD_NAMES, OURS: f"**{METHOD_NAMES[OURS]}**"}
SIZES = (64, 128, 256, 512)


def write_scorecard(
    figures: dict[str, Any], out: Path, seconds: float, *, others: dict[str, Any] | None = None
) -> list[Path]:
    """Write ``scorecard.json`` with its environment, ``scorecard.md`` and its figure.

    Args:
        figures: From `metamodel.judge.evaluate.evaluate`.
        out: Folder.
        seconds: What they took.
        others: An earlier scorecard, whose other sections stay as they are.
    """
    kept = others or {}
    said = {
        "figures": kept.get("figures", {}) | _plain(figures),
        "seconds": round(seconds),
        "cores": available_cores(),
        "versions": package_versions(),
        "code": code_version(),
    }
    if others is not None:
        made = {name: said[name] for name in ("seconds", "cores", "versions", "code")}
        made |= {"sections": sorted(figures)}
        said |= {name: kept[name] for name in made if name in kept} | {"made_later": made}
    (out / "figures").mkdir(parents=True, exist_ok=True)
    drawn = columns(said["figures"]["gains"])
    pictures = save_figure(gains_figure(drawn), out / "figures" / PICTURE) if drawn else []
    learned = said["figures"].get("corpora", [])
    if learned:
        place = out / "figures" / CORPORA_PLOT
        save_figure(corpora_figure(learned), place)
    return [
        *pictures[:1],
        write_whole(out / "scorecard.json", sealed_json(said)),
        write_whole(out / "scorecard.md", scorecard_page(said["figures"]).encode()),
    ]


def scorecard_page(figures: dict[str, Any]) -> str:
    """Return the scorecard as a page of Markdown.

    Args:
        figures: As in ``scorecard.json``.
    """
    sections = (
        _opening(figures),
        _against_best(figures),
        _floor(figures["floor"]),
        _every_method(figures),
        _reached(figures),
        _again(figures["again"]),
        _buying(figures["money"]),
        ["## 90 % intervals, and the wide ones that hold on 9 tasks in 10", ""],
        [*_intervals(figures["intervals"]), ""],
        ["## Accuracy on unlabelled evaluation texts (pilots of 64 to 512)", ""],
        [*_evaluation(figures["evaluation"]), ""],
        ["## Which layer", "", *_layers(figures["layers"]), ""],
        _without_labels(figures["unlabelled"]),
        corpora_section(figures.get("corpora", [])),
        encoders_section(figures.get("encoders", [])),
    )
    return "\n".join([*(line for section in sections for line in section), ""])


def _opening(figures: dict[str, Any]) -> list[str]:
    picture = [f"![Error of the metamodel and of the best baseline](img/{PICTURE}.svg)", ""]
    return [
        "# Scorecard",
        "",
        *(picture if columns(figures["gains"]) else []),
        *(f"{place}. {line}" for place, line in enumerate(sentences(figures), 1)),
        "",
        "Corpora left out in twelve parts; pilots are single real draws. Errors are mean absolute",
        "errors in points of accuracy, averaged within a task, then over tasks. The best baseline",
        "is chosen by column after the outcome, which favours it; the gain is paired by task,",
        "with a bootstrap over corpora, widened by the t quantile.",
        "",
    ]


_GROUPS = {"up to 9": "Tasks of at most 9 classes:", "more": "Tasks of more classes:"}


def _against_best(figures: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, layers, groups in (
        ("gains", "all layers", ("up to 9", "more")),
        ("gains_recommended", "recommended layer", ("up to 9",)),
    ):
        lines += [f"## Against the best baseline, {layers}", "", *gains_table(figures[name], "all")]
        for group in groups:
            lines += ["", _GROUPS[group], "", *gains_table(figures[name], group)]
        lines.append("")
    return lines


def _floor(rows: list[dict[str, Any]]) -> list[str]:
    shown = [r for r in rows if r["n0"] in SIZES]
    if not shown:
        return []
    multiples = [name.removeprefix("error_") for name in shown[0] if name.startswith("error_")]
    head = ["labels", "accuracy on the sample", "binomial deviation of n labels"]
    head += [f"metamodel, {k} x" for k in multiples]
    body = [
        [
            f"{r['n0']:,}",
            *(_number(r[name]) for name in ("sample", "binomial")),
            *(_number(r[f"error_{k}"]) for k in multiples),
            r["tasks"],
        ]
        for r in shown
    ]
    return [
        "## The floor: what a small sample costs before anything is extrapolated",
        "",
        "A pilot of n labels does not know its own accuracy either. *Accuracy on the sample*: how",
        "far off it is as an answer for n labels. *Binomial deviation*: how far off the share of",
        "right answers among n texts is by chance, even if nothing else goes wrong. Counting right",
        "answers in the sample cannot be better than that, for n or for more labels. The metamodel",
        "also knows other tasks, so it can. *Metamodel, 1 x*: its error for n labels, its own",
        "floor; what comes on top for more labels is the cost of extrapolation. Errors in points,",
        f"all layers of pilots whose accuracy is known up to {multiples[-1]} times their labels.",
        "",
        *_table([*head, "tasks"], body),
        "",
    ]


def _every_method(figures: dict[str, Any]) -> list[str]:
    return [
        "## Every method, all layers",
        "",
        "The metamodel and the baselines are fitted with corpora left out in twelve parts; its",
        "parts, the tiers (ridge regression on ever more features) and every feature at once with",
        "corpora left out in six parts and at most 300 rows of each.",
        "",
        *_accuracy(figures["accuracy"]),
        "",
        "## Every method, recommended layer",
        "",
        *_accuracy(figures["accuracy_recommended"]),
        "",
    ]


def _reached(figures: dict[str, Any]) -> list[str]:
    parts = [
        [
            f"{_share(r['low'])} to {_share(r['high'])}",
            *(_share(r[n]) for n in ("predicted", "happened", "share")),
        ]
        for r in figures["reliability"]
    ]
    return [
        "## Reached by N labels? (pilots of 64 to 256), all layers",
        "",
        "Targets fixed beforehand: the accuracy on the sample and 2, 5, 10 points more; 70, 80,",
        "90 %. Event: reached with at most N labels, N each doubling up to 32 times the pilot. The",
        "Brier score is then the CRPS of log2 of the need. Laws have the metamodel's own spread.",
        "Called reachable: a probability of one half by the last size that is known.",
        "",
        *_needs(figures["needs"]),
        "",
        "Predicted and happened, in fifths of the probability:",
        "",
        *_table(["probability", "predicted", "happened", "share of the cases"], parts),
        "",
        "## Reached by N labels?, recommended layer",
        "",
        *_needs(figures["needs_recommended"]),
        "",
    ]


def _again(rows: list[dict[str, Any]]) -> list[str]:
    head = ["labels later", "forecast with", "error", "bias", "rows covered", "width"]
    head += ["expected then, in the interval", "error less than the first one's", "tasks"]
    body = [
        [
            *(f"{r['n']:,}", r["n0"], _number(r["error"]), f"{r['bias']:+.1f}"),
            *(_share(r["covered"]), _number(r["width"]), _share(r["inside"])),
            _interval(r, ("better", "low", "high"), 1) if r["better"] else "",
            r["tasks"],
        ]
        for r in rows
    ]
    return [
        "## Forecast again with more labels",
        "",
        "Pilots of one draw are nested: the same draws at every number of labels, each at the",
        "layer that it recommends. Error, bias and width in points.",
        "",
        *_table(head, body),
        "",
    ]


def _buying(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    table = pd.DataFrame(rows)
    cases, tasks = (int(table[name].max()) for name in ("cases", "tasks"))
    lines = [
        "## Buying labels in rounds",
        "",
        f"{cases:,} targets on {tasks} tasks: the accuracy on a sample of 64 labels and 2, 5, 10",
        "points more; 70, 80, 90 %; none reached with the 64. A method plans, buys, the real head",
        "is trained, and where the target is not reached it forecasts again, from the largest",
        "pilot with at most the labels bought. Labels end with the task's own (at most 4,096);",
        f"{_share(table['beyond'].max())} of the targets are beyond them and cost the penalty",
        "whatever is bought. Regret: mean cost above that of who knows the need, in prices of a",
        "label; in brackets the share of targets missed. Bootstrap draws: the pilot's own points",
        "drawn again from binomials; the other law has the metamodel's spread. Last rows: regret",
        "less the metamodel's, with a paired 90 % interval; the best is chosen by column after the",
        "outcome, which favours it.",
        "",
    ]
    for rounds, part in table.groupby("rounds"):
        penalties = sorted(part["penalty"].unique())
        head = [f"{rounds} round{'' if rounds == 1 else 's'}: method"]
        head += [f"missing costs {penalty:,.0f} labels" for penalty in penalties]
        body = []
        for method, own in part.groupby("method", sort=False):
            at = own.set_index("penalty")
            cells = [
                f"{at.loc[p, 'regret']:,.0f} ({_share(at.loc[p, 'missed'])})" for p in penalties
            ]
            body.append([_name(str(method)), *cells])
        for kind, names in (("rule", RULES), ("law", LAWS)):
            cells = []
            for penalty in penalties:
                own = part[(part["penalty"] == penalty) & part["method"].isin(names)]
                best = rows[int(own["regret"].idxmin())]
                shown = _interval(best, ("worse", "worse_low", "worse_high"), 0)
                cells.append(f"{shown}: {_name(best['method'])}")
            body.append([f"best {kind} less the metamodel", *cells])
        lines += [*_table(head, body), ""]
    return lines


def _interval(row: dict[str, Any], names: tuple[str, str, str], digits: int) -> str:
    """Return a difference with its interval; without it where there are too few corpora."""
    value, low, high = (row[name] for name in names)
    ends = "" if low is None else f" ({low:+,.{digits}f} to {high:+,.{digits}f})"
    return f"{value:+,.{digits}f}{ends}"


def _without_labels(rows: list[dict[str, Any]]) -> list[str]:
    head = ["labels later", "metamodel", NAMES["mean"], NAMES["chance"], "rows covered", "tasks"]
    body = [
        [
            f"{r['n']:,}",
            *(_number(r[k]) for k in ("metamodel", "mean", "chance")),
            _share(r["covered"]),
            r["tasks"],
        ]
        for r in rows
    ]
    return ["## Without any label", "", *_table(head, body)]


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
    head = [
        *("method", "Brier score", "relative targets", "fixed targets"),
        *("worse than the metamodel by", "calibration error"),
        *("called reachable though not", "called unreachable though reached"),
    ]
    body = []
    for r in rows:
        worse = ""
        if r["method"] != OURS:
            ends = f"{_number(r['worse_low'], 3)} to {_number(r['worse_high'], 3)}"
            worse = f"{_number(r['worse'], 3)} ({ends})"
        body.append(
            [
                _name(r["method"]),
                *(_number(r[n], 3) for n in ("brier", "brier_relative", "brier_fixed")),
                worse,
                _number(r["calibration"], 3),
                *(_share(r[n]) for n in ("reachable_though_not", "unreachable_though_reached")),
            ]
        )
    return _table(head, body)


def _intervals(found: dict[str, dict[str, Any]]) -> list[str]:
    rows = [
        [
            name.replace("_", " "),
            _share(r["rows"]),
            _share(r["mean_of_tasks"]),
            _share(r["tasks"]),
            _number(r["width"], 3),
            _number(r["interval_score"], 3),
            _number(r["pooled_width"], 3),
            _number(r["simple_width"], 3),
        ]
        for name, r in found.items()
    ]
    head = ["pilots", "rows covered", "mean of tasks", "tasks covered", "mean width"]
    head += ["interval score"]
    more = ["one width for all, same tasks covered", "the same around the least-squares law"]
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
