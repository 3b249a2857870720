"""Which executor a name means: ``processes:4``, ``ray:host:6379``, ``slurm:partition``."""

from __future__ import annotations

from charkit.errors import UnknownNameError, UsageError
from charkit.manifest import available_cores
from charkit.parallel.jobs import Executor
from charkit.parallel.processes import local_executor

ExecutorChoice = Executor | str | int | None
"""An executor, its name, a number of processes, or None for the caller's own choice."""

KINDS = ("processes", "ray", "slurm")


def executor_from(choice: ExecutorChoice, *, default: int = 1) -> Executor:
    """Return the executor that a choice means.

    >>> executor_from("processes:2")
    Processes(2)
    >>> executor_from(None)
    InProcess()

    Args:
        choice: An executor; a number of processes; ``processes`` (one a core) or
            ``processes:N``; ``ray`` (the cluster that $RAY_ADDRESS names, else one of this
            machine) or ``ray:HOST:PORT``; ``slurm`` or ``slurm:PARTITION``; None for the
            default.
        default: Number of processes when nothing is chosen.

    Raises:
        UnknownNameError: There is no such kind.
        UsageError: The part after the colon is wrong.
        MissingError: The engine's package or command is not installed.
    """
    if choice is None or isinstance(choice, int):
        return local_executor(default if choice is None else choice)
    return _named(choice) if isinstance(choice, str) else choice


def _named(name: str) -> Executor:
    if name.strip().isdecimal():
        return _processes(name.strip())
    kind, colon, rest = name.strip().partition(":")
    if kind not in KINDS:
        raise UnknownNameError("executor", kind, KINDS)
    if colon and not rest:
        raise UsageError(
            f"executor: expected something after the colon, got {name!r}. Leave the colon out."
        )
    if kind == "processes":
        return _processes(rest)
    if kind == "ray":
        from charkit.parallel.ray_cluster import RayCluster

        return RayCluster(rest or None)
    from charkit.parallel.slurm import Slurm

    return Slurm(rest or None)


def _processes(rest: str) -> Executor:
    if not rest:
        n_workers = available_cores()
    elif rest.isascii() and rest.isdigit() and 1 <= int(rest) <= 10_000:
        n_workers = int(rest)
    else:
        raise UsageError(f"executor: expected processes:N with N from 1, got {rest!r} for N.")
    return local_executor(n_workers)
