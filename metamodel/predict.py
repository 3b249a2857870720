"""The metamodel: evidence of a pilot in; accuracies, label needs, layers and doubts out.

It is kept as one JSON file: no code in it, and a hash over its content. The ranges of what it has
seen are part of it, so that it can report when evidence is unlike all of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamodel.choice import LayerChoice
from metamodel.features import FEATURES, at_sizes, describe
from metamodel.forecaster import Forecaster, band_from
from metamodel.model import anchor_of, mixture_from_texts
from metamodel.needs import NeedDistribution, need_distribution
from metamodel.ridge import ridge_from

WORDS: dict[str, str] = {
    "n0": "labels",
    "n_classes": "classes",
    "majority": "share of the largest class",
    "rank_participation": "participation ratio of the texts' states",
    "rank_entropy": "entropy rank of the texts' states",
    "decay": "decay of the texts' spectrum",
    "top_share": "share of the leading direction",
    "state_shift": "distance of the unlabelled texts",
}
"""Columns of the evidence that are looked at, and what they are called."""

_NO_LIMIT = frozenset({"n0"})
"""More labels than any pilot had are no reason for doubt: the sample's own curve is surer then."""

_ROOM = 0.05  # of the range: what lies so little outside is not worth a word


@dataclass(frozen=True)
class Seen:
    """Ranges of what was seen, one value a pilot: the mean over its layers.

    Attributes:
        ranges: Column -> smallest and largest.
    """

    ranges: dict[str, tuple[float, float]]

    def outside(self, evidence: pd.DataFrame) -> list[str]:
        """Return as text which values of a pilot lie outside.

        Args:
            evidence: All layers of one pilot, columns of `metamodel.schema.EVIDENCE`.
        """
        said = []
        for name, (low, high) in self.ranges.items():
            value = float(evidence[name].mean())
            room = _ROOM * (high - low)
            above = value > high + room and name not in _NO_LIMIT
            if np.isfinite(value) and (above or value < low - room):
                said.append(
                    f"{WORDS[name]} {_number(value)} (seen: {_number(low)} to {_number(high)})"
                )
        return said


def see(evidence: pd.DataFrame, pilot: pd.Series) -> Seen:
    """Return the ranges of some evidence.

    Args:
        evidence: Columns of `metamodel.schema.EVIDENCE`.
        pilot: Which pilot each row belongs to.
    """
    means = evidence[list(WORDS)].groupby(pilot.to_numpy()).mean()
    known = means.columns[means.notna().any()]
    return Seen({str(n): (float(means[n].min()), float(means[n].max())) for n in known})


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:.3g}"


FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SHIPPED = Path(__file__).parent / "shipped"
_STEPS = 8  # sizes a doubling between which a target is looked for
_WORDS = {f.name: f.words for f in FEATURES}
_ANCHOR_WORDS = "a simple extrapolation of the sample"


@dataclass(frozen=True)
class Need:
    """How many labels reach a target.

    Attributes:
        target: Accuracy, as a fraction.
        n: Labels that are as likely as not enough; None where the target is not called reachable.
        low: Labels that are enough with a probability of 5 %; None where none are.
        high: Labels that are enough with a probability of 95 %; None where none are.
        reached: Whether the target is called reachable.
        probability: That it is reached by the largest size asked about.
        budgets: Numbers of labels, each with the probability that it is enough.
    """

    target: float
    n: float | None
    low: float | None
    high: float | None
    reached: bool
    probability: float
    budgets: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Metamodel:
    """All that was learned.

    Attributes:
        encoders: Fingerprints of the encoders whose evidence it learned from.
        labelled: Tells accuracies at N labels of pilots with labels.
        textless: The same where there are no unlabelled texts.
        unlabelled: The same without any label.
        evaluation: Tells the accuracy on the unlabelled texts of heads trained on the pilot.
        choice: Tells layers apart.
        seen: What the evidence was like.
    """

    encoders: tuple[str, ...]
    labelled: Forecaster
    textless: Forecaster
    unlabelled: Forecaster
    evaluation: Forecaster
    choice: LayerChoice
    seen: Seen

    def curve(self, evidence: pd.DataFrame, sizes: Sequence[int]) -> pd.DataFrame:
        """Return the accuracy that heads are expected to reach.

        Args:
            evidence: All layers of one pilot, columns of `metamodel.schema.EVIDENCE`.
            sizes: Numbers of labels, at least the pilot's.

        Returns:
            One row a layer and size: columns layer, n, mean, low, high, wide_low, wide_high,
            spread (the expected absolute error). Low to high is a 90 % interval; wide_low to
            wide_high holds 90 % of the time on 9 tasks in 10. None of the five falls in n.
        """
        asked = np.unique(np.asarray(sizes, np.float64))
        model = self._forecaster(evidence)
        features = _features(evidence, asked)
        shape = len(evidence), len(asked)
        raw = model.mean(features)
        spread = model.spread(features, raw).reshape(shape)
        mean = _rising(raw.reshape(shape))
        low, high = model.interval(mean, spread)
        wide_low, wide_high = model.wide(mean, spread)
        columns = {
            "layer": np.repeat(evidence["layer"].to_numpy(), len(asked)),
            "n": np.tile(asked, len(evidence)).astype(np.int64),
            "mean": mean.ravel(),
            "low": _rising(np.minimum(low, mean)).ravel(),
            "high": _rising(np.maximum(high, mean)).ravel(),
            "wide_low": _rising(np.minimum(wide_low, low)).ravel(),
            "wide_high": _rising(np.maximum(wide_high, high)).ravel(),
            "spread": spread.ravel(),
        }
        return pd.DataFrame(columns)

    def labels_for(
        self,
        evidence: pd.DataFrame,
        target: float,
        *,
        layer: int,
        largest: int,
        budgets: Sequence[int] = (),
    ) -> Need:
        """Return how many labels reach a target.

        Args:
            evidence: All layers of one pilot.
            target: Accuracy, as a fraction.
            layer: Whose heads.
            largest: Largest number of labels to think of.
            budgets: Numbers of labels, at most that many.
        """
        believed = self._needs(evidence, target, layer, largest)
        n = float(believed.typical)
        low, high = (float(believed.quantile(q)) for q in (0.05, 0.95))
        return Need(
            target=target,
            n=n if np.isfinite(n) else None,
            low=low if np.isfinite(low) else None,
            high=high if np.isfinite(high) else None,
            reached=bool(np.isfinite(n)),
            probability=float(believed.probability),
            budgets=tuple(zip(budgets, believed.at(budgets).tolist(), strict=True)),
        )

    def draws(
        self, evidence: pd.DataFrame, target: float, *, layer: int, largest: int
    ) -> FloatArray:
        """Return equally likely numbers of labels that reach a target, infinity for never.

        Args:
            evidence: All layers of one pilot.
            target: Accuracy, as a fraction.
            layer: Whose heads.
            largest: Largest number of labels to think of.
        """
        return self._needs(evidence, target, layer, largest).draws()

    def layers(self, evidence: pd.DataFrame, n: int) -> pd.DataFrame:
        """Return how good each layer is expected to be with n labels.

        Args:
            evidence: All layers of one pilot.
            n: Number of labels.

        Returns:
            One row a layer: layer, score (expected accuracy), low, high (what it may be, if the
            level over all layers is right), tied_with_best.
        """
        level = float(self.curve(evidence, [n])["mean"].mean())
        pilot = np.zeros(len(evidence), np.int64)
        features = _features(evidence, np.array([float(n)]))
        differences = self.choice.differences(features, pilot)
        tie = self.choice.tie_width(float(features["log_n0"].iloc[0]))
        score = np.clip(level + differences, 0, 1)
        return pd.DataFrame(
            {
                "layer": evidence["layer"].to_numpy(),
                "score": score,
                "low": np.clip(score - 2 * tie, 0, 1),
                "high": np.clip(score + 2 * tie, 0, 1),
                "tied_with_best": score >= score.max() - tie,
            }
        )

    def evaluation_accuracy(
        self, evidence: pd.DataFrame, *, layer: int
    ) -> tuple[float, float, float]:
        """Return mean, low and high of the accuracy on the unlabelled texts, heads as they are.

        Args:
            evidence: All layers of one pilot with labels.
            layer: Whose head.
        """
        place = _place(evidence, layer)
        features = _features(evidence, np.array([float(evidence["n0"].iloc[0])]))
        mean = self.evaluation.mean(features)
        low, high = self.evaluation.wide(mean, self.evaluation.spread(features, mean))
        return float(mean[place]), float(low[place]), float(high[place])

    def outside(self, evidence: pd.DataFrame) -> list[str]:
        """Return as text what the evidence has that was never seen."""
        return self.seen.outside(evidence)

    def contributions(self, evidence: pd.DataFrame, n: int, *, layer: int) -> pd.DataFrame:
        """Return what moved the prediction, in points of accuracy; together they lead from chance.

        Args:
            evidence: All layers of one pilot.
            n: Number of labels.
            layer: Whose heads.

        Returns:
            Columns feature, value, points: one row a group of features; the simple extrapolation
            that the model corrects and what it always adds are rows too. Clipping to [0, 1] is
            not among them.
        """
        model = self._forecaster(evidence)
        features = _features(evidence, np.array([float(n)]))
        row = features.iloc[[_place(evidence, layer)]]
        parts = model.mixture.parts(row).iloc[0]
        points_of = {_WORDS[name]: 0.0 for name in parts.index if name != "level"}
        for name, points in parts.items():
            if name != "level":
                points_of[_WORDS[str(name)]] += float(points)
        chance = float(row["chance"].iloc[0])
        way = 100 * max(1 - chance, 0.05)
        anchor = float(anchor_of(row, model.mixture.settings.anchor)[0])
        own = evidence.iloc[_place(evidence, layer)]
        known = {"number of labels": n, "classes": own["n_classes"], "layer": layer}
        rows = [
            (_ANCHOR_WORDS, chance + way * anchor / 100, anchor),
            ("the mean over known tasks", np.nan, float(parts["level"])),
            *((words, known.get(words, np.nan), points) for words, points in points_of.items()),
        ]
        table = pd.DataFrame(rows, columns=["feature", "value", "points"])
        return table.assign(points=table["points"] * way).query("points != 0")

    def _forecaster(self, evidence: pd.DataFrame) -> Forecaster:
        if not int(evidence["n0"].iloc[0]):
            return self.unlabelled
        return self.labelled if int(evidence["n_unlabelled"].iloc[0]) else self.textless

    def _needs(
        self, evidence: pd.DataFrame, target: float, layer: int, largest: int
    ) -> NeedDistribution:
        start = max(int(evidence["n0"].iloc[0]), 2)
        end = max(largest, start + 1)
        sizes = np.geomspace(start, end, max(2, int(np.ceil(_STEPS * np.log2(end / start))) + 1))
        place = _place(evidence, layer)
        model = self._forecaster(evidence)
        features = _features(evidence, sizes)
        raw = model.mean(features)
        spread = model.spread(features, raw).reshape(len(evidence), -1)[place]
        mean = _rising(raw.reshape(len(evidence), -1)[place])
        return need_distribution(sizes, mean, spread, model.band.quantiles, target)


def _features(evidence: pd.DataFrame, sizes: FloatArray) -> pd.DataFrame:
    """Return the features of every row at every size: row by row, sizes in order."""
    described = describe(evidence)
    rows = np.repeat(np.arange(len(evidence)), len(sizes))
    return at_sizes(described, rows, np.tile(sizes, len(evidence)))


def _place(evidence: pd.DataFrame, layer: int) -> int:
    found = np.flatnonzero(evidence["layer"].to_numpy() == layer)
    if len(found) != 1:
        layers = sorted(evidence["layer"])
        raise ValueError(f"layer is not known: expected one of {layers}, got {layer}.")
    return int(found[0])


def _rising(curves: FloatArray) -> FloatArray:
    return np.asarray(np.maximum.accumulate(curves, axis=-1))


@lru_cache(maxsize=1)
def load_shipped() -> Metamodel:
    """Return the metamodel that comes with the package.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: It is damaged or of another version.
    """
    return read_metamodel(SHIPPED / "metamodel.json")


FORMAT = 2
_FORECASTERS = ("labelled", "textless", "unlabelled", "evaluation")


def metamodel_text(model: Metamodel) -> str:
    """Return a metamodel as the text of its file."""
    content = {
        "format": FORMAT,
        "encoders": list(model.encoders),
        "seen": {name: list(ends) for name, ends in model.seen.ranges.items()},
        "choice": {"ridge": model.choice.ridge.to_dict(), "tie": list(model.choice.tie)},
        **{name: _forecaster(getattr(model, name)) for name in _FORECASTERS},
    }
    return _json({"sha256": content_hash(content), **content}) + "\n"


def metamodel_from(text: str) -> Metamodel:
    """Return the metamodel of a text.

    Raises:
        ValueError: It is not what `metamodel_text` wrote, or another version did.
    """
    try:
        content: dict[str, Any] = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}.") from None
    stored = content.pop("sha256", None) if isinstance(content, dict) else None
    if stored is None:
        raise ValueError("no metamodel: expected an object with a sha256, got something else.")
    if content.get("format") != FORMAT:
        raise ValueError(f"format: expected {FORMAT}, got {content.get('format')!r}.")
    if stored != content_hash(content):
        raise ValueError("its content was changed: expected the sha256 that it names.")
    try:
        return _metamodel(content)
    except (KeyError, TypeError) as error:
        raise ValueError(f"a part is missing or of another kind: {error!r}.") from error


def read_metamodel(path: str | Path) -> Metamodel:
    """Read a metamodel.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: It is no metamodel, was changed, or is of another version.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:  # its own form would show the whole file
        raise ValueError(f"not text in UTF-8: {error}.") from None
    return metamodel_from(text)


def _metamodel(content: dict[str, Any]) -> Metamodel:
    choice = content["choice"]
    level, slope = choice["tie"]
    return Metamodel(
        encoders=tuple(content["encoders"]),
        **{name: _forecaster_from(content[name]) for name in _FORECASTERS},
        choice=LayerChoice(ridge_from(choice["ridge"]), (level, slope)),
        seen=Seen({name: (low, high) for name, (low, high) in content["seen"].items()}),
    )


def _forecaster(model: Forecaster) -> dict[str, Any]:
    return {"mixture": model.mixture.to_texts(), **model.band.to_dict()}


def _forecaster_from(given: dict[str, Any]) -> Forecaster:
    return Forecaster(mixture_from_texts(given["mixture"]), band_from(given))


def _json(content: Any) -> str:
    return json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":"))


def content_hash(content: dict[str, Any]) -> str:
    """Return the checksum that files of the package state of their own content."""
    return hashlib.sha256(_json(content).encode()).hexdigest()
