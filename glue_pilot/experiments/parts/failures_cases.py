"""Cases in which an estimate may fail, made of tasks whose labels are known."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from charkit.answers.accuracy.warnings import FEWEST_A_CLASS, MANY_CLASSES, Code
from charkit.tasks import Split, Task, nested_order

IntArray = NDArray[np.int64]

PLAIN = "nothing wrong"
NO_SIGNAL = "no signal"
TINY = "tiny sample"
MANY = "many classes, few labels"
LANGUAGE = "another language"
NOISE = "noisy labels"
SHIFT = "shifted texts"
KINDS = (PLAIN, NO_SIGNAL, TINY, MANY, LANGUAGE, NOISE, SHIFT)

FLIPPED_SEED = 11  # any other would do; it is not that of samples (0, 1, ...)


@dataclass(frozen=True, eq=False)
class Case:
    """One case.

    Attributes:
        kind: One of `KINDS`.
        name: What was done, as text.
        task: The task it was made of, to compute with.
        corpus: Tasks with the same corpus share texts.
        generated: Whether the task is a generated one, which no metamodel learned from.
        train: Labelled texts that samples are drawn from, (n_pool).
        n: Labels of the sample.
        same: Labelled texts like those of the sample: what the curve is about.
        evaluated: Labelled texts that the tool is given without labels.
        expected: Codes of warnings of which one is called for; empty where none is.
        other_corpus: Of the evaluation texts, where it is not the task's own.
    """

    kind: str
    name: str
    task: Task
    corpus: str
    generated: bool
    train: Split
    n: int
    same: Split
    evaluated: Split
    expected: tuple[Code, ...]
    other_corpus: str = ""

    def rows(self, n: int, seed: int) -> IntArray:
        """Return the rows of a draw of n labels; draw 0 begins with the sample."""
        assert self.train.labels is not None
        return nested_order(self.train.labels, seed=seed, kind="classification")[:n]

    @property
    def sample(self) -> Task:
        """What the tool is given: the sample, and the evaluation texts."""
        part = self.train.take(self.rows(self.n, 0))
        texts = Split(self.evaluated.texts, self.evaluated.pairs)
        return replace(self.task, train=part, evaluation=texts, corpus=self.corpus)


def base_of(task: Task, corpus: str, *, n: int, pool: int, n_eval: int) -> Case:
    """Return the case in which nothing is wrong.

    Args:
        task: Labelled in both parts.
        corpus: Of the task.
        n: Labels of a sample.
        pool: Labelled texts that samples are drawn from, at most.
        n_eval: Labelled evaluation texts, at most.
    """
    assert task.train.labels is not None
    assert task.evaluation is not None
    drawn = nested_order(task.train.labels, seed=0, kind="classification")[:pool]
    rows = np.random.default_rng(0).permutation(len(task.evaluation))[:n_eval]
    texts = task.evaluation.take(np.sort(rows))
    return Case(
        kind=PLAIN,
        name="as it is",
        task=task,
        corpus=corpus,
        generated=task.source.startswith("generated/"),
        train=task.train.take(drawn),
        n=n,
        same=texts,
        evaluated=texts,
        expected=(),
    )


def cases_of(base: Case, *, tiny: Sequence[int], noise: Sequence[float]) -> Iterator[Case]:
    """Yield what can go wrong with a task that can be learnt, and the task as it is.

    Args:
        base: From `base_of`.
        tiny: Labels of tiny samples.
        noise: Shares of labels that are changed.
    """
    yield base
    yield shuffled(base)
    for n in tiny:
        yield replace(base, kind=TINY, name=f"{n} labels", n=n, expected=("tiny_sample",))
    for share in noise:
        yield noisy(base, share)
    foreign = replace(base, kind=LANGUAGE, expected=("language", "shift"))
    other = scrambled(base.evaluated)
    yield replace(foreign, name="evaluation texts in other letters", evaluated=other)
    yield replace(
        foreign, name="labelled texts in other letters", train=scrambled(base.train), same=other
    )
    yield longer(base)


def shuffled(base: Case) -> Case:
    """Return a task whose labels were dealt out anew: nothing can be learnt of them."""
    rng = np.random.default_rng(FLIPPED_SEED)
    train, same = (_dealt(part, rng) for part in (base.train, base.same))
    return replace(
        base,
        kind=NO_SIGNAL,
        name="shuffled labels",
        train=train,
        same=same,
        evaluated=same,
        expected=("no_signal",),
    )


def _dealt(part: Split, rng: np.random.Generator) -> Split:
    assert part.labels is not None
    return Split(part.texts, part.pairs, rng.permutation(part.labels))


def noisy(base: Case, share: float) -> Case:
    """Return a task of which a share of the labels, drawn at random, name another class.

    Evaluation labels are as noisy: they were made by the same people.
    """
    rng = np.random.default_rng(FLIPPED_SEED)
    n_classes = base.task.n_classes
    train, same = (_flipped(part, share, n_classes, rng) for part in (base.train, base.same))
    name = f"{share:.0%} of the labels changed"
    return replace(base, kind=NOISE, name=name, train=train, same=same, evaluated=same)


def _flipped(part: Split, share: float, n_classes: int, rng: np.random.Generator) -> Split:
    labels = np.array(part.labels, np.int64)
    rows = rng.permutation(len(labels))[: round(share * len(labels))]
    labels[rows] = (labels[rows] + rng.integers(1, n_classes, len(rows))) % n_classes
    return Split(part.texts, part.pairs, labels)


def longer(base: Case) -> Case:
    """Return a task whose sample has the shorter texts, and is evaluated on the longer ones."""
    cut = float(np.median([len(text) for text in base.train.texts]))

    def part(split: Split, *, long: bool) -> Split:
        return split.take([i for i, text in enumerate(split.texts) if (len(text) > cut) is long])

    return replace(
        base,
        kind=SHIFT,
        name="evaluated on the longer half",
        train=part(base.train, long=False),
        same=part(base.same, long=False),
        evaluated=part(base.evaluated, long=True),
        expected=("shift",),
    )


def other_domain(base: Case, other: Case) -> Case:
    """Return a task that is evaluated on the texts of another one with the same classes."""
    return replace(
        base,
        kind=SHIFT,
        name=f"evaluated on {other.task.name}",
        evaluated=other.evaluated,
        expected=("shift",),
        other_corpus=other.corpus,
    )


def hard(base: Case) -> Case:
    """Return a task that is known to show no signal in small samples."""
    return replace(base, kind=NO_SIGNAL, expected=("no_signal",))


def many_classes(base: Case, sizes: Sequence[int]) -> Iterator[Case]:
    """Yield samples of a task of many classes; the warning called for goes by labels a class."""
    n_classes = base.task.n_classes
    for n in sizes:
        expected: tuple[Code, ...] = ()
        if n < FEWEST_A_CLASS * n_classes:
            expected += ("tiny_sample",)
        if n_classes > MANY_CLASSES:
            expected += ("many_classes",)
        name = f"{n} labels for {n_classes} classes"
        yield replace(base, kind=MANY, name=name, n=n, expected=expected)


def scrambled(split: Split) -> Split:
    """Return texts with each letter replaced by another one: a language nobody speaks.

    Lengths, white space and what is no Latin letter stay; equal words stay equal.
    """
    letters = string.ascii_lowercase
    order = np.random.default_rng(FLIPPED_SEED).permutation(len(letters))
    other = "".join(letters[i] for i in order)
    table = str.maketrans(letters + letters.upper(), other + other.upper())
    texts = tuple(text.translate(table) for text in split.texts)
    pairs = None if split.pairs is None else tuple(t.translate(table) for t in split.pairs)
    return Split(texts, pairs, split.labels)
