"""Encoding as jobs of an executor: a split and an encoder go out, the states lie in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from charkit.config import Pooling, Progress, content_hash
from charkit.encoders.encoder import Encoder
from charkit.encoders.stream import KIND, encode_to_store, states_config
from charkit.heads.grid import SweepPlan
from charkit.heads.plan import usable_sizes
from charkit.parallel import Executor, check_failures, run_jobs
from charkit.store import Store
from charkit.tasks.card import LazyTask
from charkit.tasks.nested import nested_order
from charkit.tasks.subsets import make_subset
from charkit.tasks.task import Split, Task


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
