"""Choosing the strength of each head inside its own training sample.

A strength is scored by the approximate leave-one-out loss and error of its loosely solved head.
In samples of few rows the score is rough, and the whole grid is tried. With more it is a valley:
the search starts in the middle, walks towards weaker strengths while the score falls, and, if
the first step that way rose, towards stronger ones. Each solve starts from the best or the last
solution so far. Only the chosen strength is solved to the tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from charkit.heads.design import Design
from charkit.heads.leave_one_out import left_out_loss, left_out_score
from charkit.heads.minimise import Minimum, Problem, minimise, prior_weights

PENALTIES = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""Default grid of the TOTAL penalty, strength times number of rows: 1 / C of scikit-learn. In
these terms the best strength of a task hardly depends on the size of its sample."""

# Relative gap to which strengths are solved that are only compared (docs/heads.md, "Search").
# Measured on scikit-learn's digits, wine and breast cancer: at the best strengths the score is
# within 1 % of the one solved to 1e-6, and the same strength is chosen.
_LOOSE = 1e-3

SCANNED_ROWS = 1024
"""Up to this many rows the whole grid is tried: there the score has more than one valley."""


@dataclass(frozen=True)
class Choice:
    """The solved heads at their chosen strengths.

    Attributes:
        minimum: Solution at the chosen strength.
        strength: Chosen, float64, (B,).
        scores: `left_out_score` at each strength of the grid, float64, (B, S); NaN where a
            strength was not tried.
        left_out_loss: At the chosen strength, in nats, float64, (B,); NaN if it was the only one.
        first_gradient_norm: Norm of the objective's gradient at the head that knows the class
            shares only, (B,).
    """

    minimum: Minimum
    strength: Tensor
    scores: Tensor
    left_out_loss: Tensor
    first_gradient_norm: Tensor


def default_strengths(n_samples: int) -> tuple[float, ...]:
    """Return the default grid for a training sample of ``n`` rows."""
    return tuple(penalty / n_samples for penalty in PENALTIES)


def solve_path(
    design: Design, labels: Tensor, strengths: Sequence[float], *, tolerance: float
) -> Choice:
    """Choose a strength for each layer, and solve at it.

    Args:
        design: B layers.
        labels: Class codes 0..C-1, each present, (n,).
        strengths: The grid, falling.
        tolerance: Relative objective gap at the chosen strength.
    """
    n_classes = int(labels.max()) + 1
    grid = torch.tensor(strengths, dtype=torch.float64, device=labels.device)
    scores = torch.full(
        (design.rows.shape[0], len(strengths)), torch.nan, dtype=torch.float64, device=labels.device
    )
    best = torch.full_like(scores[:, 0], len(strengths) // 2, dtype=torch.int64)
    problem = Problem(design, labels, grid[best])
    weights = prior_weights(problem, n_classes)
    if len(strengths) > 1:
        search = _scan if design.n_samples <= SCANNED_ROWS else _walk
        best, weights = search(problem, weights, grid, scores, best, tolerance)
        problem = Problem(design, labels, grid[best])
    minimum = minimise(problem, weights, tolerance=tolerance)
    loss = torch.full_like(scores[:, 0], torch.nan)
    if len(strengths) > 1:
        loss = left_out_loss(problem, minimum, design.rows.square())
    return Choice(
        minimum, problem.strength, scores, loss, _prior_gradient_norm(design, labels, n_classes)
    )


def _scan(
    problem: Problem, weights: Tensor, grid: Tensor, scores: Tensor, start: Tensor, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Fill all of ``scores`` (B, S), from strong to weak; return as `_walk` does."""
    design, labels = problem.design, problem.labels
    squares = design.rows.square()
    best, best_weights = start, weights
    lowest = torch.full_like(scores[:, 0], torch.inf)
    for column, strength in enumerate(grid):
        tried = Problem(design, labels, strength.expand(len(start)))
        minimum = minimise(tried, weights, tolerance=max(_LOOSE, tolerance))
        weights = minimum.weights
        scores[:, column] = left_out_score(tried, minimum, squares)
        better = scores[:, column] < lowest
        lowest = torch.where(better, scores[:, column], lowest)
        best = torch.where(better, column, best)
        best_weights = torch.where(better[:, None, None], weights, best_weights)
    return best, best_weights


def _walk(
    problem: Problem, weights: Tensor, grid: Tensor, scores: Tensor, start: Tensor, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Fill ``scores`` (B, S) where tried; return the best index (B,) and its weights."""
    design, labels = problem.design, problem.labels
    squares = design.rows.square()
    loose = max(_LOOSE, tolerance)
    minimum = minimise(problem, weights, tolerance=loose)
    best, weights = start, minimum.weights
    lowest = left_out_score(problem, minimum, squares)
    scores.scatter_(1, start[:, None], lowest[:, None])
    direction = torch.ones_like(start)
    while True:
        index = best + direction
        legal = (direction != 0) & (index >= 0) & (index < len(grid))
        first = (direction > 0) & (best == start)
        if not bool((legal | first).any()):
            return best, weights
        index = torch.where(legal, index, best)
        tried = Problem(design, labels, grid[index])
        minimum = minimise(tried, weights, tolerance=loose)
        score = torch.where(legal, left_out_score(tried, minimum, squares), lowest)
        scores.scatter_(1, index[:, None], score[:, None])
        better = score < lowest
        direction = torch.where(better, direction, torch.where(first, -1, 0))
        lowest = torch.where(better, score, lowest)
        best = torch.where(better, index, best)
        weights = torch.where(better[:, None, None], minimum.weights, weights)


def _prior_gradient_norm(design: Design, labels: Tensor, n_classes: int) -> Tensor:
    """Norm of the gradient at the class shares: the class sums, since the rows are centred."""
    rows = design.rows[..., :-1]
    sums = rows.new_zeros((rows.shape[0], n_classes, rows.shape[2]))
    sums.index_add_(1, labels, rows)
    if n_classes == 2:
        sums = sums[:, 1:]
    return sums.square().sum((1, 2)).sqrt() / rows.shape[1]
