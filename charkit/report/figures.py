"""Figures of a sweep: learning curves by layer, layer by size, the best layer by size.

Pure: a sweep's table goes in, a matplotlib Figure comes out, and its plotted numbers with it.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from charkit.report.canvas import file_name, save_figure
from charkit.report.curves import learning_curves
from charkit.report.grids import best_layer_by_size, layer_size_heatmap

__all__ = [
    "best_layer_by_size",
    "layer_size_heatmap",
    "learning_curves",
    "save_figure",
    "save_sweep_figures",
]


def save_sweep_figures(table: pd.DataFrame, folder: str | Path) -> list[Path]:
    """Write learning curves and a heat map of every task, and the best layers of all.

    Args:
        table: A sweep's table.
        folder: Where to; made when missing.

    Returns:
        The files; none when no cell is done.

    Raises:
        MissingError: matplotlib is not installed, or the folder cannot be written.
    """
    real = table[(table["control"] == "none") & (table["state"] == "done")]
    real = real[(real["subset"] == "all") & real["score"].notna()]
    written: list[Path] = []
    taken: set[str] = set()
    for task in sorted(real["task"].unique()):
        stem = file_name(task)
        while stem.lower() in taken:
            stem += "_"
        taken.add(stem.lower())
        for prefix, draw in (("curves", learning_curves), ("layers", layer_size_heatmap)):
            written += save_figure(draw(table, task=task), Path(folder) / f"{prefix}_{stem}")
    if len(real):
        written += save_figure(best_layer_by_size(table), Path(folder) / "best_layers")
    return written
