"""How an encoder's tokenizer takes texts: a cheap sign of another language or script."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from charkit.encoders.encoder import Encoder
from charkit.encoders.tokens import tokenise
from charkit.tasks.task import Split

LOOKED_AT = 256
"""Texts of a sample that are looked at."""

MOST_PIECES = 0.42
"""English texts of 41 tasks, tweets included, have at most 0.39 pieces a character under the
bundled encoder, and other alphabets at most 0.35 under an encoder that knows them (XLM-R's
tokenizer: Russian 0.31, Arabic 0.32, Hindi 0.25); one that does not takes 0.6 to 1."""

MOST_PIECES_OF = {"han": 1.05, "kana": 0.8, "hangul": 0.95}
"""Where a character holds more than a letter, pieces are shorter: Chinese has 0.70 to 0.79 under
XLM-R's tokenizer and 1 under a Chinese one, Japanese 0.56, Korean 0.79. Under the bundled encoder
Korean has 1.5, kana 1, and of Chinese and Japanese 22 to 65 % are unknown."""

_SCRIPTS = (
    ("han", 0x3400, 0x9FFF),
    ("han", 0xF900, 0xFAFF),
    ("han", 0x20000, 0x3FFFF),
    ("kana", 0x3040, 0x30FF),
    ("kana", 0x31F0, 0x31FF),
    ("kana", 0xFF66, 0xFF9F),
    ("hangul", 0x1100, 0x11FF),
    ("hangul", 0x3130, 0x318F),
    ("hangul", 0xAC00, 0xD7A3),
)

MOST_UNKNOWN = 0.05
"""The same texts have at most 0.8 % unknown pieces."""


@dataclass(frozen=True)
class TextFigures:
    """What the tokenizer makes of texts.

    Attributes:
        pieces: Tokens a character, white space not counted.
        unknown: Share of the tokens that stand for something that the tokenizer does not know.
        most_pieces: Most pieces a character that are normal for the texts' scripts.
        tokens: Mean tokens a text, before any is cut; NaN where they were not counted.
    """

    pieces: float
    unknown: float
    most_pieces: float = MOST_PIECES
    tokens: float = math.nan

    @property
    def foreign(self) -> bool:
        """Whether the encoder hardly knows the words."""
        return self.pieces > self.most_pieces or self.unknown > MOST_UNKNOWN


def text_figures(encoder: Encoder, split: Split) -> TextFigures:
    """Return the figures of the first texts of a sample.

    Args:
        encoder: Its tokenizer is used.
        split: At least one text.
    """
    some, encoder = split.take(range(min(len(split), LOOKED_AT))), replace(encoder, apart=False)
    length = encoder.text_length(None)
    tokens = tokenise(encoder, some.texts, some.pairs, max_length=length)
    unknown = encoder.tokenizer.unk_token_id
    special = set(encoder.tokenizer.all_special_ids) - {unknown}
    plain = ~np.isin(tokens.ids, list(special))
    cut = int(tokens.lengths.sum()) / max(int(tokens.full_lengths.sum()), 1)
    texts = (*some.texts, *(some.pairs or ()))
    characters = Counter(c for text in texts for c in text if not c.isspace())
    n_characters = characters.total()
    n_unknown = 0 if unknown is None else int((tokens.ids == unknown).sum())
    n_pieces = max(int(plain.sum()), 1)
    pieces = n_pieces / cut / max(n_characters, 1)
    mean = float(tokens.full_lengths.mean())
    return TextFigures(pieces, n_unknown / n_pieces, most_pieces(characters), mean)


def most_pieces(characters: Counter[str]) -> float:
    """Return how many pieces a character are normal at most, by the scripts of the characters.

    Args:
        characters: How often each character stands in the texts, white space left out.

    >>> most_pieces(Counter("film")), most_pieces(Counter("\u6620\u753b"))
    (0.42, 1.05)
    """
    total = sum(
        n * MOST_PIECES_OF.get(_script(character), MOST_PIECES)
        for character, n in characters.items()
    )
    return total / characters.total() if characters else MOST_PIECES


def _script(character: str) -> str:
    code = ord(character)
    return next((name for name, low, high in _SCRIPTS if low <= code <= high), "")
