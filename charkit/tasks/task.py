"""What a task is: texts, optional pairs, labels, and a name for what is in them."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from charkit.config import TaskKind, printable
from charkit.errors import UsageError

Metric = Literal["accuracy", "f1", "macro_f1", "balanced_accuracy", "matthews", "pearson_spearman"]
"""A task's headline metric: share of right answers; F1 of class 1 (of several: their mean); the
mean of F1 over the classes; the mean of recall over the classes; Matthews' correlation; the mean
of Pearson's and Spearman's correlation."""

IMBALANCED = 0.8
"""A class with a larger share of the rows: always predicting it looks good in accuracy, so macro-F1
and balanced accuracy are shown as well."""

LabelArray = NDArray[np.int64] | NDArray[np.float64]


def hash_strings(items: Iterable[str]) -> bytes:
    """Return the SHA-256 digest of strings, each preceded by its length in bytes.

    The lengths keep ``("ab", "c")`` and ``("a", "bc")`` apart.
    """
    digest = hashlib.sha256()
    for item in items:
        raw = item.encode("utf-8", "surrogatepass")
        digest.update(struct.pack("<Q", len(raw)) + raw)
    return digest.digest()


def frozen_labels(labels: ArrayLike) -> LabelArray:
    """Return a read-only copy of labels as int64 (whole numbers) or float64."""
    array = np.array(labels)
    if array.ndim != 1:
        raise UsageError(f"labels: expected one dimension, got shape {array.shape}.")
    kind = array.dtype.kind
    if array.size and kind not in "iuf":
        raise UsageError(f"labels: expected numbers, got dtype {array.dtype}.")
    result: LabelArray
    result = array.astype(np.float64) if kind == "f" and array.size else array.astype(np.int64)
    result.setflags(write=False)
    return result


@dataclass(frozen=True)
class Places:
    """Where rows stand in their file.

    Attributes:
        unit: What ``numbers`` count: ``"line"`` or ``"row"``.
        numbers: The place of every row, from 1.
    """

    unit: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a task.

    Attributes:
        texts: The texts, exactly as in the source; length n_samples.
        pairs: The second texts of sentence pairs, or None.
        labels: Class codes 0..n_classes-1 (int64) or real targets (float64), shape
            (n_samples,); None where the part is not labelled.
        places: Where the rows stand in their file; None where that is not known.
    """

    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None = None
    labels: LabelArray | None = None
    places: Places | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", tuple(self.texts))
        if self.pairs is not None:
            object.__setattr__(self, "pairs", tuple(self.pairs))
            self._check_length("pairs", len(self.pairs))
        if self.labels is not None:
            object.__setattr__(self, "labels", frozen_labels(self.labels))
            self._check_length("labels", len(self.labels))
        if self.places is not None:
            self._check_length("places", len(self.places.numbers))

    def _check_length(self, name: str, length: int) -> None:
        if length != len(self.texts):
            raise UsageError(f"{name}: expected {len(self.texts)}, one a text, got {length}.")

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        pairs = ", pairs" if self.pairs is not None else ""
        labels = "labelled" if self.labels is not None else "not labelled"
        return f"Split({len(self)} texts{pairs}, {labels})"

    def take(self, rows: ArrayLike) -> Split:
        """Return the rows with these indices, in this order."""
        index = np.asarray(rows, dtype=np.int64)
        texts = tuple(self.texts[i] for i in index)
        pairs = None if self.pairs is None else tuple(self.pairs[i] for i in index)
        labels = None if self.labels is None else self.labels[index]
        places = self.places
        if places is not None:
            places = Places(places.unit, tuple(places.numbers[i] for i in index))
        return Split(texts, pairs, labels, places)

    def where(self) -> Places:
        """Return where the rows stand in their file; counted from 1 where that is not known."""
        return self.places or Places("row", tuple(range(1, len(self) + 1)))

    def without_labels(self) -> Split:
        """Return the same texts, not labelled."""
        return Split(self.texts, self.pairs, None, self.places)

    @cached_property
    def text_fingerprint(self) -> str:
        """64 hex digits that name texts and pairs, in order; labels play no part."""
        digest = hashlib.sha256(hash_strings(self.texts))
        digest.update(b"single" if self.pairs is None else b"pairs:" + hash_strings(self.pairs))
        return digest.hexdigest()

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that name texts, pairs and labels, in order."""
        digest = hashlib.sha256(bytes.fromhex(self.text_fingerprint))
        if self.labels is not None:
            digest.update(self.labels.dtype.kind.encode())
            digest.update(self.labels.astype(self.labels.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Task:
    """Labelled texts to learn from, texts to evaluate on, and what the labels mean.

    Attributes:
        name: A short name for tables and figures.
        kind: ``"classification"`` or ``"regression"``.
        train: The labelled part.
        evaluation: The part that scores are computed on; its labels may be None.
        class_names: The name of class code c at position c; empty for regression.
        corpus: Tasks with the same corpus share texts: never split them apart.
        metric: The headline metric.
        source: Where the task came from, as it was asked for.
        notes: What was guessed, split, dropped or counted while loading.
        ceiling: For generated tasks: the best score that any predictor can expect, accuracy
            (classification) or Pearson's correlation (regression); None where unknown.
        unseen_names: Classes that only evaluation rows have. Their codes follow those of
            ``class_names``; no head can predict them, so their rows count as errors.
        pool: Texts that are still to label; None where there are none.
        unnamed_classes: How many classes there are, where no label was read.
        columns: Names of the text, pair and label columns in the source, "" for one that was not
            read; empty where there is no source.
    """

    name: str
    kind: TaskKind
    train: Split
    evaluation: Split | None = None
    class_names: tuple[str, ...] = ()
    corpus: str = ""
    metric: Metric = "accuracy"
    source: str = ""
    notes: tuple[str, ...] = ()
    ceiling: float | None = None
    unseen_names: tuple[str, ...] = ()
    pool: Split | None = None
    unnamed_classes: int = 0
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(TaskKind):
            raise UsageError(f"kind: expected classification or regression, got {self.kind!r}.")
        if self.metric not in get_args(Metric):
            legal = ", ".join(get_args(Metric))
            raise UsageError(f"metric: expected one of {legal}, got {self.metric!r}.")
        object.__setattr__(self, "class_names", tuple(self.class_names))
        object.__setattr__(self, "unseen_names", tuple(self.unseen_names))
        object.__setattr__(self, "notes", tuple(self.notes))
        object.__setattr__(self, "corpus", self.corpus or self.name)
        known = self.n_classes
        for part, n_codes in ((self.train, known), (self.evaluation, known + self.n_unseen)):
            if part is not None and part.labels is not None:
                self._check_labels(part.labels, n_codes)

    def _check_labels(self, labels: LabelArray, n_codes: int) -> None:
        wanted = "i" if self.kind == "classification" else "f"
        if len(labels) and labels.dtype.kind != wanted:
            raise UsageError(f"labels: expected {wanted}64 for {self.kind}, got {labels.dtype}.")
        if self.kind == "classification" and len(labels):
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high >= n_codes:
                raise UsageError(f"labels: expected codes 0..{n_codes - 1}, got {low}..{high}.")

    @property
    def n_classes(self) -> int:
        """The number of classes that training has or names; 0 for regression."""
        if self.kind == "regression":
            return 0
        return len(self.class_names) or self.unnamed_classes

    @property
    def n_unseen(self) -> int:
        """The number of classes that only evaluation rows have."""
        return len(self.unseen_names)

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that name the content: kind, metric, classes and both parts."""
        evaluation = "" if self.evaluation is None else self.evaluation.fingerprint
        parts = (self.kind, self.metric, self.train.fingerprint, evaluation, *self.class_names)
        if self.unseen_names:
            parts += ("only in evaluation", *self.unseen_names)
        if self.pool is not None:
            parts += ("pool", self.pool.fingerprint)
        if self.unnamed_classes:
            parts += ("unnamed classes", str(self.unnamed_classes))
        return hash_strings(parts).hex()

    @property
    def unlabelled(self) -> Split | None:
        """Texts that stand for those to come: the evaluation texts, else the pool."""
        return self.pool if self.evaluation is None else self.evaluation.without_labels()

    def describe(self) -> list[str]:
        """Return a few lines for people: sizes, classes with counts, notes."""
        pairs = "sentence pairs" if self.train.pairs is not None else "texts"
        lines = [f"{self.name}: {self.kind} of {pairs}, metric {self.metric}"]
        lines.append(f"training: {len(self.train)} rows{self._counts(self.train)}")
        if self.evaluation is None:
            lines.append("evaluation: none")
        else:
            counts = self._counts(self.evaluation)
            lines.append(f"evaluation: {len(self.evaluation)} rows{counts}")
        if self.ceiling is not None:
            lines.append(f"ceiling: {self.ceiling:.4f}")
        return lines + [f"note: {note}" for note in self.notes]

    def describe_labels(self) -> list[str]:
        """Return a few lines for people: what is labelled, and what is not; notes."""
        part = self.train if self.pool is None else self.pool
        pairs = "pairs of texts" if part.pairs is not None else "texts"
        n_pool = 0 if self.pool is None else len(self.pool)
        if not len(self.train):
            lines = [f"{self.name}: {n_pool:,} {pairs}, no labels, {self.n_classes} classes"]
        else:
            counts = self._counts(self.train)
            lines = [f"{self.name}: {len(self.train):,} labelled {pairs}{counts}"]
            if n_pool:
                lines.append(f"still to label: {n_pool:,} rows")
        if self.evaluation is not None:
            lines.append(f"evaluation: {len(self.evaluation):,} texts, labels not read")
        return lines + [f"note: {note}" for note in self.notes]

    def _counts(self, part: Split, *, shown: int = 8) -> str:
        if part.labels is None:
            return ", not labelled"
        if self.kind == "regression":
            if not len(part):
                return ""
            return f", targets {part.labels.min():g} to {part.labels.max():g}"
        names = self.class_names if part is self.train else self.class_names + self.unseen_names
        counts = np.bincount(part.labels.astype(np.int64), minlength=len(names))
        ranked = sorted(zip(-counts, names, strict=True))[:shown]
        text = ", ".join(f"{printable(name)} {-count}" for count, name in ranked)
        more = f", and {len(names) - shown} more" if len(names) > shown else ""
        return f", {len(names)} classes: {text}{more}"
