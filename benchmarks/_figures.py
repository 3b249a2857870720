"""What every measurement shares: the environment, the file of figures, the table."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"

PACKAGES = ("torch", "transformers", "sentence-transformers", "safetensors", "tokenizers",
            "numpy", "scipy", "scikit-learn", "pandas", "joblib")  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One published number.

    Attributes:
        name: What was measured.
        value: Ours.
        unit: Of value and baseline.
        baseline: The peer's, from the same run; None where there is none.
        ratio: value / baseline, or what `bar` is about.
        bar: What the ratio must reach (or stay under, if ``at_most``); None without a promise.
        holds: Whether it does; None without a promise.
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    bar: float | None = None
    holds: bool | None = None


def figure(
    name: str,
    value: float,
    unit: str,
    *,
    baseline: float | None = None,
    bar: float | None = None,
    at_most: bool = False,
) -> Figure:
    """Make a figure: the ratio is to the baseline, or the value itself where there is none."""
    ratio = None if baseline is None else value / baseline
    judged = value if ratio is None else ratio
    holds = None if bar is None else (judged <= bar if at_most else judged >= bar)
    return Figure(
        name=name,
        value=_rounded(value),
        unit=unit,
        baseline=None if baseline is None else _rounded(baseline),
        ratio=None if ratio is None else _rounded(ratio),
        bar=bar,
        holds=holds,
    )


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def environment() -> dict[str, object]:
    """Return on what this ran; no paths, no names of hosts or users."""
    import torch

    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "changed_since_commit": bool(_git("status", "--porcelain", "--", "charkit")),
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cpu_flags": _cpu_flags(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent.parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _cpuinfo(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((x.split(":", 1)[1].strip() for x in lines if x.startswith(field)), "")


def _cpu_model() -> str:
    return _cpuinfo("model name") or platform.processor()


def _cpu_flags() -> list[str]:
    telling = {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8"}
    return sorted(telling & set(_cpuinfo("flags").split()))


def write_figures(
    path: Path, figures: list[Figure], *, details: dict[str, object] | None = None
) -> None:
    """Write figures with their environment beside them, whole or not at all.

    Args:
        path: The JSON file.
        figures: What is published.
        details: Further numbers for who wants to look closer.
    """
    content = {"environment": environment(), "figures": [asdict(f) for f in figures]}
    if details is not None:
        content["details"] = details
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    os.replace(temporary, path)


def print_table(figures: list[Figure]) -> None:
    """Print the figures as a table."""
    print(f"{'figure':62} {'value':>10} {'baseline':>10} {'ratio':>7} {'bar':>6}  holds")
    for f in figures:
        cells = ["" if v is None else f"{v:,.4g}" for v in (f.value, f.baseline, f.ratio, f.bar)]
        holds = {True: "yes", False: "NO", None: ""}[f.holds]
        name = f"{f.name} [{f.unit}]"
        print(f"{name:62.62} {cells[0]:>10} {cells[1]:>10} {cells[2]:>7} {cells[3]:>6}  {holds}")


def interleaved(runs: dict[str, Callable[[], object]], *, repeats: int) -> dict[str, float]:
    """Time several things in turn, so that a busy moment hits all of them alike.

    Args:
        runs: Name -> what to time; each is called once unmeasured first.
        repeats: Rounds.

    Returns:
        Name -> median of the wall seconds.
    """
    import time

    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}
