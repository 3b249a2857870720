"""Errors that charkit did not raise on purpose: one sentence each, and an honest exit code."""

from __future__ import annotations

import os
import sys

from charkit.config import bounded, printable
from charkit.durable import is_full
from charkit.errors import MissingError

UNEXPECTED = 70
"""Exit code of an error that nobody foresaw (EX_SOFTWARE of sysexits.h)."""

DEBUG_VARIABLE = "CHARKIT_DEBUG"
_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")

_doing: list[str] = []


def note_stage(stage: str) -> None:
    """Remember what is being done, for the message of an error that nobody foresaw."""
    _doing[:] = [stage]


def wants_traceback() -> bool:
    """Return whether tracebacks are asked for: ``--debug`` anywhere, or ``CHARKIT_DEBUG``."""
    chosen = os.environ.get(DEBUG_VARIABLE, "").strip().lower()
    return "--debug" in sys.argv or chosen not in {"", "0", "false", "no", "off"}


def explained(error: BaseException) -> tuple[str, int]:
    """Return a sentence for people and the exit code of an error that charkit did not raise.

    What the machine lacks (memory, space, a file, a package) ends with 4, all else with 70.
    """
    said = printable(" ".join(str(error).split()) or "no message", longest=500)
    hint = "--debug shows where."
    if isinstance(error, MemoryError) or any(word in said.lower() for word in _MEMORY):
        text = (
            f"memory does not suffice: expected free memory{_while()}, got {said!r}. Use fewer or "
            f"shorter texts, fewer classes or layers, or a machine with more memory; {hint}"
        )
    elif is_full(error):
        text = (
            f"no space to write: expected free space on the disk{_while()}, got {said!r}. Free "
            "some space ('charkit cache prune' removes old results) and run the same again."
        )
    elif isinstance(error, OSError):
        named = error.filename if error.filename is not None else "a file"
        reason = error.strerror or said
        text = (
            f"a file cannot be used: expected access to {printable(str(named), longest=300)}"
            f"{_while()}, got {reason!r}. Check that it exists and may be read and written; {hint}"
        )
    elif isinstance(error, ImportError):
        text = (
            f"a package cannot be loaded: expected it{_while()}, got {said!r}. 'charkit doctor' "
            f"shows what is installed; {hint}"
        )
    else:
        return bounded(
            f"unexpected {type(error).__name__}{_while()}: {said}. What was finished is kept. "
            f"{hint} If it shows no fault of yours, please report it with that."
        ), UNEXPECTED
    return bounded(text), MissingError.exit_code


def _while() -> str:
    return f" (while at: {printable(_doing[0])})" if _doing else ""
