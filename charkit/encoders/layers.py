"""One forward pass, every layer's token states handed over as they arise, and their pooling."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from charkit.config import Pooling
from charkit.encoders.encoder import Encoder

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
