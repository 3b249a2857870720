"""Answers of `charkit.estimate` under encoders that the metamodel never saw, against what came."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import charkit
from charkit.config import EncodeOptions, Progress, no_progress, people_name
from charkit.encoders import Encoder
from charkit.store.durable import write_whole
from charkit.store.manifest import available_cores, code_version, package_versions
from charkit.store.store import Store
from charkit.tasks import nested_order
from glue_pilot.samples import KnownTask, drawn_sample
from glue_pilot.stats import resampled_share

Row = dict[str, Any]

N_LABELS, MULTIPLES = 128, (2, 4)
"""A pilot of the middle size of `make encoder-transfer`; all of its tasks have rows for these."""

# Of each task; an accuracy on them is 1.6 points off, or less, two times in three.
_N_EVALUATION = 1_000
_MAX_LENGTH = 64


def answer_rows(
    tasks: Sequence[KnownTask],
    encoders: Sequence[Encoder],
    store: Store,
    progress: Progress = no_progress,
) -> list[Row]:
    """Return what estimate predicted from 128 labels and what heads reached, one row an answer.

    Args:
        tasks: Of corpora that the metamodel never saw.
        encoders: That it never saw.
        store: Where states, evidence and heads are kept.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        Columns encoder, task, corpus, multiple (of the labels), trustworthy, low, mean and high
        (of the recommended layer), accuracy (of that layer's head, on the evaluation rows) and
        held (whether it is in the interval).
    """
    rows = []
    work = [(encoder, known) for encoder in encoders for known in tasks]
    for done, (encoder, known) in enumerate(work):
        progress("ask and check", done, len(work))
        sizes = [N_LABELS * multiple for multiple in MULTIPLES]
        sample = drawn_sample(known, n=sizes[-1], draw=0, n_eval=_N_EVALUATION)
        labels = np.asarray(sample.train.labels)
        order = nested_order(labels, seed=0, kind="classification")
        pilot = replace(sample, train=sample.train.take(order[:N_LABELS]))
        answer = charkit.estimate(
            pilot,
            encoder=encoder,
            learners="probe",
            max_length=_MAX_LENGTH,
            store=store,
            progress=False,
        )
        curve = answer.curve[answer.curve["layer"] == answer.layer].set_index("n")
        reached = charkit.sweep(
            sample,
            encoder=encoder,
            layers=[answer.layer],
            sizes=sizes,
            seeds=(0,),
            controls=("none",),
            encoding=EncodeOptions(max_length=_MAX_LENGTH),
            store=store,
            executor=1,
        ).table.set_index("n_train")["accuracy"]
        for multiple, n in zip(MULTIPLES, sizes, strict=True):
            row: Row = {"encoder": people_name(encoder.name), "task": known.task.name}
            row |= {"corpus": known.corpus, "multiple": multiple}
            row |= {"trustworthy": answer.trustworthy, "accuracy": float(reached[n])}
            row |= {name: float(curve[name][n]) for name in ("low", "mean", "high")}
            rows.append(row | {"held": row["low"] <= row["accuracy"] <= row["high"]})
    progress("ask and check", len(work), len(work))
    return rows


def held_rows(rows: Sequence[Row]) -> list[Row]:
    """Return of how many tasks the interval held, one row an encoder and multiple.

    Columns: encoder, multiple, tasks, held_tasks, held (their share) with its 90 % interval.
    """
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["encoder"], row["multiple"]), []).append(row)
    found: list[Row] = []
    for (encoder, multiple), own in groups.items():
        held = np.array([row["held"] for row in own])
        share = resampled_share(held, [row["corpus"] for row in own])
        about: Row = {"encoder": encoder, "multiple": multiple, "tasks": len(own)}
        found.append(about | {"held_tasks": int(held.sum())} | share.row("held"))
    return found


def write_answers(rows: Sequence[Row], out: Path) -> Path:
    """Write ``encoder_answers.json``: the answers, and how often their intervals held."""
    found: Row = {"answers": list(rows), "held": held_rows(rows), "n_labels": N_LABELS}
    found |= {"n_evaluation": _N_EVALUATION, "cores": available_cores()}
    found |= {"versions": package_versions(), "code": code_version()}
    text = json.dumps(found, indent=1, sort_keys=True, allow_nan=False) + "\n"
    return write_whole(out / "encoder_answers.json", text.encode())
