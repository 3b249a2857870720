"""Splits and weights by corpus: tasks that share texts never stand on both sides of a split."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def corpus_folds(corpora: ArrayLike, n_folds: int | None = None) -> IntArray:
    """Return the fold of each row; rows of one corpus share a fold, folds are about as large.

    Corpora are dealt out from the largest to the smallest, each to the fold with the fewest rows
    so far, so the split depends on nothing but names and counts.

    Args:
        corpora: Corpus of each row, (n_rows,).
        n_folds: How many folds; None, or more than there are corpora, leaves one corpus out.

    Raises:
        ValueError: There are fewer than two corpora, or fewer than two folds are asked for.
    """
    names = pd.Series(np.asarray(corpora, object)).astype(str)
    counts = names.value_counts()
    if len(counts) < 2 or (n_folds is not None and n_folds < 2):
        raise ValueError(
            "folds by corpus: expected at least two corpora and two folds, got "
            f"{len(counts)} and {n_folds}."
        )
    order = sorted(counts.index, key=lambda name: (-int(counts[name]), name))
    filled = np.zeros(min(n_folds or len(order), len(order)), np.int64)
    place: dict[str, int] = {}
    for name in order:
        place[name] = int(filled.argmin())
        filled[place[name]] += int(counts[name])
    return np.asarray(names.map(place), np.int64)


def corpus_weights(corpora: ArrayLike) -> FloatArray:
    """Return row weights of mean 1 with which a corpus counts as the root of its rows.

    Args:
        corpora: Corpus of each row, (n_rows,).
    """
    names = pd.Series(np.asarray(corpora, object)).astype(str)
    weights = 1 / np.sqrt(names.map(names.value_counts()).to_numpy(np.float64))
    return np.asarray(weights / weights.mean())


def at_most(corpora: ArrayLike, most: int, *, seed: int) -> IntArray:
    """Return places of rows, at most a given number of each corpus, drawn at random, in order.

    Args:
        corpora: Corpus of each row, (n_rows,).
        most: Rows of a corpus that are kept.
        seed: Of the draw.
    """
    names = np.asarray(corpora, object).astype(str)
    order = np.random.default_rng(seed).permutation(len(names))
    rank = pd.Series(names[order]).groupby(names[order]).cumcount().to_numpy()
    return np.sort(order[rank < most])
