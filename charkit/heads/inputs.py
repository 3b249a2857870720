"""Checks of what comes into a head, with our words for what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from charkit.errors import DataError, UsageError
from charkit.heads.design import Design

# Numbers of the layers that are solved together on a processor: 1 MB in float32, which fits its
# cache.
_CHUNK_NUMBERS = 1 << 18


def to_tensor(values: Tensor | np.ndarray, device: torch.device | str) -> Tensor:
    """Return the values as a tensor; read-only arrays (memory maps) are copied."""
    if isinstance(values, np.ndarray) and not values.flags.writeable:
        values = values.copy()
    return torch.as_tensor(values, device=device)


def check_shapes(features: Tensor, labels: Tensor) -> None:
    """Refuse features that are not (B, n, d) or labels that are not (n,)."""
    if features.ndim != 3 or 0 in features.shape:
        raise UsageError(
            "features have no usable shape: expected (layers, rows, dimensions), each at least "
            f"1, got {tuple(features.shape)}"
        )
    if labels.shape != features.shape[1:2]:
        raise UsageError(
            f"labels do not fit the features: expected shape ({features.shape[1]},), "
            f"got {tuple(labels.shape)}"
        )


def check_codes(labels: Tensor, n_classes: int) -> None:
    """Refuse labels that are not class codes, or all of one class."""
    if labels.dtype.is_floating_point or labels.dtype == torch.bool:
        raise UsageError(f"labels are no class codes: expected integers, got {labels.dtype}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= n_classes:
        raise DataError(
            f"labels are out of range: expected 0 to {n_classes - 1}, got {low} to {high}"
        )
    if low == high:
        raise DataError(
            f"all {labels.shape[0]} training labels are class {low}: expected rows of at least "
            "2 classes. Draw a larger sample"
        )


def check_targets(targets: Tensor) -> None:
    """Refuse targets that are not finite numbers."""
    bad = (~torch.isfinite(targets)).nonzero()
    if len(bad):
        row = int(bad[0, 0])
        raise DataError(f"target of row {row} is not finite: expected a number, got {targets[row]}")


def checked_strengths(strengths: Sequence[float]) -> tuple[float, ...]:
    """Return the grid, falling and without duplicates."""
    values = tuple(sorted({float(value) for value in strengths}, reverse=True))
    if not values or not all(0 < value < float("inf") for value in values):
        raise UsageError(
            f"strengths are not legal: expected at least one, each above 0, got {tuple(strengths)}"
        )
    return values


def check_tolerance(tolerance: float) -> None:
    """Refuse a relative gap outside (0, 1)."""
    if not 0 < tolerance < 1:
        raise UsageError(f"tolerance is not legal: expected between 0 and 1, got {tolerance}")


def check_finite(design: Design, first_layer: int) -> None:
    """Refuse features with NaN, infinity, or squares that overflow."""
    finite = torch.isfinite(design.scale) & torch.isfinite(design.mean).all(1)
    if not bool(finite.all()):
        layer = first_layer + int((~finite).nonzero()[0, 0])
        raise DataError(
            f"features of layer entry {layer} are not finite: expected numbers whose squares "
            "can be represented, got NaN, infinity or larger. Look at the texts of these rows, "
            "or compute the features in float32"
        )


def chunk_size(features: Tensor) -> int:
    """Number of layers solved at once: all that fit the cache; on an accelerator all."""
    if features.device.type != "cpu":
        return features.shape[0]
    reduced = features.shape[1] * min(features.shape[1], features.shape[2])
    return max(1, _CHUNK_NUMBERS // reduced)
