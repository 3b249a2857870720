"""Embed a task: encode its training texts, fit the heads, estimate the Fisher information.

What determines the embeddings is their key in the store.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from charkit.answers.embedding.heads import (
    HeadMetrics,
    fit_heads,
    heads_config,
    heads_to_store,
    plain_figures,
    read_figures,
)
from charkit.answers.embedding.token_cache import cache_to_store
from charkit.answers.embedding.variational_fits import (
    FitDiagnostics,
    fit_each,
    read_fits,
    write_fits,
)
from charkit.config import Progress, no_progress
from charkit.encoders import Encoder, encode, encode_to_store
from charkit.encoders.states import resolve_layer
from charkit.errors import UnknownNameError, UsageError
from charkit.fisher import (
    FisherOptions,
    Head,
    TaskEmbedding,
    VariationalOptions,
    fisher_embeddings,
    load_embedding,
    save_embedding,
)
from charkit.fisher.forward import TokenStates, choose_budget
from charkit.fisher.labels import ESTIMATORS
from charkit.fisher.layout import check_parts, chosen_layers, head_layer_number
from charkit.fisher.options import DEFAULT_OPTIONS, check_options, check_variational
from charkit.store.cached import cached
from charkit.store.durable import write_whole
from charkit.store.manifest import Clock, run_manifest
from charkit.store.store import Store
from charkit.tasks.task import Split, Task

KIND = "fisher"
FORMAT_VERSION = 1

VARIATIONAL = "variational"
"""The name of the estimator whose options are `VariationalOptions`."""

Options = FisherOptions | VariationalOptions
"""How embeddings are estimated: directly, or by what the weights can bear."""


def embeddings_config(
    task: Task,
    encoder: Encoder,
    split: Split,
    *,
    head_layers: Sequence[int],
    options: Options,
    strengths: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Return what determines embeddings: heads, texts and every option; its hash is their key.

    Args:
        task: Labelled training texts.
        encoder: The encoder.
        split: What is embedded.
        head_layers: The layers that heads read, 1 to L, or negative from the end.
        options: How they are estimated.
        strengths: Grid of L2 strengths for the heads.

    Raises:
        UsageError: An argument is out of range.
        DataError: Labels that are needed are missing.
    """
    n_layers = encoder.n_layers
    heads = heads_config(
        task,
        encoder,
        layers=[head_layer_number(k, n_layers=n_layers) for k in head_layers],
        strengths=strengths,
        pooling=options.pooling,
        max_length=options.max_length,
    )
    given = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
    if isinstance(options, VariationalOptions):
        check_variational(options, labelled=split.labels is not None)
        reads_labels = options.gradient == "given"
        budget = choose_budget(encoder, options.token_budget)  # a batch is a step
        given |= {"estimator": VARIATIONAL, "token_budget": budget}
    else:
        if options.estimator not in ESTIMATORS:
            raise UnknownNameError("estimator", options.estimator, ESTIMATORS)
        check_options(options)
        reads_labels = options.estimator == "empirical"
        del given["token_budget"]  # it changes results only by rounding
    resolved = {
        "layers": list(chosen_layers(options.layers, heads["layers"], n_layers=n_layers)),
        "parts": list(check_parts(options.parts)),
        "max_length": heads["max_length"],
    }
    return {
        "kind": KIND,
        "format": FORMAT_VERSION,
        "heads": heads,
        "texts": split.fingerprint if reads_labels else split.text_fingerprint,
        "options": given | resolved,
    }


def check_cache_layer(cache_layer: int | None, lowest: int, *, n_layers: int) -> None:
    """Refuse to keep token states that no chosen layer could begin from.

    Args:
        cache_layer: 0 to L - 1, or negative from the end; None keeps none.
        lowest: The lowest chosen layer, 1 to L.
        n_layers: The encoder's number of layers L.

    Raises:
        UsageError: It is not below the lowest chosen layer.
    """
    if cache_layer is not None and resolve_layer(cache_layer, n_layers=n_layers) >= lowest:
        raise UsageError(
            f"cache_layer is too high: expected at most {lowest - 1}, below the lowest chosen "
            f"layer, got {cache_layer}."
        )


__all__ = ["KeptEmbeddings", "embed_cached", "embed_task", "fit_heads"]


@dataclass(frozen=True, eq=False)
class KeptEmbeddings:
    """Embeddings from the store, with the figures of their heads.

    Attributes:
        key: The entry's key.
        embeddings: Layer of the head, 1 to L -> the embedding.
        heads: Layer of the head -> its figures.
        found: Whether the store had them already.
        fits: Layer of the head -> how far its search came; empty unless variational.
    """

    key: str
    embeddings: dict[int, TaskEmbedding]
    heads: dict[int, HeadMetrics]
    found: bool
    fits: dict[int, FitDiagnostics] = field(default_factory=dict)


def embed_task(
    task: Task,
    encoder: Encoder,
    *,
    head_layers: Sequence[int] = (-1,),
    split: Split | None = None,
    heads: dict[int, Head] | None = None,
    options: Options = DEFAULT_OPTIONS,
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
        options: Layers, parts, estimator, lengths, pooling; `charkit.fisher.VariationalOptions`
            for the variational estimator.
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
        RefusalError: A variational search has not converged; the fit is attached.
    """
    if heads is None:
        heads = _fitted(task, encoder, head_layers, options, strengths, store, progress)
    return _estimated(
        encoder,
        task.train if split is None else split,
        heads,
        options=options,
        states=states,
        name=task.name if name is None else name,
        progress=progress,
    )[0]


def _estimated(
    encoder: Encoder,
    split: Split,
    heads: dict[int, Head],
    *,
    options: Options,
    states: TokenStates | None,
    name: str,
    progress: Progress,
) -> tuple[dict[int, TaskEmbedding], dict[int, FitDiagnostics]]:
    """Return the embeddings, and the figures of a search where there was one."""
    if isinstance(options, VariationalOptions):
        return fit_each(
            encoder,
            split,
            heads,
            options=options,
            states=states,
            name=name,
            progress=progress,
        )
    found = fisher_embeddings(
        encoder, split, heads, options=options, states=states, name=name, progress=progress
    )
    return found, {}


def _fitted(
    task: Task,
    encoder: Encoder,
    layers: Sequence[int],
    options: Options,
    strengths: Sequence[float] | None,
    store: Store | None,
    progress: Progress,
) -> dict[int, Head]:
    config = heads_config(task, encoder, layers=layers, pooling=options.pooling)
    assert task.train.labels is not None
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
        layers=config["layers"],
        kind=task.kind,
        n_classes=task.n_classes,
        strengths=strengths,
    )


def embed_cached(
    task: Task,
    encoder: Encoder,
    *,
    head_layers: Sequence[int] = (-1,),
    split: Split | None = None,
    options: Options = DEFAULT_OPTIONS,
    strengths: Sequence[float] | None = None,
    cache_layer: int | None = None,
    store: Store | None = None,
    name: str | None = None,
    progress: Progress = no_progress,
) -> KeptEmbeddings:
    """Embed a task as `embed_task` does, once: a second call reads the result from the store.

    Args:
        task: Labelled training texts.
        encoder: The encoder.
        head_layers: The layers that heads read, 1 to L, or negative from the end.
        split: What to embed; default the training part.
        options: Layers, parts, estimator, lengths, pooling; `charkit.fisher.VariationalOptions`
            for the variational estimator.
        strengths: Grid of L2 strengths for the heads.
        cache_layer: Token states of this layer, 0 to L - 1, below all chosen ones, are kept in
            the store too: other heads, labels and estimators of the same texts then begin
            there. Changes results only by rounding, and is no part of the key.
        store: Where states, heads and embeddings are kept. Default: the user's cache, or
            $CHARKIT_CACHE.
        name: What tables call the result; default the task's name. No part of the key.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        The embeddings by layer of the head, their key, and the metrics of the heads.

    Raises:
        UsageError: An argument is out of range.
        DataError: The training part has no labels, or too few classes.
        RefusalError: A variational search has not converged; the fit is attached.
        MissingError: The store cannot be written.
    """
    store = store or Store()
    split = task.train if split is None else split
    config = embeddings_config(
        task, encoder, split, head_layers=head_layers, options=options, strengths=strengths
    )
    check_cache_layer(cache_layer, min(config["options"]["layers"]), n_layers=encoder.n_layers)
    work = _Work(task, encoder, split, options, strengths, cache_layer, progress)
    kept = cached(
        store,
        KIND,
        config,
        make=lambda folder: work.run(folder, store, config),
        load=lambda folder: _read(folder, encoder, task.name if name is None else name),
        progress=progress,
    )
    return replace(kept.value, key=kept.key, found=kept.found)


@dataclass(frozen=True)
class _Work:
    """Embeddings that the store lacks."""

    task: Task
    encoder: Encoder
    split: Split
    options: Options
    strengths: Sequence[float] | None
    cache_layer: int | None
    progress: Progress

    def run(self, folder: Path, store: Store, config: dict[str, Any]) -> dict[str, Any]:
        clock = Clock()
        fitted = heads_to_store(
            self.task,
            self.encoder,
            store=store,
            layers=config["heads"]["layers"],
            strengths=self.strengths,
            pooling=self.options.pooling,
            max_length=self.options.max_length,
            progress=self.progress,
        )
        embeddings, fits = _estimated(
            self.encoder,
            self.split,
            {k: f.head for k, f in fitted.items()},
            options=self.options,
            states=self._states(store),
            name="",
            progress=self.progress,
        )
        for layer, embedding in embeddings.items():
            save_embedding(embedding, folder / _file(layer))
        if fits:
            write_fits(folder, fits)
        self._write_index(folder, [plain_figures(f.figures) for f in fitted.values()])
        return run_manifest(
            config,
            clock=clock,
            seeds={"draws": self.options.seed},
            fingerprints={
                "encoder": self.encoder.fingerprint,
                "train": self.task.train.fingerprint,
                "texts": self.split.text_fingerprint,
            },
            device=self.encoder.device,
            dtype=self.encoder.dtype,
        )

    def _states(self, store: Store) -> TokenStates | None:
        if self.cache_layer is None:
            return None
        return cache_to_store(
            self.encoder,
            self.split,
            layer=self.cache_layer,
            store=store,
            max_length=self.options.max_length,
            token_budget=self.options.token_budget,
            progress=self.progress,
        )

    def _write_index(self, folder: Path, heads: list[dict[str, Any]]) -> None:
        index = {
            "name": self.task.name,
            "encoder": self.encoder.name,
            "n_samples": len(self.split),
            "heads": heads,
        }
        write_whole(folder / "index.json", json.dumps(index, indent=1, sort_keys=True).encode())


def _file(layer: int) -> str:
    return f"head-{layer:03d}.safetensors"


def _read(folder: Path, encoder: Encoder, name: str) -> KeptEmbeddings:
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    heads = {f.layer: f for f in map(read_figures, index["heads"])}
    embeddings = {
        layer: replace(load_embedding(folder / _file(layer)), name=name, encoder=encoder.name)
        for layer in heads
    }
    return KeptEmbeddings(folder.name, embeddings, heads, True, read_fits(folder))
