"""Hooks that turn one forward and some backward passes into squared gradients, text by text."""

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
from charkit.fisher.rows import (
    Gram,
    bias_squares,
    gram,
    gram_is_cheaper,
    normalised,
    rows_from_gradient,
    rows_from_gram,
    scale_squares,
)


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
                call.kernel = self._shared_gram(inputs)
            else:
                call.inputs = inputs.detach()
        return call

    def _shared_gram(self, inputs: Tensor) -> Gram:
        """Return K; query, key and value read the same tensor and share it."""
        if self._last is None or self._last[0] is not inputs:
            self._last = (inputs, gram(inputs.detach()))
        return self._last[1]

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
