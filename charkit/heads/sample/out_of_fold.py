"""The heads of a whole labelled sample, and what they predict for each row when it is left out.

One head a layer, its strength chosen as in a sweep. The leave-one-out predictions come from the
same fits (`charkit.heads.solver.leave_one_out`): no fold is held out, so they are those of heads
trained on all rows but one. The only row of a class shows nothing: without it the class is unknown.

Samples are stratified, but a sample without one row is not: its class has lost a share, most
where classes are small, and its head leans away from its own class (without any signal, two equal
classes would be predicted wrong every time). So the odds of the row's own class are multiplied by
k / (k - 1), for k rows of the class: the share that it has in the whole sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charkit.errors import DataError
from charkit.heads.solver.design import Design, check_codes, check_shapes, chunk_size, make_design
from charkit.heads.solver.leave_one_out import PENALTIES, left_out_logits, solve_path
from charkit.heads.solver.minimise import Minimum, Problem, minimise, prior_weights

FloatArray = NDArray[np.float64]

TOLERANCE = 1e-3
"""Relative objective gap: predictions move far less than they vary from sample to sample."""


@dataclass(frozen=True, eq=False)
class SampleHeads:
    """B heads, one a layer, fitted to one labelled sample.

    Attributes:
        penalty: Total penalty of each, its strength times the number of rows, float64, (B,).
        left_out: Probabilities of every row from the head without it, float64, (B, n, C); 0 for
            classes that no row has.
        counted: Rows that are not the only one of their class, (n,).
        weights: On raw features, (B, C, width).
        bias: (B, C); minus infinity for classes that no row has.
    """

    penalty: FloatArray
    left_out: FloatArray
    counted: NDArray[np.bool_]
    weights: Tensor
    bias: Tensor

    def probabilities(self, features: Tensor) -> FloatArray:
        """Return class probabilities (B, m, C) of raw features (B, m, width), float64."""
        logits = torch.baddbmm(self.bias.unsqueeze(1), features, self.weights.mT)
        return np.asarray(torch.softmax(logits.double(), 2).numpy())


def fit_sample_heads(
    features: Tensor, labels: Tensor, n_classes: int, *, penalties: Sequence[float] = PENALTIES
) -> SampleHeads:
    """Fit one head a layer, the penalty of each chosen by leave-one-out.

    Args:
        features: Raw features, (B, n, width), float32 or float64.
        labels: Class codes 0..n_classes-1, (n,).
        n_classes: Number of classes of the task; some may lack a row.
        penalties: Total penalties to choose from.

    Raises:
        DataError: Features are not finite, or fewer than two classes have a row.
        UsageError: Shapes or labels are not legal.
    """
    check_shapes(features, labels)
    check_codes(labels, n_classes)
    if not bool(torch.isfinite(features).all()):
        raise DataError(
            "features are not finite: expected numbers, got NaN or infinity. Look at the texts."
        )
    present, codes, counts = torch.unique(labels.long(), return_inverse=True, return_counts=True)
    grid = [penalty / features.shape[1] for penalty in sorted(set(penalties), reverse=True)]
    parts = []
    step = chunk_size(features)
    with torch.inference_mode():
        for start in range(0, features.shape[0], step):
            design = make_design(features[start : start + step])
            choice = solve_path(design, codes, grid, tolerance=TOLERANCE)
            problem = Problem(design, codes, choice.strength)
            parts.append(_judged(problem, choice.minimum, present, n_classes))
    return SampleHeads(
        penalty=np.concatenate([part.penalty for part in parts]),
        left_out=np.concatenate([part.left_out for part in parts]),
        counted=(counts[codes] > 1).numpy(),
        weights=torch.cat([part.weights for part in parts]),
        bias=torch.cat([part.bias for part in parts]),
    )


def shuffled_accuracy(
    features: Tensor, labels: Tensor, penalty: FloatArray, *, seed: int
) -> FloatArray:
    """Return the leave-one-out accuracy of heads whose labels are shuffled, (B,).

    Args:
        features: Raw features, (B, n, width).
        labels: Class codes, (n,).
        penalty: Total penalty of each head, (B,).
        seed: Of the permutation.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    present, codes, counts = torch.unique(
        labels.long()[torch.from_numpy(order)], return_inverse=True, return_counts=True
    )
    counted = counts[codes] > 1
    if not bool(counted.any()):
        return np.full(features.shape[0], np.nan)
    with torch.inference_mode():
        design = make_design(features)
        problem = Problem(design, codes, torch.from_numpy(penalty) / features.shape[1])
        start = prior_weights(problem, len(present))
        minimum = minimise(problem, start, tolerance=TOLERANCE)
        logits = wide_logits(left_out_logits(problem, minimum, design.rows.square()))
        restore_shares(logits, codes)
        right = (logits.argmax(1) == codes)[:, counted].double().mean(1)
    return np.asarray(right.numpy())


def wide_logits(logits: Tensor) -> Tensor:
    """Return logits with one column a class, (B, C, n), of logits (B, K, n)."""
    if logits.shape[1] > 1:
        return logits
    return torch.cat([-logits / 2, logits / 2], 1)


def restore_shares(logits: Tensor, labels: Tensor) -> None:
    """Give each row's own class back its share of the whole sample, in logits (B, C, n)."""
    counts = torch.bincount(labels)[labels].to(logits.dtype)
    lost = torch.where(counts > 1, (counts / (counts - 1).clamp_min(1)).log(), 0.0)
    index = labels.expand(logits.shape[0], 1, -1)
    logits.scatter_add_(1, index, lost.expand(index.shape))


def raw_heads(design: Design, minimum: Minimum) -> tuple[Tensor, Tensor]:
    """Return weights (B, C, width) and bias (B, C) on raw features, in the features' type."""
    weights, bias = design.unfold(minimum.weights)
    if weights.shape[1] == 1:
        weights = torch.cat([-weights / 2, weights / 2], 1)
        bias = torch.cat([-bias / 2, bias / 2], 1)
    kind = design.rows.dtype
    return weights.to(kind), bias.to(kind)


def _judged(problem: Problem, minimum: Minimum, present: Tensor, n_classes: int) -> SampleHeads:
    design = problem.design
    logits = wide_logits(left_out_logits(problem, minimum, design.rows.square()))
    restore_shares(logits, problem.labels)
    inside = torch.softmax(logits.double(), 1).mT
    n_layers, n_samples = inside.shape[:2]
    left_out = inside.new_zeros((n_layers, n_samples, n_classes))
    left_out[..., present] = inside
    weights, bias = raw_heads(design, minimum)
    wide = weights.new_zeros((n_layers, n_classes, weights.shape[2]))
    wide[:, present] = weights
    wide_bias = bias.new_full((n_layers, n_classes), -torch.inf)
    wide_bias[:, present] = bias
    penalty = problem.strength * n_samples
    return SampleHeads(penalty.numpy(), left_out.numpy(), np.empty(0, bool), wide, wide_bias)
