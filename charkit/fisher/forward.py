"""Run a part of an unmodified encoder: from a layer whose states are known, up to another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charkit.config import Progress, no_progress
from charkit.encoders import Encoder
from charkit.encoders.run import choose_token_budget, model_inputs
from charkit.encoders.states import resolve_layer
from charkit.encoders.tokens import Tokens, next_batch, tokenise
from charkit.errors import UsageError
from charkit.fisher.options import FisherTexts


class _ReachedError(Exception):
    """The highest layer that was asked for has been reached."""


@dataclass(frozen=True)
class Resume:
    """Where to take up.

    Attributes:
        layer: The layer whose states are known, 0 to L - 1.
        hidden: They, (n_samples, seq_len, width).
    """

    layer: int
    hidden: Tensor


def _ignore(layer: int) -> None:
    """Do nothing."""


def run_between(
    encoder: Encoder,
    inputs: dict[str, Tensor],
    *,
    wanted: frozenset[int],
    resume: Resume | None = None,
    entering: Callable[[int], None] = _ignore,
) -> dict[int, Tensor]:
    """Return the token states of some layers; nothing above the highest of them is computed.

    Args:
        encoder: The encoder.
        inputs: Keyword arguments of the model's forward, on the right device.
        wanted: Layers 0 to L.
        resume: Take up here: the layers below are not computed.
        entering: Called with k just before layer k (1 to L) runs.

    Returns:
        Layer -> states, (n_samples, seq_len, width).
    """
    found: dict[int, Tensor] = {}
    state = 0
    last = max(wanted)

    def before(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal state
        if resume is not None and state == resume.layer:
            args, kwargs = _with_hidden(args, kwargs, resume.hidden)
        if state in wanted:
            found[state] = args[0] if args else kwargs["hidden_states"]
        if state == last:
            raise _ReachedError
        state += 1
        entering(state)
        return args, kwargs

    with ExitStack() as stack:
        for block in encoder.blocks:
            handle = block.register_forward_pre_hook(before, with_kwargs=True)
            stack.callback(handle.remove)
        if resume is not None:
            _skip_below(encoder, resume.layer, stack)
        try:
            output = encoder.model(**inputs)
        except _ReachedError:
            return found
    found[state] = output.last_hidden_state
    return found


def _with_hidden(args: tuple[Any, ...], kwargs: dict[str, Any], hidden: Tensor) -> Any:
    if args:
        return (hidden, *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": hidden}


# Families whose layers return a tuple, and how long it is; the others return the states.
_TUPLES = {"mpnet": 1, "deberta": 2, "deberta-v2": 2}


def _skip_below(encoder: Encoder, layer: int, stack: ExitStack) -> None:
    """Let the first layers hand on what they receive, until the stack is closed."""
    left = layer
    n_outputs = _TUPLES.get(encoder.family, 0)

    def skipping(block: torch.nn.Module) -> None:
        real = block.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            if left == 0:
                return real(*args, **kwargs)
            left -= 1
            hidden = args[0] if args else kwargs["hidden_states"]
            return (hidden, None)[:n_outputs] if n_outputs else hidden

        vars(block)["forward"] = forward
        stack.callback(vars(block).pop, "forward")

    for block in encoder.blocks:
        skipping(block)


@contextmanager
def frozen(encoder: Encoder) -> Iterator[None]:
    """Switch weight gradients and training mode off; then restore.

    On CPUs the backward pass of the fused attention is many times slower than plain products in
    bfloat16, and faster in float32: plain attention is switched on for the first.
    """
    model: Any = encoder.model
    tuned = [p for p in model.parameters() if p.requires_grad]
    modes = [(module, module.training) for module in model.modules() if module.training]
    attention = model.config._attn_implementation
    plain = encoder.device == "cpu" and encoder.dtype == "bfloat16" and attention == "sdpa"
    try:
        for parameter in tuned:
            parameter.requires_grad_(False)
        model.eval()
        if plain:
            model.set_attn_implementation("eager")
        yield
    finally:
        if plain:
            model.set_attn_implementation(attention)
        for parameter in tuned:
            parameter.requires_grad_(True)
        for module, mode in modes:
            module.training = mode


# -- tokens to batches of similar length, and to the keyword arguments of a model -----------------


IntArray = NDArray[np.int64]

# Tokens of a batch. On accelerators half as many as `charkit.encoders.run` takes: the backward pass
# needs memory too.
_BUDGETS = {"cpu": 2048, "mps": 8192, "cuda": 32768}

# Padding of a batch: a share of it, or tokens; starting a batch takes about as long.
_SHARE = 0.05
_TOKENS = 128


def choose_budget(encoder: Encoder, token_budget: int | None) -> int:
    """Return the most tokens of a batch: asked for, or the device's default.

    Raises:
        UsageError: The number is below 1.
    """
    return choose_token_budget(encoder, token_budget, _BUDGETS)


def batches(tokens: Tokens, *, token_budget: int, single: bool = False) -> Iterator[IntArray]:
    """Yield rows of similar length, longest first; padding is a twentieth of a batch, or little.

    Args:
        tokens: All texts.
        token_budget: Most tokens of a batch, padding included.
        single: One text a batch.
    """
    order = np.argsort(-tokens.lengths, kind="stable")
    lengths = tokens.lengths[order]
    start = 0
    while start < len(order):
        size = 1 if single else next_batch(lengths[start:], token_budget=token_budget)
        full = lengths[start] * np.arange(1, size + 1)
        padding = full - lengths[start : start + size].cumsum()
        size = int((padding <= np.maximum(_SHARE * full, _TOKENS)).sum())
        yield order[start : start + size]
        start += size


# -- token states of one layer, computed once and taken up by any number of embeddings ------------


@dataclass(frozen=True, eq=False)
class TokenStates:
    """The states of all tokens of some texts after one layer.

    Attributes:
        layer: 0 to L - 1; what lies below need not be computed again.
        tokens: The tokenised texts.
        hidden: States of all tokens, one text after the other, (n_tokens, width), on the CPU.
        encoder_fingerprint: Of the encoder.
        max_length: Most tokens a text keeps.
        text_fingerprint: Hash of the texts.
    """

    layer: int
    tokens: Tokens
    hidden: Tensor
    encoder_fingerprint: str
    max_length: int
    text_fingerprint: str

    @property
    def n_bytes(self) -> int:
        """Memory that the states take."""
        return self.hidden.numel() * self.hidden.element_size()

    def resume(self, rows: IntArray, *, device: str) -> Resume:
        """Return the states of some rows, padded with zeros to the longest of them."""
        lengths = self.tokens.lengths[rows]
        starts = np.concatenate([[0], np.cumsum(self.tokens.lengths)])[rows]
        places = np.arange(int(lengths.max()))
        held = torch.from_numpy(places < lengths[:, None])
        index = torch.from_numpy(np.where(held, starts[:, None] + places, 0))
        hidden = self.hidden[index].masked_fill_(~held.unsqueeze(2), 0)
        return Resume(self.layer, hidden.to(device))


def cache_states(
    encoder: Encoder,
    split: FisherTexts,
    *,
    layer: int,
    max_length: int | None = None,
    token_budget: int | None = None,
    progress: Progress = no_progress,
) -> TokenStates:
    """Compute the token states after one layer, for embeddings of the layers above it.

    Args:
        encoder: The encoder.
        split: The texts, or pairs of texts.
        layer: 0 to L - 1, or negative from the end.
        max_length: Most tokens a text keeps; default `Encoder.text_length`.
        token_budget: Most tokens of a batch, padding included.
        progress: Called as ``progress("cache", done, total)`` with counts of texts.

    Raises:
        UsageError: An argument is out of range.
    """
    layer = resolve_layer(layer, n_layers=encoder.n_layers)
    if layer == encoder.n_layers:
        raise UsageError(
            f"cache_layer is out of range: expected 0 to {layer - 1}, got {layer}. No layer lies "
            "above the last."
        )
    length = encoder.text_length(max_length)
    flat: Tensor | None = None
    done = 0
    with torch.inference_mode(False), torch.no_grad():
        tokens = tokenise(encoder, split.texts, split.pairs, max_length=length)
        starts = np.concatenate([[0], np.cumsum(tokens.lengths)])
        for rows in batches(tokens, token_budget=choose_budget(encoder, token_budget)):
            inputs, _ = model_inputs(encoder, tokens, rows)
            hidden = run_between(encoder, inputs, wanted=frozenset({layer}))[layer].cpu()
            if flat is None:
                flat = hidden.new_empty((int(starts[-1]), hidden.shape[2]))
            for place, row in enumerate(rows):
                flat[starts[row] : starts[row + 1]] = hidden[place, : tokens.lengths[row]]
            done += len(rows)
            progress("cache", done, len(tokens.lengths))
    if flat is None:
        flat = torch.zeros((0, encoder.width))
    return TokenStates(layer, tokens, flat, encoder.fingerprint, length, split.text_fingerprint)
