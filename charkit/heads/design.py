"""The features of a head, centred, scaled, and rotated to their principal directions.

The head's own preprocessing is a shift and ONE scale factor, both taken from the training rows:
x -> (x - mean) / scale, where scale is the root mean square norm of the centred rows. It makes
a strength mean the same for every layer and encoder, and it keeps the geometry of the layer,
which standardising each dimension would not.

The rotation only serves the solver: the penalty ||W||^2 does not see it, and in the principal
basis the Hessian is nearly diagonal. With fewer rows than dimensions it also reduces the
dimension to the number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from charkit.errors import DataError, UsageError
from charkit.heads.symmetric import eigenvectors


@dataclass(frozen=True)
class Design:
    """Training rows in principal coordinates, for a batch of B layers.

    Attributes:
        rows: (B, n, r + 1), r = min(n, d) coordinates and a last column of ones for the bias.
        spectrum: Mean square of each column of ``rows``, (B, r + 1).
        basis: Orthonormal columns, (B, d, r).
        mean: Mean of the raw rows, float64, (B, d).
        scale: Root mean square norm of the centred rows, float64, (B,); 1 where they are all
            equal.
    """

    rows: Tensor
    spectrum: Tensor
    basis: Tensor
    mean: Tensor
    scale: Tensor

    @property
    def n_samples(self) -> int:
        """Number of training rows."""
        return self.rows.shape[1]

    def take(self, start: int, stop: int) -> Design:
        """Return the layers ``start`` to ``stop`` (exclusive), sharing memory."""
        part = slice(start, stop)
        return Design(
            self.rows[part],
            self.spectrum[part],
            self.basis[part],
            self.mean[part],
            self.scale[part],
        )

    def unfold(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights and bias that apply to RAW features.

        Args:
            weights: In the coordinates of ``rows``, (B, K, r + 1), the bias last.

        Returns:
            Weights (B, K, d) and bias (B, K), in float64.
        """
        wide = weights.double()
        raw = torch.bmm(wide[..., :-1], self.basis.double().mT) / self.scale[:, None, None]
        bias = wide[..., -1] - torch.bmm(raw, self.mean.unsqueeze(2)).squeeze(2)
        return raw, bias


def make_design(features: Tensor) -> Design:
    """Centre, scale and rotate features.

    Args:
        features: Raw rows, (B, n, d), float32 or float64; not changed.

    Returns:
        The design; its arrays are finite exactly if the features and their squares are.
    """
    mean = features.mean(1, dtype=torch.float64)
    centred = features - mean[:, None].to(features.dtype)
    scale = centred.square().sum(2).mean(1, dtype=torch.float64).sqrt()
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    centred = centred / scale[:, None, None].to(features.dtype)
    basis, reduced = _reduce(centred)
    gram = torch.bmm(reduced.mT, reduced) / reduced.shape[1]
    spectrum, rotation = eigenvectors(gram)
    ones = reduced.new_ones((*reduced.shape[:2], 1))
    return Design(
        rows=torch.cat([torch.bmm(reduced, rotation), ones], 2),
        spectrum=torch.cat([spectrum.clamp_min(0), ones[:, 0]], 1),
        basis=rotation if basis is None else torch.bmm(basis, rotation),
        mean=mean,
        scale=scale,
    )


def _reduce(rows: Tensor) -> tuple[Tensor | None, Tensor]:
    """Return (basis, rows in it); with n >= d the basis is the identity, given as None."""
    if rows.shape[1] >= rows.shape[2]:
        return None, rows
    basis, triangle = torch.linalg.qr(rows.mT)
    return basis, triangle.mT


# -- checks of what comes into a head, with our words for what is wrong ---------------------------


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
