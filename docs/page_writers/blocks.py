"""What the writers of pages share: places, marks, and how a block is replaced."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parents[1]


ROOT = HERE.parent


def load_module(place: Path) -> ModuleType:
    """Return the module of a file that no package holds."""
    spec = importlib.util.spec_from_file_location(place.stem, place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[place.stem] = module
    spec.loader.exec_module(module)
    return module


def with_block(page: Path, block: str, marks: tuple[str, str]) -> str:
    """Return a page with what stands between two marks replaced."""
    return replaced(page.read_text(encoding="utf-8"), block, marks)


def replaced(text: str, block: str, marks: tuple[str, str]) -> str:
    """Return a text with what stands between two marks replaced."""
    head, rest = text.split(marks[0])
    return f"{head}{marks[0]}\n{block}{marks[1]}{rest.split(marks[1])[1]}"


def measured_on(environment: dict[str, Any], target: str) -> str:
    """Return the sentence on where, when and by which target something was measured."""
    shown = f"{environment['cpu']}, {environment['cores']} cores" if "cpu" in environment else ""
    return (
        f"Measured by `make {target}` on {environment['date']} at commit "
        f"{environment['commit']}; {shown}."
    )
