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

Strategy = Literal["typiclust", "probcover", "maxherding", "margin", "badge", "random"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
BY_HEAD: tuple[Strategy, ...] = ("margin", "badge")
"""Strategies that need a head, and so two labelled classes."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Choice:
    """Rows to label next.

    Attributes:
        rows: Rows of the pool, the first to label first, (n,).
        utility: What the strategy thought of each when it chose it; NaN by chance. Its unit is
            the strategy's own, (n,).
    """

    rows: IntArray
    utility: FloatArray


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
    candidates = np.arange(len(codes), len(features))
    strategies = _activeml()
    query, more = strategies.make(strategy, n_classes, seed)
    found, utilities = query.query(
        features, labels, candidates=candidates, batch_size=n, return_utilities=True, **more
    )
    rows = np.asarray(found, np.int64)
    utility = np.asarray(utilities, np.float64)[np.arange(len(rows)), rows]
    return Choice(rows - len(codes), utility)


def _activeml() -> Any:
    try:
        from charkit.answers import activeml
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "skactiveml":
            raise
        raise MissingError(
            "scikit-activeml is not installed: expected it for this strategy. Run: pip install "
            "'charkit[next]', or use --strategy random."
        ) from None
    return activeml


def _unit(features: NDArray[Any]) -> FloatArray:
    """Return rows of unit length about the common mean; the centre has no direction."""
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.where(length > 0, length, 1))
