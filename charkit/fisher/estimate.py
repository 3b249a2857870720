"""The diagonal Fisher information of an encoder's weights on some texts, text by text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charkit.config import Pooling, Progress, no_progress
from charkit.encoders import Encoder
from charkit.encoders.pooling import pool
from charkit.encoders.run import check_pooling
from charkit.encoders.states import resolve_layer
from charkit.encoders.tokens import Tokens, tokenise
from charkit.errors import DataError, UsageError
from charkit.fisher.batches import IntArray, batches, choose_budget, model_inputs
from charkit.fisher.embedding import TaskEmbedding
from charkit.fisher.forward import frozen, run_between
from charkit.fisher.head import Head
from charkit.fisher.labels import LabelDraws, LabelPlan, cotangents, plan_labels
from charkit.fisher.layout import Layout, make_layout
from charkit.fisher.rows import wide_dtype
from charkit.fisher.sites import DEFAULT_PARTS, check_parts, projects_positions, splits_rows
from charkit.fisher.tape import Tape
from charkit.fisher.texts import FisherTexts
from charkit.fisher.token_states import TokenStates


@dataclass(frozen=True)
class FisherOptions:
    """What is estimated, and how.

    Attributes:
        layers: Whose weights, 1 to L, negative from the end; None for all up to the head.
        parts: Which of their weights, see `charkit.fisher.sites.Part`.
        pooling: How token states become what the head reads.
        estimator: How labels are averaged over, see `charkit.fisher.labels.Estimator`.
        n_draws: Draws a text, for the estimators that draw.
        seed: Of the draws.
        max_length: Most tokens a text keeps; default `Encoder.text_length`.
        token_budget: Most tokens of a batch, padding included; default by device. It changes
            speed and memory, and results by rounding alone.
        keep_rows: Keep the numbers of every text, for intervals and subsets.
    """

    layers: Sequence[int] | None = None
    parts: Sequence[str] = DEFAULT_PARTS
    pooling: Pooling = "mean"
    estimator: str = "auto"
    n_draws: int = 1
    seed: int = 0
    max_length: int | None = None
    token_budget: int | None = None
    keep_rows: bool = False


DEFAULT_OPTIONS = FisherOptions()


def fisher_embedding(
    encoder: Encoder,
    split: FisherTexts,
    head: Head,
    *,
    head_layer: int = -1,
    options: FisherOptions = DEFAULT_OPTIONS,
    states: TokenStates | None = None,
    name: str = "",
    progress: Progress = no_progress,
) -> TaskEmbedding:
    """Estimate the diagonal Fisher information of an encoder's weights w under one head.

    The mean over texts x of E_{y ~ p(y | x)} [(d log p(y | x) / dw)^2], squared text by text and
    averaged over the inputs of each output row. Labels are read by the empirical estimator
    alone: a sample without labels can be embedded under a head that was trained elsewhere.

    Args:
        encoder: The encoder; it is left as it was.
        split: The texts, or pairs of texts.
        head: Reads the pooled states of ``head_layer``.
        head_layer: 1 to L, or negative from the end.
        options: Layers, parts, estimator, lengths.
        states: From `cache_states`, of the same texts, below the lowest chosen layer.
        name: What tables call the result.
        progress: Called as ``progress("fisher", done, total)`` with counts of texts.

    Raises:
        UsageError: An argument is out of range.
        DataError: There are no texts, or labels that are needed are missing.

    References:
        Achille, Lam, Tewari, Ravichandran, Maji, Fowlkes, Soatto and Perona 2019, "Task2Vec:
        Task Embedding for Meta-Learning".
    """
    layer = resolve_layer(head_layer, n_layers=encoder.n_layers)
    found = fisher_embeddings(
        encoder, split, {layer: head}, options=options, states=states, name=name, progress=progress
    )
    return found[layer]


def fisher_embeddings(
    encoder: Encoder,
    split: FisherTexts,
    heads: Mapping[int, Head],
    *,
    options: FisherOptions = DEFAULT_OPTIONS,
    states: TokenStates | None = None,
    name: str = "",
    progress: Progress = no_progress,
) -> dict[int, TaskEmbedding]:
    """Estimate the embeddings under heads at several layers from one forward pass.

    Args:
        encoder: The encoder; it is left as it was.
        split: The texts, or pairs of texts.
        heads: Layer (1 to L, or negative from the end) -> the head that reads it.
        options: As for `fisher_embedding`; of ``layers``, each embedding has those up to its
            head.
        states: From `cache_states`, of the same texts, below the lowest chosen layer.
        name: What tables call the results.
        progress: Called as ``progress("fisher", done, total)`` with counts of texts.

    Returns:
        Layer, 1 to L -> the embedding under its head.

    Raises:
        UsageError: An argument is out of range.
        DataError: There are no texts, or labels that are needed are missing.
    """
    placed = _check_heads(encoder, heads)
    check_pooling(options.pooling)
    if not len(split.texts):
        raise DataError("there are no texts: expected at least 1, got 0. Name another sample.")
    length = encoder.text_length(options.max_length)
    layers = _chosen_layers(encoder, options.layers, placed)
    _check_states(states, encoder, layers[0], length, len(split.texts))
    tokens = _tokens(encoder, split, length) if states is None else states.tokens
    plan = plan_labels(
        options.estimator, heads=list(placed.values()), n_draws=options.n_draws, seed=options.seed
    )
    with torch.inference_mode(False), torch.enable_grad(), frozen(encoder):
        run = _Run(encoder, tokens, placed, layers, plan, options, split.labels, states)
        sums = run.run(progress)
    return {
        layer: _finished(run, layer, sums[layer], name, split.text_fingerprint, length)
        for layer in placed
    }


def _tokens(encoder: Encoder, split: FisherTexts, max_length: int) -> Tokens:
    with torch.inference_mode(False):  # the weights may be read here, and must allow gradients
        return tokenise(encoder, split.texts, split.pairs, max_length=max_length)


def _check_heads(encoder: Encoder, heads: Mapping[int, Head]) -> dict[int, Head]:
    if not heads:
        raise UsageError("no head is named: expected at least one, got none.")
    placed: dict[int, Head] = {}
    for named, head in heads.items():
        layer = resolve_layer(named, n_layers=encoder.n_layers)
        if layer == 0:
            raise UsageError(
                f"head_layer is out of range: expected 1 to {encoder.n_layers}, got 0. A head on "
                "the embeddings has no layer below it."
            )
        if head.weights.shape[1] != encoder.width:
            raise UsageError(
                f"head at layer {layer} does not fit: expected weights of width {encoder.width} "
                f"for {encoder.name}, got {head.weights.shape[1]}."
            )
        placed[layer] = head
    return dict(sorted(placed.items()))


def _chosen_layers(
    encoder: Encoder, layers: Sequence[int] | None, heads: Mapping[int, Head]
) -> tuple[int, ...]:
    highest, lowest = max(heads), min(heads)
    if layers is None:
        return tuple(range(1, highest + 1))
    chosen = sorted({resolve_layer(k, n_layers=encoder.n_layers) for k in layers})
    if not chosen or chosen[0] == 0 or chosen[-1] > highest or chosen[0] > lowest:
        raise UsageError(
            f"layers are out of range: expected some of 1 to {highest}, with at least one not "
            f"above each head (lowest head: layer {lowest}), got {list(layers)}."
        )
    return tuple(chosen)


def _check_states(
    states: TokenStates | None, encoder: Encoder, lowest: int, length: int, n_samples: int
) -> None:
    if states is None:
        return
    if states.layer >= lowest:
        raise UsageError(
            f"cache_layer is too high: expected at most {lowest - 1}, below the lowest chosen "
            f"layer, got {states.layer}."
        )
    theirs = (states.encoder_fingerprint, states.max_length, len(states.tokens.lengths))
    ours = (encoder.fingerprint, length, n_samples)
    if theirs != ours:
        raise UsageError(
            "cached states do not fit: expected encoder, max_length and number of texts "
            f"{ours}, got {theirs}. Compute them again."
        )


@dataclass
class _Sums:
    """Sums over texts of the numbers and of their squares, and the numbers if kept."""

    first: Tensor
    second: Tensor
    rows: NDArray[np.floating] | None

    def add(self, numbers: Tensor, rows: IntArray) -> None:
        block = numbers.to(self.first.device).double()
        self.first += block.sum(0)
        self.second += block.square().sum(0)
        if self.rows is not None:
            self.rows[rows] = numbers.cpu().numpy()


class _Run:
    """One pass over the texts."""

    def __init__(
        self,
        encoder: Encoder,
        tokens: Tokens,
        heads: dict[int, Head],
        layers: tuple[int, ...],
        plan: LabelPlan,
        options: FisherOptions,
        labels: NDArray[Any] | None,
        states: TokenStates | None,
    ) -> None:
        parts = check_parts(options.parts)
        self.encoder, self.tokens, self.heads = encoder, tokens, heads
        self.plan, self.options, self.labels, self.states = plan, options, labels, states
        self.layout: Layout = make_layout(encoder, layers=layers, parts=parts)
        self.alone = projects_positions(encoder, parts)
        self.draws = {
            layer: LabelDraws(plan, n_samples=len(tokens.lengths), n_out=head.n_out)
            for layer, head in heads.items()
        }
        self.tape = Tape(encoder, self.layout, several=self.alone or splits_rows(encoder))

    def run(self, progress: Progress) -> dict[int, _Sums]:
        n_samples = len(self.tokens.lengths)
        sums = {layer: self._empty_sums(n_samples) for layer in self.heads}
        budget = choose_budget(self.encoder, self.options.token_budget)
        done = 0
        with self.tape.recording():
            for rows in batches(self.tokens, token_budget=budget, alone=self.alone):
                for layer, numbers in self._batch(rows).items():
                    sums[layer].add(numbers, rows)
                done += len(rows)
                progress("fisher", done, n_samples)
        return sums

    def _empty_sums(self, n_samples: int) -> _Sums:
        size = self.layout.size
        kind = np.float64 if self.encoder.dtype == "float64" else np.float32
        kept = np.empty((n_samples, size), kind) if self.options.keep_rows else None
        zeros = torch.zeros(size, dtype=torch.float64, device=_float64_device(self.encoder))
        return _Sums(zeros, zeros.clone(), kept)

    def _batch(self, rows: IntArray) -> dict[int, Tensor]:
        """Return, for each head, the numbers of some texts, (len(rows), size)."""
        inputs, mask = model_inputs(self.encoder, self.tokens, rows)
        resume = None
        if self.states is not None:
            resume = self.states.resume(rows, device=self.encoder.device)
        hidden = run_between(
            self.encoder,
            inputs,
            wanted=frozenset(self.heads),
            resume=resume,
            entering=self.tape.entering,
        )
        pooled = {k: pool(hidden.pop(k), mask, self.options.pooling) for k in self.heads}
        passes = [(k, g) for k in self.heads for g in self._gradients(k, pooled[k], rows)]
        found = {k: self._empty(len(rows), pooled[k]) for k in self.heads}
        for place, (layer, gradient) in enumerate(passes):
            keep = place + 1 < len(passes)
            self.tape.backward(pooled[layer], gradient, found[layer], keep=keep)
        self.tape.forget()
        return found

    def _empty(self, n_rows: int, like: Tensor) -> Tensor:
        return like.new_zeros((n_rows, self.layout.size), dtype=wide_dtype(like.dtype))

    def _gradients(self, layer: int, pooled: Tensor, rows: IntArray) -> Tensor:
        """Return the gradients at the pooled states, (n_passes, n_samples, width)."""
        head = self.heads[layer]
        device = _float64_device(self.encoder)
        weights = torch.tensor(head.weights, device=device)
        bias = torch.tensor(head.bias, device=device)
        logits = pooled.detach().to(device).double() @ weights.T + bias
        sent = cotangents(
            self.plan, head, logits, rows=rows, draws=self.draws[layer], labels=self.labels
        )
        return (sent @ weights).to(pooled.dtype).to(pooled.device)


def _float64_device(encoder: Encoder) -> str:
    return "cpu" if encoder.device == "mps" else encoder.device  # MPS has no float64


def _finished(
    run: _Run, layer: int, sums: _Sums, name: str, text_fingerprint: str, max_length: int
) -> TaskEmbedding:
    slices = tuple(s for s in run.layout.slices if s.layer <= layer)
    used = slice(0, slices[-1].stop)
    n_samples = len(run.tokens.lengths)
    first, second = (total.cpu().numpy()[used] for total in (sums.first, sums.second))
    mean = first / n_samples
    error: NDArray[np.float64] = np.full(mean.shape, np.nan)
    if n_samples > 1:
        spread = np.maximum(second / n_samples - mean**2, 0)
        error = np.sqrt(spread / (n_samples - 1))
    head = run.heads[layer]
    if not np.isfinite(mean).all():
        raise DataError(
            "the embedding is not finite: expected numbers, got NaN or infinity. Use float32, "
            "and look at the head's weights."
        )
    return TaskEmbedding(
        values=mean,
        standard_error=error,
        slices=slices,
        name=name,
        encoder=run.encoder.name,
        encoder_fingerprint=run.encoder.fingerprint,
        head_layer=layer,
        head_fingerprint=head.fingerprint,
        pooling=run.options.pooling,
        max_length=max_length,
        dtype=run.encoder.dtype,
        kind=head.kind,
        n_classes=head.n_classes,
        estimand=run.plan.estimand,
        estimator=run.plan.estimator,
        n_draws=run.plan.n_draws,
        seed=run.plan.seed,
        n_samples=n_samples,
        frac_truncated=float((run.tokens.full_lengths > run.tokens.lengths).mean()),
        text_fingerprint=text_fingerprint,
        rows=None if sums.rows is None else sums.rows[:, used],
    )
