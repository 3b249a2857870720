"""A folder with one file for each part of a task."""

from __future__ import annotations

import json
from pathlib import Path

from charkit.errors import DataError, MissingError, UnknownNameError
from charkit.tasks.glue import GlueSpec
from charkit.tasks.tables import FORMATS, format_of, stem_of

EVALUATION_NAMES = ("test", "validation", "valid", "dev", "eval", "validation_matched")
"""Names of evaluation files, the preferred one first."""


def find_parts(folder: Path, *, evaluation: str | None) -> tuple[Path, Path | None, str]:
    """Find the files of a folder's training and evaluation parts.

    Args:
        folder: The folder.
        evaluation: The name of the evaluation part (``"validation"``), or None for the first
            of EVALUATION_NAMES that is there.

    Returns:
        The training file, the evaluation file (None if there is none), and a note or "".

    Raises:
        DataError: There is no training file, or two files for the same part.
        UnknownNameError: The evaluation part that was asked for is not there.
    """
    files: dict[str, list[Path]] = {}
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise MissingError(
            f"{folder} cannot be read: {error.strerror}. Check its permissions."
        ) from error
    for path in inside:
        if path.is_file() and format_of(path) is not None:
            files.setdefault(stem_of(path).lower(), []).append(path)
    train = _only(folder, "train", files)
    if train is None:
        raise _no_train(folder, files)
    if evaluation is not None:
        chosen = _only(folder, evaluation.lower(), files)
        if chosen is None:
            raise UnknownNameError(
                "evaluation part", evaluation, set(files) - {"train"}, hint=f"Folder: {folder}."
            )
        return train, chosen, ""
    found = [name for name in EVALUATION_NAMES if name in files]
    if not found:
        return train, None, ""
    unused = f"; not used: {', '.join(found[1:])}" if len(found) > 1 else ""
    return train, _only(folder, found[0], files), f"{found[0]} part used for evaluation{unused}"


def _only(folder: Path, name: str, files: dict[str, list[Path]]) -> Path | None:
    paths = files.get(name, [])
    if len(paths) > 1:
        raise DataError(
            f"{folder}: expected one {name} file, got {', '.join(p.name for p in paths)}. "
            "Remove one of them, or give a file instead of the folder."
        )
    return paths[0] if paths else None


def _no_train(folder: Path, files: dict[str, list[Path]]) -> DataError:
    names = [p.name for paths in files.values() for p in paths]
    inner = sorted(p.name for p in folder.iterdir() if p.is_dir() and any(p.glob("train.*")))
    if inner:
        shown = ", ".join(inner[:8]) + (", ..." if len(inner) > 8 else "")
        advice = f"It holds folders that are tasks: {shown}. Give one, as {folder / inner[0]}."
    elif names:
        advice = f"Files found: {', '.join(names[:8])}. Name one train, or give a file."
    else:
        advice = "No data file was found in it."
    return DataError(
        f"{folder} is no task: expected a file train with one of the endings "
        f"{', '.join(FORMATS)}. {advice}"
    )


def corpus_of(folder: Path, name: str, glue: GlueSpec | None) -> str:
    """Return the corpus of a folder's task: as a MANIFEST.json beside it says, else its name.

    The manifest is a list of objects with at least ``name`` and ``corpus``.
    """
    default = (glue.corpus if glue is not None else "") or name
    manifest = folder.parent / "MANIFEST.json"
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == folder.name and entry.get("corpus"):
            return str(entry["corpus"])
    return default
