"""Samples of labelled tasks, each embedded once and kept in the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from charkit.answers.embedding.cache import embed_cached
from charkit.answers.embedding.heads import HeadMetrics, heads_to_store
from charkit.config import Progress, content_hash, no_progress
from charkit.encoders import Encoder, LayerStates, encode_to_store
from charkit.errors import DataError, MissingError, UsageError
from charkit.fisher import FisherOptions, TaskEmbedding
from charkit.parallel import (
    Executor,
    ExecutorChoice,
    Shard,
    check_failures,
    executor_from,
    run_jobs,
)
from charkit.store.store import Store
from charkit.tasks import Split, Task, load_task, nested_order

C = TypeVar("C")
M = TypeVar("M")

MANIFEST = "MANIFEST.json"


@dataclass(frozen=True)
class EmbeddingStudy:
    """What is embedded.

    Attributes:
        name: Names the table: ``results/<name>.parquet``.
        encoder: Name of the encoder.
        sizes: Training texts a sample.
        draws: How many samples of each size, no text in two of them.
        all_heads_up_to: Samples of up to this many texts are embedded under heads at every layer,
            larger ones under a head at the last.
        max_length: Most tokens of a text.
        n_eval: Evaluation texts that heads are scored on, at most.
        tasks: Sources that `charkit.load_task` takes; empty for all of a folder's manifest.
        library_sizes: Sizes of the samples that go into the library; empty for all.
        library_heads: Heads of them, negative from the last.
    """

    name: str
    encoder: str
    sizes: tuple[int, ...]
    draws: tuple[int, ...]
    all_heads_up_to: int
    max_length: int
    n_eval: int
    tasks: tuple[str, ...] = ()
    library_sizes: tuple[int, ...] = ()
    library_heads: tuple[int, ...] = (-1,)

    def __post_init__(self) -> None:
        """Refuse sizes and draws that do not fit together."""
        if (
            not self.sizes
            or len(self.sizes) != len(self.draws)
            or min(*self.sizes, *self.draws) < 1
        ):
            raise UsageError(
                "sizes of samples are out of range: expected one number of draws a size, all at "
                f"least 1, got sizes {self.sizes} and draws {self.draws}."
            )

    def heads_at(self, n: int, n_layers: int) -> tuple[int, ...]:
        """Return the layers that heads of a sample of n texts read."""
        return tuple(range(1 if n <= self.all_heads_up_to else n_layers, n_layers + 1))

    @property
    def options(self) -> FisherOptions:
        """How a study embeds: one random-sign sketch a text, exact for two classes."""
        return FisherOptions(estimator="sketch", max_length=self.max_length)


# -- tasks ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KnownTask:
    """A task with what a manifest knows of it.

    Attributes:
        task: The task.
        corpus: Tasks of one corpus share texts.
        domain: What its texts are about; empty without a manifest.
        label_kind: What its labels mean; empty without a manifest.
    """

    task: Task
    corpus: str
    domain: str
    label_kind: str


def load_known_tasks(names: Sequence[str], root: Path | None) -> list[KnownTask]:
    """Load tasks: by name from a folder, or from any source of `load_task`.

    Args:
        names: None: all of the folder, in the order of its manifest.
        root: The folder; what its manifest knows of a task comes with it.

    Raises:
        MissingError: None is named, and there is no folder with a manifest.
    """
    facts = {}
    if root is not None and (root / MANIFEST).is_file():
        listed = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
        facts = {entry["name"]: entry for entry in listed}
    if not names and not facts:
        raise MissingError(
            f"this study needs a folder of tasks: expected one with {MANIFEST}, got {root}. Name "
            "it with TASKS=... or --tasks, or use SMOKE=1."
        )
    known = []
    for name in names or facts:
        if root is not None and (name in facts or (root / name).is_dir()):
            task = replace(load_task(root / name), name=name)
        else:
            task = load_task(name)
        about = facts.get(name, {})
        domain, kind = about.get("domain", ""), about.get("label_kind", "")
        known.append(KnownTask(task, about.get("corpus", task.corpus), domain, kind))
    return known


def label_word(kind: str) -> str:
    """Return a kind of label without what stands in brackets.

    >>> label_word("sentiment (5-point)")
    'sentiment'
    """
    return kind.split("(")[0].strip()


def draw_sample(task: Task, *, n: int, draw: int, n_eval: int) -> Task | None:
    """Return a task with n training texts; draws of one size share none.

    Draws are pieces of one stratified order (`charkit.tasks.nested_order`), one after the other.
    Draw 0 of a task with fewer texts has all of them.

    Args:
        task: The task.
        n: Training texts.
        draw: 0, 1, ...
        n_eval: Evaluation texts that are kept, at most.

    Returns:
        The sample, or None where too few texts are left for this draw.
    """
    assert task.train.labels is not None
    order = nested_order(task.train.labels, seed=0, kind=task.kind)
    rows = order[draw * n : (draw + 1) * n]
    if draw and len(rows) < n:
        return None
    return replace(task, train=task.train.take(rows), evaluation=_some(task.evaluation, n_eval))


def drawn_sample(known: KnownTask, *, n: int, draw: int, n_eval: int) -> Task:
    """Return a sample with class labels; see `draw_sample`.

    Raises:
        DataError: The task has too few texts, or no class labels.
    """
    sample = draw_sample(known.task, n=n, draw=draw, n_eval=n_eval)
    if sample is None or sample.kind != "classification":
        raise DataError(
            f"{known.task.name} is too small: expected {draw + 1} samples of {n} texts with class "
            f"labels, got {len(known.task.train)} texts of a {known.task.kind} task. Leave it "
            "out, or take a smaller n."
        )
    return sample


def _some(part: Split | None, n: int) -> Split | None:
    if part is None or part.labels is None or len(part) <= n:
        return part
    kind = "regression" if part.labels.dtype.kind == "f" else "classification"
    return part.take(nested_order(part.labels, seed=0, kind=kind)[:n])  # type: ignore[arg-type]


# -- embedded samples -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled sample of one task, embedded.

    Attributes:
        known: The task.
        task: The sample of it.
        n: Training texts that were asked for.
        draw: Which of the draws of this size.
        embeddings: Layer of the head -> the embedding.
        heads: Layer of the head -> how well it does on texts left out.
        scores: Layer of the head -> accuracy, or Pearson's correlation, on evaluation texts.
    """

    known: KnownTask
    task: Task
    n: int
    draw: int
    embeddings: dict[int, TaskEmbedding]
    heads: dict[int, HeadMetrics]
    scores: dict[int, float]


def embed_study(
    study: EmbeddingStudy,
    known: list[KnownTask],
    encoder: Encoder,
    *,
    store: Store,
    executor: ExecutorChoice = None,
    shard: Shard | None = None,
    progress: Progress = no_progress,
) -> Iterator[Sample]:
    """Yield every sample, small sizes first; what the store has is not computed again.

    Args:
        study: What is embedded.
        known: Its tasks.
        encoder: Its encoder.
        store: Where states, heads and embeddings are kept.
        executor: Where samples are embedded, such as ``"ray"``. Default: in this process, with
            all its threads.
        shard: Which part of the samples; all when None.
        progress: Called as ``progress("samples", done, total)``.
    """
    planned = [
        (entry, n, draw)
        for n, n_draws in zip(study.sizes, study.draws, strict=True)
        for draw in range(n_draws)
        for entry in known
        if shard is None or shard.holds(content_hash([entry.task.fingerprint, n, draw]))
    ]
    if executor is not None:
        _embed_elsewhere(study, planned, encoder, store, executor_from(executor), progress)
    for done, (entry, n, draw) in enumerate(planned):
        progress("samples", done, len(planned))
        task = draw_sample(entry.task, n=n, draw=draw, n_eval=study.n_eval)
        if task is not None:
            yield embed_sample(study, entry, task, n, draw, encoder, store)
    progress("samples", len(planned), len(planned))


@dataclass(frozen=True)
class SampleWork:
    """One sample to embed, with all that a worker needs.

    Attributes:
        study: What is embedded.
        known: The task.
        n: Number of training texts.
        draw: Which draw.
        encoder: The encoder, its weights not read yet.
        root: The store's folder.
    """

    study: EmbeddingStudy
    known: KnownTask
    n: int
    draw: int
    encoder: Encoder
    root: Path


def run_sample(work: SampleWork) -> None:
    """Embed a sample unless the store has it."""
    study, entry = work.study, work.known
    task = draw_sample(entry.task, n=work.n, draw=work.draw, n_eval=study.n_eval)
    if task is not None:
        embed_sample(study, entry, task, work.n, work.draw, work.encoder, Store(work.root))


def _embed_elsewhere(
    study: EmbeddingStudy,
    planned: list[tuple[KnownTask, int, int]],
    encoder: Encoder,
    store: Store,
    executor: Executor,
    progress: Progress,
) -> None:
    """Embed the samples on an executor; they are then read from the store."""
    plain = replace(encoder)  # without the weights, which every worker reads for itself
    found = run_jobs(
        run_sample,
        [SampleWork(study, entry, n, draw, plain, store.root) for entry, n, draw in planned],
        executor=executor,
        n_gpus=1.0 if encoder.device == "cuda" else 0.0,
        folders=[store.root],
        progress=lambda done, total: progress("samples", done, total),
    )
    check_failures(found, stage="samples")


def embed_sample(
    study: EmbeddingStudy,
    known: KnownTask,
    task: Task,
    n: int,
    draw: int,
    encoder: Encoder,
    store: Store,
) -> Sample:
    """Embed one sample under heads at every layer, or at the last where it is large."""
    layers = study.heads_at(n, encoder.n_layers)
    kept = embed_cached(
        task, encoder, head_layers=layers, options=study.options, store=store, name=known.task.name
    )
    scores = _scores(task, encoder, layers, study.max_length, store)
    return Sample(known, task, n, draw, kept.embeddings, kept.heads, scores)


def _scores(
    task: Task, encoder: Encoder, layers: tuple[int, ...], max_length: int, store: Store
) -> dict[int, float]:
    """Return each head's accuracy, or correlation, on the evaluation texts; NaN without labels."""
    part = task.evaluation
    if part is None or part.labels is None or not len(part):
        return dict.fromkeys(layers, float("nan"))
    states = encode_to_store(encoder, part, store=store, max_length=max_length)
    fitted = heads_to_store(task, encoder, store=store, layers=layers, max_length=max_length)
    scores = {}
    for layer in layers:
        head = fitted[layer].head
        outputs = states.layer(layer).astype(np.float64) @ head.weights.T + head.bias
        if task.kind == "classification":
            scores[layer] = float((outputs.argmax(1) == part.labels).mean())
        elif np.ptp(outputs[:, 0]) > 0:
            scores[layer] = float(np.corrcoef(outputs[:, 0], part.labels)[0, 1])
        else:
            scores[layer] = 0.0
    return scores


def sample_states(
    sample: Sample, study: EmbeddingStudy, encoder: Encoder, store: Store
) -> LayerStates:
    """Return the pooled states of a sample's training texts, from the store."""
    return encode_to_store(encoder, sample.task.train, store=store, max_length=study.max_length)


def measure_each(
    cases: Sequence[C],
    measure: Callable[[C, Store], M],
    store: Store,
    *,
    progress: Progress = no_progress,
) -> list[M]:
    """Return what is measured of each case; stop it at any time, what the store has stays.

    Args:
        cases: The cases of a study.
        measure: Return a case from the store, making it when it is absent.
        store: Where cases are kept.
        progress: Called before each case and at the end.
    """
    found = []
    for done, case in enumerate(cases):
        progress("measure cases", done, len(cases))
        found.append(measure(case, store))
    progress("measure cases", len(cases), len(cases))
    return found
