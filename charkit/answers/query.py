"""Which rows of a pool to label next: scikit-activeml's strategies on an encoder's states.

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

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from charkit.errors import DataError, MissingError, UnknownNameError
from charkit.parallel.jobs import threads_limited

Strategy = Literal["typiclust", "probcover", "maxherding", "margin", "badge", "random"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
BY_HEAD: tuple[Strategy, ...] = ("margin", "badge")
"""Strategies that need a head, and so two labelled classes."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_DIGITS = 6
"""Unit vectors that agree in this many decimals are the same: the rest is how they were batched."""


@dataclass(frozen=True, eq=False)
class Choice:
    """Rows to label next.

    Attributes:
        rows: Rows of the pool, the first to label first, (n,).
        utility: What the strategy thought of each when it chose it, in the strategy's own unit;
            NaN where it was by chance, (n,).
    """

    rows: IntArray
    utility: FloatArray


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
) -> Choice:
    """Choose rows of a pool.

    Args:
        labelled: Features of the labelled rows, (n_labelled, width); may be empty.
        codes: Their class codes, (n_labelled,).
        pool: Features of the rows without label, (n_pool, width).
        n: How many; all of the pool when it holds fewer.
        strategy: See the module.
        n_classes: How many classes there are.
        seed: Of all chance.

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
        return Choice(order.astype(np.int64), np.full(n, np.nan))
    return _queried(labelled, codes, pool, n, strategy, n_classes, seed)


def _queried(
    labelled: NDArray[Any],
    codes: NDArray[Any],
    pool: NDArray[Any],
    n: int,
    strategy: Strategy,
    n_classes: int,
    seed: int,
) -> Choice:
    features = _unit(np.concatenate([labelled.reshape(-1, pool.shape[1]), pool]))
    labels = np.concatenate([codes.astype(np.float64), np.full(len(pool), np.nan)])
    kept = np.arange(len(features)) if strategy in BY_HEAD else _distinct(features)
    asked = min(n, int(np.isnan(labels[kept]).sum()))
    rows, utility = np.zeros(0, np.int64), np.zeros(0)
    if asked:
        found, utilities = _activeml().query(
            features[kept], labels[kept], n=asked, strategy=strategy, n_classes=n_classes, seed=seed
        )
        rows = kept[np.asarray(found, np.int64)] - len(codes)
        utility = np.asarray(utilities, np.float64)[np.arange(asked), found]
    rest = np.setdiff1d(np.arange(len(pool)), rows)
    last = np.random.default_rng(seed).permutation(rest)[: n - asked]
    return Choice(
        np.concatenate([rows, last]), np.concatenate([utility, np.full(len(last), np.nan)])
    )


def _distinct(features: FloatArray) -> IntArray:
    """Return the first of equal rows: a strategy that spreads out gains nothing from the others."""
    first = np.unique(features.round(_DIGITS), axis=0, return_index=True)[1]
    return np.sort(first).astype(np.int64)


def _activeml() -> Any:
    try:
        from charkit.answers import activeml
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "skactiveml":
            raise
        raise MissingError(
            "scikit-activeml is not installed: expected it for this strategy. Run: pip install "
            '"charkit[next]", or use --strategy random.'
        ) from None
    return activeml


def _unit(features: NDArray[Any]) -> FloatArray:
    """Return rows of unit length about the common mean; the centre has no direction."""
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.where(length > 0, length, 1))
