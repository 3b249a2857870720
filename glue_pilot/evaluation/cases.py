"""The cases of the study of test labels: a head, a pool, who is right there, who seems sure.

A case is a labelled sample of one task and a pool of the same task's evaluation rows ("same"), or
of the rows of another corpus with the same labels ("shifted").

One baseline is computed here, since no command uses it: the accuracy on texts without labels by
optimal transport of predictions to labels (COTT). The probabilities of the unlabelled texts are
matched with one-hot labels in the shares that the labelled sample has, at the least total cost; the
cost of a text is 1 minus the probability of the label that it is matched with (the largest
difference of the two distributions). A text counts as wrong whose cost is above the level that as
many labelled texts exceed as are wrong.

Reference: Lu, Qin, Zhai, Shen, Zhang, Wang and Lin 2023, "Characterizing out-of-distribution error
via optimal transport" (COT and COTT).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from charkit.config import Progress, no_progress
from charkit.encoders import encode_to_store, load_encoder
from charkit.encoders.encoder import Encoder
from charkit.encoders.stream import open_states
from charkit.errors import DataError, MissingError
from charkit.heads.metrics.label_free import label_free_accuracy
from charkit.heads.sample.surrogate import fit_tested_head
from charkit.heads.sweep.table import write_table
from charkit.store.cached import cached
from charkit.store.manifest import Clock, run_manifest
from charkit.store.store import Store
from charkit.tasks import Task, load_task
from charkit.tasks.nested import nested_order
from charkit.tasks.task import Split

KIND = "evaluate_cases"
_FORMAT = 2

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class EvaluateStudy:
    """What is simulated.

    Attributes:
        name: Names the results: ``results/<name>.json`` and so on.
        encoder: Name of the encoder.
        n_train: Training rows of a task that samples are drawn from, at most.
        n_pool: Rows of a pool, at most.
        n_labelled: Sizes of the labelled sample.
        n_seeds: Labelled samples of each size.
        n_draws: Draws of test rows from each pool.
        budgets: Test labels.
        same: Tasks whose evaluation rows are the pool.
        shifted: Lines ``name: task, task, ...``: each sample meets the pools of the others.
        renamed: Lines ``task: own=common, ...``: classes under the name that a line of
            ``shifted`` uses; several may get the same.
    """

    name: str
    encoder: str
    n_train: int
    n_pool: int
    n_labelled: tuple[int, ...]
    n_seeds: int
    n_draws: int
    budgets: tuple[int, ...]
    same: tuple[str, ...]
    shifted: tuple[str, ...]
    renamed: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Rows:
    """Labelled rows of a task as the study reads them.

    Attributes:
        states: Key of their states in the store.
        classes: The class name of every row under its common name, (n,).
    """

    states: str
    classes: NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class Source:
    """A task of the study, encoded."""

    name: str
    corpus: str
    train: Rows
    evaluation: Rows


@dataclass(frozen=True, eq=False)
class Case:
    """A labelled sample and a pool.

    Attributes:
        sample: The task that the labelled sample comes from.
        pool: The task that the pool comes from.
        group: Line of ``shifted``, or ``"same"``.
        n_labelled: Rows of the labelled sample.
        seed: Of the labelled sample and of the pool.
        n_pool: Rows of the pool, at most.
    """

    sample: Source
    pool: Source
    group: str
    n_labelled: int
    seed: int
    n_pool: int

    @property
    def shifted(self) -> bool:
        """Whether the pool is of another corpus."""
        return self.group != "same"

    @property
    def config(self) -> dict[str, Any]:
        """What determines the case; its `content_hash` is its key in the store."""
        return {
            "kind": KIND,
            "format": _FORMAT,
            "sample": [self.sample.train.states, self.sample.train.classes.tolist()],
            "pool": [
                [rows.states, rows.classes.tolist()]
                for rows in (self.pool.evaluation, self.pool.train)
            ],
            "shifted": self.shifted,
            "n_labelled": self.n_labelled,
            "seed": self.seed,
            "n_pool": self.n_pool,
        }


@dataclass(frozen=True, eq=False)
class Measured:
    """What a case holds.

    Attributes:
        pool: One row a pool text: ``right``, ``confidence`` and ``expected`` (correctness).
        facts: Layer, numbers of classes and rows, and the estimates without test labels.
    """

    pool: pd.DataFrame
    facts: dict[str, Any]


def load_sources(
    study: EvaluateStudy, root: Path | None, store: Store, *, progress: Progress = no_progress
) -> dict[str, Source]:
    """Read and encode the tasks of a study, each once.

    Args:
        study: Names the tasks.
        root: Folder with a folder a task; None for tasks that need none.
        store: Where states are kept.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        MissingError: Tasks lie in a folder, and none is named.
        DataError: A part of a task has no labels.
    """
    names = [name for _, names in groups(study) for name in names]
    encoder = load_encoder(study.encoder)
    common = _common_names(study)
    found = {}
    wanted = list(dict.fromkeys([*study.same, *names]))
    for done, name in enumerate(wanted):
        progress("read and encode tasks", done, len(wanted))
        if "/" in name:
            task = load_task(name)
        elif root is None:
            raise MissingError(
                f"{study.name} needs a folder of tasks: expected one with {name}/, got none. "
                "Name it with TASKS=... or --tasks."
            )
        else:
            task = load_task(root / name)
        found[name] = _encoded(task, name, study, encoder, store, common.get(name, {}))
    progress("read and encode tasks", len(wanted), len(wanted))
    return found


def groups(study: EvaluateStudy) -> list[tuple[str, list[str]]]:
    """Return the lines of ``shifted`` as names and tasks.

    Raises:
        DataError: A line has no name, or fewer than two tasks.
    """
    found = []
    for line in study.shifted:
        name, _, tasks = line.partition(": ")
        members = [task.strip() for task in tasks.split(",") if task.strip()]
        if len(members) < 2:
            raise DataError(
                f"{study.name}: shifted: expected lines 'name: task, task', got {line!r}."
            )
        found.append((name, members))
    return found


def _common_names(study: EvaluateStudy) -> dict[str, dict[str, str]]:
    found = {}
    for line in study.renamed:
        task, _, pairs = line.partition(": ")
        found[task] = dict(pair.strip().split("=", 1) for pair in pairs.split(","))
    return found


def _encoded(
    task: Task,
    name: str,
    study: EvaluateStudy,
    encoder: Encoder,
    store: Store,
    common: dict[str, str],
) -> Source:
    part = task.evaluation
    if task.train.labels is None or part is None or part.labels is None:
        raise DataError(f"{task.name}: expected labels in both parts, got some without.")
    order = nested_order(task.train.labels, seed=0, kind="classification")[: study.n_train]
    drawn = np.random.default_rng(0).permutation(len(part))[: study.n_pool]

    def rows(split: Split) -> Rows:
        states = encode_to_store(encoder, split, store=store)
        assert split.labels is not None
        own = [task.class_names[int(code)] for code in split.labels]
        return Rows(states.key, np.array([common.get(c, c) for c in own]))

    return Source(
        name, task.corpus, rows(task.train.take(np.sort(order))), rows(part.take(np.sort(drawn)))
    )


def all_cases(study: EvaluateStudy, sources: dict[str, Source]) -> list[Case]:
    """Return every case of a study; every task of a line meets every other."""
    pairs = [("same", name, name) for name in study.same]
    for group, members in groups(study):
        pairs += [
            (group, a, b)
            for a in members
            for b in members
            if a != b
            and (
                sources[a].corpus != sources[b].corpus or a.startswith(("politeness", "generated"))
            )
        ]
    return [
        Case(sources[a], sources[b], group, n, seed, study.n_pool)
        for group, a, b in pairs
        for n in study.n_labelled
        for seed in range(study.n_seeds)
        if n <= len(sources[a].train.classes)
    ]


def measure(case: Case, store: Store) -> Measured:
    """Return a case from the store, making it when it is absent."""

    def make(folder: Path) -> dict[str, Any]:
        clock = Clock()
        measured = _measure(case, store)
        write_table(measured.pool, folder / "pool.parquet")
        write_table(pd.DataFrame([measured.facts]), folder / "facts.parquet")
        return run_manifest(
            case.config,
            clock=clock,
            seeds={"sample": case.seed},
            fingerprints={"sample": case.sample.train.states, "pool": case.pool.evaluation.states},
        )

    return cached(store, KIND, case.config, make=make, load=_load).value


def _load(folder: Path) -> Measured:
    facts = pd.read_parquet(folder / "facts.parquet").to_dict("records")[0]
    return Measured(pd.read_parquet(folder / "pool.parquet"), {str(k): v for k, v in facts.items()})


def _stack(store: Store, rows: Rows, chosen: IntArray) -> NDArray[np.float32]:
    states = open_states(store, rows.states)
    return np.stack([states.layer(k)[chosen] for k in range(states.n_layers + 1)])


def _measure(case: Case, store: Store) -> Measured:
    held = case.pool.evaluation
    classes = np.unique(case.sample.train.classes)
    if case.shifted:
        there = np.concatenate([held.classes, case.pool.train.classes])
        classes = np.intersect1d(classes, np.unique(there))
    known = np.flatnonzero(np.isin(case.sample.train.classes, classes))
    codes = np.searchsorted(classes, case.sample.train.classes[known])
    drawn = nested_order(codes, seed=case.seed, kind="classification")[: case.n_labelled]
    known, codes = known[drawn], codes[drawn].astype(np.int64)

    rows = np.flatnonzero(np.isin(held.classes, classes))
    pool, truth = _stack(store, held, rows), held.classes[rows]
    if case.shifted and len(truth) < case.n_pool:  # of a target not learned from, all rows serve
        more = np.flatnonzero(np.isin(case.pool.train.classes, classes))
        pool = np.concatenate([pool, _stack(store, case.pool.train, more)], 1)
        truth = np.concatenate([truth, case.pool.train.classes[more]])
    kept = np.random.default_rng(case.seed).permutation(len(truth))[: case.n_pool]
    pool, answers = pool[:, kept], np.searchsorted(classes, truth[kept]).astype(np.int64)

    head = fit_tested_head(_stack(store, case.sample.train, known), codes, len(classes), pool)
    free = label_free_accuracy(head.left_out, codes, head.probabilities)
    facts = {
        "layer": head.layer,
        "n_classes": len(classes),
        "n_labelled": len(codes),
        "n_pool": len(answers),
        "left_out": float(head.right.mean()),
        "average_confidence": free.average_confidence,
        "doc": free.doc,
        "atc_confidence": free.atc_confidence,
        "atc_entropy": free.atc_entropy,
        "cott": cott_accuracy(head.left_out, codes, head.probabilities),
    }
    return Measured(
        pd.DataFrame(
            {
                "right": head.predicted == answers,
                "confidence": head.confidence[0],
                "expected": head.expected,
            }
        ),
        facts,
    )


FloatArray = NDArray[np.float64]


def cott_accuracy(known: ArrayLike, labels: ArrayLike, unknown: ArrayLike) -> float:
    """Return the share right among unlabelled texts by COTT, from 0 to 1.

    Args:
        known: Out-of-fold probabilities of the labelled texts, (n_known, n_classes).
        labels: Their class codes, (n_known,).
        unknown: Probabilities of the unlabelled texts, (n_unknown, n_classes).
    """
    p, q = np.asarray(known, np.float64), np.asarray(unknown, np.float64)
    codes = np.asarray(labels, np.int64)
    shares = np.bincount(codes, minlength=p.shape[1]) / len(codes)
    mine, theirs = _costs(p, shares), _costs(q, shares)
    n_wrong = int((p.argmax(1) != codes).sum())
    ordered = np.sort(mine)[::-1]
    if n_wrong == 0:
        return 1.0
    if n_wrong == len(ordered):
        return 0.0
    level = (ordered[n_wrong - 1] + ordered[n_wrong]) / 2
    return float((theirs < level).mean() + (theirs == level).mean() / 2)


def _costs(p: FloatArray, shares: FloatArray) -> FloatArray:
    """Return the cost of each row where rows meet labels of the given shares at least cost."""
    from scipy.optimize import linear_sum_assignment  # not at import: some machines lack it

    targets = np.repeat(np.arange(len(shares)), _counts(shares, len(p)))
    cost = 1 - p[:, targets]
    rows, columns = linear_sum_assignment(cost)
    out = np.empty(len(p))
    out[rows] = cost[rows, columns]
    return out


def _counts(shares: FloatArray, n: int) -> NDArray[np.int64]:
    """Return whole numbers in the given shares that add up to n (largest remainders).

    >>> _counts(np.array([0.5, 0.25, 0.25]), 5).tolist()
    [3, 1, 1]
    """
    wanted = shares * n
    counts = np.floor(wanted).astype(np.int64)
    order = np.argsort(counts - wanted, kind="stable")
    counts[order[: n - counts.sum()]] += 1
    return counts
