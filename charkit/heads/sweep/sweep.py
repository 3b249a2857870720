"""The sweep: heads on every layer, size and draw of tasks, with controls; one row a cell."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from charkit.config import (
    EncodeOptions,
    Progress,
    content_hash,
    no_progress,
    note,
    notes_are_shown,
    staged,
)
from charkit.encoders.encoder import Encoder
from charkit.encoders.load import EncoderChoice
from charkit.encoders.stream import KIND as STATES
from charkit.encoders.stream import encode_to_store, states_config
from charkit.errors import CellsFailedError, DataError, VanishedError
from charkit.heads.sweep.cost import heads_seconds
from charkit.heads.sweep.grid import (
    ALL_CONTROLS,
    RANDOM_ENCODER_SEED,
    Source,
    SweepPlan,
    SweepSettings,
    plan_sweep,
)
from charkit.heads.sweep.job import (
    EncodeWork,
    RowsUsed,
    Work,
    encode_elsewhere,
    failed_cells,
    rows_used,
    run_job,
)
from charkit.heads.sweep.plan import Job, several
from charkit.heads.sweep.result import SweepResult
from charkit.heads.sweep.table import concat, read_table, rescored, to_frame
from charkit.parallel import (
    Executor,
    ExecutorChoice,
    InProcess,
    JobFailure,
    Shard,
    executor_from,
    local_executor,
    run_jobs,
)
from charkit.store.manifest import available_cores
from charkit.store.store import Store
from charkit.tasks.card import LazyTask
from charkit.tasks.subsets import Subset, make_subset
from charkit.tasks.task import Split, Task

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


def sweep(
    tasks: Source | Sequence[Source],
    *,
    encoder: EncoderChoice | Sequence[EncoderChoice] = "minilm",
    layers: Sequence[int | float] | None = None,
    sizes: Sequence[int] = (),
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    subsets: Sequence[str] = ("all",),
    controls: Sequence[str] = ALL_CONTROLS,
    metric: str | None = None,
    encoding: EncodeOptions | None = None,
    store: Store | None = None,
    executor: ExecutorChoice | Shard = None,
    progress: Progress = no_progress,
) -> SweepResult:
    """Train and score linear heads over encoder x layer x task x subset x size x seed.

    Each task's texts are encoded once; every head reads one layer of the stored states. What the
    store has already is not computed again, and then the data are not even opened.

    Args:
        tasks: One source or several: paths, names, DataFrames or tasks. `charkit.load_task` has
            the arguments for columns, evaluation rows and the like.
        encoder: One encoder or several, by name or loaded. `charkit.load_encoder` has the
            arguments for device and number format.
        layers: Layers to read: 0 = embeddings, negative from the last. Default: all.
        sizes: Numbers of training texts. Default: 16, doubled, and the whole sample.
        seeds: Draws of the training texts; the sizes of a draw are nested and stratified.
        subsets: Parts of each task, see `charkit.tasks.make_subset`.
        controls: Controls next to the real thing: a random encoder of the same shape, shuffled
            labels, the majority class.
        metric: What scores are and layers are chosen by: ``"accuracy"``, ``"f1"``,
            ``"macro_f1"``, ``"balanced_accuracy"`` or ``"matthews"``. Default: the task's own.
        encoding: Pooling and longest text.
        store: Where results are stored. Default: the user's cache, or $CHARKIT_CACHE.
        executor: Where heads are fitted, such as 4 (processes), ``"ray"`` or ``"slurm"``. Default:
            one process a core. A `charkit.parallel.Shard` does part k of N of the jobs, for one
            machine of a fleet that shares a store: the table is that of the part; without a
            shard it is whole.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        The table, one row a cell, and what was found in it.

    Raises:
        UsageError: An argument is not legal.
        DataError: A source cannot be used.
        MissingError: An encoder, a file or disk space is missing.
        CellsFailedError: Some cells failed; the others are kept and are in its ``partial``.
    """
    shard = executor if isinstance(executor, Shard) else None
    encoding = encoding or EncodeOptions()
    settings = SweepSettings(
        layers=None if layers is None else several(layers),
        sizes=several(sizes),
        seeds=several(seeds),
        subsets=several(subsets),
        controls=several(controls),
        metric=metric,
        pooling=encoding.pooling,
        max_length=encoding.max_length,
    )
    plan = plan_sweep(tasks, encoder=encoder, settings=settings, store=store, shard=shard)
    announce(plan)
    where = executor.executor if isinstance(executor, Shard) else executor
    return run_sweep(plan, executor=where, progress=progress)


def announce(*plans: SweepPlan) -> None:
    """Note how long the work will take and where, unless the store has it all."""
    if not notes_are_shown():
        return
    from charkit.heads.sweep.cost import estimate  # measures this machine

    encoders = [encoder for plan in plans for encoder in plan.encoders]
    pairs = any(task.card.pairs for plan in plans for task in plan.tasks)
    if pairs and not any(encoder.apart for encoder in encoders):
        for line in (line for encoder in encoders for line in encoder.pair_notes()):
            note(line)
    for plan in plans:
        if plan.missing(plan.jobs):
            for line in estimate(plan).lines():
                note(line)


def run_sweep(
    plan: SweepPlan, *, executor: ExecutorChoice = None, progress: Progress = no_progress
) -> SweepResult:
    """Compute what a plan's store lacks and return the whole table.

    What vanishes from the store meanwhile (another process prunes it), and what its hash shows
    to be damaged, is made again.

    Args:
        plan: From `plan_sweep`.
        executor: Where heads are fitted, such as 4 (processes), ``"ray"``. Default: one a core.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        CellsFailedError: Some cells failed; the others are kept and are in its ``partial``.
        VanishedError: Results vanish as fast as they are made.
    """
    n_to_do: list[int] = []
    for _ in range(_ROUNDS):
        try:
            work, failures = _compute(plan, executor, progress)
        except KeyboardInterrupt:
            n_kept = len(plan.jobs) - len(plan.missing(plan.jobs))
            note(f"{n_kept} of {len(plan.jobs)} jobs are finished and kept")
            raise
        n_to_do.append(len(work))
        failed = {w.job.key for w, _ in failures}
        jobs = [job for job in plan.jobs if job.key not in failed]
        tables = [_read(plan.store, job) for job in jobs]
        n_gone = sum(table is None for table in tables)
        n_gone += sum(failure.error == VanishedError.__name__ for _, failure in failures)
        if not n_gone:
            break
        logger.warning("%d results vanished or were damaged; they are made again", n_gone)
    else:
        raise VanishedError(
            f"results vanish from {plan.store.root}: expected them to stay, got {n_gone} gone "
            f"after {_ROUNDS} rounds. Let nothing prune the store meanwhile, and run it again."
        )
    cells = [cell for w, failure in failures for cell in failed_cells(w, failure.message)]
    result = SweepResult(
        table=_rescored(plan, [*(t for t in tables if t is not None), to_frame(cells)]),
        cards=tuple(plan.card_of(task) for task in plan.tasks),
        jobs=tuple(jobs),
        root=plan.store.root,
        n_jobs_found=len(plan.jobs) - n_to_do[0],
    )
    if failures:
        raise _some_failed(result, failures, n_cells=len(cells))
    return result


def _rescored(plan: SweepPlan, tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Return all cells, their score in the metric asked for; the store keeps each task's own."""
    table = concat(tables)
    metric = plan.settings.metric
    return table if metric is None else rescored(table, metric)


_ROUNDS = 3  # who prunes the store all the time is refused

Failures = list[tuple[Work, JobFailure]]


def _compute(
    plan: SweepPlan, executor: ExecutorChoice, progress: Progress
) -> tuple[list[Work], Failures]:
    """Do the jobs that the store lacks; return their work, and what failed of it."""
    missing = {task: plan.missing(plan.jobs_of(task)) for task in plan.tasks}
    if executor is not None and executor_from(executor).encodes:
        wanted = [w for task, jobs in missing.items() if jobs for w in _to_encode(plan, task, jobs)]
        encode_elsewhere(
            wanted, executor=executor_from(executor), store=plan.store, progress=progress
        )
    work = [
        w for task, jobs in missing.items() if jobs for w in _prepare(plan, task, jobs, progress)
    ]
    costs = {w.job.key: _cost(plan, w) for w in work}
    work = in_passes(work, [costs[w.job.key] for w in work])
    logger.info("%d of %d jobs to do", len(work), len(plan.jobs))
    outcomes = run_jobs(
        run_job,
        work,
        executor=_executor(executor, len(work), sum(costs.values())),
        threads_per_worker=1,
        folders=[plan.store.root],
        on_result=weighed(progress, [costs[w.job.key] for w in work]),
    )
    return work, [
        (w, outcome)
        for w, outcome in zip(work, outcomes, strict=True)
        if isinstance(outcome, JobFailure)
    ]


def _some_failed(result: SweepResult, failures: Failures, *, n_cells: int) -> CellsFailedError:
    """Return the error that says what failed; a job without any cell counts as a job."""
    if n_cells:
        count = f"{n_cells} of {len(result.table)} cells"
    else:
        count = f"{len(failures)} of {len(failures) + len(result.jobs)} jobs"
    kept = " The others are kept; run the same again to retry." if result.jobs else ""
    return CellsFailedError(
        f"{count} failed, the first with: {failures[0][1].message}{kept}",
        partial=result,
        exit_codes={failure.exit_code for _, failure in failures},
    )


def _read(store: Store, job: Job) -> pd.DataFrame | None:
    """Return a job's table, or None when it vanished or proves to be damaged."""
    folder = store.find("heads", job.key, deep=True)
    try:
        if folder is None:
            return None
        table = read_table(folder / "table.parquet")
        return table.assign(task=job.card.name, corpus=job.card.corpus)  # no part of the key
    except FileNotFoundError:  # pruned since
        return None


def _to_encode(plan: SweepPlan, task: LazyTask, jobs: list[Job]) -> list[EncodeWork]:
    """Return the splits whose states a task's missing jobs read."""
    opened = task.open()
    evaluation, used = _labelled_evaluation(opened), rows_used(plan, opened)
    probes = {job.probe.fingerprint: job for job in jobs if job.control != "majority"}
    return [
        EncodeWork(
            _encoder_of(plan, job), split, job.probe.pooling, job.probe.max_length, plan.store.root
        )
        for job in probes.values()
        for split in (train_part(plan, job, opened.train, used).split, evaluation)
    ]


def _prepare(plan: SweepPlan, task: LazyTask, jobs: list[Job], progress: Progress) -> list[Work]:
    """Open a task, encode what its missing jobs read, and return their work."""
    opened = task.open()
    evaluation = _labelled_evaluation(opened)
    used = rows_used(plan, opened)
    subsets: dict[tuple[str, int], Subset] = {}
    states: dict[str, tuple[str, str, RowsUsed]] = {}
    work = []
    for job in jobs:
        part = (job.subset, 0 if job.subset == "all" else job.seed)
        if part not in subsets:
            subsets[part] = make_subset(opened, job.subset, seed=job.seed)
        fingerprint = "" if job.control == "majority" else job.probe.fingerprint
        if fingerprint not in states:
            states[fingerprint] = _encoded(
                plan, job, train_part(plan, job, opened.train, used), evaluation, progress
            )
        subset, keys = subsets[part], states[fingerprint]
        assert subset.evaluation_labels is not None  # the whole's are there
        work.append(
            Work(
                job=job,
                root=plan.store.root,
                train_states=keys[0],
                evaluation_states=keys[1],
                train_rows=keys[2].places[subset.train_rows],
                evaluation_rows=subset.evaluation_rows,
                train_labels=subset.train_labels,
                evaluation_labels=subset.evaluation_labels,
                n_classes=len(subset.class_names),
                n_unseen=len(subset.unseen_names),
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


def train_part(plan: SweepPlan, job: Job, train: Split, used: RowsUsed) -> RowsUsed:
    """Return the training texts to encode: those that are read, or all that the store has already.

    Args:
        plan: The sweep.
        job: Which encoder, and how it is read.
        train: The whole training part.
        used: The texts that the draws of the plan read.
    """
    if used.split is train or job.control == "majority":
        return used
    config = states_config(
        _encoder_of(plan, job), train, pooling=job.probe.pooling, max_length=job.probe.max_length
    )
    if plan.store.find(STATES, content_hash(config)) is None:
        return used
    return RowsUsed(train, np.arange(len(train)))


def _encoder_of(plan: SweepPlan, job: Job) -> Encoder:
    encoder = plan.probes[job.probe.encoder][0]
    if job.control == "random_encoder":
        return encoder.randomised(seed=RANDOM_ENCODER_SEED)
    return encoder


def _encoded(
    plan: SweepPlan, job: Job, used: RowsUsed, evaluation: Split, progress: Progress
) -> tuple[str, str, RowsUsed]:
    """Encode both parts of a task unless the store has them; return the keys of the states."""
    if job.control == "majority":
        return "", "", used
    encoder = _encoder_of(plan, job)
    keys = []
    for part, split in (("train", used.split), ("evaluation", evaluation)):
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
    return keys[0], keys[1], used


_PASS = 20
"""Jobs of a pass: the remaining time is promised after the first tenth of the work, and the order
inside a pass, long jobs first, is not that of the whole."""


def in_passes(work: Sequence[Work], costs: Sequence[float]) -> list[Work]:
    """Order jobs in passes, each a sample of all, its last ones short.

    How much longer one task's heads take than foreseen shows in every pass, so that the rate of
    the first ones holds for the rest; and no long job is left for the end, when others idle.

    Args:
        work: The jobs.
        costs: What each costs, in any unit.
    """
    longest_first = sorted(range(len(work)), key=lambda i: -costs[i])
    n_passes = max(1, len(work) // _PASS)
    return [work[i] for start in range(n_passes) for i in longest_first[start::n_passes]]


def weighed(progress: Progress, costs: Sequence[float]) -> Callable[[int, object], None]:
    """Return what reports each finished job as its share of the whole cost, in jobs.

    Jobs differ in cost by a factor of a hundred: a count would promise another time.

    Args:
        progress: Called as ``progress("heads", done, total)``, first with 0.
        costs: What each job costs, in any unit.
    """
    left, whole = len(costs), sum(costs) or 1.0
    spent = 0.0
    progress("heads", 0, len(costs))

    def finished(index: int, result: object) -> None:
        nonlocal left, spent
        left -= 1
        spent += costs[index]
        most = len(costs) - bool(left)  # rounding must not end it early
        progress("heads", min(int(len(costs) * spent / whole), most) if left else most, len(costs))

    return finished


_WRITE_S = 0.005
"""Seconds of a job without its heads: reading states, writing its table."""


def _cost(plan: SweepPlan, work: Work) -> float:
    """Return about how many seconds of one thread a job takes."""
    job = work.job
    if job.control == "majority":
        return _WRITE_S
    width = plan.probes[job.probe.encoder][0].width
    return _WRITE_S + heads_seconds(
        work.sizes, n_layers=len(job.layers), width=width, n_classes=work.n_classes
    )


_SMALL_COST_S = 10.0  # starting processes, each of which imports torch, costs about as long


def _executor(executor: ExecutorChoice, n_jobs: int, cost_s: float) -> Executor:
    """Return the executor asked for; starting processes costs seconds, so little work gets none."""
    if executor is not None:
        return executor_from(executor)
    if cost_s < _SMALL_COST_S:
        return InProcess()
    return local_executor(max(1, min(available_cores(), n_jobs)))
