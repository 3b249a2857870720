"""Embed a task: encode its training texts, fit the heads, estimate the Fisher information."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charkit.config import Progress, TaskKind, no_progress
from charkit.encoders import Encoder, LayerStates, encode, encode_to_store
from charkit.errors import DataError, UsageError
from charkit.fisher import FisherOptions, Head, TaskEmbedding, fisher_embeddings, make_head
from charkit.fisher.estimate import DEFAULT_OPTIONS
from charkit.fisher.token_states import TokenStates
from charkit.store import Store
from charkit.tasks.task import Split, Task


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
        strengths: Grid to choose from; default `charkit.heads.strength.default_strengths`.

    Returns:
        Layer, 0 to L -> its head.

    Raises:
        DataError: Fewer than two classes have a text, or targets do not vary.
        UsageError: An argument is out of range.
    """
    import torch

    from charkit.heads.ridge import fit_ridge
    from charkit.heads.softmax import fit_softmax

    numbers = [states.resolve(layer) for layer in layers]
    features = np.stack([states.layer(k) for k in numbers])
    labels = np.array(labels)  # torch warns of read-only ones
    if kind == "classification":
        fitted = fit_softmax(features, labels, n_classes, strengths=strengths, dtype=torch.float64)
        pairs = zip(fitted.weights.numpy(), fitted.bias.numpy(), strict=True)
        made = [make_head(weights, bias) for weights, bias in pairs]
        return dict(zip(numbers, made, strict=True))
    ridge = fit_ridge(features, labels, strengths=strengths, dtype=torch.float64)
    noise = ridge.scores.min(1).values
    if not bool((noise > 0).all()):
        raise DataError(
            "targets do not vary: expected noise around the head's predictions, got none. A "
            "Gaussian likelihood needs some."
        )
    triples = zip(ridge.weights.numpy(), ridge.bias.numpy(), noise.tolist(), strict=True)
    made = [make_head(w, b, kind="regression", variance=v) for w, b, v in triples]
    return dict(zip(numbers, made, strict=True))


def embed_task(
    task: Task,
    encoder: Encoder,
    *,
    head_layers: Sequence[int] = (-1,),
    split: Split | None = None,
    heads: dict[int, Head] | None = None,
    options: FisherOptions = DEFAULT_OPTIONS,
    strengths: Sequence[float] | None = None,
    states: TokenStates | None = None,
    store: Store | None = None,
    name: str | None = None,
    progress: Progress = no_progress,
) -> dict[int, TaskEmbedding]:
    """Embed a task, or another sample of texts under the task's heads.

    Heads are fitted to the task's training part. What is embedded is that part as well, or
    ``split``: for instance ``task.evaluation``, whose labels, if any, are not read (unless the
    estimator is ``empirical``).

    Args:
        task: Labelled training texts.
        encoder: The encoder.
        head_layers: The layers that heads read, 1 to L, or negative from the end.
        split: What to embed; default the training part.
        heads: Heads fitted before, layer (1 to L) -> head; then none is fitted.
        options: Layers, parts, estimator, lengths, pooling.
        strengths: Grid of L2 strengths for the heads.
        states: Token states of what is embedded, from `charkit.fisher.cache_states`.
        store: Where pooled states are kept; None keeps them in memory.
        name: What tables call the result; default the task's name.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        Layer of the head, 1 to L -> the embedding.

    Raises:
        UsageError: An argument is out of range.
        DataError: The training part has no labels, or too few classes.
    """
    if heads is None:
        heads = _fitted(task, encoder, head_layers, options, strengths, store, progress)
    return fisher_embeddings(
        encoder,
        task.train if split is None else split,
        heads,
        options=options,
        states=states,
        name=task.name if name is None else name,
        progress=progress,
    )


def _fitted(
    task: Task,
    encoder: Encoder,
    layers: Sequence[int],
    options: FisherOptions,
    strengths: Sequence[float] | None,
    store: Store | None,
    progress: Progress,
) -> dict[int, Head]:
    if not layers:
        raise UsageError("no head is named: expected at least one of head_layers, got none.")
    if task.train.labels is None:
        raise DataError(
            f"{task.name} has no labels to fit a head to: expected labelled training texts, got "
            "none. Hand over heads fitted elsewhere."
        )
    if store is None:
        pooled = encode(
            encoder,
            task.train,
            pooling=options.pooling,
            max_length=options.max_length,
            progress=progress,
        )
    else:
        pooled = encode_to_store(
            encoder,
            task.train,
            store=store,
            pooling=options.pooling,
            max_length=options.max_length,
            progress=progress,
        )
    return fit_heads(
        pooled,
        task.train.labels,
        layers=layers,
        kind=task.kind,
        n_classes=task.n_classes,
        strengths=strengths,
    )
