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
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from charkit.encoders import Encoder
from charkit.fisher.layout import Job, Layout, block_of


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
