"""Figures of a sweep: learning curves by layer, layer by size, the best layer by size.

Pure: a sweep's table goes in, a matplotlib Figure comes out, and its plotted numbers with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from charkit.config import people_name
from charkit.report.figures.canvas import file_name, save_figure
from charkit.report.figures.curves import learning_curves
from charkit.report.figures.heatmaps import best_layer_by_size, layer_size_heatmap

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
    """Write learning curves and a heat map of every task and encoder, and the best layers of all.

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
    several = real["encoder"].nunique() > 1
    written: list[Path] = []
    names = _FreshNames()
    for (task, encoder), _ in real.groupby(["task", "encoder"], sort=True):
        stem = names.of(f"{task}_{people_name(str(encoder))}" if several else str(task))
        drawn = {"task": str(task), "encoder": str(encoder)}
        curves = learning_curves(table, **drawn, ceiling=(ceilings or {}).get(str(task)))
        written += save_figure(curves, Path(folder) / f"curves_{stem}")
        heatmap = layer_size_heatmap(table, **drawn)
        written += save_figure(heatmap, Path(folder) / f"layers_{stem}")
    best = _FreshNames()
    for encoder in sorted(real["encoder"].unique()):
        end = f"_{best.of(people_name(encoder))}" if several else ""
        figure = best_layer_by_size(table, encoder=encoder)
        written += save_figure(figure, Path(folder) / f"best_layers{end}")
    return written


class _FreshNames:
    """Names of files, none of them twice, whatever the letters' case."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, name: str) -> str:
        """Return a file's name for what is called so."""
        stem = file_name(name)
        while stem.lower() in self._taken:
            stem += "_"
        self._taken.add(stem.lower())
        return stem
