"""Outcomes: how well heads do on a variant's evaluation rows, by layer, size and draw.

The heads are the sweep's: softmax regression on one layer, its strength chosen inside the training
sample. Sizes of a draw are nested. At the size of the whole variant all draws are the same rows,
so there is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.encoders.stream import open_states
from charkit.heads.records import write_table
from charkit.heads.scores import predicted_classes, row_log_loss
from charkit.heads.softmax import fit_softmax
from charkit.store import Store
from charkit.tasks.nested import nested_order
from glue_pilot.metadata_study import Base, MetadataStudy, kept
from glue_pilot.variants import Variant, has_two_classes

KIND = "metadata_truth"
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class TruthWork:
    """The outcomes of one variant.

    Attributes:
        base: Its base task; the variants of it are not needed here.
        variant: Its rows.
        study: Sizes and draws.
        root: The store's folder.
    """

    base: Base
    variant: Variant
    study: MetadataStudy
    root: Path

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Size and draw of every set of heads, small sizes first."""
        return outcome_cells(self.variant, self.study)

    @property
    def config(self) -> dict[str, Any]:
        """What determines the outcomes; its `content_hash` is their key in the store."""
        return {
            "kind": KIND,
            "format": _FORMAT,
            "task": self.base.task,
            "corpus": self.base.corpus,
            "variant": self.variant.fingerprint,
            "train_states": self.base.train_states,
            "evaluation_states": self.base.evaluation_states,
            "cells": [list(cell) for cell in self.cells],
        }

    @property
    def cost(self) -> float:
        """Work in head-rows."""
        n_classes = self.variant.n_classes
        return sum((size + 200.0) * max(2, n_classes) for size, _ in self.cells)


def outcome_cells(variant: Variant, study: MetadataStudy) -> list[tuple[int, int]]:
    """Return size and draw of every set of heads; the whole variant comes last, once.

    Draws of one class are left out: there is no head to train.
    """
    whole = len(variant.train_rows)
    sizes = [n for n in sorted(study.sizes) if max(2, variant.n_classes) <= n < whole]
    cells = [(n, seed) for n in sizes for seed in range(study.n_draws(variant.name, n))]
    labels = variant.train_labels
    kept = [cell for cell in cells if has_two_classes(labels, n=cell[0], seed=cell[1])]
    return [*kept, (whole, 0)]


def run_truth(work: TruthWork) -> str:
    """Compute a variant's outcomes unless the store has them; return their key."""
    store = Store(work.root)
    return kept(
        store, KIND, work.config,
        lambda folder: write_table(compute_outcomes(work, store), folder / "outcomes.parquet"),
        seeds={"draws": max(seed for _, seed in work.cells) + 1},
        fingerprints={"variant": work.variant.fingerprint},
    )  # fmt: skip


def compute_outcomes(work: TruthWork, store: Store) -> pd.DataFrame:
    """Return one row a head: the columns of `metamodel.schema.OUTCOMES`."""
    base, variant = work.base, work.variant
    train = open_states(store, base.train_states)
    features = train.to_numpy()[:, variant.train_rows]
    held_out = open_states(store, base.evaluation_states).to_numpy()[:, variant.evaluation_rows]
    rows: list[dict[str, Any]] = []
    for size, seed in work.cells:
        order = nested_order(variant.train_labels, seed=seed, kind="classification")[:size]
        accuracy, loss = _scores(variant, features[:, order], order, held_out)
        rows += [
            {
                "encoder": train.encoder,
                "control": "none",
                "task": base.task,
                "corpus": base.corpus,
                "subset": variant.name,
                "layer": layer,
                "n_train": size,
                "seed": seed,
                "n_classes": variant.n_classes,
                "n_eval": len(variant.evaluation_rows),
                "score": accuracy[layer],
                "accuracy": accuracy[layer],
                "log_loss": loss[layer],
            }
            for layer in range(len(features))
        ]
    return pd.DataFrame(rows)


def _scores(
    variant: Variant,
    features: NDArray[np.float32],
    order: NDArray[np.int64],
    held_out: NDArray[np.float32],
) -> tuple[list[float], list[float]]:
    """Return accuracy and mean log loss of each layer's head on the evaluation rows."""
    heads = fit_softmax(features, variant.train_labels[order], variant.n_classes)
    labels = variant.evaluation_labels
    accuracy, loss = [], []
    for layer in range(len(features)):
        logits = held_out[layer] @ heads.weights[layer].numpy().T + heads.bias[layer].numpy()
        predicted = np.exp(logits - logits.max(1, keepdims=True))[None]
        predicted /= predicted.sum(2, keepdims=True)
        accuracy.append(float((predicted_classes(predicted)[0] == labels).mean()))
        loss.append(float(row_log_loss(predicted, labels)[0].mean()))
    return accuracy, loss
