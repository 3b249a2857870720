"""All experiments, in the order of the story."""

from __future__ import annotations

from importlib import import_module

from charkit.errors import UnknownNameError
from glue_pilot.experiments.base import Experiment

NAMES = (
    "layers",
    "classifier",
    "sensitivity",
    "clusters",
    "distinction",
    "norm",
    "distance",
    "experts",
    "intermediate",
    "failures",
)
"""Each is a module of this package with an ``EXPERIMENT``."""


def load_experiment(name: str) -> Experiment:
    """Return an experiment by its name.

    Raises:
        UnknownNameError: There is none of this name.
    """
    if name not in NAMES:
        raise UnknownNameError("experiment", name, NAMES)
    found: Experiment = import_module(f"glue_pilot.experiments.{name}").EXPERIMENT
    return found
