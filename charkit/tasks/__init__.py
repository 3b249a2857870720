"""Tasks: labelled texts, where they come from, and subsets of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charkit.tasks.card import lazy_task
    from charkit.tasks.generated import generated_names, generated_task
    from charkit.tasks.hub import GLUE_NAMES
    from charkit.tasks.load import load_task
    from charkit.tasks.nested import nested_order
    from charkit.tasks.subsets import Subset, make_subset
    from charkit.tasks.task import Split, Task

__all__ = [
    "GLUE_NAMES",
    "Split",
    "Subset",
    "Task",
    "generated_names",
    "generated_task",
    "lazy_task",
    "load_task",
    "make_subset",
    "nested_order",
]

_HOME = {
    "GLUE_NAMES": "hub",
    "Split": "task",
    "Subset": "subsets",
    "Task": "task",
    "generated_names": "generated",
    "generated_task": "generated",
    "lazy_task": "card",
    "load_task": "load",
    "make_subset": "subsets",
    "nested_order": "nested",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
