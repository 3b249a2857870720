"""Which training texts a sweep reads: heads on a few hundred labels need no more encoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charkit.heads.grid import SweepPlan
from charkit.heads.plan import usable_sizes
from charkit.tasks.card import LazyTask
from charkit.tasks.nested import nested_order
from charkit.tasks.subsets import make_subset
from charkit.tasks.task import Split, Task

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
    """Return the training texts that any draw of a plan reads, whatever is in the store already.

    Args:
        plan: The sweep.
        task: One of its tasks, opened.
    """
    n_train = len(task.train)
    used = np.zeros(n_train, dtype=bool)
    for subset in plan.settings.subsets:
        for seed in plan.settings.seeds:
            part = make_subset(task, subset, seed=seed)
            sizes = usable_sizes(
                plan.settings.sizes,
                n_train=len(part.train_rows),
                n_classes=len(part.class_names),
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
