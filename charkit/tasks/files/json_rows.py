"""JSON of any common shape: an object a line, an array, columns, a list in an object."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from charkit.config import printable
from charkit.errors import DataError
from charkit.tasks.files.arrow import class_names_of, with_class_names
from charkit.tasks.files.export_tables import settle, unwrap_lists
from charkit.tasks.files.exports import NOT_YET, is_label_studio, open_export
from charkit.tasks.files.table import LABEL_NAMES, TEXT_NAMES, LazyColumns, RawTable, some

# More fields of fields than this are values used as names, and no columns; they are looked for in
# the first rows. More names than the last are refused: each is a list as long as the file.
_MOST_INNER = 50
_LOOKED_AT = 1_000
_MOST_NAMES = 10_000


_ONE_ROW = (
    "The file holds a single JSON object, so a single row: write one object for each row, such as "
    '{"text": "...", "label": "..."}.'
)


@dataclass(frozen=True)
class _Rows:
    """Objects, and where they stand."""

    objects: list[dict[str, Any]]
    numbers: Sequence[int]
    unit: str
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class _DoubledError(ValueError):
    """A field that occurs twice in one object."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.msg = f"the field '{printable(name)}' occurs twice"


def read_json(text: str, where: str) -> RawTable:
    """Read JSON lines, or one JSON document that holds rows.

    Raises:
        DataError: It is neither; the message names the line.
    """
    if text.lstrip().startswith("["):
        rows = _of_array(_document(text, where), where)
    else:
        rows = _of_lines(text, where)
    found = open_export(rows.objects, where)
    table = _table(rows if found is None else _Rows(found[0], rows.numbers, rows.unit), where)
    if found is not None:
        hint = NOT_YET if "no labels yet" in found[1] else ""
        table = replace(table, notes=(found[1],), hint=hint)
    if len(rows.objects) == 1 and not table.hint:
        table = replace(table, hint=_ONE_ROW)
    table = with_class_names(table, rows.class_names)
    return settle(unwrap_lists(table, _nested(rows.objects if found is None else found[0])))


def _table(rows: _Rows, where: str) -> RawTable:
    objects = rows.objects
    names = dict.fromkeys(name for row in objects for name in row)
    if len(names) > _MOST_NAMES:
        raise DataError(
            f"{where} has {len(names):,} different fields in {len(objects):,} rows: expected at "
            f"most {_MOST_NAMES:,}. Write values, not names, into fields."
        )
    inner = _inner_names(objects, names)

    def make(name: str) -> list[Any]:
        if name in names:
            return [row.get(name) for row in objects]
        outer, key = inner[name]
        parts = (row.get(outer) for row in objects)
        return [part.get(key) if isinstance(part, dict) else None for part in parts]

    return RawTable(where, LazyColumns([*names, *inner], make), rows.numbers, unit=rows.unit)


def _nested(objects: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of fields that hold lists or objects."""
    found = (n for row in objects for n, v in row.items() if isinstance(v, list | dict))
    return list(dict.fromkeys(found))


def _inner_names(
    objects: Sequence[Mapping[str, Any]], names: Mapping[str, Any]
) -> dict[str, tuple[str, str]]:
    """Return names for the fields of fields: ``translation.en`` is ``en`` in ``translation``."""
    found: dict[str, tuple[str, str]] = {}
    for row in objects[:_LOOKED_AT]:
        for outer, value in row.items():
            if isinstance(value, dict):
                found |= {f"{outer}.{k}": (outer, k) for k in value if f"{outer}.{k}" not in names}
        if len(found) > _MOST_INNER:
            return {}
    return found


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _DoubledError(next(name for name in names if names.count(name) > 1))
    return found


def _reason(error: Exception) -> str:
    return getattr(error, "msg", "nested too deeply, or a number of thousands of digits")


def _of_lines(text: str, where: str) -> _Rows:
    objects: list[dict[str, Any]] = []
    lines: list[int] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line or line.isspace():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_distinct)
        except (ValueError, RecursionError) as error:
            if not objects:
                return _of_many_lines(text, where, number, line, error)
            raise _malformed(where, number, line, error) from error
        if not isinstance(row, dict):
            raise DataError(
                f"{where}, line {number}: expected a JSON object with named fields, got "
                f"{type(row).__name__}. Write one object a line."
            )
        objects.append(row)
        lines.append(number)
    if len(objects) == 1:
        found = _of_one_object(objects[0], where)
        if found is not None:
            return found
    return _Rows(objects, lines, "line")


def _malformed(where: str, number: int, line: str, error: Exception) -> DataError:
    advice = "Correct or remove the line."
    if line.lstrip().startswith("{'"):
        advice = "It looks like Python's own notation: write it with json.dumps."
    elif not line.lstrip().startswith(("{", "[")):
        advice = (
            f"It begins with '{printable(line.strip(), longest=30)}': if the file holds fields "
            "with separators, let its name end in .csv or .tsv; if it holds a text a line, in .txt."
        )
    return DataError(
        f"{where}, line {number}: expected one JSON object, got malformed JSON "
        f"({_reason(error)}). {advice}"
    )


def _of_many_lines(text: str, where: str, number: int, line: str, error: Exception) -> _Rows:
    """Read objects that are written over several lines: one that holds rows, or one after another.

    Raises:
        DataError: The line's own fault, where the text is no JSON in this way either.
    """
    brief = line.strip()
    begins = brief[-1] in "{[,:" or _reason(error) == "Extra data"
    if isinstance(error, _DoubledError) or not brief.startswith("{") or not begins:
        raise _malformed(where, number, line, error) from error
    decoder = json.JSONDecoder(object_pairs_hook=_distinct)
    objects, lines, at = [], [], _next(text, 0)
    while at < len(text):
        begin = text.count("\n", 0, at) + 1
        try:
            row, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as fault:
            lineno = getattr(fault, "lineno", begin)
            raise _malformed(where, lineno, "{", fault) from fault
        if not isinstance(row, dict):
            raise DataError(
                f"{where}, line {begin}: expected a JSON object with named fields, got "
                f"{type(row).__name__}. Write one object a line."
            )
        objects.append(row)
        lines.append(begin)
        at = _next(text, at)
    if len(objects) == 1:
        found = _of_one_object(objects[0], where)
        if found is not None:
            return found
    return _Rows(objects, lines, "line")


def _next(text: str, at: int) -> int:
    """Return where the next value begins: white space and commas between objects are passed."""
    while at < len(text) and text[at] in " \t\r\n,":
        at += 1
    return at


def _document(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        before = text[: getattr(error, "pos", 0)].rstrip()
        advice = "Correct it, or write one JSON object a line."
        if before.endswith(",") and text[len(before) :].lstrip()[:1] in ("]", "}"):
            advice = "Remove the comma before the closing bracket."
        raise DataError(
            f"{where}, line {line}: expected a JSON array of objects, got malformed JSON "
            f"({_reason(error)}). {advice}"
        ) from error


def _of_array(array: Any, where: str) -> _Rows:
    if array and all(_is_annotated(row) for row in array):  # spaCy: [text, {"cats": {...}}]
        array = [{"text": row[0], **row[1]} for row in array]
    for place, row in enumerate(array, start=1):
        if not isinstance(row, dict):
            raise DataError(
                f"{where}, element {place} of the array: expected a JSON object with named fields, "
                f"got {type(row).__name__}. Write each row as an object: "
                '{"text": ..., "label": ...}.'
            )
    if not array:
        raise DataError(f"{where} holds an empty array: expected rows of data.")
    return _Rows(array, range(1, len(array) + 1), "row")


def _of_one_object(whole: dict[str, Any], where: str) -> _Rows | None:
    """Return the rows inside one object; None where it is a row itself.

    Raises:
        DataError: It holds several lists of rows.
    """
    if set(whole) >= {"columns", "data"} and _is_table(whole["columns"], whole["data"]):
        names = [str(name) for name in whole["columns"]]
        return _numbered([dict(zip(names, row, strict=True)) for row in whole["data"]])
    if {"rows", "features"} <= set(whole) and _is_rows(whole["rows"]):
        return _of_viewer(whole)
    inner = next(iter(whole.values())) if len(whole) == 1 else None
    if isinstance(inner, dict) and any(map(_is_rows, inner.values())):
        return _of_one_object(inner, where)
    if is_label_studio(whole):
        return None
    lists = [name for name, value in whole.items() if _is_rows(value)]
    if len(lists) > 1:
        raise DataError(
            f"{where} holds several lists of rows ({some(lists)}): expected one. Write each to a "
            "file of its own, as one JSON object a line."
        )
    if lists:
        return _numbered(whole[lists[0]])
    return _of_columns(whole)


def _of_viewer(whole: dict[str, Any]) -> _Rows:
    """Read what the hub's viewer answers: rows inside of rows, and what their columns mean."""
    rows = [row["row"] if isinstance(row.get("row"), dict) else row for row in whole["rows"]]
    listed = whole["features"] if isinstance(whole["features"], list) else []
    features = {f.get("name"): f.get("type") for f in listed if isinstance(f, dict)}
    return _Rows(rows, range(1, len(rows) + 1), "row", class_names_of(features))


def _of_columns(whole: dict[str, Any]) -> _Rows | None:
    """Read columns by name: lists, or objects whose keys are the rows (as pandas writes)."""
    values = list(whole.values())
    if len(values) > 1 and all(isinstance(v, list) for v in values):
        if len({len(v) for v in values}) > 1 or len(values[0]) < 2:
            return None
        rows = zip(*values, strict=True)
        return _numbered([dict(zip(whole, row, strict=True)) for row in rows])
    if not values or not all(isinstance(v, dict) and v for v in values):
        return None
    keys = [tuple(v) for v in values]
    if len(set(keys)) > 1:
        return None
    columns = [{name: whole[name][key] for name in whole} for key in keys[0]]
    if all(k.isdigit() for k in whole):
        return _numbered(values)
    if len(whole) > 1 and all(k.isdigit() for k in keys[0]):
        return _numbered(columns)
    names = {name.lower() for name in (*TEXT_NAMES, *LABEL_NAMES)}
    if names & {k.lower() for k in whole}:
        return _numbered(columns)
    if names & {k.lower() for k in keys[0]} and len(whole) > 1:
        return _numbered(values)  # rows by their ids
    return None


def _is_annotated(row: Any) -> bool:
    """Return whether an element is a text with its annotations, as spaCy trains on."""
    return (
        isinstance(row, list)
        and len(row) == 2
        and isinstance(row[0], str)
        and isinstance(row[1], dict)
        and "text" not in row[1]
    )


def _numbered(rows: list[dict[str, Any]]) -> _Rows:
    return _Rows(rows, range(1, len(rows) + 1), "row")


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _is_table(names: Any, rows: Any) -> bool:
    return (
        isinstance(names, list)
        and isinstance(rows, list)
        and bool(rows)
        and all(isinstance(row, list) and len(row) == len(names) for row in rows)
    )
