"""Texts to token ids: native pairs, truncation counted, batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from charkit.encoders.encoder import Encoder
from charkit.encoders.foreign import foreign
from charkit.errors import DataError, UsageError

IntArray = NDArray[np.int64]

WHOLE_CHARACTERS = 32_768
"""Longer texts are not read to their end: a field of 20 MB took 131 s and 5 GB."""

# Tokens between what is kept and the place where a text was cut for the tokenizer.
_MARGIN = 64

# Letters that go to the tokenizer at a time: 250 MB of its memory, see `_groups`.
_GROUP_CHARACTERS = 1_000_000
_REPORT = "Leave the row out."


class Texts(Protocol):
    """What is encoded: a `charkit.tasks.Split`, or anything that has texts and pairs."""

    @property
    def texts(self) -> Sequence[str]:
        """The texts, or the first of each pair."""

    @property
    def pairs(self) -> Sequence[str] | None:
        """The second of each pair, or None."""


class FingerprintedTexts(Texts, Protocol):
    """What is encoded into a store."""

    @property
    def text_fingerprint(self) -> str:
        """Hash of texts and pairs."""


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
    encoder: Encoder,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    *,
    max_length: int,
    first: int = 0,
) -> Tokens:
    """Turn texts, or pairs of texts, into token ids with the encoder's own special tokens.

    A pair that is too long loses tokens from the longer of the two. Of texts beyond
    `WHOLE_CHARACTERS` only the part that can be kept is read, and their full length is estimated
    from its share; the ids are those of the whole text.

    Args:
        encoder: Its tokenizer is used.
        texts: The texts, or the first of each pair.
        pairs: The second of each pair; None for single texts.
        max_length: Most tokens a text keeps, special tokens included.
        first: Number of the first text, for messages.

    Raises:
        DataError: A text gives no token at all.
        UsageError: The encoder takes the texts of a pair apart.
    """
    tokenizer = encoder.tokenizer
    if encoder.apart and pairs is not None:
        raise UsageError(
            f"{encoder.name} encodes the texts of a pair apart: expected an encoder that reads "
            "them as one text, for Fisher embeddings and fine-tuning. Leave apart: out."
        )
    if not len(texts):
        none = np.zeros(0, np.int64)
        return Tokens(none.astype(np.int32), None, none, none, pad_id=0)
    ids: list[NDArray[np.int32]] = []
    segments: list[NDArray[np.int8]] = []
    full: list[int] = []
    with foreign(
        f"a text for {encoder.name}", expected="text that its tokenizer takes", advice=_REPORT
    ):
        for rows in _groups(texts, pairs):
            group = _Group(encoder, texts, pairs, rows, max_length)
            ids += group.ids
            segments += group.segments
            full += group.full_lengths
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    _require_tokens(encoder, texts, lengths, first)
    return Tokens(
        ids=np.concatenate(ids),
        segments=np.concatenate(segments) if segments else None,
        lengths=lengths,
        full_lengths=np.asarray(full, np.int64),
        pad_id=int(tokenizer.pad_token_id or 0),
    )


def _groups(texts: Sequence[str], pairs: Sequence[str] | None) -> Iterator[range]:
    """Yield runs of rows that a tokenizer takes at once: it needs 250 bytes a character."""
    start = size = 0
    for row in range(len(texts)):
        size += len(texts[row]) + (0 if pairs is None else len(pairs[row]))
        if size >= _GROUP_CHARACTERS:
            yield range(start, row + 1)
            start, size = row + 1, 0
    if start < len(texts):
        yield range(start, len(texts))


class _Group:
    """Token ids of some rows.

    Attributes:
        ids: Of each row, cut.
        segments: Of each row; empty without segments.
        full_lengths: Tokens of each row uncut.
    """

    def __init__(
        self,
        encoder: Encoder,
        texts: Sequence[str],
        pairs: Sequence[str] | None,
        rows: range,
        max_length: int,
    ) -> None:
        tokenizer = encoder.tokenizer
        heads = [_Head(encoder, texts[r], max_length) for r in rows]
        tails = None if pairs is None else [_Head(encoder, pairs[r], max_length) for r in rows]
        for head, tail in zip(heads, tails or (), strict=False):
            _agree(tokenizer, head, tail, max_length)
        firsts = [h.text for h in heads]
        seconds = None if tails is None else [t.text for t in tails]
        encoded = _call(tokenizer, firsts, seconds, None)
        ids: list[list[int]] = encoded["input_ids"]
        segments = encoded.get("token_type_ids") if encoder.takes_segments else None
        self.full_lengths = [
            len(ids[i]) + heads[i].n_more + (0 if tails is None else tails[i].n_more)
            for i in range(len(ids))
        ]
        long = [i for i, row in enumerate(ids) if len(row) > max_length]
        if long:
            cut = _call(
                tokenizer,
                [firsts[i] for i in long],
                None if seconds is None else [seconds[i] for i in long],
                max_length,
            )
            for place, i in enumerate(long):
                ids[i] = cut["input_ids"][place]
                if segments is not None:
                    segments[i] = cut["token_type_ids"][place]
        self.ids = [np.asarray(row, np.int32) for row in ids]
        self.segments = [np.asarray(row, np.int8) for row in segments or ()]


class _Head:
    """The part of a text that the tokenizer is shown: all of it, or what can be kept.

    Attributes:
        text: The part.
        n_more: Tokens of the rest, estimated from the part's.
    """

    def __init__(self, encoder: Encoder, text: str, max_length: int) -> None:
        self.whole, self.text, self.n_more = text, text, 0
        size = max(WHOLE_CHARACTERS, 16 * max_length)
        if len(text) <= size or encoder.tokenizer.truncation_side != "right":
            return
        while 2 * size < len(text):
            part, longer = (text[: _boundary(text, s)] for s in (size, 2 * size))
            ids, more = (_plain(encoder.tokenizer, t) for t in (part, longer))
            # where the longer part begins with the same tokens, so does the whole text
            if len(ids) > max_length + _MARGIN and ids[:max_length] == more[:max_length]:
                self.text = part
                self.n_more = round(len(more) * len(text) / len(longer)) - len(ids)
                return
            size *= 4


def _agree(tokenizer: Any, head: _Head, tail: _Head, max_length: int) -> None:
    """Show both texts of a pair whole where the cut ones do not settle which is longer.

    The longer one keeps the odd token when an odd number is shared out.
    """
    if head.text is head.whole and tail.text is tail.whole:
        return
    room = max_length - tokenizer.num_special_tokens_to_add(pair=True)
    if room % 2 == 0:
        return
    sizes = [(len(_plain(tokenizer, x.text)), x.text is x.whole) for x in (head, tail)]
    (n_head, head_whole), (n_tail, tail_whole) = sizes
    settled = (head_whole and n_head < n_tail) or (tail_whole and n_tail < n_head)
    if not settled:
        for x in (head, tail):
            x.text, x.n_more = x.whole, 0


def _plain(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def _boundary(text: str, size: int) -> int:
    """Return the last white space before a place in a text, or the place itself."""
    found = max(text.rfind(c, size // 2, size) for c in " \n\t")
    return found if found > 0 else size


def _require_tokens(encoder: Encoder, texts: Sequence[str], lengths: IntArray, first: int) -> None:
    empty = np.flatnonzero(lengths == 0)
    if len(empty):
        row = int(empty[0])
        more = f", and {len(empty) - 1} more" if len(empty) > 1 else ""
        raise DataError(
            f"text {first + row + 1:,} gives {encoder.name} no token: expected at least one, got "
            f"none from {texts[row][:40]!a}{more}. It may hold invisible characters only: "
            "give it words, or leave the row out."
        )


def next_batch(lengths: IntArray, *, token_budget: int) -> int:
    """Return how many of the leading texts fit in a batch.

    Args:
        lengths: Tokens of the texts still to do, longest first.
        token_budget: Most tokens of a batch, padding included.

    Returns:
        At least 1.
    """
    return max(1, min(len(lengths), token_budget // int(lengths[0])))
