"""Token states to one vector a text. Padding never counts; special tokens do."""

from __future__ import annotations

import torch
from torch import Tensor

from charkit.config import Pooling


def pool(hidden: Tensor, mask: Tensor | None, pooling: Pooling) -> Tensor:
    """Pool token states, summing in float32 at least.

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
