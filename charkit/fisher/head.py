"""A linear head on the pooled states of one layer, handed over as numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from charkit.config import TaskKind, content_hash
from charkit.errors import UsageError


@dataclass(frozen=True, eq=False)
class Head:
    """p(y | x) = softmax(W h(x) + b), or a Gaussian around w h(x) + b, of pooled states h(x).

    Attributes:
        weights: Shape (n_out, width): a row a class, one row for regression.
        bias: Shape (n_out,).
        kind: What the outputs are: class logits, or the mean of a real target.
        variance: Of the Gaussian; only regression reads it.
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    kind: TaskKind = "classification"
    variance: float = 1.0

    @property
    def n_out(self) -> int:
        """Number of outputs: classes, or 1."""
        return len(self.bias)

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 for regression."""
        return self.n_out if self.kind == "classification" else 0

    @property
    def fingerprint(self) -> str:
        """Hash of what the head computes; 24 hex digits."""
        return content_hash([self.weights.tolist(), self.bias.tolist(), self.kind, self.variance])


def make_head(
    weights: ArrayLike, bias: ArrayLike, *, kind: TaskKind = "classification", variance: float = 1.0
) -> Head:
    """Check a head's numbers and freeze them.

    Args:
        weights: Shape (n_out, width), or (width,) for regression.
        bias: Shape (n_out,), or a number for regression.
        kind: What the outputs are.
        variance: Variance of the noise around a real target.

    Raises:
        UsageError: Shapes do not fit, numbers are not finite, or there are too few classes.
    """
    w = np.atleast_2d(np.array(weights, dtype=np.float64))
    b = np.atleast_1d(np.array(bias, dtype=np.float64))
    if w.ndim != 2 or b.shape != w.shape[:1]:
        raise UsageError(
            "head does not fit: expected weights (n_out, width) and bias (n_out,), got "
            f"{w.shape} and {b.shape}."
        )
    if kind == "classification" and len(b) < 2:
        raise UsageError(f"head has too few classes: expected at least 2, got {len(b)}.")
    if kind == "regression" and len(b) != 1:
        raise UsageError(f"head has too many outputs: expected 1 for regression, got {len(b)}.")
    if not (np.isfinite(w).all() and np.isfinite(b).all()):
        raise UsageError("head is not finite: expected numbers, got NaN or infinity. Fit it again.")
    if not (np.isfinite(variance) and variance > 0):
        raise UsageError(f"variance is out of range: expected above 0, got {variance}.")
    w.setflags(write=False)
    b.setflags(write=False)
    return Head(w, b, kind, float(variance))
