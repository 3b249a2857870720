"""The features of a head, centred, scaled, and rotated to their principal directions.

The head's own preprocessing is a shift and ONE scale factor, both taken from the training rows:
x -> (x - mean) / scale, where scale is the root mean square norm of the centred rows. It makes
a strength mean the same for every layer and encoder, and it keeps the geometry of the layer,
which standardising each dimension would not.

The rotation only serves the solver: the penalty ||W||^2 does not see it, and in the principal
basis the Hessian is nearly diagonal. With fewer rows than dimensions it also reduces the
dimension to the number of rows.

The spectrum of features, layer by layer, and how cleanly they fall into groups: no labels.

References:
    Roy and Vetterli 2007, "The effective rank: a measure of effective dimensionality" (entropy).
    Arthur and Vassilvitskii 2007, "k-means++: the advantages of careful seeding".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charkit.errors import DataError, UsageError


def eigenvectors(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues in ascending order, (B, r), and orthonormal eigenvectors, (B, r, r).

    A matrix on which float32 fails is decomposed in float64; its neighbours are not touched. One
    that is not finite gives NaN.

    Args:
        matrices: Symmetric, (B, r, r), float32 or float64.

    Raises:
        torch.linalg.LinAlgError: Float64 fails too.
    """
    try:
        values, vectors = torch.linalg.eigh(matrices)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        return _one_by_one(matrices)
    if vectors.isfinite().all():
        return values, vectors
    return _one_by_one(matrices)


def _one_by_one(matrices: Tensor) -> tuple[Tensor, Tensor]:
    values = matrices.new_empty(matrices.shape[:2])
    vectors = torch.empty_like(matrices)
    for i in range(len(matrices)):
        values[i], vectors[i] = _in_either_format(matrices[i])
    return values, vectors


def _in_either_format(matrix: Tensor) -> tuple[Tensor, Tensor]:
    if not matrix.isfinite().all():
        nothing = torch.full_like(matrix, torch.nan)
        return nothing[0], nothing
    try:
        values, vectors = torch.linalg.eigh(matrix)
        if vectors.isfinite().all():
            return values, vectors
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        pass
    values, vectors = torch.linalg.eigh(matrix.double())
    return values.to(matrix.dtype), vectors.to(matrix.dtype)


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


FloatArray = NDArray[np.float64]

# Bounds on the time of k-means: its rounds, and the rows and leading directions that it sees. They
# are a choice, and part of what the metamodel learned from: other values need another metamodel.
_ROUNDS = 15
_CLUSTERED_ROWS = 1024
_CLUSTERED_DIRECTIONS = 48
_SMALLEST = 1e-7  # of the largest eigenvalue: below is rounding


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Principal directions of centred features, for each layer.

    Attributes:
        values: Eigenvalues of the covariance, falling, at least 1e-7 of the largest,
            (n_layers, width).
        vectors: The directions, (n_layers, width, width), columns as in ``values``.
        mean: (n_layers, width).
        n_rows: Rows that it was made from.
    """

    values: FloatArray
    vectors: FloatArray
    mean: FloatArray
    n_rows: int


def make_spectrum(features: Tensor) -> Spectrum:
    """Return the spectrum of features (n_layers, n, width); float32 arithmetic is enough."""
    mean = features.mean(1, dtype=torch.float64)
    centred = features - mean[:, None].to(features.dtype)
    covariance = torch.bmm(centred.mT, centred) / max(features.shape[1], 1)
    values, vectors = eigenvectors(covariance)
    values = values.double().flip(1)
    floor = (_SMALLEST * values[:, :1]).clamp_min(torch.finfo(torch.float64).tiny)
    return Spectrum(
        torch.maximum(values, floor).numpy(),
        vectors.flip(2).double().numpy(),
        mean.numpy(),
        features.shape[1],
    )


@dataclass(frozen=True)
class SpectrumShape:
    """What a spectrum looks like, each (n_layers,).

    Attributes:
        rank_participation: (sum l)^2 / sum l^2, over the width.
        rank_entropy: Exponential of the entropy of l / sum l, over the width.
        decay: Minus the slope of log l against log rank, from the second to the middle of the
            directions that the rows can span.
        top_share: Largest share of the variance.
    """

    rank_participation: FloatArray
    rank_entropy: FloatArray
    decay: FloatArray
    top_share: FloatArray


def spectrum_shape(spectrum: Spectrum) -> SpectrumShape:
    """Return the figures of a spectrum; NaN for layers that do not vary."""
    values = spectrum.values
    width = values.shape[1]
    shares = values / values.sum(1, keepdims=True)
    entropy = -(shares * np.log(shares)).sum(1)
    last = max(4, min(width, spectrum.n_rows - 1) // 2)
    ranks = np.log(np.arange(2, min(last, width) + 1))
    logs = np.log(values[:, 1 : len(ranks) + 1])
    ranks = ranks - ranks.mean()
    decay = -(logs @ ranks) / max(float(ranks @ ranks), np.finfo(np.float64).tiny)
    found = (1 / (shares**2).sum(1) / width, np.exp(entropy) / width, decay, shares[:, 0])
    varies = values[:, 0] > np.finfo(np.float64).tiny * 2
    return SpectrumShape(*(np.where(varies, figure, np.nan) for figure in found))


def class_gap(features: Tensor, spectrum: Spectrum, n_clusters: int, *, seed: int) -> FloatArray:
    """Return the share of the variance that lies between clusters of k-means, (n_layers,).

    The clusters are sought in the leading directions; the share is of all variance there.

    Args:
        features: Raw features, (n_layers, n, width).
        spectrum: Theirs.
        n_clusters: How many.
        seed: Of the rows taken, at most 1,024, and of the first centres.

    Returns:
        NaN for fewer than twice as many rows as clusters, and layers that do not vary.
    """
    rng = np.random.default_rng(seed)
    n = features.shape[1]
    chosen = np.sort(rng.permutation(n)[:_CLUSTERED_ROWS])
    if len(chosen) < 2 * n_clusters:
        return np.full(features.shape[0], np.nan)
    basis = torch.from_numpy(spectrum.vectors[:, :, :_CLUSTERED_DIRECTIONS]).to(features.dtype)
    rows = features[:, torch.from_numpy(chosen)]
    rows = torch.bmm(rows - rows.mean(1, keepdim=True), basis)
    total = rows.square().sum((1, 2))
    centres = _first_centres(rows, n_clusters, rng)
    squares = rows.square().sum(2)
    for _ in range(_ROUNDS):
        near = torch.baddbmm(
            centres.square().sum(2).unsqueeze(1), rows, centres.mT, beta=1, alpha=-2
        ).argmin(2)
        hot = torch.nn.functional.one_hot(near, n_clusters).to(rows.dtype)
        counts = hot.sum(1).unsqueeze(2)
        centres = torch.where(counts > 0, torch.bmm(hot.mT, rows) / counts.clamp_min(1), centres)
    within = squares.sum(1) - (counts * centres.square()).sum((1, 2))
    gap = 1 - within / torch.where(total > 0, total, torch.nan)
    return np.asarray(gap.double().numpy())


def _first_centres(rows: Tensor, n_clusters: int, rng: np.random.Generator) -> Tensor:
    """Return rows far from each other: each drawn by its squared distance to those before."""
    layers = torch.arange(rows.shape[0])
    chosen = [rows[:, int(rng.integers(rows.shape[1]))]]
    nearest = (rows - chosen[0].unsqueeze(1)).square().sum(2)
    for _ in range(1, n_clusters):
        sums = nearest.double().cumsum(1)
        place = torch.searchsorted(sums, sums[:, -1:] * rng.random())[:, 0]
        chosen.append(rows[layers, place.clamp(max=rows.shape[1] - 1)])
        nearest = torch.minimum(nearest, (rows - chosen[-1].unsqueeze(1)).square().sum(2))
    return torch.stack(chosen, 1)
