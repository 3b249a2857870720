"""Raw tables from every place that a task can come from: files, folders, data, the hub, GLUE."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from charkit.config import TaskKind, is_offline, listing, printable
from charkit.errors import MissingError, UnknownNameError, UsageError
from charkit.tasks.generated.suite import generated_names
from charkit.tasks.readers import hub
from charkit.tasks.readers.columns import same_key
from charkit.tasks.readers.folder import corpus_of, find_parts, part_word, read_part
from charkit.tasks.readers.hub import GLUE_NAMES, HUB_NAME, GlueSpec, spec_of_folder
from charkit.tasks.readers.rows import OnBadRows
from charkit.tasks.readers.tables import (
    RawTable,
    data_table,
    format_of,
    parts_of,
    read_table,
    stem_of,
)


@dataclass(frozen=True)
class Tables:
    """What a source gave, before columns are chosen."""

    train: RawTable
    evaluation: RawTable | None
    name: str
    corpus: str = ""
    glue: GlueSpec | None = None
    notes: tuple[str, ...] = ()


def is_utf8(name: str) -> bool:
    """Return whether a path's name can be written as UTF-8, as everything that charkit writes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_choices(*, kind: str | None, on_bad_rows: str, eval_frac: float) -> None:
    """Refuse a kind, a treatment of bad rows or a share that is not legal.

    Raises:
        UsageError: One of them is not.
    """
    if kind is not None and kind not in get_args(TaskKind):
        raise UnknownNameError("kind", kind, get_args(TaskKind))
    if on_bad_rows not in get_args(OnBadRows):
        raise UnknownNameError("on_bad_rows", on_bad_rows, get_args(OnBadRows))
    if not 0 < eval_frac < 1:
        raise UsageError(
            f"eval_frac: expected a share between 0 and 1, got {eval_frac}. 0.2 keeps a fifth."
        )


def refuse_columns(what: str, *given: object) -> None:
    """Refuse columns, a kind or evaluation rows for tasks that bring their own.

    Raises:
        UsageError: One of them is given.
    """
    if any(value is not None for value in given):
        raise UsageError(
            f"{what} bring their own columns, kind and evaluation part: expected none of text, "
            "pair, label, kind and eval. Leave them out."
        )


def glue_columns(tables: Tables) -> tuple[str | None, str | None]:
    """Return the columns that GLUE gives a task of its own, where the table has them."""
    glue = tables.glue
    assert glue is not None
    wanted = [glue.text] + ([glue.pair] if glue.pair else [])
    if all(column in tables.train.columns for column in wanted):
        return glue.text, glue.pair
    return None, None


def open_tables(source: Any, evaluation: Any, *, offline: bool | None) -> Tables:
    """Read the raw tables of a source: its rows, and its evaluation rows where there are any.

    Raises:
        UsageError: An argument is wrong, or a name unknown (with near matches).
        DataError: A file cannot be read as what it is.
        MissingError: A file or package is not there.
    """
    if isinstance(source, os.PathLike):
        source = Path(source)
    if not isinstance(source, str | Path):
        return _data_tables(source, evaluation)
    if isinstance(source, str) and source.startswith(("hub:", "glue/")):
        return _hub_tables(source, evaluation, offline=is_offline(offline))
    if not is_utf8(str(source)):
        raise UsageError(
            f"source: expected a name in UTF-8, got {str(source)!r}. Rename the file, or set "
            "PYTHONUTF8=1 if the name is right."
        )
    path = Path(source).expanduser()
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise MissingError(
            f"source: expected a file or folder, got {str(source)[:80]!r}: {error.strerror}. "
            "Check the path."
        ) from error
    if is_folder:
        return _folder_tables(path, evaluation)
    if is_file:
        held_out = None if evaluation is None else _evaluation_table(evaluation)
        train = read_table(path)
        return Tables(train, held_out, printable(stem_of(path)), notes=_part_notes(train))
    raise _not_found(str(source), path)


_PART_COLUMNS = ("split", "part", "set", "subset", "partition", "fold", "data split", "usage")


def _part_notes(table: RawTable) -> tuple[str, ...]:
    """Return a note where a column says which part each row belongs to: it is not read."""
    for name in table.columns:
        if same_key(name) not in _PART_COLUMNS:
            continue
        found = {v.strip().lower() for v in set(table.columns[name]) if isinstance(v, str)}
        if "train" in found and len(found) > 1 and all(map(part_word, found)):
            return (
                f"{table.where}: column {name!r} holds {listing(sorted(found))}: it is not read. "
                "To use these parts, write each to a file of its own, in one folder",
            )
    return ()


def _data_tables(source: Any, evaluation: Any) -> Tables:
    """Return the tables of data that are in Python already."""
    parts = parts_of(source)
    if parts is None:
        held_out = None if evaluation is None else _evaluation_table(evaluation)
        return Tables(data_table(source), held_out, "dataframe")
    what = type(source).__name__
    by_name = isinstance(evaluation, str) and format_of(Path(evaluation)) is None
    name = evaluation if by_name else None
    train, held, note = hub.choose_splits(parts, source=what, glue=None, evaluation=name)
    if evaluation is not None and name is None:
        table: RawTable | None = _evaluation_table(evaluation)
        note = ""
    else:
        table = None if held is None else data_table(parts[held], argument=held)
    notes = (note,) if note else ()
    return Tables(data_table(parts[train]), table, "dataset", notes=notes)


def _evaluation_table(evaluation: Any) -> RawTable:
    if isinstance(evaluation, os.PathLike):
        evaluation = Path(evaluation)
    if not isinstance(evaluation, str | Path):
        return data_table(evaluation, argument="evaluation")
    path = Path(evaluation).expanduser()
    if not path.is_file():
        there = os.path.lexists(path)
        state = _what_it_is(path) if there else "not there"
        raise MissingError(
            f"evaluation: expected a file, got {str(evaluation)!r}, which is {state}."
            f"{'' if there else _near_files(path)} Check the path."
        )
    return read_table(path)


def _folder_tables(folder: Path, evaluation: Any) -> Tables:
    by_name = isinstance(evaluation, str) and format_of(Path(evaluation)) is None
    parts = find_parts(folder, evaluation=str(evaluation) if by_name else None)
    table: RawTable | None = None
    notes = (parts.note,) if parts.note else ()
    if evaluation is not None and not by_name:
        table, notes = _evaluation_table(evaluation), ()
    elif parts.evaluation:
        table = read_part(folder, parts.evaluation)
    name = folder.resolve().name
    glue = spec_of_folder(name)
    corpus = corpus_of(folder.resolve(), name, glue)
    train = read_part(folder, parts.train)
    return Tables(train, table, printable(name), corpus, glue, notes)


def _hub_tables(source: str, evaluation: Any, *, offline: bool) -> Tables:
    if evaluation is not None and not isinstance(evaluation, str):
        raise UsageError(
            "evaluation: expected the name of a split for a data set from the hub, got "
            f"{type(evaluation).__name__}. Name a split, for instance validation."
        )
    glue: GlueSpec | None = None
    if source.startswith("glue/"):
        glue, revision = hub.parse_glue(source)
        which = hub.HubName(HUB_NAME, glue.name, revision)
        hub.choose_splits({"train": None, evaluation or glue.evaluation: None}, source=source,
                          glue=glue, evaluation=evaluation)  # fmt: skip
        name, corpus = glue.task_name, glue.corpus
    else:
        which = hub.parse_hub(source)
        name, corpus = "_".join(filter(None, (which.path.split("/")[-1], which.config))), ""
        if which.path in (HUB_NAME, "glue") and which.config:
            glue = spec_of_folder(f"glue_{which.config}")
            corpus = glue.corpus if glue else ""
    splits = hub.fetch_splits(which, source=source, offline=offline)
    train, held_out, note = hub.choose_splits(
        splits, source=source, glue=glue, evaluation=evaluation
    )
    table = None if held_out is None else hub.split_table(splits, held_out, source=source)
    notes = (note,) if note else ()
    return Tables(hub.split_table(splits, train, source=source), table, name, corpus, glue, notes)


def _what_it_is(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return "a link that leads nowhere"
    return "a folder" if path.is_dir() else "a pipe or a device"


def _near_files(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f" There is no folder {str(folder)!r}."
    names = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    near = get_close_matches(path.name, names, n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(str(folder / n) for n in near)}?" if near else ""


def _of_pattern(source: str) -> str:
    if not set(source) & set("*?"):
        return ""
    return "Patterns are not read: give one file, or the folder that holds the files of one task. "


def _of_hub(source: str) -> str:
    """Return advice on a name that has the form of one on the hub."""
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source) or source.startswith("glue/"):
        return ""
    return f"If it is a data set of the hub, give hub:{source}. "


def _not_found(source: str, path: Path) -> MissingError | UnknownNameError:
    """A path that is not there or no file (exit code 4), or a name that is not known (2)."""
    if os.path.lexists(path):
        return MissingError(
            f"source: expected a file or folder, got {source!r}, which is {_what_it_is(path)}. "
            "Write the data to a file."
        )
    if re.match(r"[a-z0-9]+://", source):
        return MissingError(
            f"source: expected a file or folder on this machine, got the address {source!r}. "
            "Download it, and give the file's path; a data set of the hub is hub:owner/name."
        )
    if format_of(path) is not None or path.is_absolute() or source.startswith((".", "~")):
        return MissingError(
            f"source: expected a file or folder, got {source!r}, which is not there."
            f"{_near_files(path)} {_of_pattern(source)}Check the path."
        )
    known = [f"glue/{n}" for n in GLUE_NAMES] + [f"generated/{n}" for n in generated_names()]
    folder = path.parent
    if folder.is_dir():
        known += [str(folder / p.name) for p in folder.iterdir() if not p.name.startswith(".")]
    return UnknownNameError(
        "task", source, known,
        hint=f"{_of_hub(source)}A task is a file, a folder, hub:owner/name, glue/NAME or "
        "generated/NAME.",
    )  # fmt: skip
