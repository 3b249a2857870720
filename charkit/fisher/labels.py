"""The expectation over labels: which gradients at the logits are sent back through the encoder.

The gradient of log p(y | x) at the logits is e_y - p. Over y ~ p its covariance is
S = diag(p) - p p^T, of rank C - 1. Any A with A A^T = S gives the Fisher information exactly: the
sum, over the columns of A, of the squared gradients that they cause. A is the Cholesky factor of
S, known in closed form (Tanabe and Sagae 1992, "An exact Cholesky decomposition and the
generalized inverse of the variance-covariance matrix of the multinomial distribution"); for two
classes it is one column, sqrt(p0 p1) (1, -1). For a real target with Gaussian noise of variance v
the covariance is 1 / v: one column as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from charkit.config import TaskKind, content_hash
from charkit.errors import DataError, UsageError


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


Estimator = Literal["auto", "exact", "sketch", "monte_carlo", "empirical"]
"""``exact``: the whole expectation, C - 1 backward passes; ``sketch``: random signs mix its
columns, one backward pass a draw, unbiased; ``monte_carlo``: labels drawn from the head,
one pass a draw, unbiased, noisier; ``empirical``: the given labels, which estimates
another quantity; ``auto``: exact up to `EXACT_CLASSES` classes, else sketch."""

ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
EXACT_CLASSES = 4
"""Up to this many classes ``auto`` is exact."""


@dataclass(frozen=True)
class LabelPlan:
    """How labels are averaged over.

    Attributes:
        estimator: Never ``auto``.
        n_draws: Backward passes a text for ``sketch`` and ``monte_carlo``, else 1.
        seed: Of the draws.
    """

    estimator: Estimator
    n_draws: int = 1
    seed: int = 0

    @property
    def estimand(self) -> str:
        """What is estimated: embeddings of different estimands cannot be compared."""
        return "empirical_fisher" if self.estimator == "empirical" else "fisher"

    @property
    def is_drawn(self) -> bool:
        """Whether random draws add noise of their own."""
        return self.estimator in ("sketch", "monte_carlo")

    def n_passes(self, head: Head) -> int:
        """Return the number of backward passes."""
        return max(1, head.n_out - 1) if self.estimator == "exact" else self.n_draws


def plan_labels(estimator: str, *, heads: list[Head], n_draws: int = 1, seed: int = 0) -> LabelPlan:
    """Return the plan for some heads; what needs no draws makes none.

    Raises:
        UsageError: The estimator is not known, or there are no draws.
    """
    if estimator not in ESTIMATORS:
        raise UsageError(
            f"estimator is not known: expected one of {ESTIMATORS}, got {estimator!r}."
        )
    if n_draws < 1:
        raise UsageError(f"n_draws is out of range: expected at least 1, got {n_draws}.")
    largest = max(head.n_out for head in heads)
    if estimator == "auto":
        estimator = "exact" if largest <= EXACT_CLASSES else "sketch"
    if estimator == "sketch" and largest <= 2:
        estimator = "exact"  # one column: its sign is lost in the square
    if estimator in ("exact", "empirical"):
        return LabelPlan(estimator)  # type: ignore[arg-type]
    return LabelPlan(estimator, n_draws, seed)  # type: ignore[arg-type]


def check_labels(labels: NDArray[Any] | None, *, heads: list[Head], n_samples: int) -> None:
    """Refuse labels that the empirical estimator cannot read.

    Raises:
        DataError: There are none, one a text is wanted, or a label is none of a head's.
    """
    if labels is None:
        raise DataError(
            "the empirical estimator needs labels: expected one a text, got none. Use another "
            "estimator for texts without labels."
        )
    given = np.asarray(labels)
    if given.shape != (n_samples,):
        raise DataError(
            f"labels do not fit: expected one for each of {n_samples} texts, got shape "
            f"{given.shape}."
        )
    for head in heads:
        if head.kind == "regression":
            wrong, legal = ~np.isfinite(given.astype(np.float64)), "finite targets"
        else:
            wrong = ~np.isin(given, np.arange(head.n_out))
            legal = f"class codes 0 to {head.n_out - 1}"
        if wrong.any():
            raise DataError(
                f"labels do not fit the head: expected {legal}, got {given[wrong][0]!r} and "
                f"{int(wrong.sum()) - 1} more."
            )


def covariance_root(probabilities: Tensor) -> Tensor:
    """Return the Cholesky factor of diag(p) - p p^T for each text.

    Args:
        probabilities: Shape (n_samples, C), rows sum to 1.

    Returns:
        Shape (n_samples, C - 1, C): column k of the factor at [:, k].
    """
    tail = probabilities.flip(1).cumsum(1).flip(1)  # q_k = p_k + ... + p_C
    after = tail[:, 1:]
    head = probabilities[:, :-1]
    tiny = torch.finfo(probabilities.dtype).tiny
    size = (head * after / tail[:, :-1].clamp_min(tiny)).sqrt()
    share = probabilities[:, None, :] / after[:, :, None].clamp_min(tiny)
    below = torch.ones(share.shape[1:], dtype=torch.bool, device=share.device).triu(1)
    root = torch.where(below, -share, share.new_zeros(()))
    root.diagonal(dim1=1, dim2=2).fill_(1)
    return root * size[:, :, None]


class LabelDraws:
    """The random numbers of a plan, one set a text, whatever batch it falls into."""

    def __init__(self, plan: LabelPlan, *, n_samples: int, n_out: int) -> None:
        rng = np.random.default_rng(plan.seed)
        self.signs: NDArray[np.int8] | None = None
        self.uniform: NDArray[np.float64] | None = None
        if plan.estimator == "sketch":
            shape = (n_samples, plan.n_draws, max(1, n_out - 1))
            self.signs = rng.integers(0, 2, shape, dtype=np.int8) * np.int8(2) - np.int8(1)
        elif plan.estimator == "monte_carlo":
            self.uniform = rng.random((n_samples, plan.n_draws))


def cotangents(
    plan: LabelPlan,
    head: Head,
    logits: Tensor,
    *,
    rows: NDArray[np.int64],
    draws: LabelDraws,
    labels: NDArray[Any] | None = None,
) -> Tensor:
    """Return the gradients at the logits that are to be sent back.

    The sum over passes of the squared gradients they cause is, in expectation over the draws,
    the Fisher information of each text (for ``empirical`` the squared gradient of its label).

    Args:
        plan: How labels are averaged over.
        head: What made the logits.
        logits: Shape (n_samples, n_out), float64.
        rows: Which texts these are.
        draws: Random numbers of all texts.
        labels: Of all texts, for ``empirical``.

    Returns:
        Shape (n_passes, n_samples, n_out), float64.
    """
    if plan.estimator == "empirical":
        assert labels is not None
        given = torch.from_numpy(np.asarray(labels)[rows]).to(logits.device)
        return _label_gradient(head, logits, given[None])
    if plan.estimator == "monte_carlo":
        assert draws.uniform is not None
        uniform = torch.from_numpy(draws.uniform[rows].T.copy()).to(logits.device)
        return _label_gradient(head, logits, _drawn(head, logits, uniform)) / math.sqrt(
            plan.n_draws
        )
    if head.kind == "regression":
        root = logits.new_full((len(rows), 1, 1), head.variance**-0.5)
    else:
        root = covariance_root(torch.softmax(logits, 1))
    if plan.estimator == "exact":
        return root.transpose(0, 1)
    assert draws.signs is not None
    signs = torch.from_numpy(draws.signs[rows]).to(root)
    return torch.bmm(signs, root).transpose(0, 1) / math.sqrt(plan.n_draws)


def _drawn(head: Head, logits: Tensor, uniform: Tensor) -> Tensor:
    """Return targets drawn from the head, (n_draws, n_samples)."""
    if head.kind == "regression":
        noise: Tensor = torch.special.ndtri(uniform.clamp(1e-16, 1 - 1e-16))
        return logits[:, 0] + math.sqrt(head.variance) * noise
    levels = torch.softmax(logits, 1).cumsum(1)
    found = torch.searchsorted(levels, uniform.T.contiguous(), right=True)
    return found.clamp_max(logits.shape[1] - 1).T


def _label_gradient(head: Head, logits: Tensor, targets: Tensor) -> Tensor:
    """Return the gradient of log p(target) at the logits, (n_draws, n_samples, n_out)."""
    if head.kind == "regression":
        return ((targets.to(logits.dtype) - logits[:, 0]) / head.variance).unsqueeze(2)
    hot = torch.nn.functional.one_hot(targets.long(), logits.shape[1]).to(logits.dtype)
    return hot - torch.softmax(logits, 1)
