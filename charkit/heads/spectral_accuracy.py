"""The accuracy of heads at larger sizes, predicted from the spectral learning curve.

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

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

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
