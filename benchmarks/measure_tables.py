"""Time and memory of reading a CSV file of 200,000 rows, against pyarrow's own reader.

Each reading runs in a process of its own: processor time, and how far its peak memory rises.

    python benchmarks/measure_tables.py [--out FILE] [--rows N]
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _figures import environment

N_WORDS = 38
KINDS = ("plain", "quoted", "lines")
READERS = ("pyarrow", "table", "columns")


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

    from charkit.tasks.tables import read_table

    warm = path.with_name("warm.csv")
    warm.write_text("id,text,label\n1,a,b\n")
    read_table(warm).columns["text"]
    arrow_csv.read_csv(warm)
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    if reader == "pyarrow":
        options = arrow_csv.ParseOptions(newlines_in_values=True)
        kept: Any = arrow_csv.read_csv(path, parse_options=options)
    else:
        kept = read_table(path)
        if reader == "columns":
            kept = [kept.columns["text"], kept.columns["label"]]
    seconds = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    del kept
    return {"cpu_s": round(seconds, 3), "peak_mb": round((peak - start) / 1024, 1)}


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
    results: dict[str, Any] = {"environment": environment(), "rows": options.rows}
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            path = Path(folder) / f"{kind}.csv"
            write_file(path, kind, options.rows)
            found = {}
            for reader in READERS:
                command = [sys.executable, __file__, "--one", str(path), reader]
                runs = [
                    json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
                    for _ in range(3)
                ]
                found[reader] = min(runs, key=lambda run: run["cpu_s"])
            base = found["pyarrow"]
            ratios = {
                f"{reader}_{name}": round(found[reader][key] / base[key], 2)
                for reader in READERS[1:]
                for name, key in (("time", "cpu_s"), ("memory", "peak_mb"))
            }
            results[kind] = {"mb": round(path.stat().st_size / 1e6, 1), **found, "ratios": ratios}
            path.unlink()
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
