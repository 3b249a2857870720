"""The study of test labels: how far estimates miss the accuracy of a pool, by test labels.

Chosen rows next to random ones and to no test label; how often intervals cover, how wide they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from charkit.config import Progress, no_progress
from charkit.heads.metrics.intervals import LEVEL, wilson_interval
from charkit.heads.metrics.label_free import equivalent_rows
from charkit.heads.sample.active_testing import (
    UNIFORM,
    Strata,
    labelling_order,
    make_strata,
    pool_accuracy,
)
from charkit.store.durable import write_whole
from charkit.store.manifest import available_cores, code_version, package_versions
from glue_pilot.evaluation.cases import Case, EvaluateStudy, Measured

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Interval = tuple[float, float, float]
"""Estimate, low and high."""

WITHOUT = {
    "expected": "the command without test labels",
    "left_out": "accuracy on the labelled sample",
    "average_confidence": "average confidence",
    "doc": "DoC",
    "atc_confidence": "ATC",
    "cott": "COTT",
}
"""Estimates that need no test label, and their names."""

MIXED = 0.3
"""Share of the budget that the design of unequal probabilities spreads evenly."""

# Draws of the bootstrap over corpora, as many as in the study of labelling.
N_BOOTSTRAP = 2_000


@dataclass(frozen=True, eq=False)
class Pool:
    """A pool whose labels are known to the study."""

    right: FloatArray
    expected: FloatArray

    def __len__(self) -> int:
        return len(self.right)

    def strata(self, uniform: float) -> Strata:
        """Return the pool in strata, made once for all draws."""
        kept: dict[float, Strata] = self.__dict__.setdefault("_strata", {})
        if uniform not in kept:
            kept[uniform] = make_strata(self.expected, uniform=uniform)
        return kept[uniform]


def _random(pool: Pool, n: int, seed: int) -> Interval:
    rows = np.random.default_rng(seed).permutation(len(pool))[:n]
    mean, left = float(pool.right[rows].mean()), len(pool) - n
    if not left:
        return mean, mean, mean
    low, high = wilson_interval(mean, n * (len(pool) - 1) / left)
    return mean, float(low), float(high)


def _drawn(strata: Strata, pool: Pool, n: int, seed: int) -> tuple[IntArray, FloatArray]:
    """Return how many rows of each stratum are labelled, and how many of these are right."""
    rows, k = labelling_order(strata, seed)[:n], len(strata.size)
    right = np.bincount(strata.of[rows], weights=pool.right[rows], minlength=k)
    return np.bincount(strata.of[rows], minlength=k), np.asarray(right, np.float64)


def _command(pool: Pool, n: int, seed: int, *, uniform: float = UNIFORM) -> Interval:
    strata = pool.strata(uniform)
    found = pool_accuracy(strata, *_drawn(strata, pool, n, seed))
    return found.mean, found.low, found.high


def _even(pool: Pool, n: int, seed: int) -> Interval:
    return _command(pool, n, seed, uniform=1.0)


def _neyman(pool: Pool, n: int, seed: int) -> Interval:
    return _command(pool, n, seed, uniform=0.05)


def _weighted(pool: Pool, n: int, seed: int) -> Interval:
    """Return the weighted mean of the command's rows, without predictions, by Wilson's interval."""
    strata = pool.strata(UNIFORM)
    labelled, right = _drawn(strata, pool, n, seed)
    some = labelled > 0
    share = strata.size[some] / strata.size[some].sum()
    p = right[some] / labelled[some]
    mean = float(share @ p)
    spread = float(share**2 @ (p * (1 - p) / labelled[some]))
    effective = mean * (1 - mean) / spread if spread > 0 else n
    low, high = wilson_interval(mean, effective)
    return mean, float(low), float(high)


def _difference(pool: Pool, n: int, seed: int) -> Interval:
    """Return the difference estimate from rows drawn by unequal probabilities, systematically.

    Rows are drawn with probabilities in proportion to sqrt(c (1 - c)), mixed with even ones; the
    mean of c over the pool and the weighted mean of (right - c) over the drawn rows are added.
    """
    c = pool.expected
    spread = np.sqrt(c * (1 - c))
    likely = (1 - MIXED) * spread / spread.sum() + MIXED / len(pool)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(pool))
    ends = np.cumsum(np.minimum(n * likely[order], 1.0))
    marks = generator.random() + np.arange(int(ends[-1] + 1))
    rows = np.unique(order[np.searchsorted(ends, marks[marks < ends[-1]])])
    apart = (pool.right[rows] - c[rows]) / (n * likely[rows]) * n / len(pool)
    mean = float(c.mean() + apart.sum() / n)
    half = norm.ppf((1 + LEVEL) / 2) * float(apart.std(ddof=1)) / np.sqrt(len(rows))
    return min(max(mean, 0.0), 1.0), mean - half, mean + half


METHODS: dict[str, Callable[[Pool, int, int], Interval]] = {
    "random rows": _random,
    "charkit evaluate": _command,
    "its rows, without predictions": _weighted,
    "strata, even allocation": _even,
    "strata, Neyman's allocation": _neyman,
    "unequal probabilities, difference": _difference,
}
"""What is compared: design and estimate by name."""


def simulate(
    cases: Sequence[Case],
    measured: Sequence[Measured],
    budgets: Iterable[int],
    n_draws: int,
    *,
    progress: Progress = no_progress,
) -> pd.DataFrame:
    """Return one row a case, method and number of test labels.

    Columns: case, group, sample, pool, corpus (of the pool), shifted, n_labelled, method, n,
    accuracy, error (mean absolute, as a fraction), covered, width; the last two NaN without labels.
    """
    sizes = tuple(budgets)
    rows: list[dict[str, Any]] = []
    for number, (case, found) in enumerate(zip(cases, measured, strict=True)):
        progress("draw test labels", number, len(cases))
        pool = Pool(
            found.pool["right"].to_numpy(np.float64), found.pool["expected"].to_numpy(np.float64)
        )
        accuracy = float(pool.right.mean())
        about = {
            "case": number,
            "group": case.group,
            "sample": case.sample.name,
            "pool": case.pool.name,
            "corpus": case.pool.corpus,
            "shifted": case.shifted,
            "n_labelled": case.n_labelled,
            "accuracy": accuracy,
        }
        free = {**found.facts, "expected": float(pool.expected.mean())}
        for name, shown in WITHOUT.items():
            error = abs(float(free[name]) - accuracy)
            rows.append({**about, "method": shown, "n": 0, "error": error})
        for n in (size for size in sizes if size <= len(pool)):
            for name, method in METHODS.items():
                rows.append({**about, "method": name, "n": n, **_judged(method, pool, n, n_draws)})
    progress("draw test labels", len(cases), len(cases))
    return pd.DataFrame(rows)


def _judged(
    method: Callable[[Pool, int, int], Interval], pool: Pool, n: int, n_draws: int
) -> dict[str, float]:
    truth = float(pool.right.mean())
    draws = np.array([method(pool, n, seed) for seed in range(n_draws)])
    mean, low, high = draws.T
    return {
        "error": float(np.abs(mean - truth).mean()),
        "covered": float(((low <= truth + 1e-9) & (high >= truth - 1e-9)).mean()),
        "width": float((np.minimum(high, 1) - np.maximum(low, 0)).mean()),
    }


def figures(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a kind of pool, number of test labels and method, the means over corpora.

    Every corpus of a pool counts alike; the 90 % interval of the error draws corpora with
    replacement. ``rows_worth``: random test labels that miss as far, for estimates without any.
    """
    found = []
    for (shifted, _, method), part in rows.groupby(["shifted", "n", "method"], sort=False):
        n = int(part["n"].iloc[0])
        each = part.groupby("corpus")[["error", "covered", "width", "accuracy"]].mean()
        draws = np.random.default_rng(0).integers(len(each), size=(N_BOOTSTRAP, len(each)))
        errors = each["error"].to_numpy()[draws].mean(1)
        worth = np.nan
        if n == 0:
            spread = float((part["accuracy"] * (1 - part["accuracy"])).mean())
            even = (1 + np.sqrt(max(1 - 4 * spread, 0.0))) / 2  # the accuracy of that spread
            worth = equivalent_rows(max(float(each["error"].mean()), 1e-6), float(even))
        found.append(
            {
                "shifted": bool(shifted),
                "n": n,
                "method": method,
                "corpora": len(each),
                "cases": len(part),
                "error": 100 * float(each["error"].mean()),
                "error_low": 100 * float(np.quantile(errors, (1 - LEVEL) / 2)),
                "error_high": 100 * float(np.quantile(errors, (1 + LEVEL) / 2)),
                "covered": float(each["covered"].mean()),
                "cases_covered": float((part["covered"] >= LEVEL - 0.05).mean()) if n else np.nan,
                "width": float(each["width"].mean()),
                "rows_worth": float(worth),
            }
        )
    return pd.DataFrame(found)


def floor_of(cases: Sequence[Case], measured: Sequence[Measured], n: int) -> dict[str, float]:
    """Return what n test labels cannot do better under shift, in points, as means over cases.

    ``random``: the mean error of n random rows. ``strata``: of rows in the command's strata, by
    the best allocation to the true shares, which nobody knows, without any prior.
    """
    errors = []
    for case, found in zip(cases, measured, strict=True):
        if not case.shifted:
            continue
        right = found.pool["right"].to_numpy(np.float64)
        strata = make_strata(found.pool["expected"].to_numpy(np.float64))
        p = np.bincount(strata.of, weights=right) / strata.size
        share = strata.size / len(right)
        best = float(share @ np.sqrt(p * (1 - p))) ** 2 / n
        plain = float(right.mean() * (1 - right.mean())) / n
        errors.append([np.sqrt(2 * plain / np.pi), np.sqrt(2 * best / np.pi)])
    random, strata_floor = 100 * np.mean(errors, 0) if errors else (np.nan, np.nan)
    return {"n": float(n), "random": float(random), "strata": float(strata_floor)}


# -- the results of the study of test labels, written: table of cases, figures as JSON, a page ----


KINDS = {False: "the sample's own corpus", True: "another corpus, same labels"}
COMMAND, RANDOM = "charkit evaluate", "random rows"


def write_evaluate_study(
    rows: pd.DataFrame,
    found: pd.DataFrame,
    floor: dict[str, float],
    study: EvaluateStudy,
    out: Path,
) -> list[Path]:
    """Write ``<name>.csv``, ``.json`` and ``.md``.

    Args:
        rows: From `glue_pilot.evaluation.study.simulate`.
        found: From `glue_pilot.evaluation.study.figures`.
        floor: From `glue_pilot.evaluation.study.floor_of`.
        study: What made them.
        out: The folder; made when absent.

    Returns:
        The files written.
    """
    stem = out / study.name
    table = found.astype(object).where(found.notna(), None)
    plain = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    numbers = {
        "study": {**vars(study)},
        "figures": plain,
        "floor": floor,
        "findings": findings(found, floor),
        "cores": available_cores(),
        "versions": package_versions(),
        "code": code_version(),
    }
    files = {
        ".csv": rows.to_csv(index=False, lineterminator="\n"),
        ".json": json.dumps(numbers, indent=1, sort_keys=True, allow_nan=False) + "\n",
        ".md": page(found, floor, study),
    }
    return [write_whole(stem.with_suffix(end), text.encode()) for end, text in files.items()]


def _row(found: pd.DataFrame, shifted: bool, n: int, method: str) -> pd.Series[Any] | None:
    part = found[(found["shifted"] == shifted) & (found["n"] == n) & (found["method"] == method)]
    return None if part.empty else part.iloc[0]


def findings(found: pd.DataFrame, floor: dict[str, float]) -> list[str]:
    """Return what was found, as sentences."""
    lines = []
    for shifted, kind in KINDS.items():
        for n in sorted({int(v) for v in found["n"] if v}):
            mine, random = (_row(found, shifted, n, name) for name in (COMMAND, RANDOM))
            if mine is None or random is None:
                continue
            lines.append(
                f"{kind}, {n} test labels: error {mine['error']:.1f} points "
                f"({mine['error_low']:.1f} to {mine['error_high']:.1f}), random rows "
                f"{random['error']:.1f}; interval covers {100 * mine['covered']:.0f} %, "
                f"{100 * mine['width']:.0f} points wide (random rows: "
                f"{100 * random['covered']:.0f} %, {100 * random['width']:.0f})"
            )
        free = _row(found, shifted, 0, WITHOUT["expected"])
        if free is not None:
            lines.append(
                f"{kind}, no test label: error {free['error']:.1f} points, as far as "
                f"{free['rows_worth']:.0f} random test labels"
            )
    if np.isfinite(floor["strata"]):
        lines.append(
            f"under shift, {floor['n']:.0f} test labels: {floor['random']:.1f} points is the mean "
            f"error of random rows, {floor['strata']:.1f} that of the same strata if their true "
            "shares were known beforehand: what is below comes from the prior"
        )
    return lines


def page(found: pd.DataFrame, floor: dict[str, float], study: EvaluateStudy) -> str:
    """Return the findings as Markdown."""
    counts = {
        shifted: (int(part["cases"].max()), int(part["corpora"].max()))
        for shifted, part in found.groupby("shifted")
    }
    sizes = ", ".join(f"{cases} cases of {n} pool corpora ({KINDS[bool(kind)]})"
                      for kind, (cases, n) in counts.items())  # fmt: skip
    lines = [
        f"{sizes}. Labelled samples of {', '.join(map(str, study.n_labelled))} rows, pools of at "
        f"most {study.n_pool:,}, {study.n_draws} draws of test rows from each; every corpus counts "
        "alike; in brackets 90 % intervals, from drawing corpora with replacement. The five "
        "numbers of the estimate's prior were chosen on these tasks; intervals do not use it.",
        "",
        *(f"- {line}" for line in findings(found, floor)),
    ]
    for shifted, kind in KINDS.items():
        if shifted in counts:
            lines += ["", f"Pools of {kind}:", "", *_table(found, shifted)]
    return "\n".join([*lines, ""])


def _table(found: pd.DataFrame, shifted: bool) -> list[str]:
    lines = [
        "| estimate | test labels | error, points | interval covers | width, points | worth |",
        "|---|---|---|---|---|---|",
    ]
    part = found[found["shifted"] == shifted]
    for n in sorted({int(v) for v in part["n"]}):
        for method in WITHOUT.values() if n == 0 else METHODS:
            row = _row(part, shifted, n, method)
            if row is None:
                continue
            error = f"{row['error']:.1f} ({row['error_low']:.1f} to {row['error_high']:.1f})"
            rest = (
                f" | | {row['rows_worth']:.0f} random rows |"
                if n == 0
                else f"{100 * row['covered']:.0f} % | {100 * row['width']:.0f} | |"
            )
            lines.append(f"| {method} | {n or 'none'} | {error} | {rest}")
    return lines
