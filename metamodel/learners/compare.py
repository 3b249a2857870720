"""Other ways of training than a linear head on one layer: their accuracies, and where they cross.

The accuracy of a learner with n labels is the metamodel's prediction for the linear head plus a
gain. The gain is the mean over known corpora at n, by log n between the numbers that were measured,
plus what a ridge regression on a few features adds, where that helped on corpora left out.

Two learners cross where their difference changes its sign. Each known corpus gives one draw: the
predicted difference plus what was missing to it on that corpus when it was left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamodel.features import at_sizes, describe, gain_features
from metamodel.forecaster import ENDS, Band
from metamodel.needs import need_distribution
from metamodel.ridge import Ridge

FloatArray = NDArray[np.float64]

PROBE = "probe"
"""The linear head on the recommended layer: every gain is over it."""

BEYOND = 2.0
"""Gains are held up to half of the smallest and twice the largest measured number of labels, one
step of the sizes of an answer; beyond, nothing is predicted."""

LIKELY = 0.75
"""A smaller chance that one learner is better is no reason to choose it: a coin has one half."""

FEWEST_CORPORA = 8
"""Fewer cannot show what a 90 % interval is, nor that features help."""

_STEPS = 8  # sizes a doubling between which a crossing is looked for, as for targets


@dataclass(frozen=True, eq=False)
class Gain:
    """What a learner adds to the accuracy of the linear head.

    Attributes:
        log_n: log2 of the numbers of labels that were measured, rising, (n_knots,).
        mean: Mean gain at each, every corpus counting alike, (n_knots,).
        ridge: What features add to it; None where they do not help.
    """

    log_n: FloatArray
    mean: FloatArray
    ridge: Ridge | None = None

    def predict(self, features: pd.DataFrame) -> FloatArray:
        """Return the gain of rows with the columns of `gain_features`, in accuracy."""
        level = np.interp(features["log_n"].to_numpy(np.float64), self.log_n, self.mean)
        return np.asarray(level if self.ridge is None else level + self.ridge.predict(features))


@dataclass(frozen=True, eq=False)
class Learner:
    """A way of training.

    Attributes:
        name: Such as ``"tuned"``.
        gain: What it adds to the linear head.
        band: Intervals of its accuracy.
        missing: What was missing to the predicted gain on each corpus left out,
            (n_corpora, n_knots); NaN where it was not measured. Rows are the same corpora for
            all learners.
        tokens: Mean tokens a text of the tasks that it was measured on, smallest and largest.
    """

    name: str
    gain: Gain
    band: Band
    missing: FloatArray
    tokens: tuple[float, float]

    @property
    def measured(self) -> tuple[int, int]:
        """Smallest and largest number of labels that it was measured with."""
        low, high = 2.0 ** self.gain.log_n[[0, -1]]
        return round(low), round(high)


@dataclass(frozen=True)
class Crossing:
    """The number of labels from which one learner is better than another.

    Attributes:
        a: The learner that is better with fewer labels, if any is.
        b: The other.
        n: Labels from which b is as likely as not better; None where it is not by ``largest``.
        low: Labels from which it is with a probability of 5 %; None as above.
        high: Labels from which it is with a probability of 95 %; None as above.
        probability: That b is better with ``largest`` labels.
        already: That it is with ``smallest`` and all more; None where that is not known.
        smallest: The smallest number of labels that was looked at.
        largest: The largest.
    """

    a: str
    b: str
    n: float | None
    low: float | None
    high: float | None
    probability: float
    already: float | None
    smallest: int
    largest: int


@dataclass(frozen=True)
class Elsewhere:
    """What was measured under encoders that the gains are not of, on corpora never seen.

    Attributes:
        learners: The ways of training that were measured there.
        encoders: These encoders.
        corpora: How many corpora.
        n0: Labels that predictions were made from.
        n: Labels that they were made for.
        widening: Factor of the half-widths of intervals, at least 1.
        figures: One row an encoder and learner, see `metamodel.judge.learner_transfer`.
    """

    learners: tuple[str, ...]
    encoders: tuple[str, ...]
    corpora: int
    n0: int
    n: int
    widening: float
    figures: tuple[dict[str, Any], ...]

    @property
    def named_right(self) -> tuple[int, int]:
        """On how many tasks the better of learner and linear head was named, and of how many."""
        rows = [row for row in self.figures if not row["known"] and row["apart"]]
        right = sum(row["right"] * row["apart"] for row in rows)
        return round(right), sum(row["apart"] for row in rows)


@dataclass(frozen=True, eq=False)
class Learners:
    """All that is known of ways of training.

    Attributes:
        encoders: Fingerprints of the encoders that they were measured with.
        names_of_encoders: Their names.
        n_corpora: Corpora that they were measured on.
        learners: Those that are not the linear head.
        figures: How far off their predictions are, see `metamodel.fit.learners`.
        elsewhere: How they do under other encoders; None where that was not measured.
        widening: Factor of the half-widths of intervals: see `under_others`.
        names_better: Whether the learner with the larger prediction is likely to be the better one.
    """

    encoders: tuple[str, ...]
    names_of_encoders: tuple[str, ...]
    n_corpora: int
    learners: tuple[Learner, ...]
    figures: dict[str, Any]
    elsewhere: Elsewhere | None = None
    widening: float = 1.0
    names_better: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The linear head, then the others."""
        return (PROBE, *(learner.name for learner in self.learners))

    @property
    def measured(self) -> tuple[int, int]:
        """Smallest and largest number of labels that were measured."""
        ends = self.ranges.values()
        return min(low for low, _ in ends), max(high for _, high in ends)

    @property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """The same for each learner but the linear head."""
        return {learner.name: learner.measured for learner in self.learners}

    @property
    def tokens(self) -> dict[str, tuple[float, float]]:
        """Mean tokens a text of the tasks of each learner but the linear head, from and to."""
        return {learner.name: learner.tokens for learner in self.learners}

    @property
    def ends(self) -> tuple[int, int]:
        """Smallest and largest number of labels that something is predicted for."""
        low, high = self.measured
        return round(low / BEYOND), round(high * BEYOND)

    def under_others(self) -> Learners:
        """Return the same for encoders that they were not measured with: wider intervals.

        Raises:
            ValueError: That was not measured.
        """
        if self.elsewhere is None:
            raise ValueError("learners: expected metrics under other encoders, got none.")
        known = tuple(
            learner for learner in self.learners if learner.name in self.elsewhere.learners
        )
        right, tasks = self.elsewhere.named_right
        return replace(
            self,
            learners=known,
            widening=self.elsewhere.widening,
            names_better=right >= LIKELY * tasks,
        )

    def at(self, evidence: pd.DataFrame, probe: pd.DataFrame, *, layer: int) -> Predicted:
        """Return what is predicted of each learner for a pilot.

        Args:
            evidence: All layers of the pilot, columns of `metamodel.schema.EVIDENCE`.
            probe: The linear head's curve: columns n, mean, low, high.
            layer: Its layer.
        """
        curve = probe.sort_values("n")
        low, high = self.ends
        sizes = curve["n"].to_numpy(np.float64)
        start, end = max(low, sizes[0]), min(high, sizes[-1])
        if start > end:
            return Predicted(self, np.empty(0), curve, {}, {})
        steps = max(2, int(np.ceil(_STEPS * np.log2(end / start))) + 1)
        asked = np.unique(
            [*np.geomspace(start, end, steps), *sizes[(low <= sizes) & (sizes <= end)]]
        )
        means = np.interp(np.log(asked), np.log(sizes), curve["mean"].to_numpy(np.float64))
        rows = np.repeat(np.arange(len(evidence)), len(asked))
        table = at_sizes(describe(evidence), rows, np.tile(asked, len(evidence)))
        own = np.repeat(evidence["layer"].to_numpy(), len(asked)) == layer
        features = table[own].reset_index(drop=True)
        known = gain_features(features, means)
        gains = {learner.name: learner.gain.predict(known) for learner in self.learners}
        spreads = {
            learner.name: learner.band.spread.predict(
                features, np.clip(means + gains[learner.name], 0, 1)
            )
            for learner in self.learners
        }
        return Predicted(self, asked, curve, gains, spreads)


@dataclass(frozen=True, eq=False)
class Predicted:
    """The learners' predictions for one pilot.

    Attributes:
        known: The learners.
        sizes: Numbers of labels, rising, (n_sizes,); none where all are out of range.
        probe: The linear head's curve.
        gains: Learner -> predicted gain, (n_sizes,).
        spreads: Learner -> expected absolute error of its accuracy, (n_sizes,).
    """

    known: Learners
    sizes: FloatArray
    probe: pd.DataFrame
    gains: dict[str, FloatArray]
    spreads: dict[str, FloatArray]

    def _probe(self, column: str) -> FloatArray:
        logs = np.log(self.probe["n"].to_numpy(np.float64))
        values = self.probe[column].to_numpy(np.float64)
        return np.asarray(np.interp(np.log(self.sizes), logs, values))

    def _mean(self, name: str) -> FloatArray:
        return np.asarray(
            np.maximum.accumulate(np.clip(self._probe("mean") + self.gains[name], 0, 1))
        )

    def near(self, *names: str) -> NDArray[np.bool_]:
        """Return at which sizes all of these learners are predicted, (n_sizes,)."""
        kept = np.ones(len(self.sizes), bool)
        for learner in self.known.learners:
            if learner.name in names:
                low, high = learner.measured
                kept &= (low / BEYOND <= self.sizes) & (self.sizes <= BEYOND * high)
        return kept

    def comparable(self, a: str, b: str) -> bool:
        """Return whether two learners were measured on enough corpora, with like many labels."""
        return len(self.differences(a, b)) >= FEWEST_CORPORA and bool(self.near(a, b).any())

    def reach(self, name: str) -> tuple[FloatArray, FloatArray]:
        """Return how far the 90 % interval of a learner reaches down and up, (n_sizes,) each.

        Before it is cut at 0 and 1; never less than the linear head's.
        """
        low, high = self._learner(name).band.ends
        mean = self._probe("mean")
        below = np.maximum(-low * self.spreads[name], mean - self._probe("low"))
        above = np.maximum(high * self.spreads[name], self._probe("high") - mean)
        return self.known.widening * below, self.known.widening * above

    def curve(self, name: str) -> pd.DataFrame:
        """Return columns n, mean, low, high of a learner: 90 % intervals that do not fall in n.

        They are never narrower than the linear head's at the same number of labels.
        """
        if name == PROBE:
            return self.probe[["n", "mean", "low", "high"]].reset_index(drop=True)
        mean, (below, above) = self._mean(name), self.reach(name)
        table = pd.DataFrame(
            {
                "n": self.sizes,
                "mean": mean,
                "low": np.maximum.accumulate(np.clip(mean - below, 0, 1)),
                "high": np.maximum.accumulate(np.clip(mean + above, 0, 1)),
            }
        )
        whole = table["n"].isin(self.probe["n"]) & self.near(name)
        return table[whole].astype({"n": np.int64}).reset_index(drop=True)

    def crossing(self, a: str, b: str) -> Crossing:
        """Return from how many labels b is better than a.

        Args:
            a: A learner.
            b: Another one.
        """
        draws, sizes = self.differences(a, b) > 0, self.sizes[self.near(a, b)]
        ahead = np.flip(np.logical_and.accumulate(np.flip(draws, 1), axis=1), 1)
        first = np.where(ahead.any(1), sizes[ahead.argmax(1)], np.inf)
        n, low, high = (_finite(first, share) for share in (0.5, *ENDS))
        smallest, largest = (round(float(sizes[k])) for k in (0, -1))
        last, already = float(draws[:, -1].mean()), float(ahead[:, 0].mean())
        return Crossing(a, b, n, low, high, last, already, smallest, largest)

    def differences(self, a: str, b: str) -> FloatArray:
        """Return draws of the accuracy of b less that of a, one a corpus.

        Returns:
            (n_corpora, n_near): at the sizes that both are predicted at, see `near`. Under other
            encoders they are spread wider around their median at each size.
        """
        kept = self.near(a, b)
        missing = self._missing(b) - self._missing(a)
        missing = missing[np.isfinite(missing).all(1)]
        if not len(missing):
            return np.empty((0, int(kept.sum())))
        middle = np.median(missing, axis=0)
        gain = np.zeros(len(self.sizes)) + self.gains.get(b, 0.0) - self.gains.get(a, 0.0)
        wide = gain + middle + self.known.widening * (missing - middle)
        return np.asarray(wide[:, kept])

    def needs(self, name: str, target: float) -> FloatArray:
        """Return equally likely numbers of labels with which a learner reaches an accuracy.

        Args:
            name: A learner that is not the linear head.
            target: The accuracy.
        """
        kept = self.near(name)
        return need_distribution(
            self.sizes[kept],
            self._mean(name)[kept],
            self.known.widening * self.spreads[name][kept],
            self._learner(name).band.quantiles,
            target,
        ).draws()

    def _learner(self, name: str) -> Learner:
        return next(learner for learner in self.known.learners if learner.name == name)

    def _missing(self, name: str) -> FloatArray:
        """Return what was missing by corpus at each size, NaN where nothing was measured."""
        if name == PROBE:
            return np.zeros((len(self.known.learners[0].missing), len(self.sizes)))
        learner = self._learner(name)
        at = np.log2(self.sizes)
        found = np.full((len(learner.missing), len(at)), np.nan)
        for row, values in enumerate(learner.missing):
            known = np.isfinite(values)
            if known.any():
                found[row] = np.interp(at, learner.gain.log_n[known], values[known])
        return found


def _finite(values: FloatArray, share: float) -> float | None:
    """Return the smallest value that such a share of the values does not exceed."""
    ordered = np.sort(values)
    found = float(ordered[min(int(np.ceil(share * len(ordered))), len(ordered)) - 1])
    return found if np.isfinite(found) else None
