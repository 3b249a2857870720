"""How a result was made: versions, commit, machine, seeds, fingerprints, times.

Nothing in it says who made it or where: no host, no user, no path, no command line.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import charkit

PACKAGES = ("numpy", "pandas", "safetensors", "scikit-learn", "torch", "transformers")
"""The packages whose versions are recorded."""

RunState = Literal["done", "failed"]
"""Finished as asked; or stopped by an error, with what there was."""

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
"""The environment variables that limit the threads of numerical libraries."""


class Clock:
    """A start: make one when work begins, hand it to `run_manifest` when it ends.

    Attributes:
        started: When it was made, UTC.
    """

    def __init__(self) -> None:
        self.started = datetime.now(UTC)
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the start, untouched by changes of the system's time."""
        return time.perf_counter() - self._start


def run_manifest(
    config: Any,
    *,
    clock: Clock,
    seeds: Mapping[str, int],
    fingerprints: Mapping[str, str],
    device: str = "cpu",
    dtype: str = "float32",
    state: RunState = "done",
) -> dict[str, Any]:
    """Return what ``run.json`` holds besides the files; ``docs/store.md`` explains every field.

    Args:
        config: What determines the result; its `content_hash` is the key.
        clock: Made when the work began.
        seeds: What was drawn -> the seed.
        fingerprints: What was read -> its content hash.
        device: Where tensors lived, for instance ``"cuda:0"``.
        dtype: Their type, for instance ``"bfloat16"``.
        state: See `RunState`.
    """
    return {
        "config": config,
        "state": state,
        "seeds": dict(seeds),
        "fingerprints": dict(fingerprints),
        "device": device,
        "dtype": dtype,
        "threads": thread_counts(),
        "versions": package_versions(),
        "code": code_version(),
        "platform": {
            "system": platform.system(),
            "release": platform.release(),
            "machine": platform.machine(),
        },
        "time": {
            "started": clock.started.isoformat(timespec="milliseconds"),
            "ended": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "seconds": round(clock.seconds, 3),
        },
        "peak_bytes": peak_bytes(),
    }


@cache
def package_versions() -> dict[str, str | None]:
    """Return the versions of charkit, Python and `PACKAGES`; None for what is not installed."""
    found: dict[str, str | None] = {
        "charkit": charkit.__version__,
        "python": platform.python_version(),
    }
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


@cache
def code_version() -> dict[str, Any] | None:
    """Return commit and state of the git checkout that charkit itself runs from, else None.

    ``dirty`` says whether the package's own files differ from that commit. The user's working
    directory plays no role.
    """
    package = Path(charkit.__file__).resolve().parent
    if not (package.parent / ".git").exists():
        return None
    commit = _git(package, "rev-parse", "HEAD")
    changes = _git(package, "status", "--porcelain", "--", ".")
    if commit is None or changes is None:
        return None
    return {"commit": commit, "dirty": bool(changes)}


def thread_counts() -> dict[str, int | None]:
    """Return the available cores and the threads that numerical libraries may use.

    ``torch`` is None when torch was not loaded; the variables that are not set are left out.
    """
    torch = sys.modules.get("torch")
    counts: dict[str, int | None] = {
        "cores": available_cores(),
        "torch": None if torch is None else torch.get_num_threads(),
    }
    for name in THREAD_VARIABLES:
        value = os.environ.get(name, "")
        if value.isdigit():
            counts[name] = int(value)
    return counts


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_bytes() -> int | None:
    """Return the largest resident memory of this process so far, None where unknown.

    Linux's own counter comes first: getrusage hands a new process the peak of its parent.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        status = ""
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def _git(folder: Path, *arguments: str) -> str | None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        answer = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=True,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
