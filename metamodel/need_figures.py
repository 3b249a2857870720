"""How well label needs are told, and what buying by them costs.

The target of a pilot is what heads reached on average with so many times its labels, where that
is more than they reached with fewer; the truth is that size. All sizes are multiples of the
pilot's labels, from 1 to 32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamodel.collection import plan_collection
from metamodel.judging import Bands, LeftOut
from metamodel.needs import NeedDistribution, first_size, need_distribution
from metamodel.scorecard import share_by_task

FloatArray = NDArray[np.float64]

MULTIPLES = (2, 4, 8, 16)
CURVES = ("pow2", "pow3", "median3")
CONSTANT = 4.0
BEYOND = 0.02
PENALTY = 100.0
"""Cost of missing a target in labels, as a multiple of the labels at hand."""

ROUNDS = (1, 3, 5)
_FAR = 100.0  # in place of an unreachable multiple where a ratio is needed


@dataclass(frozen=True, eq=False)
class _Case:
    """Pilots and what is said of them, one row each; sizes are multiples of their labels."""

    grid: FloatArray
    truth: FloatArray
    tasks: NDArray[Any]
    curves: dict[str, FloatArray]
    spread: FloatArray
    quantiles: FloatArray

    def believed(self, target: FloatArray) -> NeedDistribution:
        """Return the metamodel's belief."""
        mean = self.curves["metamodel"]
        return need_distribution(self.grid, mean, self.spread, self.quantiles, target)

    def told(self) -> dict[str, Callable[[FloatArray], FloatArray]]:
        """Return what each method answers to targets."""
        methods: dict[str, Callable[[FloatArray], FloatArray]] = {
            name: lambda target, curve=curve: first_size(self.grid, curve, target)  # type: ignore[misc]
            for name, curve in self.curves.items()
            if name != "metamodel"
        }
        methods["metamodel_curve"] = lambda target: first_size(
            self.grid, self.curves["metamodel"], target
        )
        methods["always_4_times"] = lambda target: np.full(len(target), CONSTANT)
        methods["metamodel"] = lambda target: self.believed(target).typical
        return methods

    def target(self, multiple: float) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return the targets, and which are more than what was reached with fewer labels."""
        place = int(np.flatnonzero(self.grid == multiple)[0])
        fewer = np.where(self.grid < multiple, self.truth, -np.inf)
        before = np.where(np.isfinite(fewer), fewer, -np.inf).max(1)
        target = self.truth[:, place]
        return target, np.isfinite(target) & (target > before)


def _case(frame: pd.DataFrame, main: LeftOut, bands: Bands, rows: NDArray[np.bool_]) -> _Case:
    grid = np.sort(frame["multiple"].unique())
    shape = -1, len(grid)
    kept = rows.reshape(shape)[:, 0]

    def table(values: FloatArray) -> FloatArray:
        return np.asarray(values, np.float64).reshape(shape)[kept]

    curves = {name: table(frame[name].to_numpy()) for name in CURVES}
    curves["metamodel"] = table(main.mean)
    return _Case(
        grid=grid,
        truth=table(frame["truth"].to_numpy()),
        tasks=frame["task"].to_numpy(object).reshape(shape)[kept, 0],
        curves={name: np.maximum.accumulate(curve, 1) for name, curve in curves.items()},
        spread=table(bands.spread),
        quantiles=bands.quantiles[bands.corpus.reshape(shape)[kept, 0]],
    )


def needs_of(
    frame: pd.DataFrame, main: LeftOut, bands: Bands, rows: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """Return one row a method and multiple, and one a method for all multiples together.

    ``within_2`` is the share told within a factor of 2 of the truth; ``reachable_though_not`` the
    share of targets two points above what 32 times the labels reached that were called reachable.

    Args:
        frame: From `metamodel.frame.ask`; all multiples of a row of evidence, in order.
        main: The metamodel's predictions.
        bands: Its intervals.
        rows: Which rows count, all multiples of a pilot's layer alike.
    """
    case = _case(frame, main, bands, rows)
    last = case.truth[:, -1]
    beyond = np.isfinite(last)
    table = []
    for name, told in case.told().items():
        false = np.isfinite(told(last + BEYOND))[beyond]
        wrong = share_by_task(false, case.tasks[beyond]) if beyond.any() else float("nan")
        offs, truths, answers = [], [], []
        for multiple in MULTIPLES:
            target, real = case.target(multiple)
            answer = told(target)[real]
            off = np.abs(np.log2(np.where(np.isfinite(answer), answer, _FAR) / multiple))
            offs.append(off)
            truths.append(np.full(len(off), float(multiple)))
            answers.append(np.minimum(answer, _FAR))
            table.append(
                {
                    "multiple": str(multiple),
                    "method": name,
                    "median_log2": _median(off),
                    "within_2": share_by_task(off <= 1 + 1e-9, case.tasks[real]),
                    "unreachable_though_reached": share_by_task(
                        ~np.isfinite(answer), case.tasks[real]
                    ),
                    "reachable_though_not": wrong,
                    "pilots": len(off),
                }
            )
        answered, true = np.concatenate(answers), np.concatenate(truths)
        varies = len(answered) > 1 and np.ptp(answered) > 0 and np.ptp(true) > 0
        rank = pd.Series(answered).corr(pd.Series(true), method="spearman") if varies else np.nan
        table.append(
            {
                "multiple": "all",
                "method": name,
                "median_log2": _median(np.concatenate(offs)),
                "spearman": float(rank),
            }
        )
    return table


def _median(values: FloatArray) -> float:
    """Return the median; NaN of nothing: few pilots may have no target within reach."""
    return float(np.median(values)) if len(values) else float("nan")


def collection_of(
    frame: pd.DataFrame, main: LeftOut, bands: Bands, rows: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """Return failure rate and cost ratio of plans for what 8 times the labels reach.

    Args:
        frame: From `metamodel.frame.ask`; all multiples of a row of evidence, in order.
        main: The metamodel's predictions.
        bands: Its intervals.
        rows: Which rows count, all multiples of a pilot's layer alike.
    """
    case = _case(frame, main, bands, rows)
    target, real = case.target(8)
    told: dict[str, FloatArray] = {
        name: case.told()[name](target)[real][:, None] for name in ("pow2", "pow3", "median3")
    }
    told["metamodel"] = case.believed(target).draws()[real]
    table = []
    for name, draws in told.items():
        for rounds in ROUNDS:
            bought = np.array([_bought(row, 8.0, rounds) for row in draws])
            failed = bought < 8.0
            ratio = bought[~failed] / 8.0
            table.append(
                {
                    "method": name,
                    "rounds": rounds,
                    "failure": share_by_task(failed, case.tasks[real]),
                    "cost_ratio": float(ratio.mean()) if len(ratio) else float("nan"),
                    "pilots": len(bought),
                }
            )
    return table


def _bought(draws: FloatArray, need: float, rounds: int) -> float:
    """Return what has been bought when the need is met, or at the end of the plan."""
    scale = 1000.0  # plans count whole labels
    plan = plan_collection(
        draws * scale, have=int(scale), price=1.0, penalty=PENALTY * scale, rounds=rounds
    )
    totals = np.array(plan.totals) / scale
    enough = totals[totals >= need]
    return float(enough[0] if len(enough) else totals[-1])
