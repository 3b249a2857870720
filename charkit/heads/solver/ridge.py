"""Many ridge heads at once, for real-valued labels, in closed form.

On the same centred and scaled features as the softmax heads, a head minimises

    1/(2n) sum_i (y_i - w x_i - b)^2  +  (strength / 2) ||w||^2

with the bias free: scikit-learn's Ridge with alpha = n * strength. In the principal basis every
strength of the grid costs one division, and so does the exact leave-one-out error that chooses
among them: the residual over one minus the leverage.

Reference:
    Allen (1974), The relationship between variable selection and data augmentation and a method
    for prediction (PRESS).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from charkit.heads.solver.design import (
    Design,
    check_finite,
    check_shapes,
    check_targets,
    checked_strengths,
    chunk_size,
    make_design,
    to_tensor,
)
from charkit.heads.solver.leave_one_out import default_strengths

# A leverage of 1 would divide by zero; float32 has no digits of 1 - leverage below a millionth.
_SMALLEST_REMAINDER = 1e-6


@dataclass(frozen=True)
class RidgeHeads:
    """B linear regression heads, one a layer, that apply to RAW features.

    Attributes:
        weights: (B, d).
        bias: (B,).
        strength: Chosen strength on the centred and scaled features, (B,).
        objective: At the solution, in squared units of the target, (B,).
        gradient_norm: Norm of the objective's gradient there, relative to its norm at w = 0,
            (B,).
        n_iterations: 1 for every head: the solution is in closed form, (B,).
        converged: True for every head, (B,).
        strengths: The grid, falling, (S,).
        scores: Exact leave-one-out mean squared error at each strength, (B, S).
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

    def predict(self, features: Tensor | np.ndarray) -> Tensor:
        """Return predictions (B, m) for raw features (B, m, d)."""
        rows = to_tensor(features, self.weights.device).to(self.weights.dtype)
        return torch.bmm(rows, self.weights.unsqueeze(2)).squeeze(2) + self.bias.unsqueeze(1)


def fit_ridge(
    features: Tensor | np.ndarray,
    targets: Tensor | np.ndarray,
    *,
    strengths: Sequence[float] | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> RidgeHeads:
    """Fit one regression head a layer on the same labelled sample.

    Args:
        features: Raw features, (B, n, d).
        targets: Real numbers, (n,).
        strengths: Grid to choose from, or one strength; by default ``default_strengths(n)``.
        dtype: Of the features' arithmetic, float32 or float64; the rest is float64.
        device: Where to compute.

    Raises:
        DataError: Features or targets are not finite.
        UsageError: Shapes or strengths are not legal.
    """
    rows = to_tensor(features, device).to(dtype)
    wanted = to_tensor(targets, device).double()
    check_shapes(rows, wanted)
    check_targets(wanted)
    grid = checked_strengths(default_strengths(rows.shape[1]) if strengths is None else strengths)
    with torch.inference_mode():
        parts = []
        step = chunk_size(rows)
        for start in range(0, rows.shape[0], step):
            design = make_design(rows[start : start + step])
            check_finite(design, start)
            parts.append(_solve(design, wanted, grid))
    return _joined(parts)


def _solve(design: Design, targets: Tensor, grid: tuple[float, ...]) -> RidgeHeads:
    rows = design.rows[..., :-1].double()
    n_samples = rows.shape[1]
    spectrum = rows.square().mean(1).unsqueeze(1)
    strengths = torch.tensor(grid, dtype=torch.float64, device=rows.device)
    level = targets.mean()
    centred = targets - level
    moment = torch.einsum("bnr,n->br", rows, centred).unsqueeze(1) / n_samples
    inverse = 1 / (spectrum + strengths[:, None])
    weights = moment * inverse
    rest = centred - torch.bmm(weights, rows.mT)
    leverage = torch.bmm(inverse, rows.square().mT).div_(n_samples).add_(1 / n_samples)
    scores = (rest / (1 - leverage).clamp_min_(_SMALLEST_REMAINDER)).square_().mean(2)
    best = scores.argmin(1)
    pick = torch.arange(len(best), device=best.device)
    weight, rest = weights[pick, best], rest[pick, best]
    penalty = strengths[best]
    gradient = penalty[:, None] * weight - torch.einsum("bnr,bn->br", rows, rest) / n_samples
    column = torch.cat([weight, torch.zeros_like(weight[:, :1]) + level], 1).unsqueeze(1)
    raw, bias = design.unfold(column)
    return RidgeHeads(
        weights=raw.squeeze(1).to(design.rows.dtype),
        bias=bias.squeeze(1).to(design.rows.dtype),
        strength=penalty,
        objective=rest.square().mean(1) / 2 + penalty * weight.square().sum(1) / 2,
        gradient_norm=gradient.norm(dim=1) / moment.norm(dim=(1, 2)).clamp_min(1e-300),
        n_iterations=torch.ones_like(best),
        converged=torch.ones_like(best, dtype=torch.bool),
        strengths=strengths,
        scores=scores,
    )


_PER_LAYER = (
    "weights", "bias", "strength", "objective", "gradient_norm", "n_iterations", "converged",
    "scores",
)  # fmt: skip


def _joined(parts: list[RidgeHeads]) -> RidgeHeads:
    joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in _PER_LAYER}
    return RidgeHeads(**joined, strengths=parts[0].strengths)
