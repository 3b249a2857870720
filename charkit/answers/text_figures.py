"""How an encoder's tokenizer takes texts: a cheap sign of another language or script."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from charkit.encoders.encoder import Encoder
from charkit.encoders.tokens import tokenise
from charkit.tasks.task import Split

LOOKED_AT = 256
"""Texts of a sample that are looked at."""

MOST_PIECES = 0.42
"""English texts of 41 tasks, tweets included, have at most 0.39 pieces a character under the
bundled encoder; other scripts have 0.5 to 1."""

MOST_UNKNOWN = 0.05
"""The same texts have at most 0.8 % unknown pieces."""


@dataclass(frozen=True)
class TextFigures:
    """What the tokenizer makes of texts.

    Attributes:
        pieces: Tokens a character, white space not counted.
        unknown: Share of the tokens that stand for something that the tokenizer does not know.
    """

    pieces: float
    unknown: float

    @property
    def foreign(self) -> bool:
        """Whether the encoder hardly knows the words."""
        return self.pieces > MOST_PIECES or self.unknown > MOST_UNKNOWN


def text_figures(encoder: Encoder, split: Split) -> TextFigures:
    """Return the figures of the first texts of a sample.

    Args:
        encoder: Its tokenizer is used.
        split: At least one text.
    """
    some = split.take(range(min(len(split), LOOKED_AT)))
    length = encoder.text_length(None)
    tokens = tokenise(encoder, some.texts, some.pairs, max_length=length)
    unknown = encoder.tokenizer.unk_token_id
    special = set(encoder.tokenizer.all_special_ids) - {unknown}
    plain = ~np.isin(tokens.ids, list(special))
    cut = int(tokens.lengths.sum()) / max(int(tokens.full_lengths.sum()), 1)
    texts = (*some.texts, *(some.pairs or ()))
    n_characters = sum(not c.isspace() for text in texts for c in text)
    n_unknown = 0 if unknown is None else int((tokens.ids == unknown).sum())
    n_pieces = max(int(plain.sum()), 1)
    return TextFigures(n_pieces / cut / max(n_characters, 1), n_unknown / n_pieces)
