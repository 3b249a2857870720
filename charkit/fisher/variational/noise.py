"""Gaussian noise on chosen weights of an unmodified encoder, one draw a text.

A text must see ONE set of weights. The local reparametrisation of Kingma, Salimans and Welling
(noise of the right variance at each output) is exact where a weight is used once; a linear map
of an encoder is used once a token, and noise drawn anew for each token is the noise of another
model. Here the noise of a matrix W (o x d) with row standard deviations s is, for text n,

    s_j (X (sign_n * E_j)) sign'_n,j,        E (o x d) standard normal, drawn once a batch,

with random signs for each text (flipout). Since E is symmetric, each text sees an exact draw,
shared by its tokens, and draws of different texts are uncorrelated; the cost is one more product
a matrix.

References:
    Kingma, Salimans and Welling 2015, "Variational dropout and the local reparameterization
    trick". Wen, Vicol, Ba, Tran and Grosse 2018, "Flipout: Efficient pseudo-independent weight
    perturbations on mini-batches".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charkit.config import Pooling
from charkit.encoders import Encoder
from charkit.encoders.run import model_inputs, pool
from charkit.encoders.tokens import Tokens
from charkit.fisher.forward import IntArray, TokenStates, run_between
from charkit.fisher.labels import Head, LabelDraws, cotangents, plan_labels
from charkit.fisher.layout import Job, Layout, block_of, projects_positions, splits_rows
from charkit.fisher.tape import Tape, wide_dtype


@dataclass(frozen=True)
class PerturbedRows:
    """What is known of the perturbed rows.

    Attributes:
        square: Mean square of each row's weights, (size,).
        n_in: Weights of each row, (size,).
        layer: Place of each row's layer among the chosen ones, (size,).
        n_layers: How many are chosen.
    """

    square: Tensor
    n_in: Tensor
    layer: Tensor
    n_layers: int

    @classmethod
    def of(cls, encoder: Encoder, layout: Layout) -> PerturbedRows:
        """Read the weights of a layout's rows."""
        layers = sorted({s.layer for s in layout.slices})
        square, n_in = (torch.zeros(layout.size, device=encoder.device) for _ in range(2))
        place = torch.zeros(layout.size, dtype=torch.int64, device=encoder.device)
        for (layer, path), job in layout.jobs.items():
            module: Any = block_of(encoder, layer).get_submodule(path)
            for target in job.weights:
                weight = module.weight.detach()[target.rows]
                square[target.place] = weight.float().square().mean(1)
                n_in[target.place] = weight.shape[1]
                place[target.place] = layers.index(layer)
        return cls(square, n_in, place, len(layers))

    def by_layer(self, numbers: Tensor) -> Tensor:
        """Return the sums of numbers times weights of a row, (n_layers,)."""
        return numbers.new_zeros(self.n_layers).index_add_(0, self.layer, numbers * self.n_in)

    def prior(self, variance: Tensor) -> Tensor:
        """Return lambda^2 of each layer for the variances of its rows, (n_layers,)."""
        return self.by_layer(torch.ones_like(variance)) / self.by_layer(self.square + variance)


@dataclass(frozen=True)
class _Draw:
    """The noise of one matrix: E (o x d), signs of inputs (n, 1, d) and outputs (n, 1, o)."""

    normal: Tensor
    signs_in: Tensor
    signs_out: Tensor


class Perturbation:
    """Adds weight noise to the outputs of the chosen modules.

    Args:
        encoder: The encoder.
        layout: Its weights are perturbed, row by row.
        seed: Of the noise; it repeats on the same device.

    Attributes:
        log_variance: Of each row's weights, (layout.size,), or for each text apart,
            (n_texts, layout.size); set it before a forward pass. It may require a gradient.
        direction: 1, or -1 for the same draw mirrored.
    """

    def __init__(self, encoder: Encoder, layout: Layout, *, seed: int) -> None:
        self.log_variance = torch.zeros(layout.size, device=encoder.device)
        self.direction = 1
        self._encoder = encoder
        self._jobs = layout.jobs
        self._layer = 0
        self._n_texts = 0
        self._draws: dict[tuple[int, str], list[_Draw]] = {}
        self._generator = torch.Generator(encoder.device).manual_seed(seed)

    def entering(self, layer: int) -> None:
        """Take note that a layer, 1 to L, is about to run."""
        self._layer = layer

    def draw(self, n_texts: int) -> None:
        """Forget the noise of the last batch; the next forward passes share a new draw."""
        self._n_texts = n_texts
        self._draws.clear()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Perturb while the block runs; hooks that are made later see perturbed outputs."""
        modules: dict[torch.nn.Module, str] = {}
        for layer, path in self._jobs:
            modules[block_of(self._encoder, layer).get_submodule(path)] = path
        with ExitStack() as stack:
            stack.callback(self._draws.clear)
            for module, path in modules.items():
                handle = module.register_forward_hook(partial(self._perturb, path))
                stack.callback(handle.remove)
            yield

    def _perturb(
        self, path: str, module: Any, args: tuple[Tensor, ...], output: Tensor
    ) -> Tensor | None:
        key = (self._layer, path)
        job = self._jobs.get(key)
        if job is None:
            return None
        inputs = args[0]
        if key not in self._draws:
            self._draws[key] = self._drawn(job, module, inputs)
        noise = torch.zeros_like(output)
        for target, draw in zip(job.weights, self._draws[key], strict=True):
            deviation = (0.5 * self.log_variance[..., target.place]).exp().to(inputs.dtype)
            if deviation.ndim == 2:
                deviation = deviation.unsqueeze(1)
            product = (inputs * draw.signs_in) @ draw.normal.mT * draw.signs_out
            noise[..., target.rows] = product.reshape(*output.shape[:-1], -1) * deviation
        return output + noise * self.direction

    def _drawn(self, job: Job, module: Any, like: Tensor) -> list[_Draw]:
        n_in = int(module.weight.shape[1])
        return [
            self._one(target.place.stop - target.place.start, n_in, like) for target in job.weights
        ]

    def _one(self, n_out: int, n_in: int, like: Tensor) -> _Draw:
        kind: dict[str, Any] = {"generator": self._generator, "device": like.device}
        normal = torch.randn(n_out, n_in, **kind).to(like.dtype)
        signs = [
            torch.randint(0, 2, (self._n_texts, 1, size), **kind).mul_(2).sub_(1).to(like.dtype)
            for size in (n_in, n_out)
        ]
        return _Draw(normal, *signs)


# -- the mean curvature of the loss under weight noise, text by text ------------------------------


class Curvature:
    """Estimates E[d^2 loss / dw^2], averaged over each row, at randomly perturbed weights.

    ``exact``: the Fisher information at the perturbed weights (the Gauss-Newton part of the
    curvature). Otherwise 2 / (d s^2) times the derivative of the loss along ln s^2, for rows of
    d weights: its expectation over the noise is the curvature, and mirrored pairs of draws take
    out the part that is odd in the noise.

    Args:
        encoder: The encoder, frozen.
        tokens: The texts.
        head: The head.
        head_layer: What it reads, 1 to L.
        layout: The perturbed weights.
        facts: What is known of their rows.
        pooling: How token states become what the head reads.
        labels: Of all texts; None for their expectation under the unperturbed model.
        exact: See above.
        seed: Of noise and label draws.
        states: Token states to take up, or None.
    """

    def __init__(
        self,
        encoder: Encoder,
        tokens: Tokens,
        head: Head,
        *,
        head_layer: int,
        layout: Layout,
        facts: PerturbedRows,
        pooling: Pooling,
        labels: NDArray[Any] | None,
        exact: bool,
        seed: int,
        states: TokenStates | None,
    ) -> None:
        self._encoder, self._tokens, self._head = encoder, tokens, head
        self._head_layer, self._layout, self._pooling = head_layer, layout, pooling
        self._labels, self._exact, self._states = labels, exact, states
        self._n_in = facts.n_in
        self._noise = Perturbation(encoder, layout, seed=seed)
        self._rng = np.random.default_rng(seed)
        self._plan = plan_labels("auto", heads=[head])
        parts = [s.part for s in layout.slices]
        several = projects_positions(encoder, parts) or splits_rows(encoder)
        self._tape = Tape(encoder, layout, several=several)
        device = "cpu" if encoder.device == "mps" else encoder.device  # MPS has no float64
        self._weights = torch.tensor(head.weights, device=device)
        self._bias = torch.tensor(head.bias, device=device)

    def of(self, rows: IntArray, log_variance: Tensor) -> Tensor:
        """Return the curvature of some texts, (len(rows), layout.size)."""
        self._noise.draw(len(rows))
        if self._exact:
            return self._fisher(rows, log_variance)
        return self._along_noise(rows, log_variance)

    def _logits(self, rows: IntArray) -> tuple[Tensor, Tensor]:
        """Return pooled states (n_samples, width) and logits (n_samples, n_out)."""
        inputs, mask = model_inputs(self._encoder, self._tokens, rows)
        resume = None
        if self._states is not None:
            resume = self._states.resume(rows, device=self._encoder.device)
        hidden = run_between(
            self._encoder,
            inputs,
            wanted=frozenset({self._head_layer}),
            resume=resume,
            entering=self._entering,
        )[self._head_layer]
        pooled = pool(hidden, mask, self._pooling)
        logits = pooled.to(self._weights.device).double() @ self._weights.T + self._bias
        return pooled, logits

    def _entering(self, layer: int) -> None:
        self._noise.entering(layer)
        self._tape.entering(layer)

    def _fisher(self, rows: IntArray, log_variance: Tensor) -> Tensor:
        self._noise.log_variance = log_variance
        with self._noise.active(), self._tape.recording():
            pooled, logits = self._logits(rows)
            places = np.arange(len(rows))
            plan = replace(self._plan, seed=int(self._rng.integers(1 << 31)))
            draws = LabelDraws(plan, n_samples=len(rows), n_out=self._head.n_out)
            sent = cotangents(plan, self._head, logits.detach(), rows=places, draws=draws)
            gradients = (sent @ self._weights).to(pooled.dtype).to(pooled.device)
            sink = pooled.new_zeros((len(rows), self._layout.size), dtype=wide_dtype(pooled.dtype))
            for place, gradient in enumerate(gradients):
                keep = place + 1 < len(gradients)
                self._tape.backward(pooled, gradient, sink, keep=keep)
        return sink

    def _along_noise(self, rows: IntArray, log_variance: Tensor) -> Tensor:
        targets = self._targets(rows)
        leaf = log_variance.expand(len(rows), -1).clone().requires_grad_(True)
        self._noise.log_variance = leaf
        with self._noise.active():
            for direction in (1, -1):
                self._noise.direction = direction
                loss = _loss(self._head, self._logits(rows)[1], targets)
                torch.autograd.backward(loss / 2)
        assert leaf.grad is not None
        return leaf.grad * 2 / (self._n_in * log_variance.exp())

    def _targets(self, rows: IntArray) -> Tensor:
        """Return class shares (n_samples, n_out), or real targets (n_samples, 1)."""
        if self._labels is None:
            with torch.no_grad():
                logits = self._logits(rows)[1]
            return logits if self._head.kind == "regression" else torch.softmax(logits, 1)
        given = torch.from_numpy(np.asarray(self._labels)[rows]).to(self._weights.device)
        if self._head.kind == "regression":
            return given.double().unsqueeze(1)
        return torch.nn.functional.one_hot(given.long(), self._head.n_out).double()


def _loss(head: Head, logits: Tensor, targets: Tensor) -> Tensor:
    """Return the sum of the texts' losses, up to a constant."""
    if head.kind == "regression":
        return (targets - logits).square().sum() / (2 * head.variance)
    return -(targets * torch.log_softmax(logits, 1)).sum()
