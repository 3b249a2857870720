"""What gradients of a few labelled texts say of a task, before anything is fine-tuned.

Every text is read by a head that has not seen it, fitted at a fixed penalty on the other folds of
the sample. With f the head's logits, p its probabilities and theta the weights of all layers:

    NTK      K_ij = <J_i, J_j>_F,                J_i = H df(x_i)/d theta, H f the logits' contrasts
    Fisher   F_i  = sum over y of p_y |d log p_y(x_i)/d theta|^2        (trace of the information)
    label    g_i  = d log p(y_i | x_i)/d theta

CoS-Low is the mean cosine of the label gradients of the texts that the head is least sure of (Je
and Raffel 2025, "Efficiently estimating data efficiency for language model fine-tuning", arXiv
2512.24991). The alignment of the centred NTK with the classes is that of Cortes, Mohri and
Rostamizadeh (2012, "Algorithms for learning kernels based on centered alignment").

The expectation over classes and contrasts is exact up to `EXACT_CLASSES` classes; for more, random
signs mix the columns, which is unbiased.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

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
"""Of the penalty of every head: norms at chosen penalties mostly tell the penalty."""

EXACT_CLASSES = 4
N_DRAWS = 4
"""Random mixtures of the contrasts, and of the classes, where there are more classes."""

LOW = 0.25
"""Share of the texts that count as those of low confidence."""

_FOLDS = 4
_NORM = 1e-12  # a gradient of this norm has no direction


@dataclass(frozen=True)
class GradientFigures:
    """What the gradients of a sample say.

    Attributes:
        cos_low: Mean cosine of the label gradients of the least sure texts.
        cos_all: The same over all texts.
        cos_gap: Mean cosine of texts of one class less that of texts of two.
        log_fisher: log of the mean trace of the Fisher information of a text.
        log_ntk: log of the mean trace of the NTK of a text.
        log_ratio: Their difference: log of the mean predictive variance.
        alignment: Of the centred NTK with the classes, -1 to 1.
    """

    cos_low: float
    cos_all: float
    cos_gap: float
    log_fisher: float
    log_ntk: float
    log_ratio: float
    alignment: float


def gradient_figures(
    encoder: Encoder, texts: Split, n_classes: int, *, max_length: int, seed: int = 0
) -> GradientFigures:
    """Return what the gradients of a labelled sample say.

    Args:
        encoder: Stays as it is. Gradients are taken in float32, or float64 for a float64 encoder.
        texts: The sample, with class codes as labels.
        n_classes: Classes of the task.
        max_length: Most tokens of a text.
        seed: Of the folds and of the random signs.

    Raises:
        DataError: A fold has no two classes to fit a head on.
    """
    labels = np.asarray(texts.labels, np.int64)
    rng = np.random.default_rng(seed)
    body = replace(encoder, dtype="float64" if encoder.dtype == "float64" else "float32")
    tokens = tokenise(body, texts.texts, texts.pairs, max_length=max_length)
    states = _pooled(body, tokens)
    weights, bias = crossed_heads(states, labels, n_classes, rng)
    logits = np.einsum("ncd,nd->nc", weights, states) + bias
    logits -= logits.max(1, keepdims=True)
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    kernels = {
        part: sum(
            _inner_products(body, tokens, np.einsum("nc,ncd->nd", sent, weights))
            for sent in columns
        )
        / share
        for part, (columns, share) in cotangents(chances, labels, rng).items()
    }
    return figures_of(
        kernels["ntk"], np.diag(kernels["fisher"]), kernels["label"], chances.max(1), labels
    )


def crossed_heads(
    states: FloatArray, labels: IntArray, n_classes: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return, for every text, the head of the folds that it is not in.

    Args:
        states: Pooled states, (n, width).
        labels: Class codes, (n,).
        n_classes: Classes of the task.
        rng: Deals the texts of each class to the folds in turn.

    Returns:
        Weights (n, n_classes, width) and biases (n, n_classes).

    Raises:
        DataError: The texts outside a fold have fewer than two classes.
    """
    mixed = rng.permutation(len(labels))
    folds = np.empty(len(labels), np.int64)
    folds[mixed[np.argsort(labels[mixed], kind="stable")]] = np.arange(len(labels)) % _FOLDS
    weights = np.empty((len(labels), n_classes, states.shape[1]))
    bias = np.empty((len(labels), n_classes))
    for fold in range(_FOLDS):
        out = folds == fold
        if len(np.unique(labels[~out])) < 2:
            raise DataError(
                "gradients need texts of two classes outside every fold: expected at least 2, "
                f"got {len(np.unique(labels[~out]))}. Label texts of another class."
            )
        head = fit_softmax(
            states[None, ~out], labels[~out], n_classes, strengths=(STRENGTH,), dtype=torch.float64
        )
        weights[out], bias[out] = head.weights[0].numpy(), head.bias[0].numpy()
    return weights, bias


def cotangents(
    chances: FloatArray, labels: IntArray, rng: np.random.Generator
) -> dict[str, tuple[list[FloatArray], int]]:
    """Return what is sent back from the logits, and what the sum of the products is divided by.

    Args:
        chances: Class probabilities, (n, C).
        labels: Class codes, (n,).
        rng: Of the random signs.

    Returns:
        Part -> gradients at the logits, each (n, C), and a divisor. The outer products of those
        of ``ntk`` sum to the projection that centres logits, of ``fisher`` to the covariance of
        the classes, at more than `EXACT_CLASSES` classes on average over signs.
    """
    n, n_classes = chances.shape
    identity = np.eye(n_classes)
    contrasts = identity - 1 / n_classes  # its own square: columns sum to the projection
    roots = np.sqrt(chances)
    # A A^T = diag(p) - p p^T for A = diag(sqrt p) - p sqrt(p)^T, as sqrt(p) has norm 1
    spread = roots[:, :, None] * identity - chances[:, :, None] * roots[:, None, :]
    one = identity[labels] - chances
    if n_classes <= EXACT_CLASSES:
        signs, share = identity, 1
    else:
        signs, share = rng.choice([-1.0, 1.0], (N_DRAWS, n_classes)), N_DRAWS
    return {
        "label": ([one], 1),
        "fisher": ([spread @ sign for sign in signs], share),
        "ntk": ([np.tile(contrasts @ sign, (n, 1)) for sign in signs], share),
    }


def figures_of(
    ntk: FloatArray, fisher: FloatArray, label: FloatArray, sure: FloatArray, labels: IntArray
) -> GradientFigures:
    """Return the figures of inner products of gradients.

    Args:
        ntk: (n, n).
        fisher: Trace of each text's Fisher information, (n,).
        label: Inner products of the label gradients, (n, n).
        sure: Largest class probability of each text, (n,).
        labels: Class codes, (n,).
    """
    norms = np.sqrt(np.clip(np.diag(label), 0, None))
    cosines = label / np.maximum(np.outer(norms, norms), _NORM**2)
    low = np.argsort(sure, kind="stable")[: max(2, round(LOW * len(sure)))]
    same = labels[:, None] == labels
    apart = ~np.eye(len(labels), dtype=bool)
    within, between = cosines[same & apart], cosines[~same]
    gap = within.mean() - between.mean() if len(within) and len(between) else np.nan
    log_fisher, log_ntk = (float(np.log(v.mean())) for v in (fisher, np.diag(ntk)))
    return GradientFigures(
        cos_low=float(cosines[np.ix_(low, low)][~np.eye(len(low), dtype=bool)].mean()),
        cos_all=float(cosines[apart].mean()),
        cos_gap=float(gap),
        log_fisher=log_fisher,
        log_ntk=log_ntk,
        log_ratio=log_fisher - log_ntk,
        alignment=centred_alignment(ntk, same.astype(np.float64)),
    )


def centred_alignment(kernel: FloatArray, target: FloatArray) -> float:
    """Return the cosine of two kernels (n, n) after both are centred in their feature spaces."""
    left, right = (_centred(k) for k in (kernel, target))
    return float((left * right).sum() / (np.linalg.norm(left) * np.linalg.norm(right)))


def _centred(kernel: FloatArray) -> FloatArray:
    rows = kernel - kernel.mean(0)
    return np.asarray(rows - rows.mean(1, keepdims=True))


def _pooled(encoder: Encoder, tokens: Tokens) -> FloatArray:
    """Return the last layer's states, averaged over the tokens, (n, width)."""
    with torch.no_grad():
        parts = [_state(encoder, tokens, row) for row in range(len(tokens.lengths))]
    return torch.cat(parts).double().cpu().numpy()


def _state(encoder: Encoder, tokens: Tokens, row: int) -> torch.Tensor:
    inputs, mask = model_inputs(encoder, tokens, np.array([row]))
    last = encoder.n_layers
    return pool(run_between(encoder, inputs, wanted=frozenset([last]))[last], mask, "mean")


def _inner_products(encoder: Encoder, tokens: Tokens, sent: FloatArray) -> FloatArray:
    """Return the inner products of the gradients of <sent_i, pooled state of text i>, (n, n).

    The gradients of all texts are held: n times the weights of the layers.
    """
    weights = [p for block in encoder.blocks for p in block.parameters()]
    for weight in weights:
        weight.requires_grad_(True)
    held = torch.empty((len(sent), sum(p.numel() for p in weights)), dtype=weights[0].dtype)
    for row, direction in enumerate(sent):
        state = _state(encoder, tokens, row)
        wanted = torch.from_numpy(direction).to(state)
        found = torch.autograd.grad((state[0] * wanted).sum(), weights, allow_unused=True)
        start = 0
        for weight, gradient in zip(weights, found, strict=True):
            part = held[row, start : start + weight.numel()]
            part.zero_() if gradient is None else part.copy_(gradient.reshape(-1))
            start += weight.numel()
    return (held @ held.T).double().numpy()
