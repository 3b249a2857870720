"""Time and memory of reading a CSV file of 200,000 rows, against pyarrow's own reader.

Each reading runs in a process of its own: processor time, and how far its peak memory rises.

    python benchmarks/measure_tables.py [--out FILE] [--rows N]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _figures import environment, figure

N_WORDS = 38
KINDS = {"plain": "plain", "quoted": "quoted fields", "lines": "texts over several lines"}
READERS = ("pyarrow", "table", "columns")
TIMES = 3
"""How many times pyarrow's processor time a reading may take."""
MEMORIES = 2
"""How many times its memory."""


def write_file(path: Path, kind: str, n_rows: int) -> None:
    """Write made-up rows: plain, with quoted fields, or with texts over several lines as well."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(3, 10))) for _ in range(5_000)]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("id,text,label\n")
        for i in range(n_rows):
            text = " ".join(rng.choices(words, k=N_WORDS))
            if kind != "plain" and i % 4 == 0:
                text = '"' + text.replace(" ", ", ", 3) + ' ""so"""'
            elif kind == "lines" and i % 10 == 1:
                text = '"' + text.replace(" ", "\n", 2) + '"'
            file.write(f"{i},{text},{'abc'[i % 3]}\n")


def measure(path: Path, reader: str) -> dict[str, float]:
    """Read a file once in this process."""
    import pyarrow.csv as arrow_csv

    from charkit.tasks.readers.tables import read_table

    warm = path.with_name("warm.csv")
    warm.write_text("id,text,label\n1,a,b\n")
    read_table(warm).columns["text"]
    arrow_csv.read_csv(warm)
    start = peak_kilobytes()
    begin = time.process_time()
    if reader == "pyarrow":
        options = arrow_csv.ParseOptions(newlines_in_values=True)
        kept: Any = arrow_csv.read_csv(path, parse_options=options)
    else:
        kept = read_table(path)
        if reader == "columns":
            kept = [kept.columns["text"], kept.columns["label"]]
    seconds = time.process_time() - begin
    peak = peak_kilobytes()
    del kept
    return {"cpu_s": round(seconds, 3), "peak_mb": round((peak - start) / 1024, 1)}


def peak_kilobytes() -> int:
    """Return the peak memory of this program (Linux).

    ``ru_maxrss`` would hold the memory of the process that started this one.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def main() -> None:
    """Measure every reader on every kind of file, and write the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tables.json"))
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(Path(options.one[0]), options.one[1])))
        return
    details, figures = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for kind, words in KINDS.items():
            path = Path(folder) / f"{kind}.csv"
            write_file(path, kind, options.rows)
            found = {reader: best_of_three(path, reader) for reader in READERS}
            details[kind] = {"mb": round(path.stat().st_size / 1e6, 1), **found}
            path.unlink()
            ours, base = found["columns"], found["pyarrow"]
            name = f"{options.rows:,} rows of CSV, {words}"
            figures += [
                figure(f"{name}: processor time", ours["cpu_s"], "s", baseline=base["cpu_s"],
                       bar=TIMES, at_most=True),
                figure(f"{name}: peak memory", ours["peak_mb"], "MB", baseline=base["peak_mb"],
                       bar=MEMORIES, at_most=True),
            ]  # fmt: skip
    results = {
        "environment": environment(),
        "figures": [asdict(each) for each in figures],
        "details": {"rows": options.rows, **details},
    }
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


def best_of_three(path: Path, reader: str) -> dict[str, float]:
    """Return the run of least processor time, each in a new process."""
    command = [sys.executable, __file__, "--one", str(path), reader]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        for _ in range(3)
    ]
    return min(runs, key=lambda run: run["cpu_s"])


if __name__ == "__main__":
    main()
