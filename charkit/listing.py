"""List the entries of one kind quickly: what a look at each found is kept in an index.

``<kind>/.index`` has one line of JSON for an entry: its key, date and files, with the sizes and
times that the operating system gave for its folder and for each file when they were checked. As
long as these are the same, the check is not repeated: the list costs one system call a file, and
``run.json`` is not read. Nothing else rests on the index. It is never read when an entry is looked
up or loaded; a line that is torn, missing or out of date costs time, no more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from charkit.durable import write_whole
from charkit.entry import (
    RUN_FILE,
    EntryState,
    StoreEntry,
    check_entry,
    created_at,
    describe_entry,
    read_run,
)
from charkit.errors import CharkitError

INDEX_FILE = ".index"
"""The index of a kind, beside its entries."""

_SIDE_FOLDERS: tuple[tuple[str, EntryState], ...] = (
    (".partial", "partial"),
    (".damaged", "damaged"),
)

_MOST_STALE = 64
"""As many lines may be missing or out of date before the index is written anew: it is as long as
the list, and an entry without a line costs a tenth of a millisecond."""


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
        if line is None:
            return
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
        names = [e.name for e in inside if not e.name.startswith(".") and e.is_dir()]
    for name in names:
        text = lines.get(name)
        entry = None if text is None else _from_line(kind, name, f"{place}{os.sep}{name}", text)
        if entry is None:
            entry, text = _looked_at(kind, home / name)
            n_stale += text is not None  # what gets no line would have the index written each time
        if entry is not None:
            entries.append(entry)
        if text is not None:
            kept.append(text)
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
    """Check an entry and describe it; with its line when it is complete and holds no more."""
    line = None
    with suppress(OSError, ValueError):  # before the check: what changes after it is noticed
        line = _line(folder)
    complete = not check_entry(folder, deep=False)
    entry = describe_entry(kind, folder, "complete" if complete else "damaged")
    return entry, line if complete and entry is not None else None


def _line(folder: Path) -> str | None:
    """Return the line of an entry, None when it holds other files than ``run.json`` lists."""
    names = sorted(os.listdir(folder))
    sign = _sign(str(folder), names)
    run = read_run(folder)
    if set(names) != {RUN_FILE, *run["files"]}:
        return None
    n_bytes = sum(os.lstat(folder / name).st_size for name in names)
    created = created_at(run).isoformat()
    return json.dumps((folder.name, created, n_bytes, names, sign), separators=(",", ":"))


def _sign(place: str, names: Sequence[str]) -> str:
    """Return when a folder changed, then size and time of change of each of its files."""
    parts = [str(_changed(os.lstat(place)))]
    for name in names:
        status = os.lstat(f"{place}{os.sep}{name}")
        parts.append(f"{status.st_size} {_changed(status)}")
    return " ".join(parts)


def _changed(status: os.stat_result) -> int:
    """Return the time of change that no tool sets back; Windows has that of the content only."""
    return status.st_mtime_ns if os.name == "nt" else status.st_ctime_ns


def _from_line(kind: str, name: str, folder: str, text: str) -> StoreEntry | None:
    """Return the entry of a line; None when the line is torn, or the entry changed since."""
    try:
        key, created, n_bytes, names, sign = json.loads(text)
        if key != name or _sign(folder, names) != sign:
            return None
        when = datetime.fromisoformat(created)
        if when.tzinfo is None or type(n_bytes) is not int:
            return None
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return StoreEntry(kind, key, folder, n_bytes, when, "complete")


def _read(home: Path) -> dict[str, str]:
    """Return the text of each line by its key; of several for a key the last."""
    place = home / INDEX_FILE
    try:
        if place.is_symlink() or not place.is_file():
            return {}
        content = place.read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return {text[2 : text.find('"', 2)]: text for text in content.split("\n") if text}


def _write(home: Path, lines: Sequence[str]) -> None:
    """Write the index anew, unless the store cannot be written: a list needs no right to write."""
    with suppress(CharkitError, OSError):
        write_whole(home / INDEX_FILE, "".join(f"\n{line}" for line in lines).encode())
