"""The model: boosted trees and ridge regression on the same features, averaged.

Both predict what is missing from an *anchor*, a simple extrapolation, on the scale "share of the
way from chance to 1"; errors are weighed in points of accuracy. Either may be left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamodel.ridge import LocalRidge, fit_local_ridge, ridge_from
from metamodel.trees import Trees, read_trees

if TYPE_CHECKING:
    import lightgbm

FloatArray = NDArray[np.float64]

Anchor = Literal["median3", "spectral", "both", "law", "oof", "chance"]

_THREADS = 1  # small tables: more threads cost more than they give, beside others much more


FEW_CLASSES = 9
"""Tasks of at most 9 classes have enough rows of each class in a pilot of 64 labels for its own
curve to be worth as much as what other tasks teach."""

ANCHORED_FROM = 64
"""Smallest pilot whose anchor has a weight of its own; below it, inner folds show no gain."""

_ANCHOR_FEATURES: dict[Anchor, list[str]] = {
    "median3": ["median3"],
    "spectral": ["spectral"],
    "both": ["median3", "spectral"],
    "law": ["law"],
    "oof": ["oof"],
    "chance": [],
}


@dataclass(frozen=True)
class Settings:
    """How a model is fitted.

    Attributes:
        anchor: What the model corrects: the median of three power laws, the spectral curve, the
            mean of both, the power law through the sample's own points, the accuracy on the sample,
            or chance.
        n_rounds: Trees.
        learning_rate: Weight of each tree.
        num_leaves: Leaves of a tree, at most.
        min_rows: Rows of a leaf, at least.
        feature_fraction: Share of the features that a tree sees.
        l2: Penalty on the values of leaves.
        objective: ``"regression"`` (squared) or ``"huber"``.
        rising: Whether trees may only rise in the number of labels.
        penalty: Of the ridge regression, in rows.
        share_ridge: Weight of the ridge regression in the mean.
        trees_up_to: Labels of a pilot up to which the trees have the rest of the weight; it falls
            to 0 at twice as many. 0: they have it everywhere.
        anchor_share: Weight of the anchor itself in predictions for tasks of few classes from
            pilots of `ANCHORED_FROM` labels on: so much less is added to it.
    """

    anchor: Anchor = "both"
    n_rounds: int = 150
    learning_rate: float = 0.06
    num_leaves: int = 8
    min_rows: int = 100
    feature_fraction: float = 0.4
    l2: float = 10.0
    objective: Literal["regression", "huber"] = "huber"
    rising: bool = False
    penalty: float = 1000.0
    share_ridge: float = 1.0
    trees_up_to: float = 0.0
    anchor_share: float = 0.0


@dataclass(frozen=True, eq=False)
class Mixture:
    """Boosted trees and ridge regression, averaged.

    Attributes:
        names: Features.
        settings: How it was fitted.
        trees: The boosted trees, fitted or read; None where their weight is 0.
        ridge: The ridge regressions.
    """

    names: tuple[str, ...]
    settings: Settings
    trees: lightgbm.Booster | Trees | None
    ridge: LocalRidge

    def predict(self, features: pd.DataFrame) -> FloatArray:
        """Return the predicted number of each row."""
        return self.kept(features) * self._learned(features)

    def kept(self, features: pd.DataFrame) -> FloatArray:
        """Return the share of each row's correction that is added to the anchor."""
        share = self.settings.anchor_share
        if not share or "log_n0" not in features:
            return np.ones(len(features))
        few = features["log_classes"].to_numpy(np.float64) <= np.log2(FEW_CLASSES)
        known = features[_ANCHOR_FEATURES[self.settings.anchor]].notna().any(axis=1).to_numpy()
        large = features["log_n0"].to_numpy(np.float64) >= np.log2(ANCHORED_FROM)
        return np.where(few & known & large, 1 - share, 1.0)

    def _learned(self, features: pd.DataFrame) -> FloatArray:
        if self.trees is None:
            return self.ridge.predict(features)
        share = self.share_ridge(features)
        predicted = np.zeros(len(features))
        if (share > 0).any():
            predicted += share * self.ridge.predict(features)
        if (share < 1).any():
            predicted += (1 - share) * self.tree_values(features)
        return predicted

    def share_ridge(self, features: pd.DataFrame) -> FloatArray:
        """Return the weight of the ridge regression in each row's mean."""
        share, limit = self.settings.share_ridge, self.settings.trees_up_to
        if not limit or "log_n0" not in features:
            return np.full(len(features), share)
        at = features["log_n0"].to_numpy(np.float64) - np.log2(limit)
        return np.asarray(share + (1 - share) * np.clip(np.nan_to_num(at, nan=0.0), 0.0, 1.0))

    def tree_values(self, features: pd.DataFrame) -> FloatArray:
        """Return what the trees alone predict."""
        assert self.trees is not None
        return np.asarray(self.trees.predict(self._matrix(features), num_threads=_THREADS))

    def parts(self, features: pd.DataFrame) -> pd.DataFrame:
        """Return what each feature adds to the prediction, and the rest as ``level``."""
        share = self.share_ridge(features)
        total = share[:, None] * self.ridge.parts(features)
        level = share * self.ridge.levels(features)
        if self.trees is not None and (share < 1).any():
            predicted = np.asarray(
                self.trees.predict(self._matrix(features), pred_contrib=True, num_threads=_THREADS)
            )
            total = total + (1 - share[:, None]) * predicted[:, :-1]
            level = level + (1 - share) * predicted[:, -1]
        kept = self.kept(features)
        total, level = kept[:, None] * total, kept * level
        return pd.DataFrame(total, columns=list(self.names)).assign(level=level)

    def _matrix(self, features: pd.DataFrame) -> FloatArray:
        return features[list(self.names)].to_numpy(np.float64)

    def to_texts(self) -> dict[str, str]:
        """Return the model as texts: ``json``, and ``trees`` where there are any."""
        ridges = [ridge.to_dict() for ridge in self.ridge.ridges]
        facts = {
            "names": self.names,
            "settings": asdict(self.settings),
            "ridge": {"knots": self.ridge.knots, "ridges": ridges},
        }
        texts = {"json": json.dumps(facts, sort_keys=True)}
        if self.trees is not None:
            texts["trees"] = self.trees.model_to_string()
        return texts


def mixture_from_texts(texts: dict[str, str]) -> Mixture:
    """Return the model that `Mixture.to_texts` wrote.

    Raises:
        ValueError: The texts are no such model.
    """
    try:
        facts: dict[str, Any] = json.loads(texts["json"])
        ridges = tuple(ridge_from(given) for given in facts["ridge"]["ridges"])
        ridge = LocalRidge(tuple(facts["ridge"]["knots"]), ridges)
        settings = Settings(**facts["settings"])
        names = tuple(facts["names"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"no model: expected the fields of one, got {error!r}.") from None
    trees = read_trees(texts["trees"]) if "trees" in texts else None
    return Mixture(names, settings, trees, ridge)


def fit_mixture(
    features: pd.DataFrame,
    target: FloatArray,
    weights: FloatArray,
    settings: Settings,
    *,
    names: Sequence[str],
    seed: int = 0,
) -> Mixture:
    """Fit both models on some features.

    Args:
        features: One row an observation.
        target: What to predict: accuracy less anchor, as a share of the way from chance to 1.
        weights: Of the rows.
        settings: How to fit.
        names: Features to read; those that are never known are left out.
        seed: Of the trees' draws of features.
    """
    known = features[list(names)].notna().any()
    used = tuple(name for name in names if known[name])
    w = weights / weights.mean()
    table = features[list(used)]
    ridge = fit_local_ridge(table, target, w, penalty=settings.penalty)
    trees = _fit_trees(table, target, w, settings, seed) if settings.share_ridge < 1 else None
    return Mixture(used, replace(settings), trees, ridge)


def _fit_trees(
    table: pd.DataFrame, target: FloatArray, weights: FloatArray, settings: Settings, seed: int
) -> lightgbm.Booster:
    import lightgbm

    rising = {"log_ratio", "log_n", "log_n_class"}
    parameters: dict[str, Any] = {
        "objective": settings.objective,
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.num_leaves,
        "min_data_in_leaf": settings.min_rows,
        "feature_fraction": settings.feature_fraction,
        "lambda_l2": settings.l2,
        "max_bin": 127,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": _THREADS,
        "verbosity": -1,
    }
    if settings.objective == "huber":
        parameters["alpha"] = 0.1
    if settings.rising:
        parameters["monotone_constraints"] = [int(name in rising) for name in table.columns]
    data = lightgbm.Dataset(
        table.to_numpy(np.float64), target, weight=weights, feature_name=list(table.columns)
    )
    return lightgbm.train(parameters, data, num_boost_round=settings.n_rounds)


def anchor_of(features: pd.DataFrame, anchor: Anchor) -> FloatArray:
    """Return the simple prediction that a model corrects, as a share of the way to 1.

    Where it is not known, the accuracy on the sample stands in; where that is not known, chance.

    Args:
        features: Columns of `metamodel.features.NAMES`.
        anchor: Which.
    """
    names = _ANCHOR_FEATURES[anchor]
    if not names:
        return np.zeros(len(features))
    predicted = features[names].mean(axis=1).fillna(features["oof"]).fillna(0.0)
    return np.asarray(predicted.clip(0.0, 1.0), np.float64)
