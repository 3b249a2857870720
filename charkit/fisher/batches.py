"""Tokens to batches of similar length, and to the keyword arguments of a model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charkit.encoders import Encoder
from charkit.encoders.tokens import Tokens, next_batch
from charkit.errors import UsageError

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
    if token_budget is None:
        return _BUDGETS[encoder.device]
    if token_budget < 1:
        raise UsageError(f"token_budget is out of range: expected at least 1, got {token_budget}.")
    return token_budget


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
