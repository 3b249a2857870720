"""Texts to token ids: native pairs, truncation counted, batches of similar length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charkit.encoders.encoder import Encoder

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Tokens:
    """Token ids of some texts, one after the other in flat arrays.

    Attributes:
        ids: Token ids of all texts, shape (total,).
        segments: 0 in the first text of a pair and 1 in the second, shape (total,); None for
            single texts and for encoders without segments.
        lengths: Tokens of each text as encoded, shape (n_samples,).
        full_lengths: Tokens it would have had uncut, shape (n_samples,).
        pad_id: The id that fills up a batch.

    """

    ids: NDArray[np.int32]
    segments: NDArray[np.int8] | None
    lengths: IntArray
    full_lengths: IntArray
    pad_id: int

    def batch(self, rows: IntArray) -> tuple[IntArray, IntArray | None, NDArray[np.bool_] | None]:
        """Return ids, segments and mask of some rows, padded to the longest of them.

        Returns:
            Three arrays of shape (len(rows), longest). Segments are None where there are
            none, the mask (True at tokens) is None where nothing is padded.

        """
        starts = np.concatenate([[0], np.cumsum(self.lengths)])[rows]
        lengths = self.lengths[rows]
        longest = int(lengths.max())
        offsets = np.arange(longest)
        mask = offsets < lengths[:, None]
        places = np.where(mask, starts[:, None] + offsets, 0)
        ids = np.where(mask, self.ids[places], self.pad_id).astype(np.int64)
        segments = None
        if self.segments is not None:
            segments = np.where(mask, self.segments[places], 0).astype(np.int64)
        return ids, segments, None if lengths.min() == longest else mask


def _call(tokenizer: Any, texts: list[str], pairs: list[str] | None, max_length: int | None) -> Any:
    return tokenizer(
        texts,
        pairs,
        truncation=False if max_length is None else "longest_first",
        max_length=max_length,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=pairs is not None,
        verbose=False,
    )


def tokenise(
    encoder: Encoder, texts: Sequence[str], pairs: Sequence[str] | None, *, max_length: int
) -> Tokens:
    """Turn texts, or pairs of texts, into token ids with the encoder's own special tokens.

    A pair that is too long loses tokens from the longer of the two.

    Args:
        encoder: Its tokenizer is used.
        texts: The texts, or the first of each pair.
        pairs: The second of each pair; None for single texts.
        max_length: Most tokens a text keeps, special tokens included.

    """
    tokenizer = encoder.tokenizer
    if not len(texts):
        none = np.zeros(0, np.int64)
        return Tokens(none.astype(np.int32), None, none, none, pad_id=0)
    firsts = list(texts)
    seconds = None if pairs is None else list(pairs)
    encoded = _call(tokenizer, firsts, seconds, None)
    ids: list[list[int]] = encoded["input_ids"]
    segments = encoded.get("token_type_ids") if encoder.takes_segments else None
    full_lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    long = np.flatnonzero(full_lengths > max_length)
    if len(long):
        cut = _call(
            tokenizer,
            [firsts[i] for i in long],
            None if seconds is None else [seconds[i] for i in long],
            max_length,
        )
        for place, row in enumerate(long):
            ids[row] = cut["input_ids"][place]
            if segments is not None:
                segments[row] = cut["token_type_ids"][place]
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    return Tokens(
        ids=_flat(ids, lengths, np.int32),
        segments=None if segments is None else _flat(segments, lengths, np.int8),
        lengths=lengths,
        full_lengths=full_lengths,
        pad_id=int(tokenizer.pad_token_id or 0),
    )


def _flat(rows: list[list[int]], lengths: IntArray, dtype: Any) -> Any:
    return np.fromiter((t for row in rows for t in row), dtype, int(lengths.sum()))


def next_batch(lengths: IntArray, *, token_budget: int) -> int:
    """Return how many of the leading texts fit in a batch.

    Args:
        lengths: Tokens of the texts still to do, longest first.
        token_budget: Most tokens of a batch, padding included.

    Returns:
        At least 1.

    """
    return max(1, min(len(lengths), token_budget // int(lengths[0])))
