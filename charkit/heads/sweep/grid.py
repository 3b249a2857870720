"""What a sweep will compute: a grid of tasks, encoders and settings, as jobs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

from charkit.config import Control, Pooling, note
from charkit.encoders.encoder import Encoder
from charkit.encoders.load import EncoderChoice, LazyEncoder, loaded, named_apart
from charkit.errors import DataError, UnknownNameError, UsageError
from charkit.heads.metrics.influence import CLASS_METRICS
from charkit.heads.sweep.plan import (
    Job,
    Probe,
    check_controls,
    check_layers,
    check_seeds,
    check_sizes,
    usable_sizes,
)
from charkit.parallel import Shard
from charkit.store.store import Store
from charkit.tasks.card import LazyTask, TaskCard
from charkit.tasks.readers.tables import is_data
from charkit.tasks.task import Metric

logger = logging.getLogger(__name__)

# A correlation of two points is always 1 or -1: three are the fewest that can disagree.
_FEWEST_TARGETS = 3

Source = Any
"""Whatever `charkit.load_task` takes: a path, a name, a frame or other data; or a task, read or
still to be read (`charkit.tasks.card.LazyTask`)."""

ALL_CONTROLS: tuple[Control, ...] = ("none", "random_encoder", "shuffled_labels", "majority")
# One draw stands for all: others differ by less than the draws of the texts (docs/decisions.md).
RANDOM_ENCODER_SEED = 0


@dataclass(frozen=True)
class SweepSettings:
    """The grid of a sweep, apart from tasks and encoders.

    Attributes:
        layers: Layers to read, 0 = embeddings, negative from the last, a float as a share of the
            depth; None means all.
        sizes: Training sizes; empty means 16, doubled, and the whole sample.
        seeds: Draws of the training texts.
        subsets: Parts of each task, see `charkit.tasks.make_subset`.
        controls: Controls next to the real thing.
        metric: What scores are and layers are chosen by; None means each task's own metric.
        pooling: How token states become one vector.
        max_length: Longest text in tokens; None means the encoder's own choice.
    """

    layers: tuple[int | float, ...] | None = None
    sizes: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    subsets: tuple[str, ...] = ("all",)
    controls: tuple[str, ...] = ALL_CONTROLS
    metric: str | None = None
    pooling: Pooling = "mean"
    max_length: int | None = None


@dataclass(frozen=True, eq=False)
class SweepPlan:
    """The jobs of a sweep, and which of them the store already has.

    Attributes:
        tasks: The tasks, not necessarily opened.
        encoders: The encoders.
        settings: The grid.
        store: Where results are stored.
        shard: Which part of the jobs; None for all.
    """

    tasks: tuple[LazyTask, ...]
    encoders: tuple[Encoder, ...]
    settings: SweepSettings
    store: Store
    shard: Shard | None = None

    @cached_property
    def probes(self) -> dict[str, tuple[Encoder, Probe, Probe]]:
        """Per encoder: itself, its probe, and the probe of its random twin."""
        found = {}
        for encoder in self.encoders:
            found[encoder.name] = (
                encoder,
                self._probe(encoder, encoder.fingerprint),
                self._probe(encoder, f"random{RANDOM_ENCODER_SEED}:{encoder.fingerprint}"),
            )
        return found

    def _probe(self, encoder: Encoder, fingerprint: str) -> Probe:
        settings = self.settings
        return Probe(
            encoder=encoder.name,
            fingerprint=fingerprint,
            layers=check_layers(settings.layers, n_layers=encoder.n_layers),
            pooling=settings.pooling,
            max_length=encoder.text_length(settings.max_length),
            dtype=encoder.dtype,
        )

    def card_of(self, task: LazyTask) -> TaskCard:
        """Return a task's card with the metric asked for."""
        metric = self.settings.metric
        return task.card if metric is None else replace(task.card, metric=cast(Metric, metric))

    def jobs_of(self, task: LazyTask) -> list[Job]:
        """Return the jobs of a task that belong to the shard, finished or not."""
        settings, jobs = self.settings, []
        for _, real, random in self.probes.values():
            for control in check_controls(settings.controls):
                probe = random if control == "random_encoder" else real
                jobs += [
                    Job(probe, task.card, subset, control, seed, check_sizes(settings.sizes))
                    for subset in settings.subsets
                    for seed in check_seeds(settings.seeds)
                ]
        return [job for job in jobs if self.shard is None or self.shard.holds(job.key)]

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs, finished or not."""
        return tuple(job for task in self.tasks for job in self.jobs_of(task))

    def notes(self) -> list[str]:
        """Return what will be left out: sizes that a task's sample does not allow."""
        lines = []
        for task in self.tasks:
            out = sorted(set(self.settings.sizes) - set(_sizes_of(task, self.settings)))
            if out:
                lines.append(
                    f"note: {task.card.name} has {task.card.n_train:,} training texts of "
                    f"{task.card.n_classes} classes: sizes left out: {', '.join(map(str, out))}"
                )
        return lines

    def encoder_notes(self) -> list[str]:
        """Return what the encoders' folders declare and charkit does not do."""
        return [line for e in self.encoders for line in e.notes(self.settings.pooling)]

    def missing(self, jobs: Iterable[Job]) -> list[Job]:
        """Return those jobs that the store does not have."""
        return [job for job in jobs if self.store.find("heads", job.key) is None]


def plan_sweep(
    tasks: Source | Sequence[Source],
    *,
    encoder: EncoderChoice | Sequence[EncoderChoice] = "minilm",
    settings: SweepSettings | None = None,
    store: Store | None = None,
    shard: Shard | None = None,
) -> SweepPlan:
    """Return what a sweep would compute.

    Args:
        tasks: One source or several.
        encoder: One encoder or several, by name or loaded.
        settings: The grid.
        store: Where results are stored; the default store when None.
        shard: Which part of the jobs, for one machine of a fleet; all when None.

    Raises:
        UsageError: The grid is not legal, or two tasks or encoders have one name.
        DataError: A source cannot be used.
    """
    settings, store = settings or SweepSettings(), store or Store()
    several = isinstance(tasks, list | tuple) and not is_data(tasks)
    sources = list(tasks) if several else [tasks]
    single = isinstance(encoder, str | Encoder | LazyEncoder | os.PathLike)
    named: list[Any] = [encoder] if single else list(encoder)  # type: ignore[arg-type]
    if not sources or not named:
        raise UsageError("nothing to sweep: expected at least one task and one encoder, got none.")
    encoders = tuple(loaded(e) for e in named)
    lazy = tuple(s if isinstance(s, LazyTask) else LazyTask(s, store) for s in sources)
    _refuse_repeats("task", [t.card.name for t in lazy])
    _refuse_repeats("encoder", [e.name for e in encoders])
    encoders = named_apart(encoders)
    plan = SweepPlan(lazy, encoders, settings, store, shard)
    _check_metric(settings.metric, lazy)
    for task in lazy:
        if task.card.n_eval == 0:
            raise DataError(
                f"{task.card.name}: expected labelled evaluation texts, got none. "
                "Give them with --eval, or let a part be split off with --eval-frac."
            )
        if not task.card.labelled_evaluation:
            raise DataError(
                f"{task.card.name}: expected labels for the evaluation texts, got none. Heads are "
                "scored on them: give a labelled file with --eval, or leave it out."
            )
        if task.card.kind == "regression" and task.card.n_eval < _FEWEST_TARGETS:
            raise DataError(
                f"{task.card.name}: expected at least {_FEWEST_TARGETS} evaluation texts for a "
                f"correlation, got {task.card.n_eval}. Give more with --eval or --eval-frac."
            )
        if not _sizes_of(task, settings):
            smallest = max(2, task.card.n_classes)
            raise DataError(
                f"{task.card.name}: no training size is possible: expected sizes from {smallest} "
                f"to {task.card.n_train}, got {list(settings.sizes)}. Choose other sizes."
            )
    _ = plan.jobs  # refuses layers, sizes, seeds and controls that are not legal
    if shard is not None:
        note(shard.note(f"{len(plan.jobs)} jobs"))
    for line in plan.notes():
        note(line)
    for e in encoders:
        logger.info("%s: %s; %s", e.name, e.device_reason, e.dtype_reason)
    return plan


def _check_metric(metric: str | None, tasks: Iterable[LazyTask]) -> None:
    """Refuse a metric that is not known, or that a task has not.

    Raises:
        UnknownNameError: There is no such metric of classes.
        UsageError: A task is a regression.
    """
    if metric is None:
        return
    if metric not in CLASS_METRICS:
        raise UnknownNameError("metric", metric, CLASS_METRICS)
    for task in tasks:
        if task.card.kind == "regression":
            raise UsageError(
                f"metric: {metric} is of classes: expected a classification task, got "
                f"{task.card.name}, a regression. Leave the metric out: regressions are scored "
                "by correlation."
            )


def _sizes_of(task: LazyTask, settings: SweepSettings) -> tuple[int, ...]:
    """Return the sizes that the whole of a task allows."""
    card = task.card
    return usable_sizes(check_sizes(settings.sizes), n_train=card.n_train, n_classes=card.n_classes)


def _refuse_repeats(what: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(
            f"two {what}s have one name: expected different names, got {repeated} twice. "
            "Rename one of them (a task: dataclasses.replace(task, name=...)), or run them apart."
        )
