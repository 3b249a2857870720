"""The logistic losses of a batch of heads, with the class dimension before the samples.

Logits have the shape (B, K, n): B problems, K output columns, n samples. K is the number of
classes, except for two classes, which have ONE column: the log odds of the second class. That
is scikit-learn's convention too, and it makes the penalty of a two-class head the same there
and here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Fit:
    """What one evaluation of the loss leaves behind.

    Attributes:
        probabilities: Of each column, (B, K, n).
        loss: Mean negative log likelihood in nats, float64, (B,).
    """

    probabilities: Tensor
    loss: Tensor


def n_columns(n_classes: int) -> int:
    """Return the number of output columns of a head with that many classes."""
    return 1 if n_classes == 2 else n_classes


def evaluate(logits: Tensor, labels: Tensor) -> Fit:
    """Return probabilities and mean loss.

    Args:
        logits: (B, K, n).
        labels: Class codes, int64, (n,).

    Returns:
        The mean is accumulated in float64 whatever the type of the logits.
    """
    if logits.shape[1] == 1:
        column = logits[:, 0]
        losses = torch.nn.functional.softplus(torch.where(labels == 1, -column, column))
        return Fit(torch.sigmoid(logits), losses.mean(1, dtype=torch.float64))
    index = labels.expand(logits.shape[0], 1, -1)
    shifted = logits - logits.amax(1, keepdim=True)
    true = shifted.gather(1, index)
    probabilities = shifted.exp_()
    total = probabilities.sum(1, keepdim=True)
    losses = total.log() - true
    return Fit(probabilities.div_(total), losses.mean((1, 2), dtype=torch.float64))


def residuals(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return probabilities minus the indicator of the label, (B, K, n)."""
    if probabilities.shape[1] == 1:
        return probabilities - (labels == 1).to(probabilities.dtype)
    result = probabilities.clone()
    index = labels.expand(result.shape[0], 1, -1)
    return result.scatter_add_(1, index, result.new_full((1, 1, 1), -1.0).expand(index.shape))


def curvature(probabilities: Tensor, direction: Tensor) -> Tensor:
    """Return the second derivative of the mean loss along a direction of the logits.

    Args:
        probabilities: (B, K, n).
        direction: Change of the logits, (B, K, n).

    Returns:
        mean_i Var_{c ~ p_i}(direction_ic), (B,).
    """
    weighted = probabilities * direction
    if probabilities.shape[1] == 1:
        return (weighted * (direction - weighted)).mean((1, 2))
    mean_square = (weighted * direction).sum((1, 2))
    square_mean = weighted.sum(1).square().sum(1)
    return (mean_square - square_mean) / direction.shape[2]


def class_covariance(probabilities: Tensor) -> Tensor:
    """Return the mean over samples of diag(p) - p p^T, (B, K, K)."""
    n_samples = probabilities.shape[2]
    if probabilities.shape[1] == 1:
        return (probabilities * (1 - probabilities)).mean(2, keepdim=True)
    outer = torch.bmm(probabilities, probabilities.mT) / n_samples
    return torch.diag_embed(probabilities.mean(2)) - outer
