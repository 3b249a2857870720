"""Choose the layer that reads a task best, and say whether there is anything to read.

Both questions look at several layers on one evaluation sample, where the luckiest looks best.
So both answers are simultaneous over the layers: the largest of several studentised gains is
compared with the largest that chance would give, rows and training draws varying together
(`charkit.heads.metrics.intervals`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charkit.errors import UsageError
from charkit.heads.metrics.influence import row_values
from charkit.heads.metrics.intervals import (
    LEVEL,
    CrossedMeans,
    FloatArray,
    crossed_means,
    normal_quantile,
    share_interval,
)

Gains = Mapping[str, FloatArray]
"""Measure -> (S, L, m): by how much each row speaks for a head against one without texts."""

SIGNAL_LEVEL = 0.99
"""One task in a hundred without signal may seem to have one."""

# Draws of the largest statistic. A p-value of 0.01 then has a standard error of
# sqrt(0.01 * 0.99 / 10,000) = 0.001, a tenth of the level that it is compared with.
N_SIMULATED = 10_000

_SMALLEST_LOG = -690.0  # of a p-value: the normal score of less is not finite


@dataclass(frozen=True, eq=False)
class LayerChoice:
    """Layers compared on the same evaluation rows and training draws.

    Attributes:
        layers: Their numbers.
        score: Mean over training draws and rows, (L,).
        low: Lower ends of the intervals, (L,): expected score over other draws and other rows.
        high: Upper ends, (L,).
        best: The layer with the largest score, the lowest of equals.
        difference: Score minus the best layer's, (L,).
        tied_with_best: (L,); with confidence ``level`` the truly best layer is among these.
        level: Coverage of the intervals and of the set of ties.
        n_draws: Training draws; with one, other draws are not accounted for.
    """

    layers: tuple[int, ...]
    score: FloatArray
    low: FloatArray
    high: FloatArray
    best: int
    difference: FloatArray
    tied_with_best: NDArray[np.bool_]
    level: float
    n_draws: int


@dataclass(frozen=True)
class SignalTest:
    """Whether heads know more of the labels than heads that never saw the texts.

    Attributes:
        signal: The verdict.
        reason: It in a sentence.
        layer: The layer of the largest gain among those that show one; where none does, the
            one with the strongest evidence.
        measure: The measure with the strongest evidence, for instance ``"log_loss"``.
        gain: Its mean gain over the majority control, in that measure's unit.
        gain_low: What the gain is at least, at ``level``, the choice of layer included.
        p_value: How often chance would show as much in the best of all layers.
        level: Confidence asked for.
        detectable: The smallest gain of this layer and measure that would have been called one;
            infinite where its gains are the same on all rows, so that nothing is known.
        random_encoder_gain: The best gain of a random encoder in the same measure, or None.
    """

    signal: bool
    reason: str
    layer: int
    measure: str
    gain: float
    gain_low: float
    p_value: float
    level: float
    detectable: float
    random_encoder_gain: float | None = None


def best_layers(
    values: NDArray[np.generic],
    *,
    layers: Sequence[int] | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
    level: float = LEVEL,
    seed: int = 0,
) -> LayerChoice:
    """Compare layers, with intervals and a confidence set for the best.

    A layer is tied with the best unless some other layer beats it by more than chance would
    let the luckiest of its rivals do: the one-sided simultaneous comparison with the best
    (Hsu 1981, "Simultaneous confidence intervals for all distances from the 'best'"). The truly
    best layer is thrown out with probability at most 1 - level, so the winner's luck is paid
    for, and no correction over the layers is needed on top.

    Args:
        values: (S, L, m): for S training draws, L layers, m rows whether the row was right, or
            any numbers whose mean is the score (`charkit.heads.metrics.influence.row_values`).
        layers: Numbers of the L layers. Default: 0..L-1.
        bounds: The smallest and the largest score possible.
        level: Coverage of the intervals and of the set of ties.
        seed: Of the simulated maxima.

    Raises:
        UsageError: The shapes do not fit.
    """
    means = crossed_means(values)
    names = _layer_names(layers, len(means.mean))
    low, high = _intervals(means, bounds, level)
    best = int(means.mean.argmax())
    tied = [
        index == best or _may_be_best(means, index, level=level, seed=seed)
        for index in range(len(names))
    ]
    return LayerChoice(
        names,
        means.mean,
        low,
        high,
        names[best],
        means.mean - means.mean[best],
        np.array(tied),
        level,
        means.n_draws,
    )


def classification_gains(
    correct: NDArray[np.generic],
    log_loss: NDArray[np.floating],
    labels: NDArray[np.int64],
    *,
    majority_log_loss: NDArray[np.floating],
) -> dict[str, FloatArray]:
    """Return what every row says for heads against the class shares of their training sample.

    - ``log_loss``: nats saved against the shares, the classes weighted by those same shares. So
      a head that ignores the text cannot gain, whatever the classes of the evaluation sample:
      its expected gain is minus a Kullback-Leibler divergence. Feels what the probabilities
      know even where the predicted class is always the majority.
    - ``balanced_accuracy``: mean recall over the classes minus that of any prediction which
      ignores the text, 1 / (classes in the evaluation sample). Feels rare classes where the
      accuracy stays at the majority's.

    Rows vary around their class's mean only: the class counts count as given, and with rows of
    only one class nothing is known (all gains are zero).

    Args:
        correct: (S, L, m), whether a row was right.
        log_loss: (S, L, m), nats.
        labels: (m,), class codes.
        majority_log_loss: (S, m), nats of the majority control of the same training draw.

    Raises:
        UsageError: The shapes do not fit.
    """
    right = np.asarray(correct, dtype=np.float64)
    nats = np.asarray(log_loss, dtype=np.float64)
    prior = np.asarray(majority_log_loss, dtype=np.float64)
    codes = np.asarray(labels, dtype=np.int64)
    n_draws, _, n_rows = _three(right.shape)
    if nats.shape != right.shape or codes.shape != (n_rows,) or prior.shape != (n_draws, n_rows):
        raise UsageError(
            f"rows do not fit: expected log_loss {right.shape}, labels {(n_rows,)}, "
            f"majority_log_loss {(n_draws, n_rows)}, "
            f"got {nats.shape}, {codes.shape}, {prior.shape}."
        )
    present, place, counts = np.unique(codes, return_inverse=True, return_counts=True)
    if len(present) == 1:
        return {"log_loss": np.zeros(right.shape), "balanced_accuracy": np.zeros(right.shape)}
    first = np.unique(codes, return_index=True)[1]
    shares = np.exp(-prior[:, first])
    shares /= shares.sum(axis=1, keepdims=True)
    equal = np.full_like(shares, 1 / len(present))
    balanced = _by_class(right, place, counts, equal) - 1 / len(present)
    saved = _by_class(prior[:, None] - nats, place, counts, shares)
    return {"log_loss": saved, "balanced_accuracy": balanced}


def _by_class(
    values: FloatArray, place: NDArray[np.int64], counts: NDArray[np.int64], shares: FloatArray
) -> FloatArray:
    """Return values whose mean is the class means' weighted by shares, free of class counts.

    Args:
        values: (S, L, m).
        place: (m,), each row's class among the C that occur.
        counts: (C,), rows of each class.
        shares: (S, C), weights of the classes.
    """
    by_class = values @ ((place[:, None] == np.arange(len(counts))) / counts)
    mean = np.einsum("slc,sc->sl", by_class, shares)
    weight = (shares * place.size / counts)[:, None, place]
    return np.asarray(mean[..., None] + weight * (values - by_class[..., place]))


def regression_gains(
    predictions: NDArray[np.floating],
    targets: NDArray[np.floating],
    *,
    majority_predictions: NDArray[np.floating],
) -> dict[str, FloatArray]:
    """Return what every row says for heads against the mean of their training sample.

    - ``explained``: squared error saved against the mean, over the targets' variance.
    - ``correlation``: mean of Pearson's and Spearman's correlation.

    Args:
        predictions: (S, L, m).
        targets: (m,).
        majority_predictions: (S, m), the training means.
    """
    made = np.asarray(predictions, dtype=np.float64)
    wanted = np.asarray(targets, dtype=np.float64)
    plain = np.asarray(majority_predictions, dtype=np.float64)
    n_draws, n_layers, n_rows = _three(made.shape)
    if wanted.shape != (n_rows,) or plain.shape != (n_draws, n_rows):
        raise UsageError(
            f"rows do not fit: expected targets {(n_rows,)}, majority_predictions "
            f"{(n_draws, n_rows)}, got {wanted.shape}, {plain.shape}."
        )
    variance = max(float(wanted.var()), np.finfo(np.float64).tiny)
    saved = (np.square(plain - wanted)[:, None] - np.square(made - wanted)) / variance
    flat = row_values(made.reshape(-1, n_rows), wanted, "pearson_spearman")
    return {"explained": saved, "correlation": flat.reshape(n_draws, n_layers, n_rows)}


def has_signal(
    gains: Gains,
    *,
    shuffled: Gains | None = None,
    random_encoder: Gains | None = None,
    labels: NDArray[np.int64] | None = None,
    layers: Sequence[int] | None = None,
    level: float = SIGNAL_LEVEL,
    seed: int = 0,
) -> SignalTest:
    """Return whether the best layer's heads beat the controls by more than chance.

    The null hypothesis is that no layer gains in any measure over heads without texts. The
    largest of all studentised gains (layers x measures) is compared with the distribution of
    that maximum under the null, correlations included, so that looking at many layers raises
    no false alarm. A layer counts only as far as it also beats the heads trained on shuffled
    labels. Not finding a signal is no proof that there is none: see ``detectable``.

    Args:
        gains: From `classification_gains` or `regression_gains`.
        shuffled: The same for heads trained on shuffled labels, of the same draws and layers.
        random_encoder: The same for a random encoder: reported, without a say.
        labels: Class codes of the rows, (m,): then heads that are right on every row count too.
            Their recall does not vary, so that nothing is known of its error, but shuffled labels
            would hardly fit.
        layers: Numbers of the L layers. Default: 0..L-1.
        level: One minus the rate of false alarms.
        seed: Of the simulated maxima.

    Raises:
        UsageError: There are no gains, or the shapes do not fit.
    """
    if not gains:
        raise UsageError("gains: expected at least one measure, got none.")
    columns = np.concatenate(list(gains.values()), axis=1)
    means = crossed_means(columns)
    n_layers = columns.shape[1] // len(gains)
    names = _layer_names(layers, n_layers)
    scores = means.normal_scores()
    beyond: CrossedMeans | None = None
    if shuffled is not None:
        controls = np.concatenate([shuffled[name] for name in gains], axis=1)
        if controls.shape != columns.shape:
            raise UsageError(
                f"shuffled: expected the shape of gains, {columns.shape}, got {controls.shape}."
            )
        beyond = crossed_means(columns - controls)
        scores = np.minimum(scores, beyond.normal_scores())
    maxima = means.maxima(seed=seed, n_simulated=N_SIMULATED)
    threshold = float(np.quantile(maxima, level))
    perfect = False
    if labels is not None and scores.max() <= threshold:
        found = _perfect_scores(gains, labels)
        perfect = bool(found.max() > threshold)
        scores = np.maximum(scores, found)
    top = _shown(scores, means.mean, threshold, n_layers)
    measure, layer = list(gains)[top // n_layers], names[top % n_layers]
    gain = float(means.mean[top])
    needed = _needed(means, top, threshold)
    if beyond is not None:  # it must also be ahead of the shuffled labels' gain
        needed = max(needed, gain - float(beyond.mean[top]) + _needed(beyond, top, threshold))
    if perfect:
        needed = gain  # no less would show: one wrong row, and its error is known
    p_value = float((1 + (maxima >= scores.max()).sum()) / (1 + len(maxima)))
    signal = bool(scores.max() > threshold)
    other = None
    if random_encoder is not None:
        other = float(random_encoder[measure].mean(axis=(0, 2)).max())
    reason = _reason(signal, layer, measure, gain, needed, p_value, other)
    return SignalTest(
        signal, reason, layer, measure, gain, gain - needed, p_value, level, needed, other
    )


def _perfect_scores(gains: Gains, labels: NDArray[np.int64]) -> FloatArray:
    """Return the normal scores of columns that are right on every row of every draw; else 0.

    Of all orders of the labels, the share that fits given predictions on every row is at most
    n_1! ... n_C! / n!, for n_c rows of class c: the p-value of an exact permutation test.

    Args:
        gains: Measures, of which balanced accuracy shows who is right, (S, L, m) each.
        labels: Class codes, (m,).
    """
    from scipy.special import gammaln, ndtri

    counts = np.unique(labels, return_counts=True)[1]
    log_p = float(gammaln(counts + 1).sum() - gammaln(counts.sum() + 1))
    most = 1 - 1 / len(counts) - 1e-9 if len(counts) > 1 else np.inf
    right = [(g.mean(2) > most).all(0) & (n == "balanced_accuracy") for n, g in gains.items()]
    return np.where(np.concatenate(right), -ndtri(np.exp(max(log_p, _SMALLEST_LOG))), 0.0)


def _may_be_best(means: CrossedMeans, index: int, *, level: float, seed: int) -> bool:
    """Return whether no rival is ahead of a layer by more than the luckiest would be by chance."""
    n_layers = len(means.mean)
    ahead = np.delete(np.eye(n_layers), index, axis=0)
    ahead[:, index] -= 1.0
    rivals = means.contrast(ahead)
    if not rivals.has_error.any():
        return bool(rivals.n_rows == 1 or rivals.mean.max() <= 0)
    threshold = np.quantile(rivals.maxima(seed=seed, n_simulated=N_SIMULATED), level)
    return bool(rivals.normal_scores().max() <= threshold)


def _intervals(
    means: CrossedMeans, bounds: tuple[float, float], level: float
) -> tuple[FloatArray, FloatArray]:
    from scipy.special import stdtrit

    low, width = bounds[0], bounds[1] - bounds[0]
    wider = stdtrit(means.degrees(), (1 + level) / 2) / normal_quantile(level)
    variance = np.diag(means.covariance) * wider**2 / width**2
    share = np.clip((means.mean - low) / width, 0.0, 1.0)
    ends = share_interval(share, variance, means.n_rows, level=level)
    return low + width * ends[0], low + width * ends[1]


def _shown(scores: FloatArray, gains: FloatArray, threshold: float, n_layers: int) -> int:
    """Return the column to report: in the strongest measure, the best layer that passes."""
    top = int(scores.argmax())
    if scores[top] <= threshold:
        return top
    first = top - top % n_layers
    passed = scores[first : first + n_layers] > threshold
    return first + int(np.where(passed, gains[first : first + n_layers], -np.inf).argmax())


def _needed(means: CrossedMeans, column: int, threshold: float) -> float:
    """Return the smallest gain that passes the threshold, given a column's error."""
    from scipy.special import ndtr, stdtrit

    if not means.has_error[column]:
        return float("inf")
    error = float(np.sqrt(means.covariance[column, column]))
    return float(-stdtrit(means.degrees()[column], ndtr(-threshold)) * error)


_UNITS = {
    "log_loss": "nats of log loss",
    "balanced_accuracy": "in balanced accuracy",
    "explained": "of the variance",
    "correlation": "in correlation",
}


def _reason(
    signal: bool,
    layer: int,
    measure: str,
    gain: float,
    needed: float,
    p_value: float,
    other: float | None,
) -> str:
    what = f"layer {layer} gains {gain:.3f} {_UNITS.get(measure, measure)} over the controls"
    chance = f"p {'<' if p_value < 0.001 else '='} {max(p_value, 0.001):.3f} over all layers"
    tail = "" if other is None else f"; a random encoder gains {other:.3f}"
    if signal:
        return f"signal: {what} ({chance}){tail}"
    if not np.isfinite(needed):
        return f"no signal above the controls: no head tells the rows apart{tail}"
    return f"no signal above the controls: {what} ({chance}); {needed:.3f} would show{tail}"


def _layer_names(layers: Sequence[int] | None, n_layers: int) -> tuple[int, ...]:
    names = tuple(range(n_layers)) if layers is None else tuple(int(n) for n in layers)
    if len(names) != n_layers:
        raise UsageError(f"layers: expected {n_layers} numbers, got {len(names)}.")
    return names


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise UsageError(f"rows: expected shape (n_draws, n_layers, n_rows), got {shape}.")
    return shape[0], shape[1], shape[2]
