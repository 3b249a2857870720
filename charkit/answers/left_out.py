"""What the heads of a labelled sample make of each label that is left out, kept row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from charkit.heads.out_of_fold import SampleHeads

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LeftOutRows:
    """The rows of one layer that are not the only one of their class.

    Attributes:
        rows: Their places in the labelled sample, (m,).
        labels: Their class codes, (m,).
        predicted: What the head without each row predicts, (m,).
        confidence: Its probability of that class, (m,).
    """

    rows: IntArray
    labels: IntArray
    predicted: IntArray
    confidence: NDArray[np.float64]


def left_out_table(heads: SampleHeads) -> pd.DataFrame:
    """Return one row a layer and labelled text: layer, row, counted, predicted, confidence."""
    n_layers, n = heads.left_out.shape[:2]
    return pd.DataFrame(
        {
            "layer": np.repeat(np.arange(n_layers), n),
            "row": np.tile(np.arange(n), n_layers),
            "counted": np.tile(heads.counted, n_layers),
            "predicted": heads.left_out.argmax(2).ravel(),
            "confidence": heads.left_out.max(2).ravel(),
        }
    )


def left_out_of_layer(table: pd.DataFrame, labels: NDArray[np.generic], layer: int) -> LeftOutRows:
    """Return what one layer's heads predict.

    Args:
        table: From `left_out_table`.
        labels: Class codes of the labelled sample, (n,).
        layer: Which.
    """
    own = table[(table["layer"] == layer) & table["counted"]]
    rows = own["row"].to_numpy(np.int64)
    return LeftOutRows(
        rows,
        np.asarray(labels, np.int64)[rows],
        own["predicted"].to_numpy(np.int64),
        own["confidence"].to_numpy(np.float64),
    )
