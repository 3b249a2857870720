"""One way to keep a computation in the store: look, lock, look again, make, commit, load."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from charkit.config import Progress, content_hash, no_progress
from charkit.errors import VanishedError
from charkit.store.store import Store

T = TypeVar("T")


@dataclass(frozen=True)
class Cached(Generic[T]):
    """A result from the store.

    Attributes:
        value: What was loaded.
        key: Its key.
        found: Whether the store had it already.
    """

    value: T
    key: str
    found: bool


def cached(
    store: Store,
    kind: str,
    config: Mapping[str, Any],
    *,
    make: Callable[[Path], Mapping[str, Any]],
    load: Callable[[Path], T],
    resume: Collection[str] = (),
    progress: Progress = no_progress,
) -> Cached[T]:
    """Return what the store keeps under the hash of ``config``, making it when it is absent.

    Both looks, before and under the lock, compare the hash of every file: a damaged entry is
    set aside and made again, or refused where it cannot be set aside; it is never loaded.

    Args:
        store: The store.
        kind: The kind of entry.
        config: All that determines the result; its `content_hash` is the key.
        make: Called under the lock with a folder; writes the files into it and returns what
            ``run.json`` holds in addition (see `charkit.store.manifest.run_manifest`).
        load: Called with the folder of the finished entry.
        resume: Names of files that a killed ``make`` may have left and that the next one checks
            and takes up. All else is removed from the folder before.
        progress: Called as ``progress("waiting for <kind>/<key>", 0, 1)`` while another makes it.

    Raises:
        MissingError: The store cannot be written, or a damaged entry cannot be set aside.
        VanishedError: The entry was removed while it was read.
    """
    key = content_hash(config)
    folder = store.find(kind, key, deep=True)
    if folder is not None:
        return Cached(_loaded(load, folder), key, True)
    with store.lock(kind, key, progress=progress):
        folder = store.find(kind, key, deep=True)
        if folder is None:
            work = store.partial(kind, key)
            _sweep(work, resume)
            try:
                folder = store.commit(kind, key, work, make(work))
            except BaseException:
                if not resume:
                    shutil.rmtree(work, ignore_errors=True)
                raise
    return Cached(_loaded(load, folder), key, False)


def _loaded(load: Callable[[Path], T], folder: Path) -> T:
    try:
        return load(folder)
    except OSError as error:
        if folder.is_dir():
            raise
        raise VanishedError(
            f"a result was removed while it was read: expected {folder.parent.name}/{folder.name} "
            "in the store, got none. Run the same again."
        ) from error


def _sweep(folder: Path, resume: Collection[str]) -> None:
    """Remove what no killed `make` left there: it would be sealed into the result."""
    for path in folder.iterdir():
        plain = path.is_file() and not path.is_symlink()
        if plain and path.name in resume:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            os.unlink(path)
