"""A batch of L2-regularised logistic problems, solved by preconditioned L-BFGS.

Minimises, for each problem of the batch,

    f(W) = (1/n) sum_i loss(W a_i, y_i) + (strength / 2) ||W without its bias column||^2

with a_i the rows of a Design. Three things make it fast. The initial Hessian of L-BFGS is the
Kronecker product of the mean class covariance and the spectrum of the rows, plus the penalty:
diagonal in the two eigenbases, and close to the truth. Logits are linear in W, so one product
along the search direction serves the whole line search. And each problem stops by itself: a
finished one takes steps of length zero.

Logits have the shape (B, K, n): B problems, K output columns, n samples. K is the number of
classes, except for two classes, which have ONE column: the log odds of the second class. That
is scikit-learn's convention too, and it makes the penalty of a two-class head the same there
and here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from charkit.heads.solver.design import Design, eigenvectors


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


# Steps that L-BFGS remembers. Nocedal and Wright (2006, section 7.2) advise 3 to 20. Measured on
# 512 rows of scikit-learn's digits, wine and breast cancer at the total penalty 0.001: 3 took 41,
# 37 and 49 iterations, 6 took 40, 33 and 34, 12 took 41, 26 and 27. At penalties of 0.1 and 10 all
# three take the same within one. Each step costs the memory of one copy of the weights.
_MEMORY = 6

# Power of the preconditioner, see `_Preconditioner`. Set on three real tasks of 4 to 77 classes.
# Measured on digits at the total penalty 0.001: a power of 1 takes 49 iterations, 0.65 takes 40,
# 0.3 takes 50. At 0.1 it is 15, 14 and 20: values from 0.5 to 0.8 do nearly the same.
_TEMPERING = 0.65

# Iterations after which the preconditioner is made again. It changes most in the first steps, and
# making it costs an eigendecomposition: so at powers of two. Measured on breast cancer: 10
# iterations at the penalty 0.1 (14 without any); at 0.001 digits and wine need fewer without (28
# and 15 against 40 and 33), so it is no gain at the weakest penalties.
_REFRESH = frozenset({2, 4, 8, 16, 32, 64, 128})

# Share of the predicted decrease that a step must bring: the usual value (Nocedal and Wright 2006,
# section 3.1). It only has to exclude steps that gain nothing.
_ARMIJO = 1e-4

# A step that is not accepted after 2^-12 of the Newton length has met rounding: the problem stops.
_MAX_HALVINGS = 12


@dataclass(frozen=True)
class Problem:
    """What is minimised, for B layers that share their labels.

    Attributes:
        design: Rows (B, n, r + 1).
        labels: Class codes 0..C-1, each present, (n,).
        strength: Of the penalty, (B,).
    """

    design: Design
    labels: Tensor
    strength: Tensor

    def penalty(self) -> Tensor:
        """Return the penalty of each column of the weights, (B, 1, r + 1); 0 for the bias."""
        columns = torch.ones_like(self.design.spectrum)
        columns[:, -1] = 0
        return (columns * self.strength[:, None].to(columns.dtype)).unsqueeze(1)


@dataclass(frozen=True)
class Minimum:
    """Where the solver stopped.

    Attributes:
        weights: (B, K, r + 1), the bias last.
        probabilities: At the weights, (B, K, n).
        objective: f(W), float64, (B,).
        gradient_norm: Euclidean norm of the gradient of f, (B,).
        n_iterations: (B,).
        converged: Whether the estimate of f(W) - min f, half the squared Newton decrement under
            the preconditioner, fell to tolerance * f, (B,).
    """

    weights: Tensor
    probabilities: Tensor
    objective: Tensor
    gradient_norm: Tensor
    n_iterations: Tensor
    converged: Tensor


class _Preconditioner:
    """The Hessian as (class covariance x spectrum + penalty), diagonal in the eigenbases.

    Its inverse measures the gap. Directions are conditioned by a POWER of the inverse below 1
    where there are several columns: rows differ much in weight once the head is confident, so
    that the true Hessian is less spread than this model of it. In trials on three real tasks of
    4 to 77 classes, power and scaling together took from a tenth more iterations than neither
    to 2.7 times fewer, the most at weak strengths and 77 classes.
    L-BFGS finds the scale.
    """

    def __init__(self, probabilities: Tensor, spectrum: Tensor, penalty: Tensor) -> None:
        covariance = class_covariance(probabilities)
        self.rotation: Tensor | None = None
        if covariance.shape[1] == 1:
            values = covariance
        else:
            values, self.rotation = eigenvectors(covariance)
            values[:, 0] = values[:, 1]  # adding one number to all logits changes nothing
            values = values.unsqueeze(2)
        largest = values.amax(1, keepdim=True)
        floor = torch.finfo(values.dtype).eps * largest.clamp_min(1e-30)
        model = torch.maximum(values, floor) * spectrum.unsqueeze(1) + penalty
        self.inverse = 1 / model.clamp_min_(torch.finfo(values.dtype).tiny ** 0.5)
        self.tempered = self.inverse if self.rotation is None else self.inverse.pow(_TEMPERING)

    def __call__(self, gradient: Tensor) -> Tensor:
        if self.rotation is None:
            return gradient * self.tempered
        turned = torch.bmm(self.rotation.mT, gradient).mul_(self.tempered)
        return torch.bmm(self.rotation, turned)

    def gap(self, gradient: Tensor) -> Tensor:
        """Half the squared Newton decrement, float64, (B,)."""
        if self.rotation is not None:
            gradient = torch.bmm(self.rotation.mT, gradient)
        return _dot(gradient, gradient * self.inverse).double() / 2


class _Memory:
    """The last steps and gradient changes, and the L-BFGS product with them."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []

    def update(self, step: Tensor, change: Tensor) -> None:
        product = _dot(step, change)
        size = _dot(step, step).sqrt() * _dot(change, change).sqrt()
        useful = product > torch.finfo(step.dtype).eps * size
        inverse = torch.where(useful, 1 / torch.where(useful, product, 1.0), 0.0)
        self.pairs = [*self.pairs[1 - _MEMORY :], (step, change, _wide(inverse))]

    def direction(self, gradient: Tensor, precondition: _Preconditioner) -> Tensor:
        rest = gradient.clone()
        factors = []
        for step, change, inverse in reversed(self.pairs):
            factor = inverse * _wide(_dot(step, rest))
            rest.addcmul_(change, factor, value=-1)
            factors.append(factor)
        result = self._scaled(precondition(rest), precondition)
        for (step, change, inverse), factor in zip(self.pairs, reversed(factors), strict=True):
            result.addcmul_(step, factor - inverse * _wide(_dot(change, result)))
        return result.neg_()

    def _scaled(self, result: Tensor, precondition: _Preconditioner) -> Tensor:
        if not self.pairs:
            return result
        _, change, inverse = self.pairs[-1]
        curved = inverse * _wide(_dot(change, precondition(change)))
        return result / torch.where(curved > 0, curved, 1.0)


@dataclass
class _Point:
    """Weights with everything that is known of f there."""

    weights: Tensor
    logits: Tensor
    fit: Fit
    objective: Tensor


class _Objective:
    """f and its gradient for one Problem."""

    def __init__(self, problem: Problem) -> None:
        self.rows = problem.design.rows
        self.labels = problem.labels
        self.penalty = problem.penalty()

    def logits(self, weights: Tensor) -> Tensor:
        return torch.bmm(weights, self.rows.mT)

    def at(self, weights: Tensor, logits: Tensor) -> _Point:
        fit = evaluate(logits, self.labels)
        penalty = (self.penalty * weights.square()).sum((1, 2), dtype=torch.float64) / 2
        return _Point(weights, logits, fit, fit.loss + penalty)

    def gradient(self, point: _Point) -> Tensor:
        rest = residuals(point.fit.probabilities, self.labels)
        return (
            torch.bmm(rest, self.rows)
            .div_(self.rows.shape[1])
            .addcmul_(self.penalty, point.weights)
        )

    def step(self, point: _Point, move: Tensor, slope: Tensor, active: Tensor) -> _Point:
        """Go along ``move``: a Newton step in one dimension, halved until f decreases."""
        change = self.logits(move)
        second = curvature(point.fit.probabilities, change)
        second = second + (self.penalty * move.square()).sum((1, 2))
        length = torch.where(active & (second > 0), -slope / second, 0.0)
        slack = 8 * torch.finfo(move.dtype).eps * point.objective.abs()
        for _ in range(_MAX_HALVINGS):
            new = self.at(
                torch.addcmul(point.weights, move, _wide(length)),
                torch.addcmul(point.logits, change, _wide(length)),
            )
            bound = point.objective + _ARMIJO * length * slope + slack
            good = new.objective <= bound
            if bool(good.all()):
                return new
            length = torch.where(good, length, length / 2)
        length = torch.where(good, length, 0.0)
        return self.at(
            torch.addcmul(point.weights, move, _wide(length)),
            torch.addcmul(point.logits, change, _wide(length)),
        )


def prior_weights(problem: Problem, n_classes: int) -> Tensor:
    """Return the weights of the head that knows the class shares only, (B, K, r + 1)."""
    rows = problem.design.rows
    shares = torch.bincount(problem.labels, minlength=n_classes).double()
    logs = (shares / shares.sum()).log()
    column = logs[1:] - logs[:1] if n_classes == 2 else logs - logs.mean()
    weights = rows.new_zeros((rows.shape[0], column.shape[0], rows.shape[2]))
    weights[..., -1] = column.to(rows.dtype)
    return weights


def minimise(
    problem: Problem, start: Tensor, *, tolerance: float, max_iterations: int = 500
) -> Minimum:
    """Solve a batch of problems.

    Args:
        problem: Rows, labels, strengths.
        start: Weights to start from, (B, K, r + 1); not changed.
        tolerance: Relative objective gap to reach.
        max_iterations: Stop after this many; ``converged`` is then False.

    Returns:
        The last point of each problem.

    Reference:
        Nocedal (1980), Updating quasi-Newton matrices with limited storage.
    """
    objective = _Objective(problem)
    point = objective.at(start, objective.logits(start))
    gradient = objective.gradient(point)
    spectrum = problem.design.spectrum
    memory = _Memory()
    used = torch.zeros(start.shape[0], dtype=torch.int64, device=start.device)
    active = torch.ones_like(used, dtype=torch.bool)  # a problem that stopped stays stopped
    precondition = _Preconditioner(point.fit.probabilities, spectrum, objective.penalty)
    for iteration in range(max_iterations + 1):
        active &= precondition.gap(gradient) > tolerance * point.objective
        if iteration == max_iterations or not bool(active.any()):
            break
        move = memory.direction(gradient, precondition)
        new = objective.step(point, move, _dot(gradient, move), active)
        new_gradient = objective.gradient(new)
        memory.update(new.weights - point.weights, new_gradient - gradient)
        point, gradient = new, new_gradient
        used += active
        if iteration + 1 in _REFRESH:
            precondition = _Preconditioner(point.fit.probabilities, spectrum, objective.penalty)
    return Minimum(
        weights=point.weights,
        probabilities=point.fit.probabilities,
        objective=point.objective,
        gradient_norm=_dot(gradient, gradient).sqrt(),
        n_iterations=used,
        converged=~active,
    )


def _dot(left: Tensor, right: Tensor) -> Tensor:
    # torch.bmm of rows and columns took 2 to 10 times as long for batches of several heads
    size = left.shape[0]
    product: Tensor = torch.linalg.vecdot(left.reshape(size, -1), right.reshape(size, -1))
    return product


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None]
