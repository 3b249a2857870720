"""Evidence and outcomes joined: which accuracy a pilot's layer reached with more labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metamodel.schema import check_evidence, check_outcomes

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

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
