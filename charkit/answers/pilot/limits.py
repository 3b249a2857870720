"""What the stages of a pilot are called, and how much of it each reads; nothing is imported."""

from __future__ import annotations

GATHERING = "gather evidence"
LOOKING = "look for a signal"

MOST_FOR_CONTROLS = 512
"""Labelled texts that the random encoder and the signal test read."""
