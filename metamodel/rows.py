"""Evidence and outcomes joined, and their splits and weights by corpus.

Tasks that share texts never stand on both sides of a split.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from metamodel.schema import check_evidence, check_outcomes

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


_PART = ["encoder", "task", "subset", "layer"]


@dataclass(frozen=True, eq=False)
class Targets:
    """What is to be predicted, one entry a row of evidence and number of labels.

    Attributes:
        row: Place of the row of evidence, (n,).
        size: Number of labels N, (n,).
        accuracy: Reached by heads trained on N labels, (n,): the same draw's own at N = n0, the
            mean over draws above.
    """

    row: IntArray
    size: FloatArray
    accuracy: FloatArray

    def take(self, places: IntArray | NDArray[np.bool_]) -> Targets:
        """Return some entries."""
        return Targets(self.row[places], self.size[places], self.accuracy[places])


@dataclass(frozen=True, eq=False)
class MetaData:
    """A meta-dataset.

    Attributes:
        evidence: One row a pilot and layer.
        targets: What heads reached.
    """

    evidence: pd.DataFrame
    targets: Targets

    def part(self, mask: NDArray[np.bool_]) -> MetaData:
        """Return the rows of evidence that a mask keeps, and their targets."""
        place = np.cumsum(mask) - 1
        kept = self.targets.take(mask[self.targets.row])
        targets = Targets(place[kept.row].astype(np.int64), kept.size, kept.accuracy)
        return MetaData(self.evidence[mask].reset_index(drop=True), targets)

    @property
    def corpora(self) -> NDArray[np.object_]:
        """Corpus of each row of evidence."""
        return self.evidence["corpus"].to_numpy(object)


def join_tables(evidence: pd.DataFrame, outcomes: pd.DataFrame) -> MetaData:
    """Return the meta-dataset of two tables; outcomes below a pilot's size are left out.

    Args:
        evidence: Keeps `check_evidence`.
        outcomes: Keeps `check_outcomes`; rows of controls are left out.

    Raises:
        SchemaError: A table does not keep its contract.
        ValueError: No row of evidence has an outcome.
    """
    check_evidence(evidence)
    real = check_outcomes(outcomes).query("control == 'none'")
    order = ["corpus", *_PART[:3], "n0", "seed", "layer"]
    rows = evidence.sort_values(order, kind="stable").reset_index(drop=True)
    keys = rows[[*_PART, "n0", "seed"]].assign(row=np.arange(len(rows)))
    means = real.groupby([*_PART, "n_train"], as_index=False)["accuracy"].mean()
    more = keys.merge(means, on=_PART).query("n_train > n0")
    own = keys.merge(
        real[[*_PART, "n_train", "seed", "accuracy"]],
        left_on=[*_PART, "n0", "seed"],
        right_on=[*_PART, "n_train", "seed"],
    )
    both = pd.concat([own, more], ignore_index=True)[["row", "n_train", "accuracy"]]
    both = both.dropna().sort_values(["row", "n_train"], kind="stable")
    if both.empty:
        raise ValueError("no row of evidence has an outcome: expected the same tasks and layers.")
    targets = Targets(
        both["row"].to_numpy(np.int64),
        both["n_train"].to_numpy(np.float64),
        both["accuracy"].to_numpy(np.float64),
    )
    return MetaData(rows, targets)
