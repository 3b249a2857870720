"""Parts and variants of a task that stand for tasks of their own in the meta-dataset.

Most are named in the language of `charkit.tasks.make_subset`. Two kinds are not:

=============================  ====================================================================
``noisy:0.2``                  labels flipped as ``noise:0.2`` flips them, in BOTH parts: who cannot
                               label texts without error cannot judge heads without error either
``shift:length:short>long``    trained on one part, judged (and looked at, unlabelled) on another
=============================  ====================================================================
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from charkit.errors import DataError
from charkit.tasks.nested import nested_order
from charkit.tasks.subsets import Subset, make_subset
from charkit.tasks.task import Task, hash_strings

IntArray = NDArray[np.int64]

LARGEST_SHARE = 0.97
"""A part where one class has more of the training rows has nothing to learn."""

REPEATED = 0.95
"""A part with the same classes and more of the task's rows is the task again."""

FEWEST_ROWS = 2
"""Classes of a part with fewer training rows are left out, so that every pilot can be checked."""

# Shares of labels that are replaced, in the order in which they are taken; and clusters of a task.
# Choices: mild and strong noise, and a third of a task, which is large enough for pilots.
NOISES = (0.2, 0.4, 0.1)
N_CLUSTERS = 3


@dataclass(frozen=True, eq=False)
class Variant:
    """Rows of a task with labels of their own.

    Attributes:
        name: What tables call it.
        train_rows: Rows of the task's training part, (n_train,).
        train_labels: Their classes from 0, (n_train,).
        evaluation_rows: Rows of its evaluation part, (n_eval,).
        evaluation_labels: Their classes, (n_eval,).
        n_classes: How many classes there are.
    """

    name: str
    train_rows: IntArray
    train_labels: IntArray
    evaluation_rows: IntArray
    evaluation_labels: IntArray
    n_classes: int

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that name rows and labels."""
        arrays = (self.train_rows, self.train_labels, self.evaluation_rows, self.evaluation_labels)
        parts = [array.astype("<i8").tobytes().hex() for array in arrays]
        return hash_strings([self.name, str(self.n_classes), *parts]).hex()


def has_two_classes(labels: IntArray, *, n: int, seed: int) -> bool:
    """Tell whether the first n rows of a nested draw have more than one class.

    A class with more than one row in n on average has one among them for sure
    (`charkit.tasks.nested_order`), so the draw is looked at only where fewer than two have.
    """
    counts = np.bincount(labels)
    if (counts * n > len(labels)).sum() >= 2:
        return True
    order = nested_order(labels, seed=seed, kind="classification")
    return len(np.unique(labels[order[:n]])) >= 2


def make_variants(
    task: Task, *, most: int, smallest_train: int, smallest_evaluation: int, seed: int = 0
) -> tuple[Variant, ...]:
    """Return the whole of a task and parts of it that are large enough and no repeats.

    Args:
        task: A classification task, labelled in both parts.
        most: How many are returned at most, the whole among them.
        smallest_train: Training rows that each needs.
        smallest_evaluation: Evaluation rows that each needs.
        seed: Of what is drawn: classes, groups, rows left out, flipped labels.

    Returns:
        The whole first; empty where even the whole is too small.
    """
    kept: list[Variant] = []
    seen: set[bytes] = set()
    for variant in _candidates(task, seed, smallest_train):
        if len(kept) == most:
            break
        key = variant.train_rows.tobytes() + variant.train_labels.tobytes()
        key += variant.evaluation_rows.tobytes()
        if key in seen or not _is_usable(variant, smallest_train, smallest_evaluation):
            continue
        if kept and _repeats(variant, kept[0]):
            continue
        seen.add(key)
        kept.append(variant)
    return tuple(kept) if kept and kept[0].name == "all" else ()


def _is_usable(variant: Variant, n_train: int, n_evaluation: int) -> bool:
    if len(variant.train_rows) < n_train or len(variant.evaluation_rows) < n_evaluation:
        return False
    counts = np.bincount(variant.train_labels)
    return bool(counts.max() <= LARGEST_SHARE * counts.sum())


def _repeats(variant: Variant, whole: Variant) -> bool:
    """Tell whether a part has nearly all rows of the whole, with its labels."""
    if variant.n_classes != whole.n_classes or variant.name.startswith(("noisy", "shift")):
        return False
    return len(variant.train_rows) > REPEATED * len(whole.train_rows)


def _candidates(task: Task, seed: int, smallest_train: int) -> Iterator[Variant]:
    """Yield variants, the more telling ones first."""
    yield _variant(make_subset(task, "all", seed=seed, fewest=FEWEST_ROWS))
    rng = np.random.default_rng([seed, int(task.fingerprint[:8], 16)])
    specs = [
        spec
        for pair in zip_longest(_class_specs(task, rng, smallest_train), _merge_specs(task, rng))
        for spec in pair
        if spec is not None
    ]
    specs += _imbalance_specs(task)
    yield from _made(task, specs[: len(specs) // 2], seed)
    yield from (_noisy(task, share, seed) for share in NOISES[:2])
    bands = {b: _part(task, f"length:{b}", seed) for b in ("short", "long")}
    clusters = {
        f"{k}": _part(task, f"cluster:{N_CLUSTERS}/{k}", seed) for k in range(1, N_CLUSTERS + 1)
    }
    yield from _shifts("length", bands)
    yield from (_variant(part) for part in bands.values() if part is not None)
    yield from list(_shifts(f"cluster:{N_CLUSTERS}", clusters))[:1]
    yield from list(_variant(part) for part in clusters.values() if part is not None)[:2]
    yield from _made(task, specs[len(specs) // 2 :], seed)
    yield from (_noisy(task, share, seed) for share in NOISES[2:])
    yield from _made(task, ["length:medium"], seed)


def _made(task: Task, specs: Sequence[str], seed: int) -> Iterator[Variant]:
    for spec in specs:
        part = _part(task, spec, seed)
        if part is not None:
            yield _variant(part)


def _part(task: Task, spec: str, seed: int) -> Subset | None:
    """Return a part, or None where too little is left for one."""
    try:
        return make_subset(task, spec, seed=seed, fewest=FEWEST_ROWS)
    except DataError:
        return None


def _variant(part: Subset, *, name: str = "") -> Variant:
    assert part.evaluation_labels is not None
    return Variant(
        name=name or part.name,
        train_rows=part.train_rows,
        train_labels=part.train_labels.astype(np.int64),
        evaluation_rows=part.evaluation_rows,
        evaluation_labels=part.evaluation_labels.astype(np.int64),
        n_classes=len(part.class_names),
    )


def _noisy(task: Task, share: float, seed: int) -> Variant:
    subset = make_subset(task, f"noise:{share:g}", seed=seed, fewest=FEWEST_ROWS)
    part = _variant(subset, name=f"noisy:{share:g}")
    rng = np.random.default_rng([seed, 0xE7A1])
    labels = part.evaluation_labels.copy()
    flipped = rng.permutation(len(labels))[: round(share * len(labels))]
    labels[flipped] += rng.integers(1, part.n_classes, size=len(flipped))
    return Variant(
        part.name,
        part.train_rows,
        part.train_labels,
        part.evaluation_rows,
        labels % part.n_classes,
        part.n_classes,
    )


def _shifts(kind: str, parts: dict[str, Subset | None]) -> Iterator[Variant]:
    """Yield each part's training rows with another part's evaluation rows."""
    for one, train in parts.items():
        for other, evaluation in parts.items():
            if one == other or train is None or evaluation is None:
                continue
            yield _shifted(f"shift:{kind}:{one}>{other}", train, evaluation)


def _shifted(name: str, train: Subset, evaluation: Subset) -> Variant:
    """Join two parts; evaluation rows of classes that the training rows lack are left out."""
    assert evaluation.evaluation_labels is not None
    places = {c: k for k, c in enumerate(train.class_names)}
    code = np.array([places.get(c, -1) for c in evaluation.class_names], np.int64)
    labels = code[evaluation.evaluation_labels.astype(np.int64)]
    known = labels >= 0
    return Variant(
        name=name,
        train_rows=train.train_rows,
        train_labels=train.train_labels.astype(np.int64),
        evaluation_rows=evaluation.evaluation_rows[known],
        evaluation_labels=labels[known],
        n_classes=len(train.class_names),
    )


def _class_specs(task: Task, rng: np.random.Generator, smallest_train: int) -> list[str]:
    """Return random subsets of the classes with enough rows, from two classes up."""
    n = task.n_classes
    if n < 3:
        return []
    assert task.train.labels is not None
    counts = np.bincount(task.train.labels.astype(np.int64), minlength=n)
    wanted = {3: (2, 2, 2), 4: (2, 2, 3, 3), 5: (2, 2, 3, 4)}.get(
        n, (2, 3, max(2, n // 2), 5, max(2, n // 5))
    )
    specs = []
    for size in wanted:
        chosen = _enough_rows(rng.permutation(n), size, counts, 1.2 * smallest_train)
        if len(chosen) < n:
            specs.append("classes:" + _joined([task.class_names[c] for c in sorted(chosen)]))
    return list(dict.fromkeys(specs))


def _enough_rows(order: IntArray, size: int, counts: IntArray, n_rows: float) -> list[int]:
    """Return the first classes of an order: at least ``size``, and more until rows suffice."""
    for k in range(size, len(order)):
        if counts[order[:k]].sum() >= n_rows:
            return [int(c) for c in order[:k]]
    return [int(c) for c in order]


def _merge_specs(task: Task, rng: np.random.Generator) -> list[str]:
    """Return random groupings of all classes into two to five."""
    n = task.n_classes
    if n < 3 or any("+" in name for name in task.class_names):
        return []
    wanted = {3: (2, 2), 4: (2, 3), 5: (2, 3)}.get(n, (2, 2, 3, 5))
    specs = []
    for n_groups in wanted:
        order = rng.permutation(n)
        group = np.concatenate([np.arange(n_groups), rng.integers(0, n_groups, n - n_groups)])
        merged = [sorted(order[group == g].tolist()) for g in range(n_groups)]
        merged.sort()
        named = ["+".join(task.class_names[c] for c in classes) for classes in merged]
        specs.append("merge:" + _joined(named))
    return list(dict.fromkeys(specs))


def _imbalance_specs(task: Task) -> list[str]:
    if task.n_classes > 5:
        return []
    return [f"imbalance:{share:g}" for share in (0.1, 0.3) if share < 1 / task.n_classes]


def _joined(names: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return line.getvalue()
