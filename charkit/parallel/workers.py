"""What a worker on another machine must have: the same versions, and the driver's folders."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from charkit.durable import write_whole


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
