"""Settings from TOML files, checked by the types of a dataclass; changes on the command line."""

from __future__ import annotations

import dataclasses
import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from charkit.errors import DataError, MissingError, UnknownNameError, UsageError
from charkit.store.entry import check_name

S = TypeVar("S")


def read_toml(
    path: str | Path, kind: type[S], *, table: str = "", changes: Mapping[str, Any] | None = None
) -> S:
    """Return a dataclass of settings from a TOML file whose keys are its fields.

    Args:
        path: The file.
        kind: A dataclass of strings, numbers, and tuples of them. A field without a default must
            be given; a field ``name`` names files and is checked.
        table: Read this table of the file only; a table that is not there is empty.
        changes: Field -> value, in place of the file's.

    Raises:
        MissingError: There is no such file.
        DataError: It is not TOML, or ``table`` names something else.
        UnknownNameError: A key is not known.
        UsageError: A value has the wrong type, or a needed one is missing.
    """
    place = Path(path)
    try:
        given = tomllib.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingError(
            f"no study at {place}: expected a TOML file ({error.strerror})."
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{place} is not TOML: expected UTF-8, got {error}.") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DataError(f"{place} is not TOML: {error}.") from error
    values = given.get(table, {}) if table else given
    if not isinstance(values, dict):
        raise DataError(f"{place.name}: expected a table [{table}], got {values!r}.")
    where = f"{place.name} [{table}]" if table else place.name
    return make_settings(kind, {**values, **(changes or {})}, where=where)


def make_settings(kind: type[S], values: Mapping[str, Any], *, where: str) -> S:
    """Return a dataclass of settings from values by field; see `read_toml`.

    Raises:
        UnknownNameError: A key is not known.
        UsageError: A value has the wrong type, or a needed one is missing.
    """
    hints = get_type_hints(kind)
    for key in values:
        if key not in hints:
            raise UnknownNameError(f"key in {where}", key, hints)
    checked = {k: _checked(f"{where}: {k}", hints[k], v) for k, v in values.items()}
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    needed = [f.name for f in fields if f.default is dataclasses.MISSING]
    lacking = [name for name in needed if name not in values]
    if lacking:
        raise UsageError(f"{where}: expected the keys {needed}, got none for {lacking}.")
    if "name" in checked:
        check_name(f"name in {where}", checked["name"])
    return kind(**checked)


def _checked(what: str, hint: Any, value: Any) -> Any:
    many = get_origin(hint) is tuple
    item = get_args(hint)[0] if many else hint
    if isinstance(value, (list, tuple)) != many:
        raise UsageError(f"{what}: expected {_describe(hint)}, got {value!r}.")
    values = list(value) if many else [value]
    for one in values:
        if get_origin(item) is Literal:
            right = one in get_args(item)
        else:
            right = type(one) is item or (item is float and type(one) is int)
        if not right:
            raise UsageError(f"{what}: expected {_describe(hint)}, got {value!r}.")
    made = [float(one) if item is float else one for one in values]
    return tuple(made) if many else made[0]


def _describe(hint: Any) -> str:
    if get_origin(hint) is tuple:
        return f"a list of {_describe(get_args(hint)[0])}"
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(repr, get_args(hint)))}"
    return str(hint.__name__)


def parse_change(kind: type[Any], change: str) -> tuple[str, Any]:
    """Read ``key=value`` from a command line; lists are comma-separated.

    Raises:
        UnknownNameError: The key is not known.
        UsageError: There is no ``=``, or the value has the wrong type.
    """
    key, hint, text = _split(kind, change)
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        return key, [_read(change, item, one) for one in text.split(",") if one]
    return key, _read(change, hint, text)


def parse_grid(kind: type[Any], change: str) -> tuple[str, list[Any]]:
    """Read ``key=a;b;c``: one run a value; within a value lists are comma-separated.

    Raises:
        UnknownNameError: The key is not known.
        UsageError: There is no ``=``, a value is missing or of the wrong type.
    """
    key, _, text = _split(kind, change)
    return key, [parse_change(kind, f"{key}={piece}")[1] for piece in text.split(";")]


def _split(kind: type[Any], change: str) -> tuple[str, Any, str]:
    key, mark, text = change.partition("=")
    if not mark or not text:
        raise UsageError(f"a setting: expected key=value, got {change!r}.")
    hints = get_type_hints(kind)
    if key not in hints:
        raise UnknownNameError("setting", key, hints)
    return key, hints[key], text


def _read(change: str, kind: type[Any], text: str) -> Any:
    if kind is str:
        return text
    if kind is bool:
        if text not in ("true", "false"):
            raise UsageError(f"{change}: expected true or false, got {text!r}.")
        return text == "true"
    try:
        return kind(text)
    except ValueError:
        raise UsageError(f"{change}: expected {kind.__name__}, got {text!r}.") from None


def variants(
    settings: Any, grid: Sequence[tuple[str, list[Any]]]
) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield every combination of a grid: what was changed, and the settings.

    >>> @dataclasses.dataclass(frozen=True)
    ... class S:
    ...     n: int = 1
    >>> [s.n for _, s in variants(S(), [("n", [2, 3])])]
    [2, 3]
    """
    names = [name for name, _ in grid]
    hints = get_type_hints(type(settings))
    for values in itertools.product(*(values for _, values in grid)):
        changed = dict(zip(names, values, strict=True))
        checked = {k: _checked(k, hints[k], v) for k, v in changed.items()}
        yield changed, dataclasses.replace(settings, **checked)
