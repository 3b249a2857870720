"""A meta-dataset of which the truth is known: curves that share their shape within the world."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from metamodel.fit.fitting import FitSettings, fit_metamodel
from metamodel.rows import join_tables
from metamodel.schema import CURVE_SHARES, EVIDENCE, SPECTRAL_MULTIPLES

SIZES = (16, 32, 64, 128, 256, 512, 1024, 2048)
LAYERS = 3


def _task(rng, name, corpus, subset):
    """Return a task's facts: accuracy(n) = 1 - floor - drop n^-c by layer, c near 0.5."""
    n_classes = int(rng.choice([2, 3, 5, 10]))
    floor = rng.uniform(0.02, 0.25)
    best = 1 - 1 / n_classes - floor
    return {
        "task": name,
        "corpus": corpus,
        "subset": subset,
        "n_classes": n_classes,
        "floor": floor + 0.03 * rng.random(LAYERS),
        "drop": best * rng.uniform(1.2, 2.5),
        "power": np.clip(rng.normal(0.45, 0.05), 0.3, 0.6),
    }


def truth(task, layer, n):
    """Return the accuracy of a task's heads."""
    error = task["floor"][layer] + task["drop"] * np.asarray(n, float) ** -task["power"]
    return 1 - np.minimum(error, 1 - 1 / task["n_classes"])


def make_tasks(seed=0, n_corpora=16):
    """Return tasks of corpora, one to three of each, two parts of every second."""
    rng = np.random.default_rng(seed)
    return [
        _task(rng, f"task{c}_{t}", f"corpus{c:02d}", subset)
        for c in range(n_corpora)
        for t in range(1 + c % 3)
        for subset in ("all", "half")[: 1 + t % 2]
    ]


def make_tables(seed=0, n_corpora=16, pilots=(0, 16, 64, 128), draws=2):
    """Return evidence and outcomes of generated tasks."""
    rng = np.random.default_rng(seed + 1)
    tasks = make_tasks(seed, n_corpora)
    outcomes = [row for task in tasks for row in _outcomes(rng, task, draws)]
    evidence = [
        row
        for task in tasks
        for n0 in pilots
        for seed_of in range(draws if n0 else 1)
        for row in _pilot(rng, task, n0, seed_of)
    ]
    return _table(evidence), pd.DataFrame(outcomes)


def _table(rows):
    table = pd.DataFrame(rows)
    for field in EVIDENCE:
        if field.name not in table:
            table[field.name] = np.nan
        if field.dtype == "float64":
            table[field.name] = table[field.name].astype(float)
    return table[[f.name for f in EVIDENCE]]


def _outcomes(rng, task, draws):
    for n in SIZES:
        for seed in range(draws):
            for layer in range(LAYERS):
                predicted = np.clip(truth(task, layer, n) + rng.normal(0, 0.1 / np.sqrt(n)), 0, 1)
                yield {
                    "encoder": "toy", "control": "none", "task": task["task"],
                    "corpus": task["corpus"], "subset": task["subset"], "layer": layer,
                    "n_train": n, "seed": seed, "n_classes": task["n_classes"], "n_eval": 500,
                    "score": predicted, "accuracy": predicted, "log_loss": 1.0,
                }  # fmt: skip


def _pilot(rng, task, n0, seed):
    shared = rng.normal(0, 0.3 / np.sqrt(max(n0, 1)))
    for layer in range(LAYERS):
        row = {
            "encoder": "toy", "task": task["task"], "corpus": task["corpus"],
            "subset": task["subset"], "seed": seed, "n0": n0, "layer": layer,
            "n_layers": LAYERS - 1, "n_classes": task["n_classes"], "n_unlabelled": 500,
            "width": 32, "rank_participation": 0.3 + 0.2 * task["floor"][layer],
            "rank_entropy": 0.4, "decay": -1.2, "top_share": 0.2, "class_gap": 0.3,
        }  # fmt: skip
        yield row | (_labelled(rng, task, layer, n0, shared) if n0 else {})


def _labelled(rng, task, layer, n0, shared):
    def noisy(n, scale=0.2):
        return float(
            np.clip(truth(task, layer, n) + shared + rng.normal(0, scale / np.sqrt(n0)), 0, 1)
        )

    oof = noisy(n0)
    row = {name: noisy(share * n0) for name, share in CURVE_SHARES.items()}
    row |= {f"spectral_{m}": float(np.clip(noisy(m * n0) - 0.02, 0, 1)) for m in SPECTRAL_MULTIPLES}
    return row | {
        "majority": 1 / task["n_classes"], "label_entropy": 1.0, "oof_accuracy": oof,
        "oof_loss": 2 * (1 - oof), "loss_1000": 2 * (1 - oof), "loss_500": 2.2 * (1 - oof),
        "oof_confidence": oof, "oof_margin": oof - 0.3, "oof_margin_q25": oof - 0.6,
        "oof_entropy": 1 - oof, "logme": -1.0, "h_score": oof, "knn_accuracy": noisy(n0),
        "atc": noisy(n0), "doc": noisy(n0), "average_confidence": noisy(n0),
        "confidence_gap": 0.0, "class_shift": 0.05, "state_shift": 0.1,
        "alignment_4": 0.2, "alignment_16": 0.4, "alignment_64": 0.6, "spectral_noise": 0.1,
        "random_accuracy": 1 / task["n_classes"], "shuffled_accuracy": 1 / task["n_classes"],
    }  # fmt: skip


@cache
def toy_data(seed=0, n_corpora=16, pilots=(0, 16, 64, 128)):
    """Return the generated meta-dataset, joined; made once."""
    return join_tables(*make_tables(seed, n_corpora, pilots))


@cache
def toy_metamodel():
    """Return a metamodel of `toy_data`; fitted once."""
    return fit_metamodel(toy_data(), FitSettings(), encoders=("toy",))


def pilot_of(data, n0, place=0):
    """Return the evidence, all layers, of one whole task's pilot with a number of labels."""
    rows = data.evidence[(data.evidence["n0"] == n0) & (data.evidence["subset"] == "all")]
    keys = rows[["task", "seed"]].drop_duplicates().iloc[place]
    mine = (rows["task"] == keys["task"]) & (rows["seed"] == keys["seed"])
    return rows[mine].reset_index(drop=True)


def task_of(evidence, seed=0, n_corpora=16):
    """Return the facts of the task that a pilot of `toy_data` is of."""
    keys = evidence.iloc[0]
    return next(
        task
        for task in make_tasks(seed, n_corpora)
        if task["task"] == keys["task"] and task["subset"] == keys["subset"]
    )
