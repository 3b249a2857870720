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

The accuracy of heads at larger sizes, predicted from the spectral learning curve.

Two steps. The theory of ridge heads (the reference below) gives the mean squared error at any size
from the spectrum and the label's shares, here under the best penalty: the smallest over all
resolutions k that a penalty above 0 can bring about. And a margin model turns a squared error into
an accuracy: where a head explains the share R^2 of the label's variance, the score of the right
class leads by s = scale * sqrt(2 R^2 / (1 - R^2)) standard deviations,

    accuracy = E_z Phi(z + s)^(1/m - 1),    z standard normal, m the share of the largest class,

which for two equally frequent Gaussian classes is the accuracy of the optimal head, and for s = 0
that of the largest class. The scale is taken from the sample's own curve, so that the theory
gives the shape and the sample the level.

Reference:
    Simon, Dickens, Karkada and DeWeese 2023, "The eigenlearning framework: a conservation law
    perspective on kernel ridge regression and wide neural networks".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from charkit.heads.solver.design import Spectrum

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


# Resolutions, from a millionth of the largest eigenvalue to 100 times it, at which the error of a
# ridge head is smallest. Neighbours are a factor of 1.37 apart: 60 over 8 decades.
_RESOLUTIONS = 60

# Leads in standard deviations, in steps of 0.05. At 12 the accuracy is 1 in float64, whatever the
# number of classes.
_LARGEST_LEAD = 12.0
_LEADS = np.linspace(0.0, _LARGEST_LEAD, 241)
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(41)


def ridge_error_curve(
    eigenvalues: FloatArray, shares: FloatArray, noise: FloatArray, sizes: ArrayLike
) -> FloatArray:
    """Return the least expected squared error of ridge heads, (n_layers, n_sizes).

    Args:
        eigenvalues: Above 0, (n_layers, n_directions).
        shares: Of the target's variance, (n_layers, n_directions).
        noise: The rest of it, (n_layers,).
        sizes: Numbers of training rows, (n_sizes,).
    """
    n = np.asarray(sizes, np.float64)
    levels = np.geomspace(1e-6, 1e2, _RESOLUTIONS)[:, None, None] * eigenvalues[:, :1]
    learned = eigenvalues / (eigenvalues + levels)
    bias = ((1 - learned) ** 2 * shares).sum(2) + noise
    freedom = learned.sum(2)[..., None]
    spread = n - (learned**2).sum(2)[..., None]
    legal = (freedom < n) & (spread > 0)
    risk = np.where(legal, n * bias[..., None] / np.where(legal, spread, 1), np.inf)
    return np.asarray(risk.min(0))


def predict_accuracy(
    errors: FloatArray, seen: FloatArray, weights: FloatArray, at: FloatArray, *, majority: float
) -> FloatArray:
    """Return the accuracy at sizes whose squared errors are predicted, (n_layers, n_at).

    Args:
        errors: Predicted squared errors over the label's variance where accuracies were seen,
            (n_layers, n_seen).
        seen: Those accuracies; NaN where there is none, (n_layers, n_seen).
        weights: How much each counts, (n_seen,).
        at: Predicted squared errors elsewhere, (n_layers, n_at).
        majority: Share of the largest class.

    Returns:
        NaN for layers of which no accuracy was seen.
    """
    table = lead_accuracy(_LEADS, majority)
    known = np.isfinite(seen)
    leads = np.interp(np.where(known, seen, 0.0), table, _LEADS)
    theory = _lead(errors)
    weight = weights * known
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = (weight * leads * theory).sum(1) / (weight * theory**2).sum(1)
    return np.asarray(np.interp(scale[:, None] * _lead(at), _LEADS, table))


def lead_accuracy(leads: ArrayLike, majority: float) -> FloatArray:
    """Return the accuracy of heads whose right class leads by so much."""
    from scipy.special import ndtr

    others = 1 / majority - 1
    inside = ndtr(_NODES[:, None] + np.asarray(leads, np.float64)) ** others
    accuracy = _WEIGHTS @ inside / _WEIGHTS.sum()
    return np.asarray(np.minimum(accuracy, 1.0))  # the sum may round above one


def _lead(errors: FloatArray) -> FloatArray:
    explained = np.clip(1 - errors, 1e-3, 1 - 1e-6)
    return np.asarray(np.sqrt(2 * explained / (1 - explained)))
