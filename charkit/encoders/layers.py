"""One forward pass, every layer's token states handed over as they arise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

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
