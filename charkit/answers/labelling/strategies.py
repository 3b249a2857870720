"""Which rows of a pool to label next: strategies on an encoder's states, most by scikit-activeml.

==============  ================================================================================
``typiclust``   the densest text of each cluster without a label (Hacohen and others 2022)
``probcover``   greedily, the text that covers most others within a radius (Yehuda and others 2022)
``maxherding``  greedily, the text that adds most to a smooth coverage (Bae and others 2024)
``margin``      where a head trained on the labels is least sure between two classes
``badge``       unsure and unlike each other (Ash and others 2020)
``random``      by chance: what the others have to beat
==============  ================================================================================

The first three need no label; ``margin`` and ``badge`` need two classes of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from charkit.errors import DataError, MissingError, UnknownNameError, UsageError
from charkit.heads.sweep.grid import Source
from charkit.parallel.jobs import threads_limited
from charkit.store.sealed import read_sealed
from charkit.tasks.assemble import row_keys, without_repeats
from charkit.tasks.card import load_sample
from charkit.tasks.task import Split, Task

MOST_POOL = 5_000
"""From larger pools this number of texts is drawn first: strategies compare all pairs, which takes
seconds and 2 GB here, and grows with the square."""

MOST_LABELLED = 2_048
"""Of more labelled texts this number is drawn, as `charkit estimate` does."""

_LOOSE = 1e-3  # relative gap of the objective: the order of margins needs no more

FORMULA = frozenset("=+-@")
"""What a spreadsheet takes for the beginning of a formula."""


def load_pool(
    task: Source, *, pool: str | Path | None = None, n_classes: int | None = None
) -> Task:
    """Read labelled texts, however few, and those to choose from: they become the sample's pool.

    Args:
        task: See `next_labels`.
        pool: File with the pool, or the name of a part. Evaluation rows that a source brings by
            itself are not to be labelled: they play no part.
        n_classes: Number of classes, for texts without any label.

    Raises:
        UsageError: Texts without labels are the pool, and another one is named.
        DataError: The source cannot be used.
        MissingError: A file or package is not there.
    """
    if pool is not None and not isinstance(pool, str | Path):
        raise UsageError(
            f"pool: expected a file or a part's name, got {type(pool).__name__}. Add its rows to "
            "the task, with an empty label, or write them to a file."
        )
    if pool is not None and n_classes is not None:
        raise UsageError(
            "texts without any label are the pool themselves: expected --classes or --pool, got "
            "both. Leave one out."
        )
    sample = load_sample(task, evaluation=pool, labels="few", classes=n_classes)
    if pool is not None and sample.evaluation is not None:
        sample = replace(sample, pool=sample.evaluation)
    return replace(sample, evaluation=None)


def known_labels(sample: Task, seed: int) -> tuple[Split, list[str]]:
    """Return the different labelled texts that are looked at, and what was left out.

    Args:
        sample: From `load_pool`.
        seed: Of the draw where there are too many.
    """
    known = without_repeats(sample.train)
    if len(known) <= MOST_LABELLED:
        return known, []
    rows = np.random.default_rng(seed).permutation(len(known))[:MOST_LABELLED]
    note = f"{MOST_LABELLED:,} of {len(known):,} labelled texts were drawn to be looked at"
    return known.take(np.sort(rows)), [note]


def candidates(
    sample: Task, seed: int, *, most: int | None = None, purpose: str = "to choose from"
) -> tuple[Split, list[str]]:
    """Return the different texts without a label, and what was left out.

    Args:
        sample: From `load_pool`.
        seed: Of the draw where there are too many.
        most: Texts that are drawn from more. Default: `MOST_POOL`.
        purpose: What they are for, in messages.

    Raises:
        DataError: No text is left.
    """
    texts = sample.pool
    if texts is None or not len(texts):
        raise DataError(
            f"{sample.name}: there is nothing {purpose}: expected rows without a label, got "
            "none. Leave labels empty, or give --pool FILE."
        )
    rows, n_known = fresh_rows(sample.train, texts)
    notes = []
    if n_known:
        notes.append(f"{n_known:,} texts of the pool are labelled already: left out")
    if repeated := len(texts) - n_known - len(rows):
        notes.append(f"{repeated:,} texts of the pool repeat others: left out")
    if not rows:
        raise DataError(
            f"{sample.name}: there is nothing {purpose}: expected texts that are not "
            f"labelled yet, got {len(texts):,} that all are. Give --pool FILE with others."
        )
    most = MOST_POOL if most is None else most
    if len(rows) > most:
        notes.append(f"{most:,} of {len(rows):,} texts of the pool were drawn {purpose}")
        keep = np.random.default_rng(seed).permutation(len(rows))[:most]
        rows = [rows[i] for i in np.sort(keep)]
    return texts.take(rows), notes


def fresh_rows(labelled: Split, texts: Split) -> tuple[list[int], int]:
    """Return the first row of each text that is not labelled yet, and how many rows are.

    Args:
        labelled: The labelled texts.
        texts: Those to choose from.
    """
    seen = set(row_words(labelled))
    first: dict[object, int] = {}
    n_known = 0
    for row, key in enumerate(row_words(texts)):
        if key in seen:
            n_known += 1
        else:
            first.setdefault(key, row)
    return sorted(first.values()), n_known


def row_words(split: Split) -> list[object]:
    """Return what makes rows the same: their words, whatever their case and spaces."""
    return list(
        row_keys(
            Split(
                tuple(_plain(text) for text in split.texts),
                None if split.pairs is None else tuple(_plain(pair) for pair in split.pairs),
            )
        )
    )


def _plain(text: str) -> str:
    words = " ".join(text.casefold().split())
    return words[1:] if words[:1] == "'" and words[1:2] in FORMULA else words


Strategy = Literal["typiclust", "probcover", "maxherding", "margin", "badge", "random"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
BY_HEAD: tuple[Strategy, ...] = ("margin", "badge")
"""Strategies that need a head, and so two labelled classes."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_DIGITS = 6
"""Unit vectors that agree in this many decimals are the same: the rest is how they were batched."""


@threads_limited(1)
def choose_rows(
    labelled: NDArray[np.floating[Any]],
    codes: NDArray[np.integer[Any]],
    pool: NDArray[np.floating[Any]],
    *,
    n: int,
    strategy: Strategy,
    n_classes: int,
    seed: int = 0,
) -> tuple[IntArray, FloatArray]:
    """Choose rows of a pool.

    Args:
        labelled: Features of the labelled rows, (n_labelled, width); may be empty.
        codes: Their class codes, (n_labelled,).
        pool: Features of the rows without label, (n_pool, width).
        n: How many; all of the pool when it holds fewer.
        strategy: See the module.
        n_classes: How many classes there are.
        seed: Of all chance.

    Returns:
        Rows of the pool, the first to label first, (n,); and what the strategy thought of each
        when it chose it, in the strategy's own unit, NaN where it was by chance, (n,).

    Raises:
        UnknownNameError: The strategy is not known.
        DataError: The pool is empty, or the strategy needs two labelled classes.
        MissingError: scikit-activeml is not installed.
    """
    if strategy not in STRATEGIES:
        raise UnknownNameError("strategy", strategy, [*STRATEGIES, "auto"])
    if not len(pool):
        raise DataError("the pool is empty: expected texts without a label, got none.")
    if strategy in BY_HEAD and len(np.unique(codes)) < 2:
        raise DataError(
            f"strategy {strategy} needs a head: expected labels of at least two classes, got "
            f"{len(np.unique(codes))}. Use typiclust, which needs none."
        )
    n = min(n, len(pool))
    if strategy == "random":
        order = np.random.default_rng(seed).permutation(len(pool))[:n]
        return order.astype(np.int64), np.full(n, np.nan)
    return _queried(labelled, codes, pool, n, strategy, n_classes, seed)


def _queried(
    labelled: NDArray[Any],
    codes: NDArray[Any],
    pool: NDArray[Any],
    n: int,
    strategy: Strategy,
    n_classes: int,
    seed: int,
) -> tuple[IntArray, FloatArray]:
    # Rows of unit length about the common mean; the centre has no direction.
    features = np.concatenate([labelled.reshape(-1, pool.shape[1]), pool])
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    features = np.asarray(centred / np.where(length > 0, length, 1))
    labels = np.concatenate([codes.astype(np.float64), np.full(len(pool), np.nan)])
    kept = np.arange(len(features)) if strategy in BY_HEAD else _distinct(features)
    asked = min(n, int(np.isnan(labels[kept]).sum()))
    rows, utility = np.zeros(0, np.int64), np.zeros(0)
    if asked:
        if strategy == "margin":
            found, utility = _least_sure(features, codes, asked)
        else:
            found, utilities = _activeml().query(
                features[kept],
                labels[kept],
                n=asked,
                strategy=strategy,
                n_classes=n_classes,
                seed=seed,
            )
            utility = np.asarray(utilities, np.float64)[np.arange(asked), found]
        rows = kept[np.asarray(found, np.int64)] - len(codes)
    rest = np.setdiff1d(np.arange(len(pool)), rows)
    last = np.random.default_rng(seed).permutation(rest)[: n - asked]
    unknown = np.full(len(last), np.nan)
    return np.concatenate([rows, last]), np.concatenate([utility, unknown])


def _least_sure(features: FloatArray, codes: NDArray[Any], n: int) -> tuple[IntArray, FloatArray]:
    """Return the n rows that a head separates least between two classes, and 1 less the margin.

    The head is trained on the first rows, which have codes. Of equal margins the first row counts.
    """
    import torch  # here: a second answer needs no head

    from charkit.heads.solver.softmax import fit_softmax

    names, known = np.unique(codes, return_inverse=True)
    labelled, pool = features[: len(codes)], features[len(codes) :]
    head = fit_softmax(
        labelled[None], known.astype(np.int64), len(names), tolerance=_LOOSE, dtype=torch.float64
    )
    largest = np.sort(head.probabilities(pool[None])[0].numpy(), 1)[:, -2:]
    unsure = 1 - (largest[:, 1] - largest[:, 0])
    found = np.argsort(-unsure, kind="stable")[:n]
    return found + len(codes), unsure[found]


def _distinct(features: FloatArray) -> IntArray:
    """Return the first of equal rows: a strategy that spreads out gains nothing from the others."""
    first = np.unique(features.round(_DIGITS), axis=0, return_index=True)[1]
    return np.sort(first).astype(np.int64)


def _activeml() -> Any:
    try:
        from charkit.answers.labelling import activeml
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "skactiveml":
            raise
        raise MissingError(
            "scikit-activeml is not installed: expected it for this strategy. Run: pip install "
            '"charkit[next]", or use --strategy margin or random.'
        ) from None
    return activeml


FILE = "next_policy.json"


@dataclass(frozen=True)
class Band:
    """A range of labels a class, and what to choose by in it.

    Attributes:
        below: The range ends before this many labels a class; None: it has no end.
        strategy: What to choose by.
    """

    below: float | None
    strategy: Strategy

    def to_dict(self) -> dict[str, Any]:
        """Return the band as it stands in the file."""
        return {"labels_a_class_below": self.below, "strategy": self.strategy}


def strategy_for(
    bands: Sequence[Band], codes: NDArray[np.integer[Any]], n_classes: int
) -> Strategy:
    """Return the strategy of the band that the given labels are in.

    Args:
        bands: In rising order; the last has no end.
        codes: Class codes of the given labels, (n_labelled,).
        n_classes: How many classes there are.
    """
    share = labels_a_class(codes, n_classes)
    return next(b.strategy for b in bands if b.below is None or share < b.below)


def labels_a_class(codes: NDArray[np.integer[Any]], n_classes: int) -> float:
    """Return labels a class; 0 while fewer than two classes have one, for then no head can be."""
    return len(codes) / n_classes if len(np.unique(codes)) > 1 else 0.0


@cache
def shipped_bands() -> tuple[Band, ...]:
    """Return the bands that come with the package; ``make next-study`` makes them."""
    with resources.as_file(resources.files("charkit.answers.labelling") / FILE) as place:
        bands = read_sealed(place, FILE, advice="Install charkit again.")["bands"]
    return tuple(Band(b["labels_a_class_below"], b["strategy"]) for b in bands)
