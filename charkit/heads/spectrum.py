"""The spectrum of features, layer by layer, and how cleanly they fall into groups: no labels.

References:
    Roy and Vetterli 2007, "The effective rank: a measure of effective dimensionality" (entropy).
    Arthur and Vassilvitskii 2007, "k-means++: the advantages of careful seeding".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charkit.heads.symmetric import eigenvectors

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
