"""Executors, the head sweep in one and two processes, the store's list: ``make bench-scale``.

Every ratio is of one run: contestants take turns. The bar for Ray is about 10,000 cells of a tenth
of a second each, 17 minutes on two cores; ``--cells`` chooses how many are run, and the name of the
figure says it. Both engines are counted from the first result to the last, so that neither pays for
its start; Ray's own processes are there in the turns of the process pool as well.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from _figures import RESULTS, Figure, figure, print_table, write_figures
from _scale_jobs import CELL_S, burn, nothing

from charkit.config import content_hash
from charkit.encoders import encode, encode_to_store, load_encoder
from charkit.encoders.tokens import tokenise
from charkit.heads.sweep.grid import SweepPlan, SweepSettings, plan_sweep
from charkit.heads.sweep.sweep import run_sweep
from charkit.parallel import Executor, InProcess, Processes, run_jobs
from charkit.progress import Rate
from charkit.store.entry import run_text
from charkit.store.store import Store
from charkit.tasks import Task, generated_task

TASKS = ("sentiment", "acceptability", "paraphrase", "topic")
TURN = 250
N_WORKERS = 2


# -- engines ----------------------------------------------------------------------------


def seconds_a_cell(executor: Executor, job: Callable[[int], int], n: int) -> float:
    """Return the wall seconds of a job, from the first result to the last."""
    at: list[float] = []
    run_jobs(job, range(n), executor=executor, on_result=lambda *_: at.append(time.perf_counter()))
    return (at[-1] - at[0]) / (n - 1)


def engine_figures(n_cells: int, n_idle: int) -> tuple[list[Figure], dict[str, Any]]:
    """Ray against the process pool on cells of 0.1 s; both on jobs that do nothing."""
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    from charkit.parallel.ray_cluster import RayCluster

    ray.init(num_cpus=N_WORKERS, include_dashboard=False, log_to_driver=False, logging_level=30)
    engines: dict[str, Executor] = {"pool": Processes(N_WORKERS), "ray": RayCluster()}
    found: dict[str, list[float]] = {name: [] for name in engines}
    try:
        for engine in engines.values():
            run_jobs(nothing, range(100), executor=engine)
        n_turns = max(1, n_cells // TURN)
        for turn in range(n_turns):
            for name in sorted(engines, reverse=bool(turn % 2)):
                each = seconds_a_cell(engines[name], burn, min(TURN, n_cells))
                found[name].append(each)
        idle = {name: seconds_a_cell(engine, nothing, n_idle) for name, engine in engines.items()}
    finally:
        ray.shutdown()
    idle["in process"] = seconds_a_cell(InProcess(), nothing, n_idle)
    pool, on_ray = (statistics.mean(found[name]) for name in ("pool", "ray"))
    n_run = n_turns * min(TURN, n_cells)
    figures = [
        figure(
            f"Ray / process pool, {n_run:,} cells of {CELL_S} s, warm",
            1000 * on_ray,
            "ms a cell",
            baseline=1000 * pool,
            bar=1.1,
            at_most=True,
        ),
        *(
            figure(f"scheduling, {name}", 1000 * each, "ms a cell", bar=2.0, at_most=True)
            for name, each in idle.items()
        ),
    ]
    return figures, {"cells": n_run, "seconds_a_cell_by_turn": found, "idle_cells": n_idle}


# -- the sweep --------------------------------------------------------------------------


def tasks() -> list[Task]:
    return [generated_task(name, n_train=600, n_eval=100) for name in TASKS]


def plan(store: Store, n_seeds: int) -> SweepPlan:
    settings = SweepSettings(
        sizes=(16, 32, 64, 128, 256, 512),
        seeds=tuple(range(n_seeds)),
        controls=("shuffled_labels",),
    )
    encoder = load_encoder("minilm", device="cpu", dtype="float32")
    return plan_sweep(tasks(), encoder=encoder, settings=settings, store=store)


def timed_sweep(store: Store, executor: Executor, n_seeds: int) -> dict[str, Any]:
    """Fit the heads of a sweep whose texts are encoded; remaining times and memory on the way."""
    import psutil

    store.prune(kinds=["heads"])
    planned = plan(store, n_seeds)
    this = psutil.Process()
    steps: list[tuple[float, float, int]] = []

    def note(stage: str, done: int, total: int) -> None:
        if stage == "heads":
            workers = [
                w for w in this.children() if "resource_tracker" not in " ".join(w.cmdline())
            ]
            resident = sum(p.memory_info().rss for p in (this, *workers))
            steps.append((time.perf_counter(), done / total, resident))

    begun = time.perf_counter()
    result = run_sweep(planned, executor=executor, progress=note)
    seconds = time.perf_counter() - begun
    rate, end, wrong = Rate(), steps[-1][0], []
    for at, share, _ in steps:
        rate.note(at, share)
        left = rate.left(at)
        if left is not None and 0.1 <= share <= 0.9:
            wrong.append(abs(left / (end - at) - 1))
    memory = [bytes_ for *_, bytes_ in steps]
    tenth = max(1, len(memory) // 10)
    early, late = memory[tenth : 2 * tenth], memory[-2 * tenth : -tenth]  # workers are all there
    return {
        "cells": len(result.table),
        "seconds": seconds,
        "remaining_time_off_at_most": max(wrong, default=0.0),
        "memory_growth": max(late) / max(early) if early and late else 1.0,
        "memory_mb": [round(m / 1e6) for m in memory[:: max(1, len(memory) // 20)]],
    }


def separate_sweep(root: Path, n_seeds: int) -> float:
    """Return the seconds of a sweep with its own store, its texts encoded before."""
    store = Store(root)
    encoded(store)
    return float(timed_sweep(store, InProcess(), n_seeds)["seconds"])


def machine_limit(root: Path, n_seeds: int) -> float:
    """Return how many times one process two are when they share no work and no store.

    Two cores share memory and caches, and some share a core's arithmetic as well: twice the
    processes are rarely twice the speed.
    """
    one = separate_sweep(root / "one", n_seeds)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(N_WORKERS, mp_context=context) as pool:
        runs = [pool.submit(separate_sweep, root / str(i), n_seeds) for i in range(N_WORKERS)]
        return N_WORKERS * one / max(run.result() for run in runs)


def encoded(store: Store) -> None:
    """Fill a store with the states that the sweep reads."""
    encoder = load_encoder("minilm", device="cpu", dtype="float32")
    for task in tasks():
        for split in (task.train, task.evaluation):
            encode_to_store(encoder, split, store=store)


def sweep_figures(store: Store, n_seeds: int) -> tuple[list[Figure], dict[str, Any]]:
    encoded(store)
    two = timed_sweep(store, Processes(N_WORKERS), n_seeds)
    one = timed_sweep(store, InProcess(), n_seeds)
    limit = machine_limit(store.root.parent / "limit", max(1, n_seeds // 3))
    cells = f"{one['cells']:,} cells"
    return [
        figure(
            f"head sweep, two processes / one, {cells}, start included",
            one["cells"] / two["seconds"],
            "cells a second",
            baseline=one["cells"] / one["seconds"],
            bar=1.8,
        ),
        figure("two sweeps at once that share nothing / one: this machine's limit", limit, "times"),
        *(
            figure(
                f"remaining time after the first tenth, {name}: off by at most",
                run["remaining_time_off_at_most"],
                "share",
                bar=0.3,
                at_most=True,
            )
            for name, run in (("one process", one), ("two processes", two))
        ),
        *(
            figure(
                f"memory late / early in {cells}, {name}",
                run["memory_growth"],
                "times",
                bar=1.05,
                at_most=True,
            )
            for name, run in (("one process", one), ("two processes", two))
        ),
    ], {"one": one, "two": two}


# -- growth -----------------------------------------------------------------------------


def slope(sizes: list[int], seconds: list[float]) -> dict[str, Any]:
    """Return the slope of seconds over sizes, both in logarithms, with its 90 % interval."""
    from scipy import stats

    fit = stats.linregress(np.log(sizes), np.log(seconds))
    half = float(stats.t.ppf(0.95, max(1, len(sizes) - 2)) * fit.stderr)
    return {
        "sizes": sizes,
        "seconds": [round(s, 4) for s in seconds],
        "slope": round(float(fit.slope), 3),
        "interval": [round(float(fit.slope) - half, 3), round(float(fit.slope) + half, 3)],
    }


def growth(store: Store, *, smoke: bool) -> dict[str, Any]:
    """Time encoding and heads on runs of growing size; a slope of 1 is what the model assumes."""
    encoder = load_encoder("minilm", device="cpu", dtype="float32")
    texts = [64, 128, 256, 512] if smoke else [256, 512, 1024, 2048, 4096]
    split = generated_task("topic", n_train=texts[-1], n_eval=20).train
    encode(encoder, split.take(np.arange(64)))
    encoding, n_tokens = [], 0
    for n in texts:
        part = split.take(np.arange(n))
        begun = time.perf_counter()
        states = encode(encoder, part)
        encoding.append(time.perf_counter() - begun)
        n_tokens = int(states.n_tokens.sum())
    seeds = [1, 2, 3] if smoke else [1, 2, 4]
    heads = [timed_sweep(store, InProcess(), n) for n in seeds]
    begun = time.perf_counter()
    tokenised = int(tokenise(encoder, split.texts, None, max_length=256).lengths.sum())
    tokenising = time.perf_counter() - begun
    rates = {
        "tokenised_a_second": round(tokenised / tokenising),
        "written_a_second": round(written_a_second(store.root, 2**24 if smoke else 2**29)),
    }
    return {
        "rates": rates,
        "encode": slope(texts, encoding) | {"tokens_a_second": round(n_tokens / encoding[-1])},
        "heads": slope([run["cells"] for run in heads], [run["seconds"] for run in heads]),
    }


def written_a_second(folder: Path, n_bytes: int) -> float:
    """Return bytes a second of one file that is written and known to be on disk."""
    place = folder / "rate.tmp"
    block = np.random.default_rng(0).bytes(2**22)
    begun = time.perf_counter()
    with place.open("wb") as file:
        for _ in range(n_bytes // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - begun
    place.unlink()
    return n_bytes / seconds


# -- the store --------------------------------------------------------------------------


def fill(root: Path, first: int, n: int) -> list[str]:
    """Write finished entries as the store does, but not one by one to disk; return their keys."""
    home = root / "heads"
    (home / ".locks").mkdir(parents=True, exist_ok=True)
    keys = []
    table, rows = b"t" * 400, b"r" * 400
    files = {"rows.safetensors": rows, "table.parquet": table}
    listed = {name: {"bytes": len(data), "sha256": "0" * 64} for name, data in files.items()}
    for number in range(first, first + n):
        config = {"number": number}
        key = content_hash(config)
        text = run_text(
            "heads", key, created="2026-01-01T00:00:00+00:00", files=listed,
            fields={"config": config},
        )  # fmt: skip
        folder = home / key
        folder.mkdir()
        for name, data in (files | {"run.json": text.encode()}).items():
            (folder / name).write_bytes(data)
        keys.append(key)
    return keys


def store_figures(root: Path, sizes: list[int]) -> tuple[list[Figure], dict[str, Any]]:
    store, keys, seconds = Store(root), [], []
    for size in sizes:
        keys += fill(root, len(keys), size - len(keys))
        store.entries()  # writes the index
        times = []
        for _ in range(3):
            begun = time.perf_counter()
            assert len(store.entries()) == size
            times.append(time.perf_counter() - begun)
        seconds.append(statistics.median(times))
    asked = keys[:: max(1, len(keys) // 1000)]
    begun = time.perf_counter()
    for key in asked:
        assert store.find("heads", key) is not None
    each = (time.perf_counter() - begun) / len(asked)
    return [
        figure(f"list of {sizes[-1]:,} entries", seconds[-1], "s", bar=2.0, at_most=True),
        figure(f"find among {sizes[-1]:,} entries", 1000 * each, "ms", bar=1.0, at_most=True),
    ], slope(sizes, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1500, help="cells of the comparison with Ray")
    parser.add_argument("--smoke", action="store_true", help="small sizes, nothing is published")
    parser.add_argument("--out", type=Path, default=RESULTS / "scale.json")
    given = parser.parse_args()
    smoke = given.smoke
    figures: list[Figure] = []
    details: dict[str, Any] = {}

    def add(name: str, made: tuple[list[Figure], dict[str, Any]]) -> None:
        figures.extend(made[0])
        details[name] = made[1]
        print_table(made[0])

    with tempfile.TemporaryDirectory() as place:
        store = Store(Path(place) / "sweep")
        add("sweep", sweep_figures(store, 2 if smoke else 30))
        add("growth", ([], growth(store, smoke=smoke)))
        sizes = [100, 300, 1000] if smoke else [1000, 10_000, 100_000]
        add("store", store_figures(Path(place) / "many", sizes))
    add("engines", engine_figures(20 if smoke else given.cells, 200 if smoke else 5000))
    if smoke:
        print(json.dumps(details, indent=1))
    else:
        write_figures(given.out, figures, details=details)


if __name__ == "__main__":
    main()
