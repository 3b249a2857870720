"""Packages whose names are imported when first used: importing them loads nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def attach(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package from the stub next to it.

    ``__init__.pyi`` holds a line ``from MODULE import NAME as NAME`` for each name, so that type
    checkers and imports read one list, as in lazy_loader of Scientific Python.

    Args:
        package: ``__name__`` of the package.
        file: Its ``__file__``.
    """
    stub = Path(file).with_suffix(".pyi").read_text(encoding="utf-8")
    homes = {name: module for module, name in re.findall(r"from (\S+) import (\w+) as \2", stub)}
    names = sorted([*homes, *re.findall(r"^(\w+): ", stub, re.MULTILINE)])

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return get, lambda: names, names
