"""What the study of classes and labels found: errors and coverage over corpora left out.

They are written as JSON, sentences and tables.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.pilot.classes import SMALLEST
from charkit.heads.metrics.influence import balanced_accuracy, macro_f1
from charkit.heads.metrics.intervals import LEVEL
from charkit.heads.metrics.label_free import label_noise
from charkit.heads.metrics.scores import APART, Shares, class_means, log_odds, recalls, share_of
from charkit.store.durable import write_whole
from charkit.store.manifest import available_cores, code_version, package_versions
from glue_pilot.quality.study import Case, Measured, QualityStudy

FloatArray = NDArray[np.float64]

N_BOOTSTRAP = 2_000
FEWEST = 25
"""Evaluation rows of a class whose recall is compared."""

RULES = {
    "stay": "stays as it is",
    "ratio": "its error falls as the error of all",
    "odds": "its log-odds move as those of the accuracy",
}


def noise_rows(cases: Sequence[Case], measured: Sequence[Measured]) -> pd.DataFrame:
    """Return one row a case and share of wrong labels.

    Columns: task, corpus, n_classes, n, seed, noise (planted), accuracy (left out), mean, low,
    high, and before, relabelled, labelled (accuracies; NaN where not tried).
    """
    rows = []
    for case, found in zip(cases, measured, strict=True):
        tried = found.changed.set_index("noise") if len(found.changed) else None
        for noise, own in found.left_out.groupby("noise"):
            agrees = (own["predicted"] == own["label"]).to_numpy()
            noisy = label_noise(
                agrees, own["confidence"].to_numpy(np.float64), own["label"].nunique()
            )
            more = {} if tried is None else dict(tried.loc[noise])
            rows.append(
                {**_about(case), "noise": noise, "accuracy": agrees.mean(), **vars(noisy), **more}
            )
    return pd.DataFrame(rows)


def class_rows(cases: Sequence[Case], measured: Sequence[Measured]) -> pd.DataFrame:
    """Return one row a case, multiple, metric and class, without forecasts of the accuracy.

    Columns: task, corpus, n_classes, n, seed, multiple, metric, class, labels (of the class in the
    sample), mean, low, high (from the sample), truth, truth_variance (of its log-odds),
    accuracy (left out), reached (accuracy with that multiple).
    """
    rows: list[dict[str, Any]] = []
    for case, found in zip(cases, measured, strict=True):
        own = found.left_out[found.left_out["noise"] == 0]
        predicted, labels = own["predicted"].to_numpy(), own["label"].to_numpy()
        n_classes = case.source.n_classes
        count = np.bincount(labels, minlength=n_classes)
        shares = recalls(predicted, labels, n_classes)
        means = class_means(predicted, labels, n_classes)
        left_out = float((predicted == labels).mean())
        for multiple, part in found.truth.groupby("multiple"):
            predicted_there, true = part["predicted"].to_numpy(), part["label"].to_numpy()
            about = {**_about(case), "multiple": multiple, "accuracy": left_out}
            about["reached"] = float((predicted_there == true).mean())
            often = np.bincount(true, minlength=n_classes) >= FEWEST
            for place in np.flatnonzero((count > 0) & often).tolist():
                code = int(place)
                right = predicted_there[true == code] == code
                p = (right.sum() + 0.5) / (len(right) + 1)
                row = {**about, "metric": "recall", "class": code, "labels": int(count[code])}
                row |= {"truth": right.mean(), "truth_variance": 1 / (len(right) * p * (1 - p))}
                rows.append(row | _ends(shares, code))
            for name, metric in (("balanced_accuracy", balanced_accuracy), ("macro_f1", macro_f1)):
                truth = metric(predicted_there[None], true, n_classes)
                value = float(np.clip(truth.value[0], 0.005, 0.995))
                rows.append(
                    {**about, "metric": name, "class": -1, "labels": len(labels),
                     **_ends(means[name], 0), "truth": value,
                     "truth_variance": float(truth.variance[0]) / (value * (1 - value)) ** 2}
                )  # fmt: skip
    return pd.DataFrame(rows)


def _about(case: Case) -> dict[str, Any]:
    source = case.source
    return {
        "task": source.name,
        "corpus": source.corpus,
        "n_classes": source.n_classes,
        "n": case.n,
        "seed": case.seed,
    }


def _ends(shares: Shares, place: int) -> dict[str, float]:
    return {name: float(values[place]) for name, values in vars(shares).items()}


def forecast_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Add what each rule predicts: columns stay, ratio, odds, known, covered, width.

    The growth of the accuracy is forecast by a ridge regression on the left-out accuracy and the
    number of classes, fitted to the other corpora at the same size and multiple; its uncertainty
    is that of their residuals. ``known``: the rule "odds" with the growth that was measured. The
    intervals are those of the command; their coverage counts the sampling error of the evaluation
    rows too, their width does not.
    """
    first = rows.drop_duplicates(KEYS).copy()
    start = first[first["multiple"] == 1].set_index(KEYS[:-1])["reached"]
    first["start"] = start.loc[list(first[KEYS[:-1]].itertuples(index=False, name=None))].to_numpy()
    first["growth"] = log_odds(first["reached"].to_numpy()) - log_odds(first["start"].to_numpy())
    found = [
        _forecast(part, first[(first["n"] == n) & (first["multiple"] == multiple)])
        for (n, multiple), part in first.groupby(["n", "multiple"])
    ]
    wide = rows.merge(pd.concat(found)[[*KEYS, "growth", "forecast", "spread"]], on=KEYS)
    later = share_of(log_odds(wide["accuracy"].to_numpy()) + wide["forecast"].to_numpy())
    left = (1 - later) / np.maximum(1 - wide["accuracy"].to_numpy(), 1e-3)
    odds = log_odds(wide["mean"].to_numpy())
    extra = wide["metric"].map(APART).to_numpy(np.float64)
    apart = np.hypot(wide["spread"].to_numpy(np.float64), extra)
    shares = Shares(*(wide[name].to_numpy(np.float64) for name in ("mean", "low", "high")))
    shift = wide["forecast"].to_numpy(np.float64)
    own = shares.moved(shift, apart)
    seen = shares.moved(shift, np.hypot(apart, np.sqrt(wide["truth_variance"].to_numpy())))
    return wide.assign(
        stay=wide["mean"],
        ratio=1 - (1 - wide["mean"]) * left,
        odds=own.mean,
        known=share_of(odds + wide["growth"].to_numpy()),
        covered=(seen.low <= wide["truth"]) & (wide["truth"] <= seen.high),
        width=own.high - own.low,
    )


KEYS = ["corpus", "task", "seed", "n", "multiple"]


def _forecast(mine: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Add forecast and spread of the growth, each corpus by the others."""

    def columns(part: pd.DataFrame) -> FloatArray:
        odds = log_odds(part["accuracy"].to_numpy())
        return np.stack([np.ones(len(part)), odds, np.log(part["n_classes"])], 1)

    parts = []
    for corpus, part in mine.groupby("corpus"):
        others = rows[rows["corpus"] != corpus]
        x, y = columns(others), others["growth"].to_numpy()
        w = np.linalg.solve(x.T @ x + np.diag([1e-9, 0.5, 0.5]), x.T @ y)
        spread = np.sqrt(np.square(y - x @ w).sum() / max(len(y) - 2, 1))
        parts.append(part.assign(forecast=np.maximum(columns(part) @ w, 0.0), spread=spread))
    return pd.concat(parts)


def _bootstrap(values: pd.Series, corpora: pd.Series) -> tuple[float, float, float]:
    """Return the mean over corpora and its 90 % interval, from drawing corpora with replacement."""
    each = values.groupby(corpora.to_numpy()).mean().to_numpy()
    draws = np.random.default_rng(0).integers(len(each), size=(N_BOOTSTRAP, len(each)))
    means = each[draws].mean(1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(each.mean()), float(low), float(high)


def class_figures(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return errors in points, coverage and width by metric and multiple, every corpus alike.

    Args:
        rows: From `forecast_rows`.
    """
    found = []
    for _, part in rows.groupby(["metric", "multiple"], sort=False):
        metric, multiple = str(part["metric"].iloc[0]), int(part["multiple"].iloc[0])
        row: dict[str, Any] = {"metric": metric, "multiple": multiple, "rows": len(part)}
        for rule in (*RULES, "known"):
            error = 100 * (part[rule] - part["truth"]).abs()
            row[rule] = dict(zip(ENDS, _bootstrap(error, part["corpus"]), strict=True))
        better = 100 * ((part["stay"] - part["truth"]).abs() - (part["odds"] - part["truth"]).abs())
        row["gain"] = dict(zip(ENDS, _bootstrap(better, part["corpus"]), strict=True))
        row["covered"] = _bootstrap(part["covered"].astype(float), part["corpus"])[0]
        row["width"] = 100 * _bootstrap(part["width"], part["corpus"])[0]
        found.append(row)
    return found


ENDS = ("mean", "low", "high")


def noise_figures(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return bias and error in points, coverage, how often shown, by size and share made wrong.

    Args:
        rows: From `noise_rows`.
    """
    found = []
    for _, part in rows.groupby(["n", "noise"]):
        first = part.iloc[0]
        apart = part["mean"] - part["noise"]
        inside = (part["low"] <= part["noise"]) & (part["noise"] <= part["high"])
        found.append(
            {
                "n": int(first["n"]),
                "noise": float(first["noise"]),
                "samples": len(part),
                "bias": 100 * float(apart.mean()),
                "error": 100 * float(apart.abs().mean()),
                "covered": float(inside.mean()),
                "high": 100 * float(part["high"].mean()),
                "shown": float((part["low"] > SMALLEST).mean()),
            }
        )
    return found


def relabelling(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what relabelling and labelling as many more rows bring, in points of accuracy.

    Two groups: samples whose share of wrong labels is shown, and all others with labels made wrong.

    Args:
        rows: From `noise_rows`.
    """
    tried = rows.dropna(subset=["before"])
    shown = tried["low"] > SMALLEST
    groups = {"shown": tried[shown], "not shown": tried[~shown & (tried["noise"] > 0)]}
    found = []
    for name, part in groups.items():
        row: dict[str, Any] = {"group": name, "samples": len(part)}
        if len(part):
            gains = {
                "relabelled": part["relabelled"] - part["before"],
                "labelled": part["labelled"] - part["before"],
                "difference": part["relabelled"] - part["labelled"],
            }
            for key, gain in gains.items():
                row[key] = dict(zip(ENDS, _bootstrap(100 * gain, part["corpus"]), strict=True))
        found.append(row)
    return found


Row = dict[str, Any]

METRICS = {
    "recall": "recall of a class",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
}


def write_quality_study(
    cases: Sequence[Case], measured: Sequence[Measured], study: QualityStudy, out: Path
) -> tuple[list[str], list[Path]]:
    """Write ``<name>.json`` and ``.md``; return the findings and the files.

    Args:
        cases: What was measured.
        measured: What was found.
        study: What made them.
        out: The folder; made when absent.
    """
    noise = noise_rows(cases, measured)
    found = {
        "classes": class_figures(forecast_rows(class_rows(cases, measured))),
        "noise": noise_figures(noise),
        "relabelling": relabelling(noise),
    }
    lines = findings(found, noise)
    numbers = {
        "study": vars(study),
        **found,
        "findings": lines,
        "cores": available_cores(),
        "versions": package_versions(),
        "code": code_version(),
    }
    stem = out / study.name
    text = json.dumps(numbers, indent=1, sort_keys=True, allow_nan=False) + "\n"
    pages = {".json": text, ".md": page(found, lines, noise)}
    return lines, [write_whole(stem.with_suffix(end), t.encode()) for end, t in pages.items()]


def findings(found: dict[str, list[Row]], noise: pd.DataFrame) -> list[str]:
    """Return what was found, as sentences."""
    lines = []
    last = max(row["multiple"] for row in found["classes"])
    for row in (row for row in found["classes"] if row["multiple"] == last):
        lines.append(
            f"{METRICS[row['metric']]} at {last} times the labels: error {_points(row['odds'])} "
            f"points, as it is {row['stay']['mean']:.1f} (better by {_points(row['gain'])}), with "
            f"the growth of the accuracy known {row['known']['mean']:.1f}; interval covers "
            f"{row['covered']:.0%}"
        )
    planted = [row for row in found["noise"] if row["noise"] > 0]
    covered = sum(row["covered"] * row["samples"] for row in planted)
    lines.append(
        f"wrong labels: the interval covers {covered / sum(r['samples'] for r in planted):.0%} of "
        f"the samples with labels made wrong; it shows some in "
        f"{sum(r['shown'] * r['samples'] for r in planted):.0f} of "
        f"{sum(r['samples'] for r in planted)}, and in "
        f"{sum(r['shown'] * r['samples'] for r in found['noise'] if r['noise'] == 0):.0f} of "
        f"{int((noise['noise'] == 0).sum())} samples as they are"
    )
    for row in found["relabelling"]:
        if row["samples"]:
            lines.append(
                f"where wrong labels are {row['group']} ({row['samples']} samples): relabelling "
                f"{_points(row['relabelled'])} points, labelling as many more "
                f"{_points(row['labelled'])}, difference {_points(row['difference'])}"
            )
    return [line.replace("%", " %") for line in lines]


def page(found: dict[str, list[Row]], lines: Sequence[str], noise: pd.DataFrame) -> str:
    """Return the findings and tables as Markdown."""
    n_tasks, n_corpora = noise["task"].nunique(), noise["corpus"].nunique()
    parts = [
        f"{n_tasks} tasks of {n_corpora} corpora; the growth of the accuracy is forecast from the "
        "other corpora; every corpus counts alike; in brackets 90 % intervals, from drawing "
        "corpora with replacement. Errors in points.",
        "\n".join(f"- {line}" for line in lines),
        _table(
            ["share", "labels", *RULES.values(), "growth known", "interval covers", "width"],
            [_class_cells(row) for row in found["classes"]],
        ),
        _table(
            ["labels", "made wrong", "bias", "error", "interval covers", "upper end", "shown"],
            [_noise_cells(row) for row in found["noise"]],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _class_cells(row: Row) -> list[str]:
    errors = [_points(row[rule]) for rule in (*RULES, "known")]
    share = [METRICS[row["metric"]], f"{row['multiple']} x"]
    return [*share, *errors, f"{row['covered']:.0%}", f"{row['width']:.0f}"]


def _noise_cells(row: Row) -> list[str]:
    cells = [f"{row['n']:,}", f"{row['noise']:.0%}", f"{row['bias']:+.1f}", f"{row['error']:.1f}"]
    return [*cells, f"{row['covered']:.0%}", f"{row['high']:.0f}%", f"{row['shown']:.0%}"]


def _points(value: dict[str, float]) -> str:
    return f"{value['mean']:.1f} ({value['low']:.1f} to {value['high']:.1f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return text.replace("%", " %").replace("  %", " %")
