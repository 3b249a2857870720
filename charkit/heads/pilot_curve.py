"""The learning curve inside a labelled sample: heads on parts of it, tested on the other rows.

Several parts of each size are drawn. All parts of a size have the same count of each class (that
of a nested stratified sample, as in a sweep), and within a class they go round a circle of its
rows, so that every row is left out about equally often. Equal counts also let all parts and all
layers be solved as one batch. The penalty of a layer's heads is the one chosen on the whole
sample: in total terms the best one hardly depends on the size.

Rows left out are weighted so that classes keep their shares in the sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charkit.errors import UsageError
from charkit.heads.design import chunk_size, make_design
from charkit.heads.influence import TOLERANCE, raw_heads
from charkit.heads.minimise import Problem, minimise, prior_weights
from charkit.tasks.nested import nested_order

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class PartScores:
    """How heads on parts of a sample do on the rows left out.

    Attributes:
        accuracy: Share right, (n_layers,).
        loss: Mean log loss in nats, (n_layers,).
    """

    accuracy: FloatArray
    loss: FloatArray


def circular_parts(labels: IntArray, size: int, n_parts: int, *, seed: int) -> IntArray:
    """Return rows of some parts of a sample, each sorted by class, (n_parts, size).

    Args:
        labels: Class codes, (n,).
        size: Rows of a part, from 1 to n - 1.
        n_parts: How many.
        seed: Of the order of rows.

    Raises:
        UsageError: The size is out of range.
    """
    if not 1 <= size < len(labels) or n_parts < 1:
        raise UsageError(
            f"parts are out of range: expected 1 to {len(labels) - 1} rows and at least one part, "
            f"got {size} rows and {n_parts} parts."
        )
    chosen = labels[nested_order(labels, seed=seed, kind="classification")[:size]]
    rng = np.random.default_rng(seed)
    parts = []
    for code in np.unique(chosen):
        circle = rng.permutation(np.flatnonzero(labels == code))
        count = int((chosen == code).sum())
        places = np.arange(n_parts)[:, None] * count + np.arange(count)
        parts.append(circle[places % len(circle)])
    return np.concatenate(parts, 1)


def part_scores(
    features: Tensor, labels: IntArray, parts: IntArray, penalty: FloatArray
) -> PartScores:
    """Train heads on each part and test them on the rows left out.

    Args:
        features: Raw features, (n_layers, n, width).
        labels: Class codes, (n,).
        parts: Rows of each part, the same classes in the same places, (n_parts, size).
        penalty: Total penalty of each layer's heads, (n_layers,).

    Returns:
        NaN where no row is left out, or the parts have one class.
    """
    codes, names = labels[parts[0]], np.unique(labels[parts[0]])
    out = np.ones((len(parts), len(labels)), bool)
    np.put_along_axis(out, parts, False, 1)
    weights = _row_weights(labels, out)
    n_layers = features.shape[0]
    if len(names) < 2 or not weights.any():
        nothing = np.full(n_layers, np.nan)
        return PartScores(nothing, nothing)
    inner = torch.from_numpy(np.searchsorted(names, codes))
    place = np.searchsorted(names, labels).clip(max=len(names) - 1)
    known = names[place] == labels
    accuracy, loss = np.zeros(n_layers), np.zeros(n_layers)
    rows = torch.from_numpy(parts)
    with torch.inference_mode():
        for layer in range(n_layers):
            right, cost = _judge(features[layer], rows, inner, float(penalty[layer]), place)
            right, cost = right * known, np.where(known, cost, np.log(len(labels)))
            accuracy[layer], loss[layer] = (weights * right).sum(), (weights * cost).sum()
    return PartScores(np.minimum(accuracy, 1.0), loss)  # the sum may round above one


def _judge(
    features: Tensor, parts: Tensor, codes: Tensor, penalty: float, place: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return whether each row is right, and its log loss, for each part, (n_parts, n)."""
    step = chunk_size(features[parts[:1]])
    right, cost = [], []
    index = torch.from_numpy(place)
    for start in range(0, len(parts), step):
        design = make_design(features[parts[start : start + step]])
        strength = torch.full((design.rows.shape[0],), penalty / parts.shape[1]).double()
        problem = Problem(design, codes, strength)
        start_weights = prior_weights(problem, int(codes.max()) + 1)
        weights, bias = raw_heads(design, minimise(problem, start_weights, tolerance=TOLERANCE))
        logits = (weights @ features.mT + bias.unsqueeze(2)).double()
        logs = torch.log_softmax(logits, 1)
        right.append((logits.argmax(1) == index).double())
        cost.append(-logs.gather(1, index.expand(logs.shape[0], 1, -1))[:, 0])
    return torch.cat(right).numpy(), torch.cat(cost).numpy()


def _row_weights(labels: IntArray, out: NDArray[np.bool_]) -> FloatArray:
    """Return weights of the rows left out that keep the shares of the classes; sum 1 or 0."""
    weights = np.zeros(out.shape)
    for code in np.unique(labels):
        inside = out & (labels == code)
        weights[inside] = (labels == code).sum() / max(int(inside.sum()), 1)
    return np.asarray(weights / max(weights.sum(), np.finfo(np.float64).tiny))
