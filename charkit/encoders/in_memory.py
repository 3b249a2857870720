"""Encode the texts of a split and keep the states in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from charkit.config import Pooling, Progress, no_progress, people_name
from charkit.encoders.declared import note_declared
from charkit.encoders.encoder import Encoder
from charkit.encoders.run import BatchRunner, choose_token_budget
from charkit.encoders.states import LayerStates, MemoryShard, check_pooling
from charkit.encoders.tokens import tokenise


class Texts(Protocol):
    """What is encoded: a `charkit.tasks.Split`, or anything that has texts and pairs."""

    @property
    def texts(self) -> Sequence[str]:
        """The texts, or the first of each pair."""

    @property
    def pairs(self) -> Sequence[str] | None:
        """The second of each pair, or None."""


def encode(
    encoder: Encoder,
    split: Texts,
    *,
    pooling: Pooling = "mean",
    max_length: int | None = None,
    token_budget: int | None = None,
    progress: Progress = no_progress,
) -> LayerStates:
    """Return the pooled states of all layers of all texts, from one forward pass each.

    A text's states depend on neither its neighbours nor the order, to rounding.

    Args:
        encoder: The encoder.
        split: The texts, or pairs of texts.
        pooling: How tokens become one vector; special tokens count, padding never does.
        max_length: Most tokens a text keeps; default the smaller of 256 and the encoder's
            limit. What is cut is counted in the result.
        token_budget: Most tokens of a batch, padding included; halved when memory runs out.
            Default by device.
        progress: Called as ``progress("encode", done, total)`` with counts of texts.

    Raises:
        UsageError: An argument is out of range.
        MissingError: Not even one text fits in memory.

    """
    check_pooling(pooling)
    note_declared(encoder.folder, name=people_name(encoder.name), pooling=pooling)
    length = encoder.text_length(max_length)
    budget = choose_token_budget(encoder, token_budget)
    runner = BatchRunner(encoder, pooling=pooling, token_budget=budget)
    total = len(split.texts)
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        progress("encode", done, total)

    tokens = tokenise(encoder, split.texts, split.pairs, max_length=length)
    states = runner.run(tokens, advance=advance)
    return LayerStates(
        shards=(MemoryShard(states, tokens.lengths, tokens.full_lengths),),
        n_layers=encoder.n_layers,
        width=encoder.width,
        encoder=encoder.name,
        encoder_fingerprint=encoder.fingerprint,
        pooling=pooling,
        max_length=length,
        dtype=encoder.dtype,
    )
