"""Which weights of an encoder does a task depend on? Its Fisher embeddings, from any source.

The sample, the encoder and the options are checked together before any work.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from charkit.answers.embedding.cache import (
    VARIATIONAL,
    KeptEmbeddings,
    Options,
    check_cache_layer,
    embed_cached,
    embeddings_config,
)
from charkit.answers.embedding.result import EmbeddedTask
from charkit.config import Pooling, Progress, no_progress, note, notes_are_shown, staged_by
from charkit.encoders.encoder import Encoder
from charkit.encoders.load import EncoderChoice, loaded
from charkit.errors import DataError, UnknownNameError, UsageError
from charkit.fisher import FisherOptions, VariationalOptions
from charkit.fisher.labels import ESTIMATORS
from charkit.fisher.layout import DEFAULT_PARTS
from charkit.heads.sweep.grid import Source
from charkit.store.store import Store
from charkit.tasks.card import LazyTask
from charkit.tasks.nested import sample_task
from charkit.tasks.task import Split, Task

logger = logging.getLogger(__name__)

SplitName = Literal["train", "evaluation"]
"""What is embedded: the labelled training texts, or the evaluation texts."""


def choose_options(
    estimator: str = "auto",
    *,
    layers: Sequence[int] | None = None,
    parts: Sequence[str] = DEFAULT_PARTS,
    n_draws: int = 1,
    relative_error: float | None = None,
    stop_at: float | None = None,
    beta: float | None = None,
    n_steps: int | None = None,
    seed: int = 0,
    pooling: Pooling = "mean",
    max_length: int | None = None,
) -> Options:
    """Return the options of an estimator by its name; the arguments are its fields.

    Raises:
        UsageError: The estimator is not known, or does not take an option that was given.
    """
    if estimator not in (*ESTIMATORS, VARIATIONAL):
        raise UnknownNameError("estimator", estimator, (*ESTIMATORS, VARIATIONAL))
    chosen = None if layers is None else tuple(layers)
    drawing = {"n_draws": n_draws, "relative_error": relative_error, "stop_at": stop_at}
    searching = {"beta": beta, "n_steps": n_steps}
    if estimator != VARIATIONAL:
        _refuse(searching, {"beta": None, "n_steps": None}, estimator)
        return FisherOptions(
            layers=chosen,
            parts=tuple(parts),
            pooling=pooling,
            estimator=estimator,
            n_draws=n_draws,
            relative_error=relative_error,
            stop_at=stop_at,
            seed=seed,
            max_length=max_length,
        )
    _refuse(drawing, {"n_draws": 1, "relative_error": None, "stop_at": None}, estimator)
    given: dict[str, Any] = {k: v for k, v in searching.items() if v is not None}
    return VariationalOptions(
        layers=chosen,
        parts=tuple(parts),
        pooling=pooling,
        seed=seed,
        max_length=max_length,
        **given,
    )


def _refuse(given: dict[str, Any], untouched: dict[str, Any], estimator: str) -> None:
    """Refuse options that belong to other estimators."""
    extra = [name for name, value in given.items() if value != untouched[name]]
    if extra:
        mine, theirs = ", ".join(untouched), ", ".join(extra)
        legal = f"{VARIATIONAL!r}" if estimator != VARIATIONAL else f"another than {VARIATIONAL!r}"
        raise UsageError(
            f"the estimator has no such option: expected {mine} with estimator {legal} alone, got "
            f"{theirs} with {estimator!r}. Leave it out, or choose another estimator."
        )


@dataclass(frozen=True, eq=False)
class EmbedPlan:
    """What is to be embedded, and how.

    Attributes:
        task: The sample of labelled texts, and the other texts as its evaluation part.
        encoder: The encoder.
        split: Which part is embedded.
        head_layers: The layers that heads read, 1 to L, rising.
        options: How the embeddings are estimated.
        cache_layer: Token states of this layer are kept.
        store: Where results are kept.
    """

    task: Task
    encoder: Encoder
    split: SplitName
    head_layers: tuple[int, ...]
    options: Options
    cache_layer: int | None
    store: Store

    @property
    def samples(self) -> Iterator[tuple[str, Split]]:
        """What is embedded: ``train``, and the other sample by what it has for labels."""
        yield "train", self.task.train
        other = self.task.evaluation
        if self.split == "evaluation" and other is not None:
            yield "unlabelled" if other.labels is None else "evaluation", other

    def config(self, split: Split) -> dict[str, Any]:
        """Return what determines the embeddings of a part; its hash is their key."""
        return embeddings_config(
            self.task, self.encoder, split, head_layers=self.head_layers, options=self.options
        )

    def answer(self, progress: Progress = no_progress) -> EmbeddedTask:
        """Embed what the store lacks.

        Raises:
            DataError: There are too few classes, or a result is not finite.
            RefusalError: A variational search has not converged; the fit is attached.
            MissingError: Memory or disk space is missing.
        """
        task = self.task
        found = {part: self._kept(split, part, progress) for part, split in self.samples}
        part, kept = list(found.items())[-1]
        trained = found["train"]
        counts = np.bincount(np.asarray(task.train.labels, np.int64)) if task.n_classes else None
        return EmbeddedTask(
            name=task.name,
            sample=part,
            embeddings=kept.embeddings,
            heads=trained.heads,
            trained={} if kept is trained else trained.embeddings,
            majority=float("nan") if counts is None else float(counts.max() / counts.sum()),
            key=kept.key,
            found=kept.found and trained.found,
            fits=kept.fits,
        )

    def _kept(self, split: Split, part: str, progress: Progress) -> KeptEmbeddings:
        name = self.task.name if part == "train" else f"{self.task.name} ({part})"
        return embed_cached(
            self.task,
            self.encoder,
            head_layers=self.head_layers,
            split=split,
            options=self.options,
            cache_layer=self.cache_layer,
            store=self.store,
            name=name,
            progress=staged_by(progress, name),
        )


def plan_embedding(
    task: Source,
    *,
    n: int | None = None,
    encoder: EncoderChoice = "minilm",
    options: Options | None = None,
    head_layers: Sequence[int] = (-1,),
    cache_layer: int | None = None,
    split: SplitName = "train",
    store: Store | None = None,
) -> EmbedPlan:
    """Check everything that can be checked before any work; see `charkit.embed`.

    Raises:
        UsageError: An argument is not legal.
        DataError: There are no labels, or no evaluation part to embed.
        MissingError: The encoder is missing.
    """
    store, options = store or Store(), options or FisherOptions()
    if split not in get_args(SplitName):
        raise UnknownNameError("split", split, get_args(SplitName))
    lazy = task if isinstance(task, LazyTask) else LazyTask(task, store)
    whole = lazy.open()
    sample = sample_task(whole, n, seed=options.seed)
    if split == "evaluation" and sample.evaluation is None:
        raise DataError(
            f"{whole.name} has no evaluation part: expected texts to embed, got none. Name a "
            "file of texts as unlabelled."
        )
    found = loaded(encoder)
    logger.info("%s: %s; %s", found.name, found.device_reason, found.dtype_reason)
    plan = EmbedPlan(
        task=sample,
        encoder=found,
        split=split,
        head_layers=tuple(head_layers),
        options=options,
        cache_layer=cache_layer,
        store=store,
    )
    for _, part in plan.samples:
        lowest = min(plan.config(part)["options"]["layers"])
        check_cache_layer(cache_layer, lowest, n_layers=found.n_layers)
    return plan


def embed(
    task: Source,
    *,
    n: int | None = None,
    encoder: EncoderChoice = "minilm",
    options: Options | None = None,
    head_layers: Sequence[int] = (-1,),
    cache_layer: int | None = None,
    split: SplitName = "train",
    store: Store | None = None,
    progress: Progress = no_progress,
) -> EmbeddedTask:
    """Embed a task: the Fisher information of the encoder's weights under the task's own head.

    The head is fitted to the labelled training texts. Embedded are these texts, or the
    evaluation texts, labelled or not, under that same head. What the store has already is not
    computed again.

    Args:
        task: A source that `charkit.load_task` takes, or a task.
        n: Labelled training texts to use, drawn as in a sweep. Default: all.
        encoder: Name or loaded encoder.
        options: How it is estimated: `charkit.fisher.FisherOptions` (layers, parts, pooling,
            estimator, draws, early stop, seed of all draws), or
            `charkit.fisher.VariationalOptions` for how much noise the weights can bear, which
            takes tens of times as long. Default: the Fisher information of the six matrices of
            all layers up to the head.
        head_layers: The layers that heads read, 1 to L, or negative from the end.
        cache_layer: Token states of this layer, below all chosen ones, are kept in the store
            too: other embeddings of the same texts begin there.
        split: What is embedded.
        store: Where results are kept. Default: the user's cache, or $CHARKIT_CACHE.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        UsageError: An argument is not legal.
        DataError: The source cannot be used, or has no labels or too few classes.
        MissingError: An encoder, a file or disk space is missing.
        RefusalError: A variational search has not converged; the fit is attached.
    """
    plan = plan_embedding(
        task,
        n=n,
        encoder=encoder,
        options=options,
        head_layers=head_layers,
        cache_layer=cache_layer,
        split=split,
        store=store,
    )
    if isinstance(plan.options, VariationalOptions) and notes_are_shown():
        from charkit.answers.embedding.cost import estimate_embedding  # measures this machine

        for line in estimate_embedding(plan).lines():
            note(line)
    return plan.answer(progress)
