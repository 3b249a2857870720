"""Seconds of exact Fisher embeddings against their floor, the batch-1 loop, and other libraries.

Seconds are medians of rounds in which all contestants take turns; those of the processor, over its
cores, stand in the details. The floor is one forward and one backward pass over the same
batches with frozen weights and whichever attention is faster. A peer is timed only after its row
means were found equal to 1e-5; one that fails is listed with its reason.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _early_stop import cosine, measure_early_stop
from _figures import RESULTS, Figure, figure, print_table, write_figures
from _fisher_peers import PEERS, Probe, floor, loop

from charkit.answers.embedding.heads import fit_heads
from charkit.encoders import Encoder, encode, load_encoder
from charkit.encoders.tokens import tokenise
from charkit.fisher import FisherOptions, Head, fisher_embedding, fisher_embeddings
from charkit.store.manifest import available_cores
from charkit.tasks import load_task
from charkit.tasks.generated.suite import generated_task
from charkit.tasks.task import Split, Task

LENGTHS = (32, 64, 128)
DTYPES = ("float32", "bfloat16")
TASKS = ("glue_sst2", "trec6", "subj")
GENERATED = ("sentiment", "topic", "acceptability")
MEMORY_TEXTS = (500, 4000)
SLOW_PEERS = ("laplace", "laplace with curvlinops")


@dataclass(frozen=True)
class Sample:
    """Texts and the head of each layer."""

    split: Split
    heads: dict[int, Head]
    max_length: int = 128

    @property
    def options(self) -> FisherOptions:
        return FisherOptions(max_length=self.max_length)


def open_tasks(folder: Path | None) -> list[Task]:
    if folder is None:
        return [generated_task(name, n_train=1500) for name in GENERATED]
    return [load_task(folder / name) for name in TASKS]


def cut(split: Split, n: int, *, seed: int = 0, start: int = 0) -> Split:
    keep = np.random.default_rng(seed).permutation(len(split.texts))[start : start + n]
    pairs = None if split.pairs is None else tuple(split.pairs[i] for i in keep)
    labels = None if split.labels is None else split.labels[keep]
    return Split(tuple(split.texts[i] for i in keep), pairs, labels)


def sampled(encoder: Encoder, task: Task, n: int) -> Sample:
    """Heads of all layers, fitted to n texts, and these texts."""
    train = cut(task.train, n)
    heads = fit_heads(
        encode(encoder, train, max_length=128),
        train.labels,
        layers=range(1, encoder.n_layers + 1),
        kind=task.kind,
        n_classes=task.n_classes,
    )
    return Sample(train, heads)


def of_length(sample: Sample, length: int, n: int) -> Sample:
    """Texts of one length: several joined, and cut."""
    texts = sample.split.texts
    joined = [" ".join(texts[(i + k) % len(texts)] for k in range(length)) for i in range(n)]
    return Sample(Split(tuple(joined), None, None), sample.heads, length)


def embed(encoder: Encoder, sample: Sample) -> Any:
    last = encoder.n_layers
    return fisher_embedding(encoder, sample.split, sample.heads[last], options=sample.options)


def paced(runs: dict[str, Callable[[], object]], *, repeats: int) -> dict[str, tuple[float, float]]:
    """Return the medians of wall seconds, and of processor seconds over cores, in turns."""
    cores = min(available_cores(), torch.get_num_threads())
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for turn in range(repeats):
        for name in list(runs)[:: 1 if turn % 2 else -1]:
            wall, own = time.perf_counter(), time.process_time()
            runs[name]()
            own, wall = time.process_time() - own, time.perf_counter() - wall
            seconds[name].append((wall, own / cores))
    return {
        name: (statistics.median(w for w, _ in found), statistics.median(p for _, p in found))
        for name, found in seconds.items()
    }


def floor_figures(
    encoders: dict[str, Encoder], samples: dict[str, Sample], *, repeats: int
) -> tuple[list[Figure], dict]:
    figures, details = [], {}
    for name, sample in samples.items():
        runs: dict[str, Callable[[], object]] = {}
        for dtype, encoder in encoders.items():
            head = sample.heads[encoder.n_layers]
            runs[f"charkit {dtype}"] = partial(embed, encoder, sample)
            for attention in ("eager", "sdpa"):
                runs[f"floor {dtype} {attention}"] = floor(
                    encoder, sample.split, head, attention=attention, max_length=sample.max_length
                )
        took = paced(runs, repeats=repeats)
        for dtype, bar in (("float32", 1.2), ("bfloat16", 1.3)):
            least = min(took[f"floor {dtype} {a}"][0] for a in ("eager", "sdpa"))
            figures.append(
                figure(
                    f"{name}: {dtype} / its floor",
                    took[f"charkit {dtype}"][0],
                    "s",
                    baseline=least,
                    bar=bar,
                    at_most=True,
                )
            )
        full, half = took["charkit float32"][0], took["charkit bfloat16"][0]
        figures.append(
            figure(f"{name}: float32 / bfloat16", full, "s", baseline=half, bar=_half_bar())
        )
        details[name] = {
            "n_texts": len(sample.split.texts),
            "texts_a_second": {k: len(sample.split.texts) / s[0] for k, s in took.items()},
            "seconds": {k: s[0] for k, s in took.items()},
            "processor_seconds": {k: s[1] for k, s in took.items()},
        }
    return figures, details


def _half_bar() -> float | None:
    try:
        return 2.0 if "amx_bf16" in Path("/proc/cpuinfo").read_text() else None
    except OSError:
        return None


def peer_figures(
    encoder: Encoder, samples: dict[str, Sample], *, repeats: int, n_texts: int
) -> tuple[list[Figure], dict]:
    figures, details = [], {}
    for name, sample in samples.items():
        shortest = sample.max_length == LENGTHS[0]
        head = sample.heads[encoder.n_layers]
        few = Sample(cut(sample.split, n_texts), sample.heads, sample.max_length)
        tokens = tokenise(encoder, few.split.texts, None, max_length=sample.max_length)
        ids = torch.from_numpy(tokens.batch(np.arange(n_texts))[0])
        expected = embed(encoder, few).values
        runs: dict[str, Callable[[], object]] = {"charkit": partial(embed, encoder, sample)}
        failed = {}
        for peer, make in PEERS.items():
            if not shortest and (peer in SLOW_PEERS or peer in details[str(LENGTHS[0])]["failed"]):
                continue
            some = ids[:2] if peer in SLOW_PEERS else ids
            try:
                run = make(Probe(encoder, head))  # its own: some leave hooks behind
                error = float(_gap(run(ids), expected))
                if error > 1e-5:
                    raise ValueError(f"row means are off by {error:.1e}, relative")
                runs[peer] = partial(run, some)
            except Exception as problem:  # a peer may fail in any way: the reason is the finding
                failed[peer] = f"{type(problem).__name__}: {problem}"[:300]
                print(f"{peer} left out at {name} tokens: {failed[peer]}", file=sys.stderr)
        runs["loop"] = partial(loop(Probe(encoder, head)), ids)
        took = paced(runs, repeats=repeats)
        count = {"charkit": len(sample.split.texts)} | {p: 2 for p in SLOW_PEERS}
        rates = {k: count.get(k, n_texts) / s[0] for k, s in took.items()}
        peers = {k: r for k, r in rates.items() if k not in ("charkit", "loop")}
        best = max(peers, key=peers.__getitem__)
        figures.append(
            figure(
                f"{name}: charkit / best peer ({best})",
                rates["charkit"],
                "texts/s",
                baseline=peers[best],
                bar=3.0,
            )
        )
        details[name] = {"texts_a_second": rates, "failed": failed}
    return figures, details


def _gap(found: np.ndarray, expected: np.ndarray) -> np.floating:
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def variance(encoder: Encoder, sample: Sample, estimator: str, *, seeds: int = 1) -> float:
    """Return the variance over texts and draws, summed over numbers, over the squared length."""
    head, found, lengths = sample.heads[encoder.n_layers], [], []
    for seed in range(seeds):
        options = FisherOptions(max_length=128, estimator=estimator, seed=seed)
        made = fisher_embedding(encoder, sample.split, head, options=options)
        found.append((made.standard_error**2).sum() * (made.n_samples - 1))
        lengths.append(made.values)
    mean = np.mean(lengths, axis=0)
    return float(np.mean(found) / (mean @ mean))


def accuracy_figures(
    encoder: Encoder, tasks: dict[str, Sample], *, repeats: int
) -> tuple[list[Figure], dict]:
    """Time to an embedding of equal accuracy: seconds a text times the variance of a text."""
    figures, details = [], {}
    for name, sample in tasks.items():
        head = sample.heads[encoder.n_layers]
        ours = "exact" if head.n_classes == 2 else "sketch"
        noise = {"monte_carlo": variance(encoder, sample, "monte_carlo", seeds=2)}
        noise[ours] = variance(encoder, sample, ours)
        tokens = tokenise(encoder, sample.split.texts, None, max_length=128)
        rows = range(min(15, len(tokens.lengths)))
        ids = [torch.from_numpy(tokens.batch(np.array([i]))[0]) for i in rows]
        step = loop(Probe(encoder, head))
        options = FisherOptions(max_length=128, estimator=ours)
        runs = {
            ours: partial(fisher_embedding, encoder, sample.split, head, options=options),
            "loop": lambda step=step, ids=ids: [step(one) for one in ids],
        }
        took = paced(runs, repeats=repeats)
        each = {ours: took[ours][0] / len(sample.split.texts), "loop": took["loop"][0] / len(ids)}
        figures.append(
            figure(
                f"{name} ({head.n_classes} classes): batch-1 loop / {ours}, equal accuracy",
                each["loop"] * noise["monte_carlo"],
                "s x variance",
                baseline=each[ours] * noise[ours],
                bar=15.0,
            )
        )
        details[name] = {"seconds_a_text": each, "relative_variance_a_text": noise}
    return figures, details


def precision_figures(encoders: dict[str, Encoder], tasks: dict[str, Sample]) -> list[Figure]:
    figures = []
    for name, sample in tasks.items():
        full, half = (embed(encoders[d], sample).values for d in DTYPES)
        norms = abs(np.linalg.norm(half) / np.linalg.norm(full) - 1)
        pairs = (("row means", _gap(half, full), 1.5e-2), ("norm", norms, 1e-3))
        figures += [
            figure(f"{name}: bfloat16, error of {what}", float(x), "share", bar=bar, at_most=True)
            for what, x, bar in pairs
        ]
    return figures


def head_figures(encoder: Encoder, samples: dict[str, Sample], *, repeats: int) -> list[Figure]:
    figures = []
    for name, sample in samples.items():
        runs: dict[str, Callable[[], object]] = {
            str(k): partial(
                fisher_embedding, encoder, sample.split, h, head_layer=k, options=sample.options
            )
            for k, h in sample.heads.items()
        }
        runs["together"] = partial(
            fisher_embeddings, encoder, sample.split, sample.heads, options=sample.options
        )
        took = paced(runs, repeats=repeats)
        apart = sum(s for k, (s, _) in took.items() if k != "together")
        title = f"{name}: heads of all layers together / apart"
        together = took["together"][0]
        figures.append(figure(title, together, "s", baseline=apart, bar=0.6, at_most=True))
    return figures


def stable_figures(encoder: Encoder, tasks: list[Task], *, n: int) -> list[Figure]:
    figures = []
    for task in tasks:
        whole = sampled(encoder, task, n)
        head = whole.heads[encoder.n_layers]
        if head.n_classes != 2:
            continue
        half = min(500, len(whole.split.texts) // 2)
        parts = [cut(task.train, half, start=s) for s in (0, half)]
        made = [fisher_embedding(encoder, p, head, options=whole.options) for p in parts]
        found = cosine(made[0].values, made[1].values)
        honest = found >= 0.99 or not all(m.stable for m in made)
        figures += [
            figure(f"{task.name}: cosine of two disjoint samples of {half}", found, "cosine"),
            figure(
                f"{task.name}: that reaches 0.99, or is called unstable", honest, "1 = so", bar=1
            ),
        ]
        stop = measure_early_stop(encoder, whole.split, head, seeds=(0,), options=whole.options)
        title = f"{task.name}: {stop.n_samples} texts / stopped at 0.99 after {stop.n_used}"
        figures.append(figure(title, stop.whole_s, "s", baseline=stop.stopped_s))
        figures.append(figure(f"{task.name}: stopped / all texts", stop.to_whole, "cosine"))
    return figures


def peak_mib(n_texts: int) -> float:
    """Return the peak memory of a process that embeds this number of texts."""
    command = [sys.executable, __file__, "--peak", str(n_texts)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_peak(n_texts: int) -> None:
    encoder = load_encoder(device="cpu", dtype="float32")
    words = ("time", "way", "year", "day", "thing", "man", "world", "life", "hand", "part")
    rng = np.random.default_rng(0)
    texts = tuple(" ".join(rng.choice(words, rng.integers(6, 15))) for _ in range(n_texts))
    head = Head(rng.standard_normal((2, encoder.width)), np.zeros(2))
    fisher_embedding(encoder, Split(texts, None, None), head)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def slope(counts: list[int], seconds: list[float]) -> float:
    return float(np.polyfit(np.log(counts), np.log(seconds), 1)[0])


def growth_figures(encoder: Encoder, sample: Sample, *, repeats: int) -> list[Figure]:
    n_texts, runs = len(sample.split.texts), {}
    sizes = [n_texts // 8, n_texts // 4, n_texts // 2, n_texts]
    for n in sizes:
        few = Sample(cut(sample.split, n), sample.heads, sample.max_length)
        runs[f"n{n}"] = partial(embed, encoder, few)
    for k, head in sample.heads.items():
        some = Sample(cut(sample.split, n_texts // 4), sample.heads, sample.max_length)
        runs[f"k{k}"] = partial(
            fisher_embedding, encoder, some.split, head, head_layer=k, options=some.options
        )
    took = {k: s[0] for k, s in paced(runs, repeats=repeats).items()}
    by_text = slope(sizes, [took[f"n{n}"] for n in sizes])
    layers = list(sample.heads)
    by_layer = slope(layers, [took[f"k{k}"] for k in layers])
    return [
        figure("growth with texts", by_text, "log-log slope"),
        figure("growth with layers", by_layer, "log-log slope"),
    ]


def say(started: float, stage: str) -> None:
    print(f"{time.perf_counter() - started:5.0f} s  {stage}", file=sys.stderr, flush=True)


def measure(given: argparse.Namespace) -> tuple[list[Figure], dict]:
    smoke = given.smoke
    repeats, n = (1, 60) if smoke else (given.repeats, 300)
    say_now = partial(say, time.perf_counter())
    encoders = {d: load_encoder(device="cpu", dtype=d) for d in DTYPES}
    full = encoders["float32"]
    opened = open_tasks(given.tasks)
    real = {t.name: sampled(full, t, n) for t in opened}
    first = next(s for s in real.values() if s.heads[full.n_layers].n_classes == 2)
    fixed = {str(t): of_length(first, t, max(16, (512 if smoke else 4096) // t)) for t in LENGTHS}
    varied = {name: s for name, s in real.items() if s is first}
    say_now("floor")
    figures, floors = floor_figures(encoders, fixed | varied, repeats=repeats)
    say_now("peers")
    more, peers = peer_figures(
        full, fixed, repeats=max(1, repeats // 2), n_texts=8 if smoke else 16
    )
    figures += more
    say_now("equal accuracy")
    more, accuracy = accuracy_figures(full, real, repeats=1)
    figures += more + precision_figures(encoders, real)
    say_now("heads together")
    figures += head_figures(full, {"64": fixed["64"]} | varied, repeats=max(1, repeats // 2))
    say_now("stability and early stop")
    figures += stable_figures(full, opened, n=200 if smoke else 1000)
    say_now("growth")
    figures += growth_figures(full, first, repeats=1)
    sizes = (50, 100) if smoke else MEMORY_TEXTS
    say_now("memory")
    peaks = [peak_mib(size) for size in sizes]
    title = f"peak memory, {sizes[1]} texts less {sizes[0]}"
    figures.append(figure(title, peaks[1] - peaks[0], "MiB", bar=32, at_most=True))
    details = {"texts": "real" if given.tasks else "generated", "floor": floors, "peers": peers}
    return figures, details | {
        "equal_accuracy": accuracy,
        "peak_mib": dict(zip(sizes, peaks, strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=Path, help="folder of real tasks; default: made-up texts")
    parser.add_argument("--smoke", action="store_true", help="small sizes, nothing is written")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        print_peak(given.peak)
        return
    warnings.simplefilter("ignore")  # the peers' own
    figures, details = measure(given)
    print_table(figures)
    if not given.smoke:
        write_figures(RESULTS / "fisher.json", figures, details=details)


if __name__ == "__main__":
    main()
