"""One lock a key: between processes by the operating system, between threads as well."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from filelock import FileLock, Timeout

from charkit.config import Progress

logger = logging.getLogger(__name__)

# Who waits for another process learns of it after 5 s, when it begins to look like a fault, and is
# reminded once a minute.
_FIRST_NOTICE_S = 5.0
_NOTICE_S = 60.0


class Locks:
    """The locks of a store: ``<root>/<kind>/.locks/<key>.lock``.

    The operating system drops a lock when its holder dies, however it dies, so there is no
    stale lock. The files are empty and stay. A thread may take a lock that it holds again.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._live: WeakValueDictionary[tuple[str, str], FileLock] = WeakValueDictionary()
        self._guard = threading.Lock()

    def acquire(self, kind: str, key: str, *, progress: Progress) -> FileLock:
        """Take a lock, waiting as long as another holds it; the caller releases it.

        Args:
            kind: The kind of entry.
            key: Its key.
            progress: Called as ``progress("waiting for <kind>/<key>", 0, 1)`` after a few seconds
                and once a minute from then on, when a warning is logged, too.

        Raises:
            OSError: The lock file cannot be made.
        """
        lock = self._object(kind, key)
        name, wait_s = f"{kind}/{key}", _FIRST_NOTICE_S
        while True:
            try:
                lock.acquire(timeout=wait_s)
            except Timeout:
                wait_s = _NOTICE_S
                logger.warning(
                    "waiting for %s: another process or thread is making it. If none is at work "
                    "any more, look for one that is stopped, and continue or end it",
                    name,
                )
                progress(f"waiting for {name}", 0, 1)
            else:
                return lock

    @contextmanager
    def attempt(self, kind: str, key: str) -> Iterator[bool]:
        """Take a lock if it is free, and give whether it was taken.

        Raises:
            OSError: The lock file cannot be made.
        """
        lock = self._object(kind, key)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _object(self, kind: str, key: str) -> FileLock:
        with self._guard:
            lock = self._live.get((kind, key))
            if lock is None:
                folder = self._root / kind / ".locks"
                folder.mkdir(parents=True, exist_ok=True)
                lock = FileLock(folder / f"{key}.lock")
                self._live[kind, key] = lock
            return lock
