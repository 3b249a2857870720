"""Approximate leave-one-out predictions of a logistic head, from one fit.

Leaving row i out moves its logits, to first order (one Newton step), by

    h_i (I - D_i h_i)^-1 (p_i - y_i)

with y_i the indicator of its label, D_i = diag(p_i) - p_i p_i^T, and h_i = (1/n) a_i^T H^-1 a_i
its (K x K) leverage under the Hessian H of the objective. The factor before p_i - y_i does not
depend on D_i: it is the variance of row i's logits given the OTHER rows. So every row may be
given the same weight, if it is the weight under which the others tell as much as they do. For
one direction t of the logits, with row weights w_i = t^T D_i t, that weight v solves

    u = df(v) / (v (n - df(v))),    1 / v + u = 1 / mean_i(w_i / (1 + w_i u)),
    df(v) = sum_j v e_j / (v e_j + strength)

with e_j the spectrum of the rows (free addition of a kernel matrix and a diagonal noise: for
equal weights v = w, for unequal ones v is below their mean). All leverages then are one matrix
product. Two classes have one direction; the estimate was within 5 % of true leave-one-out in
the trials made. More classes need a basis of directions that serves all rows, and none does:
the eigenbasis of the mean of D errs towards optimism, the classes themselves err towards
pessimism, and the logits are taken half-way.

References:
    Rad and Maleki (2020), A scalable estimate of the out-of-sample prediction error via
    approximate leave-one-out cross-validation.
    Mingo and Speicher (2017), Free probability and random matrices (subordination).
"""

from __future__ import annotations

import torch
from torch import Tensor

from charkit.heads.loss import class_covariance, evaluate, residuals
from charkit.heads.minimise import Minimum, Problem

_LARGEST_SHARE = 0.9999
_SMALLEST_WEIGHT = 1e-12
_ROUNDS = 6


def left_out_logits(problem: Problem, minimum: Minimum, squares: Tensor) -> Tensor:
    """Return the logits of every row from the head fitted without that row.

    Args:
        problem: What was solved.
        minimum: Its solution.
        squares: Squared entries of the design's rows, (B, n, r + 1).

    Returns:
        Logits up to a constant per row, (B, K, n).
    """
    probabilities = minimum.probabilities
    rest = residuals(probabilities, problem.labels)
    n_columns = probabilities.shape[1]
    alone = probabilities * (1 - probabilities)
    if n_columns > 1:
        alone *= n_columns / (n_columns - 1)  # exact where all classes are equally probable
    move = _moves(problem, alone, rest, squares)
    if n_columns > 1:
        rotation = torch.linalg.eigh(class_covariance(probabilities)).eigenvectors
        turned = torch.bmm(rotation.mT, probabilities)
        weights = torch.bmm(rotation.mT.square(), probabilities).sub_(turned.square_())
        rest = torch.bmm(rotation.mT, rest)
        other = torch.bmm(rotation, _moves(problem, weights, rest, squares))
        move = move.add_(other).div_(2)
    return move.add_(torch.bmm(minimum.weights, problem.design.rows.mT))


def _moves(problem: Problem, weights: Tensor, rest: Tensor, squares: Tensor) -> Tensor:
    """Return the change of the logits, one direction by itself, (B, K, n)."""
    weight = equivalent_weight(weights.clamp_min_(_SMALLEST_WEIGHT), problem)
    inverse = 1 / (weight * problem.design.spectrum.unsqueeze(1) + problem.penalty())
    leverage = torch.bmm(inverse, squares.mT).div_(problem.design.n_samples)
    share = (weight * leverage).clamp_(max=_LARGEST_SHARE)
    return leverage.mul_(rest).div_(share.neg_().add_(1))


def equivalent_weight(weights: Tensor, problem: Problem) -> Tensor:
    """Return the equal weight under which the rows tell as much as with their own weights.

    Args:
        weights: Of each row in each direction of the logits, above 0, (B, K, n).
        problem: What was solved.

    Returns:
        v of the module's equations, (B, K, 1).
    """
    n_samples = problem.design.n_samples
    spectrum = problem.design.spectrum[:, None, :-1]
    strength = problem.strength[:, None, None].to(spectrum.dtype)
    weight = weights.mean(2, keepdim=True)
    for _ in range(_ROUNDS):
        known = weight * spectrum
        freedom = (known / (known + strength)).sum(2, keepdim=True) / n_samples
        spread = freedom / (weight * (1 - freedom.clamp(max=_LARGEST_SHARE)))
        level = (weights / (1 + weights * spread)).mean(2, keepdim=True)
        weight = level / (1 - level * spread)
    return weight


def left_out_loss(problem: Problem, minimum: Minimum, squares: Tensor) -> Tensor:
    """Return the mean leave-one-out negative log likelihood, in nats, float64, (B,).

    Rows that are alone in their class are left out of the mean: without them their class would
    not exist. If no class has two rows, all rows count.
    """
    logits = left_out_logits(problem, minimum, squares)
    counts = torch.bincount(problem.labels)[problem.labels]
    kept = counts > 1
    if bool(kept.all()) or not bool(kept.any()):
        return evaluate(logits, problem.labels).loss
    return evaluate(logits[..., kept], problem.labels[kept]).loss
