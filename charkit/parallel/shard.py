"""A share of the jobs for one machine of a fleet that nobody schedules."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from charkit.errors import UsageError
from charkit.parallel.choice import ExecutorChoice


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
