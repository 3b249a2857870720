"""Draws of tasks, learners trained on each; kept in the store, so that a stopped run goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from charkit.config import Progress, content_hash, no_progress, people_name
from charkit.encoders import Encoder
from charkit.encoders.load import LazyEncoder
from charkit.encoders.tokens import tokenise
from charkit.errors import DataError
from charkit.heads.sweep.cost import encode_seconds, matmul_rate, n_tokens
from charkit.heads.sweep.table import write_table
from charkit.learners.contrastive import n_iterations
from charkit.learners.outcomes import compare_learners
from charkit.learners.tuning import default_recipe
from charkit.parallel import ExecutorChoice, check_failures, executor_from, run_jobs
from charkit.store.cached import cached
from charkit.store.manifest import Clock, run_manifest
from charkit.store.store import Store
from charkit.tasks import Split, Task, nested_order

KIND = "learner_outcomes"
_FORMAT = 1
_BACKWARD = 2.0  # operations of a backward pass in forward passes
_EVERY = 5  # draws after which the table so far is handed over: minutes of work

COLUMNS = (
    "encoder", "task", "corpus", "learner", "n_train", "seed", "n_eval", "n_classes", "accuracy",
    "failed", "seconds", "layer", "log_loss", "left_out_accuracy", "left_out_loss", "majority",
    "mean_tokens", "failure",
)  # fmt: skip
"""Of the table; the first eleven are what the metamodel reads."""


@dataclass(frozen=True, eq=False)
class Draw:
    """One draw of one task, and the learners to train on it.

    Attributes:
        task: Its name.
        corpus: Tasks that share it share texts.
        train: The draw.
        evaluation: What all draws of the task are scored on.
        n_classes: Classes of the task.
        seed: Of the draw and of fine-tuning.
        encoder: The encoder.
        max_length: Most tokens of a text; None for the encoder's own choice.
        learners: Of `charkit.learners.LEARNERS`.
        root: The store's folder.
    """

    task: str
    corpus: str
    train: Split
    evaluation: Split
    n_classes: int
    seed: int
    encoder: LazyEncoder
    max_length: int | None
    learners: tuple[str, ...]
    root: Path

    @property
    def config(self) -> dict[str, Any]:
        """What determines the entry; its `content_hash` is its key in the store."""
        encoder = _loaded(self.encoder)
        recipe = default_recipe(len(self.train), encoder.width, self.n_classes)
        pairs = n_iterations(len(self.train))
        more = {"n_iterations": pairs} if "setfit" in self.learners else {}
        return {
            "kind": KIND,
            "format": _FORMAT,
            "task": self.task,
            "corpus": self.corpus,
            "encoder": encoder.fingerprint,
            "dtype": encoder.dtype,
            "train": self.train.fingerprint,
            "evaluation": self.evaluation.fingerprint,
            "n_classes": self.n_classes,
            "seed": self.seed,
            "max_length": encoder.text_length(self.max_length),
            "learners": list(self.learners),
            "recipe": asdict(recipe) if "tuned" in self.learners else None,
            **more,
        }


@lru_cache(maxsize=1)
def _loaded(encoder: LazyEncoder) -> Encoder:
    return encoder.load()


def draws_of(
    task: Task,
    corpus: str,
    sizes: Sequence[tuple[int, Sequence[int]]],
    *,
    encoder: LazyEncoder,
    max_length: int | None,
    learners: tuple[str, ...],
    store: Store,
) -> list[Draw]:
    """Return the draws of a classification task; sizes of a seed are nested and stratified.

    Sizes that the task has not the rows for, and draws of one class, are left out.

    Args:
        task: With labelled evaluation texts.
        corpus: Tasks that share it share texts.
        sizes: Training texts, and the seeds of their draws.
        encoder: The encoder.
        max_length: Most tokens of a text; None for the encoder's own choice.
        learners: Of `charkit.learners.LEARNERS`.
        store: Where results are kept.

    Raises:
        DataError: The task is no classification, or lacks labels.
    """
    part = task.evaluation
    if task.kind != "classification":
        raise DataError(
            f"{task.name}: learners are compared on classes: expected class labels, got a "
            f"{task.kind}. Use charkit sweep without --learner."
        )
    if part is None or part.labels is None or task.train.labels is None:
        raise DataError(
            f"{task.name}: expected labels in both parts, got some without. Learners are scored "
            "on labelled evaluation texts."
        )
    labels = np.asarray(task.train.labels, np.int64)
    found = []
    for size, seeds in sizes:
        for seed in seeds if size <= len(labels) else ():
            rows = nested_order(labels, seed=seed, kind="classification")[:size]
            if len(np.unique(labels[rows])) > 1:
                drawn = task.train.take(rows)
                found.append(
                    Draw(
                        task.name,
                        corpus,
                        drawn,
                        part,
                        task.n_classes,
                        seed,
                        encoder,
                        max_length,
                        learners,
                        store.root,
                    )
                )
    return found


def run_draw(draw: Draw) -> str:
    """Train the learners on a draw unless the store has them; return the key."""
    encoder = _loaded(draw.encoder)

    def make(folder: Path) -> dict[str, Any]:
        clock = Clock()
        rows = compare_learners(
            encoder,
            draw.train,
            draw.evaluation,
            draw.n_classes,
            learners=draw.learners,
            seed=draw.seed,
            max_length=draw.max_length,
        )
        common = _common(draw, encoder)
        table = pd.DataFrame([common | row for row in rows])[list(COLUMNS)]
        write_table(table, folder / "outcomes.parquet")
        return run_manifest(
            draw.config,
            clock=clock,
            seeds={"draw": draw.seed},
            fingerprints={"encoder": encoder.fingerprint, "train": draw.train.fingerprint},
            device=encoder.device,
            dtype=encoder.dtype,
        )

    return cached(Store(draw.root), KIND, draw.config, make=make, load=lambda _: None).key


def _common(draw: Draw, encoder: Encoder) -> dict[str, Any]:
    """Return what all rows of a draw share."""
    labels = np.asarray(draw.evaluation.labels, np.int64)
    length = encoder.text_length(draw.max_length)
    tokens = tokenise(encoder, draw.train.texts, draw.train.pairs, max_length=length)
    return {
        "encoder": people_name(encoder.name),
        "task": draw.task,
        "corpus": draw.corpus,
        "n_train": len(draw.train),
        "seed": draw.seed,
        "n_eval": len(labels),
        "n_classes": draw.n_classes,
        "majority": float(np.bincount(labels).max() / len(labels)),
        "mean_tokens": round(float(tokens.lengths.mean()), 2),
    }


def run_draws(
    draws: Sequence[Draw],
    store: Store,
    *,
    executor: ExecutorChoice = None,
    progress: Progress = no_progress,
    every: Callable[[pd.DataFrame], None] = lambda _: None,
) -> pd.DataFrame:
    """Return the table of all draws, one row a learner, training what the store lacks.

    Args:
        draws: What is trained, in this order.
        store: Where everything is kept.
        executor: Where jobs run, such as 4 (processes), ``"ray"`` or ``"slurm"``. Default: this
            process.
        progress: Called as ``progress("draws", done, total)``.
        every: Called now and then with the table so far.

    Raises:
        CellsFailedError: Some of it failed; the rest is in the store.
    """
    todo = [draw for draw in draws if not is_stored(draw, store)]
    n_found = len(draws) - len(todo)

    def step(done: int, _: int) -> None:
        progress("draws", n_found + done, len(draws))
        if done and done % _EVERY == 0:
            every(read_draws(draws, store))

    found = run_jobs(
        run_draw,
        todo,
        executor=executor_from(executor, default=1),
        threads_per_worker=1,
        folders=[store.root],
        progress=step,
    )
    check_failures(found, stage="draws")
    return read_draws(draws, store)


def is_stored(draw: Draw, store: Store) -> bool:
    """Return whether the store has the outcomes of a draw."""
    return store.find(KIND, content_hash(draw.config)) is not None


def read_draws(draws: Sequence[Draw], store: Store) -> pd.DataFrame:
    """Return the rows of all draws that the store has."""
    folders = [store.find(KIND, content_hash(draw.config)) for draw in draws]
    tables = [pd.read_parquet(f / "outcomes.parquet") for f in folders if f is not None]
    if not tables:
        return pd.DataFrame(columns=list(COLUMNS))
    table = pd.concat(tables, ignore_index=True)
    order = ["encoder", "task", "n_train", "seed", "learner"]
    return table.sort_values(order, kind="stable", ignore_index=True)


def plan_rows(draws: Sequence[Draw], store: Store) -> list[dict[str, Any]]:
    """Return what a run would do, one row a size: draws, how many are missing, their hours.

    A step of training is counted as three forward passes of its texts.
    """
    rows = []
    for size in sorted({len(draw.train) for draw in draws}):
        own = [draw for draw in draws if len(draw.train) == size]
        todo = [draw for draw in own if not is_stored(draw, store)]
        hours = sum(draw_seconds(draw) for draw in todo) / 3600
        rows.append({"size": size, "draws": len(own), "to do": len(todo), "hours": hours})
    return rows


def draw_seconds(draw: Draw) -> float:
    """Return about how many seconds a draw will take on one core or GPU."""
    encoder, n = _loaded(draw.encoder), len(draw.train)
    length = encoder.text_length(draw.max_length)
    held_out = n_tokens(draw.evaluation, len(draw.evaluation), max_length=length)
    tokens = held_out + n_tokens(draw.train, n, max_length=length)
    if "tuned" in draw.learners:
        recipe = default_recipe(n, encoder.width, draw.n_classes)
        texts = recipe.n_steps * min(recipe.batch, n)
        tokens += held_out + (1 + _BACKWARD) * n_tokens(draw.train, texts, max_length=length)
    if "setfit" in draw.learners:
        texts = 2 * 2 * n_iterations(n) * n  # pairs of both kinds, two texts each
        tokens += held_out + (1 + _BACKWARD) * n_tokens(draw.train, texts, max_length=length)
    return encode_seconds(encoder, tokens, _rate(encoder.device, encoder.dtype))


@lru_cache(maxsize=4)
def _rate(device: str, dtype: str) -> float:
    return matmul_rate(device, dtype)
