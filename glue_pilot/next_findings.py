"""What the simulated labellings show: gains over random, labels saved, and the policy.

A corpus counts once: its pools and draws are averaged first, and intervals come from drawing
corpora with replacement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.policy import Band
from charkit.answers.query import STRATEGIES, Strategy

AUTO = "auto"
"""The policy of each corpus that was made without it."""

LIMITS: tuple[float | None, ...] = (1.0, 4.0, 16.0, None)
"""Ends of the bands, in labels a class."""

FEWEST_CORPORA = 3
N_DRAWS = 2_000

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Findings:
    """Tables of the study.

    Attributes:
        by_budget: One row a policy and budget: accuracy, gain over random in points with its 90 %
            interval, and how many random labels reach that accuracy, as a ratio with its own.
        by_share: One row a band of labels a class and strategy: gain in points with interval.
        adequacy: One row a policy: how often the bound of `charkit.answers.adequacy` held.
        bands: The policy of all corpora.
        corpora: Their names.
    """

    by_budget: pd.DataFrame
    by_share: pd.DataFrame
    adequacy: pd.DataFrame
    bands: tuple[Band, ...]
    corpora: tuple[str, ...]


def find(steps: pd.DataFrame) -> Findings:
    """Make the tables of a study.

    Args:
        steps: From `glue_pilot.next_study.run_next_study`.
    """
    return Findings(
        by_budget=gains_by_budget(steps),
        by_share=gains_by_share(steps),
        adequacy=adequacy_held(steps),
        bands=choose_bands(steps),
        corpora=tuple(sorted(steps["corpus"].unique())),
    )


def gains_by_budget(steps: pd.DataFrame) -> pd.DataFrame:
    """Return gain over random and labels saved, one row a policy and budget."""
    curves = _own(steps).pivot_table(index="corpus", columns=["policy", "n"], values="accuracy")
    random = curves["random"].sort_index(axis=1)
    sizes = np.log(random.columns.to_numpy(np.float64))
    drawn = _draws(len(curves))
    rows = []
    for policy in _policies(steps):
        for n in curves[policy].columns if policy != "random" else ():
            reached = curves[policy][n].to_numpy()
            gain = 100 * (reached - random[n].to_numpy())
            means = random.to_numpy()[drawn].mean(1)
            ratios = [
                _random_labels(a, m, sizes) / n
                for a, m in zip(reached[drawn].mean(1), means, strict=True)
            ]
            rows.append(
                {
                    "policy": policy,
                    "n": int(n),
                    "accuracy": reached.mean(),
                    "random_accuracy": random[n].mean(),
                    **_with_interval("gain", gain.mean(), gain[drawn].mean(1)),
                    **_with_interval(
                        "saved",
                        _random_labels(reached.mean(), random.to_numpy().mean(0), sizes) / n,
                        np.array(ratios),
                    ),
                }
            )
    return pd.DataFrame(rows)


def _own(steps: pd.DataFrame) -> pd.DataFrame:
    """Return the rows without budgets at which a strategy never could choose: no head yet."""
    own = (steps["strategy"] == steps["policy"]) | (steps["policy"] == AUTO)
    return steps[own.groupby([steps["policy"], steps["n"]]).transform("any")]


def _random_labels(accuracy: float, curve: FloatArray, log_sizes: FloatArray) -> float:
    """Return how many random labels reach an accuracy, between the ends of the curve."""
    rising = np.maximum.accumulate(curve) + 1e-9 * np.arange(len(curve))
    return float(np.exp(np.interp(accuracy, rising, log_sizes)))


def gains_by_share(steps: pd.DataFrame) -> pd.DataFrame:
    """Return gain over random by labels a class at hand, one row a band and strategy."""
    gains = _gains(steps[steps["strategy"] == steps["policy"]])
    rows = []
    lower = 0.0
    for limit in LIMITS:
        upper = np.inf if limit is None else limit
        inside = gains[(gains["labels_a_class"] >= lower) & (gains["labels_a_class"] < upper)]
        for strategy in STRATEGIES[:-1]:
            by_corpus = inside[inside["policy"] == strategy].groupby("corpus")["gain"].mean()
            if len(by_corpus):
                values = by_corpus.to_numpy()
                drawn = values[_draws(len(values))].mean(1)
                rows.append(
                    {
                        "from": lower,
                        "below": upper,
                        "strategy": strategy,
                        "n_corpora": len(values),
                        **_with_interval("gain", values.mean(), drawn),
                    }
                )
        lower = upper
    return pd.DataFrame(rows)


def _gains(steps: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of all policies but random, with their gain over it in points."""
    random = steps[steps["policy"] == "random"]
    mean = random.groupby(["task", "seed", "n"])["accuracy"].mean().rename("random")
    others = steps[steps["policy"] != "random"].join(mean, on=["task", "seed", "n"])
    return others.assign(gain=100 * (others["accuracy"] - others["random"]))


def choose_bands(steps: pd.DataFrame) -> tuple[Band, ...]:
    """Return the policy: by labels a class, the strategy that gains most, or random.

    A strategy counts where the lower end of its interval is above 0 and at least three corpora
    have such steps. A step counts for the strategy that chose it.
    """
    table = gains_by_share(steps)
    found: list[Band] = []
    for limit in LIMITS:
        rows = table[table["below"] == (np.inf if limit is None else limit)]
        good = rows[(rows["gain_low"] > 0) & (rows["n_corpora"] >= FEWEST_CORPORA)]
        best: Strategy = "random"
        if len(good):
            best = good["strategy"].iloc[int(good["gain"].to_numpy().argmax())]
        if found and found[-1].strategy == best:
            found.pop()
        found.append(Band(limit, best))
    return tuple(found)


def adequacy_held(steps: pd.DataFrame) -> pd.DataFrame:
    """Return how often the bound on the nearest neighbour's error held, one row a policy."""
    known = steps.dropna(subset=["bound"])
    held = known.assign(
        held=known["neighbour_error"] <= known["bound"],
        gap=100 * (known["bound"] - known["neighbour_error"]),
        informative=known["bound"] < 1,
    )
    rows = []
    for policy in _policies(steps):
        part = held[held["policy"] == policy]
        means = part.groupby("corpus")[["held", "gap", "informative", "covered"]].mean().mean()
        rows.append({"policy": policy, "n_cases": len(part), **means.to_dict()})
    return pd.DataFrame(rows)


def _policies(steps: pd.DataFrame) -> list[str]:
    there = set(steps["policy"])
    return [name for name in (*STRATEGIES, AUTO) if name in there]


def _draws(n: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(0, n, (N_DRAWS, n))


def _with_interval(name: str, value: float, drawn: FloatArray) -> dict[str, float]:
    low, high = np.quantile(drawn, [0.05, 0.95])
    return {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}


def findings_lines(found: Findings) -> list[str]:
    """Return the findings in words: the policy, what it is worth, what each strategy is."""
    table = found.by_budget
    lines = [f"policy: {policy_words(found.bands)}"]
    for policy in dict.fromkeys(table["policy"]):
        rows = table[table["policy"] == policy]
        best = rows.loc[rows["saved"].idxmax()]
        above = int((rows["gain_low"] > 0).sum())
        below = int((rows["gain_high"] < 0).sum())
        lines.append(
            f"{policy}: surely better than random at {above} of {len(rows)} budgets, surely worse "
            f"at {below}; at best {int(best['n'])} of its labels do the work of "
            f"{best['saved'] * best['n']:.0f} random ones ({best['saved']:.2f} times, "
            f"{best['saved_low']:.2f} to {best['saved_high']:.2f})"
        )
    return lines


def policy_words(bands: Sequence[Band]) -> str:
    """Return a policy in words.

    >>> policy_words([Band(1, "typiclust"), Band(None, "margin")])
    'typiclust below 1 label a class, then margin'
    """
    words: list[str] = []
    for band in bands:
        end = "" if band.below is None else f" below {_labels(band.below)} a class"
        words.append(f"{'then ' if words else ''}{band.strategy}{end}")
    return ", ".join(words)


def _labels(count: float) -> str:
    return f"{count:g} label{'' if count == 1 else 's'}"
