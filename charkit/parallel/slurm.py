"""Jobs as array jobs of Slurm, through submitit; needs the extra ``slurm``."""

from __future__ import annotations

import logging
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from typing import Any, Generic

from charkit.errors import MissingError
from charkit.parallel.jobs import (
    Arrivals,
    Driver,
    J,
    JobNeeds,
    Outcome,
    R,
    as_driver,
    attempt,
    collect_log,
    collected,
    died_twice,
    failure_from,
    log_again,
    log_levels,
    problem_here,
    thread_variables,
    threads_limited,
)

logger = logging.getLogger(__name__)

# Pause between looks at the files of jobs. Jobs take minutes, so a second is not noticed.
_POLL_S = 1.0

# How long the result of an ended job may take to appear: shared disks show new files late.
_GRACE_S = 10.0

# Tasks of one array; Slurm's default limit (MaxArraySize) is 1,001.
_MOST_TASKS = 500

# Tasks for every place where one can run: the start of a task costs seconds, and with several a
# place the last ones to end leave few processors idle.
_TASKS_A_SLOT = 4

_RUNNING = {
    "PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD",
    "REQUEUE_FED", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SPECIAL_EXIT", "PREEMPTED",
}  # fmt: skip


class Slurm:
    """Run jobs as the tasks of a Slurm array, several jobs a task.

    A task that Slurm requeues runs again; one that is cancelled or lost is sent again, its
    jobs one by one. Account, time limit and quality of service come from the variables that
    sbatch reads: SBATCH_ACCOUNT, SBATCH_TIMELIMIT, SBATCH_QOS.

    Args:
        partition: Name of the partition. Default: the cluster's own default.

    Raises:
        MissingError: submitit or sbatch is not installed, or there is no such partition.
    """

    encodes = True

    def __init__(self, partition: str | None = None) -> None:
        if find_spec("submitit") is None:
            raise MissingError("submitit is not installed. Run: pip install 'charkit[slurm]'")
        if shutil.which("sbatch") is None:
            raise MissingError(
                "Slurm is not on this machine: expected the command sbatch. Run charkit on a "
                "machine from which jobs are submitted."
            )
        self.partition = partition
        if partition is not None:
            _check_partition(partition)

    def __repr__(self) -> str:
        return f"Slurm({self.partition!r})"

    def run(self, function: Callable[[J], R], jobs: Sequence[J], needs: JobNeeds) -> Arrivals[R]:
        """Yield index and result, or failure, of every job as it arrives.

        Raises:
            MissingError: Slurm takes no job, a node has other versions or does not see a
                folder.
        """
        home = needs.folders[0] if needs.folders else Path.cwd()
        with as_driver((home, *needs.folders[1:])) as driver, _job_folder(home) as folder:
            submitter = _submitter(folder, self.partition, needs)
            array = _Array(function, jobs, needs.n_threads, submitter, driver)
            # Cores of the nodes of a partition that are not down.
            chosen = () if self.partition is None else ("-p", self.partition)
            counts = [line.split("/") for line in _ask("sinfo", "-h", "-o", "%C", *chosen).split()]
            n_cores = sum(int(allocated) + int(idle) for allocated, idle, _, _ in counts)
            n_slots = max(1, n_cores // needs.n_threads)
            yield from array.run(min(_MOST_TASKS, _TASKS_A_SLOT * n_slots, len(jobs)))


def _check_partition(name: str) -> None:
    found = [line.rstrip("*") for line in _ask("sinfo", "-h", "-o", "%P").split()]
    if name not in found:
        raise MissingError(
            f"Slurm has no partition {name!r}: expected one of {', '.join(found) or 'none'}. "
            "'sinfo' shows them."
        )


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"Slurm does not answer: {command[0]}: {error}") from error
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise MissingError(
            f"Slurm does not answer: {command[0]}: {reason[0]}. Check that 'sinfo' works here."
        )
    return done.stdout


@contextmanager
def _job_folder(home: Path) -> Iterator[Path]:
    """Give the folder through which submitit passes jobs and results; only its owner may read."""
    folder = home / f".slurm-{token_hex(6)}"
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _submitter(folder: Path, partition: str | None, needs: JobNeeds) -> Any:
    import submitit

    submitter = submitit.SlurmExecutor(folder=folder)
    options: dict[str, Any] = {
        "job_name": "charkit",
        "time": None,  # the partition's own; submitit's default is five minutes
        "cpus_per_task": needs.n_threads,
        "stderr_to_stdout": True,
        "additional_parameters": {"requeue": True},
    }
    if partition is not None:
        options["partition"] = partition
    if needs.n_gpus:
        options["gpus_per_node"] = max(1, round(needs.n_gpus))
    submitter.update_parameters(**options)
    return submitter


class _Array(Generic[J, R]):
    """The jobs of one call, sent as arrays until each has a result or has failed twice."""

    def __init__(
        self,
        function: Callable[[J], R],
        jobs: Sequence[J],
        n_threads: int,
        submitter: Any,
        driver: Driver,
    ) -> None:
        self._function = function
        self._jobs = jobs
        self._n_threads = n_threads
        self._submitter = submitter
        self._driver = driver
        self._under_way: dict[str, tuple[Any, list[int]]] = {}

    def run(self, n_tasks: int) -> Arrivals[R]:
        """Yield index and result of every job as it arrives."""
        every = list(range(len(self._jobs)))
        try:
            lost = yield from self._round([every[k::n_tasks] for k in range(n_tasks)])
            again: list[list[int]] = [[index] for indices in lost.values() for index in indices]
            if again:
                logger.warning(
                    "Slurm lost %d tasks (%s); their %d jobs run again, one a task",
                    len(lost),
                    ", ".join(sorted({_state_of(name) for name in lost})),
                    len(again),
                )
            for begin in range(0, len(again), _MOST_TASKS):
                twice = yield from self._round(again[begin : begin + _MOST_TASKS])
                for name, indices in twice.items():
                    yield indices[0], died_twice(_state_of(name))
        finally:
            if self._under_way:
                _cancel(self._under_way)

    def _round(self, tasks: list[list[int]]) -> Any:
        """Send tasks and yield what arrives; return the tasks that were lost, by id and state."""
        lost: dict[str, list[int]] = {}
        self._submit(tasks)
        ended: dict[str, tuple[str, float]] = {}
        while self._under_way:
            for name in [n for n, (task, _) in self._under_way.items() if _has_result(task)]:
                task, indices = self._under_way.pop(name)
                yield from self._unpack(task, indices)
            ended = _ended(self._under_way, ended)
            for name, (state, since) in ended.items():
                task, indices = self._under_way[name]
                if time.monotonic() - since >= _GRACE_S and not _has_result(task):
                    self._check_seen(task)
                    del self._under_way[name]
                    lost[f"{name} {state}"] = indices
            if self._under_way:
                time.sleep(_POLL_S)
        return lost

    def _submit(self, tasks: list[list[int]]) -> None:
        calls = [
            (self._function, [self._jobs[i] for i in indices], self._n_threads, log_levels())
            for indices in tasks
        ]
        with thread_variables(self._n_threads):
            try:
                sent = self._submitter.map_array(_run_task, calls, [self._driver] * len(calls))
            except Exception as error:
                raise MissingError(f"Slurm takes no job: {_reason(error)}") from error
        for task, indices in zip(sent, tasks, strict=True):
            self._under_way[str(task.job_id)] = (task, indices)

    def _unpack(self, task: Any, indices: list[int]) -> Arrivals[R]:
        error = task.exception()
        if error is not None:
            for index in indices:
                yield index, failure_from(error)
            return
        problem, outcomes = task.result()
        if problem is not None:
            raise MissingError(problem)
        for index, (result, records) in zip(indices, outcomes, strict=True):
            log_again(records)
            yield index, result

    def _check_seen(self, task: Any) -> None:
        """Check that a task that left no result has at least begun to write its log.

        Raises:
            MissingError: There is no log: its node does not see the folder.
        """
        folder = self._submitter.folder
        if any(folder.glob(f"{task.job_id}_*_log.out")):
            return
        state = _ask("squeue", "-h", "-t", "all", "-r", "-o", "%T|%M", "-j", str(task.job_id))
        if state.startswith("FAILED"):
            raise MissingError(
                f"a node of Slurm does not see {folder.parent}: its task ended and left no log "
                "there. Put the store on a shared disk: --cache-dir FOLDER, or set "
                "CHARKIT_CACHE."
            )


def _has_result(task: Any) -> bool:
    return bool(task.paths.result_pickle.exists())


def _ended(
    under_way: dict[str, tuple[Any, list[int]]], known: dict[str, tuple[str, float]]
) -> dict[str, tuple[str, float]]:
    """Return the tasks that Slurm has ended, or knows no more: name -> state, since when."""
    if not under_way:
        return {}
    arrays = sorted({name.split("_")[0] for name in under_way})
    try:
        text = _ask("squeue", "-h", "-t", "all", "-r", "-o", "%i|%T", "-j", ",".join(arrays))
    except MissingError as error:
        if "Invalid job id" not in str(error):
            logger.warning("%s", error)
            return known
        text = ""
    states = dict(line.split("|", 1) for line in text.split() if "|" in line)
    now = time.monotonic()
    return {
        name: (state, known[name][1] if name in known else now)
        for name in under_way
        if (state := states.get(name, "UNKNOWN")) not in _RUNNING
    }


def _state_of(name: str) -> str:
    return name.partition(" ")[2]


def _cancel(under_way: dict[str, Any]) -> None:
    command = ["scancel", *sorted({name.split("_")[0] for name in under_way})]
    subprocess.run(command, capture_output=True, check=False, timeout=60)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    named = [line for line in lines if "error" in line.lower()]
    return (named or lines or [type(error).__name__])[-1]


def _run_task(
    call: tuple[Any, list[Any], int, dict[str, int]], driver: Driver
) -> tuple[str | None, list[Outcome]]:
    """Do the jobs of one task, or return why they cannot be done there; runs on a node."""
    function, jobs, n_threads, levels = call
    problem = problem_here(driver)
    if problem is not None:
        return problem, []
    collect_log(levels)
    with threads_limited(n_threads):
        return None, [(attempt(function, job), collected()) for job in jobs]
