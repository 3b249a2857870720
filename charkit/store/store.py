"""Results by content hash: found, locked, written whole, listed, pruned, verified.

A finished entry is the folder ``<root>/<kind>/<key>/`` with its files and ``run.json``, which
lists them with their sizes and hashes. It comes into being by one rename, so it is whole or
absent. Next to the entries of a kind are::

    .partial/<key>/      work in progress, kept over a crash so that it can go on
    .locks/<key>.lock    empty; the operating system drops the lock when its holder dies
    .damaged/            entries that failed a check, set aside so that they are made again
    .trash/              entries on their way out
    .index               what makes the list quick; it may be removed, see `charkit.store.listing`
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from charkit.config import Progress, no_progress
from charkit.errors import MissingError, UnknownNameError, UsageError
from charkit.store.durable import (
    ELSEWHERE,
    Locks,
    default_root,
    disk_full_as_error,
    fsync,
    named_place,
    os_errors_as_missing,
    rename,
    write_whole,
)
from charkit.store.entry import (
    RUN_FILE,
    StoreEntry,
    StoreProblem,
    check_entry,
    check_name,
    plain_fields,
    read_run,
    run_text,
    seal_files,
)
from charkit.store.listing import list_kind, note_entry

logger = logging.getLogger(__name__)


class Store:
    """A folder of results, safe for several processes and threads.

    Args:
        root: The folder; made at the first write. Default: `default_root`.

    Attributes:
        root: The folder, absolute.
        damaged: Every entry that this object found damaged and set aside.

    Raises:
        UsageError: ``root`` is empty, or names a home folder that is not known.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        chosen = default_root() if root is None else named_place(root, "the store's folder")
        self.root = chosen.absolute()
        self.damaged: list[StoreProblem] = []
        self._locks = Locks(self.root)

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return (Store, (self.root,))

    # -- reading ------------------------------------------------------------------------

    def find(self, kind: str, key: str, *, deep: bool = False) -> Path | None:
        """Return the folder of a finished entry, or None.

        An entry that lacks a file or whose sizes are wrong is set aside in ``.damaged``,
        logged, noted in `damaged`, and counts as absent, so that it is made again.

        Args:
            kind: What is looked for.
            key: Its content hash.
            deep: Compare the hash of every file too (reads them all).

        Raises:
            MissingError: The store cannot be read, or a damaged entry cannot be set aside: it
                would pass a shallow look later.
        """
        folder = self._place(kind, key)
        with os_errors_as_missing(self.root):
            if not folder.is_dir():
                return None
        if not check_entry(folder, deep=deep):
            return folder
        return self._set_aside(kind, key, deep=deep)

    def read_manifest(self, kind: str, key: str) -> dict[str, Any]:
        """Return the content of an entry's ``run.json``.

        Raises:
            MissingError: There is no such finished entry.
        """
        folder = self.find(kind, key)
        if folder is None:
            raise MissingError(
                f"no such result: expected a finished entry {kind}/{key} in {self.root}, got "
                "none. 'charkit cache list' shows what is there."
            )
        return read_run(folder)

    def entries(self, kinds: Collection[str] | None = None) -> list[StoreEntry]:
        """List what the store holds, sorted by kind and key: finished, partial, damaged.

        Args:
            kinds: Only these kinds. Default: all.
        """
        return [entry for kind in self._kinds(kinds) for entry in list_kind(self.root / kind)]

    def match(self, key: str) -> StoreEntry:
        """Return the one entry whose key begins with ``key``.

        Raises:
            UnknownNameError: No key begins so.
            UsageError: Several keys begin so.
        """
        entries = self.entries()
        hits = [e for e in entries if e.key.startswith(key)]
        complete = [e for e in hits if e.state == "complete"]
        names = sorted({f"{e.kind}/{e.key}" for e in hits})
        if not hits:
            known = {e.key for e in entries}
            raise UnknownNameError("key", key, known, hint="'charkit cache list' shows all keys.")
        if len(names) > 1:
            raise UsageError(
                f"the key {key!r} is not unique: expected the beginning of one key, got "
                f"{len(names)} ({', '.join(names[:4])}). Give more of its digits."
            )
        return (complete or hits)[0]

    def verify(
        self, keys: Collection[str] | None = None, *, progress: Progress = no_progress
    ) -> list[StoreProblem]:
        """Check finished entries against their ``run.json``; nothing is changed.

        Checked are the form of ``run.json``, the presence, size and hash of every file, files
        that are not listed, and that the key is the hash of the recorded configuration.

        Args:
            keys: Only these keys. Default: all finished entries.
            progress: Called as ``progress("verify", done, total)``.

        Raises:
            UnknownNameError: One of ``keys`` is not in the store.
        """
        entries = [e for e in self.entries() if e.path.parent.name == e.kind]
        if keys is not None:
            known = {e.key for e in entries}
            for key in keys:
                if key not in known:
                    raise UnknownNameError("key", key, known)
            entries = [e for e in entries if e.key in set(keys)]
        problems: list[StoreProblem] = []
        for done, entry in enumerate(entries):
            progress("verify", done, len(entries))
            problems += check_entry(entry.path, deep=True)
        progress("verify", len(entries), len(entries))
        return problems

    # -- writing ------------------------------------------------------------------------

    @contextmanager
    def lock(self, kind: str, key: str, *, progress: Progress = no_progress) -> Iterator[None]:
        """Hold the right to make one entry; wait while another process or thread holds it.

        The same thread may take it again. Look with `find` once more after entering: the one
        that was waited for has probably made the entry.

        Args:
            kind: What is made.
            key: Its content hash.
            progress: Called as ``progress("waiting for <kind>/<key>", 0, 1)`` while waiting.

        Raises:
            MissingError: The store cannot be written, or the disk was full inside the block.
        """
        self._place(kind, key)
        with os_errors_as_missing(self.root):
            lock = self._locks.acquire(kind, key, progress=progress)
        try:
            with disk_full_as_error(self.root):
                yield
        finally:
            lock.release()

    def partial(self, kind: str, key: str) -> Path:
        """Return the folder for work in progress on an entry, made when absent.

        Hold the `lock` while working in it. What a killed process left there is still there:
        write each file with `charkit.store.durable.write_whole` and it can be trusted.

        Raises:
            MissingError: The store cannot be written.
        """
        self._place(kind, key)
        folder = self.root / kind / ".partial" / key
        with os_errors_as_missing(self.root):
            (self.root / kind / ".locks").mkdir(parents=True, exist_ok=True)
            for place in (folder.parent, folder):
                _clear_way(place)
                place.mkdir(exist_ok=True)
        return folder

    def commit(self, kind: str, key: str, folder: Path, manifest_fields: Mapping[str, Any]) -> Path:
        """Turn a folder of work in progress into a finished entry; hold the `lock`.

        Files and folder are brought to disk before the rename. When the entry exists already,
        the first one is kept and this one is discarded.

        Args:
            kind: What was made.
            key: Its content hash.
            folder: What `partial` returned, filled.
            manifest_fields: What ``run.json`` holds besides the files (see
                `charkit.store.manifest.run_manifest`). When it has ``"config"``, ``key`` must be
                its `content_hash`.

        Returns:
            The folder of the finished entry.

        Raises:
            UsageError: The folder is not one that `partial` made, or the fields are wrong.
            MissingError: The store cannot be written; the work stays in ``folder``.
        """
        place = self._place(kind, key)
        if folder != self.root / kind / ".partial" / key:
            raise UsageError(
                f"cannot commit {folder}: expected the folder that partial({kind!r}, {key!r}) "
                "returned. Write the files there."
            )
        fields = plain_fields(key, manifest_fields)
        with self.lock(kind, key), os_errors_as_missing(self.root):
            if self.find(kind, key, deep=True) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                return place
            files = seal_files(folder)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            text = run_text(kind, key, created=now, files=files, fields=fields)
            write_whole(folder / RUN_FILE, text.encode())
            fsync(folder)
            if os.path.lexists(place) and not place.is_dir():
                _move(place, place.parent / ".damaged")
            rename(folder, place)
            fsync(place.parent)
            note_entry(place)
        return place

    def put(
        self, kind: str, key: str, files: Mapping[str, bytes], manifest_fields: Mapping[str, Any]
    ) -> Path:
        """Write a small entry in one go, or return the one that exists.

        Args:
            kind: What is written.
            key: Its content hash.
            files: Name -> content.
            manifest_fields: As in `commit`.

        Raises:
            UsageError: A name or the fields are wrong.
            MissingError: The store cannot be written; nothing is left behind.
        """
        for name in files:
            check_name("file name", name)
        plain_fields(key, manifest_fields)
        with self.lock(kind, key):
            existing = self.find(kind, key, deep=True)
            if existing is not None:
                return existing
            folder = self.partial(kind, key)
            try:
                shutil.rmtree(folder)
                folder.mkdir()
                for name, data in files.items():
                    write_whole(folder / name, data)
                return self.commit(kind, key, folder, manifest_fields)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise

    # -- care ---------------------------------------------------------------------------

    def prune(
        self,
        older_than_s: float | None = None,
        kinds: Collection[str] | None = None,
        *,
        keep_partial: bool = False,
        only_damaged: bool = False,
        dry_run: bool = False,
    ) -> list[StoreEntry]:
        """Remove entries; never one whose lock is held.

        A finished entry is first renamed into ``.trash``, then deleted, so that a kill leaves
        no half of it in place. Folders that the store did not make are not touched.

        Args:
            older_than_s: Only what was finished (or last changed) at least this many seconds
                ago. Default: everything.
            kinds: Only these kinds. Default: all.
            keep_partial: Leave work in progress where it is.
            only_damaged: Only what `verify` finds a problem in (reads every file), and what was
                set aside.
            dry_run: Remove nothing; return what would be removed.

        Returns:
            What was removed; the sum of `StoreEntry.n_bytes` is the space freed.

        Raises:
            MissingError: The store cannot be written.
        """
        now = datetime.now(UTC)
        removed = []
        for entry in self.entries(kinds):
            age = (now - entry.created).total_seconds()
            if older_than_s is not None and age < older_than_s:
                continue
            if entry.state == "partial" and (keep_partial or only_damaged):
                continue
            if (
                only_damaged
                and entry.state == "complete"
                and not check_entry(entry.path, deep=True)
            ):
                continue
            with os_errors_as_missing(self.root):
                if dry_run or self._remove(entry):
                    removed.append(entry)
        if not dry_run:
            for kind in self._kinds(kinds):
                shutil.rmtree(self.root / kind / ".trash", ignore_errors=True)
        return removed

    # -- inside -------------------------------------------------------------------------

    def _place(self, kind: str, key: str) -> Path:
        return self.root / check_name("kind", kind) / check_name("key", key)

    def _kinds(self, wanted: Collection[str] | None) -> list[str]:
        """Return the kinds that exist; a link, or a folder without ``.locks``, is not ours."""
        with os_errors_as_missing(self.root):
            if not self.root.is_dir():
                return []
            inside = [p for p in self.root.iterdir() if not p.is_symlink()]
            names = [p.name for p in inside if (p / ".locks").is_dir()]
        return sorted(n for n in names if wanted is None or n in wanted)

    def _set_aside(self, kind: str, key: str, *, deep: bool) -> Path | None:
        """Move a damaged entry away, unless someone else is at work on it or cured it."""
        folder = self._place(kind, key)
        problems = check_entry(folder, deep=deep)
        try:
            with self._locks.attempt(kind, key) as taken:
                if not taken or not folder.is_dir():
                    return None
                problems = check_entry(folder, deep=deep)
                if not problems:
                    return folder
                _move(folder, self.root / kind / ".damaged")
        except FileNotFoundError:  # taken away by someone else since
            return None
        except OSError as error:
            raise MissingError(
                f"a damaged result cannot be set aside ({problems[0]}): expected that {folder} can "
                f"be moved into .damaged next to it, got {error.strerror or str(error)!r}. Remove "
                f"that folder by hand, or {ELSEWHERE}."
            ) from error
        new = [p for p in problems if p not in self.damaged]
        self.damaged += new
        for problem in new:
            logger.warning("damaged result %s (set aside); it will be made again", problem)
        return None

    def _remove(self, entry: StoreEntry) -> bool:
        with self._locks.attempt(entry.kind, entry.key) as taken:
            if not taken or not entry.path.is_dir():
                return False
            _move(entry.path, self.root / entry.kind / ".trash")
            return True


def _move(folder: Path, target: Path) -> None:
    """Rename an entry's folder into ``target`` under a name that nothing else has."""
    _clear_way(target)
    target.mkdir(exist_ok=True)
    key = folder.name.partition("~")[0]
    rename(folder, target / f"{key}~{secrets.token_hex(4)}")


def _clear_way(target: Path) -> None:
    """Make room for a folder of the store's own: a link is removed, a file renamed."""
    if target.is_symlink():
        target.unlink()  # the store writes nothing elsewhere
    elif target.exists() and not target.is_dir():
        rename(target, target.with_name(f"{target.name}~{secrets.token_hex(4)}"))
