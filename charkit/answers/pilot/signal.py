"""Is there anything to learn? A permutation test of ridge heads on a labelled sample.

The null hypothesis: labels and texts are independent. Then every order of the labels is equally
probable, and the statistics of the sample as it is are one draw among those of shuffled labels.
The test is exact for any sample, encoder and number of layers: looking at several layers,
penalties and measures raises no false alarm, since shuffled labels are looked at in the same way.

One head is a ridge regression of the centred class indicators Y. With K the products of the
centred rows, M = (K + penalty)^-1 and A = penalty M - 1 1' / n, the residual of row i from the
head without row i is (A Y)_i / A_ii (exact, the free intercept included). A does not depend on
the labels, so that shuffling them costs one matrix product.

Of each layer and penalty three measures are taken on the rows left out:

- ``squared``: the squared error, less is better;
- ``margin``: the mean score of a row's own class over the root of the class's share;
- ``recall``: the mean recall over the classes, scores in units of each class's own spread.

Each is standardised by its own mean and spread over all orders, and the largest counts (the
max-T of Westfall and Young 1993, "Resampling-based multiple testing").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charkit.parallel.jobs import threads_limited

FloatArray = NDArray[np.float64]
CodeArray = NDArray[np.int64]

LEVEL = 0.01
"""One sample in a hundred without signal may be found to have one."""

N_ORDERS = 199
"""Shuffled orders of the labels; with the true one 200, of which 2 are a hundredth."""

# Shuffled orders after which a test without a chance ends (a sequential test in the manner of Besag
# and Clifford 1991). Samples without signal, which are the slow ones, then cost a quarter.
_FIRST_ORDERS = 49
_ENOUGH_ABOVE = 3  # in the first orders: then two of 200 can no longer be met
PENALTIES = (1.0, 0.1)
"""Of the ridge heads, in units of the mean square norm of the centred rows."""

# Shuffled labels times rows times classes in memory at a time: 16 MB in float32.
_NUMBERS_AT_ONCE = 1 << 22
_MEASURES = ("squared", "margin", "recall")


@dataclass(frozen=True)
class PilotSignal:
    """Whether the labelled sample shows any signal, and why so."""

    signal: bool
    reason: str


@threads_limited(1)
def pilot_signal(features: NDArray[np.float32], labels: CodeArray, *, seed: int = 0) -> PilotSignal:
    """Test whether heads on any layer do better than with shuffled labels.

    Args:
        features: Pooled states of the labelled texts, (n_layers, n, width).
        labels: Class codes, (n,).
        seed: Of the shuffled orders.
    """
    present, codes = np.unique(labels, return_inverse=True)
    if len(present) < 2 or len(codes) < 3:
        return PilotSignal(False, "no signal above the controls: one class, or too few rows")
    residuals = _left_out_operators(features)
    rng = np.random.default_rng(seed)
    orders = np.stack(
        [np.arange(len(codes)), *(rng.permutation(len(codes)) for _ in range(N_ORDERS))]
    )
    first = 1 + _FIRST_ORDERS
    values = _measures(residuals, codes[orders[:first]])
    scores = _standardised(values)
    if _n_above(scores) < _ENOUGH_ABOVE:
        rest = _measures(residuals, codes[orders[first:]])
        values = np.concatenate([values, rest], -1)
        scores = _standardised(values)
    p_value = (1 + _n_above(scores)) / scores.shape[-1]
    return PilotSignal(p_value <= LEVEL, _reason(values, scores, p_value))


def _left_out_operators(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return A_ij / A_ii of each layer and penalty, (n_layers, n_penalties, n, n)."""
    n = features.shape[1]
    x = features - features.mean(1, keepdims=True, dtype=np.float64).astype(np.float32)
    products = (x @ x.transpose(0, 2, 1)).astype(np.float64)
    scale = np.trace(products, axis1=1, axis2=2) / n
    products /= np.where(scale > 0, scale, 1.0)[:, None, None]
    found = np.empty((len(features), len(PENALTIES), n, n), np.float32)
    for place, penalty in enumerate(PENALTIES):
        inverse = penalty * np.linalg.inv(products + penalty * np.eye(n)) - 1 / n
        own = np.diagonal(inverse, axis1=1, axis2=2)
        # a row that no other resembles and that no head reaches has no residual of its own
        found[:, place] = inverse / np.maximum(own, np.finfo(np.float32).eps)[:, :, None]
    return found


def _measures(residuals: NDArray[np.float32], codes: CodeArray) -> FloatArray:
    """Return the measures of each order of the labels, (n_layers, n_penalties, 3, n_orders).

    Args:
        residuals: From `_left_out_operators`.
        codes: Class codes 0..C-1 of each order, (n_orders, n).
    """
    n_layers, n_penalties, n, _ = residuals.shape
    n_classes = int(codes.max()) + 1
    share = np.bincount(codes[0], minlength=n_classes) / n
    values = np.empty((n_layers, n_penalties, len(_MEASURES), len(codes)))
    step = max(1, _NUMBERS_AT_ONCE // (n * n_classes))
    for start in range(0, len(codes), step):
        part = codes[start : start + step]
        hot = (part.T[:, :, None] == np.arange(n_classes)).astype(np.float32)
        for layer in range(n_layers):
            for place in range(n_penalties):
                rest = (residuals[layer, place] @ hot.reshape(n, -1)).reshape(hot.shape)
                found = _measured(rest, hot, part, share)
                values[layer, place, :, start : start + step] = found
    return values


def _measured(
    rest: NDArray[np.float32],
    hot: NDArray[np.float32],
    codes: CodeArray,
    share: FloatArray,
) -> FloatArray:
    """Return the measures of residuals (n, n_orders, C), (3, n_orders)."""
    n = len(hot)
    squared = -np.einsum("ijk,ijk->j", rest, rest)
    lift = hot - rest - share.astype(np.float32)
    own = np.take_along_axis(lift, codes.T[:, :, None], 2)[..., 0]
    root = np.sqrt(share).astype(np.float32)
    margin = (own / root[codes.T]).mean(0)
    lift /= np.sqrt(share * (1 - share)).astype(np.float32)
    right = lift.argmax(2) == codes.T
    recall = (right / (share * n)[codes.T]).sum(0) / len(share)
    return np.stack([squared, margin, recall])


def _standardised(values: FloatArray) -> FloatArray:
    """Return each measure in units of its spread over all orders; 0 where it does not vary."""
    spread = values.std(-1, keepdims=True)
    size = np.abs(values).max(-1, keepdims=True)
    varies = spread > 1e-6 * size
    apart = values - values.mean(-1, keepdims=True)
    found: FloatArray = np.divide(apart, spread, out=np.zeros_like(apart), where=varies)
    return found


def _n_above(scores: FloatArray) -> int:
    """Return how many shuffled orders do at least as well as the true one, the first."""
    largest = scores.reshape(-1, scores.shape[-1]).max(0)
    return int((largest[1:] >= largest[0]).sum())


def _reason(values: FloatArray, scores: FloatArray, p_value: float) -> str:
    layer = int(scores[..., 0].max((1, 2)).argmax())
    place = int(scores[layer, :, -1, 0].argmax())
    recall = values[layer, place, _MEASURES.index("recall")]
    what = (
        f"heads on layer {layer} recall {recall[0]:.3f} of a class on average, with shuffled "
        f"labels {recall[1:].mean():.3f} (p = {p_value:.3f} over all layers)"
    )
    return f"signal: {what}" if p_value <= LEVEL else f"no signal above the controls: {what}"
