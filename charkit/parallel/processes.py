"""Jobs in several processes of this machine, which end with their parent."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from typing import Any, Generic

from charkit.errors import MissingError, UsageError
from charkit.parallel.jobs import (
    Arrivals,
    Executor,
    InProcess,
    J,
    JobFailure,
    JobNeeds,
    Outcome,
    R,
    attempt_limited,
    collect_log,
    collected,
    died_twice,
    failure_from,
    log_again,
    log_levels,
    thread_variables,
)

logger = logging.getLogger(__name__)

# Workers that die before any job has ended are started again this many times: the fault is not a
# job's.
_START_ATTEMPTS = 3


def local_executor(n_workers: int) -> Executor:
    """Return the executor of this machine: this process for one worker, else several.

    Raises:
        UsageError: The number is below one.
    """
    return InProcess() if n_workers == 1 else Processes(n_workers)


class Processes:
    """Run jobs in processes started afresh (spawn), which end with their parent.

    Only one job, or none, is run in this process instead.

    Raises:
        UsageError: The number is below one.
    """

    encodes = False

    def __init__(self, n_workers: int) -> None:
        if n_workers < 1:
            raise UsageError(f"workers: expected at least 1, got {n_workers}.")
        self.n_workers = n_workers

    def __repr__(self) -> str:
        return f"Processes({self.n_workers})"

    def run(self, function: Callable[[J], R], jobs: Sequence[J], needs: JobNeeds) -> Arrivals[R]:
        """Yield index and result, or failure, of every job as it arrives.

        Raises:
            MissingError: Worker processes cannot be started.
        """
        n_used = min(self.n_workers, len(jobs))
        if n_used <= 1:
            return InProcess().run(function, jobs, needs)
        return _Workers(function, jobs, n_used, needs.n_threads).run()


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
                    yield index, died_twice(BrokenProcessPool.__name__)

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


@contextmanager
def _pool(n_workers: int) -> Iterator[ProcessPoolExecutor]:
    """Give a pool; when the block is left by an exception, its workers stop at once."""
    context = multiprocessing.get_context("spawn")
    stop, keep = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        n_workers, mp_context=context, initializer=_start_worker, initargs=(stop, log_levels())
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
    read when they are loaded, and a blocked SIGINT, so that Ctrl-C reaches only the parent.
    """
    with thread_variables(n_threads), _interrupt_blocked():
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
        return failure_from(error)
    result, records = future.result()
    log_again(records)
    return result


# -- in a worker process ----------------------------------------------------------------


def _start_worker(stop: Connection, levels: dict[str, int]) -> None:
    """Prepare a worker: it ends with its parent, leaves Ctrl-C to it, and collects its log."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(stop,), daemon=True).start()
    collect_log(levels)


def _end_with_parent(stop: Connection) -> None:
    parent = multiprocessing.parent_process()
    wait_for([stop] if parent is None else [stop, parent.sentinel])
    os._exit(1)


def _nothing() -> None:
    """Do nothing: the call by which a worker shows that it has started."""


def _work(function: Callable[[J], R], job: J, n_threads: int) -> Outcome:
    return attempt_limited(function, job, n_threads), collected()
