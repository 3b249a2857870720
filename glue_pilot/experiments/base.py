"""What an experiment is: a question, settings, and a run that gives table, figures and words."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.config import Progress, content_hash, no_progress, people_name
from charkit.encoders import Encoder
from charkit.errors import UnknownNameError
from charkit.report.figures.canvas import file_name
from charkit.report.pages.run_data import EXPERIMENTS, ORDER
from charkit.store.durable import write_whole
from charkit.store.manifest import available_cores, code_version, package_versions
from charkit.store.sealed import sealed_json
from charkit.store.store import Store
from glue_pilot.findings import Finding, write_finding, write_page
from glue_pilot.samples import EmbeddingStudy, KnownTask, Sample, embed_study, load_known_tasks

BoolArray = NDArray[np.bool_]


def study_of(settings: Any, sizes: Sequence[int], draws: Sequence[int]) -> EmbeddingStudy:
    """Return how the samples of an experiment are drawn and embedded.

    Args:
        settings: With ``encoder``, ``max_length``, ``n_eval``, and ``all_heads_up_to`` if it is
            not 128: the study of all tasks has a head at every layer up to there, so that what
            it kept in the store is found.
        sizes: Training texts a sample.
        draws: How many of each size.

    Raises:
        UsageError: A size or a number of draws is below 1.
    """
    return EmbeddingStudy(
        name="experiment",
        encoder=settings.encoder,
        sizes=tuple(sizes),
        draws=tuple(draws),
        all_heads_up_to=getattr(settings, "all_heads_up_to", 128),
        max_length=settings.max_length,
        n_eval=settings.n_eval,
    )


def known_tasks(names: Sequence[str], workspace: Workspace) -> list[KnownTask]:
    """Load tasks; a generated one is a corpus of its own, its kind of label is its grammar.

    Generated tasks of other seeds are of one kind, their texts drawn anew.
    """
    return [
        replace(k, corpus=k.task.name, domain=k.corpus, label_kind=k.task.corpus)
        if not k.domain and k.task.source.startswith("generated/")
        else k
        for k in workspace.tasks(names)
    ]


def embedded_samples(
    study: EmbeddingStudy, known: list[KnownTask], encoder: Encoder, workspace: Workspace
) -> list[Sample]:
    """Return all samples of a study, from the store where it has them."""
    made = embed_study(study, known, encoder, store=workspace.store, progress=workspace.progress)
    return list(made)


# -- which tasks are alike --------------------------------------------------------------------


def kinds_of(known: Sequence[KnownTask]) -> NDArray[np.str_]:
    """Return each task's kind of label; tasks without a manifest have their corpus's."""
    return np.array([k.label_kind or k.corpus for k in known])


def share_texts(known: Sequence[KnownTask]) -> BoolArray:
    """Return which pairs may share texts: tasks of one corpus of a manifest; (tasks, tasks).

    Generated tasks of one corpus differ in every text, as their seeds do.
    """
    corpora = np.array([k.corpus for k in known])
    in_manifest = np.array([bool(k.label_kind) for k in known])
    shared = (corpora[:, None] == corpora) & in_manifest[:, None] & in_manifest
    return np.asarray(shared | np.eye(len(known), dtype=bool))


def siblings(known: Sequence[KnownTask]) -> BoolArray:
    """Return which pairs have labels of one kind and no texts in common; (tasks, tasks)."""
    kinds = kinds_of(known)
    return np.asarray((kinds[:, None] == kinds) & ~share_texts(known))


NAMES = ORDER
"""All experiments, in the order of the story; each is a module with an ``EXPERIMENT``."""

FOLDER = EXPERIMENTS
"""Where findings are written, inside the folder of results."""


@dataclass(frozen=True)
class Experiment:
    """One question of the study.

    Attributes:
        name: Of its files, its target (``make experiment-NAME``) and its table of settings.
        question: Ends with a question mark.
        motivation: What in the seeds or the paper asks it.
        settings: Frozen dataclass of numbers, strings and tuples of them, with defaults.
        run: Settings, workspace -> what was found.
    """

    name: str
    question: str
    motivation: str
    settings: type[Any]
    run: Callable[[Any, Workspace], Finding]


@dataclass(frozen=True, eq=False)
class Workspace:
    """What every experiment works with.

    Attributes:
        store: Where states, heads, embeddings and fine-tuned experts are kept.
        root: Folder of real tasks with MANIFEST.json, if any.
        tables: Folder of tables that other targets wrote (``results``).
        progress: Called as ``progress(stage, done, total)``.
    """

    store: Store
    root: Path | None = None
    tables: Path = Path("results")
    progress: Progress = field(default=no_progress)

    def tasks(self, names: Sequence[str]) -> list[KnownTask]:
        """Load tasks by name or source; all of the folder when none is named."""
        return load_known_tasks(names, self.root)


@dataclass(frozen=True, eq=False)
class ExperimentRun:
    """One run of an experiment.

    Attributes:
        changed: Setting -> value, where it is not the file's.
        found: What was found.
        files: What was written; the record (``.json``) comes first.
        seconds: What it took.
    """

    changed: dict[str, Any]
    found: Finding
    files: list[Path]
    seconds: float


def load_experiment(name: str) -> Experiment:
    """Return an experiment by its name.

    Raises:
        UnknownNameError: There is none of this name.
    """
    if name not in NAMES:
        raise UnknownNameError("experiment", name, NAMES)
    found: Experiment = import_module(f"glue_pilot.experiments.{name}").EXPERIMENT
    return found


def run_experiment(
    experiment: Experiment,
    settings: Any,
    workspace: Workspace,
    *,
    out: Path,
    changed: Mapping[str, Any] | None = None,
) -> ExperimentRun:
    """Run an experiment and write its files into ``out/experiments``.

    Args:
        experiment: The question.
        settings: Of its own kind.
        workspace: Tasks and store.
        out: Folder of results.
        changed: What a variant differs in; its files are named by it.

    Raises:
        MissingError: The folder cannot be written, or a table of another target is missing.
    """
    begun = time.monotonic()
    found = experiment.run(settings, workspace)
    seconds = time.monotonic() - begun
    named = [f"{name}-{value}" for name, value in _flat(_passed_on(changed or {})).items()]
    stem, folder = file_name("_".join([experiment.name, *named])), out / FOLDER
    files, figures = write_finding(found, folder, stem)
    page = write_page(
        folder / f"{stem}.md", experiment.question, experiment.motivation, found, figures
    )
    record = {
        "name": stem,
        "question": experiment.question,
        "asked_by": experiment.motivation,
        "headline": found.headline,
        "answer": found.answer,
        "points": found.points,
        "details": found.details,
        "finding": found.text,
        "summary": {k: v if math.isfinite(v) else None for k, v in found.summary.items()},
        "figures": figures,
        "table": files[1].name,
        "manifest": {
            "settings": _passed_on(asdict(settings)),
            "settings_hash": content_hash(asdict(settings)),
            "changed": _passed_on(changed or {}),
            "versions": package_versions(),
            "code": code_version(),
            "cores": available_cores(),
            "seconds": round(seconds, 1),
        },
    }
    place = write_whole(folder / f"{stem}.json", sealed_json(record))
    return ExperimentRun(dict(changed or {}), found, [place, page, *files], seconds)


def side_by_side(runs: Sequence[ExperimentRun]) -> pd.DataFrame:
    """Return one row a run: what was changed, then its summary."""
    return pd.DataFrame([{**_flat(run.changed), **run.found.summary} for run in runs])


def _flat(changed: Mapping[str, Any]) -> dict[str, Any]:
    return {k: ",".join(map(str, v)) if isinstance(v, list) else v for k, v in changed.items()}


def _passed_on(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the last part of every whole path: no folder of this machine."""

    def named(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [named(one) for one in value]
        return people_name(value) if isinstance(value, str) else value

    return {name: named(value) for name, value in values.items()}
