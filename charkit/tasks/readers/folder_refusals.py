"""Folders that are no task: what they hold instead, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from charkit.errors import DataError, MissingError
from charkit.tasks.files.table import some
from charkit.tasks.readers.tables import ADVICE, FORMATS, format_of

# Names of files that a message lists: they are long.
_SHOWN = 8

# A folder of a Hive partition: the name of a column and its value in all rows inside.
_HIVE = re.compile(r"[^=/]+=[^/]*")


def listed(folder: Path) -> list[Path]:
    """Return what a folder holds, in order; hidden files are left out.

    Raises:
        MissingError: It cannot be read.
    """
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise MissingError(
            f"{folder} cannot be read: {error.strerror}. Check its permissions."
        ) from error


def no_train(folder: Path, files: Mapping[str, list[Path]]) -> DataError:
    """Return the refusal of a folder without a training file."""
    return DataError(
        f"{folder} is no task: expected a file train with one of the endings "
        f"{', '.join(FORMATS)}. {_instead(folder, files)}"
    )


def _instead(folder: Path, files: Mapping[str, list[Path]]) -> str:
    """Return what to do about it, by what it holds."""
    inside = listed(folder)
    paths = sorted(p for found in files.values() for p in found)
    if (folder / "dataset_dict.json").is_file() and paths:
        return f"Its parts are {some(sorted(files))}: give one, as {folder / min(files)}."
    snapshots = folder / "snapshots"
    if snapshots.is_dir() and listed(snapshots):
        newest = max(listed(snapshots), key=lambda p: p.stat().st_mtime)
        return f"It is a folder of the hub's cache: give {newest}."
    for place in (folder, folder / "train"):
        classes = class_folders(place)
        if classes:
            return _table_of(place, classes)
    keyed = [p for p in inside if p.is_dir() and _HIVE.fullmatch(p.name)]
    if keyed:
        return _of_partitions(folder, keyed)
    inner = [p.name for p in inside if p.is_dir() and any(p.glob("*train*"))]
    if inner:
        names = some(inner, shown=_SHOWN)
        return f"It holds folders that are tasks: {names}. Give one, as {folder / inner[0]}."
    if len(paths) > 1 and {format_of(p) for p in paths} == {".txt"}:
        return _of_class_files(folder, paths)
    if paths:
        names = some((p.name for p in paths), shown=_SHOWN)
        return f"Files found: {names}. Name one train, or give a file, as {paths[0]}."
    return _of_other_kinds(inside)


def _of_class_files(folder: Path, paths: Sequence[Path]) -> str:
    """Return how to make one table of a file for each class, such as ``rt-polarity.pos.txt``."""
    names = some((p.name for p in paths), shown=4)
    script = (
        "import json, pathlib; [print(json.dumps({'text': t, 'label': p.stem})) for p in "
        f"sorted(pathlib.Path({str(folder)!r}).glob('*.txt')) for t in "
        "p.read_text(encoding='utf-8', errors='replace').splitlines() if t.strip()]"
    )
    return (
        f"It seems to hold a file for each class ({names}) with a text a line: write them to one "
        f'table: python -c "{script}" > {folder.name}.jsonl'
    )


def _of_partitions(folder: Path, keyed: Sequence[Path]) -> str:
    """Return how to make one table of Hive partitions, such as ``year=2024/part-0.parquet``."""
    names = some((p.name for p in keyed), shown=4)
    script = (
        "import pyarrow.dataset as d, pyarrow.parquet as q; "
        f"q.write_table(d.dataset({str(folder)!r}, format={_kind_inside(keyed)!r}, "
        f"partitioning='hive').to_table(), {f'{folder.name}.parquet'!r})"
    )
    return (
        f"It holds Hive partitions ({names}): columns whose values are names of folders, which "
        f'are not read. Write one table, with these columns: python -c "{script}"'
    )


def _kind_inside(folders: Sequence[Path]) -> str:
    """Return the format of the files in folders, as pyarrow calls it."""
    files = (p for folder in folders for p in sorted(folder.rglob("*")) if p.is_file())
    kinds = {".csv": "csv", ".arrow": "ipc", ".feather": "feather", ".json": "json",
             ".jsonl": "json", ".ndjson": "json"}  # fmt: skip
    return next((kinds[f] for p in files if (f := format_of(p) or "") in kinds), "parquet")


def _of_other_kinds(inside: Sequence[Path]) -> str:
    scripts = [p.name for p in inside if p.suffix == ".py"]
    if scripts:
        return (
            f"It holds a loading script ({scripts[0]}), which is never run: download the data "
            "themselves, for data sets of the hub from the branch refs/convert/parquet."
        )
    for path in inside:
        advice = ADVICE.get(path.suffix.lower())
        if advice and path.is_file():
            return f"{path.name} is of another format. {advice}"
    return "No data file was found in it."


def class_folders(folder: Path) -> list[Path]:
    """Return the folders of a folder that seem to hold a class each, a file for each text."""
    if not folder.is_dir():
        return []
    inner = [p for p in listed(folder) if p.is_dir()]
    found = [p for p in inner if all(map(_is_text, listed(p))) and any(p.iterdir())]
    return found if 1 < len(found) == len(inner) else []


def _is_text(path: Path) -> bool:
    """Return whether a file seems to be one text: .txt, or a name without an ending."""
    ending = path.suffix.lower().strip(".")
    return path.is_file() and (ending in ("", "txt") or ending.isdigit())


def _table_of(folder: Path, classes: Sequence[Path]) -> str:
    names = some((p.name for p in classes), shown=4)
    script = (
        "import json, pathlib; [print(json.dumps({'text': p.read_text(encoding='utf-8', "
        "errors='replace'), 'label': p.parent.name})) for p in "
        f"sorted(pathlib.Path({str(folder)!r}).glob('*/*')) if p.is_file()]"
    )
    return (
        f"{folder.name} seems to hold a folder for each class ({names}) with a file for each text: "
        f'write them to one table: python -c "{script}" > {folder.name}.jsonl'
    )


def pasted(paths: Sequence[Path], name: str) -> str:
    """Return how to join a file of texts and a file of labels; "" where they are not these.

    Args:
        paths: The files that are found for one part.
        name: The part's name.
    """
    labels = [p for p in paths if "label" in p.name.lower()]
    texts = [p for p in paths if p not in labels]
    if len(paths) != 2 or len(labels) != 1 or {format_of(p) for p in paths} != {".txt"}:
        return ""
    command = f"(printf 'text\\tlabel\\n'; paste {texts[0].name} {labels[0].name}) > {name}.tsv"
    return (
        "Texts and labels seem to stand in files of their own: write them to one, and remove "
        f"these: {command}"
    )
