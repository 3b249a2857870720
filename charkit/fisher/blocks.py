"""In which order texts are visited, and how many are tokenised at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charkit.encoders import Encoder
from charkit.encoders.tokens import Tokens, tokenise
from charkit.fisher.token_states import TokenStates

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
