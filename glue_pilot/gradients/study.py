"""Do gradients of samples predict the gains of ways of training on the same tasks?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from charkit.config import content_hash, people_name
from charkit.errors import DataError
from charkit.learners.draws import Draw
from charkit.store.cached import cached
from charkit.store.durable import write_whole
from charkit.store.manifest import (
    Clock,
    available_cores,
    code_version,
    package_versions,
    run_manifest,
)
from charkit.store.store import Store
from glue_pilot.gradients.measure import GradientMetrics, gradient_metrics
from metamodel.fit.gains import GainRows, check_learner_outcomes, mean_gains
from metamodel.fit.learners import by_group
from metamodel.learners.compare import FEWEST_CORPORA

KIND = "gradient_metrics"
FILE = "gradients.json"
CLASSES = "log_classes"
METRICS = tuple(field.name for field in fields(GradientMetrics))

GROUPS: dict[str, tuple[str, ...]] = {
    "CoS-Low": ("cos_low",),
    "cosines of all gradients": ("cos_low", "cos_all", "cos_gap"),
    "traces at a fixed penalty": ("log_fisher", "log_ntk"),
    "trace of the Fisher information over that of the NTK": ("log_ratio",),
    "alignment of the NTK with the classes": ("alignment",),
    "all of these": METRICS,
    "number of classes": (CLASSES,),
    "all of these and the number of classes": (*METRICS, CLASSES),
}
"""What is tried, each by itself."""

PENALTIES = (10.0, 30.0, 100.0)
"""Of the ridge regression, in rows; fewer than in `metamodel.fit`, as a task has one sample."""

_FORMAT = 1


def smallest_draws(draws: Sequence[Draw], outcomes: pd.DataFrame) -> list[Draw]:
    """Return the smallest first draw of each task that a learner's outcome is known of.

    Raises:
        DataError: There is none.
    """
    first: dict[str, Draw] = {}
    known = set(outcomes["task"])
    for draw in sorted(draws, key=lambda own: (own.seed, len(own.train))):
        if draw.task in known:
            first.setdefault(draw.task, draw)
    if not first:
        raise DataError(
            "no task of the study has outcomes of learners: expected one of "
            f"{len({d.task for d in draws})}, got none. Run make metadata-tuned first."
        )
    return list(first.values())


def measure(draw: Draw, store: Store) -> dict[str, Any]:
    """Return the metrics of a draw with its task, corpus and size; the store keeps them."""
    encoder = draw.encoder.load()
    config = {
        "format": _FORMAT,
        "encoder": encoder.fingerprint,
        "train": draw.train.fingerprint,
        "labels": content_hash(np.asarray(draw.train.labels).tolist()),
        "n_classes": draw.n_classes,
        "max_length": draw.max_length,
        "seed": draw.seed,
    }

    def make(folder: Path) -> dict[str, Any]:
        clock = Clock()
        found = gradient_metrics(
            encoder,
            draw.train,
            draw.n_classes,
            max_length=encoder.text_length(draw.max_length),
            seed=draw.seed,
        )
        write_whole(folder / FILE, json.dumps(asdict(found)).encode())
        return run_manifest(
            config,
            clock=clock,
            seeds={"draw": draw.seed},
            fingerprints={"encoder": encoder.fingerprint, "train": draw.train.fingerprint},
            device=encoder.device,
            dtype=encoder.dtype,
        )

    def load(folder: Path) -> dict[str, float]:
        found: dict[str, float] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return found

    own = {"task": draw.task, "corpus": draw.corpus, "n0": len(draw.train)}
    own[CLASSES] = float(np.log2(draw.n_classes))
    metrics = cached(store, KIND, config, make=make, load=load).value
    return {"encoder": people_name(encoder.name), **own, **metrics}


def compare(measured: pd.DataFrame, outcomes: pd.DataFrame) -> dict[str, Any]:
    """Return what each group of metrics improves on the mean gain of a learner.

    Args:
        measured: Rows of `measure`.
        outcomes: Keeps `metamodel.fit.gains.check_learner_outcomes`.

    Returns:
        ``samples``, ``labels`` of each, and ``learners``: ``learner``, ``corpora``, ``rows``
        (sample and number of labels), ``groups`` (see `metamodel.fit.learners.by_group`; in
        points), and ``correlations``: ``metric``, ``n``, ``tasks``, ``rho`` (Spearman).
    """
    gains = mean_gains(check_learner_outcomes(outcomes))
    joined = gains.merge(measured, on=["encoder", "task", "corpus"])
    n_corpora = joined.groupby(["learner", "n"])["corpus"].transform("nunique")
    joined = joined[n_corpora >= FEWEST_CORPORA]
    learners = []
    for name, own in joined.groupby("learner"):
        table = own.reset_index(drop=True)
        known = table[[*METRICS, CLASSES]].assign(log_n=np.log2(table["n"]))
        by_corpus = table.groupby(["corpus", "n"])["gain"].mean().unstack()
        learners.append(
            {
                "learner": name,
                "corpora": int(table["corpus"].nunique()),
                "rows": len(table),
                "groups": by_group(GainRows(table, known, by_corpus), GROUPS, PENALTIES),
                "correlations": list(_correlations(table)),
            }
        )
    labels = sorted({int(n) for n in measured["n0"]})
    return {"samples": len(measured), "labels": labels, "learners": learners}


def _correlations(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the rank correlation of each metric with the gain at each number of labels."""
    for n in sorted(set(table["n"])):
        own = table[table["n"] == n]
        for name in (*METRICS, CLASSES):
            known = own[[name, "gain"]].dropna()
            rho = float(spearmanr(known[name], known["gain"]).statistic)
            counts = {"n": int(n), "tasks": len(known)}
            yield {"metric": name, **counts, "rho": rho if np.isfinite(rho) else None}


def write_gradients(measured: pd.DataFrame, found: dict[str, Any], out: Path) -> list[Path]:
    """Write the table of samples, and what was found; return the paths.

    Args:
        measured: Rows of `measure`.
        found: From `compare`.
        out: Folder.
    """
    table = measured.to_csv(index=False, float_format="%.6g").encode()
    made = {"cores": available_cores(), "versions": package_versions(), "code": code_version()}
    text = json.dumps({**found, **made}, indent=1, sort_keys=True, allow_nan=False) + "\n"
    return [write_whole(out / "gradients.csv", table), write_whole(out / FILE, text.encode())]


def findings(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return rows to print: learner, metrics, what they gain over the mean gain with interval."""
    return [
        {
            "learner": own["learner"],
            "metrics": group["group"],
            "gained": f"{group['gained']:+.2f} ({group['low']:+.2f} to {group['high']:+.2f})",
            "tasks": group["tasks"],
        }
        for own in found["learners"]
        for group in own["groups"]
    ]
