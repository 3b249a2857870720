"""MODEL2VEC: models placed among tasks, so that a task's nearest model does well on it.

A model is the embedding of the task that it was trained on plus a learned shift, m_j = F_j + b_j
(F_j = 0 where no task is known). The loss is the cross-entropy between softmax(-gamma d(t, m_j))
and soft labels softmax(-alpha z_tj), z_tj the errors of the models on task t in units of their
spread. Embeddings are centred log shares of the Fisher information, of length 1; d is the squared
Euclidean distance, so that without shifts the order is that of the log-ratio distance, and a model
that a shift brings towards the middle is nearer to all tasks, as in the asymmetric distance.

Only the part of a shift inside the span of embeddings changes a loss, so all is computed in an
orthonormal basis of it. With few tasks the shifts fit noise: the L2 penalty on them is chosen by
leaving out one more corpus inside the tasks that are learned from.

References:
    Achille, Lam, Tewari, Ravichandran, Maji, Fowlkes, Soatto and Perona 2019, "Task2Vec: Task
    Embedding for Meta-Learning", sections 3.4 and 4.3 of the supplement: alpha = 20, Adam with a
    rate of 0.05, 81 epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charkit.errors import DataError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

PENALTIES = (0.003, 0.03, 0.3, 3.0, 30.0)
"""Strengths of the L2 penalty to choose from; under the last one shifts hardly move."""

_EPOCHS = 81  # the paper's
_RATE = 0.05  # the paper's
_FIRST_GAMMA = 5.0  # squared distances are about 2, so that first odds of near and far are e^10


@dataclass(frozen=True, eq=False)
class Known:
    """Tasks on which every model's error is known, and the models.

    Attributes:
        tasks: Embeddings, (n_tasks, size).
        models: Embeddings of the models' own tasks, zeros where unknown, (n_models, size).
        errors: Of each model on each task, (n_tasks, n_models).
        allowed: Which models may be taken for which task, the same shape.
        corpora: Of the tasks; those of a corpus are left out together.
    """

    tasks: FloatArray
    models: FloatArray
    errors: FloatArray
    allowed: BoolArray
    corpora: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = (len(self.tasks), len(self.models))
        if {self.errors.shape, self.allowed.shape} != {shape} or len(self.corpora) != shape[0]:
            raise DataError(
                f"tasks and models do not fit: expected errors of {shape}, got "
                f"{self.errors.shape}, {self.allowed.shape} and {len(self.corpora)} corpora."
            )
        if len(set(self.corpora)) < 3:
            raise DataError(
                f"too few corpora to leave two out: expected 3, got {len(set(self.corpora))}."
            )


def soft_labels(errors: FloatArray, allowed: BoolArray, *, alpha: float) -> FloatArray:
    """Return softmax(-alpha z) over the models allowed, z their errors in units of their spread.

    Equal errors get equal labels.

    >>> soft_labels(np.array([[0.1, 0.3, 9.0]]), np.array([[True, True, False]]), alpha=20.0)[0, 2]
    np.float64(0.0)
    """
    held = np.where(allowed, errors, np.nan)
    middle = np.nanmean(held, axis=1, keepdims=True)
    spread = np.nanstd(held, axis=1, keepdims=True)
    logits = -alpha * (held - middle) / np.where(spread > 0, spread, 1)
    odds = np.where(allowed, np.exp(logits - np.nanmax(logits, axis=1, keepdims=True)), 0.0)
    return np.asarray(odds / odds.sum(1, keepdims=True))


def left_out_distances(
    known: Known, queries: FloatArray, *, alpha: float, penalties: tuple[float, ...] = PENALTIES
) -> tuple[FloatArray, FloatArray]:
    """Return distances from every task to the models, learned without the task's corpus.

    Args:
        known: Tasks and models.
        queries: Embeddings that the tasks are asked with, (n_tasks, size): the same as
            ``known.tasks``, or of smaller samples.
        alpha: Sharpness of the soft labels.
        penalties: Strengths to choose from, inside the tasks that are learned from.

    Returns:
        Squared distances, (n_tasks, n_models), and the penalty chosen for each task, (n_tasks,).
    """
    corpora = np.array(known.corpora)
    names = sorted(set(known.corpora))
    outside = np.stack([corpora != name for name in names])  # (G, n_tasks)
    # Orthonormal columns that span the rows of a matrix, (size, rank).
    _, sizes, right = np.linalg.svd(
        np.concatenate([known.tasks, known.models]), full_matrices=False
    )
    basis = np.asarray(right[sizes > sizes[0] * 1e-10].T)
    points = [torch.from_numpy(x @ basis) for x in (known.tasks, known.models)]
    wanted = torch.from_numpy(soft_labels(known.errors, known.allowed, alpha=alpha))
    allowed = torch.from_numpy(known.allowed)

    chosen = _chosen_penalties(points, wanted, allowed, outside, penalties)
    shifted, _ = fit_models(
        points[0], points[1], wanted, allowed, weights=torch.from_numpy(outside), penalty=chosen
    )
    place = np.searchsorted(names, corpora)
    models = shifted[torch.from_numpy(place)].numpy()
    steps = (queries @ basis)[:, None, :] - models
    return np.asarray((steps**2).sum(2)), chosen.numpy()[place]


def fit_models(
    tasks: Tensor,
    models: Tensor,
    wanted: Tensor,
    allowed: Tensor,
    *,
    weights: Tensor,
    penalty: Tensor,
) -> tuple[Tensor, Tensor]:
    """Learn shifts and sharpness, F times at once on different tasks.

    Args:
        tasks: (n_tasks, rank).
        models: (n_models, rank).
        wanted: Soft labels, (n_tasks, n_models).
        allowed: Which models compete, the same shape.
        weights: Which tasks each fit learns from, (F, n_tasks).
        penalty: Of each fit, on the mean squared length of the shifts, (F,).

    Returns:
        Embeddings of the models with their shifts, (F, n_models, rank); sharpness, (F,).
    """
    shift = torch.zeros((len(weights), *models.shape), dtype=torch.float64, requires_grad=True)
    sharp = torch.full((len(weights),), float(np.log(_FIRST_GAMMA)), dtype=torch.float64)
    sharp.requires_grad_(True)
    share = weights.double() / weights.double().sum(1, keepdim=True)
    optimiser = torch.optim.Adam([shift, sharp], lr=_RATE)
    for _ in range(_EPOCHS):
        losses = _losses(tasks, models + shift, sharp.exp(), wanted, allowed)
        # the sum over fits: none enters the gradient of another
        total = (share * losses).sum() + (penalty * shift.square().sum(2).mean(1)).sum() / 2
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return (models + shift).detach(), sharp.exp().detach()


def _losses(
    tasks: Tensor, models: Tensor, gamma: Tensor, wanted: Tensor, allowed: Tensor
) -> Tensor:
    """Return the cross-entropy of each fit and task, (F, n_tasks)."""
    inner = torch.einsum("td,fjd->ftj", tasks, models)
    squares = tasks.square().sum(1)[None, :, None] + models.square().sum(2)[:, None, :]
    logits = -gamma[:, None, None] * (squares - 2 * inner)
    odds = torch.log_softmax(logits.masked_fill(~allowed, -1e9), 2)
    return -(wanted * odds).sum(2)


def _chosen_penalties(
    points: list[Tensor],
    wanted: Tensor,
    allowed: Tensor,
    outside: BoolArray,
    penalties: tuple[float, ...],
) -> Tensor:
    """Return the penalty for each corpus that is left out, scored on the others in turn, (G,).

    The fit without corpora a and b scores b for a, and a for b.
    """
    n_groups = len(outside)
    pairs = list(combinations(range(n_groups), 2))
    kept = np.stack([outside[a] & outside[b] for a, b in pairs])
    loss = np.zeros((n_groups, len(penalties)))
    for column, penalty in enumerate(penalties):
        shifted, gamma = fit_models(
            points[0],
            points[1],
            wanted,
            allowed,
            weights=torch.from_numpy(kept),
            penalty=torch.full((len(pairs),), penalty, dtype=torch.float64),
        )
        found = _losses(points[0], shifted, gamma, wanted, allowed).numpy()
        for row, (a, b) in enumerate(pairs):
            loss[a, column] += found[row, ~outside[b]].mean()
            loss[b, column] += found[row, ~outside[a]].mean()
    return torch.tensor(penalties, dtype=torch.float64)[torch.from_numpy(loss.argmin(1))]
