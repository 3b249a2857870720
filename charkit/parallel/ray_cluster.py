"""Jobs as tasks of a Ray cluster (https://docs.ray.io); needs the extra ``ray``."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Generic

from charkit.errors import MissingError, UsageError
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
from charkit.store.manifest import available_cores

logger = logging.getLogger(__name__)

# Wanted length of a task. Ray needs about a millisecond to hand out a task and to collect it
# (benchmarks/results/scale.json), so half a second keeps that under one per cent.
_BATCH_S = 0.5

# How long an address may take to answer; Ray itself waits for minutes.
_REACH_S = 10.0

# How long Ray may take to notice that a node is gone (its health checks: 3 s x 5).
_NODE_NEWS_S = 15.0


class RayCluster:
    """Run jobs as Ray tasks, several jobs a task when they are short.

    A task that is lost with its node runs again on another. Ray's usage statistics are
    switched off for a cluster that is started here.

    Args:
        address: ``HOST:PORT`` of a cluster's head, or None: the cluster that $RAY_ADDRESS
            names, else one that is started on this machine and ends with the call.

    Raises:
        MissingError: Ray is not installed.
        UsageError: The address is not HOST:PORT.
    """

    encodes = True

    def __init__(self, address: str | None = None) -> None:
        if find_spec("ray") is None:
            raise MissingError("Ray is not installed. Run: pip install 'charkit[ray]'")
        if address is not None:
            _host_and_port(address)
        self.address = address

    def __repr__(self) -> str:
        return f"RayCluster({self.address!r})"

    def run(self, function: Callable[[J], R], jobs: Sequence[J], needs: JobNeeds) -> Arrivals[R]:
        """Yield index and result, or failure, of every job as it arrives.

        Raises:
            MissingError: The cluster cannot be reached or lacks a resource; a node has other
                versions or does not see a folder.
        """
        with _connected(self.address), as_driver(needs.folders) as driver:
            _check_nodes(driver)
            _check_resources(needs)
            yield from _Tasks(function, jobs, needs).run()


def _host_and_port(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not host or "/" in host or not (port.isascii() and port.isdigit()):
        raise UsageError(
            f"executor: expected ray:HOST:PORT as 'ray start --head' prints it, got "
            f"'ray:{address}'."
        )
    return host.strip("[]"), int(port)


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start one; leave it afterwards. A live connection is used."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if address is None:
        options |= {"num_cpus": available_cores(), "include_dashboard": False}
    else:
        options |= {"address": address} | _loopback_node(address)
        _reach(address)
    try:
        with thread_variables(1):
            ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = "started here" if address is None else f"at {address}"
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MissingError(
            f"the Ray cluster {where} cannot be used: {first.rstrip('.')}. Ray and Python must "
            "have the same versions on every machine, and this machine must run one of the "
            "cluster's nodes ('ray start --address=HOST:PORT')."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _loopback_node(address: str) -> dict[str, str]:
    """Return the node's address when the cluster is on loopback, where Ray looks for none."""
    host = _host_and_port(address)[0]
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    return {"_node_ip_address": host} if loopback else {}


def _reach(address: str) -> None:
    host, port = _host_and_port(address)
    try:
        socket.create_connection((host, port), timeout=_REACH_S).close()
    except OSError as error:
        raise MissingError(
            f"no Ray cluster answers at {address} ({error.strerror or error}). Start one with "
            "'ray start --head', and give the address that it prints."
        ) from error


def _check_nodes(driver: Driver) -> None:
    """Ask every node for its versions and whether it sees the folders.

    Raises:
        MissingError: A node cannot do the jobs.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked = {}
    for node in _alive_nodes():
        place = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        task = ray.remote(num_cpus=0, max_retries=1)(problem_here)
        asked[node] = task.options(scheduling_strategy=place).remote(driver)
    for node, answer in asked.items():
        try:
            problem = ray.get(answer)
        except ray.exceptions.RayError as error:
            if _lost_a_node({node}):
                continue
            raise MissingError(
                f"a node of the Ray cluster cannot run charkit: {_last_line(error)}. Install "
                "the same version of charkit on every machine."
            ) from error
        if problem is not None:
            raise MissingError(problem)


def _check_resources(needs: JobNeeds) -> None:
    import ray

    total = ray.cluster_resources()
    if total.get("CPU", 0) < needs.n_threads or total.get("GPU", 0) < needs.n_gpus:
        raise MissingError(
            f"the Ray cluster is too small: expected {needs.n_threads} CPUs and "
            f"{needs.n_gpus:g} GPUs for a job, got {total.get('CPU', 0):g} and "
            f"{total.get('GPU', 0):g} in all. Add a node, or use --device cpu."
        )


def _alive_nodes() -> set[str]:
    import ray

    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return (lines[-1].strip() if lines else type(error).__name__).rstrip(".")


# -- the jobs of one call -----------------------------------------------------------------


@dataclass
class _Batch:
    """Jobs that travel as one task."""

    jobs: list[int]
    nodes: set[str] = field(default_factory=set)


class _Tasks(Generic[J, R]):
    """The jobs of one call: sent in batches, sent again one by one when a worker dies."""

    def __init__(self, function: Callable[[J], R], jobs: Sequence[J], needs: JobNeeds) -> None:
        import ray

        self._jobs = jobs
        self._n_threads = needs.n_threads
        self._task = ray.remote(num_cpus=needs.n_threads, num_gpus=needs.n_gpus, max_retries=0)(
            _run_batch
        )
        self._function = ray.put(function)
        self._levels = log_levels()
        self._waiting: deque[int] = deque(range(len(jobs)))
        self._again: deque[int] = deque()
        self._under_way: dict[Any, _Batch] = {}
        self._n_slots = _slots(needs)
        self._job_s: float | None = None

    def run(self) -> Arrivals[R]:
        """Yield index and result of every job as it arrives."""
        import ray

        # What is under way when this ends early is left to Ray, which ends it with the driver: a
        # cancelled task whose reply is on its way ends Ray 2.60 itself ("unexpected system state").
        while self._waiting or self._again or self._under_way:
            self._send()
            done, _ = ray.wait(list(self._under_way), num_returns=1)
            more, _ = ray.wait(list(self._under_way), num_returns=len(self._under_way), timeout=0)
            for task in dict.fromkeys([*done, *more]):
                yield from self._arrived(task)

    def _send(self) -> None:
        """Keep two tasks for every slot under way; a suspect job is a task of its own."""
        while len(self._under_way) < 2 * self._n_slots and (self._waiting or self._again):
            if self._again:
                self._submit([self._again.popleft()], suspect=True)
            else:
                n = min(self._batch_size(), len(self._waiting))
                self._submit([self._waiting.popleft() for _ in range(n)], suspect=False)

    def _submit(self, jobs: list[int], *, suspect: bool) -> None:
        arguments = [self._jobs[index] for index in jobs]
        task = self._task.remote([self._function], arguments, self._n_threads, self._levels)
        self._under_way[task] = _Batch(jobs, _alive_nodes() if suspect else set())

    def _batch_size(self) -> int:
        """Return how many jobs make a task of `_BATCH_S`, and leave work for all at the end."""
        if self._job_s is None:
            return 1
        share = max(1, len(self._waiting) // (4 * self._n_slots))
        return max(1, min(share, int(_BATCH_S / max(self._job_s, 1e-6))))

    def _arrived(self, task: Any) -> Arrivals[R]:
        import ray

        batch = self._under_way.pop(task)
        try:
            outcomes, seconds = ray.get(task)
        except ray.exceptions.RayTaskError as error:  # what a job raises is caught in the task
            for index in batch.jobs:
                yield index, failure_from(error.cause or error)
        except (ray.exceptions.RayError, TypeError) as error:
            yield from self._lost(batch, error)
        else:
            own = seconds / len(batch.jobs)
            self._job_s = own if self._job_s is None else 0.8 * self._job_s + 0.2 * own
            for index, (result, records) in zip(batch.jobs, outcomes, strict=True):
                log_again(records)
                yield index, result

    def _lost(self, batch: _Batch, error: Exception) -> Arrivals[R]:
        """Send lost jobs again; fail one that was by itself and lost its worker, not its node."""
        if batch.nodes and not _lost_a_node(batch.nodes):
            yield batch.jobs[0], died_twice(type(error).__name__)
            return
        logger.warning(
            "a Ray worker or node was lost (%s); its %d jobs run again",
            type(error).__name__,
            len(batch.jobs),
        )
        self._again.extend(batch.jobs)


def _lost_a_node(nodes: set[str]) -> bool:
    """Return whether one of the nodes is gone, waiting until Ray must have noticed."""
    end = time.monotonic() + _NODE_NEWS_S
    while time.monotonic() < end:
        if nodes - _alive_nodes():
            return True
        time.sleep(0.5)
    return False


def _slots(needs: JobNeeds) -> int:
    import ray

    total = ray.cluster_resources()
    slots = total.get("CPU", 1) // needs.n_threads
    if needs.n_gpus:
        slots = min(slots, total.get("GPU", 0) // needs.n_gpus)
    return max(1, int(slots))


def _run_batch(
    function: list[Any], jobs: list[Any], n_threads: int, levels: dict[str, int]
) -> tuple[list[Outcome], float]:
    """Do the jobs of one task; runs in a worker of the cluster.

    Args:
        function: A list of the function's reference: Ray fetches no argument inside a list, so
            that it is fetched once a worker.
        jobs: Arguments of the function.
        n_threads: Threads for each job.
        levels: Levels of the driver's loggers.
    """
    import ray

    collect_log(levels)
    work = ray.get(function[0])
    begin = time.perf_counter()
    outcomes: list[Outcome] = []
    with threads_limited(n_threads):
        for job in jobs:
            outcomes.append((attempt(work, job), collected()))
    return outcomes, time.perf_counter() - begin
