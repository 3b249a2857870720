"""How long each stage of an estimate takes, roughly, for one bar over all of them."""

from __future__ import annotations

from collections.abc import Sequence

from charkit.answers.accuracy.advice import CHOOSING
from charkit.answers.pilot.limits import GATHERING, LOOKING, MOST_FOR_CONTROLS
from charkit.answers.pilot.pilot import Pilot
from charkit.encoders.encoder import Encoder
from charkit.tasks.task import Split

# Seconds on one core of 2023, measured with the bundled encoder (6 layers of width 384); a bar
# needs their proportions only.
_LETTERS_OF_TOKEN = 4.0
_TOKEN_S = 2.5e-4  # 1e7 parameters
_HEAD_S = 4e-8  # a row, class, direction and layer
_START_S = {"read": 3.0, "random": 0.7, "signal": 0.3, "choose": 0.7, "last": 0.5}


def costs_of(pilot: Pilot, encoder: Encoder, max_length: int | None = None) -> dict[str, float]:
    """Return the stages of an estimate in the order of work, with seconds that they may take.

    Args:
        pilot: The sample.
        encoder: The encoder.
        max_length: Longest text in tokens. Default: the encoder's own choice.
    """
    length = encoder.text_length(max_length)
    size = 12 * encoder.n_layers * encoder.shape.width**2 / 1e7

    def seconds(split: Split | None, *, most: int | None = None) -> float:
        return _TOKEN_S * size * _tokens(split, length, most)

    labelled, other = pilot.labelled, pilot.unlabelled
    heads = _HEAD_S * pilot.n_used * max(pilot.n_classes, 2) * min(pilot.n_used, encoder.width)
    return {
        "encode labelled texts": seconds(labelled) + _START_S["read"],
        "encode unlabelled texts": seconds(other),
        GATHERING: heads * (encoder.n_layers + 1) + _START_S["last"],
        "encode some texts, random encoder": seconds(labelled, most=MOST_FOR_CONTROLS)
        + _START_S["random"],
        LOOKING: _START_S["signal"],
        "encode texts to choose from": 0.0,
        CHOOSING: _START_S["choose"],
        "answer": _START_S["last"],
    }


def _tokens(split: Split | None, longest: int, most: int | None) -> float:
    if split is None:
        return 0.0
    texts: Sequence[str] = split.texts[:most]
    pairs: Sequence[str] = () if split.pairs is None else split.pairs[:most]
    letters = [len(text) for text in texts]
    for place, text in enumerate(pairs):
        letters[place] += len(text)
    return sum(min(count / _LETTERS_OF_TOKEN + 2, longest) for count in letters)
