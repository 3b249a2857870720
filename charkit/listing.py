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
from operator import attrgetter
from pathlib import Path
from typing import Any

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
"""The index of a kind, next to its entries."""

_SIDE_FOLDERS: tuple[tuple[str, EntryState], ...] = (
    (".partial", "partial"),
    (".damaged", "damaged"),
)

_Line = list[Any]
"""Key, date, bytes, names of files, then what `_sign` gives."""

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
        if line is None:
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        index = os.open(folder.parent / INDEX_FILE, flags, 0o666)
        try:  # the line break comes first: what a torn line is followed by stays whole
            os.write(index, f"\n{_text(line)}".encode())
        finally:
            os.close(index)


def _finished(home: Path) -> list[StoreEntry]:
    kind, place = home.name, str(home)
    lines = _read(home)
    n_stale = 0
    kept: list[_Line] = []
    entries = []
    with os.scandir(home) as inside:
        names = [e.name for e in inside if not e.name.startswith(".") and e.is_dir()]
    for name in names:
        line = lines.get(name)
        entry = None if line is None else _from_line(kind, name, f"{place}{os.sep}{name}", line)
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


def _looked_at(kind: str, folder: Path) -> tuple[StoreEntry | None, _Line | None]:
    """Check an entry and describe it; with its line when it is complete and holds no more."""
    line = None
    with suppress(OSError, ValueError):  # before the check: what changes after it is noticed
        line = _line(folder)
    complete = not check_entry(folder, deep=False)
    entry = describe_entry(kind, folder, "complete" if complete else "damaged")
    return entry, line if complete and entry is not None else None


def _line(folder: Path) -> _Line | None:
    """Return the line of an entry, None when it holds other files than ``run.json`` lists."""
    names = sorted(os.listdir(folder))
    sign = _sign(str(folder), names)
    run = read_run(folder)
    if set(names) != {RUN_FILE, *run["files"]}:
        return None
    n_bytes = sum(os.lstat(folder / name).st_size for name in names)
    return [folder.name, created_at(run).isoformat(), n_bytes, "/".join(names), sign]


def _sign(place: str, names: Sequence[str]) -> str:
    """Return when a folder changed, then size and time of change of each of its files."""
    sign = str(_changed(os.lstat(place)))
    for name in names:
        status = os.lstat(f"{place}{os.sep}{name}")
        sign += f" {status.st_size} {_changed(status)}"
    return sign


_changed = attrgetter("st_mtime_ns" if os.name == "nt" else "st_ctime_ns")
"""The time of change that no tool sets back; Windows has that of the content only."""


def _from_line(kind: str, name: str, folder: str, line: _Line) -> StoreEntry | None:
    """Return the entry of a line; None when that is no line of ours, or the entry changed since."""
    try:
        key, created, n_bytes, names, sign = line
        if key != name or _sign(folder, names.split("/")) != sign:
            return None
        when = datetime.fromisoformat(created)
        if when.tzinfo is None or type(n_bytes) is not int:
            return None
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return StoreEntry(kind, key, folder, n_bytes, when, "complete")


def _read(home: Path) -> dict[str, _Line]:
    """Return each line by its key; of several for a key the last."""
    place = home / INDEX_FILE
    try:
        if place.is_symlink() or not place.is_file():
            return {}
        content = place.read_bytes().decode(errors="replace")
    except OSError:
        return {}
    lines = _parsed([text for text in content.split("\n") if text])
    return {line[0]: line for line in lines if isinstance(line, list) and _has_key(line)}


def _has_key(line: list[Any]) -> bool:
    return bool(line) and isinstance(line[0], str)


def _parsed(texts: Sequence[str]) -> list[Any]:
    """Return what lines of JSON say, those that say nothing left out."""
    with suppress(ValueError, RecursionError):  # at once is four times faster than one by one
        return list(json.loads(f"[{','.join(texts)}]"))
    lines = []
    for text in texts:
        with suppress(ValueError, RecursionError):
            lines.append(json.loads(text))
    return lines


def _write(home: Path, lines: Sequence[_Line]) -> None:
    """Write the index anew, unless the store cannot be written: a list needs no right to write."""
    with suppress(CharkitError, OSError):
        write_whole(home / INDEX_FILE, "".join(f"\n{_text(line)}" for line in lines).encode())


def _text(line: _Line) -> str:
    return json.dumps(line, separators=(",", ":"))
