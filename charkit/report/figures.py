"""Figures of a sweep: learning curves by layer, layer by size, the best layer by size.

Pure: a sweep's table goes in, a matplotlib Figure comes out, and its plotted numbers with it.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def save_sweep_figures(
    table: pd.DataFrame, folder: str | Path, *, ceilings: Mapping[str, float] | None = None
) -> list[Path]:
    """Write learning curves and a heat map of every task, and the best layers of all.

    Args:
        table: A sweep's table.
        folder: Where to; made when missing.
        ceilings: The best expected score of the tasks of which it is known.

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
        curves = learning_curves(table, task=task, ceiling=(ceilings or {}).get(task))
        written += save_figure(curves, Path(folder) / f"curves_{stem}")
        heatmap = layer_size_heatmap(table, task=task)
        written += save_figure(heatmap, Path(folder) / f"layers_{stem}")
    if len(real):
        written += save_figure(best_layer_by_size(table), Path(folder) / "best_layers")
    return written
