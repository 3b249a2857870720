"""Parts and variants of a task, as rows of the parent: its features can be reused.

========================  =======================================================================
``all``                   every row
``classes:A,B``           only the rows of these classes
``merge:A+B,C``           classes A and B as one; classes that are not named are left out
``imbalance:0.1``         rows left out so that the rarest class is a tenth, in BOTH parts
``length:short``          the third with the fewest characters (also ``medium``, ``long``);
                          the bounds are those of the training part
``cluster:5/2``           the second of five clusters of the texts (TF-IDF, SVD, k-means; no label)
``noise:0.2``             a fifth of the TRAINING labels replaced by another class
========================  =======================================================================

Names that contain a comma stand in quotation marks: ``classes:"a, b",c``. There is no subset by
domain: a task has no column that says where a text comes from.

Clusters of texts: TF-IDF, truncated SVD, k-means; no label is looked at.
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from charkit.config import listing
from charkit.errors import DataError, UnknownNameError, UsageError
from charkit.tasks.nested import nested_order
from charkit.tasks.task import LabelArray, Split, Task, frozen_labels, hash_strings

# Dimensions that k-means sees. A choice that was not tuned: clusters serve as subsets only.
_WIDTH = 50


def text_clusters(
    task: Task, *, n_clusters: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cluster the training texts and give every evaluation text to the nearest centre.

    Words are anything between spaces, weighted by TF-IDF; rows have length 1 before and after
    the reduction to 50 dimensions.

    Args:
        task: The task; both texts of a pair count.
        n_clusters: How many clusters.
        seed: Seed of the SVD and of k-means.

    Returns:
        The cluster (0..n_clusters-1) of each training and of each evaluation row.

    Raises:
        DataError: There are fewer different texts than clusters.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import TruncatedSVD
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    texts = _joined(task.train)
    too_few = DataError(
        f"{task.name}: {len(set(texts))} different training texts for {n_clusters} clusters: "
        "expected more texts than clusters. Ask for fewer clusters."
    )
    if len(set(texts)) < n_clusters:
        raise too_few
    vectoriser = TfidfVectorizer(token_pattern=r"(?u)\S+", sublinear_tf=True)
    counts = vectoriser.fit_transform(texts)
    width = min(_WIDTH, counts.shape[1] - 1, counts.shape[0] - 1)
    svd = TruncatedSVD(max(1, width), random_state=seed)
    means = KMeans(n_clusters, n_init=4, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            train = means.fit_predict(normalize(svd.fit_transform(counts)))
        except ConvergenceWarning as error:
            raise too_few from error
    evaluation = np.zeros(0, dtype=np.int64)
    if task.evaluation is not None and len(task.evaluation):
        rows = vectoriser.transform(_joined(task.evaluation))
        evaluation = means.predict(normalize(svd.transform(rows)))
    return train.astype(np.int64), evaluation.astype(np.int64)


def _joined(part: Split) -> list[str]:
    if part.pairs is None:
        return list(part.texts)
    return [f"{a} {b}" for a, b in zip(part.texts, part.pairs, strict=True)]


IndexArray = NDArray[np.int64]

SUBSET_KINDS = ("all", "classes", "merge", "imbalance", "length", "cluster", "noise")
"""The words that a spec may begin with."""

LENGTH_BANDS = ("short", "medium", "long")


@dataclass(frozen=True, eq=False)
class Subset:
    """Some rows of a task, with labels of their own.

    Attributes:
        name: The spec, tidied.
        train_rows: Rows of the parent's training part, ascending, shape (n_train,).
        evaluation_rows: Rows of its evaluation part, ascending; empty where it has none.
        train_labels: Labels of the training rows; class codes count from 0 in ``class_names``.
        evaluation_labels: Labels of the evaluation rows; None where they have none.
        class_names: The classes that are left; empty for regression.
        fingerprint: 64 hex digits that name the content.
        notes: What was left out, or is to be minded.
        unseen_names: Classes that only its evaluation rows have; their codes follow.
    """

    name: str
    train_rows: IndexArray
    evaluation_rows: IndexArray
    train_labels: LabelArray
    evaluation_labels: LabelArray | None
    class_names: tuple[str, ...]
    fingerprint: str = ""
    notes: tuple[str, ...] = ()
    unseen_names: tuple[str, ...] = ()

    @property
    def n_codes(self) -> int:
        """Classes of either part; 0 for regression."""
        return len(self.class_names) + len(self.unseen_names)


def make_subset(task: Task, spec: str, *, seed: int, fewest: int = 1) -> Subset:
    """Take a part or a variant of a task.

    Evaluation rows of a class that the part's training rows lack are kept: no head can be right
    on them.

    Args:
        task: The parent; its training part is labelled.
        spec: What to take; see the table at the top of this module.
        seed: Seed of what is drawn: rows left out, clusters, flipped labels.
        fewest: Classes with fewer training rows than this are left out of both parts; 1 leaves
            none out.

    Raises:
        UnknownNameError: The kind of subset, or a class, is not known.
        UsageError: The part of the spec behind the colon is wrong.
        DataError: Too little would be left to learn from.
    """
    kind, _, rest = spec.partition(":")
    if kind not in SUBSET_KINDS:
        raise UnknownNameError(
            "subset", kind, SUBSET_KINDS, hint="Examples: classes:A,B or length:short."
        )
    if (kind == "all") == bool(rest):
        raise UsageError(f"subset: expected {_EXAMPLES[kind]}, got {spec!r}.")
    return _finish(task, _MAKERS[kind](task, _whole(task), rest, seed), fewest)


def _whole(task: Task) -> Subset:
    """Return every row: a subset in the making, whose class codes are still the parent's."""
    if task.train.labels is None:
        raise DataError(f"{task.name}: the training part has no labels: expected labels.")
    n_eval = 0 if task.evaluation is None else len(task.evaluation)
    return Subset(
        name="all",
        train_rows=np.arange(len(task.train)),
        evaluation_rows=np.arange(n_eval),
        train_labels=task.train.labels,
        evaluation_labels=None if task.evaluation is None else task.evaluation.labels,
        class_names=task.class_names + task.unseen_names,
    )


def _kept(part: Subset, train: NDArray[np.bool_], evaluation: NDArray[np.bool_]) -> Subset:
    """Return the rows where the masks are true."""
    labels = part.evaluation_labels
    return replace(
        part,
        train_rows=part.train_rows[train],
        evaluation_rows=part.evaluation_rows[evaluation],
        train_labels=part.train_labels[train],
        evaluation_labels=None if labels is None else labels[evaluation],
    )


def _finish(task: Task, part: Subset, fewest: int) -> Subset:
    if task.kind == "classification":
        part = _renumbered(task, part, fewest)
    if len(part.train_rows) < 2:
        raise DataError(
            f"{task.name}, subset {part.name}: expected at least 2 training rows, got "
            f"{len(part.train_rows)}. Choose a larger part."
        )
    if task.evaluation is not None and not len(part.evaluation_rows):
        raise DataError(
            f"{task.name}, subset {part.name}: no evaluation row is left of "
            f"{len(task.evaluation)}. Choose a larger part."
        )
    labels = part.evaluation_labels
    part = replace(
        part,
        train_labels=frozen_labels(part.train_labels),
        evaluation_labels=None if labels is None else frozen_labels(labels),
    )
    for rows in (part.train_rows, part.evaluation_rows):
        rows.setflags(write=False)
    arrays = [part.train_rows, part.evaluation_rows, part.train_labels]
    if part.evaluation_labels is not None:
        arrays.append(part.evaluation_labels)
    parts = [f"{a.dtype.kind}{a.tobytes().hex()}" for a in arrays]
    unseen = ["only in evaluation", *part.unseen_names] if part.unseen_names else []
    fingerprint = hash_strings([task.fingerprint, *parts, *part.class_names, *unseen]).hex()
    return replace(part, fingerprint=fingerprint)


def _renumbered(task: Task, part: Subset, fewest: int) -> Subset:
    """Count the codes from 0 again: classes with training rows first, then those without."""
    names, notes = part.class_names, []
    train = part.train_labels.astype(np.int64)
    kept = np.flatnonzero(np.bincount(train, minlength=len(names)) >= fewest)
    rows = "a training row" if fewest == 1 else f"{fewest} training rows"
    if len(kept) < 2:
        raise DataError(
            f"{task.name}, subset {part.name}: expected at least two classes with {rows} each, "
            f"got {len(kept)}. Choose a larger part."
        )
    labelled = part.evaluation_labels is not None
    evaluation = np.zeros(0, dtype=np.int64)
    if part.evaluation_labels is not None:
        evaluation = part.evaluation_labels.astype(np.int64)
    unseen = np.setdiff1d(evaluation, kept) if fewest == 1 else np.zeros(0, dtype=np.int64)
    known = np.isin(evaluation, np.union1d(kept, unseen))
    n_lost = int((~np.isin(train, kept)).sum())
    if n_lost or not known.all():
        notes.append(
            f"left out: {n_lost} training rows and {int((~known).sum())} evaluation rows of "
            f"classes with fewer than {fewest} training rows"
        )
    if len(unseen):
        notes.append(_note_unseen(task, part, evaluation, unseen))
    everything = np.ones(len(part.evaluation_rows), dtype=bool)
    part = _kept(part, np.isin(train, kept), known if labelled else everything)
    code = np.full(len(names), -1, dtype=np.int64)
    code[np.concatenate([kept, unseen])] = np.arange(len(kept) + len(unseen))
    return replace(
        _recoded(part, code),
        class_names=tuple(names[c] for c in kept.tolist()),
        unseen_names=tuple(names[c] for c in unseen.tolist()),
        notes=tuple(notes),
    )


def _recoded(part: Subset, code: IndexArray) -> Subset:
    """Return the rows with other class codes; old code -> new code."""
    labels = part.evaluation_labels
    return replace(
        part,
        train_labels=code[part.train_labels.astype(np.int64)],
        evaluation_labels=None if labels is None else code[labels.astype(np.int64)],
    )


def _note_unseen(task: Task, part: Subset, evaluation: IndexArray, unseen: IndexArray) -> str:
    """Return a note on rows that no head can be right on; refuse if there are no others."""
    n_rows = int(np.isin(evaluation, unseen).sum())
    names = listing(part.class_names[c] for c in unseen.tolist())
    if n_rows == len(evaluation):
        raise DataError(
            f"{task.name}, subset {part.name}: none of {n_rows:,} evaluation rows has a class of "
            f"the training rows, got only {names}. Choose a larger part."
        )
    return (
        f"{n_rows:,} of {len(evaluation):,} evaluation rows are of classes without a training "
        f"row and count as errors: {names}"
    )


def _all(task: Task, part: Subset, rest: str, seed: int) -> Subset:
    return part


def _classes(task: Task, part: Subset, rest: str, seed: int) -> Subset:
    return _regrouped(task, part, [[name] for name in _split_names(rest)], kind="classes")


def _merge(task: Task, part: Subset, rest: str, seed: int) -> Subset:
    groups = [[g] if g in task.class_names else g.split("+") for g in _split_names(rest)]
    return _regrouped(task, part, groups, kind="merge")


def _regrouped(task: Task, part: Subset, groups: Sequence[Sequence[str]], *, kind: str) -> Subset:
    """Make one class of each group; classes outside the groups are left out."""
    _require_classes(task, kind)
    named = [name for group in groups for name in group]
    for name in named:
        if name not in task.class_names:
            raise UnknownNameError("class", name, task.class_names, hint=f"Task: {task.name}.")
    if len(set(named)) < len(named) or len(groups) < 2:
        raise UsageError(
            f"subset: expected at least two groups of distinct classes, got "
            f"{kind}:{_join_names(['+'.join(g) for g in groups])!r}."
        )
    code = np.full(len(part.class_names), -1, dtype=np.int64)
    for number, group in enumerate(groups):
        code[[task.class_names.index(name) for name in group]] = number
    part = _recoded(_labelled(task, part), code)
    assert part.evaluation_labels is not None
    part = _kept(part, part.train_labels >= 0, part.evaluation_labels >= 0)
    names = tuple("+".join(group) for group in groups)
    return replace(part, class_names=names, name=f"{kind}:{_join_names(names)}")


def _imbalance(task: Task, part: Subset, rest: str, seed: int) -> Subset:
    _require_classes(task, "imbalance")
    part = _labelled(task, part)
    share = _share(rest, "imbalance")
    train = part.train_labels.astype(np.int64)
    assert part.evaluation_labels is not None
    evaluation = part.evaluation_labels.astype(np.int64)
    rarest = int(np.bincount(train, minlength=task.n_classes).argmin())
    masks = [
        _imbalanced(labels, rarest, share, seed=seed + place)
        for place, labels in enumerate((train, evaluation))
    ]
    return replace(_kept(part, *masks), name=f"imbalance:{share:g}")


def _imbalanced(labels: IndexArray, rarest: int, share: float, *, seed: int) -> NDArray[np.bool_]:
    """Mask rows so that the rarest class has the wanted share; as few as possible are lost."""
    rare, rest = np.flatnonzero(labels == rarest), np.flatnonzero(labels != rarest)
    n_rare = min(len(rare), round(len(rest) * share / (1 - share)))
    n_rest = min(len(rest), round(n_rare * (1 - share) / share))
    mask = np.zeros(len(labels), dtype=bool)
    for rows, count in ((rare, n_rare), (rest, n_rest)):
        order = nested_order(labels[rows], seed=seed, kind="classification")
        mask[rows[order[:count]]] = True
    return mask


def _length(task: Task, part: Subset, rest: str, seed: int) -> Subset:
    if rest not in LENGTH_BANDS:
        raise UnknownNameError("length band", rest, LENGTH_BANDS)
    band = LENGTH_BANDS.index(rest)
    train, evaluation = _lengths(task)
    bounds = np.quantile(train, [1 / 3, 2 / 3])
    masks = [np.searchsorted(bounds, chars, side="left") == band for chars in (train, evaluation)]
    return replace(_kept(part, *masks), name=f"length:{rest}")


def _lengths(task: Task) -> tuple[IndexArray, IndexArray]:
    """Return the characters of each row (both texts of a pair) of both parts."""
    found = []
    for part in (task.train, task.evaluation):
        texts = () if part is None else part.texts
        pairs = ("",) * len(texts) if part is None or part.pairs is None else part.pairs
        both = zip(texts, pairs, strict=True)
        found.append(np.array([len(a) + len(b) for a, b in both], dtype=np.int64))
    return found[0], found[1]


def _cluster(task: Task, part: Subset, rest: str, seed: int) -> Subset:

    first, _, second = rest.partition("/")
    if not (first.isdigit() and second.isdigit() and 1 <= int(second) <= int(first) >= 2):
        raise UsageError(f"subset: expected {_EXAMPLES['cluster']}, got 'cluster:{rest}'.")
    n_clusters, number = int(first), int(second)
    train, evaluation = text_clusters(task, n_clusters=n_clusters, seed=seed)
    part = _kept(part, train == number - 1, evaluation == number - 1)
    return replace(part, name=f"cluster:{n_clusters}/{number}")


def _noise(task: Task, part: Subset, rest: str, seed: int) -> Subset:
    _require_classes(task, "noise")
    share = _share(rest, "noise")
    # a stream of its own: with the one of `nested_order` the same rows would come first in both,
    # and the noise would sit in the small nested samples
    rng = np.random.default_rng([seed, 0x4E015E])
    labels = part.train_labels.astype(np.int64)
    flipped = rng.permutation(len(labels))[: round(share * len(labels))]
    labels[flipped] += rng.integers(1, task.n_classes, size=len(flipped))
    return replace(part, train_labels=labels % task.n_classes, name=f"noise:{share:g}")


_MAKERS: dict[str, Callable[[Task, Subset, str, int], Subset]] = {
    "all": _all,
    "classes": _classes,
    "merge": _merge,
    "imbalance": _imbalance,
    "length": _length,
    "cluster": _cluster,
    "noise": _noise,
}

_EXAMPLES = {
    "all": "all, with nothing behind it",
    "classes": "classes:A,B",
    "merge": "merge:A+B,C",
    "imbalance": "imbalance:SHARE with a share between 0 and 1",
    "length": "length:short, length:medium or length:long",
    "cluster": "cluster:K/I with K at least 2 and I from 1 to K",
    "noise": "noise:SHARE with a share between 0 and 1",
}


def _share(text: str, kind: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < 1:
        raise UsageError(f"subset: expected {_EXAMPLES[kind]}, got '{kind}:{text}'.")
    return value


def _split_names(text: str) -> list[str]:
    return next(csv.reader([text], skipinitialspace=False))


def _join_names(names: Sequence[str]) -> str:
    return ",".join(f'"{n}"' if "," in n else n for n in names)


def _require_classes(task: Task, kind: str) -> None:
    if task.kind != "classification":
        raise UsageError(
            f"subset: {kind} needs classes: expected a classification task, got {task.name}, "
            "a regression. Use length or cluster."
        )


def _labelled(task: Task, part: Subset) -> Subset:
    """Refuse an evaluation part without labels, which cannot follow a choice by label."""
    if part.evaluation_labels is not None:
        return part
    if len(part.evaluation_rows):
        raise DataError(
            f"{task.name}: the evaluation part has no labels: expected labels for a subset by "
            "class. Use length, cluster or noise."
        )
    return replace(part, evaluation_labels=np.zeros(0, dtype=np.int64))
