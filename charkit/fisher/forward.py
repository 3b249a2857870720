"""Run a part of an unmodified encoder: from a layer whose states are known, up to another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from charkit.encoders import Encoder


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


_TUPLES = {"mpnet": 1, "deberta": 2, "deberta-v2": 2}
"""Families whose layers return a tuple, and how long it is; the others return the states."""


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
