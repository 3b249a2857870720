"""The heads under which tasks are embedded: converged, with figures, kept in the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charkit.config import Pooling, Progress, TaskKind, no_progress
from charkit.encoders import Encoder, LayerStates, encode_to_store
from charkit.encoders.states import resolve_layer
from charkit.errors import DataError, UsageError
from charkit.fisher import Head, make_head
from charkit.parallel.jobs import threads_limited
from charkit.store.cached import cached
from charkit.store.durable import write_whole
from charkit.store.manifest import Clock, run_manifest
from charkit.store.store import Store
from charkit.tasks.task import Task

KIND = "task_heads"
FORMAT_VERSION = 2
# Heads of four fifths of the labels: their accuracy is a little below that of the head of all.
N_FOLDS = 5


@dataclass(frozen=True)
class HeadMetrics:
    """How well a head does, and how it was fitted.

    Attributes:
        layer: The layer it reads.
        score: On texts left out of the fit: accuracy in five folds, at the chosen strength; the
            share of variance explained, leaving one text out at a time, for regression. NaN
            where fewer than two classes have two texts.
        left_out_loss: Leave-one-out loss at the chosen strength, in nats; mean squared error
            for regression. NaN for classes where one strength was given: none was compared.
        strength: Chosen strength of the L2 penalty.
        gradient_norm: Of the objective at the head, relative to the head of class shares only.
        converged: Whether the solver reached its tolerance.
        n_train: Labelled texts.
        fingerprint: Hash of the head's numbers.
    """

    layer: int
    score: float
    left_out_loss: float
    strength: float
    gradient_norm: float
    converged: bool
    n_train: int
    fingerprint: str


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A head and its figures."""

    head: Head
    figures: HeadMetrics


@threads_limited(1)
def fit_heads(
    states: LayerStates,
    labels: NDArray[Any],
    *,
    layers: Sequence[int],
    kind: TaskKind,
    n_classes: int = 0,
    strengths: Sequence[float] | None = None,
) -> dict[int, Head]:
    """Fit one converged head a layer, its L2 strength chosen by leave-one-out loss.

    A regression head takes the noise around the target to have the variance of the
    leave-one-out errors.

    Args:
        states: Pooled states of the labelled texts.
        labels: Class codes, or real targets, (n_samples,).
        layers: 0 to L, or negative from the end.
        kind: Classification or regression.
        n_classes: For classification.
        strengths: Grid to choose from; default
            `charkit.heads.solver.leave_one_out.default_strengths`.

    Returns:
        Layer, 0 to L -> its head.

    Raises:
        DataError: Fewer than two classes have a text, or targets do not vary.
        UsageError: An argument is out of range.
    """
    heads, _ = _fit(
        states, labels, layers=layers, kind=kind, n_classes=n_classes, strengths=strengths
    )
    return heads


@threads_limited(1)
def fit_heads_with_figures(
    states: LayerStates,
    labels: NDArray[Any],
    *,
    layers: Sequence[int],
    kind: TaskKind,
    n_classes: int = 0,
    strengths: Sequence[float] | None = None,
) -> dict[int, FittedHead]:
    """Fit heads as `fit_heads` does, and say how well they do on texts left out.

    Returns:
        Layer, 0 to L -> its head and figures.

    Raises:
        DataError: Fewer than two classes have a text, or targets do not vary.
        UsageError: An argument is out of range.
    """
    heads, fitted = _fit(
        states, labels, layers=layers, kind=kind, n_classes=n_classes, strengths=strengths
    )
    found = {}
    for place, (layer, head) in enumerate(heads.items()):
        strength = float(fitted.strength[place])
        if kind == "classification":
            loss = float(fitted.left_out_loss[place])
            score = _folded_accuracy(states.layer(layer), labels, n_classes, strength)
        else:
            loss = float(fitted.scores[place].min())
            score = 1 - loss / float(np.var(labels))
        figures = HeadMetrics(
            layer=layer,
            score=score,
            left_out_loss=loss,
            strength=strength,
            gradient_norm=float(fitted.gradient_norm[place]),
            converged=bool(fitted.converged[place]),
            n_train=len(labels),
            fingerprint=head.fingerprint,
        )
        found[layer] = FittedHead(head, figures)
    return found


def _fit(
    states: LayerStates,
    labels: NDArray[Any],
    *,
    layers: Sequence[int],
    kind: TaskKind,
    n_classes: int,
    strengths: Sequence[float] | None,
) -> tuple[dict[int, Head], Any]:
    import torch

    from charkit.heads.solver.ridge import fit_ridge
    from charkit.heads.solver.softmax import fit_softmax

    numbers = [states.resolve(layer) for layer in layers]
    features = np.stack([states.layer(k) for k in numbers])
    labels = np.array(labels)  # torch warns of read-only ones
    if kind == "classification":
        fitted = fit_softmax(features, labels, n_classes, strengths=strengths, dtype=torch.float64)
        pairs = zip(fitted.weights.numpy(), fitted.bias.numpy(), strict=True)
        made = [make_head(weights, bias) for weights, bias in pairs]
        return dict(zip(numbers, made, strict=True)), fitted
    ridge = fit_ridge(features, labels, strengths=strengths, dtype=torch.float64)
    noise = ridge.scores.min(1).values
    if not bool((noise > 0).all()):
        raise DataError(
            "targets do not vary: expected noise around the head's predictions, got none. A "
            "Gaussian likelihood needs some."
        )
    triples = zip(ridge.weights.numpy(), ridge.bias.numpy(), noise.tolist(), strict=True)
    made = [make_head(w, b, kind="regression", variance=v) for w, b, v in triples]
    return dict(zip(numbers, made, strict=True)), ridge


def _folded_accuracy(
    features: NDArray[np.float32], labels: NDArray[Any], n_classes: int, strength: float
) -> float:
    """Return the accuracy of heads fitted to the other folds, the total penalty kept."""
    from charkit.heads.solver.softmax import fit_softmax

    codes = np.array(labels, np.int64)
    if (np.bincount(codes) > 1).sum() < 2:
        return float("nan")
    order = np.random.default_rng(0).permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    fold = np.empty(len(codes), np.int64)
    fold[order] = np.arange(len(codes)) % N_FOLDS
    right = 0
    for k in np.unique(fold):
        kept, out = fold != k, fold == k
        again = strength * len(codes) / kept.sum()
        heads = fit_softmax(features[None, kept], codes[kept], n_classes, strengths=(again,))
        predicted = heads.logits(features[None, out])[0].argmax(1).numpy()
        right += int((predicted == codes[out]).sum())
    return right / len(codes)


def heads_config(
    task: Task,
    encoder: Encoder,
    *,
    layers: Sequence[int],
    strengths: Sequence[float] | None = None,
    pooling: Pooling = "mean",
    max_length: int | None = None,
) -> dict[str, Any]:
    """Return what determines a task's heads; its `content_hash` is their key in the store.

    Raises:
        UsageError: No head is named, or a layer is out of range.
        DataError: The training part has no labels.
    """
    if not layers:
        raise UsageError("no head is named: expected at least one of head_layers, got none.")
    if task.train.labels is None:
        raise DataError(
            f"{task.name} has no labels to fit a head to: expected labelled training texts, got "
            "none. Hand over heads fitted elsewhere."
        )
    return {
        "kind": KIND,
        "format": FORMAT_VERSION,
        "encoder": encoder.fingerprint,
        "train": task.train.fingerprint,
        "task_kind": task.kind,
        "n_classes": task.n_classes,
        "layers": sorted({resolve_layer(k, n_layers=encoder.n_layers) for k in layers}),
        "strengths": None if strengths is None else [float(s) for s in strengths],
        "pooling": pooling,
        "max_length": encoder.text_length(max_length),
        "dtype": encoder.dtype,
    }


def heads_to_store(
    task: Task,
    encoder: Encoder,
    *,
    store: Store,
    layers: Sequence[int] = (-1,),
    strengths: Sequence[float] | None = None,
    pooling: Pooling = "mean",
    max_length: int | None = None,
    progress: Progress = no_progress,
) -> dict[int, FittedHead]:
    """Return a task's heads from the store, fitting them when they are not there.

    Args:
        task: Labelled training texts.
        encoder: The encoder.
        store: Where pooled states and heads are kept.
        layers: The layers that heads read, 0 to L, or negative from the end.
        strengths: Grid of L2 strengths.
        pooling: How token states become what the heads read.
        max_length: Most tokens a text keeps; default `Encoder.text_length`.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        Layer, 0 to L -> its head and figures.

    Raises:
        UsageError: An argument is out of range.
        DataError: The training part has no labels, or too few classes.
    """
    config = heads_config(
        task,
        encoder,
        layers=layers,
        strengths=strengths,
        pooling=pooling,
        max_length=max_length,
    )

    def make(folder: Path) -> dict[str, Any]:
        return _make(folder, task, encoder, config, strengths, store, progress)

    return cached(store, KIND, config, make=make, load=_read, progress=progress).value


def _make(
    folder: Path,
    task: Task,
    encoder: Encoder,
    config: dict[str, Any],
    strengths: Sequence[float] | None,
    store: Store,
    progress: Progress,
) -> dict[str, Any]:
    from safetensors.numpy import save

    clock = Clock()
    states = encode_to_store(
        encoder,
        task.train,
        store=store,
        pooling=config["pooling"],
        max_length=config["max_length"],
        progress=progress,
    )
    assert task.train.labels is not None
    fitted = fit_heads_with_figures(
        states,
        task.train.labels,
        layers=config["layers"],
        kind=task.kind,
        n_classes=task.n_classes,
        strengths=strengths,
    )
    tensors: dict[str, NDArray[Any]] = {}
    for layer, found in fitted.items():
        tensors[f"weights.{layer}"] = np.ascontiguousarray(found.head.weights)
        tensors[f"bias.{layer}"] = np.ascontiguousarray(found.head.bias)
        tensors[f"variance.{layer}"] = np.array([found.head.variance])
    write_whole(folder / "heads.safetensors", save(tensors))
    index = {
        "name": task.name,
        "encoder": encoder.name,
        "n_train": len(task.train),
        "task_kind": task.kind,
        "heads": [plain_figures(f.figures) for f in fitted.values()],
    }
    write_whole(folder / "index.json", json.dumps(index, indent=1, sort_keys=True).encode())
    return run_manifest(
        config,
        clock=clock,
        seeds={} if encoder.random_seed is None else {"weights": encoder.random_seed},
        fingerprints={"encoder": encoder.fingerprint, "train": task.train.fingerprint},
        device="cpu",
        dtype="float64",
    )


def _read(folder: Path) -> dict[int, FittedHead]:
    from safetensors.numpy import load_file

    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / "heads.safetensors")
    found = {}
    for fields in index["heads"]:
        figures = read_figures(fields)
        k = figures.layer
        head = make_head(
            tensors[f"weights.{k}"],
            tensors[f"bias.{k}"],
            kind=index["task_kind"],
            variance=float(tensors[f"variance.{k}"][0]),
        )
        found[k] = FittedHead(head, figures)
    return found


def plain_figures(figures: HeadMetrics) -> dict[str, Any]:
    """Return figures for JSON: what is not a number becomes None."""
    return {k: None if v != v else v for k, v in asdict(figures).items()}


def read_figures(fields: dict[str, Any]) -> HeadMetrics:
    """Return what `plain_figures` wrote."""
    values: dict[str, Any] = {k: float("nan") if v is None else v for k, v in fields.items()}
    return HeadMetrics(**values)
