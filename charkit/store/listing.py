"""List the entries of one kind quickly: what a look at each found is kept in an index.

``<kind>/.index`` has one line for an entry, with tabs between its fields: its key, date and files,
with the sizes and times that the operating system gave for each file when they were checked. As
long as these are the same, the check is not repeated: the list costs one system call a file, and
``run.json`` is not read. Nothing else rests on the index. It is never read when an entry is looked
up or loaded; a line that is torn, missing or out of date costs time, no more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from charkit.errors import CharkitError
from charkit.store.durable import write_whole
from charkit.store.entry import (
    RUN_FILE,
    EntryState,
    StoreEntry,
    check_entry,
    created_at,
    describe_entry,
    read_run,
)

INDEX_FILE = ".index"
"""The index of a kind, next to its entries."""

_SIDE_FOLDERS: tuple[tuple[str, EntryState], ...] = (
    (".partial", "partial"),
    (".damaged", "damaged"),
)

_END = "."
"""The last field of a line: a line without it was not written to its end."""

# As many lines may be missing or out of date before the index is written anew: it is as long as the
# list, and an entry without a line costs a tenth of a millisecond.
_MOST_STALE = 64


def list_kind(home: Path) -> list[StoreEntry]:
    """Return the entries of one kind, sorted by key: finished, partial, damaged.

    Args:
        home: ``<root>/<kind>``.
    """
    found = [*_finished(home), *_beside(home)]
    return sorted(found, key=lambda e: (e.key, e.state))


def note_entry(folder: Path) -> None:
    """Add a line for an entry that was just finished; where that fails, its list takes longer."""
    with suppress(OSError, ValueError):
        line = _line(folder)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        index = os.open(folder.parent / INDEX_FILE, flags, 0o666)
        try:  # the line break comes first: what a torn line is followed by stays whole
            os.write(index, f"\n{line}".encode())
        finally:
            os.close(index)


def _finished(home: Path) -> list[StoreEntry]:
    kind, place = home.name, str(home)
    lines = _read(home)
    n_stale = 0
    kept: list[str] = []
    entries = []
    with os.scandir(home) as inside:
        folders = {e.name: e.is_symlink() for e in inside if e.name[0] != "." and e.is_dir()}
    for name in sorted(folders):
        line = None if folders[name] else lines.get(name)  # a link's target may change unseen
        entry = None if line is None else _from_line(kind, f"{place}{os.sep}{name}", line)
        if entry is None:
            entry, line = _looked_at(kind, home / name)
            n_stale += line is not None  # what gets no line would have the index written each time
        if entry is not None:
            entries.append(entry)
        if line is not None:
            kept.append(line)
    if n_stale > _MOST_STALE or len(lines) > 2 * len(kept) + _MOST_STALE:
        _write(home, kept)
    return entries


def _beside(home: Path) -> Iterator[StoreEntry]:
    for name, state in _SIDE_FOLDERS:
        side = home / name
        ours = side.is_dir() and not side.is_symlink()
        for folder in sorted(side.iterdir()) if ours else ():
            entry = describe_entry(home.name, folder, state)
            if entry is not None:
                yield entry


def _looked_at(kind: str, folder: Path) -> tuple[StoreEntry | None, str | None]:
    """Check an entry and describe it; with its line when it is complete."""
    line = None
    with suppress(OSError, ValueError):  # before the check: what changes after it is noticed
        line = _line(folder)
    complete = not check_entry(folder, deep=False)
    entry = describe_entry(kind, folder, "complete" if complete else "damaged")
    return entry, line if complete and entry is not None else None


def _line(folder: Path) -> str:
    """Return the line of an entry: its key, its date; name, bytes, time of change of each file."""
    run = read_run(folder)
    fields = [folder.name, created_at(run).isoformat()]
    for name in (RUN_FILE, *run["files"]):
        status = os.lstat(folder / name)
        fields += [name, str(status.st_size), str(_changed(status))]
    return "\t".join([*fields, _END])


def _changed(status: os.stat_result) -> int:
    """Return the time of change that no tool sets back; Windows has that of the content only."""
    return status.st_mtime_ns if os.name == "nt" else status.st_ctime_ns


def _from_line(kind: str, folder: str, line: str) -> StoreEntry | None:
    """Return the entry of a line; None when that is no line of ours, or the entry changed since."""
    key, *fields = line.split("\t")
    n_bytes = 0
    try:
        for at in range(1, len(fields) - 1, 3):
            status = os.lstat(f"{folder}{os.sep}{fields[at]}")
            n_bytes += status.st_size
            if str(_changed(status)) != fields[at + 2] or str(status.st_size) != fields[at + 1]:
                return None
        created = datetime.fromisoformat(fields[0])
    except (OSError, ValueError, IndexError):
        return None
    if fields[-1] != _END or not n_bytes or created.tzinfo is None:
        return None
    return StoreEntry(kind, key, folder, n_bytes, created, "complete")


def _read(home: Path) -> dict[str, str]:
    """Return each line by its key; of several for a key the last."""
    place = home / INDEX_FILE
    try:
        if place.is_symlink() or not place.is_file():
            return {}
        content = place.read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return {line.partition("\t")[0]: line for line in content.split("\n") if line}


def _write(home: Path, lines: Sequence[str]) -> None:
    """Write the index anew, unless the store cannot be written: a list needs no right to write."""
    with suppress(CharkitError, OSError):
        write_whole(home / INDEX_FILE, "".join(f"\n{line}" for line in lines).encode())
