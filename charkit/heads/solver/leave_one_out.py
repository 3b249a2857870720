"""Approximate leave-one-out predictions of a logistic head, from one fit.

Leaving row i out moves its logits, to first order (one Newton step), by

    h_i (I - D_i h_i)^-1 (p_i - y_i)

with y_i the indicator of its label, D_i = diag(p_i) - p_i p_i^T, and h_i = (1/n) a_i^T H^-1 a_i
its (K x K) leverage under the Hessian H of the objective. The factor before p_i - y_i does not
depend on D_i: it is the variance of row i's logits given the OTHER rows. So every row may be
given the same weight, if it is the weight under which the others know as much as they do. That
weight is a matrix V (K x K), as D_i is, with (free addition of a kernel matrix and a noise that
is block diagonal)

    U = df(V) / (V (n - df(V))),    (V^-1 + U)^-1 = mean_i (D_i^-1 + U)^-1,
    df(v) = sum_j v e_j / (v e_j + strength)

with e_j the spectrum of the rows and functions of V meant on its eigenvalues. For equal weights
V = D_i, for unequal ones V is below their mean. All leverages then are one matrix product, in
the eigenbasis of V. Two classes have one number for V. With more, the right side of the second
equation has a closed form for a diagonal U, and U is a diagonal matrix for it: the one that
leaves the variances of the differences of logits closest to what they are.

With many classes of few rows each, a class's weight lies on rows that are near to each other,
which free addition does not see: the joint weight is then far too pessimistic. Above 20
classes each direction is taken by itself, once in the basis of the classes and once in the
eigenbasis of the mean of D, which is too optimistic, and the logits are taken half-way.

References:
    Rad and Maleki (2020), A scalable estimate of the out-of-sample prediction error via
    approximate leave-one-out cross-validation.
    Mingo and Speicher (2017), Free probability and random matrices (subordination; operator
    valued freeness).

Choosing the strength of each head inside its own training sample.

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

from charkit.heads.solver.design import Design, eigenvectors
from charkit.heads.solver.minimise import (
    Minimum,
    Problem,
    class_covariance,
    evaluate,
    minimise,
    prior_weights,
    residuals,
)

# A leverage of 1 would divide by zero: a row that fixes a direction by itself. The bound leaves a
# factor of 10,000, beyond which float32 has no digits left.
_LARGEST_SHARE = 0.9999

# Stands for zero under a division: the weight p (1 - p) of a row whose label is certain.
_SMALLEST_WEIGHT = 1e-12

# Rounds of the fixed points. Measured on 512 rows of scikit-learn's digits, wine and breast cancer:
# after 6 rounds the left-out loss is within 0.005 % of that after 60, after 3 within 0.4 %, after 1
# it is 8 to 35 % too low, and another strength is chosen.
_ROUNDS = 6

# Above this number of classes the joint weight is far too pessimistic (see above): seen on a task
# of 77 classes, while tests hold it to true leave-one-out for 2 to 8. The bound between them is a
# choice.
_JOINT_CLASSES = 20

# Weight of the left-out error, in nats, and width of its smoothing in standard deviations of the
# margins. Set on sixteen tasks, none of the benchmark's nor of their corpora: the mixture is as
# accurate as the loss by itself in the mean, and loses far less on the task where the loss by
# itself is worst (docs/heads.md, "Strength").
_ERROR_NATS = 3.0
_ERROR_WIDTH = 0.4


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
    if probabilities.shape[1] == 1:
        weight = equivalent_weight(probabilities * (1 - probabilities), problem)
        move = _moves(problem, weight, rest, squares)
    elif probabilities.shape[1] <= _JOINT_CLASSES:
        directions, weights = joint_weight(probabilities, problem)
        weight, directions = weights.to(rest.dtype).unsqueeze(2), directions.to(rest.dtype)
        turned = torch.bmm(directions.mT, rest)
        move = torch.bmm(directions, _moves(problem, weight, turned, squares))
    else:
        move = _moves_by_halves(problem, probabilities, rest, squares)
    return move.add_(torch.bmm(minimum.weights, problem.design.rows.mT))


def _moves(problem: Problem, weight: Tensor, rest: Tensor, squares: Tensor) -> Tensor:
    """Return the change of the logits, one direction by itself, (B, K, n)."""
    inverse = 1 / (weight * problem.design.spectrum.unsqueeze(1) + problem.penalty())
    leverage = torch.bmm(inverse, squares.mT).div_(problem.design.n_samples)
    share = (weight * leverage).clamp_(max=_LARGEST_SHARE)
    return leverage.mul_(rest).div_(share.neg_().add_(1))


def _moves_by_halves(
    problem: Problem, probabilities: Tensor, rest: Tensor, squares: Tensor
) -> Tensor:
    """Return the mean of the changes by classes and by eigenvectors of the mean of D."""
    n_classes = probabilities.shape[1]
    separate = probabilities * (1 - probabilities)
    separate *= n_classes / (n_classes - 1)  # exact where all classes are equally probable
    move = _moves(problem, equivalent_weight(separate, problem), rest, squares)
    _, rotation = eigenvectors(class_covariance(probabilities))
    turned = torch.bmm(rotation.mT, probabilities)
    weights = torch.bmm(rotation.mT.square(), probabilities).sub_(turned.square_())
    rest = torch.bmm(rotation.mT, rest)
    other = _moves(problem, equivalent_weight(weights, problem), rest, squares)
    return move.add_(torch.bmm(rotation, other)).div_(2)


def equivalent_weight(weights: Tensor, problem: Problem) -> Tensor:
    """Return the equal weight under which the rows know as much as with their own weights.

    Args:
        weights: Of each row in one direction of the logits, (B, K, n).
        problem: What was solved.

    Returns:
        v of the module's equations, (B, K, 1).
    """
    weights = weights.clamp_min(_SMALLEST_WEIGHT)
    weight = weights.mean(2, keepdim=True)
    for _ in range(_ROUNDS):
        spread = _variance(weight[..., 0], problem).unsqueeze(2)
        level = (weights / (1 + weights * spread)).mean(2, keepdim=True)
        weight = level / (1 - level * spread)
    return weight


def joint_weight(probabilities: Tensor, problem: Problem) -> tuple[Tensor, Tensor]:
    """Return V of the module's equations for several classes, by its eigenvectors and values.

    Args:
        probabilities: Of each row, (B, K, n).
        problem: What was solved.

    Returns:
        Orthonormal directions, each orthogonal to the vector of ones, float64, (B, K, K - 1),
        and the weights in them, above 0, float64, (B, K - 1).
    """
    n_classes = probabilities.shape[1]
    contrasts = _contrasts(n_classes, probabilities.device)
    joint = contrasts.mT @ class_covariance(probabilities).double() @ contrasts
    for _ in range(_ROUNDS):
        weights, turn = eigenvectors(joint)
        variance = _variance(weights.clamp_min(_SMALLEST_WEIGHT), problem)
        directions = contrasts @ turn
        spread = _diagonal((directions * variance.unsqueeze(1)) @ directions.mT)
        level = contrasts.mT @ _mean_information(probabilities, spread) @ contrasts
        joint = _without(level, contrasts.mT @ (spread.unsqueeze(2) * contrasts))
    weights, turn = eigenvectors(joint)
    return contrasts @ turn, weights.clamp_min(_SMALLEST_WEIGHT)


def _variance(weights: Tensor, problem: Problem) -> Tensor:
    """Return u of the module's equations for weights (B, K), (B, K)."""
    spectrum = problem.design.spectrum[:, None, :-1].to(weights.dtype)
    known = weights.unsqueeze(2) * spectrum
    strength = problem.strength[:, None, None].to(weights.dtype)
    freedom = (known / (known + strength)).sum(2) / problem.design.n_samples
    variance: Tensor = freedom / (weights * (1 - freedom.clamp(max=_LARGEST_SHARE)))
    return variance


def _contrasts(n_classes: int, device: torch.device) -> Tensor:
    """Return an orthonormal basis of the vectors whose sum is 0, (K, K - 1)."""
    columns = torch.eye(n_classes, dtype=torch.float64, device=device)
    columns[:, 0] = 1
    basis: Tensor = torch.linalg.qr(columns).Q
    return basis[:, 1:]


def _diagonal(variance: Tensor) -> Tensor:
    """Return diagonals (B, K) that keep the variances of the differences of logits, K > 2.

    Adding a vector to all columns and its transpose to all rows of a variance (B, K, K) changes
    no difference, so its own diagonal would not do. Least squares over all pairs of classes.
    """
    n_classes = variance.shape[1]
    own = variance.diagonal(dim1=1, dim2=2)
    pairs = (own.unsqueeze(2) + own.unsqueeze(1) - 2 * variance).sum(2)
    total = pairs.sum(1, keepdim=True) / (2 * n_classes - 2)
    return torch.maximum((pairs - total) / (n_classes - 2), own / 10)


def _mean_information(probabilities: Tensor, spread: Tensor) -> Tensor:
    """Return mean_i (D_i^-1 + diag(spread))^-1 for a spread (B, K), (B, K, K).

    With q = p / (1 + p spread) it is diag(q) - q q^T / sum(q), by Sherman and Morrison.
    """
    damped = probabilities / (1 + probabilities * spread.to(probabilities.dtype).unsqueeze(2))
    scaled = damped / damped.sum(1, keepdim=True).sqrt()
    outer = torch.bmm(scaled, scaled.mT) / probabilities.shape[2]
    return torch.diag_embed(damped.mean(2, dtype=torch.float64)) - outer.double()


def _without(level: Tensor, spread: Tensor) -> Tensor:
    """Return (level^-1 - spread)^-1 without an inverse of either, never negative."""
    values, turn = eigenvectors(level)
    root = (turn * values.clamp_min(0).sqrt().unsqueeze(1)) @ turn.mT
    shares, basis = eigenvectors(root @ spread @ root)
    side = root @ basis
    rest: Tensor = (side / (1 - shares.clamp(0, _LARGEST_SHARE)).unsqueeze(1)) @ side.mT
    return rest


def left_out_loss(problem: Problem, minimum: Minimum, squares: Tensor) -> Tensor:
    """Return the mean leave-one-out negative log likelihood, in nats, float64, (B,).

    The only row of a class is left out of the mean: without it the class would not exist. If no
    class has two rows, all rows count.
    """
    return evaluate(*_counted(problem, minimum, squares)).loss


def left_out_score(problem: Problem, minimum: Minimum, squares: Tensor) -> Tensor:
    """Return what a strength is chosen by: leave-one-out loss plus 3 times the error, (B,).

    Where the texts say little of the label, the loss asks for a strong penalty, which keeps
    probabilities honest but loses accuracy; the error by itself is noisy. The error is smoothed: a
    row counts by the normal probability that its margin, the logit of its class above the
    largest other, is negative if disturbed by 0.4 standard deviations of all margins. Rows
    count as in `left_out_loss`; float64.
    """
    logits, labels = _counted(problem, minimum, squares)
    loss = evaluate(logits, labels).loss
    margins = _margins(logits, labels).double()
    width = _ERROR_WIDTH * margins.std(1, correction=0, keepdim=True)
    tiny = torch.finfo(torch.float64).tiny
    error: Tensor = torch.special.ndtr(-margins / width.clamp_min(tiny)).mean(1)
    return loss.add(error, alpha=_ERROR_NATS)


def _margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the logit of each row's class above the largest other, (B, n)."""
    if logits.shape[1] == 1:
        return torch.where(labels == 1, logits[:, 0], -logits[:, 0])
    index = labels.expand(logits.shape[0], 1, -1)
    others = logits.scatter(1, index, -torch.inf)
    return logits.gather(1, index)[:, 0] - others.amax(1)


def _counted(problem: Problem, minimum: Minimum, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Return leave-one-out logits (B, K, m) and labels (m,) of the rows that count."""
    logits = left_out_logits(problem, minimum, squares)
    counts = torch.bincount(problem.labels)[problem.labels]
    kept = counts > 1
    if bool(kept.all()) or not bool(kept.any()):
        return logits, problem.labels
    return logits[..., kept], problem.labels[kept]


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
