"""Label, forecast, label more, forecast again: do forecasts hold, and what do labels cost?

Pilots of one draw are nested: the 64 labels are the first of the 128, and so on. So a ladder of
pilots is what a team sees that buys labels in rounds, and every forecast on it is a real one, with
the corpus left out.

References:
    Mahmood, Lucas, Alvarez, Fidler and Law 2022, "Optimizing data collection for machine learning"
    (plans by price and penalty; laws with bootstrap draws).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamodel.extrapolate import FAMILIES, fit_curves, fit_log_law
from metamodel.judge.leave_out import Bands
from metamodel.judge.needs import FIXED, MORE
from metamodel.judge.scorecard import paired
from metamodel.needs import first_size, need_distribution, plan_collection
from metamodel.schema import CURVE_SHARES

FloatArray = NDArray[np.float64]
_KEYS = ["encoder", "task", "seed"]

LADDER = (64, 128, 256, 512)
"""Pilots of a draw, each the beginning of the next."""

AHEAD = (256, 512, 1024)
"""Numbers of labels that are forecast again and again."""

PENALTIES = (500.0, 2_000.0, 8_000.0, 32_000.0)
"""Cost of missing the target, in prices of a label: from a day of labelling to most of a year (300
labels a day). A choice."""

ROUNDS = (1, 3)
CONSTANTS = (500, 1_000)
A_CLASS = 100
"""Rules of thumb: labels in all, and labels a class."""

_DRAWS = 100  # as many as the metamodel's distribution of needs gives
_STEP = 2**0.5  # what is bought where a method thought that there was enough, but there was not
_SIZES = 2 ** (np.arange(17) / 2)  # 1 to 256 times the pilot, in half doublings
LAWS = ("law", "law_drawn", "pow2_drawn", "pow3_drawn")
RULES = ("double", *(f"buy_{n}" for n in CONSTANTS), "a_class", "none")
METHODS = ("metamodel", "once", *LAWS, *RULES)
"""``once`` keeps to the metamodel's first plan."""


def forecasts_again(frame: pd.DataFrame, bands: Bands) -> list[dict[str, Any]]:
    """Return how forecasts for the same number of labels do, made with ever more labels.

    Args:
        frame: From `ask`, with columns ``metamodel`` and ``recommended``; only the
            layer that each pilot recommends counts.
        bands: Intervals of its rows.

    Returns:
        One row a number of labels ``n`` and a number ``n0`` that it was forecast with, the same
        draws for every n0: ``error``, ``bias``, ``width`` (points) and ``covered`` of the 90 %
        interval, ``inside`` (share in which what is expected once there are n labels is in it; None
        where no pilot has n), ``better``, ``low``, ``high`` (error of the first forecast less this
        one's, with a paired 90 % interval), ``tasks``.
    """
    below, above = bands.reach
    mean = frame["metamodel"]
    table = frame.assign(low=np.clip(mean - below, 0, 1), high=np.clip(mean + above, 0, 1))
    chosen = table["recommended"] & table["n0"].isin(LADDER)
    now = table.loc[chosen & (table["n"] == table["n0"]), [*_KEYS, "n", "metamodel"]]
    now = now.rename(columns={"metamodel": "now"})
    table = table[chosen & table["n"].isin(AHEAD) & table["truth"].notna()]
    table = table[table["n0"] < table["n"]].merge(now, on=[*_KEYS, "n"], how="left")
    table["off"] = 100 * (table["metamodel"] - table["truth"])
    table["covered"] = table["truth"].between(table["low"], table["high"]).astype(float)
    inside = table["now"].between(table["low"], table["high"]).astype(float)
    table["inside"] = inside.where(table["now"].notna())
    rows = []
    for n, part in table.groupby("n"):
        sizes = sorted(part["n0"].unique())
        whole = part.groupby(_KEYS)["n0"].transform("nunique") == len(sizes)
        part = part[whole].sort_values([*_KEYS, "n0"])
        first = part.loc[part["n0"] == sizes[0], "off"].abs().to_numpy()
        for n0 in sizes:
            own = part[part["n0"] == n0].reset_index(drop=True)
            task, off = own["task"], own["off"]
            better, low, high = paired(pd.Series(first) - off.abs(), task, own["corpus"])
            known = own["inside"].notna()
            rows.append(
                {
                    "n": int(str(n)),
                    "n0": int(n0),
                    "error": _mean(off.abs(), task),
                    "bias": _mean(off, task),
                    "covered": _mean(own["covered"], task),
                    "width": _mean(100 * (own["high"] - own["low"]), task),
                    "inside": _mean(own["inside"][known], task) if known.any() else None,
                    "better": better,
                    "low": low,
                    "high": high,
                    "tasks": int(task.nunique()),
                }
            )
    return rows


def _mean(values: pd.Series, tasks: pd.Series) -> float:
    return float(values.groupby(tasks).mean().mean())


@dataclass(frozen=True, eq=False)
class _Buyer:
    """One draw of a task, one target: what it needs, and what each method believes on the way.

    Attributes:
        need: Labels that reach the target; infinity where those that there are do not.
        pool: Labels that there are to buy.
        n_classes: Classes.
        believed: Of a method, for each pilot of the ladder, equally likely needs, rising.
    """

    need: float
    pool: float
    n_classes: int
    believed: dict[str, dict[int, FloatArray]]

    def bought(self, method: str, penalty: float, rounds: int) -> float:
        """Return the labels in hand when the target is reached, or when buying ends."""
        have, first = float(LADDER[0]), LADDER[0]
        for left in range(rounds, 0, -1):
            total = self._total(method, have, penalty, left, first)
            if total <= have:
                break
            have = total
            if have >= self.need:
                break
            if method != "once":
                first = max(n for n in self.believed["metamodel"] if n <= have)
        return have

    def _total(self, method: str, have: float, penalty: float, left: int, pilot: int) -> float:
        """Return the labels to have after the next round."""
        if method in RULES:
            wanted = {"double": 2 * have, "a_class": A_CLASS * self.n_classes, "none": have}
            wanted |= {f"buy_{n}": n for n in CONSTANTS}
            return min(float(wanted[method]), self.pool)
        draws = self.believed["metamodel" if method == "once" else method][pilot]
        draws = draws[draws > have]  # the target is not reached yet
        if not len(draws):
            draws = np.array([_STEP * have])
        draws = np.where(draws > self.pool, np.inf, draws)
        plan = plan_collection(draws, have=int(have), price=1.0, penalty=penalty, rounds=left)
        return min(float(plan.totals[0]), self.pool)

    def regret(self, method: str, penalty: float, rounds: int) -> tuple[float, bool, float]:
        """Return the cost above that of who knows the need, whether it is missed, and labels."""
        have = self.bought(method, penalty, rounds)
        missed = have < self.need
        best = min(self.need - LADDER[0], penalty)
        return have - LADDER[0] + penalty * missed - best, missed, have - LADDER[0]


def money_of(
    frame: pd.DataFrame,
    bands: Bands,
    pilots: pd.DataFrame,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Return what buying labels in rounds costs by each method, for a grid of penalties.

    A team has 64 labels and asks for a target: the accuracy on the sample and 2, 5 or 10 points
    more, or 70, 80 or 90 %; not reached yet. In each round it plans by what the method believes,
    buys, trains the real head on the layer that was recommended with 64 labels, sees whether the
    target is reached, and forecasts again from the largest pilot with at most the labels that it
    has. It can buy as many labels as the task has outcomes for. Missing the target costs the
    penalty, whether or not it can be reached.

    Args:
        frame: From `metamodel.judge.leave_out.ask`, with columns ``metamodel`` and ``recommended``;
            all multiples of a row of evidence, in order.
        bands: Intervals of its rows.
        pilots: The evidence that was asked about, in the same order.
        tick: Called with draws done and all of them.

    Returns:
        One row a penalty, number of rounds and method: ``regret`` (mean cost above that of who
        knows the need, in prices of a label), ``missed`` (mean share below the target), ``bought``
        (mean labels), ``beyond`` (share of targets beyond the task's labels), each a mean within a
        task, then over tasks; ``worse``, ``worse_low``, ``worse_high`` (regret less the
        metamodel's, with a paired 90 % interval), ``cases``, ``tasks``.
    """
    buyers = _buyers(frame, bands, pilots)
    rows = []
    for done, (task, corpus, buyer) in enumerate(buyers):
        beyond = np.isinf(buyer.need)
        for penalty in PENALTIES:
            for rounds in ROUNDS:
                for method in METHODS:
                    regret, missed, bought = buyer.regret(method, penalty, rounds)
                    rows.append(
                        (task, corpus, penalty, rounds, method, regret, missed, bought, beyond)
                    )
        tick(done + 1, len(buyers))
    names = ["task", "corpus", "penalty", "rounds", "method", "regret", "missed", "bought"]
    names.append("beyond")
    table = pd.DataFrame(rows, columns=names)
    found = []
    groups: Any = table.groupby(["penalty", "rounds"], sort=False)
    for (cost, n_rounds), part in groups:
        own = {str(m): p.reset_index(drop=True) for m, p in part.groupby("method", sort=False)}
        for method, p in own.items():
            worse = p["regret"] - own["metamodel"]["regret"]
            mean, low, high = paired(worse, p["task"], p["corpus"])
            found.append(
                {
                    "penalty": float(cost),
                    "rounds": int(n_rounds),
                    "method": method,
                    **{
                        n: _mean(p[n].astype(float), p["task"])
                        for n in ("regret", "missed", "bought", "beyond")
                    },
                    "worse": mean,
                    "worse_low": low,
                    "worse_high": high,
                    "cases": len(p),
                    "tasks": int(p["task"].nunique()),
                }
            )
    return found


def _buyers(
    frame: pd.DataFrame, bands: Bands, pilots: pd.DataFrame
) -> list[tuple[str, str, _Buyer]]:
    grid = np.sort(frame["multiple"].unique())
    shape = -1, len(grid)
    truth = frame["truth"].to_numpy(np.float64).reshape(shape)
    curves = {
        name: np.maximum.accumulate(frame[name].to_numpy(np.float64).reshape(shape), 1)
        for name in ("metamodel", "law")
    }
    spread = bands.spread.reshape(shape)
    corpus = bands.corpus.reshape(shape)[:, 0]
    chosen = frame["recommended"].to_numpy().reshape(shape)[:, 0]
    points = pilots[list(CURVE_SHARES)].to_numpy(np.float64)
    places = {
        (*key, int(n0), int(layer)): k
        for k, (*key, n0, layer) in enumerate(
            pilots[[*_KEYS, "n0", "layer"]].itertuples(index=False, name=None)
        )
    }
    found = []
    for k in np.flatnonzero(chosen & (pilots["n0"] == LADDER[0]).to_numpy()):
        row = pilots.iloc[k]
        key = tuple(row[_KEYS])
        ladder = {
            n: places[(*key, n, row["layer"])] for n in LADDER if (*key, n, row["layer"]) in places
        }
        known: dict[float, float] = {}
        for n, place in ladder.items():
            sizes, values = n * grid, truth[place]
            known |= {float(s): v for s, v in zip(sizes, values, strict=True) if np.isfinite(v)}
        if len(known) < 2:
            continue
        sizes = np.array(sorted(known))
        curve = np.maximum.accumulate([known[s] for s in sizes])
        redrawn = {n: _redrawn(points[place], n) for n, place in ladder.items()}
        last = float(frame["last"].to_numpy().reshape(shape)[k, 0])
        for target in (*(last + more for more in MORE), *FIXED):
            if target >= 1 or curve[0] >= target:
                continue
            believed: dict[str, dict[int, FloatArray]] = {m: {} for m in ("metamodel", *LAWS)}
            for n, place in ladder.items():
                for name, table in curves.items():
                    belief = need_distribution(
                        n * grid,
                        table[place],
                        spread[place],
                        bands.quantiles[corpus[place]],
                        target,
                    )
                    believed[name][n] = belief.draws()
                for name, table in redrawn[n].items():
                    believed[name][n] = np.sort(first_size(n * _SIZES, table, target))
            need = float(first_size(sizes, curve, target))
            n_classes = int(row["n_classes"])
            buyer = _Buyer(need, float(sizes[-1]), n_classes, believed)
            found.append((str(row["task"]), str(row["corpus"]), buyer))
    return found


def _redrawn(accuracy: FloatArray, n0: int) -> dict[str, FloatArray]:
    """Return curves of each law fitted to redrawn points of a pilot, (n_draws, n_sizes).

    A parametric bootstrap: the accuracy at each share of the pilot is drawn anew from a binomial
    with as many rows as a head of that share was tested on (all of them for the whole pilot).

    Args:
        accuracy: At each of `CURVE_SHARES`, NaN where unknown, (n_shares,).
        n0: Labels of the pilot.
    """
    known = np.isfinite(accuracy)
    shares = np.array(list(CURVE_SHARES.values()))[known]
    tested = np.where(shares == 1, n0, np.maximum(np.round((1 - shares) * n0), 1)).astype(int)
    rng = np.random.default_rng(0)
    again = rng.binomial(tested, accuracy[known], (_DRAWS, len(tested))) / tested
    law = fit_log_law(shares, again, np.full(_DRAWS, n0))
    rows = np.repeat(np.arange(_DRAWS), len(_SIZES))
    found = {"law_drawn": law.scores(rows, np.tile(_SIZES, _DRAWS)).reshape(_DRAWS, -1)}
    for family in FAMILIES[:2]:
        fit = fit_curves(shares, again, family=family, weights=tested)
        found[f"{family}_drawn"] = fit.scores(_SIZES)
    return {name: np.maximum.accumulate(curve, 1) for name, curve in found.items()}
