"""One pass over the texts: batches forward and back, squares into sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charkit.config import Progress
from charkit.encoders import Encoder
from charkit.encoders.run import free_memory, is_out_of_memory, model_inputs, pool, smaller_budget
from charkit.encoders.tokens import Tokens, tokenise
from charkit.fisher.forward import TokenStates, batches, choose_budget, run_between
from charkit.fisher.labels import Head, LabelDraws, LabelPlan, cotangents
from charkit.fisher.layout import (
    Layout,
    Slice,
    check_parts,
    make_layout,
    projects_positions,
    splits_rows,
)
from charkit.fisher.options import FisherOptions, FisherTexts
from charkit.fisher.stability import N_GROUPS, deal_groups, group_products, stability_of
from charkit.fisher.tape import Tape, wide_dtype

_PIECES = {"cpu": 16}  # what fits in a processor's cache
_PIECE = 256  # on an accelerator: few kernels, and little memory


class Sums:
    """Sums of the numbers by group, sums of their squares, and the numbers if kept.

    Args:
        size: Numbers of a text.
        n_samples: Number of texts; needed only for the rows.
        device: Where sums are kept, in float64.
        kept: What the rows are kept in; None keeps none.

    Attributes:
        groups: Sums of the texts of each group, (N_GROUPS, size).
        second: Sums of squares over all texts, (size,).
        rows: The numbers of every text, (n_samples, size).
        n_done: Texts added.
    """

    def __init__(
        self, size: int, *, n_samples: int, device: str, kept: type[np.floating] | None
    ) -> None:
        self.groups = torch.zeros((N_GROUPS, size), dtype=torch.float64, device=device)
        self.second = torch.zeros(size, dtype=torch.float64, device=device)
        self.rows = None if kept is None else np.empty((n_samples, size), kept)
        self.n_done = 0

    def add(self, numbers: Tensor, scale: Tensor, rows: IntArray, groups: IntArray) -> None:
        """Add some texts.

        Args:
            numbers: Shape (len(rows), size or more); what lies beyond size is left out.
            scale: What the numbers of each text are to be multiplied by, (len(rows),), float64.
            rows: Where the texts belong.
            groups: Their groups.
        """
        size = len(self.second)
        index = torch.from_numpy(groups).to(self.groups.device)
        step = _PIECES.get(self.groups.device.type, _PIECE)
        for first in range(0, len(rows), step):
            piece = slice(first, first + step)
            wide = numbers[piece, :size].to(self.groups.device).double() * scale[piece, None]
            self.groups.index_add_(0, index[piece], wide)
            if self.rows is not None:
                self.rows[rows[piece]] = wide.cpu().numpy()
            self.second += wide.square_().sum(0)
        self.n_done += len(rows)


IntArray = NDArray[np.int64]

FIRST_LOOK = 256
"""Texts that are visited before a pass may ask whether it can stop."""

# Smallest and largest block after the first: a few batches, and as many tokenised texts as are
# worth holding in memory at a time.
_LOOK = 128
_LARGEST = 8192


@dataclass(frozen=True)
class Block:
    """Some texts and their tokens.

    Attributes:
        rows: Which texts, (n_texts,).
        tokens: Of these texts, in this order.
    """

    rows: IntArray
    tokens: Tokens


def whole_blocks(n_samples: int) -> Iterator[IntArray]:
    """Yield all places in turn, many at a time: a batch then finds texts of like length."""
    for start in range(0, n_samples, _LARGEST):
        yield np.arange(start, min(start + _LARGEST, n_samples))


def growing_blocks(n_samples: int) -> Iterator[IntArray]:
    """Yield all places in turn; a look may follow each block, half as far again as the last.

    Looks that grow apart are few: fewer chances to stop at a lucky one. Blocks are no smaller
    because their texts are batched by length, and small batches are slow.
    """
    start = 0
    while start < n_samples:
        size = FIRST_LOOK if start == 0 else min(max(_LOOK, start // 2), _LARGEST)
        yield np.arange(start, min(start + size, n_samples))
        start += size


def tokenised(
    encoder: Encoder,
    rows: IntArray,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    *,
    max_length: int,
    states: TokenStates | None,
) -> Block:
    """Return a block with its tokens: from the cached states, else made now."""
    if states is not None:
        return Block(rows, _taken(states.tokens, rows))
    seconds = None if pairs is None else [pairs[i] for i in rows]
    chosen = [texts[i] for i in rows]
    return Block(rows, tokenise(encoder, chosen, seconds, max_length=max_length))


def _taken(tokens: Tokens, rows: IntArray) -> Tokens:
    """Return the tokens of some texts."""
    lengths = tokens.lengths[rows]
    starts = np.concatenate([[0], np.cumsum(tokens.lengths)])[rows]
    before = np.cumsum(lengths) - lengths
    index = np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))
    return Tokens(
        ids=tokens.ids[index],
        segments=None if tokens.segments is None else tokens.segments[index],
        lengths=lengths,
        full_lengths=tokens.full_lengths[rows],
        pad_id=tokens.pad_id,
    )


# Looks in a row that must agree before a pass stops early: a single one may be lucky.
_LOOKS = 2


@dataclass(frozen=True)
class Request:
    """What a pass is to estimate, checked.

    Attributes:
        encoder: The encoder, frozen while passes run.
        split: The texts.
        heads: Layer, 1 to L, rising -> the head that reads it.
        layers: Whose weights, 1 to L, rising.
        options: The rest.
        max_length: Most tokens a text keeps.
        states: Token states below the lowest of ``layers``, of all texts.
    """

    encoder: Encoder
    split: FisherTexts
    heads: dict[int, Head]
    layers: tuple[int, ...]
    options: FisherOptions
    max_length: int
    states: TokenStates | None


class Pass:
    """One pass over the texts.

    Args:
        request: What is to be estimated.
        plan: How labels are averaged over.
        order: Which texts are visited, and in which order; default all: at random if the pass
            may stop early, else as they come.

    Attributes:
        layout: Where the numbers belong.
        n_truncated: Texts visited that were cut.
        stopped_early: Whether texts were left because the sums were stable.
    """

    def __init__(self, request: Request, plan: LabelPlan, *, order: IntArray | None = None) -> None:
        encoder, options = request.encoder, request.options
        parts = check_parts(options.parts)
        n_samples = len(request.split.texts)
        self.request, self.plan = request, plan
        self.layout: Layout = make_layout(encoder, layers=request.layers, parts=parts)
        self.n_truncated = 0
        self.stopped_early = False
        shuffled, groups = deal_groups(n_samples, seed=options.seed)
        if order is None:
            order = np.arange(n_samples) if options.stop_at is None else shuffled
        self._order, self._groups = order, groups[order]
        self._single = projects_positions(encoder, parts)
        self._budget = choose_budget(encoder, options.token_budget)
        self._cap: int | None = None
        self._sinks: dict[int, Tensor] = {}
        self._draws = {
            layer: LabelDraws(plan, n_samples=n_samples, n_out=head.n_out)
            for layer, head in request.heads.items()
        }
        self._tape = Tape(encoder, self.layout, several=self._single or splits_rows(encoder))

    def slices(self, layer: int) -> tuple[Slice, ...]:
        """Return the names of the numbers that a head at a layer has."""
        return tuple(s for s in self.layout.slices if s.layer <= layer)

    def run(self, progress: Progress) -> dict[int, Sums]:
        """Return, for each head, the sums over the texts that were visited."""
        n_samples = len(self._order)
        stop_at = self.request.options.stop_at
        sums = {layer: self._empty_sums(layer) for layer in self.request.heads}
        done = steady = 0
        places = whole_blocks(n_samples)
        if stop_at is not None:
            places = growing_blocks(n_samples)
        with self._tape.recording():
            for some in places:
                for n_more in self._visit(some, sums):
                    done += n_more
                    progress("fisher", done, n_samples)
                if stop_at is None or done == n_samples:
                    continue
                steady = steady + 1 if self._agree(sums, stop_at) else 0
                if steady == _LOOKS:
                    self.stopped_early = True
                    progress("fisher", done, done)
                    break
        return sums

    def products(self, layer: int, sums: Sums) -> np.ndarray:
        """Return the products of the groups' sums, (n_slices, n_groups, n_groups)."""
        held = sums.groups[: min(N_GROUPS, sums.n_done)].cpu().numpy()
        return group_products(held, self.slices(layer))

    def _agree(self, sums: dict[int, Sums], stop_at: float) -> bool:
        """Return whether halves are expected to agree under every head."""
        return all(
            stability_of(self.products(layer, some).sum(0)).halves >= stop_at
            for layer, some in sums.items()
        )

    def _empty_sums(self, layer: int) -> Sums:
        encoder = self.request.encoder
        kept = None
        if self.request.options.keep_rows:
            kept = np.float64 if encoder.dtype == "float64" else np.float32
        return Sums(
            self.slices(layer)[-1].stop,
            n_samples=len(self._order),
            device=_float64_device(encoder),
            kept=kept,
        )

    def _visit(self, places: IntArray, sums: dict[int, Sums]) -> Iterator[int]:
        """Add some texts to the sums and yield how many were added by each batch."""
        request = self.request
        block = tokenised(
            request.encoder,
            self._order[places],
            request.split.texts,
            request.split.pairs,
            max_length=request.max_length,
            states=request.states,
        )
        self.n_truncated += int((block.tokens.full_lengths > block.tokens.lengths).sum())
        for batch in batches(block.tokens, token_budget=self._budget, single=self._single):
            for local, found in self._fitting(block, batch):
                for layer, (numbers, scale) in found.items():
                    sums[layer].add(numbers, scale, places[local], self._groups[places[local]])
                yield len(local)

    def _fitting(
        self, block: Block, batch: IntArray
    ) -> Iterator[tuple[IntArray, dict[int, tuple[Tensor, Tensor]]]]:
        """Yield a batch, in halves as long as memory does not suffice, with its numbers."""
        waiting = [batch]
        while waiting:
            local = waiting.pop()
            n_tokens = len(local) * int(block.tokens.lengths[local].max())
            if self._cap is not None and n_tokens > self._cap and len(local) > 1:
                half = len(local) // 2
                waiting += [local[half:], local[:half]]
                continue
            found = self._try(block, local)
            if found is None:
                waiting.append(local)
            else:
                yield local, found

    def _try(self, block: Block, local: IntArray) -> dict[int, tuple[Tensor, Tensor]] | None:
        """Return the numbers, or None after cutting the batches because memory ran out."""
        try:
            return self._batch(block, local)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason = error
        self._tape.forget()
        self._sinks.clear()
        device = self.request.encoder.device
        longest = int(block.tokens.lengths[local].max())
        self._cap = smaller_budget(reason, device=device, longest=longest, n_texts=len(local))
        del reason
        free_memory(device)
        return None

    def _batch(self, block: Block, local: IntArray) -> dict[int, tuple[Tensor, Tensor]]:
        """Return, for each head, the numbers of some texts and what they are to be scaled by."""
        encoder, heads = self.request.encoder, self.request.heads
        rows = block.rows[local]
        inputs, mask = model_inputs(encoder, block.tokens, local)
        resume = None
        if self.request.states is not None:
            resume = self.request.states.resume(rows, device=encoder.device)
        hidden = run_between(
            encoder, inputs, wanted=frozenset(heads), resume=resume, entering=self._tape.entering
        )
        pooled = {k: pool(hidden.pop(k), mask, self.request.options.pooling) for k in heads}
        sent = {k: self._gradients(k, pooled[k], rows) for k in heads}
        passes = [(k, gradient) for k in heads for gradient in sent[k][0]]
        found = {k: self._empty(len(rows), k, pooled[k]) for k in heads}
        for place, (layer, gradient) in enumerate(passes):
            keep = place + 1 < len(passes)
            self._tape.backward(pooled[layer], gradient, found[layer], keep=keep)
        self._tape.forget()
        return {k: (found[k], sent[k][1].square()) for k in heads}

    def _empty(self, n_rows: int, layer: int, like: Tensor) -> Tensor:
        """Return zeros, in memory that all batches share: fresh memory is slow to fill."""
        held = self._sinks.get(layer)
        if held is None or len(held) < n_rows:
            size = self.slices(layer)[-1].stop
            held = like.new_empty((n_rows, size), dtype=wide_dtype(like.dtype))
            self._sinks[layer] = held
        return held[:n_rows].zero_()

    def _gradients(self, layer: int, pooled: Tensor, rows: IntArray) -> tuple[Tensor, Tensor]:
        """Return the gradients at the pooled states, and what they were divided by.

        Where a head is sure, gradients are so small that their squares would leave the range
        of float32: each text's are brought near 1 by a power of two.

        Returns:
            Shapes (n_passes, n_samples, width) and (n_samples,).
        """
        head = self.request.heads[layer]
        device = _float64_device(self.request.encoder)
        weights = torch.tensor(head.weights, device=device)
        bias = torch.tensor(head.bias, device=device)
        logits = pooled.detach().to(device).double() @ weights.T + bias
        sent = cotangents(
            self.plan,
            head,
            logits,
            rows=rows,
            draws=self._draws[layer],
            labels=self.request.split.labels,
        )
        gradients = sent @ weights
        exponents = torch.frexp(gradients.abs().amax((0, 2))).exponent
        scale = torch.exp2(exponents.double())
        gradients = gradients / scale[None, :, None]
        return gradients.to(pooled.dtype).to(pooled.device), scale


def _float64_device(encoder: Encoder) -> str:
    return "cpu" if encoder.device == "mps" else encoder.device  # MPS has no float64
