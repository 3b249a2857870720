"""Tokens to pooled states: batches of similar length, halved when memory runs out."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charkit.config import Pooling, Progress, no_progress, people_name
from charkit.encoders.encoder import Encoder
from charkit.encoders.files import note_declared
from charkit.encoders.states import LayerStates, MemoryShard, check_pooling
from charkit.encoders.tokens import IntArray, Texts, Tokens, next_batch, tokenise
from charkit.errors import DataError, MissingError, UsageError

StateVisitor = Callable[[int, Tensor], None]
"""Called as ``visit(k, hidden)`` with the states of layer k, (n_samples, seq_len, width)."""


def visit_layers(encoder: Encoder, inputs: dict[str, Tensor], visit: StateVisitor) -> None:
    """Run the encoder once and show the visitor the states 0 to L, in order.

    State k < L is what layer k + 1 receives; state L is the model's last hidden state (after
    the final norm, where a model has one). So state k equals transformers' ``hidden_states[k]``
    although no more than one is kept.

    Args:
        encoder: The encoder.
        inputs: Keyword arguments of the model's forward, on the right device.
        visit: What to do with each state.
    """
    counter = 0

    def before(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal counter
        visit(counter, args[0] if args else kwargs["hidden_states"])
        counter += 1

    with ExitStack() as stack:
        for block in encoder.blocks:
            handle = block.register_forward_pre_hook(before, with_kwargs=True)
            stack.callback(handle.remove)
        output = encoder.model(**inputs)
    if counter != encoder.n_layers:
        raise RuntimeError(f"expected {encoder.n_layers} layers to run, got {counter}")
    visit(counter, output.last_hidden_state)


def pool(hidden: Tensor, mask: Tensor | None, pooling: Pooling) -> Tensor:
    """Pool token states to one vector a text, summing in float32 at least.

    Padding never counts; special tokens do.

    Args:
        hidden: States of shape (n_samples, seq_len, width).
        mask: True where there is a token, shape (n_samples, seq_len); None where all are.
        pooling: ``mean`` over tokens (``[CLS]`` and ``[SEP]`` among them), ``cls`` for the
            first token, ``max`` over tokens.

    Returns:
        Shape (n_samples, width), float32, or float64 for float64 states.
    """
    wide = torch.float64 if hidden.dtype == torch.float64 else torch.float32
    if pooling == "cls":
        return hidden[:, 0].to(wide)
    if pooling == "max":
        if mask is not None:
            hidden = hidden.masked_fill(~mask.unsqueeze(-1), -torch.inf)
        return hidden.amax(dim=1).to(wide)
    if mask is None:
        return hidden.sum(dim=1, dtype=wide) / hidden.shape[1]
    weights = mask.to(wide)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return torch.bmm(weights.unsqueeze(1), hidden.to(wide)).squeeze(1)


logger = logging.getLogger(__name__)

# Tokens of a batch: on a processor what its cache holds, elsewhere what keeps the cores busy. A
# batch that does not fit the memory is halved.
_BUDGETS = {"cpu": 2048, "mps": 16384, "cuda": 65536}
_OOM_WORDS = ("out of memory", "can't allocate memory", "could not allocate")


def choose_token_budget(
    encoder: Encoder, token_budget: int | None, defaults: Mapping[str, int] = _BUDGETS
) -> int:
    """Return the most tokens of a batch: asked for, or the device's default.

    Raises:
        UsageError: The number is below 1.
    """
    if token_budget is None:
        return defaults[encoder.device]
    if token_budget < 1:
        raise UsageError(f"token_budget is out of range: expected at least 1, got {token_budget}.")
    return token_budget


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on whatever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(w in str(error) for w in _OOM_WORDS)


def smaller_budget(reason: BaseException, *, device: str, longest: int, n_texts: int) -> int:
    """Return the token budget for half of a batch that did not fit in memory.

    Raises:
        MissingError: Not even one text fits in memory.
    """
    if n_texts == 1:
        raise MissingError(
            f"memory does not suffice: expected room for one text of {longest} tokens on "
            f"{device}, got {type(reason).__name__}. Use a smaller max_length, a smaller "
            "encoder or another device."
        ) from reason
    budget = longest * (n_texts // 2)
    logger.warning("out of memory on %s: batches are cut to %d tokens", device, budget)
    return budget


def free_memory(device: str) -> None:
    """Give back what an abandoned batch held; its error must be forgotten by then."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def model_inputs(
    encoder: Encoder, tokens: Tokens, rows: IntArray
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Return the model's keyword arguments and the mask (True at tokens; None if no padding)."""
    ids, segments, mask = tokens.batch(rows)
    inputs = {"input_ids": torch.from_numpy(ids).to(encoder.device)}
    if segments is not None:
        inputs["token_type_ids"] = torch.from_numpy(segments).to(encoder.device)
    if mask is None:
        return inputs, None
    held = torch.from_numpy(mask).to(encoder.device)
    inputs["attention_mask"] = held.long()
    return inputs, held


@torch.inference_mode()
def pooled_batch(
    encoder: Encoder, tokens: Tokens, rows: IntArray, *, pooling: Pooling
) -> NDArray[np.float32]:
    """Return the pooled states of some rows, shape (n_layers + 1, len(rows), width)."""
    inputs, held = model_inputs(encoder, tokens, rows)
    pooled: list[torch.Tensor] = []
    visit_layers(encoder, inputs, lambda _, hidden: pooled.append(pool(hidden, held, pooling)))
    result: NDArray[np.float32] = torch.stack(pooled).float().cpu().numpy()
    return result


class BatchRunner:
    """Encodes tokens batch by batch and remembers what fits in memory.

    Args:
        encoder: The encoder.
        pooling: How tokens become one vector.
        token_budget: Most tokens of a batch, padding included.

    Attributes:
        token_budget: The same, halved each time that memory ran out.
    """

    def __init__(self, encoder: Encoder, *, pooling: Pooling, token_budget: int) -> None:
        self.encoder = encoder
        self.pooling = pooling
        self.token_budget = token_budget

    def run(
        self, tokens: Tokens, *, advance: Callable[[int], None] = lambda n: None
    ) -> NDArray[np.float32]:
        """Return the pooled states of all rows in their order.

        Args:
            tokens: The tokenised texts.
            advance: Called after each batch with its share of all tokens, in rows: the longest
                rows come first, so that a count would foretell too much time.

        Returns:
            Shape (n_layers + 1, n_samples, width).

        Raises:
            DataError: The tokenizer is not the encoder's, or states are not finite.
            MissingError: Not even one text fits in memory.
        """
        self._check_ids(tokens)
        order = np.argsort(-tokens.lengths, kind="stable")
        shape = (self.encoder.n_layers + 1, len(order), self.encoder.shape.width)
        out = np.empty(shape, np.float32)
        share = np.cumsum(tokens.lengths[order]) / max(int(tokens.lengths.sum()), 1)
        start = reported = 0
        while start < len(order):
            size = next_batch(tokens.lengths[order[start:]], token_budget=self.token_budget)
            rows = order[start : start + size]
            states = self._try(tokens, rows)
            if states is None:
                continue
            out[:, rows] = states
            start += size
            done = len(order) if start == len(order) else int(len(order) * share[start - 1])
            advance(done - reported)
            reported = done
        self._check_finite(out)
        return out

    def _check_ids(self, tokens: Tokens) -> None:
        """Refuse token ids that have no embedding: the tokenizer is another encoder's."""
        n_known = int(self.encoder.model.get_input_embeddings().num_embeddings)  # type: ignore[operator]
        largest = max(int(tokens.ids.max(initial=0)), tokens.pad_id)
        if largest >= n_known:
            raise DataError(
                f"the tokenizer of {self.encoder.name} does not fit its weights: expected token "
                f"ids below {n_known}, got {largest}. Use the tokenizer that belongs to it."
            )

    def _check_finite(self, states: NDArray[np.float32]) -> None:
        """Refuse states that are NaN or infinite: nothing true can be computed from them."""
        finite: NDArray[np.bool_] = np.isfinite(states)
        if finite.all():
            return
        layers, texts, _ = np.nonzero(~finite)
        advice = "Its weights are damaged: copy them again, or use another encoder."
        if self.encoder.dtype not in ("float32", "float64"):
            advice = "Try float32 as its dtype; if that does not help, its weights are damaged."
        raise DataError(
            f"{self.encoder.name} gives states that are not numbers: expected finite values, "
            f"got NaN or infinity from layer {layers.min()} on, in {len(np.unique(texts))} of "
            f"{states.shape[1]} texts. {advice}"
        )

    def _try(self, tokens: Tokens, rows: IntArray) -> NDArray[np.float32] | None:
        """Return the states, or None after halving the budget because memory ran out."""
        try:
            return pooled_batch(self.encoder, tokens, rows, pooling=self.pooling)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason = error
        longest = int(tokens.lengths[rows[0]])
        self.token_budget = smaller_budget(
            reason, device=self.encoder.device, longest=longest, n_texts=len(rows)
        )
        del reason
        free_memory(self.encoder.device)
        return None


# -- pairs whose texts are encoded apart ----------------------------------------------------------


_COSINE_SCALE = 4.0
"""The cosine is one number next to 4 x width others, and a penalty counts them all alike: at this
scale it varies over pairs about as much as all others. On STS-B 4 and 16 do alike, 1 less well."""


def compared(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the features of pairs from the states u and v of their texts.

    u, v, |u - v|, sqrt(width) u * v and 4 cos(u, v), u and v scaled to length 1: Conneau, Kiela,
    Schwenk, Barrault and Bordes 2017, "Supervised learning of universal sentence
    representations from natural language inference data", with the cosine in addition.

    Args:
        first: Of the first texts, (..., width).
        second: Of the second texts, the same shape.

    Returns:
        Shape (..., 4 width + 1).

    >>> compared(np.eye(2, dtype=np.float32)[:1], np.eye(2, dtype=np.float32)[:1])[0, -1]
    np.float32(4.0)
    """
    tiny = np.finfo(np.float32).tiny
    u, v = (
        x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), tiny) for x in (first, second)
    )
    product = u * v
    cosine = _COSINE_SCALE * product.sum(-1, keepdims=True)
    scale = np.float32(first.shape[-1] ** 0.5)
    return np.concatenate([u, v, np.abs(u - v), scale * product, cosine], axis=-1)


def encode_rows(
    runner: BatchRunner,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    *,
    max_length: int,
    first: int = 0,
    advance: Callable[[int], None],
) -> MemoryShard:
    """Return the states and token counts of some rows, those of pairs apart where asked for.

    Args:
        runner: Of the encoder.
        texts: The texts, or the first of each pair.
        pairs: The second of each pair; None for single texts.
        max_length: Most tokens of a text, or of each text of a pair encoded apart.
        first: Number of the first row, for messages.
        advance: Called after each batch with a number of rows.
    """
    encoder = runner.encoder
    if not encoder.apart:
        tokens = tokenise(encoder, texts, pairs, max_length=max_length, first=first)
        states = runner.run(tokens, advance=advance)
        return MemoryShard(states, tokens.lengths, tokens.full_lengths)
    encoder.check_pairs(pairs)
    n, done = len(texts), 0

    def half(n_texts: int) -> None:
        nonlocal done
        advance((done + n_texts) // 2 - done // 2)
        done += n_texts

    tokens = tokenise(encoder, [*texts, *(pairs or ())], None, max_length=max_length)
    states = runner.run(tokens, advance=half)
    sums = [lengths[:n] + lengths[n:] for lengths in (tokens.lengths, tokens.full_lengths)]
    return MemoryShard(compared(states[:, :n], states[:, n:]), *sums)


# -- encode the texts of a split and keep the states in memory ------------------------------------


def encode(
    encoder: Encoder,
    split: Texts,
    *,
    pooling: Pooling = "mean",
    max_length: int | None = None,
    token_budget: int | None = None,
    progress: Progress = no_progress,
) -> LayerStates:
    """Return the pooled states of all layers of all texts, from one forward pass each.

    A text's states depend on neither its neighbours nor the order, to rounding.

    Args:
        encoder: The encoder.
        split: The texts, or pairs of texts.
        pooling: How tokens become one vector; special tokens count, padding never does.
        max_length: Most tokens a text keeps; default the smaller of 256 and the encoder's
            limit. What is cut is counted in the result.
        token_budget: Most tokens of a batch, padding included; halved when memory runs out.
            Default by device.
        progress: Called as ``progress("encode", done, total)`` with counts of texts.

    Raises:
        UsageError: An argument is out of range, or pairs are expected.
        MissingError: Not even one text fits in memory.
    """
    check_pooling(pooling)
    encoder.check_pairs(split.pairs)
    note_declared(encoder.folder, name=people_name(encoder.name), pooling=pooling)
    length = encoder.text_length(max_length)
    budget = choose_token_budget(encoder, token_budget)
    runner = BatchRunner(encoder, pooling=pooling, token_budget=budget)
    total = len(split.texts)
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        progress("encode", done, total)

    shard = encode_rows(runner, split.texts, split.pairs, max_length=length, advance=advance)
    return LayerStates(
        shards=(shard,),
        n_layers=encoder.n_layers,
        width=encoder.width,
        encoder=encoder.name,
        encoder_fingerprint=encoder.fingerprint,
        pooling=pooling,
        max_length=length,
        dtype=encoder.dtype,
    )
