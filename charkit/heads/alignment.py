"""How much of a label's variance lies along each principal direction, without bias.

With centred indicators t_c of the classes and whitened coordinates z_i of a row, the share of
direction i is v_i^2 = sum_c E[t_c z_i]^2. The square of a sample mean exceeds it by the variance
of that mean; the mean over all PAIRS of different rows does not:

    u_i = sum_c ( (sum_j t_cj z_ij)^2 - sum_j (t_cj z_ij)^2 ) / (n (n - 1))

So u_i may be negative. In a small sample most of its spread is noise: one u_i says little, sums
over many say something. `shrunk_shares` therefore asks which of a family of smooth laws,

    v_i^2 = a l_i^s / sum_k l_k^s     (l_i the eigenvalues, a the part that is linear at all)

agrees with all u_i together, and returns the mean over the laws by their posterior.

References:
    Hoeffding 1948, "A class of statistics with asymptotically normal distribution" (U).
    Canatar, Bordelon and Pehlevan 2021, "Spectral bias and task-model alignment explain
    generalization in kernel regression and infinitely wide neural networks" (power of the target
    along the spectrum).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charkit.heads.spectrum import Spectrum

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Laws that are tried: from labels spread evenly over the directions (exponent 0) to labels that
# follow the square of the spectrum, and from hardly any variance explained to nearly all. The
# result is a mean over all of them (`shrunk_shares`). The fineness of the grid is a choice.
_EXPONENTS = np.linspace(0.0, 2.0, 11)
_PARTS = np.linspace(0.01, 0.99, 33)


@dataclass(frozen=True, eq=False)
class Alignment:
    """Estimates of the label's variance along each direction.

    Attributes:
        shares: u_i, unbiased, (n_layers, n_directions).
        total: The label's variance, sum_c p_c (1 - p_c), unbiased.
        n_samples: Labelled rows.
    """

    shares: FloatArray
    total: float
    n_samples: int

    def leading(self, count: int) -> FloatArray:
        """Return the unbiased share of the variance along the leading directions, (n_layers,)."""
        return np.asarray(self.shares[:, :count].sum(1) / self.total)


def label_alignment(features: FloatArray, labels: IntArray, spectrum: Spectrum) -> Alignment:
    """Return unbiased estimates; unbiased if few of the spectrum's rows are the labelled ones.

    Args:
        features: Raw features of the labelled rows, (n_layers, n, width).
        labels: Class codes of at least 2 classes, (n,).
        spectrum: Of many more rows of the same kind.
    """
    n = len(labels)
    hot = (labels[:, None] == np.unique(labels)).astype(np.float64)
    targets = hot - hot.mean(0)
    total = float((targets**2).sum() / (n - 1))
    targets *= np.sqrt(n / (n - 1))
    rows = (features - spectrum.mean[:, None]) @ spectrum.vectors
    rows /= np.sqrt(spectrum.values)[:, None]
    sums = np.einsum("lnd,nc->ldc", rows, targets)
    own = np.einsum("lnd,n->ld", rows**2, (targets**2).sum(1))
    return Alignment(((sums**2).sum(2) - own) / (n * (n - 1)), total, n)


@dataclass(frozen=True, eq=False)
class SmoothShares:
    """A smooth law of the label's variance.

    Attributes:
        shares: v_i^2 over the label's variance, above 0, (n_layers, n_directions).
        noise: The rest, (n_layers,).
    """

    shares: FloatArray
    noise: FloatArray


def shrunk_shares(alignment: Alignment, spectrum: Spectrum) -> SmoothShares:
    """Return the posterior mean over smooth laws, from equal odds of all."""
    total, n = alignment.total, alignment.n_samples
    logs = np.log(spectrum.values / spectrum.values[:, :1])
    laws = np.exp(_EXPONENTS[:, None, None] * logs)
    laws /= laws.sum(2, keepdims=True)
    laws = (_PARTS[:, None, None, None] * laws).reshape(-1, *logs.shape)
    seen = alignment.shares / total
    effective = max(1.0, 1.0 / max(total, 1e-12))
    variance = 2 / (n * n * effective) + 4 * laws / n
    fit = -((seen - laws) ** 2 / variance + np.log(variance)).sum(2) / 2
    weights = np.exp(fit - fit.max(0))
    weights /= weights.sum(0)
    shares = np.einsum("kl,kld->ld", weights, laws)
    return SmoothShares(shares, np.maximum(1 - shares.sum(1), 1e-6))
