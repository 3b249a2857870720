"""What a head costs: for the order of work, the time that remains, and plans."""

from __future__ import annotations

from collections.abc import Sequence

HEAD_S = 0.0105
"""Seconds of one thread for a head on 256 rows of width 384, two classes, its strength chosen."""

BY_ROWS, BY_WIDTH, BY_CLASSES = 0.70, 0.69, 0.44
"""Powers of the rows, the width and of one less than the classes by which the seconds grow.

All four are fitted to the 1,890 heads of `make bench` (benchmarks/results/heads.json, which a test
holds them to); a cell of 16 to 4,096 rows and 2 to 77 classes takes 0.5 to 2 times as long.
"""


def head_seconds(n_rows: int, *, width: int, n_classes: int) -> float:
    """Return about how many seconds of one thread a head takes.

    >>> head_seconds(256, width=384, n_classes=2) == HEAD_S
    True

    Args:
        n_rows: Training rows.
        width: Width of the encoder's states.
        n_classes: Classes; 0 for regression.
    """
    rows, others = max(n_rows, 1) / 256, max(n_classes - 1, 1)
    return float(HEAD_S * rows**BY_ROWS * (max(width, 1) / 384) ** BY_WIDTH * others**BY_CLASSES)


def heads_seconds(sizes: Sequence[int], *, n_layers: int, width: int, n_classes: int) -> float:
    """Return about how many seconds of one thread the heads of one draw take.

    Args:
        sizes: Its training sizes.
        n_layers: Layers that are read.
        width: Width of the encoder's states.
        n_classes: Classes; 0 for regression.
    """
    return n_layers * sum(head_seconds(n, width=width, n_classes=n_classes) for n in sizes)
