"""The mean curvature of the loss under weight noise, text by text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charkit.config import Pooling
from charkit.encoders import Encoder
from charkit.encoders.layers import pool
from charkit.encoders.tokens import Tokens
from charkit.fisher.batches import IntArray, model_inputs
from charkit.fisher.forward import run_between
from charkit.fisher.head import Head
from charkit.fisher.labels import LabelDraws, cotangents, plan_labels
from charkit.fisher.layout import Layout
from charkit.fisher.perturb import Perturbation, PerturbedRows
from charkit.fisher.rows import wide_dtype
from charkit.fisher.sites import projects_positions, splits_rows
from charkit.fisher.tape import Tape
from charkit.fisher.token_states import TokenStates


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
