"""Pilots of the meta-dataset: which there are, and what each of them may see.

A pilot is the beginning of one nested draw of a variant's training rows, and unlabelled
evaluation texts. Work on pilots is handed out blind: the labels of the evaluation rows do not
leave `blinded`, so nothing that is computed from a pilot can depend on them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from charkit.tasks.nested import nested_order
from charkit.tasks.task import hash_strings
from glue_pilot.metadata_study import MetadataStudy
from glue_pilot.variants import Variant, has_two_classes

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class BlindVariant:
    """A variant without the labels of its evaluation rows.

    Attributes:
        name: What tables call it.
        train_rows: Rows of the base task's training part, (n_train,).
        train_labels: Their classes from 0, (n_train,).
        unlabelled_rows: Rows of its evaluation part, in random order, (n_unlabelled,).
        n_classes: How many classes there are.
    """

    name: str
    train_rows: IntArray
    train_labels: IntArray
    unlabelled_rows: IntArray
    n_classes: int

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that name rows and labels."""
        arrays = (self.train_rows, self.train_labels, self.unlabelled_rows)
        parts = [array.astype("<i8").tobytes().hex() for array in arrays]
        return hash_strings([self.name, str(self.n_classes), *parts]).hex()

    def sample(self, pilot: Pilot) -> tuple[IntArray, IntArray]:
        """Return a pilot's rows of the base task and their labels, small pilots nested in large."""
        order = nested_order(self.train_labels, seed=pilot.seed, kind="classification")
        chosen = order[: pilot.n0]
        return self.train_rows[chosen], self.train_labels[chosen]


@dataclass(frozen=True, order=True)
class Pilot:
    """One pilot of a variant.

    Attributes:
        n0: Labelled texts; 0 for none.
        seed: Which nested draw.
    """

    n0: int
    seed: int


def blinded(variant: Variant, study: MetadataStudy) -> BlindVariant:
    """Return what pilots of a variant may see."""
    order = np.random.default_rng(0).permutation(len(variant.evaluation_rows))
    return BlindVariant(
        name=variant.name,
        train_rows=variant.train_rows,
        train_labels=variant.train_labels,
        unlabelled_rows=variant.evaluation_rows[order[: study.n_unlabelled]],
        n_classes=variant.n_classes,
    )


def pilots_of(variant: BlindVariant, study: MetadataStudy) -> list[Pilot]:
    """Return a variant's pilots: none larger than half of its training rows.

    A pilot has at least two labels a class on average and labels of two classes, or no label at
    all; without labels all draws are the same, so there is one.
    """
    half = len(variant.train_rows) // 2
    smallest = max(2, 2 * variant.n_classes)
    wanted = study.pilots if variant.name == "all" else study.variant_pilots
    sizes = [n for n in sorted(wanted) if n == 0 or smallest <= n <= half]
    found = [
        Pilot(n, seed) for n in sizes for seed in (study.pilot_seeds(variant.name) if n else (0,))
    ]
    labels = variant.train_labels
    return [p for p in found if not p.n0 or has_two_classes(labels, n=p.n0, seed=p.seed)]


def fisher_pilots_of(
    variant: BlindVariant, pilots: Iterable[Pilot], study: MetadataStudy
) -> list[Pilot]:
    """Return those of a variant's pilots that get a Fisher embedding."""
    if variant.name == "all":
        sizes, n_draws = study.fisher_pilots, study.fisher_draws
    else:
        sizes, n_draws = study.fisher_variant_pilots, 1
    return [p for p in pilots if p.n0 in sizes and p.seed < n_draws]


def by_draw(pilots: Iterable[Pilot]) -> list[tuple[Pilot, ...]]:
    """Return the pilots of each draw: what is computed and kept together."""
    draws: dict[int, list[Pilot]] = {}
    for pilot in pilots:
        draws.setdefault(pilot.seed, []).append(pilot)
    return [tuple(draws[seed]) for seed in sorted(draws)]
