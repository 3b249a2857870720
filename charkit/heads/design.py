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

from dataclasses import dataclass

import torch
from torch import Tensor

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
