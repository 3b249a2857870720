"""Which executor a name means: ``processes:4``, ``ray:host:6379``, ``slurm:partition``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from charkit.errors import UnknownNameError, UsageError
from charkit.parallel.jobs import Executor
from charkit.parallel.processes import local_executor
from charkit.store.manifest import available_cores

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


# -- a share of the jobs for one machine of a fleet that nobody schedules -------------------------


@dataclass(frozen=True)
class Shard:
    """Part k of N of a run's jobs, chosen by their keys.

    Which jobs belong to a shard depends on their keys only, not on what is done already, so
    that N machines share the work without speaking to each other.

    >>> Shard.parse("2/3")
    Shard(number=2, total=3)
    >>> [n for n in (1, 2, 3) if Shard(n, 3).holds("00000005" + 56 * "0")]
    [3]

    Attributes:
        number: This shard, from 1.
        total: Number of shards.
        executor: Where its jobs run; None for the caller's own choice.
    """

    number: int
    total: int
    executor: ExecutorChoice = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str, executor: ExecutorChoice = None) -> Shard:
        """Return the shard that ``k/N`` names.

        Raises:
            UsageError: It is not k/N with 1 <= k <= N.
        """
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(f"shard: expected k/N with k from 1 to N, such as 2/8, got {text!r}.")
        return cls(int(match[1]), int(match[2]), executor)

    def holds(self, key: str) -> bool:
        """Return whether the job of this key (hexadecimal) belongs to the shard."""
        return int(key[:8], 16) % self.total == self.number - 1

    def note(self, what: str) -> str:
        """Return the line that a command shows when a shard is done.

        >>> Shard(2, 3).note("5 jobs")
        'shard 2/3: 5 jobs. When all shards are done, run the same without --shard.'
        """
        return f"shard {self}: {what}. When all shards are done, run the same without --shard."

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"
