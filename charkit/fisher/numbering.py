"""Layers whose weights have Fisher information: 1 to L; 0, the embeddings, is none of them."""

from __future__ import annotations

from collections.abc import Sequence

from charkit.errors import UsageError


def head_layer_number(layer: int, *, n_layers: int) -> int:
    """Return the number, 1 to L, of a layer that a head reads; negative ones count from the end.

    Raises:
        UsageError: There is no such layer, or no layer lies below.
    """
    if not 1 <= abs(layer) <= n_layers:
        raise UsageError(
            f"head_layer is out of range: expected 1 to {n_layers}, or -{n_layers} to -1 from the "
            f"end, got {layer}. A head on the embeddings (0) has no layer below it."
        )
    return layer % (n_layers + 1)


def chosen_layers(
    layers: Sequence[int] | None, heads: Sequence[int], *, n_layers: int
) -> tuple[int, ...]:
    """Return the layers whose weights are wanted, 1 to L, rising.

    Args:
        layers: 1 to L, or negative from the end; None for all up to the highest head.
        heads: The layers that heads read, 1 to L.
        n_layers: The encoder's number of layers L.

    Raises:
        UsageError: There is none, there is no such layer, or a head has none at or below it.
    """
    highest, lowest = max(heads), min(heads)
    if layers is None:
        return tuple(range(1, highest + 1))
    if any(not 1 <= abs(k) <= n_layers for k in layers):
        raise UsageError(
            f"layers are out of range: expected some of 1 to {n_layers}, or -{n_layers} to -1 "
            f"from the end, got {list(layers)}. The embeddings (0) are no layer of weights."
        )
    chosen = sorted({k % (n_layers + 1) for k in layers})
    if not chosen or chosen[-1] > highest or chosen[0] > lowest:
        raise UsageError(
            f"layers are out of range: expected some of 1 to {highest}, with at least one not "
            f"above each head (lowest head: layer {lowest}), got {list(layers)}. Choose lower "
            "layers, or a higher head layer."
        )
    return tuple(chosen)
