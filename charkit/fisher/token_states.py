"""Token states of one layer, computed once and taken up by any number of embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from charkit.config import Progress, no_progress
from charkit.encoders import Encoder
from charkit.encoders.states import resolve_layer
from charkit.encoders.tokens import Tokens, tokenise
from charkit.errors import UsageError
from charkit.fisher.batches import IntArray, batches, choose_budget, model_inputs
from charkit.fisher.forward import Resume, run_between
from charkit.fisher.texts import FisherTexts


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
