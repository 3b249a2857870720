"""What the stages of a pilot are called, and how much of it each reads; nothing is imported."""

from __future__ import annotations

GATHERING = "gather evidence"
LOOKING = "look for a signal"

MOST_FOR_CONTROLS = 512
"""Labelled texts that the random encoder and the signal test read."""

# A bound on time: a text costs about three passes through the encoder.
MOST_FISHER_TEXTS = 128
FISHER_MAX_LENGTH = 128
"""As in the shipped library: embeddings of longer texts could not be compared with it."""
