"""Which weights of an encoder does a task lean on? Its Fisher embeddings, from any source."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from charkit.answers.embed import KeptEmbeddings, embed_kept
from charkit.answers.embedded import EmbeddedTask
from charkit.config import Pooling, Progress, TaskKind, no_progress, staged_by
from charkit.encoders.device import DeviceChoice, DtypeChoice
from charkit.encoders.encoder import Encoder
from charkit.encoders.load import load_encoder
from charkit.errors import DataError, UnknownNameError, UsageError
from charkit.fisher import FisherOptions
from charkit.fisher.sites import DEFAULT_PARTS
from charkit.heads.grid import Source
from charkit.store import Store
from charkit.tasks import load_task
from charkit.tasks.rows import OnBadRows
from charkit.tasks.sample import sample_task
from charkit.tasks.task import Split, Task

logger = logging.getLogger(__name__)

SplitName = Literal["train", "evaluation"]
"""What is embedded: the labelled training texts, or the evaluation texts."""

Place = str | Path | pd.DataFrame


def embed(
    task: Source,
    *,
    n: int | None = None,
    encoder: str | Encoder = "minilm",
    layers: Sequence[int] | None = None,
    head_layers: Sequence[int] = (-1,),
    cache_layer: int | None = None,
    parts: Sequence[str] = DEFAULT_PARTS,
    estimator: str = "auto",
    n_draws: int = 1,
    relative_error: float | None = None,
    stop_at: float | None = None,
    split: SplitName = "train",
    unlabelled: Place | None = None,
    seed: int = 0,
    pooling: Pooling = "mean",
    max_length: int | None = None,
    device: DeviceChoice = "auto",
    dtype: DtypeChoice = "auto",
    text: str | None = None,
    pair: str | None = None,
    label: str | None = None,
    kind: TaskKind | None = None,
    evaluation: Place | None = None,
    eval_frac: float = 0.2,
    on_bad_rows: OnBadRows = "refuse",
    offline: bool | None = None,
    store: Store | None = None,
    progress: Progress = no_progress,
) -> EmbeddedTask:
    """Embed a task: the Fisher information of the encoder's weights under the task's own head.

    The head is fitted to the labelled training texts. Embedded are these texts, or the
    evaluation texts, or unlabelled texts from a file, all under that same head. What the store
    has already is not computed again.

    Args:
        task: A source that `charkit.load_task` takes, or a task.
        n: Labelled training texts to use, drawn as in a sweep. Default: all.
        encoder: Name or loaded encoder.
        layers: Whose weights, 1 to L. Default: all up to the head.
        head_layers: The layers that heads read, 1 to L, or negative from the end.
        cache_layer: Token states of this layer, below all chosen ones, are kept in the store
            too: other embeddings of the same texts begin there.
        parts: Which weights, see `charkit.fisher.PARTS`.
        estimator: How labels are averaged over, see `charkit.fisher.labels.Estimator`.
        n_draws: Draws a text, for estimators that draw.
        relative_error: Choose the number of draws instead, by the noise that they may add.
        stop_at: Stop as soon as random halves of the texts seen agree to this cosine.
        split: What is embedded.
        unlabelled: File or DataFrame of texts to embed instead, with the same columns of texts;
            labels in it are not read.
        seed: Of the sample of n texts, and of the draws.
        pooling: How token states become one vector.
        max_length: Longest text in tokens. Default: the encoder's own choice.
        device: Where to compute.
        dtype: What to compute in.
        text: Column of the texts.
        pair: Column of the second texts.
        label: Column of the labels.
        kind: ``"classification"`` or ``"regression"``; guessed when None.
        evaluation: File with the evaluation rows, or the name of a folder's or data set's part.
        eval_frac: Share of the rows held out when no evaluation rows are given.
        on_bad_rows: Refuse rows without text or label, or drop and count them.
        offline: Never open a connection; None reads CHARKIT_OFFLINE and HF_HUB_OFFLINE.
        store: Where results are kept. Default: the user's cache, or $CHARKIT_CACHE.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        UsageError: An argument is not legal.
        DataError: The source cannot be used, or has no labels or too few classes.
        MissingError: An encoder, a file or disk space is missing.
    """
    whole = task
    if unlabelled is not None:
        split, evaluation = "evaluation", only_evaluation(evaluation, unlabelled)
    if not isinstance(task, Task):
        whole = load_task(
            task,
            text=text,
            pair=pair,
            label=label,
            kind=kind,
            evaluation=evaluation,
            evaluation_labels=unlabelled is None,
            eval_frac=eval_frac,
            on_bad_rows=on_bad_rows,
            offline=offline,
        )
    elif unlabelled is not None:
        raise UsageError(
            "unlabelled texts are read with a source: expected a file, folder or DataFrame, got "
            "a task. Make a task with these texts as its evaluation part, and split='evaluation'."
        )
    if split not in get_args(SplitName):
        raise UnknownNameError("split", split, get_args(SplitName))
    sample = sample_task(whole, n, seed=seed)
    if not isinstance(encoder, Encoder):
        encoder = load_encoder(encoder, device=device, dtype=dtype, offline=offline)
    logger.info("%s: %s; %s", encoder.name, encoder.device_reason, encoder.dtype_reason)
    options = FisherOptions(
        layers=None if layers is None else tuple(layers),
        parts=tuple(parts),
        pooling=pooling,
        estimator=estimator,
        n_draws=n_draws,
        relative_error=relative_error,
        stop_at=stop_at,
        seed=seed,
        max_length=max_length,
    )
    work = _Work(sample, encoder, tuple(head_layers), options, cache_layer, store, progress)
    return work.answer(split)


def only_evaluation(evaluation: object, unlabelled: Place) -> Place:
    """Return where the unlabelled texts lie.

    Raises:
        UsageError: Evaluation rows were named as well.
    """
    if evaluation is not None:
        raise UsageError(
            "one sample is embedded at a time: expected unlabelled texts or evaluation rows, got "
            f"both ({unlabelled} and {evaluation}). Name one of them."
        )
    return unlabelled


@dataclass(frozen=True)
class _Work:
    """What is to be embedded, and how."""

    task: Task
    encoder: Encoder
    head_layers: tuple[int, ...]
    options: FisherOptions
    cache_layer: int | None
    store: Store | None
    progress: Progress

    def answer(self, split: SplitName) -> EmbeddedTask:
        task, other = self.task, self.task.evaluation
        if split == "evaluation" and other is None:
            raise DataError(
                f"{task.name} has no evaluation part: expected texts to embed, got none. Name a "
                "file of texts as unlabelled."
            )
        trained = self._kept(task.train, "train")
        sample, kept = "train", trained
        if split == "evaluation" and other is not None:
            sample = "unlabelled" if other.labels is None else "evaluation"
            kept = self._kept(other, sample)
        counts = np.bincount(np.asarray(task.train.labels, np.int64)) if task.n_classes else None
        return EmbeddedTask(
            name=task.name,
            sample=sample,
            embeddings=kept.embeddings,
            heads=trained.heads,
            trained={} if kept is trained else trained.embeddings,
            majority=float("nan") if counts is None else float(counts.max() / counts.sum()),
            key=kept.key,
            found=kept.found and trained.found,
        )

    def _kept(self, split: Split, part: str) -> KeptEmbeddings:
        name = self.task.name if part == "train" else f"{self.task.name} ({part})"
        return embed_kept(
            self.task,
            self.encoder,
            head_layers=self.head_layers,
            split=split,
            options=self.options,
            cache_layer=self.cache_layer,
            store=self.store,
            name=name,
            progress=staged_by(self.progress, name),
        )
