"""Sums over texts, whose size does not depend on how many texts there are."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charkit.fisher.stability import N_GROUPS

IntArray = NDArray[np.int64]

_PIECES = {"cpu": 16}  # what fits in a processor's cache
_PIECE = 256  # on an accelerator: few kernels, and little memory


class Sums:
    """Sums of the numbers by group, sums of their squares, and the numbers if kept.

    Args:
        size: Numbers of a text.
        n_samples: Number of texts; needed only for the rows.
        device: Where sums are kept, in float64.
        kept: What the rows are kept in; None keeps none.

    Attributes:
        groups: Sums of the texts of each group, (N_GROUPS, size).
        second: Sums of squares over all texts, (size,).
        rows: The numbers of every text, (n_samples, size).
        n_done: Texts added.
    """

    def __init__(
        self, size: int, *, n_samples: int, device: str, kept: type[np.floating] | None
    ) -> None:
        self.groups = torch.zeros((N_GROUPS, size), dtype=torch.float64, device=device)
        self.second = torch.zeros(size, dtype=torch.float64, device=device)
        self.rows = None if kept is None else np.empty((n_samples, size), kept)
        self.n_done = 0

    def add(self, numbers: Tensor, scale: Tensor, rows: IntArray, groups: IntArray) -> None:
        """Add some texts.

        Args:
            numbers: Shape (len(rows), size or more); what lies beyond size is left out.
            scale: What the numbers of each text are to be multiplied by, (len(rows),), float64.
            rows: Where the texts belong.
            groups: Their groups.
        """
        size = len(self.second)
        index = torch.from_numpy(groups).to(self.groups.device)
        step = _PIECES.get(self.groups.device.type, _PIECE)
        for first in range(0, len(rows), step):
            piece = slice(first, first + step)
            wide = numbers[piece, :size].to(self.groups.device).double() * scale[piece, None]
            self.groups.index_add_(0, index[piece], wide)
            if self.rows is not None:
                self.rows[rows[piece]] = wide.cpu().numpy()
            self.second += wide.square_().sum(0)
        self.n_done += len(rows)
