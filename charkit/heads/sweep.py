"""The sweep: heads on every layer, size and draw of tasks, with controls; one row a cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from charkit.config import Control, Pooling, Progress, TaskKind, no_progress, staged
from charkit.encoders.device import DeviceChoice, DtypeChoice
from charkit.encoders.encoder import Encoder
from charkit.encoders.load import load_encoder
from charkit.encoders.stream import encode_to_store
from charkit.errors import CellsFailedError, DataError, UsageError
from charkit.heads.job import Work, failed_cells, run_job
from charkit.heads.plan import (
    Job,
    Probe,
    check_controls,
    check_layers,
    check_seeds,
    check_sizes,
)
from charkit.heads.records import concat, read_table, to_frame
from charkit.heads.result import SweepResult
from charkit.manifest import available_cores
from charkit.pool import JobFailure, run_jobs
from charkit.store import Store
from charkit.tasks.card import LazyTask, SourceOptions
from charkit.tasks.subsets import Subset, make_subset
from charkit.tasks.task import Split, Task

if TYPE_CHECKING:
    import pandas as pd

Source = Any
"""Whatever `charkit.load_task` takes: a path, a name, a DataFrame; or a Task."""

ALL_CONTROLS: tuple[Control, ...] = ("none", "random_encoder", "shuffled_labels", "majority")
RANDOM_ENCODER_SEED = 0


@dataclass(frozen=True)
class SweepSettings:
    """The grid of a sweep, apart from tasks and encoders.

    Attributes:
        layers: Layers to read, 0 = embeddings, negative from the last; None means all.
        sizes: Training sizes; empty means 16, doubled, and the whole sample.
        seeds: Draws of the training texts.
        subsets: Parts of each task, see `charkit.tasks.make_subset`.
        controls: Controls beside the real thing.
        pooling: How token states become one vector.
        max_length: Longest text in tokens; None means the encoder's own choice.
        device: Where the encoder runs.
        dtype: Arithmetic of the encoder.
    """

    layers: tuple[int, ...] | None = None
    sizes: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    subsets: tuple[str, ...] = ("all",)
    controls: tuple[str, ...] = ALL_CONTROLS
    pooling: Pooling = "mean"
    max_length: int | None = None
    device: DeviceChoice = "auto"
    dtype: DtypeChoice = "auto"


@dataclass(frozen=True, eq=False)
class SweepPlan:
    """The jobs of a sweep, and which of them the store already has.

    Attributes:
        tasks: The tasks, not necessarily opened.
        encoders: The encoders.
        settings: The grid.
        store: Where results lie.
    """

    tasks: tuple[LazyTask, ...]
    encoders: tuple[Encoder, ...]
    settings: SweepSettings
    store: Store

    @cached_property
    def probes(self) -> dict[str, tuple[Encoder, Probe, Probe]]:
        """Per encoder: itself, its probe, and the probe of its random twin."""
        found = {}
        for encoder in self.encoders:
            found[encoder.name] = (
                encoder,
                self._probe(encoder, encoder.fingerprint),
                self._probe(encoder, f"random{RANDOM_ENCODER_SEED}:{encoder.fingerprint}"),
            )
        return found

    def _probe(self, encoder: Encoder, fingerprint: str) -> Probe:
        settings = self.settings
        return Probe(
            encoder=encoder.name,
            fingerprint=fingerprint,
            layers=check_layers(settings.layers, n_layers=encoder.n_layers),
            pooling=settings.pooling,
            max_length=encoder.text_length(settings.max_length),
            dtype=encoder.dtype,
        )

    def jobs_of(self, task: LazyTask) -> list[Job]:
        """Return all jobs of a task, finished or not."""
        settings, jobs = self.settings, []
        for _, real, random in self.probes.values():
            for control in check_controls(settings.controls):
                probe = random if control == "random_encoder" else real
                jobs += [
                    Job(probe, task.card, subset, control, seed, check_sizes(settings.sizes))
                    for subset in settings.subsets
                    for seed in check_seeds(settings.seeds)
                ]
        return jobs

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs, finished or not."""
        return tuple(job for task in self.tasks for job in self.jobs_of(task))

    def missing(self, jobs: Iterable[Job]) -> list[Job]:
        """Return those jobs that the store does not have."""
        return [job for job in jobs if self.store.find("heads", job.key) is None]


def plan_sweep(
    tasks: Source | Sequence[Source],
    *,
    encoder: str | Encoder | Sequence[str | Encoder] = "minilm",
    settings: SweepSettings | None = None,
    reading: SourceOptions | None = None,
    store: Store | None = None,
) -> SweepPlan:
    """Return what a sweep would compute.

    Args:
        tasks: One source or several.
        encoder: One encoder or several, by name or loaded.
        settings: The grid.
        reading: How the sources are read.
        store: Where results lie; the default store when None.

    Raises:
        UsageError: The grid is not legal, or two tasks or encoders have one name.
        DataError: A source cannot be used.
    """
    settings, store = settings or SweepSettings(), store or Store()
    reading = reading or SourceOptions()
    sources = list(tasks) if isinstance(tasks, list | tuple) else [tasks]
    named = [encoder] if isinstance(encoder, str | Encoder) else list(encoder)
    if not sources or not named:
        raise UsageError("nothing to sweep: expected at least one task and one encoder, got none.")
    loaded = tuple(
        e
        if isinstance(e, Encoder)
        else load_encoder(e, device=settings.device, dtype=settings.dtype, offline=reading.offline)
        for e in named
    )
    lazy = tuple(s if isinstance(s, LazyTask) else LazyTask(s, store, reading) for s in sources)
    _refuse_repeats("task", [t.card.name for t in lazy])
    _refuse_repeats("encoder", [e.name for e in loaded])
    plan = SweepPlan(lazy, loaded, settings, store)
    for task in lazy:
        if task.card.n_eval == 0:
            raise DataError(
                f"{task.card.name}: expected labelled evaluation texts, got none. "
                "Give them with --eval, or let a part be split off with --eval-frac."
            )
    _ = plan.jobs
    return plan


def _refuse_repeats(what: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(
            f"two {what}s have one name: expected different names, got {repeated} twice. "
            f"Rename one of them, or run them apart."
        )


def sweep(
    tasks: Source | Sequence[Source],
    *,
    encoder: str | Encoder | Sequence[str | Encoder] = "minilm",
    layers: Sequence[int] | None = None,
    sizes: Sequence[int] = (),
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    subsets: Sequence[str] = ("all",),
    controls: Sequence[str] = ALL_CONTROLS,
    pooling: Pooling = "mean",
    max_length: int | None = None,
    device: DeviceChoice = "auto",
    dtype: DtypeChoice = "auto",
    text: str | None = None,
    pair: str | None = None,
    label: str | None = None,
    kind: TaskKind | None = None,
    evaluation: str | Path | None = None,
    store: Store | None = None,
    n_workers: int | None = None,
    progress: Progress = no_progress,
) -> SweepResult:
    """Train and score linear heads over encoder x layer x task x subset x size x seed.

    Each task's texts are encoded once; every head reads one layer of the stored states. What the
    store has already is not computed again, and then the data are not even opened.

    Args:
        tasks: One source or several: paths, names, DataFrames or tasks.
        encoder: One encoder or several, by name or loaded.
        layers: Layers to read: 0 = embeddings, negative from the last. Default: all.
        sizes: Numbers of training texts. Default: 16, doubled, and the whole sample.
        seeds: Draws of the training texts; the sizes of a draw are nested and stratified.
        subsets: Parts of each task, see `charkit.tasks.make_subset`.
        controls: Controls beside the real thing: a random encoder of the same shape, shuffled
            labels, the majority class.
        pooling: How token states become one vector.
        max_length: Longest text in tokens. Default: the encoder's own choice.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"`` for the encoder.
        dtype: ``"auto"``, ``"float32"`` or ``"bfloat16"`` for the encoder.
        text: Column of the texts.
        pair: Column of the second texts.
        label: Column of the labels.
        kind: ``"classification"`` or ``"regression"``; guessed when None.
        evaluation: File with the evaluation rows.
        store: Where results lie. Default: the user's cache, or $CHARKIT_CACHE.
        n_workers: Processes for the heads. Default: one a core.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        The table, one row a cell, and what was found in it.

    Raises:
        UsageError: An argument is not legal.
        DataError: A source cannot be used.
        MissingError: An encoder, a file or disk space is missing.
        CellsFailedError: Some cells failed; the others are kept and are in its ``partial``.
    """
    settings = SweepSettings(
        layers=None if layers is None else tuple(layers),
        sizes=tuple(sizes),
        seeds=tuple(seeds),
        subsets=tuple(subsets),
        controls=tuple(controls),
        pooling=pooling,
        max_length=max_length,
        device=device,
        dtype=dtype,
    )
    place = None if evaluation is None else str(evaluation)
    reading = SourceOptions(text=text, pair=pair, label=label, kind=kind, evaluation=place)
    plan = plan_sweep(tasks, encoder=encoder, settings=settings, reading=reading, store=store)
    return run_sweep(plan, n_workers=n_workers, progress=progress)


def run_sweep(
    plan: SweepPlan, *, n_workers: int | None = None, progress: Progress = no_progress
) -> SweepResult:
    """Compute what a plan's store lacks and return the whole table.

    Args:
        plan: From `plan_sweep`.
        n_workers: Processes for the heads. Default: one a core.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        CellsFailedError: Some cells failed; the others are kept and are in its ``partial``.
    """
    missing = {task: plan.missing(plan.jobs_of(task)) for task in plan.tasks}
    work = [
        w for task, jobs in missing.items() if jobs for w in _prepare(plan, task, jobs, progress)
    ]
    work.sort(key=_cost, reverse=True)
    outcomes = run_jobs(
        run_job,
        work,
        n_workers=_workers(n_workers, work),
        threads_per_worker=1,
        progress=lambda done, total: progress("heads", done, total),
    )
    failures = [
        (w, outcome)
        for w, outcome in zip(work, outcomes, strict=True)
        if isinstance(outcome, JobFailure)
    ]
    failed = [cell for w, failure in failures for cell in failed_cells(w, failure.message)]
    done = set(job.key for job in plan.jobs) - {w.job.key for w, _ in failures}
    table = concat([_read(plan.store, job) for job in plan.jobs if job.key in done])
    result = SweepResult(
        table=concat([table, to_frame(failed)]),
        cards=tuple(task.card for task in plan.tasks),
        jobs=tuple(job for job in plan.jobs if job.key in done),
        root=plan.store.root,
        n_jobs_found=len(plan.jobs) - len(work),
    )
    if failures:
        raise CellsFailedError(
            f"{len(failed)} of {len(result.table)} cells failed, the first with: "
            f"{failures[0][1].message} The others are kept; run the same again to retry.",
            partial=result,
            exit_codes={failure.exit_code for _, failure in failures},
        )
    return result


def _read(store: Store, job: Job) -> pd.DataFrame:
    folder = store.find("heads", job.key)
    if folder is None:
        raise DataError(f"the result {job.key} vanished from {store.root}. Run it again.")
    return read_table(folder / "table.parquet")


def _prepare(plan: SweepPlan, task: LazyTask, jobs: list[Job], progress: Progress) -> list[Work]:
    """Open a task, encode what its missing jobs read, and return their work."""
    opened = task.open()
    evaluation = _labelled_evaluation(opened)
    subsets: dict[tuple[str, int], Subset] = {}
    states: dict[str, tuple[str, str]] = {}
    work = []
    for job in jobs:
        part = (job.subset, 0 if job.subset == "all" else job.seed)
        if part not in subsets:
            subsets[part] = make_subset(opened, job.subset, seed=job.seed)
        fingerprint = "" if job.control == "majority" else job.probe.fingerprint
        if fingerprint not in states:
            states[fingerprint] = _encoded(plan, job, opened.train, evaluation, progress)
        subset, keys = subsets[part], states[fingerprint]
        assert subset.evaluation_labels is not None  # the whole's are there
        work.append(
            Work(
                job=job,
                root=plan.store.root,
                train_states=keys[0],
                evaluation_states=keys[1],
                train_rows=subset.train_rows,
                evaluation_rows=subset.evaluation_rows,
                train_labels=subset.train_labels,
                evaluation_labels=subset.evaluation_labels,
                n_classes=len(subset.class_names),
            )
        )
    return work


def _labelled_evaluation(task: Task) -> Split:
    if task.evaluation is None or task.evaluation.labels is None:
        raise DataError(
            f"{task.name}: expected labels for the evaluation texts, got none. A sweep scores "
            "heads on them: give a labelled file with --eval, or leave it out."
        )
    return task.evaluation


def _encoded(
    plan: SweepPlan, job: Job, train: Split, evaluation: Split, progress: Progress
) -> tuple[str, str]:
    """Encode both parts of a task unless the store has them; return the keys of the states."""
    if job.control == "majority":
        return "", ""
    encoder = plan.probes[job.probe.encoder][0]
    if job.control == "random_encoder":
        encoder = encoder.randomised(seed=RANDOM_ENCODER_SEED)
    keys = []
    for part, split in (("train", train), ("evaluation", evaluation)):
        twin = " (random encoder)" if job.control == "random_encoder" else ""
        stage = f"encode {job.card.name}, {part}{twin}"
        states = encode_to_store(
            encoder,
            split,
            store=plan.store,
            pooling=job.probe.pooling,
            max_length=job.probe.max_length,
            progress=staged(progress, stage),
        )
        keys.append(states.key)
    return keys[0], keys[1]


def _cost(work: Work) -> float:
    """Return the work of a job in head-rows: sizes x layers x classes."""
    sizes = np.asarray(work.sizes, dtype=np.float64)
    return float((sizes + 200).sum() * len(work.job.layers) * max(1, work.n_classes - 1))


_SMALL_COST = 2e6


def _workers(n_workers: int | None, work: list[Work]) -> int:
    """Return the number of processes: starting one costs seconds, so little work gets one."""
    if n_workers is not None:
        if n_workers < 1:
            raise UsageError(f"workers: expected at least 1, got {n_workers}.")
        return n_workers
    if sum(_cost(w) for w in work) < _SMALL_COST:
        return 1
    return max(1, min(available_cores(), len(work)))
