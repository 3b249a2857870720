"""Many ridge heads at once, in closed form, each with its strength chosen by leave-one-out error.

A head centres the features and the targets, divides the features by one scale factor, and minimises

    (1/n) sum_i (w.x_i + b - y_i)^2  +  strength ||w||^2

with the bias free: scikit-learn's Ridge with alpha = n * strength on the same features. In the
principal basis every strength costs one product, and leaving row i out changes its residual by
the exact factor 1 / (1 - h_i), h_i its leverage (Allen 1974, PRESS).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from charkit.errors import DataError, UsageError
from charkit.heads.design import Design, make_design
from charkit.heads.strength import default_strengths


@dataclass(frozen=True)
class RidgeHeads:
    """B linear heads for a real target, one a layer, that apply to RAW features.

    Attributes:
        weights: (B, d).
        bias: (B,).
        strength: Chosen strength of the penalty on the centred and scaled features, (B,).
        gradient_norm: Norm of the objective's gradient at the solution, relative to its norm at
            zero weights, (B,).
        n_iterations: 0: the solution is in closed form, (B,).
        converged: True, (B,).
        scores: Leave-one-out mean squared error at each strength, (B, S).
    """

    weights: Tensor
    bias: Tensor
    strength: Tensor
    gradient_norm: Tensor
    n_iterations: Tensor
    converged: Tensor
    scores: Tensor

    def predict(self, features: Tensor | np.ndarray) -> Tensor:
        """Return predictions (B, m) for raw features (B, m, d)."""
        rows = torch.as_tensor(features, device=self.weights.device).to(self.weights.dtype)
        return torch.bmm(rows, self.weights.unsqueeze(2)).squeeze(2) + self.bias[:, None]


def fit_ridge(
    features: Tensor | np.ndarray,
    targets: Tensor | np.ndarray,
    *,
    strengths: Sequence[float] | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> RidgeHeads:
    """Fit one ridge head a layer on the same targets.

    Args:
        features: Raw features, (B, n, d).
        targets: Real numbers, (n,).
        strengths: Grid to choose from; by default ``default_strengths(n)``.
        dtype: Of the decomposition, float32 or float64; the rest is float64.
        device: Where to compute.

    Raises:
        DataError: Features or targets are not finite, or there are fewer than two rows.
        UsageError: Shapes or strengths are not legal.
    """
    rows = torch.as_tensor(features, device=device).to(dtype)
    wanted = torch.as_tensor(targets, device=device).double()
    if rows.ndim != 3 or wanted.shape != rows.shape[1:2]:
        raise UsageError(
            "features and targets do not fit: expected (B, n, d) and (n,), got "
            f"{tuple(rows.shape)} and {tuple(wanted.shape)}."
        )
    if rows.shape[1] < 2:
        raise DataError(f"too few rows: expected at least 2, got {rows.shape[1]}.")
    grid = default_strengths(rows.shape[1]) if strengths is None else tuple(strengths)
    if not grid or min(grid) <= 0:
        raise UsageError(f"strengths: expected positive numbers, got {grid}.")
    with torch.inference_mode():
        design = make_design(rows)
        if not (torch.isfinite(design.rows).all() and torch.isfinite(wanted).all()):
            raise DataError("features or targets: expected finite numbers, got NaN or infinity.")
        return _solve(design, wanted, grid)


def _solve(design: Design, wanted: Tensor, grid: tuple[float, ...]) -> RidgeHeads:
    """Solve all strengths in the principal basis and keep the best of each layer."""
    rows, spectrum = design.rows[..., :-1].double(), design.spectrum[:, :-1].double()
    n_samples = rows.shape[1]
    strength = torch.tensor(grid, dtype=torch.float64, device=rows.device)
    centred = wanted - wanted.mean()
    moment = (rows.mT @ centred) / n_samples  # (B, r)
    shrink = 1 / (spectrum[:, None] + strength[None, :, None])  # (B, S, r)
    weights = shrink * moment[:, None]
    residual = centred - weights @ rows.mT  # (B, S, n)
    leverage = (shrink / n_samples) @ rows.square().mT + 1 / n_samples
    left_out = residual / (1 - leverage).clamp_min(1e-12)
    scores = left_out.square().mean(2)
    best = scores.argmin(1)
    layer = torch.arange(len(best), device=best.device)
    chosen = weights[layer, best]
    error = residual[layer, best]
    gradient = strength[best][:, None] * chosen - (error[:, None] @ rows).squeeze(1) / n_samples
    wide = torch.cat([chosen, wanted.mean().expand(len(best), 1)], 1)
    raw, bias = design.unfold(wide.unsqueeze(1))
    return RidgeHeads(
        weights=raw.squeeze(1).to(design.rows.dtype),
        bias=bias.squeeze(1).to(design.rows.dtype),
        strength=strength[best],
        gradient_norm=gradient.norm(dim=1) / moment.norm(dim=1).clamp_min(1e-30),
        n_iterations=torch.zeros_like(best),
        converged=torch.ones_like(best, dtype=torch.bool),
        scores=scores,
    )
