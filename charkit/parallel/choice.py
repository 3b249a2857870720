"""Which executor a name means: ``processes:4``, ``ray:host:6379``, ``slurm:partition``."""

from __future__ import annotations

from charkit.errors import UnknownNameError, UsageError
from charkit.manifest import available_cores
from charkit.parallel.jobs import Executor, InProcess
from charkit.parallel.processes import Processes

KINDS = ("processes", "ray", "slurm")


def executor_from(name: str) -> Executor:
    """Return the executor that a name means.

    Args:
        name: ``processes`` or ``processes:N`` (default: one a core); ``ray`` (a cluster of
            this machine only, or the one that $RAY_ADDRESS names) or ``ray:HOST:PORT``;
            ``slurm`` or ``slurm:PARTITION``.

    Raises:
        UnknownNameError: There is no such kind.
        UsageError: The part after the colon is wrong.
        MissingError: The engine's package or command is not installed.
    """
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
    return InProcess() if n_workers == 1 else Processes(n_workers)
