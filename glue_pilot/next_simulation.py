"""One simulated labelling: a policy labels a pool in steps, and heads are scored after each.

The pool's labels are known, and hidden until a policy asks for them. Where a policy's strategy
needs a head and only one class has a label yet, that step is random, as it would be in practice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.adequacy import adequacy, nearest_labelled
from charkit.answers.policy import Band, labels_a_class, strategy_for
from charkit.answers.query import BY_HEAD, Strategy, choose_rows
from charkit.config import content_hash
from charkit.encoders.stream import open_states
from charkit.heads.records import write_table
from charkit.heads.softmax import fit_softmax
from charkit.store import Store
from glue_pilot.bases import kept

KIND = "next_simulations"
_FORMAT = 1

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SimulationWork:
    """One labelling that may have to be simulated.

    Attributes:
        task: Name of the task.
        corpus: Tasks that share it share texts.
        train_states: Key of the states that the pool is drawn from.
        train_labels: Class codes of those rows.
        evaluation_states: Key of the evaluation texts' states.
        evaluation_labels: Their class codes.
        n_classes: How many classes there are.
        layer: Whose states are compared, and read by the heads.
        n_pool: Texts in the pool.
        budgets: Labels after each step, rising.
        bands: The policy; one band without an end is a single strategy.
        policy: What the policy is called.
        seed: Of the pool, and of the strategies' chance.
        draw: Of several labellings of the same pool; counts only for the random policy.
        root: The store's folder.
    """

    task: str
    corpus: str
    train_states: str
    train_labels: IntArray
    evaluation_states: str
    evaluation_labels: IntArray
    n_classes: int
    layer: int
    n_pool: int
    budgets: tuple[int, ...]
    bands: tuple[Band, ...]
    policy: str
    seed: int
    draw: int
    root: Path

    @property
    def config(self) -> dict[str, Any]:
        """What determines the rows; its `content_hash` is their key in the store."""
        return {
            "kind": KIND,
            "format": _FORMAT,
            "task": self.task,
            "corpus": self.corpus,
            "train_states": self.train_states,
            "train_labels": self.train_labels.tolist(),
            "evaluation_states": self.evaluation_states,
            "evaluation_labels": self.evaluation_labels.tolist(),
            "n_classes": self.n_classes,
            "layer": self.layer,
            "n_pool": self.n_pool,
            "budgets": list(self.budgets),
            "bands": [band.to_dict() for band in self.bands],
            "policy": self.policy,
            "seed": self.seed,
            "draw": self.draw,
        }


def run_simulation(work: SimulationWork) -> str:
    """Simulate a labelling unless the store has it; return its key."""
    store = Store(work.root)
    return kept(
        store, KIND, work.config,
        lambda folder: write_table(simulate(work, store), folder / "steps.parquet"),
        seeds={"pool": work.seed, "draw": work.draw},
        fingerprints={"train": work.train_states, "evaluation": work.evaluation_states},
    )  # fmt: skip


def read_simulation(store: Store, work: SimulationWork) -> pd.DataFrame:
    """Return the rows of a labelling from the store."""
    folder = store.find(KIND, content_hash(work.config))
    assert folder is not None, "it was simulated before"
    return pd.read_parquet(folder / "steps.parquet")


def simulate(work: SimulationWork, store: Store) -> pd.DataFrame:
    """Return one row a step: how a head does with the labels that were asked for."""
    train = open_states(store, work.train_states).layer(work.layer)
    held_out = open_states(store, work.evaluation_states).layer(work.layer)
    drawn = np.random.default_rng(work.seed).permutation(len(train))[: work.n_pool]
    features, labels = train[drawn], work.train_labels[drawn]
    chosen: IntArray = np.zeros(0, np.int64)
    rows: list[dict[str, Any]] = []
    for budget in work.budgets:
        if budget > len(features):
            break
        before = labels_a_class(labels[chosen], work.n_classes)
        more, strategy = _ask(work, features, labels, chosen, budget - len(chosen))
        chosen = np.concatenate([chosen, more])
        rows.append(
            {
                "task": work.task,
                "corpus": work.corpus,
                "policy": work.policy,
                "seed": work.seed,
                "draw": work.draw,
                "n": budget,
                "strategy": strategy,
                "labels_a_class": before,
                "n_classes": work.n_classes,
                "n_classes_found": len(np.unique(labels[chosen])),
                "accuracy": _accuracy(
                    features[chosen],
                    labels[chosen],
                    held_out,
                    work.evaluation_labels,
                    work.n_classes,
                ),
                **_adequacy(features, labels, chosen),
            }
        )
    return pd.DataFrame(rows)


def _ask(
    work: SimulationWork, features: FloatArray, labels: IntArray, chosen: IntArray, n: int
) -> tuple[IntArray, Strategy]:
    """Return the rows that the policy asks for next, and the strategy that it used."""
    known = labels[chosen]
    strategy = strategy_for(work.bands, known, work.n_classes)
    if strategy in BY_HEAD and len(np.unique(known)) < 2:
        strategy = "random"
    rest = np.setdiff1d(np.arange(len(features)), chosen)
    found = choose_rows(
        features[chosen],
        known,
        features[rest],
        n=n,
        strategy=strategy,
        n_classes=work.n_classes,
        seed=1_000 * work.draw + work.seed,
    )
    return rest[found.rows], strategy


def _accuracy(
    features: FloatArray, codes: IntArray, held_out: FloatArray, truth: IntArray, n_classes: int
) -> float:
    """Return the accuracy of the sweep's head; with only one class, that of always saying it."""
    if len(np.unique(codes)) < 2:
        return float(np.mean(truth == codes[0]))
    heads = fit_softmax(features[None], codes, n_classes)
    measured = heads.logits(held_out[None])[0].argmax(1).numpy()
    return float(np.mean(measured == truth))


def _adequacy(features: FloatArray, labels: IntArray, chosen: IntArray) -> dict[str, float]:
    """Return the adequacy of the labels for the rest of the pool, and what it bounds."""
    rest = np.setdiff1d(np.arange(len(features)), chosen)
    if len(np.unique(labels[chosen])) < 2 or not len(rest):
        return {"covered": np.nan, "bound": np.nan, "neighbour_error": np.nan}
    measured = adequacy(features[chosen], labels[chosen], features[rest])
    nearest = nearest_labelled(features[chosen], features[rest])
    wrong = labels[chosen][nearest] != labels[rest]
    return {
        "covered": measured.covered,
        "bound": measured.bound,
        "neighbour_error": float(np.mean(wrong)),
    }
