"""Processor time of `charkit estimate`, cold and again, each run in a process of its own.

User and system time of the whole process, imports included, one thread, float32: no entry in the
store, then a second run that finds everything. Where no real tasks are given, generated ones of
about the same size stand for them.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from _figures import RESULTS, Figure, figure, print_table, write_figures

from charkit.tasks import load_task

# name: real task, generated task, labelled rows, unlabelled rows, seconds promised for a cold run
CASES = {
    "6 classes": ("trec6", "generated/topic?n_train=700", 300, 300, 10.0),
    "77 classes": ("banking77", "generated/topic?n_train=1100", 600, 400, 35.0),
}
AGAIN_S = 3.0


def write_sample(source: str, folder: Path, n: int, n_unlabelled: int) -> list[str]:
    """Write labelled and unlabelled rows as CSV, and return the arguments that name them."""
    train = load_task(source).train
    rows = np.random.default_rng(0).permutation(len(train))
    texts = np.array(train.texts, object)[rows]
    labels = np.array(train.labels)[rows]
    labelled, others = folder / "labelled.csv", folder / "unlabelled.csv"
    pd.DataFrame({"text": texts[:n], "label": labels[:n]}).to_csv(labelled, index=False)
    pd.DataFrame({"text": texts[n : n + n_unlabelled]}).to_csv(others, index=False)
    named = ["--text", "text", "--label", "label", "--eval", str(others)]
    return [str(labelled), *named, "--kind", "classification"]


def processor_seconds(arguments: list[str], cache: Path) -> float:
    """Run the command and return its user and system time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "charkit", "estimate", *arguments]
    env = {**os.environ, "CHARKIT_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--dtype", "float32", "--format", "json"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in {0, 5}:  # 5: an answer that is not trustworthy
        raise SystemExit(f"estimate ended with {done.returncode}:\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure(tasks: Path | None, *, smoke: bool) -> list[Figure]:
    figures = []
    for name, (real, generated, n, n_unlabelled, promised) in CASES.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            if smoke:
                n, n_unlabelled = 60, 40
            source = generated if tasks is None else str(tasks / real)
            arguments = write_sample(source, folder, n, n_unlabelled)
            cold = processor_seconds(arguments, folder / "cache")
            again = processor_seconds(arguments, folder / "cache")
        what = f"{n} + {n_unlabelled} texts" + (f", {name}" if tasks is not None else ", generated")
        figures += [
            figure(f"cold, {what}", cold, "s", bar=promised, at_most=True),
            figure(f"second run, {what}", again, "s", bar=AGAIN_S, at_most=True),
        ]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=Path, help="folder of real tasks")
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    import_s = processor_of_imports()
    figures = [
        *measure(given.tasks, smoke=given.smoke),
        figure("only importing torch, transformers and pandas", import_s, "s"),
    ]
    print_table(figures)
    if not given.smoke:
        write_figures(RESULTS / "estimate.json", figures)


def processor_of_imports() -> float:
    """Return what no answer can do without, so that machines can be compared."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = "import pandas, torch; from transformers import AutoTokenizer, BertModel"
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    main()
