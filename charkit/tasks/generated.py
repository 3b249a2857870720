"""Generated tasks with a known ceiling."""

from __future__ import annotations

from charkit.errors import UnknownNameError
from charkit.tasks.task import Task


def generated_names() -> tuple[str, ...]:
    """Return the names of the generated tasks."""
    return ("sentiment", "topic")


def load_generated(source: str) -> Task:
    """Load ``generated/NAME?knob=value``."""
    raise UnknownNameError("generated task", source, generated_names())


def generated_task(name: str) -> Task:
    """Return a generated task."""
    return load_generated(name)
