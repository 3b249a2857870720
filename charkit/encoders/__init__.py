"""Encoders: texts in, pooled states of every layer out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charkit.encoders.encoder import Encoder
    from charkit.encoders.known import KNOWN_ENCODERS
    from charkit.encoders.load import fetch_encoder, load_encoder
    from charkit.encoders.run import encode
    from charkit.encoders.states import LayerStates, StateDifference, compare_states
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
    "StateDifference": "states",
    "compare_states": "states",
    "encode": "run",
    "encode_to_store": "stream",
    "fetch_encoder": "load",
    "load_encoder": "load",
    "open_states": "stream",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
