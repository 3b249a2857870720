"""Nested stratified samples: one order of the rows whose every prefix is a stratified sample."""

from __future__ import annotations

import heapq
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from charkit.config import TaskKind
from charkit.errors import DataError, UsageError
from charkit.tasks.task import Task

# Quantile bins of real targets: as many strata as keep a sample of 20 even, two rows in each.
_N_BINS = 10


def nested_order(labels: ArrayLike, *, seed: int, kind: TaskKind) -> NDArray[np.int64]:
    """Return a permutation of the rows whose prefixes are nested stratified samples.

    In every prefix of n rows the count of every class differs from n times the class's share by
    at most 1. As far as that allows, every class has appeared once n reaches n_classes. Within
    a class the order is random. Targets of a regression are stratified over ten quantile bins.

    The order of classes is a schedule: the j-th row of a class may come no earlier and no later
    than the bound allows, and earliest-deadline-first finds such an order whenever one exists
    (Steiner and Yeomans: Level Schedules for Mixed-Model, Just-in-Time Processes, 1993).

    Args:
        labels: Class codes or real targets, shape (n_samples,).
        seed: Seed of the order within classes and of ties between classes.
        kind: What the labels are.

    Returns:
        Row indices, shape (n_samples,).

    >>> nested_order([0, 0, 0, 1, 1, 1], seed=0, kind="classification")[:2] // 3
    array([0, 1])
    """
    array = np.asarray(labels)
    if not len(array):
        return np.zeros(0, dtype=np.int64)
    codes = _quantile_bins(array) if kind == "regression" else array
    _, codes, counts = np.unique(codes, return_inverse=True, return_counts=True)
    rng = np.random.default_rng(seed)
    sizes = tuple(int(c) for c in counts)
    classes = _schedule(sizes, rng.permutation(len(sizes)).tolist(), _first_deadline(sizes))
    assert classes is not None
    rows = rng.permutation(len(codes))
    grouped = rows[np.argsort(codes[rows], kind="stable")]
    slots = np.argsort(np.asarray(classes), kind="stable")
    order = np.empty(len(codes), dtype=np.int64)
    order[slots] = grouped
    return order


def _quantile_bins(targets: NDArray[np.generic]) -> NDArray[np.int64]:
    n_bins = max(1, min(_N_BINS, len(targets) // 2))
    edges = np.unique(np.quantile(targets.astype(np.float64), np.arange(1, n_bins) / n_bins))
    return np.searchsorted(edges, targets, side="right").astype(np.int64)


@lru_cache(maxsize=64)
def _first_deadline(sizes: tuple[int, ...]) -> int:
    """Return a position by which every class can have appeared (least up to a factor of 2)."""
    ranks = list(range(len(sizes)))
    deadline, total = len(sizes), sum(sizes)
    while deadline < total and _schedule(sizes, ranks, deadline) is None:
        deadline *= 2
    return min(deadline, total)


def _schedule(sizes: tuple[int, ...], ranks: list[int], first_deadline: int) -> list[int] | None:
    """Return the class at each position, or None where a deadline cannot be met.

    Row j (1, 2, ...) of a class of size s among N may stand at position t (1..N) when
    (j - 1) N / s <= t <= j N / s + 1, which keeps the class's count within 1 of its share.
    """
    total = sum(sizes)
    placed = [0] * len(sizes)

    def job(cls: int) -> tuple[int, int, int, int]:
        done, size = placed[cls], sizes[cls]
        release = max(1, -(-done * total // size))
        deadline = min(total, (done + 1) * total // size + 1)
        if done == 0:
            deadline = min(deadline, first_deadline)
        return release, deadline, ranks[cls], cls

    waiting = [job(cls) for cls in range(len(sizes))]
    heapq.heapify(waiting)
    ready: list[tuple[int, int, int]] = []
    result = []
    for position in range(1, total + 1):
        while waiting and waiting[0][0] <= position:
            heapq.heappush(ready, heapq.heappop(waiting)[1:])
        if not ready or ready[0][0] < position:
            return None
        cls = heapq.heappop(ready)[2]
        result.append(cls)
        placed[cls] += 1
        if placed[cls] < sizes[cls]:
            heapq.heappush(waiting, job(cls))
    return result


# -- a labelled sample of a task: its training part cut to n texts, nested and stratified ---------


def sample_task(task: Task, n: int | None, *, seed: int = 0) -> Task:
    """Return the task with n of its labelled training texts; the evaluation part stays.

    The sample of a smaller n is the beginning of that of a larger one with the same seed (see
    `nested_order`), as in a sweep.

    Args:
        task: The task.
        n: Training texts; None leaves the task as it is.
        seed: Of the draw.

    Raises:
        DataError: The training part has no labels.
        UsageError: ``n`` is below the number of classes, or above that of the texts; or
            the seed is negative.
    """
    if n is None:
        return task
    labels = task.train.labels
    if labels is None:
        raise DataError(
            f"{task.name} has no labels to draw a sample by: expected labelled training texts, "
            "got none. Leave n out."
        )
    if seed < 0:
        raise UsageError(f"seed is out of range: expected at least 0, got {seed}.")
    smallest = max(2, task.n_classes)
    if not smallest <= n <= len(labels):
        raise UsageError(
            f"n out of range: expected {smallest} to {len(labels):,}, the labelled training "
            f"texts of {task.name}, got {n:,}. Leave it out for all."
        )
    rows = nested_order(labels, seed=seed, kind=task.kind)[:n]
    return replace(task, train=task.train.take(rows))
