"""What the study of classes and labels found: errors and coverage over corpora left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.heads.class_scores import APART, Shares, class_means, log_odds, recalls, share_of
from charkit.heads.influence import balanced_accuracy, macro_f1
from charkit.heads.intervals import LEVEL, normal_quantile
from charkit.heads.label_noise import label_noise
from glue_pilot.quality_study import Case, Measured

FloatArray = NDArray[np.float64]

FEWEST = 25
"""Evaluation rows of a class whose recall is compared."""

RULES = {
    "stay": "stays as it is",
    "ratio": "its error falls as the error of all",
    "odds": "its log-odds move as those of the accuracy",
}


def noise_rows(cases: Sequence[Case], measured: Sequence[Measured]) -> pd.DataFrame:
    """Return one row a case and share of wrong labels.

    Columns: task, corpus, n_classes, n, seed, noise (planted), accuracy (left out), mean, low, high,
    and before, relabelled, labelled (accuracies; NaN where not tried).
    """
    rows = []
    for case, found in zip(cases, measured, strict=True):
        tried = found.changed.set_index("noise") if len(found.changed) else None
        for noise, own in found.left_out.groupby("noise"):
            agrees = (own["predicted"] == own["label"]).to_numpy()
            noisy = label_noise(
                agrees, own["confidence"].to_numpy(np.float64), own["label"].nunique()
            )
            more = {} if tried is None else dict(tried.loc[noise])
            rows.append(
                {**_about(case), "noise": noise, "accuracy": agrees.mean(), **vars(noisy), **more}
            )
    return pd.DataFrame(rows)


def class_rows(cases: Sequence[Case], measured: Sequence[Measured]) -> pd.DataFrame:
    """Return one row a case, multiple, metric and class, without forecasts of the accuracy.

    Columns: task, corpus, n_classes, n, seed, multiple, metric, class, labels (of the class in the
    sample), mean, low, high (from the sample), truth, truth_variance (of its log-odds),
    accuracy (left out), reached (accuracy with so many labels).
    """
    rows: list[dict[str, Any]] = []
    for case, found in zip(cases, measured, strict=True):
        own = found.left_out[found.left_out["noise"] == 0]
        predicted, labels = own["predicted"].to_numpy(), own["label"].to_numpy()
        n_classes = case.source.n_classes
        count = np.bincount(labels, minlength=n_classes)
        shares = recalls(predicted, labels, n_classes)
        means = class_means(predicted, labels, n_classes)
        left_out = float((predicted == labels).mean())
        for multiple, part in found.truth.groupby("multiple"):
            said, true = part["predicted"].to_numpy(), part["label"].to_numpy()
            about = {**_about(case), "multiple": multiple, "accuracy": left_out}
            about["reached"] = float((said == true).mean())
            for code in np.flatnonzero(
                (count > 0) & (np.bincount(true, minlength=n_classes) >= FEWEST)
            ):
                right = said[true == code] == code
                p = (right.sum() + 0.5) / (len(right) + 1)
                rows.append(
                    {**about, "metric": "recall", "class": code, "labels": count[code],
                     **_ends(shares, code), "truth": right.mean(),
                     "truth_variance": 1 / (len(right) * p * (1 - p))}
                )  # fmt: skip
            for name, metric in (("balanced_accuracy", balanced_accuracy), ("macro_f1", macro_f1)):
                truth = metric(said[None], true, n_classes)
                value = float(np.clip(truth.value[0], 0.005, 0.995))
                rows.append(
                    {**about, "metric": name, "class": -1, "labels": len(labels),
                     **_ends(means[name], 0), "truth": value,
                     "truth_variance": float(truth.variance[0]) / (value * (1 - value)) ** 2}
                )  # fmt: skip
    return pd.DataFrame(rows)


def _about(case: Case) -> dict[str, Any]:
    source = case.source
    return {
        "task": source.name,
        "corpus": source.corpus,
        "n_classes": source.n_classes,
        "n": case.n,
        "seed": case.seed,
    }


def _ends(shares: Shares, place: int) -> dict[str, float]:
    return {name: float(values[place]) for name, values in vars(shares).items()}


def forecast_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Add what each rule predicts: columns stay, ratio, odds, known, covered, width, apart.

    The accuracy is forecast by the mean gain in log-odds of the other corpora at the same size and
    multiple, its uncertainty by their spread. ``known``: the rule "odds" with the accuracy that was
    reached. ``apart``: how far the truth is from that in log-odds, in place of the constants of
    `charkit.heads.class_scores.APART`, which the intervals add. They hold the evaluation rows' own
    sampling error too.
    """
    return pd.concat(list(_forecasts(rows)), ignore_index=True)


def _forecasts(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    z = normal_quantile(LEVEL)
    keys = ["corpus", "task", "n", "seed", "multiple"]
    gains = rows.drop_duplicates(keys)[keys].copy()
    first = rows.drop_duplicates(keys)
    gains["gain"] = log_odds(first["reached"].to_numpy()) - log_odds(first["accuracy"].to_numpy())
    for (corpus, n, multiple), part in rows.groupby(["corpus", "n", "multiple"]):
        alike = (gains["n"] == n) & (gains["multiple"] == multiple) & (gains["corpus"] != corpus)
        others = gains.loc[alike, "gain"]
        if len(others) < 3:
            continue
        shift, spread = float(others.mean()), float(others.std())
        mean = part["mean"].to_numpy()
        start = part["accuracy"].to_numpy()
        later = share_of(log_odds(start) + shift)
        shares = Shares(mean, part["low"].to_numpy(), part["high"].to_numpy())
        extra = part["metric"].map(APART).to_numpy(np.float64)
        apart = np.sqrt(spread**2 + extra**2 + part["truth_variance"].to_numpy())
        inside = np.array([shares_of(shares, i).moved(shift, a) for i, a in enumerate(apart)])
        ends = np.array([[float(s.low), float(s.high)] for s in inside])
        plain = [
            shares_of(shares, i).moved(shift, np.hypot(spread, e)) for i, e in enumerate(extra)
        ]
        known = log_odds(part["reached"].to_numpy()) - log_odds(start)
        truth = part["truth"].to_numpy()
        yield part.assign(
            stay=mean,
            ratio=1 - (1 - mean) * (1 - later) / np.maximum(1 - start, 1e-3),
            odds=share_of(log_odds(mean) + shift),
            known=share_of(log_odds(mean) + known),
            covered=(ends[:, 0] <= truth) & (truth <= ends[:, 1]),
            width=[float(s.high - s.low) for s in plain],
            apart=(log_odds(truth) - log_odds(mean) - known) / np.sqrt(1 + 0 * z),
        )


def shares_of(shares: Shares, place: int) -> Shares:
    """Return one of several shares."""
    return Shares(*(np.asarray(values[place]) for values in vars(shares).values()))
