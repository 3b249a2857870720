"""The study of what to label next: which strategy saves how many labels, and at which budget.

Every strategy by itself, and a few that cover first and ask a head later, label the same pools.

One simulated labelling: a policy labels a pool in steps, and heads are scored after each.

The pool's labels are known, and hidden until a policy asks for them. Where a policy's strategy
needs a head and only one class has a label yet, that step is random, as it would be in practice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.labelling.coverage import adequacy, nearest_labelled
from charkit.answers.labelling.strategies import (
    BY_HEAD,
    Band,
    Strategy,
    choose_rows,
    labels_a_class,
    strategy_for,
)
from charkit.config import Progress, content_hash, no_progress, staged
from charkit.encoders import encode_to_store, load_encoder
from charkit.encoders.encoder import Encoder
from charkit.encoders.stream import open_states
from charkit.errors import DataError, MissingError
from charkit.heads.solver.softmax import fit_softmax
from charkit.heads.sweep.table import write_table
from charkit.parallel import ExecutorChoice, check_failures, executor_from, run_jobs
from charkit.store.manifest import available_cores
from charkit.store.store import Store
from charkit.tasks import Task, load_task
from charkit.tasks.assemble import without_repeats
from glue_pilot.config import read_toml
from glue_pilot.labelling.findings import POLICIES, policy_words
from glue_pilot.meta_dataset.study import kept

KIND = "next_simulations"
_FORMAT = 1

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SimulationWork:
    """One labelling that may have to be simulated.

    Attributes:
        task: Name of the task.
        corpus: Tasks that share it share texts.
        train_states: Key of the states that the pool is drawn from.
        train_labels: Class codes of those rows.
        evaluation_states: Key of the evaluation texts' states.
        evaluation_labels: Their class codes.
        n_classes: How many classes there are.
        layer: Whose states are compared, and read by the heads.
        n_pool: Texts in the pool.
        budgets: Labels after each step, rising.
        bands: The policy; one band without an end is a single strategy.
        policy: What the policy is called.
        seed: Of the pool, and of the strategies' chance.
        draw: Of several labellings of the same pool; counts only for the random policy.
        root: The store's folder.
    """

    task: str
    corpus: str
    train_states: str
    train_labels: IntArray
    evaluation_states: str
    evaluation_labels: IntArray
    n_classes: int
    layer: int
    n_pool: int
    budgets: tuple[int, ...]
    bands: tuple[Band, ...]
    policy: str
    seed: int
    draw: int
    root: Path

    @property
    def config(self) -> dict[str, Any]:
        """What determines the rows; its `content_hash` is their key in the store."""
        return {
            "kind": KIND,
            "format": _FORMAT,
            "task": self.task,
            "corpus": self.corpus,
            "train_states": self.train_states,
            "train_labels": self.train_labels.tolist(),
            "evaluation_states": self.evaluation_states,
            "evaluation_labels": self.evaluation_labels.tolist(),
            "n_classes": self.n_classes,
            "layer": self.layer,
            "n_pool": self.n_pool,
            "budgets": list(self.budgets),
            "bands": [band.to_dict() for band in self.bands],
            "policy": self.policy,
            "seed": self.seed,
            "draw": self.draw,
        }


def run_simulation(work: SimulationWork) -> str:
    """Simulate a labelling unless the store has it; return its key."""
    store = Store(work.root)
    return kept(
        store, KIND, work.config,
        lambda folder: write_table(simulate(work, store), folder / "steps.parquet"),
        seeds={"pool": work.seed, "draw": work.draw},
        fingerprints={"train": work.train_states, "evaluation": work.evaluation_states},
    )  # fmt: skip


def read_simulation(store: Store, work: SimulationWork) -> pd.DataFrame:
    """Return the rows of a labelling from the store."""
    folder = store.find(KIND, content_hash(work.config))
    assert folder is not None, "it was simulated before"
    return pd.read_parquet(folder / "steps.parquet")


def simulate(work: SimulationWork, store: Store) -> pd.DataFrame:
    """Return one row a step: how a head does with the labels that were asked for."""
    train = open_states(store, work.train_states).layer(work.layer)
    held_out = open_states(store, work.evaluation_states).layer(work.layer)
    drawn = np.random.default_rng(work.seed).permutation(len(train))[: work.n_pool]
    features, labels = train[drawn], work.train_labels[drawn]
    chosen: IntArray = np.zeros(0, np.int64)
    rows: list[dict[str, Any]] = []
    for budget in work.budgets:
        if budget > len(features):
            break
        before = labels_a_class(labels[chosen], work.n_classes)
        more, strategy = _ask(work, features, labels, chosen, budget - len(chosen))
        chosen = np.concatenate([chosen, more])
        rows.append(
            {
                "task": work.task,
                "corpus": work.corpus,
                "policy": work.policy,
                "seed": work.seed,
                "draw": work.draw,
                "n": budget,
                "strategy": strategy,
                "labels_a_class": before,
                "n_classes": work.n_classes,
                "n_classes_found": len(np.unique(labels[chosen])),
                "accuracy": _accuracy(
                    features[chosen],
                    labels[chosen],
                    held_out,
                    work.evaluation_labels,
                    work.n_classes,
                ),
                **_adequacy(features, labels, chosen),
            }
        )
    return pd.DataFrame(rows)


def _ask(
    work: SimulationWork, features: FloatArray, labels: IntArray, chosen: IntArray, n: int
) -> tuple[IntArray, Strategy]:
    """Return the rows that the policy asks for next, and the strategy that it used."""
    known = labels[chosen]
    strategy = strategy_for(work.bands, known, work.n_classes)
    if strategy in BY_HEAD and len(np.unique(known)) < 2:
        strategy = "random"
    rest = np.setdiff1d(np.arange(len(features)), chosen)
    rows, _ = choose_rows(
        features[chosen],
        known,
        features[rest],
        n=n,
        strategy=strategy,
        n_classes=work.n_classes,
        seed=1_000 * work.draw + work.seed,
    )
    return rest[rows], strategy


def _accuracy(
    features: FloatArray, codes: IntArray, held_out: FloatArray, truth: IntArray, n_classes: int
) -> float:
    """Return the accuracy of the sweep's head; with only one class, that of always saying it."""
    if len(np.unique(codes)) < 2:
        return float(np.mean(truth == codes[0]))
    heads = fit_softmax(features[None], codes, n_classes)
    measured = heads.logits(held_out[None])[0].argmax(1).numpy()
    return float(np.mean(measured == truth))


def _adequacy(features: FloatArray, labels: IntArray, chosen: IntArray) -> dict[str, float]:
    """Return the adequacy of the labels for the rest of the pool, and what it bounds."""
    rest = np.setdiff1d(np.arange(len(features)), chosen)
    if len(np.unique(labels[chosen])) < 2 or not len(rest):
        return {"covered": np.nan, "bound": np.nan, "neighbour_error": np.nan}
    measured = adequacy(features[chosen], labels[chosen], features[rest])
    nearest = nearest_labelled(features[chosen], features[rest])
    wrong = labels[chosen][nearest] != labels[rest]
    return {
        "covered": measured.covered,
        "bound": measured.bound,
        "neighbour_error": float(np.mean(wrong)),
    }


@dataclass(frozen=True)
class NextStudy:
    """What is simulated.

    Attributes:
        name: Names the results: ``results/<name>.md`` and so on.
        encoder: Name of the encoder.
        layer: Whose states are compared, and read by the heads.
        n_pool: Texts in a pool.
        n_evaluation: Evaluation texts of a task, at most.
        n_seeds: Pools of a task.
        n_random: Random labellings of a pool: the others are compared with their mean.
        budgets: Labels after each step, rising.
        reference: Labels of the random labellings: the budgets, and sizes below and above.
        tasks: Folders of tasks, or sources that `charkit.load_task` takes; one a corpus.
    """

    name: str
    encoder: str
    layer: int
    n_pool: int
    n_evaluation: int
    n_seeds: int
    n_random: int
    budgets: tuple[int, ...]
    reference: tuple[int, ...]
    tasks: tuple[str, ...]


def read_next_study(path: str | Path) -> NextStudy:
    """Read a study from a TOML file whose keys are the fields of `NextStudy`.

    Raises:
        MissingError: There is no such file.
        DataError: It is not TOML, or sizes do not rise.
        UnknownNameError: A key is not known.
        UsageError: A value has the wrong type, or a needed one is missing.
    """
    study = read_toml(path, NextStudy)
    for sizes in (study.budgets, study.reference):
        if list(sizes) != sorted(set(sizes)) or not sizes or sizes[0] < 1:
            raise DataError(f"{Path(path).name}: expected rising sizes from 1, got {list(sizes)}.")
    if not set(study.budgets) <= set(study.reference):
        raise DataError(
            f"{Path(path).name}: expected every budget in reference, got {list(study.budgets)} "
            f"and {list(study.reference)}. Add the ones that lack."
        )
    return study


def load_next_tasks(study: NextStudy, root: Path | None) -> list[Task]:
    """Return a study's tasks, cut to the texts that pools are drawn from.

    Args:
        study: Names the tasks.
        root: Folder with a folder a task; None for tasks that need none.

    Raises:
        MissingError: Tasks lie in a folder, and none is named.
        DataError: Two tasks share a corpus, or a task is too small.
    """
    tasks: list[Task] = []
    for source in study.tasks:
        if "/" in source:
            task = load_task(source)
        elif root is None:
            raise MissingError(
                f"{study.name} needs a folder of tasks: expected one with {source}/, got none. "
                "Name it with TASKS=... or --tasks."
            )
        else:
            task = replace(load_task(root / source), name=source)
        tasks.append(_cut(task, study))
    corpora = [task.corpus for task in tasks]
    if len(set(corpora)) < len(corpora):
        raise DataError(
            f"{study.name}: expected one task a corpus, got {corpora}. Leave siblings out."
        )
    return tasks


def _cut(task: Task, study: NextStudy) -> Task:
    """Return a task with two pools' worth of different training texts."""
    part = task.evaluation
    if task.train.labels is None or part is None or part.labels is None:
        raise DataError(f"{task.name}: expected labels in both parts, got some without.")
    train = without_repeats(task.train)
    if len(train) < study.n_pool:
        raise DataError(
            f"{task.name}: expected {study.n_pool:,} different training texts for a pool, got "
            f"{len(train):,}. Take a larger task, or a smaller n_pool."
        )
    rows = np.random.default_rng(0).permutation(len(train))[: 2 * study.n_pool]
    held_out = np.random.default_rng(0).permutation(len(part))[: study.n_evaluation]
    return replace(task, train=train.take(np.sort(rows)), evaluation=part.take(np.sort(held_out)))


def run_next_study(
    study: NextStudy,
    tasks: Sequence[Task],
    store: Store,
    *,
    executor: ExecutorChoice = None,
    progress: Progress = no_progress,
) -> pd.DataFrame:
    """Return the rows of all labellings, simulating what the store lacks.

    Args:
        study: What is simulated.
        tasks: From `load_next_tasks`.
        store: Where everything is kept.
        executor: Where jobs run, such as 4 (processes), ``"ray"`` or ``"slurm"``. Default: one
            process a core.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        CellsFailedError: Some of it failed; the rest is in the store.
    """
    encoder = load_encoder(study.encoder)
    blanks = [
        _encoded(task, encoder, study, store, staged(progress, f"encode {task.name}"))
        for task in tasks
    ]
    work = [work for blank in blanks for work in _all_work(blank, study)]
    return _run(work, store, "labellings", executor, progress)


def _encoded(
    task: Task, encoder: Encoder, study: NextStudy, store: Store, progress: Progress
) -> SimulationWork:
    """Return a task's work with an empty policy, its texts encoded."""
    assert task.evaluation is not None
    parts = (task.train, task.evaluation)
    train, held_out = (encode_to_store(encoder, p, store=store, progress=progress) for p in parts)
    labels = [np.array(part.labels, np.int64) for part in parts]
    return SimulationWork(
        task=task.name,
        corpus=task.corpus,
        train_states=train.key,
        train_labels=labels[0],
        evaluation_states=held_out.key,
        evaluation_labels=labels[1],
        n_classes=task.n_classes,
        layer=study.layer,
        n_pool=study.n_pool,
        budgets=study.budgets,
        bands=(),
        policy="",
        seed=0,
        draw=0,
        root=store.root,
    )


def _all_work(blank: SimulationWork, study: NextStudy) -> list[SimulationWork]:
    """Return the labellings of a task by every policy."""
    work = []
    for bands in POLICIES:
        name = policy_words(bands)
        random = name == "random"
        work += [
            replace(
                blank,
                bands=bands,
                policy=name,
                seed=seed,
                draw=draw,
                budgets=study.reference if random else study.budgets,
            )
            for seed in range(study.n_seeds)
            for draw in range(study.n_random if random else 1)
        ]
    return work


def _run(
    work: Sequence[SimulationWork],
    store: Store,
    stage: str,
    executor: ExecutorChoice,
    progress: Progress,
) -> pd.DataFrame:
    """Simulate what the store lacks; return the rows of all."""
    todo = [w for w in work if store.find(KIND, content_hash(w.config)) is None]
    n_found = len(work) - len(todo)
    done = run_jobs(
        run_simulation,
        todo,
        executor=executor_from(executor, default=max(1, min(available_cores(), len(todo)))),
        threads_per_worker=1,
        folders=[store.root],
        progress=_shifted(progress, stage, n_found),
    )
    check_failures(done, stage=stage)
    return pd.concat([read_simulation(store, w) for w in work], ignore_index=True)


def _shifted(progress: Progress, stage: str, n_found: int) -> Callable[[int, int], None]:
    return lambda done, total: progress(stage, n_found + done, n_found + total)
