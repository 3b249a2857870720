"""A labelled sample of a task: its training part cut to n texts, nested and stratified."""

from __future__ import annotations

from dataclasses import replace

from charkit.errors import DataError, UsageError
from charkit.tasks.nested import nested_order
from charkit.tasks.task import Task


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
