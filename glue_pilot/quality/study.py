"""The study of classes and labels: recall of each class with more labels, and wrong labels found.

A case is a labelled sample of a task. Of each case the store keeps what heads make of every label
left out, with none and with some labels made wrong; what heads of more labels predict for the
evaluation rows; and the accuracy that relabelling the most doubtful rows, or labelling as many
more, would bring. All else is computed from these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from charkit.answers.pilot.classes import left_out_of_layer, left_out_table
from charkit.config import Progress, no_progress
from charkit.encoders import encode_to_store, load_encoder
from charkit.encoders.stream import open_states
from charkit.errors import DataError, MissingError
from charkit.heads.sample.out_of_fold import SampleHeads, fit_sample_heads
from charkit.heads.sweep.table import write_table
from charkit.parallel.jobs import threads_limited
from charkit.store.cached import cached
from charkit.store.manifest import Clock, run_manifest
from charkit.store.store import Store
from charkit.tasks import load_task
from charkit.tasks.nested import nested_order

KIND = "quality_case"
_FORMAT = 1
_FLOOR = 1e-4

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class QualityStudy:
    """What is simulated.

    Attributes:
        name: Names the results: ``results/<name>.json`` and so on.
        encoder: Name of the encoder.
        n_train: Training rows of a task that samples are drawn from, at most.
        n_evaluation: Evaluation rows, at most.
        sizes: Sizes of the labelled sample.
        n_seeds: Labelled samples of each size.
        multiples: Numbers of labels, in multiples of the sample's.
        noise: Shares of labels that are made wrong.
        n_changed: Share of the sample's rows that are relabelled, or labelled more.
        most_changed: Largest sample that this is tried on.
        tasks: Tasks.
    """

    name: str
    encoder: str
    n_train: int
    n_evaluation: int
    sizes: tuple[int, ...]
    n_seeds: int
    multiples: tuple[int, ...]
    noise: tuple[float, ...]
    n_changed: float
    most_changed: int
    tasks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Source:
    """A task of the study, encoded: keys of its states and its class codes."""

    name: str
    corpus: str
    n_classes: int
    states: tuple[str, str]
    train: IntArray
    evaluation: IntArray


@dataclass(frozen=True, eq=False)
class Case:
    """A labelled sample of ``n`` rows of a task."""

    source: Source
    study: QualityStudy
    n: int
    seed: int

    @property
    def config(self) -> dict[str, Any]:
        """What determines the case; its `content_hash` is its key in the store."""
        return {
            "kind": KIND,
            "format": _FORMAT,
            "states": list(self.source.states),
            "labels": [self.source.train.tolist(), self.source.evaluation.tolist()],
            "n": self.n,
            "seed": self.seed,
            "multiples": list(self.study.multiples),
            "noise": list(self.study.noise),
            "changed": [self.study.n_changed, self.study.most_changed],
        }


@dataclass(frozen=True, eq=False)
class Measured:
    """What a case holds.

    Attributes:
        left_out: One row a noise and labelled row: noise, row, clean, label, predicted, confidence.
        truth: One row a multiple and evaluation row: multiple, label, predicted.
        changed: One row a noise: accuracy on the evaluation rows with the sample's labels, after
            relabelling, and after labelling more: noise, before, relabelled, labelled.
    """

    left_out: pd.DataFrame
    truth: pd.DataFrame
    changed: pd.DataFrame


def load_sources(
    study: QualityStudy, root: Path | None, store: Store, *, progress: Progress = no_progress
) -> list[Source]:
    """Read and encode the tasks of a study.

    Args:
        study: What is simulated.
        root: Folder with a folder a task; None for tasks that need none.
        store: Where states are kept.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        MissingError: Tasks lie in a folder, and none is named.
        DataError: A part of a task has no labels.
    """
    encoder = load_encoder(study.encoder)
    found = []
    for done, name in enumerate(study.tasks):
        progress("read and encode tasks", done, len(study.tasks))
        if "/" not in name and root is None:
            raise MissingError(
                f"{study.name} needs a folder of tasks: expected one with {name}/, got none. "
                "Name it with TASKS=... or --tasks."
            )
        task = load_task(name if root is None or "/" in name else root / name)
        part = task.evaluation
        if task.train.labels is None or part is None or part.labels is None:
            raise DataError(f"{task.name}: expected labels in both parts, got some without.")
        order = nested_order(task.train.labels, seed=0, kind="classification")[: study.n_train]
        drawn = np.random.default_rng(0).permutation(len(part))[: study.n_evaluation]
        parts = task.train.take(np.sort(order)), part.take(np.sort(drawn))
        states = [encode_to_store(encoder, split, store=store).key for split in parts]
        codes = [np.array(split.labels, np.int64) for split in parts]
        found.append(
            Source(name, task.corpus, task.n_classes, (states[0], states[1]), codes[0], codes[1])
        )
    progress("read and encode tasks", len(study.tasks), len(study.tasks))
    return found


def all_cases(study: QualityStudy, sources: Sequence[Source]) -> list[Case]:
    """Return every case of a study: samples of two labels a class and more."""
    return [
        Case(source, study, n, seed)
        for source in sources
        for n in study.sizes
        for seed in range(study.n_seeds)
        if 2 * source.n_classes <= n <= len(source.train)
    ]


def measure(case: Case, store: Store) -> Measured:
    """Return a case from the store, making it when it is absent."""

    def make(folder: Path) -> dict[str, Any]:
        clock = Clock()
        for name, table in vars(_measure(case, store)).items():
            write_table(table, folder / f"{name}.parquet")
        return run_manifest(
            case.config,
            clock=clock,
            seeds={"sample": case.seed},
            fingerprints={"train": case.source.states[0], "evaluation": case.source.states[1]},
            device="cpu",
            dtype="float32",
        )

    def load(folder: Path) -> Measured:
        names = ("left_out", "truth", "changed")
        return Measured(*(pd.read_parquet(folder / f"{name}.parquet") for name in names))

    return cached(store, KIND, case.config, make=make, load=load).value


def made_wrong(labels: IntArray, share: float, seed: Sequence[int]) -> IntArray:
    """Return labels of which a share, drawn row by row, is moved to another class at random."""
    rng = np.random.default_rng(seed)
    present = np.unique(labels)
    moved = rng.random(len(labels)) < share
    place = np.searchsorted(present, labels)
    other = (place + rng.integers(1, len(present), len(labels))) % len(present)
    return np.where(moved, present[other], labels)


@threads_limited(1)
def _measure(case: Case, store: Store) -> Measured:
    train, test = (open_states(store, key).to_numpy() for key in case.source.states)
    codes, n = case.source.train, case.n
    order = nested_order(codes, seed=case.seed, kind="classification")
    chosen = order[:n]
    left_out, truth, changed = [], [], []
    for share in case.study.noise:
        labels = made_wrong(codes, share, [case.seed, n, round(1000 * share)])
        heads = _fit(train[:, chosen], labels[chosen], case.source.n_classes)
        layer = _best_layer(heads, labels[chosen])
        own = left_out_of_layer(left_out_table(heads), labels[chosen], layer)
        left_out.append(
            pd.DataFrame(
                {
                    "noise": share,
                    "row": own.rows,
                    "clean": codes[chosen][own.rows],
                    "label": own.labels,
                    "predicted": own.predicted,
                    "confidence": own.confidence,
                }
            )
        )
        side = _Layer(case, train[layer : layer + 1], test[layer : layer + 1], order)
        if share == 0:
            truth += [side.truth(m) for m in case.study.multiples if m * n <= len(order)]
        if n <= case.study.most_changed and round(n * (1 + case.study.n_changed)) <= len(order):
            doubt = heads.left_out[layer][np.arange(n), labels[chosen]]
            changed.append({"noise": share, **side.changed(labels, doubt)})
    return Measured(pd.concat(left_out), pd.concat(truth), pd.DataFrame(changed))


@dataclass(frozen=True, eq=False)
class _Layer:
    """States of one layer, (1, n, width) each, and the order that samples are drawn in."""

    case: Case
    train: NDArray[np.floating]
    test: NDArray[np.floating]
    order: IntArray

    def _predicted(self, rows: IntArray, labels: IntArray) -> IntArray:
        heads = _fit(self.train[:, rows], labels[rows], self.case.source.n_classes)
        p = heads.probabilities(torch.from_numpy(np.array(self.test, np.float32)))
        return np.asarray(p[0].argmax(1), np.int64)

    def truth(self, multiple: int) -> pd.DataFrame:
        source = self.case.source
        found = self._predicted(self.order[: multiple * self.case.n], source.train)
        return pd.DataFrame({"multiple": multiple, "label": source.evaluation, "predicted": found})

    def changed(self, labels: IntArray, own: NDArray[np.float64]) -> dict[str, float]:
        source, n = self.case.source, self.case.n
        k = round(n * self.case.study.n_changed)
        again = labels.copy()
        doubtful = self.order[:n][np.argsort(own, kind="stable")[:k]]
        again[doubtful] = source.train[doubtful]
        tried = {
            "before": (self.order[:n], labels),
            "relabelled": (self.order[:n], again),
            "labelled": (self.order[: n + k], labels),
        }
        return {
            name: float((self._predicted(*given) == source.evaluation).mean())
            for name, given in tried.items()
        }


def _fit(states: NDArray[np.floating], labels: IntArray, n_classes: int) -> SampleHeads:
    rows = torch.from_numpy(np.array(states, np.float32))
    return fit_sample_heads(rows, torch.from_numpy(labels), n_classes)


def _best_layer(heads: SampleHeads, labels: IntArray) -> int:
    """Return the layer of least leave-one-out log loss."""
    own = heads.left_out[:, np.arange(len(labels)), labels][:, heads.counted]
    return int((-np.log(np.maximum(own, _FLOOR))).mean(1).argmin())
