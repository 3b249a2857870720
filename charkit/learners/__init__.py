"""Learners: the ways to train a classifier on labelled texts, from a linear head to all weights."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charkit.learners.outcomes import LEARNERS, compare_learners
    from charkit.learners.tuning import Recipe, Tuned, default_recipe, fine_tune

__all__ = ["LEARNERS", "Recipe", "Tuned", "compare_learners", "default_recipe", "fine_tune"]

_HOME = {
    "LEARNERS": "outcomes",
    "Recipe": "tuning",
    "Tuned": "tuning",
    "compare_learners": "outcomes",
    "default_recipe": "tuning",
    "fine_tune": "tuning",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
