"""What a job, an executor and a failure are; the executor that uses this process only."""

from __future__ import annotations

import logging
import logging.handlers
import os
import platform
import secrets
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from charkit.errors import CellsFailedError, MissingError, UsageError
from charkit.store.durable import write_whole
from charkit.store.manifest import THREAD_VARIABLES

logger = logging.getLogger(__name__)

J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True)
class JobFailure:
    """What stands in the place of a result when a job failed.

    Attributes:
        message: What went wrong, in one sentence or two.
        error: Name of the exception's class.
        exit_code: That of the CharkitError, 1 for any other.
        traceback: Where it went wrong; empty when the process died.
        died: Whether the worker process died over it, twice.
    """

    message: str
    error: str
    exit_code: int
    traceback: str
    died: bool = False


Arrivals = Generator[tuple[int, R | JobFailure], None, None]


@dataclass(frozen=True)
class JobNeeds:
    """What every job of one call needs.

    Attributes:
        n_threads: Threads of OpenMP, BLAS and torch.
        n_gpus: GPUs, or the share of one (Ray only shares them).
        folders: Folders that every worker must see, such as the store's.
    """

    n_threads: int = 1
    n_gpus: float = 0.0
    folders: tuple[Path, ...] = ()


class Executor(Protocol):
    """Something that runs jobs: this process, several, a Ray cluster, Slurm.

    Attributes:
        encodes: Whether texts are encoded there as well; this machine encodes in the calling
            process, with all its threads.
    """

    encodes: bool

    def run(self, function: Callable[[J], R], jobs: Sequence[J], needs: JobNeeds) -> Arrivals[R]:
        """Yield index and result, or `JobFailure`, of every job as it arrives.

        When the generator is closed early, the jobs under way are stopped.
        """
        ...


class InProcess:
    """Run the jobs one after the other in this process."""

    encodes = False

    def __repr__(self) -> str:
        return "InProcess()"

    def run(self, function: Callable[[J], R], jobs: Sequence[J], needs: JobNeeds) -> Arrivals[R]:
        """Yield index and result, or failure, of every job in order."""
        with threads_limited(needs.n_threads):
            for index, job in enumerate(jobs):
                yield index, attempt(function, job)


def run_jobs(
    function: Callable[[J], R],
    jobs: Sequence[J],
    *,
    executor: Executor,
    threads_per_worker: int = 1,
    n_gpus: float = 0.0,
    folders: Sequence[Path] = (),
    progress: Callable[[int, int], None] | None = None,
    on_result: Callable[[int, R | JobFailure], None] | None = None,
) -> list[R | JobFailure]:
    """Return ``function(job)`` for every job, in the order of the jobs.

    An exception in a job becomes a `JobFailure` in its place. When a worker dies, the jobs
    under way run once more, each by itself; a job that kills its worker again becomes a
    failure. Numerical libraries get ``threads_per_worker`` threads on every executor, so
    that the executor changes no result.

    An interrupt stops the jobs under way and is raised again: what a job writes must be
    whole or absent at any moment, as in `charkit.store.store`.

    Args:
        function: A function of a module (not a lambda, nor of ``__main__`` without a guard).
        jobs: Arguments that can travel to another process.
        executor: From `local_executor` or `executor_from`.
        threads_per_worker: Threads of OpenMP, BLAS and torch for each job.
        n_gpus: GPUs for each job, or the share of one.
        folders: Folders that every worker must see.
        progress: Called as ``progress(done, total)``, first with 0.
        on_result: Called in this process as ``on_result(index, result)`` as results arrive.

    Raises:
        UsageError: The number of threads is below one.
        MissingError: Workers cannot be started or reached, or do not see a folder.
    """
    if threads_per_worker < 1:
        raise UsageError(f"threads: expected at least 1, got {threads_per_worker}.")
    needs = JobNeeds(threads_per_worker, n_gpus, tuple(folders))
    results: dict[int, R | JobFailure] = {}
    if not jobs:
        executor = InProcess()
    with closing(executor.run(function, jobs, needs)) as arrivals:
        if progress is not None:
            progress(0, len(jobs))
        for index, result in arrivals:
            results[index] = result
            if on_result is not None:
                on_result(index, result)
            if progress is not None:
                progress(len(results), len(jobs))
    return [results[index] for index in range(len(jobs))]


def check_failures(results: Sequence[Any], *, stage: str) -> None:
    """Check that every job of a stage has a result.

    Args:
        results: From `run_jobs`.
        stage: What the jobs do, for the message.

    Raises:
        CellsFailedError: Some failed; those that did not are in the store.
    """
    failures = [entry for entry in results if isinstance(entry, JobFailure)]
    if failures:
        raise CellsFailedError(
            f"{stage}: {len(failures)} of {len(results)} failed, the first with: "
            f"{failures[0].message} The others are kept; run the same again to retry.",
            partial=None,
            exit_codes={failure.exit_code for failure in failures},
        )


def attempt(function: Callable[[J], R], job: J) -> R | JobFailure:
    """Return the result of a job, or its failure."""
    try:
        return function(job)
    except (Exception, SystemExit) as error:
        text = "".join(traceback.format_exception(error))
        return failure_from(error, traceback_text=text)


def failure_from(error: BaseException, *, traceback_text: str = "") -> JobFailure:
    """Return the failure that stands for an exception."""
    name = type(error).__name__
    message = str(error) or name
    return JobFailure(
        message=message,
        error=name,
        exit_code=getattr(error, "exit_code", 1),
        traceback=traceback_text,
    )


def died_twice(error: str) -> JobFailure:
    """Return the failure of a job over which two workers died.

    Args:
        error: The name of the engine's own error, or its last state of the job.
    """
    return JobFailure(
        message=(
            "the worker process died over this job, and again when it ran by itself: expected "
            f"a result, got none ({error}). It was probably killed because memory ran out. Use "
            "fewer workers, more memory for each, or a smaller job."
        ),
        error=error,
        exit_code=MissingError.exit_code,
        traceback="",
        died=True,
    )


# -- threads ----------------------------------------------------------------------------


@contextmanager
def threads_limited(n_threads: int) -> Iterator[None]:
    """Limit the threads of the libraries loaded so far, and of those to come by variables.

    Serves as a decorator too. All that fits or measures on stored states has one thread: sums and
    products of several differ from those of one in their last bits.
    """
    with ExitStack() as stack:
        stack.enter_context(thread_variables(n_threads))
        try:
            import threadpoolctl  # type: ignore[import-untyped]
        except ImportError:
            logger.debug("threadpoolctl is not installed: numpy keeps its own threads")
        else:
            stack.enter_context(threadpoolctl.threadpool_limits(n_threads))
        torch = sys.modules.get("torch")
        if torch is not None:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(n_threads)
        yield


@contextmanager
def thread_variables(n_threads: int) -> Iterator[None]:
    """Set the variables that libraries read when they are loaded, then restore them."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(n_threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# -- the log of a worker ------------------------------------------------------------------

_records: SimpleQueue[logging.LogRecord] = SimpleQueue()


def collect_log(levels: dict[str, int]) -> None:
    """Keep what is logged in this worker process; `collected` hands it over.

    Args:
        levels: Name of a logger -> its level in the parent.
    """
    root = logging.getLogger()
    if not any(isinstance(h, logging.handlers.QueueHandler) for h in root.handlers):
        root.addHandler(logging.handlers.QueueHandler(_records))
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def collected() -> list[logging.LogRecord]:
    """Return what was logged since the last call."""
    records = []
    while not _records.empty():
        records.append(_records.get())
    return records


def log_levels() -> dict[str, int]:
    """Return the levels of this process for `collect_log`."""
    return {name: logging.getLogger(name).getEffectiveLevel() for name in ("", "charkit")}


def log_again(records: Sequence[logging.LogRecord]) -> None:
    """Log here what a worker logged there."""
    for record in records:
        logging.getLogger(record.name).handle(record)


Outcome = tuple[Any, list[logging.LogRecord]]


def attempt_limited(function: Callable[[J], R], job: J, n_threads: int) -> R | JobFailure:
    """Return the result of a job in a worker whose thread variables are set already."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(n_threads)
    return attempt(function, job)


# -- what a worker on another machine must have: the same versions, and the driver's folders ------


@dataclass(frozen=True)
class Driver:
    """What a worker compares itself with; it travels with the jobs.

    Attributes:
        versions: Package -> version, for those that decide results.
        files: A small file in each folder that every worker must see.
        token: What each of them holds.
    """

    versions: dict[str, str]
    files: tuple[str, ...]
    token: str

    def hidden(self) -> list[str]:
        """Return the folders in which this process does not find the file."""
        return [str(Path(name).parent) for name in self.files if not self._seen(name)]

    def _seen(self, name: str) -> bool:
        try:
            return Path(name).read_bytes() == self.token.encode()
        except OSError:
            return False


@contextmanager
def as_driver(folders: Sequence[Path]) -> Iterator[Driver]:
    """Describe this process, with a small file in each folder that is removed afterwards.

    Raises:
        MissingError: A folder cannot be written.
    """
    token = secrets.token_hex(16)
    places = [folder.absolute() / f".seen-{token[:12]}" for folder in folders]
    try:
        for place in places:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_whole(place, token.encode())
        yield Driver(versions(), tuple(str(p) for p in places), token)
    finally:
        for place in places:
            place.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Return the versions that must be the same on all machines."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"Python": python} | {name: version(name) for name in ("charkit", "torch", "numpy")}


def problem_here(driver: Driver) -> str | None:
    """Return why this process cannot do the driver's jobs, or None.

    Run on every machine before its first job.
    """
    own, host = versions(), platform.node()
    other = [name for name, wanted in driver.versions.items() if own.get(name) != wanted]
    if other:
        wanted = ", ".join(f"{name} {driver.versions[name]}" for name in other)
        got = ", ".join(f"{name} {own.get(name)}" for name in other)
        return (
            f"{host} has other versions than the machine that started the run: expected "
            f"{wanted}, got {got}. Install the same versions on every machine."
        )
    hidden = driver.hidden()
    if hidden:
        return (
            f"{host} does not see {', '.join(hidden)}: expected a folder that all machines "
            "share. Put the store on a shared disk: --cache-dir FOLDER, or set CHARKIT_CACHE."
        )
    return None
