"""Generated texts with several attributes, each an answer to another question about them."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from charkit.errors import UsageError
from charkit.tasks import Split, Task
from charkit.tasks.grammar.acceptability import ACCEPTABILITY
from charkit.tasks.grammar.core import Dice, Grammar
from charkit.tasks.grammar.cues import SENTIMENT, TOPIC

IntArray = NDArray[np.int64]

PARTS: tuple[Grammar, ...] = (TOPIC, SENTIMENT, ACCEPTABILITY)
"""Grammars of which every text has a sentence."""

ATTRIBUTES = ("topic", "sentiment", "acceptability", "length")
"""All with two classes: three topics against three, and short against long for length."""

_FILLERS = (
    "That is all there is to say about it .",
    "There was nothing else to report at the time .",
    "More will be written about this at another place .",
    "It happened as it usually does .",
)


def attributed_texts(
    n: int, *, seed: int, difficulty: float = 0.3
) -> tuple[Task, dict[str, IntArray]]:
    """Return texts and one labelling an attribute; attributes are independent of each other.

    A text has a sentence on a topic, one with a sentiment and one that is good English or not, in
    random order; long texts have two more sentences that tell nothing.

    Args:
        n: Texts.
        seed: Of all that is drawn.
        difficulty: Probability that a piece of evidence is weak.

    Returns:
        The task of the first attribute, and attribute -> class codes, (n,).

    Raises:
        UsageError: There are too few texts.
    """
    if n < 8:
        raise UsageError(f"too few texts to label: expected at least 8, got {n}.")
    dice = Dice(seed, zlib.crc32(b"attributes"))
    rows: dict[str, list[int]] = {}
    while len(rows) < n:
        drawn = [grammar.sample(dice, difficulty) for grammar in PARTS]
        long = dice.chance(0.5)
        sentences = dice.several([s.text for s in drawn], len(drawn))
        if long:
            sentences += dice.several(_FILLERS, 2)
        rows.setdefault(" ".join(sentences), [*(s.label for s in drawn), int(long)])
    codes = np.array(list(rows.values()), np.int64)
    labels = dict(zip(ATTRIBUTES, codes.T, strict=True))
    labels["topic"] = labels["topic"] % 2
    task = Task(
        name=f"generated_attributes-seed{seed}",
        kind="classification",
        train=Split(tuple(rows), None, labels[ATTRIBUTES[0]]),
        class_names=("first", "second"),
        source=f"generated attributes, seed {seed}",
    )
    return task, labels


def labelled_by(task: Task, rows: slice, codes: IntArray) -> Task:
    """Return some texts of a task under another labelling with two classes."""
    kept = np.arange(len(task.train))[rows]
    part = task.train.take(kept)
    return replace(task, train=Split(part.texts, part.pairs, codes[kept]))
