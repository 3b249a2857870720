"""Settings of experiments: a table a name in a TOML file, values changed on the command line."""

from __future__ import annotations

import dataclasses
import itertools
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from charkit.errors import DataError, MissingError, UnknownNameError, UsageError


def read_table(path: Path, name: str) -> dict[str, Any]:
    """Return the table of one experiment in a TOML file; no such table is an empty one.

    Raises:
        MissingError: There is no such file.
        DataError: It is not TOML, or the name is no table.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingError(
            f"no settings at {path}: expected a TOML file ({error.strerror})."
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path} is not TOML: {error}.") from error
    table = given.get(name, {})
    if not isinstance(table, dict):
        raise DataError(f"{path.name}: expected a table [{name}], got {table!r}.")
    return table


def make_settings(kind: type[Any], table: dict[str, Any], *, where: str) -> Any:
    """Return settings of a kind, the table's values in place of the defaults.

    Raises:
        UnknownNameError: A key is not known.
        UsageError: A value has the wrong type.
    """
    hints = get_type_hints(kind)
    for key in table:
        if key not in hints:
            raise UnknownNameError(f"setting in {where}", key, hints)
    return kind(**{k: _checked(f"{where}: {k}", hints[k], v) for k, v in table.items()})


def _checked(what: str, hint: Any, value: Any) -> Any:
    many = get_origin(hint) is tuple
    item = get_args(hint)[0] if many else hint
    values = value if many and isinstance(value, (list, tuple)) else [value]
    if isinstance(value, (list, tuple)) != many:
        raise UsageError(f"{what}: expected {_said(hint)}, got {value!r}.")
    for one in values:
        if type(one) is not item and not (item is float and type(one) is int):
            raise UsageError(f"{what}: expected {_said(hint)}, got {value!r}.")
    return tuple(item(one) for one in values) if many else item(value)


def _said(hint: Any) -> str:
    if get_origin(hint) is tuple:
        return f"a list of {get_args(hint)[0].__name__}"
    return str(hint.__name__)


def parse_change(kind: type[Any], change: str) -> tuple[str, Any]:
    """Read ``key=value`` as it stands on a command line; lists are comma-separated.

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
    pieces = text.split(";")
    return key, [parse_change(kind, f"{key}={piece}")[1] for piece in pieces]


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
