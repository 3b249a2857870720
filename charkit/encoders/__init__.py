"""Encoders: texts in, pooled states of every layer out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charkit.encoders.compare import StateDifference, compare_states
    from charkit.encoders.encoder import Encoder
    from charkit.encoders.fetch import fetch_encoder
    from charkit.encoders.in_memory import encode
    from charkit.encoders.known import KNOWN_ENCODERS
    from charkit.encoders.load import load_encoder
    from charkit.encoders.states import LayerStates
    from charkit.encoders.stream import encode_to_store, open_states

__all__ = [
    "KNOWN_ENCODERS",
    "Encoder",
    "LayerStates",
    "StateDifference",
    "compare_states",
    "encode",
    "encode_to_store",
    "fetch_encoder",
    "load_encoder",
    "open_states",
]

_HOME = {
    "KNOWN_ENCODERS": "known",
    "Encoder": "encoder",
    "LayerStates": "states",
    "StateDifference": "compare",
    "compare_states": "compare",
    "encode": "in_memory",
    "encode_to_store": "stream",
    "fetch_encoder": "fetch",
    "load_encoder": "load",
    "open_states": "stream",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
