"""Write files so that they are whole or absent, and say plainly when the disk refuses.

Locks between processes are kept here too.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any
from weakref import WeakValueDictionary

from filelock import FileLock, Timeout

from charkit.config import Progress, printable
from charkit.errors import CharkitError, MissingError, UsageError

fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None
"""Locks of files; Windows has none."""

CACHE_VARIABLE = "CHARKIT_CACHE"
"""Environment variable that names the store's folder."""

_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}

# No write of one file takes so long.
_SURELY_LEFT_S = 3600.0

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
ELSEWHERE = f"choose another folder (for the store {CACHE_VARIABLE} or --cache-dir, else --out)"


def default_root() -> Path:
    """Return the store's folder: $CHARKIT_CACHE, or "charkit" in the user's cache folder.

    A variable that is empty or blank counts as not set.

    Raises:
        MissingError: The variable is not set, and platformdirs is not installed or the user has
            no home folder.
        UsageError: The variable names a home folder that is not known.
    """
    named = os.environ.get(CACHE_VARIABLE, "")
    if named.strip():
        return named_place(named, CACHE_VARIABLE)
    try:
        import platformdirs
    except ImportError as error:
        raise MissingError(
            "no place for results: expected the package platformdirs or the environment "
            f"variable {CACHE_VARIABLE}, got neither. Set {CACHE_VARIABLE} to a folder."
        ) from error
    try:
        found = Path(platformdirs.user_cache_dir("charkit")).expanduser()
    except (RuntimeError, KeyError) as error:
        found = Path("~")
        reason = str(error)
    else:
        reason = f"{str(found)!r}"
    if not found.is_absolute():
        raise MissingError(
            f"no place for results: expected the user's home folder or {CACHE_VARIABLE}, got "
            f"{reason}. Set {CACHE_VARIABLE} or HOME to a folder, or give --cache-dir."
        )
    return found


def named_place(named: str | Path, what: str) -> Path:
    """Return a file or folder that a user named, with ``~`` read as a home folder.

    Raises:
        UsageError: The name is empty, or ``~`` names a home folder that is not known.
    """
    if not str(named).strip() or "\0" in str(named):
        raise UsageError(
            f"{what}: expected the name of a file or folder, got {str(named)!r}. Name one; '.' is "
            "the working directory."
        )
    try:
        return Path(named).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"{what}: expected a file or folder, got {printable(str(named))!r} ({error}). Give the "
            "whole path, without '~'."
        ) from error


def is_full(error: BaseException) -> bool:
    """Return whether an error says that the disk, a quota or a size limit is exhausted.

    Libraries written in Rust raise their own kinds of error, which end in "(os error 28)".
    """
    if isinstance(error, OSError):
        return error.errno in _FULL
    found = re.search(r"\(os error (\d+)\)", str(error))
    return found is not None and int(found[1]) in _FULL


@contextmanager
def disk_full_as_error(folder: Path) -> Iterator[None]:
    """Turn a full disk inside the block into a MissingError; let all else pass.

    Raises:
        MissingError: The disk or a quota is full.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, CharkitError) or not is_full(error):
            raise
        raise MissingError(
            f"no space to write: expected free space at {folder}, got {str(error)!r}. "
            f"Free some space ('charkit cache prune' removes old results) or {ELSEWHERE}."
        ) from error


@contextmanager
def os_errors_as_missing(folder: Path) -> Iterator[None]:
    """Turn the operating system's refusals inside the block into a MissingError.

    Raises:
        MissingError: The disk or a quota is full, or the folder cannot be written.
    """
    with disk_full_as_error(folder):
        try:
            yield
        except OSError as error:
            if is_full(error):
                raise
            reason = error.strerror or str(error)
            raise MissingError(
                f"cannot write: expected a writable folder at {folder}, got {reason!r}. "
                f"Check that it is a folder you may write to, or {ELSEWHERE}."
            ) from error


def fsync(path: Path) -> None:
    """Ask the operating system to bring a file or a folder safely to disk.

    Windows cannot open a folder for this, and syncs a file that is open for writing only. Some
    network file systems cannot sync a folder: its files are safe then, and the rename is theirs.
    """
    folder = path.is_dir()
    if os.name == "nt":
        if folder:
            return
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    else:
        descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not folder or error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Rename a file or a folder; a file takes the place of another.

    Windows refuses while any process has one of them open: another charkit that reads, a virus
    scanner, the indexer. That passes, so that it is tried for two seconds.

    Raises:
        OSError: The operating system refuses.
    """
    move = os.rename if source.is_dir() else os.replace
    wait_s = 0.01
    while True:
        try:
            move(source, target)
        except PermissionError:
            if os.name != "nt" or wait_s > 1:
                raise
            time.sleep(wait_s)
            wait_s *= 2
        else:
            return


def write_whole(path: Path, data: bytes) -> Path:
    """Write a file under a temporary name next to its place, then rename it into place.

    Whoever reads ``path`` sees the old content or the new one, never a part of either,
    also when the process is killed. A failed write leaves nothing behind.

    Args:
        path: Where the file is to be; its folder is made when absent.
        data: The whole content.

    Raises:
        MissingError: The disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with os_errors_as_missing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_leftovers(path)
        try:
            with _held(temporary) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                if fcntl is not None:  # as long as it is held, nobody takes it for left
                    rename(temporary, path)
            if fcntl is None:  # Windows renames no open file
                rename(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return path


def _held(temporary: Path) -> IO[bytes]:
    """Open a temporary file and lock it, so that no other process takes it for left."""
    while True:
        file = open(temporary, "wb")  # noqa: SIM115
        if fcntl is None:
            return file
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if temporary.exists():  # else swept between the two
            return file
        file.close()


def _sweep_leftovers(path: Path) -> None:
    """Remove what killed writes of the same file left: temporary files that nobody holds.

    Without locks (Windows refuses to remove a file in use) only what is older than an hour goes.
    """
    for place in path.parent.glob(f".{glob.escape(path.name)}.????????.tmp"):
        with suppress(OSError), open(place, "rb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            elif time.time() - place.stat().st_mtime < _SURELY_LEFT_S:
                continue
            place.unlink()


def is_leftover(path: Path) -> bool:
    """Return whether a file is what a killed `write_whole` left behind."""
    return path.name.startswith(".") and path.suffix == ".tmp"


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
