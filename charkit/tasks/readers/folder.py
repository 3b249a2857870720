"""A folder that is a task: one file a part, shards, a downloaded repository, or save_to_disk's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from charkit.errors import DataError, MissingError, UnknownNameError
from charkit.tasks.files.arrow import class_names_of, with_class_names
from charkit.tasks.files.table import LazyColumns, RawTable, some
from charkit.tasks.readers.folder_refusals import class_folders, listed, no_train, pasted
from charkit.tasks.readers.hub import GlueSpec
from charkit.tasks.readers.tables import format_of, read_table, stem_of

EVALUATION_NAMES = ("test", "validation", "valid", "dev", "eval", "validation_matched")
"""Names of evaluation files, the preferred one first."""

_SHARD = re.compile(
    r"((?P<part>.+?)[-_.])?(?P<number>\d+)(-of-(?P<total>\d+))?(-[0-9a-f]{16})?", re.ASCII
)
_WORDS = {"train": "train", "training": "train", "trn": "train", "test": "test", "testing": "test",
          "validation": "validation", "valid": "valid", "val": "valid", "dev": "dev",
          "eval": "eval"}  # fmt: skip
_DESCRIPTIONS = ("MANIFEST.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json",
                 "state.json")  # fmt: skip
_SPARK = re.compile(r"part-(?P<number>\d{4,6})([-.].*)?", re.ASCII)

# Descriptions of data sets are read up to this size.
_DESCRIBED = 2**20


@dataclass(frozen=True)
class Parts:
    """The files of a folder's parts.

    Attributes:
        train: The files of the training part, in order.
        evaluation: Those of the evaluation part; empty if there is none.
        note: What was chosen or left, or "".
    """

    train: tuple[Path, ...]
    evaluation: tuple[Path, ...]
    note: str = ""


def find_parts(folder: Path, *, evaluation: str | None) -> Parts:
    """Find the files of a folder's training and evaluation parts.

    Looked for are files named after parts (``train.csv``, ``train-00000-of-00002.parquet``,
    ``reviews_train.tsv``), then a folder for each part or the folder ``data``; a folder that
    ``datasets`` wrote with save_to_disk is read by its own description.

    Args:
        folder: The folder.
        evaluation: The name of the evaluation part (``"validation"``), or None for the first
            of EVALUATION_NAMES that is there.

    Raises:
        DataError: There is no training file, two files for the same part, or a shard is missing.
        UnknownNameError: The evaluation part that was asked for is not there.
    """
    files = _parts_in(folder)
    train = _only(folder, "train", files)
    if not train:
        raise no_train(folder, files)
    part = _evaluation_part(folder, files, evaluation)
    rest = some(sorted(name for name in files if name not in ("train", part)))
    notes = [f"{part} part used for evaluation"] if part not in (None, evaluation) else []
    if rest and evaluation is None:
        notes.append(f"not used: {rest}" + ("" if part else " (--eval NAME evaluates on one)"))
    chosen = () if part is None else _only(folder, part, files)
    return Parts(train, chosen, "; ".join(notes))


def _evaluation_part(
    folder: Path, files: Mapping[str, list[Path]], asked: str | None
) -> str | None:
    """Return the name of the part to evaluate on: the one asked for, else the folder's own."""
    if asked is not None and asked.lower() in files:
        return asked.lower()
    if asked is None:
        known = [name for name in EVALUATION_NAMES if name in files]
        if known:
            return known[0]
    meant = {name: part_word(name) for name in files if name != "train"}
    wanted = _EVALUATION if asked is None else {part_word(asked.lower())} - {""}
    wanted = _VALIDATION if wanted & _VALIDATION and asked is not None else wanted
    found = sorted(name for name, word in meant.items() if word in wanted)
    if len(found) == 1:
        return found[0]
    if asked is not None:
        raise UnknownNameError(
            "evaluation part", asked, set(files) - {"train"}, hint=f"Folder: {folder}."
        )
    if found:
        paths = [path for name in found for path in files[name]]
        advice = pasted(paths, meant[found[0]]) or f"Say which: --eval {found[0]}."
        raise DataError(
            f"{folder}: several parts could be for evaluation ({some(found)}). {advice}"
        )
    return None


_VALIDATION = frozenset(("validation", "valid", "dev", "eval"))
_EVALUATION = _VALIDATION | {"test"}


def part_word(name: str) -> str:
    """Return which part a name means by one of its words; "" where none or several do."""
    words = {_WORDS[w] for w in re.split(r"[-_. ]", name) if w in _WORDS}
    return words.pop() if len(words) == 1 else ""


def files_of(folder: Path) -> list[Path]:
    """Return the files that a folder's task may be read from, descriptions among them."""
    places = [folder]
    for place in (folder, folder / "data"):
        if place.is_dir():
            inner = [p for p in place.iterdir() if p.is_dir()]
            places += [p for p in inner if p.name.lower() in (*_WORDS, "data") or _is_saved(p)]
    described = ("MANIFEST.json", "README.md", "dataset_info.json", "dataset_infos.json")
    above = [above / name for above in folder.parents[:2] for name in described]
    inside = [p for place in dict.fromkeys(places) for p in place.iterdir()]
    return [p for p in (*inside, *above) if p.is_file()]


def _is_saved(folder: Path) -> bool:
    return (folder / "state.json").is_file()


def _parts_in(folder: Path) -> dict[str, list[Path]]:
    """Return the files by part: the folder's own, those of folders named after parts, of data."""
    inside = listed(folder)
    if (folder / "dataset_dict.json").is_file():
        return {p.name: _saved_files(p) for p in inside if _is_saved(p)}
    if _is_saved(folder):
        return {"train": _saved_files(folder)}
    files = _by_part([p for p in inside if p.is_file() and _is_data(p)])
    if "train" in files:
        return files
    folders = [p for p in inside if p.is_dir() and p.name.lower() in _WORDS]
    by_folder = {
        _WORDS[p.name.lower()]: [f for f in listed(p) if f.is_file() and _is_data(f)]
        for p in folders
        if not class_folders(p)
    }
    if by_folder.get("train"):
        return {part: _without_text(paths) for part, paths in by_folder.items() if paths}
    data = folder / "data"
    return _parts_in(data) or files if data.is_dir() else files


def _is_data(path: Path) -> bool:
    return format_of(path) is not None and path.name not in _DESCRIPTIONS


def _by_part(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Group files by the part that their names give; names that are exactly a part go first."""
    exact: dict[str, list[Path]] = {}
    for path in paths:
        stem = stem_of(path).lower()
        shard = _SHARD.fullmatch(stem)
        exact.setdefault((shard and shard["part"]) or stem, []).append(path)
    exact = {part: _without_text(found) for part, found in exact.items()}
    if "train" in exact:
        return exact
    worded: dict[str, list[Path]] = {}
    for part, found in exact.items():
        worded.setdefault(part_word(part) or part, []).extend(found)
    if "train" in worded:
        return worded
    shards = [path for found in exact.values() for path in found]
    spark = bool(shards) and all(_SPARK.fullmatch(stem_of(path)) for path in shards)
    numbered = len(exact) == 1 and all(map(_is_shard_of_several, shards))
    return {"train": shards} if spark or numbered else exact


def _is_shard_of_several(path: Path) -> bool:
    shard = _SHARD.fullmatch(stem_of(path).lower())
    return shard is not None and shard["total"] is not None


def _without_text(paths: list[Path]) -> list[Path]:
    """Leave out .txt files next to a table of the same name."""
    tables = [p for p in paths if format_of(p) != ".txt"]
    return tables or paths


def _saved_files(folder: Path) -> list[Path]:
    """Return the files of a part that ``datasets`` wrote with save_to_disk."""
    state = _described(folder / "state.json")
    listed = state.get("_data_files") if isinstance(state, dict) else None
    names = [str(f.get("filename")) for f in listed or [] if isinstance(f, dict)]
    if not names or not all(Path(name).name == name for name in names):
        raise DataError(
            f"{folder / 'state.json'} names no files of data: expected what save_to_disk of "
            "datasets writes. Save the data set again, or write it as Parquet."
        )
    assert isinstance(state, dict)
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise DataError(
            f"{folder} holds a selection of rows in files of its own: expected plain rows. Save it "
            "again after flatten_indices()."
        )
    missing = [n for n in names if not (folder / n).is_file()]
    if missing:
        raise MissingError(f"{folder} lacks {some(missing)}. Copy the folder again.")
    return [folder / n for n in names]


def _only(folder: Path, name: str, files: Mapping[str, list[Path]]) -> tuple[Path, ...]:
    """Return the files of one part: a single one, or the shards that belong together."""
    paths = sorted(files.get(name, []))
    if len(paths) < 2:
        return tuple(_require_whole(folder, name, paths))
    shards = [_SHARD.fullmatch(stem_of(p).lower()) or _SPARK.fullmatch(stem_of(p)) for p in paths]
    endings = {format_of(p) for p in paths}
    if len(endings) > 1 or not all(shards):
        raise DataError(
            f"{folder}: expected one {name} file, got {some(p.name for p in paths)}. "
            f"{pasted(paths, name) or 'Remove one of them, or give a file instead of the folder.'}"
        )
    order = sorted(zip((int(s["number"]) for s in shards if s), paths, strict=True))
    return tuple(_require_whole(folder, name, [path for _, path in order]))


def _require_whole(folder: Path, name: str, paths: list[Path]) -> list[Path]:
    totals = {int(m["total"]) for p in paths if (m := _SHARD.fullmatch(stem_of(p))) and m["total"]}
    if totals and totals != {len(paths)}:
        raise MissingError(
            f"{folder}: expected {max(totals)} files of the part {name}, as their names give, got "
            f"{len(paths)}: {some(p.name for p in paths)}. Download or copy the others."
        )
    return paths


def read_part(folder: Path, paths: Sequence[Path]) -> RawTable:
    """Read the files of a part as one table; class names that the folder declares come with it.

    Raises:
        DataError: A file cannot be read, or the files differ in their columns or class names.
    """
    tables = [read_table(path) for path in paths]
    table = tables[0] if len(tables) == 1 else _joined(paths, tables)
    declared: dict[str, tuple[str, ...]] = {}
    for place in dict.fromkeys((paths[0].parent, folder, *folder.parents[:2])):
        for name, names in _declared(place, folder).items():
            declared.setdefault(name, names)
    return with_class_names(table, declared) if declared else table


def _joined(paths: Sequence[Path], tables: Sequence[RawTable]) -> RawTable:
    first = tables[0]
    for path, table in zip(paths, tables, strict=True):
        if set(table.columns) != set(first.columns):
            raise DataError(
                f"{path.name}: expected the columns of {paths[0].name} ({some(first.columns)}), "
                f"got {some(table.columns)}. Files of one part need the same columns."
            )
        if table.class_names != first.class_names:
            raise DataError(
                f"{path.name} names its classes differently than {paths[0].name}: expected the "
                "same names in the same order. Write the files again from one data set."
            )

    def make(name: str) -> list[Any]:
        return [value for table in tables for value in table.columns[name]]

    notes = [note for table in tables for note in table.notes]
    where = f"{paths[0].name} and {len(paths) - 1} more files"
    numbers = range(1, sum(map(len, tables)) + 1)
    return replace(
        first, where=where, columns=LazyColumns(first.columns, make), numbers=numbers, unit="row",
        notes=(*notes, f"{len(paths)} files read as one part; rows are counted through them"),
    )  # fmt: skip


def _described(path: Path) -> Any:
    """Return the content of a small JSON file; None where it is none."""
    try:
        if path.stat().st_size > _DESCRIBED:
            return None
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _declared(place: Path, folder: Path) -> dict[str, tuple[str, ...]]:
    """Return class names by column from dataset_info.json, dataset_infos.json or README.md."""
    infos: list[Any] = [_described(place / "dataset_info.json")]
    every = _described(place / "dataset_infos.json")
    if isinstance(every, dict):
        infos += [{"config_name": name, **i} for name, i in every.items() if isinstance(i, dict)]
    card = _front_matter(place / "README.md")
    listed = card.get("dataset_info") if isinstance(card, dict) else None
    infos += listed if isinstance(listed, list) else [listed]
    infos = [i for i in infos if isinstance(i, dict)]
    own = [i for i in infos if i.get("config_name") == folder.name]
    found: dict[str, set[tuple[str, ...]]] = {}
    for info in own or infos:
        features = info.get("features")
        names = _card_names(features) if isinstance(features, list) else class_names_of(features)
        for name, classes in names.items():
            found.setdefault(name, set()).add(classes)
    return {name: next(iter(each)) for name, each in found.items() if len(each) == 1}


def _front_matter(path: Path) -> Any:
    """Return what stands between the first two lines ``---`` of a README."""
    try:
        if path.stat().st_size > _DESCRIBED:
            return None
        parts = re.split(r"^---\s*$", path.read_text(encoding="utf-8"), maxsplit=2, flags=re.M)
    except (OSError, ValueError):
        return None
    if len(parts) < 3 or parts[0].strip():
        return None
    import yaml  # type: ignore[import-untyped]

    try:
        return yaml.safe_load(parts[1])
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


def _card_names(features: Sequence[Any]) -> dict[str, tuple[str, ...]]:
    """Return class names by column, from features as a README's front matter describes them."""
    found = {}
    for feature in features:
        kind = feature.get("dtype") if isinstance(feature, dict) else None
        if kind is None and isinstance(feature, dict):
            kind = feature.get("sequence", feature.get("list"))
        label = kind.get("class_label") if isinstance(kind, dict) else None
        names = label.get("names") if isinstance(label, dict) else None
        if isinstance(names, dict) and all(str(k).isdecimal() for k in names):
            names = [names[k] for k in sorted(names, key=int)]
        if isinstance(names, list) and names:
            found[str(feature.get("name"))] = tuple(map(str, names))
    return found


def corpus_of(folder: Path, name: str, glue: GlueSpec | None) -> str:
    """Return the corpus of a folder's task: from the MANIFEST.json next to it, else its name.

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
