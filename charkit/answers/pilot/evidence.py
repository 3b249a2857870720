"""The evidence that a pilot gives: from states and labels to one row of numbers a layer.

Nothing here reads a label of the evaluation texts. What cannot be known is NaN.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from charkit.answers.pilot.limits import GATHERING
from charkit.config import Progress, no_progress
from charkit.errors import DataError, UsageError
from charkit.heads.metrics.influence import balanced_accuracy, macro_f1
from charkit.heads.metrics.label_free import label_free_accuracy
from charkit.heads.sample.alignment import (
    Alignment,
    label_alignment,
    predict_accuracy,
    ridge_error_curve,
    shrunk_shares,
)
from charkit.heads.sample.out_of_fold import SampleHeads, fit_sample_heads, shuffled_accuracy
from charkit.heads.sample.sample_scores import circular_parts, part_scores, sample_scores
from charkit.heads.solver.design import Spectrum, class_gap, make_spectrum, spectrum_shape
from charkit.parallel.jobs import threads_limited

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Columns = dict[str, FloatArray | float]

PARTS = {"125": (0.125, 8), "250": (0.25, 8), "500": (0.5, 6), "800": (0.8, 5)}
"""Column of the curve -> share of the sample that heads are trained on, and how many parts."""

MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
ALIGNED = (4, 16, 64)
RANDOM_PENALTIES = (30.0, 3.0, 0.3)

_STEPS = len(PARTS) + 3  # the heads of the sample, scores and controls, each size, the rest
# Only against the logarithm of zero; float32 probabilities end long before.
_LOSS_FLOOR = 1e-12
_FEWEST_FOR_SPECTRUM = 4


@threads_limited(1)
def gather_evidence(
    states: NDArray[np.floating],
    labels: NDArray[np.integer] | None,
    unlabelled: NDArray[np.floating],
    *,
    n_classes: int,
    seed: int = 0,
    random_states: NDArray[np.floating] | None = None,
    heads: SampleHeads | None = None,
    progress: Progress = no_progress,
) -> pd.DataFrame:
    """Return one row a layer; columns as `metamodel.schema.EVIDENCE`, without the keys of names.

    Args:
        states: Pooled states of the labelled texts, (n_layers + 1, n0, width).
        labels: Their class codes, (n0,); None without labels.
        unlabelled: States of the evaluation texts, (n_layers + 1, m, width); m may be 0.
        n_classes: Number of classes of the task; some may lack a row.
        seed: Of inner splits, shuffled labels and clusters.
        random_states: States of the labelled texts at the last layer of a random encoder,
            (n0, width).
        heads: Those of the labelled texts; None: they are fitted here.
        progress: Called as ``progress("gather evidence", done, total)``.

    Raises:
        UsageError: Shapes do not fit, or labels are no class codes.
        DataError: States are not finite, or the labels have one class.
    """
    codes = None if labels is None or not len(labels) else np.asarray(labels)
    known, others = _checked(states, codes, unlabelled, n_classes)
    progress(GATHERING, 0, _STEPS)
    n_layers, n0 = known.shape[0] - 1, 0 if codes is None else len(codes)
    columns: Columns = {
        "n0": n0,
        "layer": np.arange(n_layers + 1.0),
        "n_layers": n_layers,
        "n_classes": n_classes,
        "n_unlabelled": others.shape[1],
        "width": known.shape[2],
        **dict.fromkeys((*LABELLED, *BESIDE), np.nan),
        **dict.fromkeys(LABEL_FREE, np.nan),
    }
    everything = torch.cat([known, others], 1) if n0 else others
    spectrum = None
    if everything.shape[1] >= _FEWEST_FOR_SPECTRUM:
        spectrum = make_spectrum(everything)
        columns |= _spectrum_columns(
            others if others.shape[1] else known, spectrum, n_classes, seed
        )
    if codes is not None:
        whole = codes.astype(np.int64)
        columns |= _labelled(
            known, whole, others, spectrum, n_classes, seed, heads=heads, progress=progress
        )
        if random_states is not None:
            columns["random_accuracy"] = random_accuracy(random_states, whole, n_classes)
    progress(GATHERING, _STEPS, _STEPS)
    table = pd.DataFrame(columns, index=range(n_layers + 1))
    whole_numbers = ["n0", "layer", "n_layers", "n_classes", "n_unlabelled", "width"]
    rest = [name for name in table.columns if name not in whole_numbers]
    return table.astype({**dict.fromkeys(whole_numbers, "int64"), **dict.fromkeys(rest, "float64")})


LABELLED = (
    "majority", "label_entropy",
    "curve_125", "curve_250", "curve_500", "curve_800", "curve_1000", "loss_500", "loss_1000",
    "oof_accuracy", "oof_loss", "oof_confidence", "oof_margin", "oof_margin_q25", "oof_entropy",
    "spectral_1", "spectral_2", "spectral_4", "spectral_8", "spectral_16", "spectral_32",
    "spectral_64", "alignment_4", "alignment_16", "alignment_64", "spectral_noise",
    "atc", "doc", "average_confidence", "confidence_gap", "class_shift", "state_shift",
    "logme", "h_score", "knn_accuracy", "random_accuracy", "shuffled_accuracy",
)  # fmt: skip
"""Columns that need labels."""

BESIDE = ("oof_macro_f1", "oof_balanced_accuracy")
"""Columns for people, where accuracy says little of rare classes; the metamodel reads none."""

LABEL_FREE = (
    "rank_participation", "rank_entropy", "decay", "top_share", "class_gap",
    "fisher_norm", "fisher_low", "fisher_mid", "fisher_high", "fisher_own", "fisher_spread",
    "fisher_trivial", "fisher_shift", "fisher_near", "fisher_near_5",
)  # fmt: skip
"""Columns that need none, or a head from elsewhere."""


def _checked(
    states: NDArray[np.floating],
    labels: NDArray[np.generic] | None,
    unlabelled: NDArray[np.floating],
    n_classes: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both as float32 tensors."""
    shapes = states.shape, unlabelled.shape
    if len(shapes[0]) != 3 or len(shapes[1]) != 3 or shapes[0][::2] != shapes[1][::2]:
        raise UsageError(
            "states do not fit: expected (layers, texts, width) of the same layers and width for "
            f"labelled and unlabelled texts, got {shapes[0]} and {shapes[1]}."
        )
    if labels is not None and labels.shape != states.shape[1:2]:
        raise UsageError(
            f"labels do not fit: expected {states.shape[1]} class codes, got shape {labels.shape}."
        )
    if n_classes < 2:
        raise UsageError(f"n_classes is out of range: expected at least 2, got {n_classes}.")
    for name, values in (("states", states), ("unlabelled", unlabelled)):
        if not np.isfinite(values).all():
            raise DataError(f"{name} are not finite: expected numbers, got NaN or infinity.")
    known = torch.from_numpy(np.array(states, np.float32))
    return known, torch.from_numpy(np.array(unlabelled, np.float32))


def _spectrum_columns(rows: torch.Tensor, spectrum: Spectrum, n_classes: int, seed: int) -> Columns:
    shape = spectrum_shape(spectrum)
    return {
        "rank_participation": shape.rank_participation,
        "rank_entropy": shape.rank_entropy,
        "decay": shape.decay,
        "top_share": shape.top_share,
        "class_gap": class_gap(rows, spectrum, n_classes, seed=seed),
    }


def _labelled(
    known: torch.Tensor,
    labels: IntArray,
    others: torch.Tensor,
    spectrum: Spectrum | None,
    n_classes: int,
    seed: int,
    *,
    heads: SampleHeads | None,
    progress: Progress,
) -> Columns:
    codes = torch.from_numpy(labels)
    heads = fit_sample_heads(known, codes, n_classes) if heads is None else heads
    progress(GATHERING, 1, _STEPS)
    shares = np.bincount(labels, minlength=n_classes) / len(labels)
    some = shares[shares > 0]
    wide = known.double().numpy()
    scores = sample_scores(wide, labels)
    columns: Columns = {
        "majority": float(shares.max()),
        "label_entropy": float(-(some * np.log(some)).sum() / np.log(n_classes)),
        "logme": scores.logme,
        "h_score": scores.h_score,
        "knn_accuracy": scores.knn_accuracy,
        "shuffled_accuracy": shuffled_accuracy(known, codes, heads.penalty, seed=seed),
    }
    progress(GATHERING, 2, _STEPS)
    columns |= _left_out_columns(heads, labels)
    columns |= _curve_columns(known, labels, heads, seed, progress)
    if others.shape[1]:
        columns |= _label_free_columns(heads, labels, shares, others)
        columns["state_shift"] = _state_shift(known, others)
    if spectrum is not None and len(labels) >= _FEWEST_FOR_SPECTRUM:
        alignment = label_alignment(wide, labels, spectrum)
        columns |= _spectral_columns(alignment, spectrum, columns)
    return columns


def _left_out_columns(heads: SampleHeads, labels: IntArray) -> Columns:
    """Return metrics of the leave-one-out predictions; none where no class has two rows."""
    if not heads.counted.any():
        return {}
    left_out, codes = heads.left_out[:, heads.counted], labels[heads.counted]
    index = np.broadcast_to(codes[:, None], (len(left_out), len(codes), 1))
    own = np.take_along_axis(left_out, index, 2)[..., 0]
    rest = left_out.copy()
    np.put_along_axis(rest, index, -1.0, 2)
    margin = own - rest.max(2)
    predicted = left_out.argmax(2)
    accuracy = (predicted == codes).mean(1)
    loss = -np.log(np.maximum(own, _LOSS_FLOOR)).mean(1)
    logs = np.log(np.maximum(left_out, _LOSS_FLOOR))
    return {
        "curve_1000": accuracy,
        "loss_1000": loss,
        "oof_accuracy": accuracy,
        "oof_macro_f1": macro_f1(predicted, codes, left_out.shape[2]).value,
        "oof_balanced_accuracy": balanced_accuracy(predicted, codes, left_out.shape[2]).value,
        "oof_loss": loss,
        "oof_confidence": left_out.max(2).mean(1),
        "oof_margin": margin.mean(1),
        "oof_margin_q25": np.quantile(margin, 0.25, axis=1),
        "oof_entropy": -(left_out * logs).sum(2).mean(1),
    }


def _curve_columns(
    known: torch.Tensor, labels: IntArray, heads: SampleHeads, seed: int, progress: Progress
) -> Columns:
    columns: Columns = {}
    n_present = len(np.unique(labels))
    for place, (name, (share, n_parts)) in enumerate(PARTS.items()):
        progress(GATHERING, 2 + place, _STEPS)
        size = round(share * len(labels))
        if not n_present <= size < len(labels):
            continue
        parts = circular_parts(labels, size, n_parts, seed=seed)
        scores = part_scores(known, labels, parts, heads.penalty)
        columns[f"curve_{name}"] = scores.accuracy
        if name == "500":
            columns["loss_500"] = scores.loss
    return columns


def _label_free_columns(
    heads: SampleHeads, labels: IntArray, shares: FloatArray, others: torch.Tensor
) -> Columns:
    probabilities = heads.probabilities(others)
    columns: Columns = {
        "average_confidence": probabilities.max(2).mean(1),
        "class_shift": np.abs(probabilities.mean(1) - shares).sum(1) / 2,
    }
    if heads.counted.any():
        inside, codes = heads.left_out[:, heads.counted], labels[heads.counted]
        found = [
            label_free_accuracy(p, codes, q) for p, q in zip(inside, probabilities, strict=True)
        ]
        columns["atc"] = np.array([one.atc_confidence for one in found])
        columns["doc"] = np.array([one.doc for one in found])
        columns["confidence_gap"] = inside.max(2).mean(1) - probabilities.max(2).mean(1)
    return columns


def _state_shift(known: torch.Tensor, others: torch.Tensor) -> FloatArray:
    """Return the distance between means, less what two samples of one kind would have."""
    if min(known.shape[1], others.shape[1]) < 2:
        return np.full(known.shape[0], np.nan)
    n, m = known.shape[1], others.shape[1]
    squares = (n - 1) * known.double().var(1) + (m - 1) * others.double().var(1)
    variance = squares / (n + m - 2)
    apart = (known.mean(1, dtype=torch.float64) - others.mean(1, dtype=torch.float64)).square()
    ratio = torch.where(variance > 0, apart / variance, 0.0).mean(1)
    return np.asarray((ratio - 1 / n - 1 / m).clamp_min(0).sqrt().numpy())


def _spectral_columns(alignment: Alignment, spectrum: Spectrum, columns: Columns) -> Columns:
    smooth = shrunk_shares(alignment, spectrum)
    n, size = alignment.n_samples, len(spectrum.values)
    found: Columns = {f"alignment_{k}": alignment.leading(k) for k in ALIGNED}
    found["spectral_noise"] = smooth.noise
    names = ("250", "500", "800", "1000")
    seen = np.stack(
        [np.broadcast_to(columns.get(f"curve_{name}", np.nan), size) for name in names], 1
    )
    fractions = np.array([int(name) / 1000 for name in names])
    sizes = np.concatenate([fractions * n, np.array(MULTIPLES) * n])
    errors = ridge_error_curve(spectrum.values, smooth.shares, smooth.noise, sizes)
    split = len(names)
    accuracy = predict_accuracy(
        errors[:, :split], seen, fractions, errors[:, split:], majority=float(columns["majority"])
    )
    found |= {f"spectral_{k}": accuracy[:, place] for place, k in enumerate(MULTIPLES)}
    return found


@threads_limited(1)
def random_accuracy(random_states: NDArray[np.floating], labels: IntArray, n_classes: int) -> float:
    """Return the leave-one-out accuracy on states of a random encoder, a control.

    Args:
        random_states: (n, width).
        labels: Class codes, (n,).
        n_classes: Number of classes of the task.
    """
    rows = torch.from_numpy(np.array(random_states, np.float32))[None]
    heads = fit_sample_heads(rows, torch.from_numpy(labels), n_classes, penalties=RANDOM_PENALTIES)
    accuracy = _left_out_columns(heads, labels).get("oof_accuracy")
    return float("nan") if accuracy is None else float(np.asarray(accuracy)[0])
