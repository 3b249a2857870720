"""From evidence to numbers that a model reads: one row a pilot, layer and number of labels N.

Accuracies are given as the share of the way from chance (the share of the largest class, or one in
K classes) to 1; sizes as logarithms. The pilot's own curve is extrapolated to N, its
spectral curve is read off at N, and each layer is given beside the mean over the pilot's layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamodel.extrapolate import FAMILIES, CurveFit, LogLaw, fit_curves, fit_log_law
from metamodel.schema import CURVE_SHARES, PILOT_KEY, SPECTRAL_MULTIPLES

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

Tier = Literal["counts", "norms", "distances", "curve", "spectrum", "label_free"]
TIERS: tuple[Tier, ...] = get_args(Tier)

MANY_CLASSES = 9
"""With at most 9 classes the approximate leave-one-out accuracy is right within 4 points. Above, it
is too low by 10 to 28 points, so the accuracy of heads on 80 % of the sample takes its place."""

_LEAST_GAP = 0.05  # a share of the way from chance to 1 means nothing when that way is shorter
# Curves fitted at once: bounds the memory, changes no number.
_CHUNK = 4096


@dataclass(frozen=True)
class Feature:
    """A number that the model reads.

    Attributes:
        name: The column.
        tier: What must be measured for it.
        words: What it is called for people; several features share words.
    """

    name: str
    tier: Tier
    words: str


def gain_features(features: pd.DataFrame, probe: FloatArray) -> pd.DataFrame:
    """Return what a gain may depend on.

    Args:
        features: Columns of `NAMES`, (n_rows, ...).
        probe: Predicted accuracy of the linear head, (n_rows,).
    """
    chance = features["chance"].to_numpy(np.float64)
    share = (probe - chance) / np.maximum(1 - chance, _LEAST_GAP)
    same = (
        *("log_n", "log_n_class", "log_classes", "loss", "margin", "law_slope", "own_oof", "knn"),
        *("alignment_4", "alignment_64", "spectral_noise", "rank_entropy", "decay", "class_gap"),
        *("random", "mean_doc", "state_shift", "logme", "h_score", "label_entropy", "curve_500"),
        *("fisher_norm", "fisher_low", "fisher_mid", "fisher_high", "fisher_own"),
        *("fisher_spread", "fisher_trivial"),
    )
    table = features[list(same)].reset_index(drop=True)
    return table.assign(probe=share, probe_2=share**2, room=1 - probe)


def _features(tier: Tier, words: str, *names: str) -> tuple[Feature, ...]:
    return tuple(Feature(name, tier, words) for name in names)


_OWN = "accuracy and confidence on the labelled texts"
_CURVE = "the sample's own learning curve"
_SPECTRUM = "spectrum of the texts"
_FREE = "confidence on the unlabelled texts"
_FISHER = "Fisher embedding"

FEATURES: tuple[Feature, ...] = (
    *_features("counts", "number of labels", "log_n0", "log_ratio", "log_n", "log_n_class"),
    *_features("counts", "classes", "log_classes", "log_classes_2", "chance", "label_entropy"),
    *_features("counts", "layer", "depth"),
    *_features(
        "norms",
        _FISHER,
        *("fisher_norm", "fisher_low", "fisher_mid", "fisher_high", "fisher_own"),
        *("fisher_spread", "fisher_trivial"),
    ),
    *_features("distances", _FISHER, "fisher_shift", "fisher_near", "fisher_near_5"),
    *_features("curve", _CURVE, "pow3", "median3", "growth", "disagreement", "step_1", "step_2"),
    *_features("curve", _CURVE, "loss_step", "mean_median3"),
    *_features("curve", _CURVE, "curve_800", "curve_500", "curve_250", "mean_curve_800"),
    *_features("curve", _CURVE, "mean_curve_500", "mean_curve_250"),
    *_features("curve", _CURVE, "law", "mean_law", "law_slope", "mean_law_slope"),
    *_features("curve", _OWN, "oof", "loss", "confidence", "margin", "margin_q25", "entropy"),
    *_features("curve", _OWN, "logme", "h_score", "knn", "random", "shuffled"),
    *_features("curve", _OWN, "mean_oof", "best_oof", "own_oof", "mean_loss", "own_loss"),
    *_features("curve", _OWN, "oof_2", "mean_oof_2"),
    *_features("spectrum", "spectral learning curve", "spectral", "spectral_growth"),
    *_features("spectrum", "spectral learning curve", "mean_spectral", "own_spectral"),
    *_features("spectrum", _SPECTRUM, "alignment_4", "alignment_16", "alignment_64"),
    *_features("spectrum", _SPECTRUM, "spectral_noise", "rank_participation", "rank_entropy"),
    *_features("spectrum", _SPECTRUM, "decay", "top_share", "class_gap"),
    *_features("label_free", _FREE, "atc_step", "doc_step", "average_confidence"),
    *_features("label_free", _FREE, "mean_atc", "mean_doc"),
    *_features("label_free", "shift of the unlabelled texts", "confidence_gap", "class_shift"),
    *_features("label_free", "shift of the unlabelled texts", "state_shift"),
)
NAMES: tuple[str, ...] = tuple(f.name for f in FEATURES)

LABELLED: tuple[str, ...] = (
    *("log_n0", "log_ratio", "log_n", "log_classes", "log_classes_2", "chance", "label_entropy"),
    *("depth", "oof", "mean_oof", "oof_2", "mean_oof_2", "loss", "mean_loss", "margin"),
    *("confidence", "entropy", "mean_doc", "curve_800", "curve_500", "curve_250"),
    *("mean_curve_800", "mean_curve_500", "mean_curve_250"),
    *("law", "mean_law", "law_slope", "mean_law_slope"),
)
"""Features that the model of pilots with labels reads. More (distances, norms, spectra, other
curves) were tried and made its errors on corpora left out no smaller."""

EVALUATION: tuple[str, ...] = tuple(
    f.name for f in FEATURES if f.tier not in {"norms", "distances"}
)
"""Features that the model of the accuracy on unlabelled texts reads: all that `charkit estimate`
measures. Fisher norms and distances made its errors on corpora left out no smaller."""

TEXTLESS: tuple[str, ...] = tuple(name for name in LABELLED if name != "mean_doc")
"""The same where there are no unlabelled texts."""

WITHOUT_LABELS: tuple[str, ...] = (
    *("log_n", "log_n_class", "log_classes", "chance", "depth"),
    *("rank_participation", "rank_entropy", "decay", "top_share", "class_gap"),
)
"""Features that are known of texts without any label."""


def up_to(tier: Tier) -> tuple[str, ...]:
    """Return the names of the features of a tier and of those before it."""
    last = TIERS.index(tier)
    return tuple(f.name for f in FEATURES if TIERS.index(f.tier) <= last)


@dataclass(frozen=True, eq=False)
class Described:
    """Evidence, made ready for any number of labels.

    Attributes:
        fixed: Features that do not depend on N, (n_rows, ...).
        chance: Accuracy of a guess, (n_rows,).
        n0: Labels of the pilot, (n_rows,).
        n_classes: Classes, (n_rows,).
        fits: Curves fitted to the pilot's own; one a family.
        law: The power law through the pilot's own points by least squares of the log error.
        last: Accuracy at n0, (n_rows,): the leave-one-out one, above `MANY_CLASSES` classes that
            of heads on 80 % of the pilot.
        known: Rows that have a curve of their own to extrapolate, (n_rows,).
        spectral: The spectral curve at its multiples, (n_rows, 7).
        pilot: Number of the pilot that a row belongs to, (n_rows,).
    """

    fixed: pd.DataFrame
    chance: FloatArray
    n0: FloatArray
    n_classes: FloatArray
    fits: tuple[CurveFit, ...]
    law: LogLaw
    last: FloatArray
    known: NDArray[np.bool_]
    spectral: FloatArray
    pilot: IntArray

    def gap(self, accuracy: FloatArray, rows: IntArray | None = None) -> FloatArray:
        """Return accuracies as shares of the way from chance to 1."""
        chance = self.chance if rows is None else self.chance[rows]
        return np.asarray((accuracy - chance) / np.maximum(1 - chance, _LEAST_GAP))

    def extrapolated(self, rows: IntArray, sizes: FloatArray) -> FloatArray:
        """Return what each family says at one size a row, (n_families, n); NaN where unknown."""
        shares = sizes / np.where(self.n0[rows] > 0, self.n0[rows], np.nan)
        predicted = np.full((len(FAMILIES), len(rows)), np.nan)
        for place, fit in enumerate(self.fits):
            predicted[place] = _scores_at(fit, rows, shares)
        return np.where(self.known[rows], predicted, np.nan)

    def law_at(self, rows: IntArray, sizes: FloatArray) -> FloatArray:
        """Return what the power law says at one size a row, (n,); NaN where unknown."""
        with np.errstate(divide="ignore", invalid="ignore"):
            predicted = self.law.scores(rows, sizes / self.n0[rows])
        return np.where(self.known[rows], predicted, np.nan)

    def spectral_at(self, rows: IntArray, sizes: FloatArray) -> FloatArray:
        """Return the spectral curve at one size a row, between its points by log size."""
        with np.errstate(divide="ignore", invalid="ignore"):
            at = np.log2(sizes / self.n0[rows])
        at = np.clip(np.where(np.isfinite(at), at, 0), 0, len(SPECTRAL_MULTIPLES) - 1)
        low = np.minimum(at.astype(np.int64), len(SPECTRAL_MULTIPLES) - 2)
        curve = self.spectral[rows]
        take = np.arange(len(rows))
        part = at - low
        return np.asarray(curve[take, low] * (1 - part) + curve[take, low + 1] * part)


def describe(evidence: pd.DataFrame) -> Described:
    """Return evidence made ready for any number of labels.

    Args:
        evidence: Rows that keep `metamodel.schema.check_evidence`; all layers of their pilots.
    """
    frame = evidence.reset_index(drop=True)
    n_classes = frame["n_classes"].to_numpy(np.float64)
    majority = frame["majority"].to_numpy(np.float64)
    chance = np.where(np.isfinite(majority), majority, 1 / n_classes)
    n0 = frame["n0"].to_numpy(np.float64)
    # The pilot's own curve, (n_rows, n_shares), without points that are wrong.
    curve = frame[list(CURVE_SHARES)].to_numpy(np.float64).copy()
    others = np.isfinite(curve[:, :-1]).sum(1) >= 2
    curve[(n_classes > MANY_CLASSES) & others, -1] = np.nan
    known = np.isfinite(curve).sum(1) >= 2
    described = Described(
        fixed=pd.DataFrame(index=frame.index),
        chance=chance,
        n0=n0,
        n_classes=n_classes,
        fits=_fits(curve, known),
        law=fit_log_law(np.array(list(CURVE_SHARES.values())), curve, n0),
        last=_last(frame, n_classes),
        known=known,
        spectral=frame[[f"spectral_{m}" for m in SPECTRAL_MULTIPLES]].to_numpy(np.float64),
        pilot=np.asarray(frame.groupby(PILOT_KEY, sort=False).ngroup(), np.int64),
    )
    fixed = _fixed(frame, described)
    return Described(**{**described.__dict__, "fixed": fixed})


def at_sizes(described: Described, rows: IntArray, sizes: FloatArray) -> pd.DataFrame:
    """Return the features of rows, each at its own number of labels, columns `NAMES`.

    Args:
        described: The evidence.
        rows: Which rows, (n,).
        sizes: Number of labels of each, (n,). For the means over layers, each pilot's layers must
            all be asked at the same sizes.
    """
    table = described.fixed.iloc[rows].reset_index(drop=True)
    predicted = described.extrapolated(rows, sizes)
    spectral = described.spectral_at(rows, sizes)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log2(sizes / described.n0[rows])
    median = _median(predicted)
    group = pd.MultiIndex.from_arrays([described.pilot[rows], sizes])
    gap_median, gap_spectral = described.gap(median, rows), described.gap(spectral, rows)
    table["log_ratio"] = np.where(np.isfinite(ratio), ratio, np.nan)
    table["log_n"] = np.log2(sizes)
    table["log_n_class"] = np.log2(sizes / described.n_classes[rows])
    table["pow3"] = described.gap(predicted[FAMILIES.index("pow3")], rows)
    table["median3"] = gap_median
    table["growth"] = gap_median - described.gap(described.last[rows], rows)
    table["disagreement"] = described.gap(predicted.max(0), rows) - described.gap(
        predicted.min(0), rows
    )
    table["mean_median3"] = _group_mean(gap_median, group)
    table["law"] = described.gap(described.law_at(rows, sizes), rows)
    table["mean_law"] = _group_mean(table["law"].to_numpy(np.float64), group)
    table["spectral"] = gap_spectral
    table["spectral_growth"] = gap_spectral - described.gap(described.spectral[rows, 0], rows)
    table["mean_spectral"] = _group_mean(gap_spectral, group)
    table["own_spectral"] = gap_spectral - table["mean_spectral"]
    return table[list(NAMES)].astype(np.float64)


def expand(evidence: pd.DataFrame, sizes: Sequence[int]) -> pd.DataFrame:
    """Return the features of every row at every size: row by row, sizes in order.

    Args:
        evidence: Rows that keep `metamodel.schema.check_evidence`.
        sizes: Numbers of labels.
    """
    described = describe(evidence)
    rows = np.repeat(np.arange(len(evidence)), len(sizes))
    return at_sizes(described, rows, np.tile(np.asarray(sizes, np.float64), len(evidence)))


def _fixed(frame: pd.DataFrame, described: Described) -> pd.DataFrame:
    def own(name: str) -> FloatArray:
        return frame[name].to_numpy(np.float64)

    def gap(name: str) -> FloatArray:
        return described.gap(own(name))

    pilot = pd.Index(described.pilot)
    with np.errstate(divide="ignore"):
        log_n0 = np.log2(described.n0)
    log_classes = np.log(described.n_classes)
    oof, left_out = described.gap(described.last), gap("oof_accuracy")
    slope = np.where(described.known, described.law.slope, np.nan)
    loss = own("oof_loss") / log_classes
    columns: dict[str, FloatArray] = {
        "log_n0": np.where(np.isfinite(log_n0), log_n0, np.nan),
        "log_classes": np.log2(described.n_classes),
        "chance": described.chance,
        "depth": own("layer") / own("n_layers"),
        "step_1": gap("curve_1000") - gap("curve_500"),
        "step_2": gap("curve_500") - gap("curve_250"),
        "loss_step": (own("loss_1000") - own("loss_500")) / log_classes,
        "oof": oof,
        "loss": loss,
        "confidence": gap("oof_confidence"),
        "margin": own("oof_margin"),
        "margin_q25": own("oof_margin_q25"),
        "entropy": own("oof_entropy") / log_classes,
        "knn": gap("knn_accuracy"),
        "random": gap("random_accuracy"),
        "shuffled": gap("shuffled_accuracy"),
        "mean_oof": _group_mean(oof, pilot),
        "best_oof": pd.Series(oof).groupby(pilot).transform("max").to_numpy(),
        "mean_loss": _group_mean(loss, pilot),
        "atc_step": gap("atc") - left_out,
        "doc_step": gap("doc") - left_out,
        "mean_atc": _group_mean(gap("atc") - left_out, pilot),
        "mean_doc": _group_mean(gap("doc") - left_out, pilot),
        "law_slope": slope,
        "mean_law_slope": _group_mean(slope, pilot),
    }
    for name in ("curve_800", "curve_500", "curve_250"):
        columns[name] = gap(name)
        columns[f"mean_{name}"] = _group_mean(columns[name], pilot)
    for name in ("oof", "mean_oof", "log_classes"):
        columns[f"{name}_2"] = columns[name] ** 2
    columns["own_oof"] = oof - columns["mean_oof"]
    columns["own_loss"] = loss - columns["mean_loss"]
    columns["average_confidence"] = gap("average_confidence")
    same = [name for name in NAMES if name in frame.columns and name not in columns]
    return pd.DataFrame(columns | {name: own(name) for name in same})


def _last(frame: pd.DataFrame, n_classes: FloatArray) -> FloatArray:
    left_out = _first_known(frame, "oof_accuracy", "curve_1000", "curve_800")
    parts = _first_known(frame, "curve_800", "oof_accuracy", "curve_1000")
    return np.where(n_classes > MANY_CLASSES, parts, left_out)


def _fits(curve: FloatArray, known: NDArray[np.bool_]) -> tuple[CurveFit, ...]:
    """Fit each family to every row; sizes are shares of n0. Rows without a curve get a flat one."""
    weights = np.where(np.isfinite(curve) & known[:, None], list(CURVE_SHARES.values()), 0.0)
    weights[~known] = 1.0
    scores = np.where(np.isfinite(curve) & known[:, None], curve, 0.0)
    sizes = np.array(list(CURVE_SHARES.values()))
    fits = []
    for family in FAMILIES:
        parts = [
            fit_curves(
                sizes, scores[i : i + _CHUNK], family=family, weights=weights[i : i + _CHUNK]
            )
            for i in range(0, len(scores), _CHUNK)
        ]
        floor, drop, theta, loss = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("floor", "drop", "theta", "loss")
        )
        fits.append(CurveFit(family, floor, drop, theta, loss, parts[0].unit))
    return tuple(fits)


def _scores_at(fit: CurveFit, rows: IntArray, shares: FloatArray) -> FloatArray:
    """Return each row's curve at its own size: `CurveFit.scores` along a diagonal."""
    theta, at = fit.theta[rows], np.log(shares / fit.unit)
    power = np.exp(theta[:, 0])
    if fit.family == "mmf4":
        shape = 1 / (1 + np.exp(power * (at - theta[:, 1])))
    else:
        shape = np.exp(-power * at)
    return np.asarray(np.clip(1 - fit.floor[rows] - fit.drop[rows] * shape, 0.0, 1.0))


def _median(predicted: FloatArray) -> FloatArray:
    return np.asarray(np.sort(predicted, axis=0)[len(predicted) // 2])


def _first_known(frame: pd.DataFrame, *names: str) -> FloatArray:
    found = frame[names[0]].to_numpy(np.float64)
    for name in names[1:]:
        found = np.where(np.isfinite(found), found, frame[name].to_numpy(np.float64))
    return found


def _group_mean(values: FloatArray, group: pd.Index) -> FloatArray:
    return pd.Series(values).groupby(group).transform("mean").to_numpy(np.float64)
