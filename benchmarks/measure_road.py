"""The whole road: seconds and peak memory of the demo and of the pilot, first and again.

Every run starts in a fresh process with a store of its own. Peak memory is the largest sum of
the resident memory of all its processes, looked at ten times a second; pages that processes
share count for each. The pilot's second run must take seconds and write the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from _figures import RESULTS, figure, print_table, write_figures

ROOT = Path(__file__).resolve().parent.parent
DEMO_S, PILOT_S, AGAIN_S, PEAK_GB = 300.0, 1500.0, 60.0, 4.0


@dataclass(frozen=True)
class Run:
    seconds: float
    peak_bytes: int
    table: str


def road(command: list[str], *, cache: Path, out: Path, table: str) -> Run:
    environment = os.environ | {"CHARKIT_CACHE": str(cache)}
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=environment)
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident(process.pid))
        time.sleep(0.1)
    seconds = time.perf_counter() - begun
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    digest = hashlib.sha256((out / table).read_bytes()).hexdigest()
    return Run(seconds, peak, digest)


def resident(pid: int) -> int:
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        return total
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=Path, help="folder of real tasks, for the pilot")
    parser.add_argument("--smoke", action="store_true", help="the demo alone; writes nothing")
    given = parser.parse_args()
    figures = []
    details: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        demo = road(
            ["glue_pilot.demo"],
            cache=place / "demo",
            out=ROOT / "results" / "demo",
            table="smoke.parquet",
        )
        figures += [
            figure("demo", demo.seconds, "s", bar=DEMO_S, at_most=True),
            figure("demo: peak memory", demo.peak_bytes / 1e9, "GB", bar=PEAK_GB, at_most=True),
        ]
        if given.tasks is not None and not given.smoke:
            out = place / "results"
            command = ["glue_pilot", "run", "glue_pilot/study.toml", "--quiet"]
            command += ["--tasks", str(given.tasks.resolve()), "--out", str(out)]
            first = road(command, cache=place / "pilot", out=out, table="pilot.parquet")
            again = road(command, cache=place / "pilot", out=out, table="pilot.parquet")
            details["sha256_of_the_pilots_table"] = first.table
            figures += [
                figure("pilot", first.seconds, "s", bar=PILOT_S, at_most=True),
                figure(
                    "pilot: peak memory", first.peak_bytes / 1e9, "GB", bar=PEAK_GB, at_most=True
                ),
                figure("pilot again", again.seconds, "s", bar=AGAIN_S, at_most=True),
                figure(
                    "pilot again: equal tables", float(first.table == again.table), "share", bar=1.0
                ),
            ]
    print_table(figures)
    if not given.smoke:
        write_figures(RESULTS / "road.json", figures, details=details)


if __name__ == "__main__":
    main()
