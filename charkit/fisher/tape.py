"""Hooks that turn one forward and some backward passes into squared gradients, text by text.

Squared gradients of one weight matrix, text by text, averaged over each output row.

For one text, X (T x d) are the inputs of a linear map and D (T x o) the gradients at its output.
The gradient of the weights is G = D^T X (o x d); the mean of its squares over row j is

    (1/d) sum_i G_ji^2 = (1/d) sum_t D_tj (K D)_tj,        K = X X^T  (T x T)

so that no o x d gradient is ever stored. The right side costs 2 T^2 (d + o) operations, the left
2 T o d and a pass over o d numbers a text. K is symmetric: in long texts only its blocks on and
right of the diagonal are formed, those right of it counted twice, which saves up to half.
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

# Numbers of the gradients that are formed at a time: 4 MB in float32.
_CHUNK_NUMBERS = 1 << 20

# Rows of a block of the Gram matrix. Only blocks right of the diagonal are formed: smaller ones
# save more, and products of fewer than 64 rows are slow.
_BLOCK = 64

# Measured: see `gram_is_cheaper`.
_SLOWER = 2
_NARROW = (torch.bfloat16, torch.float16)

Gram = list[Tensor]
"""Block rows of K = X X^T, see `gram`."""


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return what sums are kept in: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def gram_is_cheaper(seq_len: int, *, n_out: int, n_in: int) -> bool:
    """Return whether the Gram formula takes less time than the gradient itself.

    Operations are equal at T = o d / (o + d); with the pass over its numbers the gradient took as
    long as the Gram formula at about twice that, in both precisions.
    """
    return seq_len * (n_out + n_in) < _SLOWER * n_out * n_in


def gram(inputs: Tensor) -> Gram:
    """Return K = X X^T of each text from inputs (n_samples, T, d).

    Returns:
        Its block rows from the diagonal on, right of the diagonal doubled: sum_s,t K_st D_s D_t
        stays what it was. (n_samples, b, T), (n_samples, b, T - b), ...; a single (n_samples,
        T, T) where products are so fast that blocks do not pay.
    """
    seq_len = inputs.shape[1]
    fast = inputs.dtype in _NARROW or inputs.device.type != "cpu"
    step = -(-seq_len // (1 if fast else max(1, seq_len // _BLOCK)))
    kernel = []
    for start in range(0, seq_len, step):
        block = torch.bmm(inputs[:, start : start + step], inputs[:, start:].mT)
        if block.shape[2] > step:
            block[:, :, step:] *= 2
        kernel.append(block)
    return kernel


def rows_from_gram(kernel: Gram, gradients: Tensor, *, n_in: int) -> Tensor:
    """Return row means of squared gradients from the Gram matrix.

    Args:
        kernel: From `gram`.
        gradients: D of each text, (n_samples, T, o).
        n_in: Inputs d of the linear map.

    Returns:
        Shape (n_samples, o), float32 or float64.
    """
    start, sums = 0, []
    for block in kernel:
        own = gradients[:, start : start + block.shape[1]]
        # sums of narrow numbers are kept in float32; asked for float32, torch would copy them all
        sums.append(torch.bmm(block, gradients[:, start:]).mul_(own).sum(1))
        start += block.shape[1]
    total = sums[0].to(wide_dtype(gradients.dtype))
    for other in sums[1:]:
        total += other
    # rounding can leave a row of zeros a hair below zero; a square never is
    return total.div_(n_in).clamp_min_(0)


def rows_from_gradient(inputs: Tensor, gradients: Tensor) -> Tensor:
    """Return row means of squared gradients by forming D^T X, a few texts at a time.

    Args:
        inputs: X of each text, (n_samples, T, d).
        gradients: D of each text, (n_samples, T, o).

    Returns:
        Shape (n_samples, o), float32 or float64.
    """
    n_samples, _, n_out = gradients.shape
    n_in = inputs.shape[2]
    out = gradients.new_empty((n_samples, n_out), dtype=wide_dtype(gradients.dtype))
    step = max(1, _CHUNK_NUMBERS // (n_out * n_in))
    for first in range(0, n_samples, step):
        part = slice(first, first + step)
        weights = torch.bmm(gradients[part].mT, inputs[part])
        out[part] = weights.square_().mean(2)
    return out


def bias_squares(gradients: Tensor) -> Tensor:
    """Return squared gradients (n_samples, o) of a bias from D (n_samples, T, o)."""
    return gradients.sum(1, dtype=wide_dtype(gradients.dtype)).square_()


def normalised(inputs: Tensor, *, epsilon: float) -> Tensor:
    """Return what a layer norm multiplies by its scale: inputs less mean, over deviation."""
    wide = inputs.to(wide_dtype(inputs.dtype))
    return torch.nn.functional.layer_norm(wide, wide.shape[-1:], eps=epsilon)


def scale_squares(normal: Tensor, gradients: Tensor) -> Tensor:
    """Return squared gradients of a layer norm's scale.

    Args:
        normal: The normalised inputs, (n_samples, T, d).
        gradients: D of each text, (n_samples, T, d).

    Returns:
        Shape (n_samples, d).
    """
    return (normal * gradients).sum(1).square_()


@dataclass
class _Call:
    """One run of a module, with what its squared gradients need besides the gradient.

    Attributes:
        job: What is wanted from it.
        n_in: Inputs of a weight matrix.
        kernel: X X^T, where the Gram formula is the cheaper one.
        inputs: X, where it is not, or where the module runs several times in a layer.
        normal: The normalised inputs of a norm.
        gradient: D, kept where the module runs several times.
    """

    job: Job
    n_in: int = 0
    kernel: Gram | None = None
    inputs: Tensor | None = None
    normal: Tensor | None = None
    gradient: Tensor | None = None


class Tape:
    """Records the chosen modules of a forward pass; every backward pass then adds to a sink.

    No parameter needs a gradient: the lowest chosen modules' outputs are made the leaves of the
    graph, so that nothing below them is differentiated.

    Args:
        encoder: The encoder.
        layout: What is wanted.
        several: Whether a module may run more than once in a layer.
    """

    def __init__(self, encoder: Encoder, layout: Layout, *, several: bool) -> None:
        self._encoder = encoder
        self._jobs = layout.jobs
        self._several = several
        self._layer = 0
        self._calls: list[_Call] = []
        self._leaves: list[Tensor] = []
        self._last: tuple[Tensor, Gram] | None = None
        self._sink: Tensor | None = None

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Hook the chosen modules while the block runs."""
        modules: dict[torch.nn.Module, str] = {}
        for layer, path in self._jobs:
            modules[block_of(self._encoder, layer).get_submodule(path)] = path
        with ExitStack() as stack:
            stack.callback(self.forget)
            for module, path in modules.items():
                handle = module.register_forward_hook(partial(self._ran, path))
                stack.callback(handle.remove)
            yield

    def entering(self, layer: int) -> None:
        """Take note that a layer, 1 to L, is about to run."""
        self._layer = layer

    def forget(self) -> None:
        """Drop what was recorded."""
        self._calls.clear()
        self._leaves.clear()
        self._last = None
        self._sink = None

    def backward(self, state: Tensor, gradient: Tensor, sink: Tensor, *, keep: bool) -> None:
        """Send a gradient back and add the squares that it causes to ``sink``.

        Args:
            state: Pooled states, (n_samples, width).
            gradient: Gradients there, the same shape.
            sink: Shape (n_samples, layout.size), changed in place.
            keep: Whether another backward pass will follow.
        """
        self._sink = sink
        torch.autograd.backward(state, gradient, retain_graph=keep)
        for leaf in self._leaves:
            leaf.grad = None
        if self._several:
            self._write_joined()

    def _ran(self, path: str, module: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
        job = self._jobs.get((self._layer, path))
        if job is None:
            return
        if not output.requires_grad:
            self._leaves.append(output.requires_grad_(True))
        call = self._prepared(job, module, args[0])
        self._calls.append(call)
        output.register_hook(partial(self._arrived, call))  # type: ignore[no-untyped-call]

    def _prepared(self, job: Job, module: Any, inputs: Tensor) -> _Call:
        call = _Call(job)
        if job.scale:
            epsilon = getattr(module, "eps", None) or module.variance_epsilon
            call.normal = normalised(inputs.detach(), epsilon=epsilon)
        if job.weights:
            n_out, call.n_in = module.weight.shape
            cheaper = gram_is_cheaper(inputs.shape[1], n_out=n_out, n_in=call.n_in)
            if cheaper and not self._several:
                # K; query, key and value read the same tensor and share it.
                if self._last is None or self._last[0] is not inputs:
                    self._last = (inputs, gram(inputs.detach()))
                call.kernel = self._last[1]
            else:
                call.inputs = inputs.detach()
        return call

    def _arrived(self, call: _Call, gradient: Tensor) -> None:
        if self._several:
            call.gradient = gradient.detach()
        else:
            self._write(call, gradient.detach())

    def _write(self, call: _Call, gradient: Tensor) -> None:
        assert self._sink is not None
        for target in call.job.weights:
            chosen = gradient[..., target.rows]
            if call.kernel is not None:
                rows = rows_from_gram(call.kernel, chosen, n_in=call.n_in)
            else:
                assert call.inputs is not None
                rows = rows_from_gradient(call.inputs, chosen)
            self._sink[:, target.place] += rows
        for target in call.job.scale:
            assert call.normal is not None
            self._sink[:, target.place] += scale_squares(call.normal, gradient)
        for target in call.job.biases:
            self._sink[:, target.place] += bias_squares(gradient[..., target.rows])

    def _write_joined(self) -> None:
        """Square the sum of what a module's runs in one layer contribute."""
        runs: dict[int, list[tuple[_Call, Tensor]]] = {}
        for call in self._calls:
            if call.gradient is not None:
                runs.setdefault(id(call.job), []).append((call, call.gradient))
                call.gradient = None
        for pairs in runs.values():
            gradient = torch.cat([gradient for _, gradient in pairs], 1)
            self._write(_joined([call for call, _ in pairs]), gradient)


def _joined(calls: list[_Call]) -> _Call:
    """Return the runs of one module as one, their tokens one after the other."""
    joined = _Call(calls[0].job, calls[0].n_in)
    inputs = [c.inputs for c in calls if c.inputs is not None]
    normals = [c.normal for c in calls if c.normal is not None]
    if normals:
        joined.normal = torch.cat(normals, 1)
    if inputs:
        joined.inputs = torch.cat(inputs, 1)
    return joined
