"""Run many jobs, in this process or in several, and lose none of them."""

from __future__ import annotations

import logging
import logging.handlers
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from charkit.errors import MissingError, UsageError
from charkit.manifest import THREAD_VARIABLES

logger = logging.getLogger(__name__)

J = TypeVar("J")
R = TypeVar("R")

_START_ATTEMPTS = 3
_records: SimpleQueue[logging.LogRecord] = SimpleQueue()


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


def run_jobs(
    function: Callable[[J], R],
    jobs: Sequence[J],
    *,
    n_workers: int,
    threads_per_worker: int = 1,
    progress: Callable[[int, int], None] | None = None,
    on_result: Callable[[int, R | JobFailure], None] | None = None,
) -> list[R | JobFailure]:
    """Return ``function(job)`` for every job, in the order of the jobs.

    One worker, or one job, means this process; more mean processes started afresh (spawn),
    which end with their parent however it ends. Numerical libraries get
    ``threads_per_worker`` threads in either case, so that the number of workers changes no
    result. An exception in a job becomes a `JobFailure` in its place. When a worker process
    dies, the jobs that were under way run once more, each alone in a new process; a job that
    kills that one too becomes a failure.

    An interrupt stops the workers at once and is raised again: what a job writes must be
    whole or absent at any moment, as in `charkit.store`.

    Args:
        function: A function of a module (not a lambda, nor of ``__main__`` without a guard).
        jobs: Arguments that can be pickled.
        n_workers: Processes.
        threads_per_worker: Threads of OpenMP, BLAS and torch in each.
        progress: Called as ``progress(done, total)``, first with 0.
        on_result: Called in this process as ``on_result(index, result)`` as results arrive.

    Raises:
        UsageError: A count is below one.
        MissingError: Worker processes cannot be started.
    """
    if n_workers < 1 or threads_per_worker < 1:
        raise UsageError(
            "cannot run jobs: expected at least 1 worker and 1 thread, got "
            f"n_workers={n_workers} and threads_per_worker={threads_per_worker}."
        )
    results: dict[int, R | JobFailure] = {}
    n_used = min(n_workers, len(jobs))
    if n_used <= 1:
        arrivals = _run_here(function, jobs, threads_per_worker)
    else:
        arrivals = _Workers(function, jobs, n_used, threads_per_worker).run()
    with closing(arrivals):
        if progress is not None:
            progress(0, len(jobs))
        for index, result in arrivals:
            results[index] = result
            if on_result is not None:
                on_result(index, result)
            if progress is not None:
                progress(len(results), len(jobs))
    return [results[index] for index in range(len(jobs))]


# -- in this process --------------------------------------------------------------------


def _run_here(function: Callable[[J], R], jobs: Sequence[J], n_threads: int) -> Arrivals[R]:
    with _threads_here(n_threads):
        for index, job in enumerate(jobs):
            yield index, _attempt(function, job)


def _attempt(function: Callable[[J], R], job: J) -> R | JobFailure:
    try:
        return function(job)
    except (Exception, SystemExit) as error:
        text = "".join(traceback.format_exception(error))
        return _failure(error, traceback_text=text)


def _failure(error: BaseException, *, traceback_text: str = "") -> JobFailure:
    name = type(error).__name__
    message = str(error) or name
    return JobFailure(
        message=message,
        error=name,
        exit_code=getattr(error, "exit_code", 1),
        traceback=traceback_text,
    )


@contextmanager
def _threads_here(n_threads: int) -> Iterator[None]:
    """Limit the threads of the libraries loaded so far, and of those to come by variables."""
    with ExitStack() as stack:
        stack.enter_context(_thread_variables(n_threads))
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
def _thread_variables(n_threads: int) -> Iterator[None]:
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


# -- in several processes ---------------------------------------------------------------


class _Workers(Generic[J, R]):
    """The jobs of one call of `run_jobs` in several processes."""

    def __init__(
        self, function: Callable[[J], R], jobs: Sequence[J], n_workers: int, n_threads: int
    ) -> None:
        self._function = function
        self._jobs = jobs
        self._n_workers = n_workers
        self._n_threads = n_threads
        self._n_failed_starts = 0

    def run(self) -> Arrivals[R]:
        """Yield index and result of every job as it arrives."""
        waiting = deque(range(len(self._jobs)))
        while waiting:
            suspects = deque((yield from self._round(waiting, self._n_workers)))
            if suspects:
                logger.warning(
                    "a worker process died; the %d jobs under way run once more, one at a time",
                    len(suspects),
                )
            while suspects:
                for index in (yield from self._round(suspects, 1)):
                    yield index, _DIED

    def _round(
        self, waiting: deque[int], n_workers: int
    ) -> Generator[tuple[int, R | JobFailure], None, list[int]]:
        """Run what waits in one pool; when the pool breaks, return the jobs under way.

        One worker has one job under way, so that it is known which one broke the pool.
        """
        n_ahead = 1 if n_workers == 1 else 2 * n_workers
        under_way: dict[Future[Any], int] = {}
        lost: list[int] = []
        with _pool(n_workers) as pool:
            started = _submit(pool, self._n_threads, _nothing)
            broken = started is None
            while (waiting or under_way) and not broken:
                while waiting and len(under_way) < n_ahead and not broken:
                    future = self._send(pool, waiting[0])
                    broken = future is None
                    if future is not None:
                        under_way[future] = waiting.popleft()
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=under_way.__getitem__):
                    index = under_way.pop(future)
                    if _is_lost(future):
                        lost.append(index)
                    else:
                        yield index, _unpack(future)
                broken = broken or bool(lost)
            wait(under_way)
            for future, index in under_way.items():
                if _is_lost(future):
                    lost.append(index)
                else:
                    yield index, _unpack(future)
        if broken and (started is None or _is_lost(started)):
            self._count_failed_start()
            waiting.extendleft(sorted(lost, reverse=True))
            return []
        return sorted(lost)

    def _send(self, pool: ProcessPoolExecutor, index: int) -> Future[Any] | None:
        return _submit(
            pool, self._n_threads, _work, self._function, self._jobs[index], self._n_threads
        )

    def _count_failed_start(self) -> None:
        self._n_failed_starts += 1
        if self._n_failed_starts >= _START_ATTEMPTS:
            raise MissingError(
                "worker processes cannot be started: expected them to run, got "
                f"{self._n_failed_starts} that died at their start. In a script, put the call "
                "under \"if __name__ == '__main__':\"; else check the free memory, or use one "
                "worker."
            )


_DIED = JobFailure(
    message=(
        "the worker process died over this job, and again when it ran alone: expected a "
        "result, got none. It was probably killed for want of memory. Use fewer workers or a "
        "smaller job."
    ),
    error="BrokenProcessPool",
    exit_code=MissingError.exit_code,
    traceback="",
    died=True,
)


@contextmanager
def _pool(n_workers: int) -> Iterator[ProcessPoolExecutor]:
    """Give a pool; when the block is left by an exception, its workers stop at once."""
    context = multiprocessing.get_context("spawn")
    stop, keep = context.Pipe(duplex=False)
    levels = {name: logging.getLogger(name).getEffectiveLevel() for name in ("", "charkit")}
    pool = ProcessPoolExecutor(
        n_workers, mp_context=context, initializer=_start_worker, initargs=(stop, levels)
    )
    try:
        yield pool
    except BaseException:
        keep.close()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        keep.close()
        stop.close()


def _submit(
    pool: ProcessPoolExecutor, n_threads: int, function: Callable[..., Any], *arguments: Any
) -> Future[Any] | None:
    """Hand a call to a pool, or return None when the pool is broken.

    A worker may start here and inherits two things: the thread variables, which libraries
    read when they are loaded, and a blocked SIGINT, so that Ctrl-C reaches the parent alone.
    """
    with _thread_variables(n_threads), _interrupt_blocked():
        try:
            return pool.submit(function, *arguments)
        except BrokenProcessPool:
            return None


@contextmanager
def _interrupt_blocked() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_lost(future: Future[Any]) -> bool:
    return not future.done() or isinstance(future.exception(), BrokenProcessPool)


def _unpack(future: Future[Any]) -> Any:
    """Return the result that came back, having passed on what the job logged."""
    error = future.exception()
    if error is not None:
        return _failure(error)
    result, records = future.result()
    for record in records:
        logging.getLogger(record.name).handle(record)
    return result


# -- in a worker process ----------------------------------------------------------------


def _start_worker(stop: Connection, levels: dict[str, int]) -> None:
    """Prepare a worker: it ends with its parent, leaves Ctrl-C to it, and collects its log."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(stop,), daemon=True).start()
    logging.getLogger().addHandler(logging.handlers.QueueHandler(_records))
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def _end_with_parent(stop: Connection) -> None:
    parent = multiprocessing.parent_process()
    wait_for([stop] if parent is None else [stop, parent.sentinel])
    os._exit(1)


def _nothing() -> None:
    """Do nothing: the call by which a worker shows that it has started."""


def _work(
    function: Callable[[J], R], job: J, n_threads: int
) -> tuple[R | JobFailure, list[logging.LogRecord]]:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(n_threads)
    result = _attempt(function, job)
    records = []
    while not _records.empty():
        records.append(_records.get())
    return result, records
