"""Ways of training whose answers are known by head: fine-tuning gains 0.04 a doubling from 0 at 300."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from metamodel.learners.compare import Crossing, Elsewhere


@dataclass
class FakePredicted:
    """As `metamodel.learners.compare.Predicted`; the heads' curve is what was given."""

    probe: pd.DataFrame
    known: FakeLearners
    doubt: float = 0.01
    sizes = np.array([100.0, 200.0, 400.0, 800.0])

    def curve(self, name):
        if name == "probe":
            return self.probe[["n", "mean", "low", "high"]]
        rows = self.probe[self.probe["n"] <= 800]
        gain = 0.04 * np.log2(rows["n"] / 300) if name == "tuned" else 0.01
        return rows[["n"]].assign(**{k: rows[k] + gain for k in ("mean", "low", "high")})

    def near(self, *names):
        return np.ones(4, bool)

    def comparable(self, a, b):
        return True

    def crossing(self, a, b):
        if (a, b) == ("probe", "tuned"):
            return Crossing(a, b, 300.0, 120.0, 900.0, 0.97, 0.02, 100, 800)
        if (a, b) == ("concat", "tuned"):
            return Crossing(a, b, None, 500.0, None, 0.22, 0.0, 100, 800)
        return Crossing(a, b, 100.0, 100.0, 100.0, 0.9, 0.8, 100, 800)

    def differences(self, a, b):
        gain = 0.04 * np.log2(self.sizes / 300) if b == "tuned" else 0.01 + 0 * self.sizes
        return gain + self.doubt * np.linspace(-2, 2, 21)[:, None]

    def needs(self, name, target):
        return np.array([150.0, 250.0, 350.0, np.inf])


@dataclass
class FakeLearners:
    """As `metamodel.learners.compare.Learners`."""

    encoders: tuple
    doubt: float = 0.01
    elsewhere: Elsewhere | None = None
    names = ("probe", "concat", "tuned")
    names_of_encoders = ("minilm",)
    measured = (64, 512)
    ranges = {"concat": (64, 512), "tuned": (64, 512)}  # noqa: RUF012  # as in the class
    tokens = {"concat": (2.0, 60.0), "tuned": (2.0, 60.0)}  # noqa: RUF012  # as in the class
    ends = (32, 1024)
    widening: float = 1.0
    names_better: bool = True

    def under_others(self):
        return replace(self, widening=self.elsewhere.widening)

    def at(self, evidence, probe, *, layer):
        return FakePredicted(probe, self, self.doubt)
