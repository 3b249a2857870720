"""What stands in a store's folders: the entry, its ``run.json``, and the checks of both."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from charkit.config import canonical_json, content_hash
from charkit.errors import UsageError
from charkit.store.durable import fsync, is_leftover, sha256_file

RUN_FILE = "run.json"
"""The file that lists an entry's files and says how they were made."""

RUN_FORMAT = 1
"""Version of the layout of ``run.json``."""

EntryState = Literal["complete", "partial", "damaged"]
"""Finished and of the right sizes; work in progress; lacking something or set aside."""

_OURS = ("format", "kind", "key", "created", "files", "sha256")
_HASH_LENGTH = 64  # hex digits of SHA-256
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")


@dataclass(frozen=True, slots=True)
class StoreEntry:
    """One folder of a store.

    Attributes:
        kind: What it holds, for instance ``"states"``.
        key: Content hash of the configuration that made it.
        folder: Its folder; `path` is the same as a Path.
        n_bytes: Size of its files; of a finished one, of those that ``run.json`` lists.
        created: When it was finished (for others: last changed), UTC.
        state: See `EntryState`.
    """

    kind: str
    key: str
    folder: str
    n_bytes: int
    created: datetime
    state: EntryState

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.folder)

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The content of ``run.json``, read anew; empty when there is none that can be read."""
        try:
            return read_run(self.path)
        except ValueError:
            return {}


@dataclass(frozen=True)
class StoreProblem:
    """Something wrong with an entry.

    Attributes:
        kind: The entry's kind.
        key: The entry's key.
        file: The file inside the entry.
        message: What was expected and what was found.
    """

    kind: str
    key: str
    file: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.key}/{self.file}: {self.message}"


def check_name(what: str, name: str) -> str:
    """Return ``name`` when it can be the name of a file inside the store.

    Raises:
        UsageError: It has other characters than letters, digits, ``.``, ``_``, ``-``.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"bad {what}: expected letters, digits, '.', '_' or '-', beginning with a letter "
            f"or digit, got {name!r}."
        )
    return name


def plain_fields(key: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return manifest fields as plain JSON values.

    Raises:
        UsageError: A value is not JSON, a name is the store's own, or ``key`` is not the hash
            of ``fields["config"]``.
    """
    try:
        plain: dict[str, Any] = json.loads(canonical_json(dict(fields)))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the manifest cannot be written: expected JSON values, got {error}."
        ) from error
    taken = sorted(set(plain) & set(_OURS))
    if taken:
        raise UsageError(
            f"the manifest cannot be written: {', '.join(taken)} are the store's own fields. "
            "Use other names."
        )
    problem = _key_problem(key, plain)
    if problem:
        raise UsageError(f"the manifest cannot be written: {problem}.")
    return plain


def run_text(
    kind: str, key: str, *, created: str, files: Mapping[str, Any], fields: Mapping[str, Any]
) -> str:
    """Return the text of ``run.json``: sorted, indented, with the hash of its own content."""
    run = {
        **fields,
        "format": RUN_FORMAT,
        "kind": kind,
        "key": key,
        "created": created,
        "files": files,
    }
    run["sha256"] = content_hash(run, length=_HASH_LENGTH)
    return json.dumps(run, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def seal_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Bring every file of a folder to disk and return name -> bytes and SHA-256.

    What a killed write left behind is removed; ``run.json`` itself is not listed.

    Raises:
        UsageError: The folder holds something else than plain files.
        OSError: The disk refuses.
    """
    described: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.iterdir()):
        if is_leftover(path):
            path.unlink()
            continue
        if path.name == RUN_FILE:
            continue
        if path.is_symlink() or not path.is_file():
            raise UsageError(f"cannot commit {path}: expected plain files only.")
        fsync(path)
        described[path.name] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    return described


def read_run(folder: Path) -> dict[str, Any]:
    """Return the content of a folder's ``run.json``.

    Raises:
        ValueError: It is absent, unreadable, or not of the form that the store writes.
    """
    path = folder / RUN_FILE
    try:
        if not _is_plain(path):
            raise ValueError("is not a plain file")
        text = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error
    try:
        run = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from error
    if not isinstance(run, dict):
        raise ValueError("is not a JSON object")
    if run.get("format") != RUN_FORMAT:
        raise ValueError(f"has format {run.get('format')!r}, expected {RUN_FORMAT}")
    files = run.get("files")
    if not isinstance(files, dict) or not all(_is_listing(f) for f in files.values()):
        raise ValueError("does not list its files with their bytes and sha256")
    if not all(_NAME.fullmatch(name) for name in files):
        raise ValueError("lists a file that is not its own")
    try:
        datetime.fromisoformat(run["created"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"has no date of creation: {error!r}") from error
    return run


def check_entry(folder: Path, *, deep: bool) -> list[StoreProblem]:
    """Compare a finished entry with its ``run.json``.

    Args:
        folder: ``<root>/<kind>/<key>``.
        deep: Also compare hashes, look for files that are not listed, and check that the key
            is the hash of the configuration.
    """
    kind, key = folder.parent.name, folder.name

    def problem(file: str, message: str) -> StoreProblem:
        return StoreProblem(kind=kind, key=key, file=file, message=message)

    try:
        run = read_run(folder)
    except ValueError as error:
        return [problem(RUN_FILE, str(error))]
    found = []
    if (run.get("kind"), run.get("key")) != (kind, key):
        found.append(problem(RUN_FILE, f"is of {run.get('kind')}/{run.get('key')}"))
    for name, listing in sorted(run["files"].items()):
        message = _file_problem(folder / name, listing, deep=deep)
        if message:
            found.append(problem(name, message))
    if deep:
        messages = (_self_problem(run), _key_problem(key, run))
        found += [problem(RUN_FILE, message) for message in messages if message]
        unlisted = _names_in(folder) - set(run["files"]) - {RUN_FILE}
        found += [problem(name, f"is not listed in {RUN_FILE}") for name in sorted(unlisted)]
    return found


def describe_entry(kind: str, folder: Path, state: EntryState) -> StoreEntry | None:
    """Describe a folder of a store; None when another process has just taken it away."""
    try:
        run = read_run(folder)
    except ValueError:
        run = {}
    complete = state == "complete" and bool(run)
    try:
        inside = [folder / n for n in (RUN_FILE, *run["files"])] if complete else folder.rglob("*")
        n_bytes = sum(p.lstat().st_size for p in inside if _is_file(p))
        changed = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
    except FileNotFoundError:
        return None
    except OSError:  # a folder that may not be read is there all the same
        n_bytes, changed = 0, datetime.fromtimestamp(0, UTC)
    created = created_at(run) if complete else changed
    return StoreEntry(kind, folder.name.partition("~")[0], str(folder), n_bytes, created, state)


def _names_in(folder: Path) -> set[str]:
    """Return the names in a folder; a folder that cannot be read has none that are known."""
    try:
        return {p.name for p in folder.iterdir()}
    except OSError:
        return set()


def _is_file(path: Path) -> bool:
    """Return whether a path is a plain file that is still there."""
    try:
        return _is_plain(path)
    except OSError:
        return False


def created_at(run: Mapping[str, Any]) -> datetime:
    """Return when an entry was made; a date without a zone is taken for UTC."""
    when = datetime.fromisoformat(run["created"])
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def _is_plain(path: Path) -> bool:
    """Return whether a path is a file itself: no link, pipe or device, which may never end."""
    return stat.S_ISREG(path.lstat().st_mode)


def _is_listing(value: object) -> bool:
    return (
        isinstance(value, dict)
        and type(value.get("bytes")) is int
        and isinstance(value.get("sha256"), str)
    )


def _file_problem(path: Path, listing: Mapping[str, Any], *, deep: bool) -> str:
    try:
        if not _is_plain(path):
            return "is not a plain file"
        size = path.stat().st_size
        if size != listing["bytes"]:
            return f"expected {listing['bytes']} bytes, got {size}"
        if deep and sha256_file(path) != listing["sha256"]:
            return "the content differs from its SHA-256"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return ""


def _self_problem(run: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in run.items() if name != "sha256"}
    if content_hash(rest, length=_HASH_LENGTH) == run.get("sha256"):
        return ""
    return "its fields differ from its own SHA-256"


def _key_problem(key: str, run: Mapping[str, Any]) -> str:
    if "config" not in run:
        return ""
    expected = content_hash(run["config"], length=len(key))
    return "" if key == expected else f"the hash of its config is {expected}, got key {key}"
