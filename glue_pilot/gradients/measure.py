"""Metrics of the gradients of a few labelled texts, before anything is fine-tuned.

The sample is dealt into folds. The texts of a fold are read by one head, fitted on the other folds
at a fixed penalty, and only texts of one fold are compared: no head has seen a text or the label of
a text that it is used on. With f the head's logits, p its probabilities and theta the weights of
all layers:

    NTK      K_ij = <J_i, J_j>_F,                J_i = d(H f(x_i))/d theta, H orthonormal contrasts
    Fisher   F_i  = sum over y of p_y |d log p_y(x_i)/d theta|^2        (trace of the information)
    label    g_i  = d log p(y_i | x_i)/d theta

CoS-Low is the mean cosine of the label gradients of the texts that the head is least sure of (Je
and Raffel 2025, "Efficiently estimating data efficiency for language model fine-tuning", arXiv
2512.24991). The alignment of the NTK with the classes is the centred one of Cortes, Mohri and
Rostamizadeh (2012, "Algorithms for learning kernels based on centered alignment"), of unbiased
estimates without diagonals (Song et al. 2012, "Feature selection via dependence maximization"):
with them it grows with the number of classes by itself.

The expectation over classes and contrasts is exact up to `EXACT_CLASSES` classes; for more, random
signs mix the columns: kernel and traces are then unbiased, not what is computed from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import helmert

from charkit.encoders import Encoder
from charkit.encoders.run import model_inputs, pool
from charkit.encoders.tokens import Tokens, tokenise
from charkit.errors import DataError
from charkit.fisher.forward import run_between
from charkit.heads.solver.softmax import fit_softmax
from charkit.tasks import Split

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

STRENGTH = 1.0
"""Of the penalty of every head: norms at chosen penalties mostly show the penalty."""

EXACT_CLASSES = 4
N_DRAWS = 3
"""Random mixtures of the columns where there are more classes: backward passes of a text."""

LOW = 0.25
"""Share of a fold's texts that count as those of low confidence."""

N_FOLDS = 4
LEAST_FOLD = 4  # texts; unbiased alignment needs as many

_NORM = 1e-12  # a gradient of this norm has no direction


@dataclass(frozen=True)
class GradientMetrics:
    """Metrics of the gradients of a sample; NaN where no texts can be compared.

    Attributes:
        cos_low: Mean cosine of the label gradients of the least sure texts.
        cos_all: The same over all texts.
        cos_gap: Mean cosine of two texts of one class less that of two classes.
        log_fisher: log of the mean trace of the Fisher information of a text.
        log_ntk: log of the mean trace of the NTK of a text.
        log_ratio: Their difference: log of the mean predictive variance, texts weighted by their
            NTK.
        alignment: Of the centred NTK with the classes, near 0 where they have nothing in common.
    """

    cos_low: float
    cos_all: float
    cos_gap: float
    log_fisher: float
    log_ntk: float
    log_ratio: float
    alignment: float


@dataclass(frozen=True, eq=False)
class FoldGradients:
    """Inner products of the gradients of the texts of one fold, under one head.

    Attributes:
        labels: Class codes, (n,).
        sure: Largest class probability of each text, (n,).
        label: Of the label gradients, (n, n).
        fisher: Trace of each text's Fisher information, (n,).
        ntk: (n, n).
    """

    labels: IntArray
    sure: FloatArray
    label: FloatArray
    fisher: FloatArray
    ntk: FloatArray


def gradient_metrics(
    encoder: Encoder, texts: Split, n_classes: int, *, max_length: int, seed: int = 0
) -> GradientMetrics:
    """Return the metrics of a labelled sample.

    The gradients of a fold are held: n / 4 times the weights of the layers.

    Args:
        encoder: Stays as it is. Gradients are taken in float32, or float64 for a float64 encoder.
        texts: The sample, with class codes as labels.
        n_classes: Classes of the task.
        max_length: Most tokens of a text.
        seed: Of the folds and of the random signs.

    Raises:
        DataError: There are too few texts, or a fold has no two classes to fit a head on.
    """
    labels = np.asarray(texts.labels, np.int64)
    if len(labels) < N_FOLDS * LEAST_FOLD:
        raise DataError(
            f"gradients are compared within {N_FOLDS} folds: expected at least "
            f"{N_FOLDS * LEAST_FOLD} texts, got {len(labels)}. Label more texts."
        )
    rng = np.random.default_rng(seed)
    body = replace(encoder, dtype="float64" if encoder.dtype == "float64" else "float32")
    tokens = tokenise(body, texts.texts, texts.pairs, max_length=max_length)
    states = _pooled(body, tokens)
    folds = rng.permutation(np.arange(len(labels)) % N_FOLDS)
    return metrics_of(
        [
            _fold_gradients(body, tokens, labels, rows, head, states, rng)
            for rows, head in crossed_heads(states, labels, n_classes, folds)
        ]
    )


def crossed_heads(
    states: FloatArray, labels: IntArray, n_classes: int, folds: IntArray
) -> Iterator[tuple[IntArray, tuple[FloatArray, FloatArray]]]:
    """Yield the texts of each fold, and the head that is fitted on the others.

    Args:
        states: Pooled states, (n, width).
        labels: Class codes, (n,).
        n_classes: Classes of the task.
        folds: Fold of each text, (n,).

    Yields:
        Rows; weights (n_classes, width) and bias (n_classes,).

    Raises:
        DataError: The texts outside a fold have fewer than two classes.
    """
    for fold in np.unique(folds):
        out = folds == fold
        if len(np.unique(labels[~out])) < 2:
            raise DataError(
                "gradients need texts of two classes outside every fold: expected at least 2, "
                f"got {len(np.unique(labels[~out]))}. Label texts of another class."
            )
        head = fit_softmax(
            states[None, ~out], labels[~out], n_classes, strengths=(STRENGTH,), dtype=torch.float64
        )
        yield np.flatnonzero(out), (head.weights[0].numpy(), head.bias[0].numpy())


def _fold_gradients(
    encoder: Encoder,
    tokens: Tokens,
    labels: IntArray,
    rows: IntArray,
    head: tuple[FloatArray, FloatArray],
    states: FloatArray,
    rng: np.random.Generator,
) -> FoldGradients:
    weights, bias = head
    logits = states[rows] @ weights.T + bias
    chances = np.exp(logits - logits.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    columns = cotangents(chances, labels[rows], rng)
    found = {
        part: np.sum([_products(encoder, tokens, rows, sent @ weights) for sent in some], axis=0)
        for part, some in columns.items()
    }
    fisher = np.diag(found["fisher"])
    return FoldGradients(labels[rows], chances.max(1), found["label"], fisher, found["ntk"])


def cotangents(
    chances: FloatArray, labels: IntArray, rng: np.random.Generator
) -> dict[str, list[FloatArray]]:
    """Return the gradients at the logits that are sent back.

    Args:
        chances: Class probabilities, (n, C).
        labels: Class codes, (n,).
        rng: Of the random signs.

    Returns:
        Part -> arrays (n, C). A text's outer products sum to the projection that centres logits
        for ``ntk``, to the covariance of the classes for ``fisher``; above `EXACT_CLASSES` classes
        on average over signs.
    """
    n, n_classes = chances.shape
    identity = np.eye(n_classes)
    contrasts = helmert(n_classes)  # (C - 1, C), orthonormal, across the constant logits
    covariance = chances[:, :, None] * (identity - chances[:, None, :])
    # the constant is in its null space: within the contrasts it has full rank
    values, vectors = np.linalg.eigh(contrasts @ covariance @ contrasts.T)
    spread = contrasts.T @ (vectors * np.sqrt(np.clip(values, 0, None))[:, None, :])
    signs = np.eye(n_classes - 1)
    if n_classes > EXACT_CLASSES:
        signs = rng.choice([-1.0, 1.0], (N_DRAWS, n_classes - 1)) / np.sqrt(N_DRAWS)
    return {
        "label": [identity[labels] - chances],
        "fisher": [spread @ sign for sign in signs],
        "ntk": [np.tile(sign @ contrasts, (n, 1)) for sign in signs],
    }


def metrics_of(folds: list[FoldGradients]) -> GradientMetrics:
    """Return the metrics of the inner products of all folds."""
    low, every, within, between = [], [], [], []
    dependence = np.zeros(3)
    for fold in folds:
        norms = np.sqrt(np.clip(np.diag(fold.label), 0, None))
        cosines = fold.label / np.maximum(np.outer(norms, norms), _NORM**2)
        unsure = np.argsort(fold.sure, kind="stable")[: max(2, round(LOW * len(norms)))]
        low.append(_apart(cosines[np.ix_(unsure, unsure)]))
        every.append(_apart(cosines))
        same = fold.labels[:, None] == fold.labels
        within.append(cosines[same & ~np.eye(len(norms), dtype=bool)])
        between.append(cosines[~same])
        classes = same.astype(np.float64)
        pairs = ((fold.ntk, classes), (fold.ntk, fold.ntk), (classes, classes))
        dependence += [unbiased_dependence(*pair) for pair in pairs]
    fisher, ntk = (
        float(np.log(np.concatenate(traces).mean()))
        for traces in ([fold.fisher for fold in folds], [np.diag(fold.ntk) for fold in folds])
    )
    both, own, others = dependence
    return GradientMetrics(
        cos_low=_mean(low),
        cos_all=_mean(every),
        cos_gap=_mean(within) - _mean(between),
        log_fisher=fisher,
        log_ntk=ntk,
        log_ratio=fisher - ntk,
        alignment=float(both / np.sqrt(own * others)) if min(own, others) > 0 else float("nan"),
    )


def unbiased_dependence(left: FloatArray, right: FloatArray) -> float:
    """Return the unbiased Hilbert-Schmidt independence criterion of two kernels, (n, n) each.

    Song et al. 2012, equation 5; needs four texts.
    """
    n = len(left)
    left, right = (k - np.diag(np.diag(k)) for k in (left, right))
    sums = left.sum(0), right.sum(0)
    whole = sums[0].sum() * sums[1].sum() / ((n - 1) * (n - 2))
    return float(((left * right).sum() + whole - 2 * sums[0] @ sums[1] / (n - 2)) / (n * (n - 3)))


def _apart(values: FloatArray) -> FloatArray:
    return np.asarray(values[~np.eye(len(values), dtype=bool)])


def _mean(parts: list[FloatArray]) -> float:
    values = np.concatenate(parts)
    return float(values.mean()) if len(values) else float("nan")


def _pooled(encoder: Encoder, tokens: Tokens) -> FloatArray:
    """Return the last layer's states, averaged over the tokens, (n, width)."""
    with torch.no_grad():
        parts = [_state(encoder, tokens, row) for row in range(len(tokens.lengths))]
    return torch.cat(parts).double().cpu().numpy()


def _state(encoder: Encoder, tokens: Tokens, row: int) -> torch.Tensor:
    inputs, mask = model_inputs(encoder, tokens, np.array([row]))
    last = encoder.n_layers
    return pool(run_between(encoder, inputs, wanted=frozenset([last]))[last], mask, "mean")


def _products(encoder: Encoder, tokens: Tokens, rows: IntArray, sent: FloatArray) -> FloatArray:
    """Return the inner products of the gradients of <sent_i, pooled state of text i>, (n, n)."""
    weights = [p for block in encoder.blocks for p in block.parameters()]
    for weight in weights:
        weight.requires_grad_(True)
    size = sum(weight.numel() for weight in weights)
    held = torch.zeros((len(rows), size), dtype=weights[0].dtype, device=weights[0].device)
    for own, row, direction in zip(held, rows, sent, strict=True):
        state = _state(encoder, tokens, int(row))
        wanted = torch.from_numpy(direction).to(state)
        found = torch.autograd.grad((state[0] * wanted).sum(), weights, allow_unused=True)
        parts = own.split([weight.numel() for weight in weights])
        for part, gradient in zip(parts, found, strict=True):
            if gradient is not None:
                part.copy_(gradient.reshape(-1))
    return (held @ held.T).double().cpu().numpy()
