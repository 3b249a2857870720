"""What the study of encoders found: the regret of every rule, ties, a page and figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from charkit.config import people_name
from charkit.heads.sweep.compare import best_encoders
from charkit.store.durable import write_whole
from charkit.store.manifest import available_cores, code_version, package_versions
from glue_pilot.encoders.study import Case, EncoderStudy, Measured, score_table
from glue_pilot.findings import blocks, bullets, md_table
from glue_pilot.stats import Interval, resampled, resampled_share

Row = dict[str, Any]

RULES = {
    "fifth_accuracy": "accuracy on a fifth held out",
    "fifth_log_loss": "log loss on a fifth held out",
    "left_out_accuracy": "accuracy, each row left out",
    "left_out_log_loss": "log loss, each row left out",
    "mean_of_layers": "the same, mean of the layers",
    "mixed_layers": "the same, layers' predictions averaged",
    "last_layer": "the same, last layers only",
    "logme": "LogME, best layer",
    "h_score": "H-score of the mean of layers",
    "largest": "the largest encoder",
    "random": "an encoder at random",
    "further_accuracy": "accuracy on further labelled rows",
    "further_log_loss": "log loss on further labelled rows",
}
"""Rule -> what it picks by. The last two know more labels than the others."""

BASE = "logme"
"""What the differences of the rules are to: the rule of `charkit encoders` among ties."""

WHOLE = ("mean_of_layers", "mixed_layers", "h_score", "largest")
"""Rules that score an encoder as a whole: the layer is that of least left-out log loss."""

PAIRS = {
    "fifth": ("fifth_log_loss", "fifth_accuracy"),
    "left_out": ("left_out_log_loss", "left_out_accuracy"),
    "further": ("further_log_loss", "further_accuracy"),
}
"""Rows scored -> the two rules that differ in the measure only."""

_NEAR = 0.01  # a point of accuracy: smaller differences are within the error of 500 rows


def choices(scores: pd.DataFrame) -> pd.DataFrame:
    """Return what every rule picks in every sample, and what it misses, one row each.

    Of equal scores the cheapest encoder's lowest layer counts.

    Returns:
        Columns ``n``, ``rule``, ``task``, ``corpus``, ``encoder``, ``same`` (accuracy that the
        encoder's best layer is below the best encoder's at n), ``largest`` (the same when all
        rows are labelled), ``layer`` (accuracy of the chosen layer below the best layer's of all
        encoders at n), ``right``. Accuracies at n are means over samples.
    """
    keys = ["task", "n", "encoder", "layer"]
    real = scores[scores["seed"] >= 0]
    at_n = real.groupby(keys)["accuracy"].mean()
    most = scores[scores["seed"] < 0].set_index(["task", "encoder", "layer"])["accuracy"]
    reached = at_n.groupby(level=["task", "n", "encoder"]).max()
    reached_most = most.groupby(level=["task", "encoder"]).max()
    rows = []
    groups: Any = real.groupby(["task", "n", "seed"], sort=False)
    for (task, n, _), sample in groups:
        own, own_most, by_layer = reached[task, n], reached_most[task], at_n[task, n]
        common = {"n": n, "task": task, "corpus": sample["corpus"].iloc[0]}
        for rule in RULES:
            if rule == "random":
                missed = {"same": own.max() - own.mean()}
                missed["largest"] = own_most.max() - own_most.mean()
                rows.append(common | {"rule": rule, "right": 1 / len(own)} | missed)
                continue
            encoder, layer = _picked(sample, rule)
            rows.append(
                common
                | {
                    "rule": rule,
                    "encoder": encoder,
                    "same": own.max() - own[encoder],
                    "largest": own_most.max() - own_most[encoder],
                    "layer": by_layer.max() - by_layer[encoder, layer],
                    "right": float(own[encoder] == own.max()),
                }
            )
    return pd.DataFrame(rows)


def _picked(sample: pd.DataFrame, rule: str) -> tuple[str, int]:
    """Return the encoder and the layer of the largest score, the first of equals."""
    best: Any = sample.iloc[int(sample[rule].argmax())]
    if rule in WHOLE:
        own = sample[sample["encoder"] == best["encoder"]]
        best = own.iloc[int(own["left_out_log_loss"].argmax())]
    return str(best["encoder"]), int(best["layer"])


def rule_rows(chosen: pd.DataFrame) -> list[Row]:
    """Return the regret of every rule at every n, in points, and what it saves on `BASE`."""
    names = ["same", "largest", "layer", "right"]
    grouped = chosen.groupby(["n", "rule", "task", "corpus"])[names].mean()
    means: Any = grouped.reset_index("corpus")
    rows = []
    for n in sorted(map(int, chosen["n"].unique())):
        base = means.loc[n, BASE]
        for rule, words in RULES.items():
            part = means.loc[n, rule]
            corpora = list(part["corpus"])
            row: Row = {"n": n, "rule": rule, "words": words, "tasks": len(part)}
            for name in names[:3]:
                if part[name].notna().all():
                    row |= _points(part[name], corpora).row(name)
            row["right"] = float(part["right"].mean())
            for name, own in (("difference", "same"), ("layer_difference", "layer")):
                if part[own].notna().all():
                    row |= _points(part[own] - base[own], corpora).row(name)
            rows.append(row)
    return rows


def measure_rows(chosen: pd.DataFrame) -> list[Row]:
    """Return the regret by log loss less that by accuracy, on the same rows, in points.

    With ``n`` 0 all sizes together: a task counts by the mean over sizes.
    """
    names = ["same", "largest", "layer"]
    means = chosen.groupby(["rule", "n", "task", "corpus"])[names].mean()
    rows = []
    for part, (first, second) in PAIRS.items():
        by_size = (means.loc[first] - means.loc[second]).reset_index()
        both = by_size.groupby(["task", "corpus"])[names].mean().reset_index().assign(n=0)
        sizes: Any = pd.concat([by_size, both]).groupby("n")
        for n, own in sizes:
            row: Row = {"n": int(n), "rows": part}
            for name in names:
                row |= _points(own[name], list(own["corpus"])).row(name)
            rows.append(row)
    return rows


def _points(values: pd.Series, corpora: Sequence[str]) -> Interval:
    return resampled(100 * values.to_numpy(np.float64), corpora)


def tie_rows(
    cases: Sequence[Case], measured: Sequence[Measured], scores: pd.DataFrame
) -> list[Row]:
    """Return what the cheapest and the largest of the encoders that tie miss, by size and rows.

    Ties are those of `charkit encoders`, by log loss: with 90 % confidence the best encoder is
    among them. None where all encoders cost the same.

    Returns:
        Per n and part: ``held``, how often the best encoder was among the ties; ``tied``, how
        many tied; ``regret`` of the cheapest of them, of the ``first`` and of the ``largest``, in
        points; ``saved``, the share of the first one's operations that the cheapest does without;
        ``near``, how often the cheapest is at most a point below the best.
    """
    real = scores[scores["seed"] >= 0]
    by_layer = real.groupby(["task", "n", "encoder", "layer"])["accuracy"].mean()
    reached = by_layer.groupby(level=["task", "n", "encoder"]).max()
    groups: dict[tuple[str, int], list[tuple[Case, Measured]]] = {}
    for case, found in zip(cases, measured, strict=True):
        if case.seed == 0:  # one sample a task: a comparison takes half a second
            groups.setdefault((case.source.task, case.n), []).append((case, found))
    rows = []
    for (task, n), group in groups.items():
        cost = [c.source.encoder.operations(np.array([c.study.max_length])) for c, _ in group]
        if len(set(cost)) == 1:
            continue
        missed = reached[task, n].max() - reached[task, n]
        names = [people_name(c.source.encoder.name) for c, _ in group]
        for part in ("fifth", "left_out"):
            values = [found.values(part, "log_loss")[None] for _, found in group]
            choice = best_encoders(values, layers=[range(v.shape[1]) for v in values])
            first, tied = int(choice.score.argmax()), np.flatnonzero(choice.tied_with_best)
            row: Row = {"n": n, "rows": part, "corpus": group[0][0].source.corpus}
            row["held"] = names.index(str(missed.idxmin())) in tied
            row |= {"tied": len(tied), "saved": 1 - cost[tied[0]] / cost[first]}
            row |= {"regret": missed[names[tied[0]]], "first": missed[names[first]]}
            rows.append(row | {"largest": missed[names[tied[-1]]]})
    table = pd.DataFrame(rows, columns=list(rows[0]) if rows else ["n", "rows"])
    ties: list[Row] = []
    parts: Any = table.groupby(["n", "rows"])
    for (n, part), own in parts:
        corpora = list(own["corpus"])
        row = {"n": int(n), "rows": part, "tied": float(own["tied"].mean())}
        row |= resampled_share(own["held"].to_numpy(bool), corpora).row("held")
        for name in ("regret", "first", "largest"):
            row |= _points(own[name], corpora).row(name)
        near = float((own["regret"] <= _NEAR).mean())
        ties.append(row | {"saved": float(own["saved"].mean()), "near": near})
    return ties


def accuracies(scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the accuracy of every encoder's best layer, a mean over samples.

    Returns:
        By size as text, and ``most`` for all training rows: a row a task, a column an encoder.
    """
    means = scores.groupby(["task", "n", "encoder", "layer"])["accuracy"].mean()
    best = means.groupby(level=["task", "n", "encoder"]).max().unstack("encoder")
    sizes = sorted(scores[scores["seed"] >= 0]["n"].unique())
    most = scores[scores["seed"] < 0].groupby("task")["n"].first()
    at = {str(n): pd.DataFrame(best.xs(n, level="n")) for n in sizes}
    of_most = {str(task): best.loc[(str(task), n)] for task, n in most.items()}
    return at | {"most": pd.DataFrame(of_most).T}


def by_task(scores: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Return task -> size -> encoder -> accuracy of its best layer; see `accuracies`."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for n, part in accuracies(scores).items():
        for task, row in part.iterrows():
            found.setdefault(str(task), {})[n] = {str(k): float(v) for k, v in row.items()}
    return found


def encoder_rows(cases: Sequence[Case], scores: pd.DataFrame) -> list[Row]:
    """Return one row an encoder, the cheapest first: size, how often it is the best, gain.

    The gain is on the cheapest encoder, in points.
    """
    at = accuracies(scores)
    corpora = scores.groupby("task")["corpus"].first()
    encoders = {people_name(c.source.encoder.name): c.source.encoder for c in cases}
    first = next(iter(encoders))
    rows = []
    for name, encoder in encoders.items():
        cost = encoder.operations(np.array([cases[0].study.max_length]))
        row: Row = {"encoder": name, "layers": encoder.n_layers, "width": encoder.width}
        row |= {"dtype": encoder.dtype, "gflop": cost / 1e9, "accuracy": {}, "best": {}, "near": {}}
        row["gain"] = {}
        for n, part in at.items():
            row["accuracy"][n] = float(part[name].mean())
            row["best"][n] = float((part.idxmax(axis=1) == name).mean())
            row["near"][n] = float((part.max(axis=1) - part[name] <= _NEAR).mean())
            gains = part[name] - part[first]
            row["gain"][n] = _points(gains, list(corpora[part.index])).row("gain")
        rows.append(row)
    return rows


# -- files ------------------------------------------------------------------------------------


def write_encoder_study(
    cases: Sequence[Case], measured: Sequence[Measured], study: EncoderStudy, out: Path
) -> tuple[list[str], list[Path]]:
    """Write ``<name>.json`` and ``.md``; return the findings and the files.

    Args:
        cases: What was measured.
        measured: What was found.
        study: What made them.
        out: The folder; made when absent.
    """
    scores = score_table(cases, measured)
    chosen = choices(scores)
    found: dict[str, Any] = {
        "study": vars(study) | {"encoders": [people_name(name) for name in study.encoders]},
        "encoders": encoder_rows(cases, scores),
        "tasks": by_task(scores),
        "base": BASE,
        "rules": rule_rows(chosen),
        "measures": measure_rows(chosen),
        "ties": tie_rows(cases, measured, scores),
        "n_tasks": int(scores["task"].nunique()),
        "n_corpora": int(scores["corpus"].nunique()),
        "cores": available_cores(),
        "versions": package_versions(),
        "code": code_version(),
    }
    lines = findings(found)
    found["findings"] = lines
    stem = out / study.name
    text = json.dumps(found, indent=1, sort_keys=True, allow_nan=False) + "\n"
    files = {".json": text, ".md": page(found)}
    written = [write_whole(stem.with_suffix(end), t.encode()) for end, t in files.items()]
    return lines, written


def findings(found: dict[str, Any]) -> list[str]:
    """Return what was found, as sentences."""
    lines = []
    for row in found["encoders"][1:]:
        text = "; ".join(
            f"{_interval(gain, 'gain', '+.1f')} with {'all' if n == 'most' else n} labels"
            for n, gain in row["gain"].items()
        )
        lines.append(f"{row['encoder']} less {found['encoders'][0]['encoder']}: {text}")
    for n in sorted({row["n"] for row in found["rules"]}):
        own = [row for row in found["rules"] if row["n"] == n]
        fair = [r for r in own if not r["rule"].startswith("further") and r["rule"] != "random"]
        best = min(fair, key=lambda row: float(row["same"]))
        base = next(row for row in own if row["rule"] == BASE)
        lines.append(
            f"{n:,} labels: of the rules that see them only, {best['words']} misses least: "
            f"{_interval(best, 'same')} points; {base['words']}, the rule of `charkit encoders`, "
            f"misses {_interval(base, 'same')}, with its layer {_interval(base, 'layer')}"
        )
    for row in found["measures"]:
        if row["n"] == 0:
            lines.append(
                f"log loss in place of accuracy ({_ROWS[row['rows']]}): regret "
                f"{_interval(row, 'same', '+.2f')} points, all sizes together"
            )
    return [line.replace("%", " %") for line in lines]


_ROWS = {
    "fifth": "a fifth held out",
    "left_out": "each row left out",
    "further": "further labelled rows",
}


def page(found: dict[str, Any]) -> str:
    """Return findings and tables as Markdown, from the content of the file of figures."""
    study = found["study"]
    sizes = [str(n) for n in sorted({row["n"] for row in found["rules"]})]
    text = blocks(
        f"{found['n_tasks']} tasks of {found['n_corpora']} corpora; {study['n_seeds']} samples of "
        f"each size; evaluation on {study['n_evaluation']:,} rows or fewer; texts cut at "
        f"{study['max_length']} tokens. In brackets 90 % intervals, from drawing corpora with "
        "replacement. Regret in points of accuracy.",
        bullets(*found["findings"]),
        "Encoders, each at its best layer. *Gain*: on the first, in points. *Near*: at most one "
        "point below the best.",
        _encoders_table(found, sizes),
        "How far is the encoder that a rule picks below the best? *At n*: when heads have n "
        "labels. *Later*: when all training rows are labelled. *With its layer*: the layer that "
        "the rule picks, below the best layer of all encoders. *Right*: it picked the best. Of "
        "equal scores the cheapest encoder's counts. The best of several is a little lucky, for "
        "all rules alike.",
        _rules_table(found),
        "Log loss less accuracy, on the same rows (below 0: log loss picks better).",
        _measures_table(found),
        _ties_part(found["ties"]),
        "<details><summary>Accuracy on every task, each encoder at its best layer</summary>",
        _tasks_table(found, sizes),
        "</details>",
    )
    return text.replace("%", " %").replace("  %", " %") + "\n"


def _encoders_table(found: dict[str, Any], sizes: Sequence[str]) -> str:
    most = f"all, at most {found['study']['n_train']:,}"
    return md_table(
        {
            "encoder": row["encoder"],
            "layers x width": f"{row['layers']} x {row['width']:,}",
            "GFLOP a text": f"{row['gflop']:.1f}",
            "labels": f"{int(n):,}" if n != "most" else most,
            "accuracy": f"{row['accuracy'][n]:.3f}",
            "gain": _interval(row["gain"][n], "gain", "+.1f"),
            "the best": f"{row['best'][n]:.0%}",
            "near": f"{row['near'][n]:.0%}",
        }
        for n in (*sizes, "most")
        for row in found["encoders"]
    )


def _rules_table(found: dict[str, Any]) -> str:
    # Files of before the rule of `charkit encoders` was this one lack the name.
    base = RULES[found.get("base", "fifth_accuracy")]
    return md_table(
        {
            "labels": f"{row['n']:,}",
            "picked by": row["words"],
            "regret at n": _interval(row, "same"),
            "later": _interval(row, "largest"),
            "with its layer": _interval(row, "layer") if "layer" in row else "-",
            "right": f"{row['right']:.0%}",
            f"at n, less {base}": ""
            if row["words"] == base
            else _interval(row, "difference", "+.2f"),
            "with its layer, less the same": _interval(row, "layer_difference", "+.2f")
            if "layer_difference" in row and row["words"] != base
            else "",
        }
        for row in found["rules"]
        if found["ties"] or row["rule"] != "largest"
    )


def _measures_table(found: dict[str, Any]) -> str:
    columns = {"regret at n": "same", "later": "largest", "with its layer": "layer"}
    return md_table(
        {"scored rows": _ROWS[row["rows"]], "labels": f"{row['n']:,}" if row["n"] else "all"}
        | {head: _interval(row, name, "+.2f") for head, name in columns.items()}
        for row in found["measures"]
    )


def _ties_part(rows: Sequence[Row]) -> str:
    """Return the table of ties with its explanation; nothing where no encoder is cheaper."""
    table = md_table(
        {
            "labels": f"{row['n']:,}",
            "ties by log loss": _ROWS[row["rows"]],
            "held": f"{row['held']:.0%}",
            "how many tie": f"{row['tied']:.1f}",
            "regret of the first": _interval(row, "first"),
            "of the largest that ties": _interval(row, "largest"),
            "of the cheapest": _interval(row, "regret"),
            "at most a point below": f"{row['near']:.0%}",
            "operations saved": f"{row['saved']:.0%}",
        }
        for row in rows
    )
    about = "Is a cheaper encoder as good? *Held*: the best encoder is among those that tie."
    return blocks(about, table) if rows else ""


def _tasks_table(found: dict[str, Any], sizes: Sequence[str]) -> str:
    """Return the accuracy of every encoder on every task, at every size and with all rows."""
    columns = {
        f"{row['encoder']}, {'all' if n == 'most' else n}": (n, row["encoder"])
        for n in (*sizes, "most")
        for row in found["encoders"]
    }
    return md_table(
        {"task": task}
        | {head: f"{at[n][e]:.3f}" if n in at else "-" for head, (n, e) in columns.items()}
        for task, at in sorted(found["tasks"].items())
    )


def _interval(row: Row, name: str, spec: str = ".2f") -> str:
    return format(Interval.of(row, name), spec)
