"""How long a sweep will take and how much disk it needs, before it is run."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from charkit.encoders.device import torch_dtype
from charkit.encoders.encoder import Encoder
from charkit.heads.sweep.grid import SweepPlan
from charkit.heads.sweep.job import expected_share
from charkit.heads.sweep.plan import Job, Machines, usable_sizes
from charkit.store.manifest import available_cores
from charkit.tasks import Split
from charkit.tasks.card import LazyTask

HEAD_S = 0.0105
"""Seconds of one thread for a head on 256 rows of width 384, two classes, its strength chosen."""

BY_ROWS, BY_WIDTH, BY_CLASSES = 0.70, 0.69, 0.44
"""Powers of the rows, the width and of one less than the classes by which the seconds grow.

All four are fitted to the 1,890 heads of `make bench` (benchmarks/results/heads.json, which a test
holds them to); a cell of 16 to 4,096 rows and 2 to 77 classes takes 0.5 to 2 times as long.
"""


def head_seconds(n_rows: int, *, width: int, n_classes: int) -> float:
    """Return about how many seconds of one thread a head takes.

    >>> head_seconds(256, width=384, n_classes=2) == HEAD_S
    True

    Args:
        n_rows: Training rows.
        width: Width of the encoder's states.
        n_classes: Classes; 0 for regression.
    """
    rows, others = max(n_rows, 1) / 256, max(n_classes - 1, 1)
    return float(HEAD_S * rows**BY_ROWS * (max(width, 1) / 384) ** BY_WIDTH * others**BY_CLASSES)


def heads_seconds(sizes: Sequence[int], *, n_layers: int, width: int, n_classes: int) -> float:
    """Return about how many seconds of one thread the heads of one draw take.

    Args:
        sizes: Its training sizes.
        n_layers: Layers that are read.
        width: Width of the encoder's states.
        n_classes: Classes; 0 for regression.
    """
    return n_layers * sum(head_seconds(n, width=width, n_classes=n_classes) for n in sizes)


CHARS_PER_TOKEN = 4.0
"""English text in WordPiece: 3.9 to 4.6 over the GLUE tasks; the lower end overestimates time."""

ENCODE_EFFICIENCY = {"float32": 0.6, "bfloat16": 0.25}
"""Achieved share of the matrix-product rate while encoding, on the low side."""


@dataclass(frozen=True)
class TaskEstimate:
    """What one task will cost.

    Attributes:
        task: Its name.
        n_cells: Rows that it adds to the table.
        n_jobs: Its jobs.
        n_found: Jobs that the store has already.
        encode_s: Seconds of encoding.
        heads_s: Seconds of training heads, all processes together at work.
        disk_bytes: New bytes in the store.
    """

    task: str
    n_cells: int
    n_jobs: int
    n_found: int
    encode_s: float
    heads_s: float
    disk_bytes: int


@dataclass(frozen=True)
class Estimate:
    """What a sweep will cost.

    Attributes:
        tasks: One estimate a task.
        devices: One line an encoder: device and number format, and why.
        machines: Those that it is for; None for this one, a process a core.
    """

    tasks: tuple[TaskEstimate, ...]
    devices: tuple[str, ...]
    machines: Machines | None = None

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a task."""
        return [
            {
                "task": t.task,
                "cells": t.n_cells,
                "jobs": t.n_jobs,
                "in store": t.n_found,
                "minutes": (t.encode_s + t.heads_s) / 60,
                "disk MB": t.disk_bytes / 1e6,
            }
            for t in self.tasks
        ]

    def total(self) -> dict[str, float]:
        """Return the sums over tasks: cells, minutes, bytes."""
        return {
            "cells": sum(t.n_cells for t in self.tasks),
            "minutes": sum(t.encode_s + t.heads_s for t in self.tasks) / 60,
            "disk_bytes": sum(t.disk_bytes for t in self.tasks),
        }

    def lines(self) -> list[str]:
        """Return the sums and the devices, for people."""
        total = self.total()
        found, n_jobs = (sum(getattr(t, n) for t in self.tasks) for n in ("n_found", "n_jobs"))
        there = f" ({found} of {n_jobs} jobs are in the store already)" if found else ""
        first = (
            f"{total['cells']:,} cells{there}, about {duration(60 * total['minutes'])} of work, "
            f"{total['disk_bytes'] / 1e6:,.0f} MB of disk"
        )
        if self.machines is None:
            return [first, *self.devices]
        encode_s, heads_s = (
            sum(getattr(t, n) for t in self.tasks) for n in ("encode_s", "heads_s")
        )
        return [first, *self.machines.lines(encode_s, heads_s), *self.devices]


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it.

    >>> duration(5.2), duration(600), duration(9000)
    ('6 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def estimate(plan: SweepPlan, *, machines: Machines | None = None) -> Estimate:
    """Estimate what a plan will cost; a quarter of a second of matrix products is timed.

    Times are good to a factor of two on a quiet machine. No text is opened whose card is known.

    Args:
        plan: From `charkit.heads.sweep.sweep.plan_sweep`.
        machines: Where it is to run; None means this machine, a process a core.
    """
    rates = {e.name: matmul_rate(e.device, e.dtype) for e in plan.encoders}
    n_cores = available_cores()
    if machines is not None:
        rates = {name: machines.products(rate) for name, rate in rates.items()}
        n_cores = machines.n_cores
    tasks = tuple(_task(plan, task, rates, n_cores) for task in plan.tasks)
    devices = tuple(f"{e.name}: {e.device_reason}; {e.dtype_reason}" for e in plan.encoders)
    return Estimate(tasks, devices, machines)


def matmul_rate(device: str, dtype: str, *, seconds: float = 0.2) -> float:
    """Return the measured rate of matrix products in floating-point operations a second."""
    size = 1024
    matrix = torch.ones(size, size, device=device, dtype=torch_dtype(dtype))
    matrix @ matrix
    count, begun = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < seconds:
        result = matrix @ matrix
        float(result[0, 0])  # waits for the device
        count += 1
    return 2.0 * size**3 * max(count, 1) / max(elapsed, 1e-9)


def encode_seconds(encoder: Encoder, tokens: float, rate: float) -> float:
    """Return about how long a forward pass takes.

    A layer multiplies each token with matrices of 12 width^2 numbers, two operations a number.

    Args:
        encoder: The encoder.
        tokens: Number of tokens.
        rate: From `matmul_rate`, for the encoder's device and dtype.
    """
    operations = 24.0 * encoder.n_layers * encoder.shape.width**2 * tokens
    return operations / (rate * ENCODE_EFFICIENCY.get(encoder.dtype, 0.3))


def n_tokens(split: Split, n: int, *, max_length: int) -> float:
    """Return about how many tokens n texts like those of a part have.

    Args:
        split: Texts; their lengths are counted in characters.
        n: Number of texts.
        max_length: Most tokens of a text.
    """
    if not len(split):
        return 0.0
    most = max_length * CHARS_PER_TOKEN
    pairs = split.pairs or ("",) * len(split)
    sizes = [min(len(a) + len(b), most) for a, b in zip(split.texts, pairs, strict=True)]
    return n * sum(sizes) / len(sizes) / CHARS_PER_TOKEN


def _task(plan: SweepPlan, task: LazyTask, rates: dict[str, float], n_cores: int) -> TaskEstimate:
    jobs = plan.jobs_of(task)
    missing = plan.missing(jobs)
    encoders = {e.name: e for e in plan.encoders}
    to_do = {job.key for job in missing}
    probes = _probes(missing)
    if expected_share(plan, task) == 1.0:  # all texts are encoded, where one job is done
        probes -= _probes([job for job in jobs if job.key not in to_do])
    sizes = {j.key: _sizes(j) for j in jobs}
    heads_s = sum(_heads_seconds(j, sizes[j.key], encoders[j.probe.encoder].width) for j in missing)
    return TaskEstimate(
        task=task.card.name,
        n_cells=sum(len(j.layers) * len(sizes[j.key]) for j in jobs),
        n_jobs=len(jobs),
        n_found=len(jobs) - len(missing),
        encode_s=sum(
            _encode_seconds(encoders[name], plan, task, rates[name]) for name, _ in probes
        ),
        heads_s=heads_s / n_cores,
        disk_bytes=sum(_state_bytes(encoders[name], plan, task) for name, _ in probes),
    )


def _probes(jobs: Iterable[Job]) -> set[tuple[str, str]]:
    """Return the encoders whose states some jobs read; where one is done, the states are there."""
    return {(j.probe.encoder, j.probe.fingerprint) for j in jobs if j.control != "majority"}


def _sizes(job: Job) -> tuple[int, ...]:
    return usable_sizes(job.sizes, n_train=job.card.n_train, n_classes=job.card.n_classes)


def _heads_seconds(job: Job, sizes: tuple[int, ...], width: int) -> float:
    if job.control == "majority":
        return 0.0
    return heads_seconds(sizes, n_layers=len(job.layers), width=width, n_classes=job.card.n_classes)


def _encode_seconds(encoder: Encoder, plan: SweepPlan, task: LazyTask, rate: float) -> float:
    share = _n_texts(plan, task) / (task.card.n_train + task.card.n_eval)
    longest = encoder.text_length(plan.settings.max_length) * CHARS_PER_TOKEN  # the rest is cut
    tokens = share * task.card.chars_within(math.ceil(longest)) / CHARS_PER_TOKEN
    return encode_seconds(encoder, tokens, rate)


def _n_texts(plan: SweepPlan, task: LazyTask) -> float:
    return expected_share(plan, task) * task.card.n_train + task.card.n_eval


def _state_bytes(encoder: Encoder, plan: SweepPlan, task: LazyTask) -> int:
    itemsize = 2 if encoder.dtype == "bfloat16" else 4
    return round(_n_texts(plan, task) * (encoder.n_layers + 1) * encoder.width * itemsize)
