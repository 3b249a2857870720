"""Make the meta-dataset: base tasks, outcomes, pilots, and the tables of them all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pandas as pd

from charkit.config import Progress, content_hash, no_progress
from charkit.errors import CellsFailedError
from charkit.manifest import available_cores
from charkit.pool import JobFailure, run_jobs
from charkit.store import Store
from charkit.tasks import Task
from glue_pilot.bases import Base, BaseWork, read_base, run_base
from glue_pilot.metadata_study import MetadataStudy
from glue_pilot.truth import KIND as TRUTH
from glue_pilot.truth import TruthWork, run_truth

logger = logging.getLogger(__name__)

W = TypeVar("W")


def run_stage(
    function: Callable[[W], str],
    work: Sequence[W],
    *,
    stage: str,
    n_workers: int | None,
    progress: Progress,
) -> list[str]:
    """Do all work of a stage and return the keys of its entries in the store.

    Raises:
        CellsFailedError: Some of it failed; the rest is in the store.
    """
    found = run_jobs(
        function,
        work,
        n_workers=n_workers or min(available_cores(), max(1, len(work))),
        threads_per_worker=1,
        progress=lambda done, total: progress(stage, done, total),
    )
    failures = [entry for entry in found if isinstance(entry, JobFailure)]
    if failures:
        raise CellsFailedError(
            f"{stage}: {len(failures)} of {len(work)} failed, the first with: "
            f"{failures[0].message} The others are kept; run the same again to retry.",
            partial=None,
            exit_codes={failure.exit_code for failure in failures},
        )
    return [entry for entry in found if isinstance(entry, str)]


def make_bases(
    study: MetadataStudy,
    tasks: Sequence[Task],
    store: Store,
    *,
    n_workers: int | None = None,
    progress: Progress = no_progress,
) -> list[Base]:
    """Return the base tasks that are large enough, encoding what the store lacks."""
    work = [BaseWork(task, study, store.root) for task in tasks]
    keys = run_stage(run_base, work, stage="tasks", n_workers=n_workers, progress=progress)
    bases = [read_base(store, key) for key in keys]
    return [base for base in bases if base.variants]


def truth_work(study: MetadataStudy, bases: Sequence[Base], store: Store) -> list[TruthWork]:
    """Return the outcomes that a study has, one piece of work a variant."""
    return [
        TruthWork(base.without_variants(), variant, study, store.root)
        for base in bases
        for variant in base.variants
    ]


def missing(store: Store, kind: str, work: Sequence[TruthWork]) -> list[TruthWork]:
    """Return the work whose entry the store lacks."""
    return [w for w in work if store.find(kind, content_hash(w.config)) is None]


def make_outcomes(
    study: MetadataStudy,
    bases: Sequence[Base],
    store: Store,
    *,
    n_workers: int | None = None,
    progress: Progress = no_progress,
) -> pd.DataFrame:
    """Return all outcomes, training the heads that the store lacks."""
    work = truth_work(study, bases, store)
    todo = sorted(missing(store, TRUTH, work), key=lambda w: w.cost, reverse=True)
    run_stage(run_truth, todo, stage="outcomes", n_workers=n_workers, progress=progress)
    return read_outcomes(store, work)


def read_outcomes(store: Store, work: Sequence[TruthWork]) -> pd.DataFrame:
    """Return the outcomes that the store has."""
    folders = [store.find(TRUTH, content_hash(w.config)) for w in work]
    tables = [pd.read_parquet(f / "outcomes.parquet") for f in folders if f is not None]
    return pd.concat(tables, ignore_index=True)


def table_paths(study: MetadataStudy, out: Path) -> tuple[Path, Path]:
    """Return where the two tables go: evidence and outcomes."""
    return out / f"{study.name}_evidence.parquet", out / f"{study.name}_outcomes.parquet"
