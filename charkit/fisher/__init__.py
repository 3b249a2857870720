"""Fisher embeddings: the squared gradients of an encoder's weights that a task causes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charkit.fisher.distances import (
        DISTANCES,
        asymmetric,
        distance,
        fused_distances,
        layer_distances,
        pairwise,
        trivial_embedding,
    )
    from charkit.fisher.embedding import TaskEmbedding, merge_embeddings
    from charkit.fisher.estimate import fisher_embedding, fisher_embeddings
    from charkit.fisher.files import load_embedding, save_embedding
    from charkit.fisher.forward import TokenStates, cache_states
    from charkit.fisher.head import Head, make_head
    from charkit.fisher.intervals import DistanceInterval, corrected_pairwise, distance_interval
    from charkit.fisher.layout import PARTS, Slice
    from charkit.fisher.options import FisherOptions, VariationalOptions
    from charkit.fisher.stability import Stability
    from charkit.fisher.text_moments import TextEmbedding, text_distances, text_embedding
    from charkit.fisher.variational import VariationalFit, fit_variational

__all__ = [
    "DISTANCES",
    "PARTS",
    "DistanceInterval",
    "FisherOptions",
    "Head",
    "Slice",
    "Stability",
    "TaskEmbedding",
    "TextEmbedding",
    "TokenStates",
    "VariationalFit",
    "VariationalOptions",
    "asymmetric",
    "cache_states",
    "corrected_pairwise",
    "distance",
    "distance_interval",
    "fisher_embedding",
    "fisher_embeddings",
    "fit_variational",
    "fused_distances",
    "layer_distances",
    "load_embedding",
    "make_head",
    "merge_embeddings",
    "pairwise",
    "save_embedding",
    "text_distances",
    "text_embedding",
    "trivial_embedding",
]

_HOME = {
    "DISTANCES": "distances",
    "PARTS": "layout",
    "DistanceInterval": "intervals",
    "FisherOptions": "options",
    "Head": "head",
    "Slice": "layout",
    "Stability": "stability",
    "TaskEmbedding": "embedding",
    "TextEmbedding": "text_moments",
    "TokenStates": "forward",
    "VariationalFit": "variational",
    "VariationalOptions": "options",
    "asymmetric": "distances",
    "cache_states": "forward",
    "corrected_pairwise": "intervals",
    "distance": "distances",
    "distance_interval": "intervals",
    "fisher_embedding": "estimate",
    "fisher_embeddings": "estimate",
    "fit_variational": "variational",
    "fused_distances": "distances",
    "layer_distances": "distances",
    "load_embedding": "files",
    "make_head": "head",
    "merge_embeddings": "embedding",
    "pairwise": "distances",
    "save_embedding": "files",
    "text_distances": "text_moments",
    "text_embedding": "text_moments",
    "trivial_embedding": "distances",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
