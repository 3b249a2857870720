"""What the simulated labellings show: gains over random, labels saved, and the policy.

A corpus counts once: its pools and draws are averaged first, and intervals come from drawing
corpora with replacement.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.labelling.strategies import STRATEGIES, Band

AUTO = "auto"
"""On each corpus, the policy that was best on the others."""

LIMITS: tuple[float | None, ...] = (1.0, 4.0, 16.0, None)
"""Ends of the bands of the gains' table, in labels a class."""

POLICIES: tuple[tuple[Band, ...], ...] = (
    *((Band(None, strategy),) for strategy in STRATEGIES),
    *(
        (Band(limit, cover), Band(None, "margin"))
        for cover in STRATEGIES[:3]
        for limit in (4.0, 16.0)
    ),
)
"""What is simulated: every strategy by itself, and covering first, the head's margin later."""

# From fewer corpora no interval is made. Draws of the bootstrap: the quantiles at 5 and 95 % then
# have 100 draws beyond them.
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
        adequacy: One row a policy: how often the bound of `charkit.answers.labelling.coverage`
            held.
        bands: The policy of all corpora: what is shipped.
        left_out: Corpus -> the policy of the others, as text.
        corpora: Their names.
    """

    by_budget: pd.DataFrame
    by_share: pd.DataFrame
    adequacy: pd.DataFrame
    bands: tuple[Band, ...]
    left_out: dict[str, str]
    corpora: tuple[str, ...]


def find(steps: pd.DataFrame) -> Findings:
    """Make the tables of a study.

    Args:
        steps: From `glue_pilot.labelling.study.run_next_study`.
    """
    corpora = tuple(sorted(steps["corpus"].unique()))
    others = {c: choose_policy(steps[steps["corpus"] != c]) for c in corpora}
    left_out = {c: policy_words(bands) for c, bands in others.items()}
    played = steps[(steps["policy"] == steps["corpus"].map(left_out)) & (steps["draw"] == 0)]
    played = played[played["n"].isin(steps.loc[steps["policy"] != "random", "n"].unique())]
    whole = pd.concat([steps, played.assign(policy=AUTO)], ignore_index=True)
    return Findings(
        by_budget=gains_by_budget(whole),
        by_share=gains_by_share(steps),
        adequacy=adequacy_held(whole),
        bands=choose_policy(steps),
        left_out=left_out,
        corpora=corpora,
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
    own = (steps["strategy"] == steps["policy"]) | ~steps["policy"].isin(STRATEGIES)
    return steps[own.groupby([steps["policy"], steps["n"]]).transform("any")]


def _random_labels(accuracy: float, curve: FloatArray, log_sizes: FloatArray) -> float:
    """Return how many random labels reach an accuracy, between the ends of the curve."""
    rising = np.maximum.accumulate(curve) + 1e-9 * np.arange(len(curve))
    return float(np.exp(np.interp(accuracy, rising, log_sizes)))


def gains_by_share(steps: pd.DataFrame) -> pd.DataFrame:
    """Return gain over random by available labels a class, one row a band and strategy."""
    rows = []
    for lower, upper, gains in _banded(steps):
        for strategy in gains.columns:
            values = gains[strategy].dropna().to_numpy()
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
    return pd.DataFrame(rows)


def _banded(steps: pd.DataFrame) -> list[tuple[float, float, pd.DataFrame]]:
    """Return for each band its ends and the gain in points of every strategy on every corpus.

    A step counts for the strategy that chose it, and for the labels a class before it.
    """
    gains = _gains(steps[steps["strategy"] == steps["policy"]])
    ends = [0.0, *(np.inf if limit is None else limit for limit in LIMITS)]
    bands = []
    for lower, upper in itertools.pairwise(ends):
        inside = gains[(gains["labels_a_class"] >= lower) & (gains["labels_a_class"] < upper)]
        table = inside.pivot_table(index="corpus", columns="policy", values="gain")
        there = [name for name in STRATEGIES[:-1] if name in table.columns]
        bands.append((lower, upper, table[there]))
    return bands


def _gains(steps: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of all policies but random, with their gain over it in points."""
    random = steps[steps["policy"] == "random"]
    mean = random.groupby(["task", "seed", "n"])["accuracy"].mean().rename("random")
    others = steps[steps["policy"] != "random"].join(mean, on=["task", "seed", "n"])
    return others.assign(gain=100 * (others["accuracy"] - others["random"]))


def choose_policy(steps: pd.DataFrame) -> tuple[Band, ...]:
    """Return the policy that gains most, in the mean over budgets and corpora.

    It must be surely better than random, by its 90 % interval over at least three corpora; else
    random it is.
    """
    gains = _gains(steps).pivot_table(index="corpus", columns="policy", values="gain")
    best, chosen = 0.0, POLICIES[STRATEGIES.index("random")]
    for bands in POLICIES:
        name = policy_words(bands)
        values = gains[name].dropna().to_numpy() if name in gains else np.zeros(0)
        if len(values) >= FEWEST_CORPORA and values.mean() > best and _surely(values):
            best, chosen = float(values.mean()), bands
    return chosen


def _surely(values: FloatArray) -> bool:
    """Tell whether a mean over corpora is above 0 by its 90 % interval."""
    return bool(np.quantile(values[_draws(len(values))].mean(1), 0.05) > 0)


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
        columns = ["held", "gap", "informative", "covered"]
        means = part.pivot_table(index="corpus", values=columns).mean()
        rows.append({"policy": policy, "n_cases": len(part), **means.to_dict()})
    return pd.DataFrame(rows)


def _policies(steps: pd.DataFrame) -> list[str]:
    there = set(steps["policy"])
    return [name for name in (*map(policy_words, POLICIES), AUTO) if name in there]


def _draws(n: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(0, n, (N_DRAWS, n))


def _with_interval(name: str, value: float, drawn: FloatArray) -> dict[str, float]:
    low, high = np.quantile(drawn, [0.05, 0.95])
    return {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}


def findings_lines(found: Findings) -> list[str]:
    """Return the findings as text: the policy, what it is worth, what each strategy is."""
    table = found.by_budget
    lines = [f"policy: {policy_words(found.bands)}"]
    for policy in [*STRATEGIES[:-1], AUTO]:
        rows = table[table["policy"] == policy]
        best = rows.iloc[int(rows["saved"].to_numpy().argmax())]
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
    """Return a policy as text.

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
