"""The head that is tested, and how sure the heads of all layers are that it is right.

One head a layer is fitted to the labelled sample; the one whose leave-one-out log loss is least
is the head that is tested. A text's *expected correctness* is the probability that the tested
head is right there, as the heads of all layers see it: a logistic regression on two numbers, the
logit of the tested head's own confidence and the mean over layers of the logit of the probability
that each gives to the predicted class, fitted to the left-out rows of the labelled sample. Layers
that disagree know more than one layer's confidence (Lakshminarayanan, Pritzel and Blundell 2017,
"Simple and scalable predictive uncertainty estimation using deep ensembles", for networks).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from charkit.errors import DataError
from charkit.heads.sample.active_testing import logistic, logits
from charkit.heads.sample.out_of_fold import SampleHeads, fit_sample_heads

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Pool rows whose probabilities are held at once.
_ROWS = 4_096

# No confidence is read as surer than this: a thousand rows could not show it.
_SURE = 1e-4

# Of each of the two numbers before any row is seen: together they are a logit.
_WEIGHT = 0.5

# Standard deviation of the weights around that; of the constant 1.
_LOOSE = 0.5

# Newton's method on three weights ends within ten; the limit is for hopeless cases.
_STEPS = 50


# Layers whose states vary by less, relative to their size, hold rounding only.
_SAME = 1e-5


@dataclass(frozen=True, eq=False)
class TestedHead:
    """A head, what it predicts for a pool, and how sure it can be.

    Attributes:
        layer: Whose head is tested.
        predicted: Class codes of the pool rows, (n_pool,).
        confidence: Probability of the predicted class by the tested head, (n_pool,), then by the
            head of each layer whose states vary, (1 + n_varying, n_pool).
        probabilities: Of the tested head, (n_pool, n_classes).
        left_out: Leave-one-out probabilities of the labelled rows, (n, n_classes).
        left_out_confidence: What ``confidence`` is for the labelled rows, (1 + n_varying, n).
        right: Whether the tested head is right on each labelled row that was left out, (n,).
    """

    __test__ = False  # for pytest: a head under test is no test

    layer: int
    predicted: IntArray
    confidence: FloatArray
    probabilities: FloatArray
    left_out: FloatArray
    left_out_confidence: FloatArray
    right: NDArray[np.bool_]

    @property
    def expected(self) -> FloatArray:
        """Expected correctness of the pool rows, (n_pool,)."""
        return expected_correctness(self.left_out_confidence, self.right, self.confidence)


def fit_tested_head(
    features: NDArray[np.floating],
    labels: IntArray,
    n_classes: int,
    pool: NDArray[np.floating],
    *,
    layer: int | None = None,
) -> TestedHead:
    """Fit the heads of all layers to a labelled sample, and let them read a pool.

    Args:
        features: Labelled rows, (n_layers, n, width).
        labels: Their class codes, (n,).
        n_classes: How many classes there are.
        pool: Rows of the pool, (n_layers, n_pool, width).
        layer: Whose head is tested. Default: the one of least leave-one-out log loss.

    Raises:
        DataError: Fewer than two classes have a row, or the states do not vary.
    """
    varying = _varying(features, layer)
    # in single precision the eigenvalues of few different rows are not found now and then
    features, pool = features[varying].astype(np.float64), pool[varying]
    heads = fit_sample_heads(torch.from_numpy(features), torch.from_numpy(labels), n_classes)
    every = np.arange(len(labels))
    if layer is None:
        own = heads.left_out[:, every, labels][:, heads.counted]
        place = int((-np.log(np.maximum(own, _SURE))).mean(1).argmin()) if own.size else 0
    else:
        place = int(np.flatnonzero(varying == layer)[0])
    chosen = heads.left_out[place].argmax(1)
    confidence = heads.left_out[:, every, chosen]
    parts = [
        _read(heads, pool[:, start : start + _ROWS], place)
        for start in range(0, pool.shape[1], _ROWS)
    ]
    return TestedHead(
        layer=int(varying[place]),
        predicted=np.concatenate([part[0] for part in parts]),
        confidence=np.concatenate([part[1] for part in parts], 1),
        probabilities=np.concatenate([part[2] for part in parts]),
        left_out=heads.left_out[place],
        left_out_confidence=np.concatenate([confidence[place : place + 1], confidence]),
        right=chosen == labels,
    )


def _varying(features: NDArray[np.floating], layer: int | None) -> IntArray:
    """Return the layers whose states differ between rows by more than rounding.

    Raises:
        DataError: There is none, or the one asked for is none.
    """
    apart = features - features.mean(1, keepdims=True)
    size = np.sqrt(np.square(features, dtype=np.float64).mean((1, 2)))
    varying = np.flatnonzero(
        np.sqrt(np.square(apart, dtype=np.float64).mean((1, 2))) > _SAME * size
    )
    if not len(varying) or (layer is not None and layer not in varying):
        what = "all layers" if layer is None else f"layer {layer}"
        raise DataError(
            f"the states of {what} are the same for all {features.shape[1]:,} labelled texts: "
            "expected texts that the encoder can tell apart, got none. Take another encoder or "
            "layer, or look whether the texts are of its language."
        )
    return varying


def _read(
    heads: SampleHeads, features: NDArray[np.floating], place: int
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return predicted classes, the confidence in them, and the tested head's probabilities."""
    p = heads.probabilities(torch.from_numpy(features.astype(np.float64)))
    predicted = p[place].argmax(1)
    confidence = p[:, np.arange(len(predicted)), predicted]
    return predicted, np.concatenate([confidence[place : place + 1], confidence]), p[place]


def expected_correctness(
    known: FloatArray, right: NDArray[np.bool_], unknown: FloatArray
) -> FloatArray:
    """Return the probability that a head is right on rows, (n_unknown,).

    Args:
        known: Probability of the predicted class by that head, then by each layer's head,
            (1 + n_layers, n_known).
        right: Whether the head was right there, (n_known,).
        unknown: The same probabilities of other rows, (1 + n_layers, n_unknown).
    """
    x, y = _numbers(known), right.astype(np.float64)
    center = np.array([0.0, _WEIGHT, _WEIGHT])
    tight = 1 / np.array([1.0, _LOOSE, _LOOSE]) ** 2
    w = center.copy()
    for _ in range(_STEPS):
        p = logistic(x @ w)
        slope = x.T @ (y - p) - tight * (w - center)
        curve = (x * (p * (1 - p))[:, None]).T @ x + np.diag(tight)
        step = np.linalg.solve(curve, slope)
        w += step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    return np.asarray(logistic(_numbers(unknown) @ w))


def _numbers(confidence: FloatArray) -> FloatArray:
    """Return a constant, the head's own logit, and the mean logit of all layers, (n, 3)."""
    own, *others = logits(np.clip(confidence, _SURE, 1 - _SURE))
    return np.stack([np.ones(len(own)), own, np.mean(others, 0)], 1)
