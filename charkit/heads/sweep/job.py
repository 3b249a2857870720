"""One job of a sweep: heads on all layers and sizes of one draw, scored, written to the store.

Encoding as jobs of an executor: a split and an encoder go out, the states lie in the store.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from charkit.config import Pooling, Progress, content_hash
from charkit.encoders.encoder import Encoder
from charkit.encoders.states import LayerStates
from charkit.encoders.stream import KIND, encode_to_store, open_states, states_config
from charkit.errors import DataError
from charkit.heads.metrics.influence import CLASS_METRICS
from charkit.heads.metrics.scores import (
    classification_scores,
    headline,
    majority_probabilities,
    majority_scores,
    predicted_classes,
    regression_scores,
    row_log_loss,
)
from charkit.heads.solver.ridge import fit_ridge
from charkit.heads.solver.softmax import fit_softmax
from charkit.heads.sweep.grid import SweepPlan
from charkit.heads.sweep.plan import NO_LAYER, Job, usable_sizes
from charkit.heads.sweep.table import to_frame, write_table
from charkit.parallel import Executor, check_failures, run_jobs
from charkit.store.cached import cached
from charkit.store.durable import write_whole
from charkit.store.manifest import Clock, run_manifest
from charkit.store.store import Store
from charkit.tasks.card import LazyTask
from charkit.tasks.nested import nested_order
from charkit.tasks.subsets import make_subset
from charkit.tasks.task import Split, Task

logger = logging.getLogger(__name__)

Labels = NDArray[Any]
Cell = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """A job with all that a worker needs to do it.

    Attributes:
        job: What to compute.
        root: The store's folder.
        train_states: Key of the training texts' states; empty for the majority control.
        evaluation_states: Key of the evaluation texts' states.
        train_rows: Rows of the training states that the subset uses, (n_train,); -1 where no draw
            reads a row, so that it was not encoded.
        evaluation_rows: Rows of the evaluation states, (n_eval,).
        train_labels: Labels of ``train_rows``, (n_train,).
        evaluation_labels: Labels of ``evaluation_rows``, (n_eval,).
        n_classes: Classes of the subset; 0 for regression.
        n_unseen: Classes that only its evaluation rows have; their codes follow.
    """

    job: Job
    root: Path
    train_states: str
    evaluation_states: str
    train_rows: NDArray[np.int64]
    evaluation_rows: NDArray[np.int64]
    train_labels: Labels
    evaluation_labels: Labels
    n_classes: int
    n_unseen: int = 0

    @property
    def n_codes(self) -> int:
        """Classes of either part; 0 for regression."""
        return self.n_classes + self.n_unseen

    @property
    def sizes(self) -> tuple[int, ...]:
        """The training sizes that the sample allows."""
        return usable_sizes(self.job.sizes, n_train=len(self.train_rows), n_classes=self.n_classes)


def run_job(work: Work) -> str:
    """Compute a job unless the store has it, and return its key.

    Raises:
        DataError: The sample allows none of the sizes.
        MissingError: The store cannot be written, or the states are gone.
    """
    job = work.job

    def make(folder: Path) -> dict[str, Any]:
        from safetensors.numpy import save

        clock = Clock()
        cells, rows = compute(work)
        write_table(to_frame(cells), folder / "table.parquet")
        write_whole(folder / "rows.safetensors", save(rows))
        return run_manifest(
            job.config,
            clock=clock,
            seeds={"draw": job.seed},
            fingerprints={
                "task": job.card.fingerprint,
                "encoder": job.probe.fingerprint,
                "train_states": work.train_states,
                "evaluation_states": work.evaluation_states,
            },
            device="cpu",
            dtype="float32",
        ) | {"about": {"name": job.card.name, "corpus": job.card.corpus}}

    return cached(Store(work.root), "heads", job.config, make=make, load=lambda _: None).key


def compute(work: Work) -> tuple[list[Cell], dict[str, NDArray[Any]]]:
    """Return a job's cells, and per evaluation row what each cell made of it.

    The rows are ``correct`` (sizes, layers, n_eval) as bytes 0 and 1, ``predicted`` (class codes)
    and ``log_loss`` (float32) of the same shape for classification; ``prediction`` float32 for
    regression; and ``labels`` (n_eval,), what they were scored against.

    Raises:
        DataError: The sample allows none of the sizes.
    """
    if not work.sizes:
        raise DataError(
            f"{work.job.card.name} ({work.job.subset}): no training size is possible: expected "
            f"sizes from {max(2, work.n_classes)} to {len(work.train_rows)}, got "
            f"{list(work.job.sizes)}. Choose other sizes."
        )
    cells: list[Cell] = []
    per_row: dict[str, list[NDArray[Any]]] = {}
    steps = _majority(work) if work.job.control == "majority" else _heads(work)
    for new_cells, new_rows in steps:
        cells += new_cells
        for name, value in new_rows.items():
            per_row.setdefault(name, []).append(value)
    # safetensors writes the buffer as it lies: it must lie in C order
    rows = {name: np.ascontiguousarray(np.stack(values)) for name, values in per_row.items()}
    return cells, rows | {"labels": work.evaluation_labels}


Step = tuple[list[Cell], dict[str, NDArray[Any]]]


def _majority(work: Work) -> Iterator[Step]:
    order = _order(work)
    for size in work.sizes:
        labels = work.train_labels[order[:size]]
        scores = majority_scores(
            labels,
            work.evaluation_labels,
            n_classes=work.n_codes,
            n_known=work.n_classes if work.n_classes else None,
        )
        shape = (1, len(work.evaluation_labels))
        if work.n_classes:
            prior = majority_probabilities(labels, n_classes=work.n_codes)
            probabilities = np.broadcast_to(prior, (*shape, work.n_codes))
            rows = _classified_rows(work, probabilities)
        else:
            rows = {"prediction": np.full(shape, labels.mean(), dtype=np.float32)}
        cell = _common(work, size, 0.0, labels) | {"layer": NO_LAYER, "converged": True}
        yield [cell | _scored(work, scores, 0)], rows


def _heads(work: Work) -> Iterator[Step]:
    order = _order(work)[: work.sizes[-1]]
    labels = work.train_labels[order]
    shuffled = work.job.control == "shuffled_labels"
    store = Store(work.root)
    train = open_states(store, work.train_states)
    evaluation = open_states(store, work.evaluation_states)
    features = _features(train, work.job.layers, work.train_rows[order])
    held_out = _features(evaluation, work.job.layers, work.evaluation_rows)
    drawn = work.train_rows[order]
    frac_truncated = float((train.n_tokens_full[drawn] > train.n_tokens[drawn]).mean())
    fit = _fit_classes if work.n_classes else _fit_targets
    for size in work.sizes:
        own = labels[:size]
        if shuffled:
            own = shuffled_labels(own, seed=work.job.seed)
        heads, scores, rows = fit(work, features[:, :size], own, held_out)
        common = _common(work, size, frac_truncated, own)
        cells = [
            common
            | {
                "layer": layer,
                "strength": float(heads.strength[b]),
                "gradient_norm": float(heads.gradient_norm[b]),
                "n_iterations": int(heads.n_iterations[b]),
                "converged": bool(heads.converged[b]),
            }
            | _scored(work, scores, b)
            for b, layer in enumerate(work.job.layers)
        ]
        yield cells, rows


def _fit_classes(
    work: Work, features: torch.Tensor, labels: Labels, held_out: torch.Tensor
) -> tuple[Any, dict[str, NDArray[np.float64]], dict[str, NDArray[Any]]]:
    heads = fit_softmax(
        features, labels, n_classes=work.n_codes, strengths=work.job.strengths or None
    )
    probabilities = heads.probabilities(held_out).numpy()
    scores = classification_scores(probabilities, work.evaluation_labels, n_known=work.n_classes)
    return heads, scores, _classified_rows(work, probabilities)


def _fit_targets(
    work: Work, features: torch.Tensor, labels: Labels, held_out: torch.Tensor
) -> tuple[Any, dict[str, NDArray[np.float64]], dict[str, NDArray[Any]]]:
    heads = fit_ridge(features, labels, strengths=work.job.strengths or None)
    predictions = heads.predict(held_out).numpy()
    scores = regression_scores(predictions, work.evaluation_labels)
    return heads, scores, {"prediction": predictions.astype(np.float32)}


def _classified_rows(
    work: Work, probabilities: NDArray[np.floating[Any]]
) -> dict[str, NDArray[Any]]:
    labels = work.evaluation_labels
    predicted = predicted_classes(probabilities, n_known=work.n_classes)
    small = work.n_codes <= np.iinfo(np.int16).max
    return {
        "predicted": predicted.astype(np.int16 if small else np.int32),
        "correct": (predicted == labels).astype(np.uint8),
        "log_loss": row_log_loss(probabilities, labels).astype(np.float32),
    }


def _order(work: Work) -> NDArray[np.int64]:
    return nested_order(work.train_labels, seed=work.job.seed, kind=work.job.card.kind)


def _features(states: LayerStates, layers: tuple[int, ...], rows: Labels) -> torch.Tensor:
    return torch.from_numpy(np.stack([states.layer(layer)[rows] for layer in layers]))


def shuffled_labels(labels: Labels, *, seed: int) -> Labels:
    """Return the labels of one training sample in random order.

    The sample keeps its texts and its class counts. The order depends on the seed and on the
    size of the sample, so that no cell depends on which other sizes were asked for.
    """
    return np.random.default_rng([seed, len(labels), 0x5AFF1E]).permutation(labels)


def _common(work: Work, size: int, frac_truncated: float, own: Labels) -> Cell:
    """Return what a size's cells have in common; ``own`` are the labels of its training texts."""
    job, labels = work.job, work.evaluation_labels
    counts = np.bincount(labels.astype(np.int64)) if work.n_classes else np.zeros(1)
    return {
        "encoder": job.probe.encoder,
        "encoder_fingerprint": job.probe.fingerprint,
        "control": job.control,
        "task": job.card.name,
        "corpus": job.card.corpus,
        "task_fingerprint": job.card.fingerprint,
        "subset": job.subset,
        "kind": job.card.kind,
        "pooling": job.probe.pooling,
        "n_train": size,
        "seed": job.seed,
        "n_classes": work.n_classes,
        "n_unseen": work.n_unseen,
        "n_eval": len(labels),
        "frac_unseen": float(np.isin(labels, own, invert=True).mean()) if work.n_classes else 0.0,
        "majority_share": float(counts.max() / len(labels)) if work.n_classes else float("nan"),
        "metric": job.card.metric,
        "frac_truncated": frac_truncated,
        "state": "done",
        "key": job.key,
    }


def _scored(work: Work, scores: dict[str, NDArray[np.float64]], b: int) -> Cell:
    """Return head b's scores under the names of the table."""
    own = headline(scores, work.job.card.metric)
    wanted = (*CLASS_METRICS, "log_loss", "brier")
    names = [n for base in wanted for n in (base, f"{base}_low", f"{base}_high")]
    names += ["pearson", "spearman", "r2", "rmse"]
    picked = {name: float(scores[name][b]) for name in names if name in scores}
    return picked | {name: float(value[b]) for name, value in own._asdict().items()}


def failed_cells(work: Work, message: str) -> list[Cell]:
    """Return rows that say that a job's cells failed, and why."""
    order = _order(work)
    return [
        _common(work, size, 0.0, work.train_labels[order[:size]])
        | {"layer": layer, "state": "failed", "message": message}
        for size in work.sizes
        for layer in work.job.layers
    ]


@dataclass(frozen=True)
class EncodeWork:
    """One split to encode, with all that a worker needs.

    Attributes:
        encoder: The encoder; a worker reads its weights from the same folder.
        split: The texts.
        pooling: How token states become one vector.
        max_length: Longest text in tokens.
        root: The store's folder.
    """

    encoder: Encoder
    split: Split
    pooling: Pooling
    max_length: int
    root: Path

    @property
    def key(self) -> str:
        """Key of the states in the store."""
        config = states_config(
            self.encoder, self.split, pooling=self.pooling, max_length=self.max_length
        )
        return content_hash(config)


def run_encode(work: EncodeWork) -> str:
    """Encode a split unless the store has its states, and return their key."""
    states = encode_to_store(
        work.encoder,
        work.split,
        store=Store(work.root),
        pooling=work.pooling,
        max_length=work.max_length,
    )
    return states.key


def encode_elsewhere(
    wanted: Sequence[EncodeWork], *, executor: Executor, store: Store, progress: Progress
) -> None:
    """Encode on an executor what the store lacks, each split once.

    A job on a GPU takes one; Ray lends a GPU to one job at a time.

    Args:
        wanted: What heads will read; repeats are left out.
        executor: Where the jobs run.
        store: Where the states go; every worker sees its folder.
        progress: Called as ``progress("encode", done, total)``, in splits.

    Raises:
        CellsFailedError: A split could not be encoded.
    """
    distinct = {work.key: work for work in wanted}
    todo = [
        replace(work, encoder=replace(work.encoder))  # without weights that are loaded here
        for key, work in distinct.items()
        if store.find(KIND, key) is None
    ]
    gpus = {work.encoder.device for work in todo} & {"cuda"}
    found = run_jobs(
        run_encode,
        todo,
        executor=executor,
        n_gpus=1.0 if gpus else 0.0,
        folders=[store.root],
        progress=lambda done, total: progress("encode", done, total),
    )
    check_failures(found, stage="encode")


# -- which training texts a sweep reads: heads on a few hundred labels need no more encoded -------


WORTH = 0.8
"""Where the draws use more than this share, the whole part is encoded: other sweeps share it."""


@dataclass(frozen=True, eq=False)
class RowsUsed:
    """The training texts that are encoded.

    Attributes:
        split: They, in order; the whole training part where the draws use most of it.
        places: Row of the training part -> row of ``split``; -1 for those that no draw reads.
    """

    split: Split
    places: NDArray[np.int64]


def rows_used(plan: SweepPlan, task: Task) -> RowsUsed:
    """Return the training texts that any draw of a plan reads, whatever is in the store already."""
    n_train = len(task.train)
    used = np.zeros(n_train, dtype=bool)
    for subset in plan.settings.subsets:
        for seed in plan.settings.seeds:
            part = make_subset(task, subset, seed=seed)
            sizes = usable_sizes(
                plan.settings.sizes, n_train=len(part.train_rows), n_classes=len(part.class_names)
            )
            order = nested_order(part.train_labels, seed=seed, kind=task.kind)
            used[part.train_rows[order[: max(sizes, default=0)]]] = True
    if used.mean() > WORTH or not used.any():
        return RowsUsed(task.train, np.arange(n_train))
    places = np.full(n_train, -1, dtype=np.int64)
    places[used] = np.arange(int(used.sum()))
    return RowsUsed(task.train.take(np.flatnonzero(used)), places)


def expected_share(plan: SweepPlan, task: LazyTask) -> float:
    """Return about which share of the training texts will be encoded, without opening them."""
    card = task.card
    if plan.settings.subsets != ("all",):
        return 1.0
    sizes = usable_sizes(plan.settings.sizes, n_train=card.n_train, n_classes=card.n_classes)
    share = 1 - (1 - max(sizes, default=0) / card.n_train) ** len(set(plan.settings.seeds))
    return 1.0 if share > WORTH else share
