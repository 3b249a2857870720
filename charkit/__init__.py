"""charkit: how many labels, what accuracy, which layer of which encoder.

The public names are imported when first used, so that ``import charkit`` loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "CharkitError": "charkit.errors",
    "EncodeOptions": "charkit.config",
    "Store": "charkit.store",
    "Task": "charkit.tasks",
    "Split": "charkit.tasks",
    "load_task": "charkit.tasks",
    "generated_task": "charkit.tasks",
    "Encoder": "charkit.encoders.encoder",
    "LayerStates": "charkit.encoders.states",
    "load_encoder": "charkit.encoders.load",
    "embed": "charkit.answers.embedding",
    "estimate": "charkit.answers.estimate",
    "evaluate": "charkit.answers.evaluate",
    "compare_tasks": "charkit.answers.distances",
    "nearest_tasks": "charkit.answers.nearest",
    "encode": "charkit.api",
    "fetch": "charkit.api",
    "sweep": "charkit.heads.sweep",
    "layers": "charkit.answers.layers",
    "next_labels": "charkit.answers.next_labels",
    "rank_encoders": "charkit.answers.encoders",
    "write_report": "charkit.report.pages.run",
    "doctor": "charkit.machine",
    "verify": "charkit.api",
}

__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:
    from charkit.answers.distances import compare_tasks as compare_tasks
    from charkit.answers.embedding import embed as embed
    from charkit.answers.encoders import rank_encoders as rank_encoders
    from charkit.answers.estimate import estimate as estimate
    from charkit.answers.evaluate import evaluate as evaluate
    from charkit.answers.layers import layers as layers
    from charkit.answers.nearest import nearest_tasks as nearest_tasks
    from charkit.answers.next_labels import next_labels as next_labels
    from charkit.api import encode as encode
    from charkit.api import fetch as fetch
    from charkit.api import verify as verify
    from charkit.config import EncodeOptions as EncodeOptions
    from charkit.encoders.encoder import Encoder as Encoder
    from charkit.encoders.load import load_encoder as load_encoder
    from charkit.encoders.states import LayerStates as LayerStates
    from charkit.errors import CharkitError as CharkitError
    from charkit.heads.sweep import sweep as sweep
    from charkit.machine import doctor as doctor
    from charkit.report.pages.run import write_report as write_report
    from charkit.store import Store as Store
    from charkit.tasks import Split as Split
    from charkit.tasks import Task as Task
    from charkit.tasks import generated_task as generated_task
    from charkit.tasks import load_task as load_task


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'charkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
