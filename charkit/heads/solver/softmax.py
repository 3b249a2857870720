"""Many L2-regularised softmax heads at once, solved to convergence.

A head reads one layer: it centres the features by the mean of its training rows, divides them
by one scale factor, and minimises

    (1/n) sum_i -log softmax(W x_i + b)_{y_i}  +  (strength / 2) ||W||^2

with the bias free, so that the class shares of the sample are kept. Two classes have one weight
vector w, the log odds of the second class, with penalty (strength / 2) ||w||^2. Both are
scikit-learn's LogisticRegression with C = 1 / (n * strength) on the same features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from charkit.heads.solver.design import (
    Design,
    check_codes,
    check_finite,
    check_shapes,
    check_tolerance,
    checked_strengths,
    chunk_size,
    make_design,
    to_tensor,
)
from charkit.heads.solver.leave_one_out import Choice, default_strengths, solve_path

TOLERANCE = 2e-5
"""Default relative objective gap; in the benchmark the true gap reached twice that."""


@dataclass(frozen=True)
class SoftmaxHeads:
    """B linear heads, one a layer, that apply to RAW features.

    Attributes:
        weights: (B, C, d).
        bias: (B, C).
        strength: Chosen strength of the penalty on the centred and scaled features, (B,).
        objective: At the solution, in nats, (B,).
        gradient_norm: Norm of the objective's gradient there, relative to its norm at the head
            that knows the class shares only, (B,).
        n_iterations: Of the last solve, at the chosen strength, (B,).
        converged: Whether the estimated relative objective gap is within the tolerance, (B,).
        strengths: The grid, falling, (S,).
        scores: Approximate leave-one-out loss plus weighted error at each strength
            (`charkit.heads.solver.leave_one_out.left_out_score`), (B, S); NaN where it was not
            tried.
        left_out_loss: Approximate leave-one-out loss at the chosen strength, in nats, (B,); NaN
            if no other was compared.
        n_absent: Number of classes without a training row.
    """

    weights: Tensor
    bias: Tensor
    strength: Tensor
    objective: Tensor
    gradient_norm: Tensor
    n_iterations: Tensor
    converged: Tensor
    strengths: Tensor
    scores: Tensor
    left_out_loss: Tensor
    n_absent: int

    def logits(self, features: Tensor | np.ndarray) -> Tensor:
        """Return logits (B, m, C) of raw features (B, m, d)."""
        rows = to_tensor(features, self.weights.device).to(self.weights.dtype)
        return torch.baddbmm(self.bias.unsqueeze(1), rows, self.weights.mT)

    def probabilities(self, features: Tensor | np.ndarray) -> Tensor:
        """Return class probabilities (B, m, C) of raw features (B, m, d)."""
        return torch.softmax(self.logits(features), 2)


def fit_softmax(
    features: Tensor | np.ndarray,
    labels: Tensor | np.ndarray,
    n_classes: int,
    *,
    strengths: Sequence[float] | None = None,
    tolerance: float = TOLERANCE,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> SoftmaxHeads:
    """Fit one head a layer on the same labelled sample.

    Args:
        features: Raw features, (B, n, d).
        labels: Class codes 0..n_classes-1, (n,).
        n_classes: Number of classes of the task; some may lack a training row.
        strengths: Grid to choose from, or one strength; by default ``default_strengths(n)``.
        tolerance: Relative objective gap at the chosen strength.
        dtype: Of the arithmetic, float32 or float64.
        device: Where to compute.

    Returns:
        The heads. A class without a training row has zero weights and the bias that gives it,
        in the geometric mean over the training rows, the odds 1 : n against the others.

    Raises:
        DataError: Features are not finite, or fewer than two classes have a row.
        UsageError: Shapes, labels, or strengths are not legal.
    """
    rows = to_tensor(features, device).to(dtype)
    codes = to_tensor(labels, device)
    check_shapes(rows, codes)
    check_codes(codes, n_classes)
    check_tolerance(tolerance)
    present, inner = torch.unique(codes.long(), return_inverse=True)
    grid = checked_strengths(default_strengths(rows.shape[1]) if strengths is None else strengths)
    with torch.inference_mode():
        parts = []
        step = chunk_size(rows)
        for start in range(0, rows.shape[0], step):
            design = make_design(rows[start : start + step])
            check_finite(design, start)
            choice = solve_path(design, inner, grid, tolerance=tolerance)
            parts.append(_folded(design, choice, inner, present, n_classes, grid))
    return _joined(parts)


def _folded(
    design: Design,
    choice: Choice,
    labels: Tensor,
    present: Tensor,
    n_classes: int,
    grid: tuple[float, ...],
) -> SoftmaxHeads:
    """Turn solutions into heads on raw features, over all classes."""
    minimum = choice.minimum
    weights, bias = design.unfold(minimum.weights)
    logits = torch.bmm(minimum.weights, design.rows.mT)
    if weights.shape[1] == 1:
        weights = torch.cat([-weights / 2, weights / 2], 1)
        bias = torch.cat([-bias / 2, bias / 2], 1)
        logits = torch.cat([-logits / 2, logits / 2], 1)
    wide = weights.new_zeros((weights.shape[0], n_classes, weights.shape[2]))
    wide[:, present] = weights
    level = torch.logsumexp(logits, 1).mean(1, dtype=torch.float64)
    wide_bias = (level - float(np.log(design.n_samples)))[:, None].repeat(1, n_classes)
    wide_bias[:, present] = bias
    return SoftmaxHeads(
        weights=wide.to(logits.dtype),
        bias=wide_bias.to(logits.dtype),
        strength=choice.strength,
        objective=minimum.objective,
        gradient_norm=minimum.gradient_norm / choice.first_gradient_norm.clamp_min(1e-30),
        n_iterations=minimum.n_iterations,
        converged=minimum.converged,
        strengths=torch.tensor(grid, dtype=torch.float64, device=labels.device),
        scores=choice.scores,
        left_out_loss=choice.left_out_loss,
        n_absent=n_classes - present.shape[0],
    )


_PER_LAYER = (
    "weights", "bias", "strength", "objective", "gradient_norm", "n_iterations", "converged",
    "scores", "left_out_loss",
)  # fmt: skip


def _joined(parts: list[SoftmaxHeads]) -> SoftmaxHeads:
    joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in _PER_LAYER}
    return SoftmaxHeads(**joined, strengths=parts[0].strengths, n_absent=parts[0].n_absent)
