"""How far apart two sets of layer states are, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from charkit.encoders.states import LayerStates
from charkit.errors import UsageError


@dataclass(frozen=True)
class StateDifference:
    """The distance between the states of one layer, of the same texts.

    Attributes:
        layer: 0 to L.
        largest_absolute: Largest absolute difference of any number.
        largest_relative: Largest over the texts of ``|a - b| / |b|``, Euclidean norms.
        mean_relative: Mean of the same.
        smallest_cosine: Smallest cosine similarity of a text's two states.
    """

    layer: int
    largest_absolute: float
    largest_relative: float
    mean_relative: float
    smallest_cosine: float


def compare_states(states: LayerStates, reference: LayerStates) -> list[StateDifference]:
    """Measure how far states are from a reference, for instance bfloat16 from float32.

    Args:
        states: The states to compare.
        reference: Those they are measured against: same texts, layers and width.

    Returns:
        One entry a layer, 0 to L.

    Raises:
        UsageError: The two have different shapes, or no rows.
    """
    shapes = [(s.n_layers, s.n_samples, s.width) for s in (states, reference)]
    if shapes[0] != shapes[1] or not shapes[0][1]:
        raise UsageError(
            "states cannot be compared: expected the same layers, texts (at least one) and "
            f"width, got {shapes[0]} and {shapes[1]}."
        )
    return [_difference(states, reference, k) for k in range(states.n_layers + 1)]


def _difference(states: LayerStates, reference: LayerStates, layer: int) -> StateDifference:
    a = states.layer(layer).astype(np.float64)
    b = reference.layer(layer).astype(np.float64)
    tiny = np.finfo(np.float64).tiny
    norm_a, norm_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    relative = np.linalg.norm(a - b, axis=1) / np.maximum(norm_b, tiny)
    cosine = (a * b).sum(axis=1) / np.maximum(norm_a * norm_b, tiny)
    return StateDifference(
        layer=layer,
        largest_absolute=float(np.abs(a - b).max()),
        largest_relative=float(relative.max()),
        mean_relative=float(relative.mean()),
        smallest_cosine=float(cosine.min()),
    )
