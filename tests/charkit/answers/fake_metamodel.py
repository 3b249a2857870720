"""A metamodel whose answers are known by head: accuracy 0.9 - 0.4 sqrt(8 / n), less at layer 0."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class FakeNeed:
    target: float
    n: float | None
    low: float | None
    high: float | None
    reached: bool
    probability: float
    budgets: tuple = ()


@dataclass
class FakeMetamodel:
    """Every method as `metamodel.predict.Metamodel` has it; what was asked is kept in ``asked``."""

    top: float = 0.9
    beyond: list[str] = field(default_factory=list)
    asked: list[tuple] = field(default_factory=list)

    def _mean(self, layer, n):
        return self.top - 0.4 * math.sqrt(8 / n) - (0.05 if layer == 0 else 0.0)

    def curve(self, evidence, sizes):
        self.asked.append(("curve", len(evidence), tuple(sizes)))
        rows = [
            {"layer": int(k), "n": n, "mean": self._mean(k, n)}
            for k in evidence["layer"]
            for n in sizes
        ]
        table = pd.DataFrame(rows)
        mean = table["mean"]
        near = {"low": mean - 0.05, "high": mean + 0.05}
        return table.assign(**near, wide_low=mean - 0.1, wide_high=mean + 0.1)

    def labels_for(self, evidence, target, *, layer, largest, budgets):
        if target >= self.top:
            chances = tuple((n, 0.125) for n in budgets)
            return FakeNeed(target, None, None, None, False, 0.125, chances)
        n = 8 * (0.4 / (self.top - target)) ** 2
        chances = tuple((size, 0.25 if size < n else 0.75) for size in budgets)
        high = n * 4 if n * 4 <= largest else None
        return FakeNeed(target, n, n / 2, high, True, 0.9, chances)

    def draws(self, evidence, target, *, layer, largest):
        return np.array([100.0, 200.0, 300.0, np.inf])

    def layers(self, evidence, n):
        score = np.array([self._mean(k, n) for k in evidence["layer"]])
        table = pd.DataFrame({"layer": evidence["layer"].to_numpy(), "score": score})
        return table.assign(
            low=score - 0.05, high=score + 0.05, tied_with_best=score > score.max() - 0.01
        )

    def evaluation_accuracy(self, evidence, *, layer):
        return 0.8, 0.75, 0.85

    def outside(self, evidence):
        return self.beyond

    def contributions(self, evidence, n, *, layer):
        return pd.DataFrame(
            {
                "feature": ["n_classes", "oof_accuracy", "decay"],
                "value": [2.0, 0.815, -1.25],
                "points": [0.5, -4.0, 0.01],
            }
        )
