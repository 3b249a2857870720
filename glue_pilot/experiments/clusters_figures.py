"""The figures of the clusters: scores, trees, matrices, maps by scaling and by t-SNE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from charkit.report.figures.canvas import (
    FAINT,
    INK,
    MUTED,
    SMALL,
    WIDTH,
    blank,
    keep_numbers,
    readable,
    safe,
    text_inches,
)
from charkit.report.figures.distances import (
    FloatArray,
    colour_of,
    distance_matrix,
    distance_tree,
    distances_of,
    group_colours,
)
from charkit.report.figures.map import distance_map, place_labels
from glue_pilot.embeddings import Sample
from glue_pilot.experiments.dots import dots_figure
from glue_pilot.experiments.samples import CENTRED, LOG_RATIO
from glue_pilot.science_tables import label_word

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS = {LOG_RATIO: "log-ratio distance", CENTRED: "centred cosine distance"}
_ALIKE = "have one kind of label"
_TALL, _SIDE, _ROOM = 4.2, 0.12, 0.14


def draw(
    samples: Sequence[Sample],
    matrices: dict[str, FloatArray],
    rows: dict[str, pd.DataFrame],
    settings: Any,
    *,
    title: str,
) -> dict[str, Figure]:
    """Return all figures, ending -> figure; the scores first."""
    groups = {s.known.task.name: label_word(s.known.label_kind) for s in samples}
    about = f"n = {settings.n:,} labelled texts a task."
    figures = {
        "": dots_figure(
            rows["ari"],
            title=title,
            caption="0: what chance gives; 1: clusters and groups are the same. Bars: 90 % "
            f"intervals, a fifth of the tasks left out at a time. One task a corpus. {about}",
            label="adjusted Rand index",
            chance=0.0,
        )
    }
    if rows["told"]["value"].notna().any():
        figures["fives"] = dots_figure(
            rows["told"],
            title="Three alike and two others: how often the three join first",
            caption=f"Bars: 90 % intervals. No two tasks share texts. {about}",
            label="share of fives told right",
            limits=(-0.03, 1.03),
        )
    for method, ending in ((LOG_RATIO, ""), (CENTRED, "_text")):
        names = [s.known.task.name for s in samples]
        matrix = pd.DataFrame(matrices[method], names, names)
        options: dict[str, Any] = {
            "unit": UNITS[method], "groups": groups, "alike": _ALIKE, "note": about
        }  # fmt: skip
        what = "labels and texts" if method == LOG_RATIO else "texts alone"
        figures[f"tree{ending}"] = distance_tree(
            matrix, title=f"{len(names)} tasks joined by {what}", **options
        )
        figures[f"matrix{ending}"] = distance_matrix(
            matrix, title=f"Distances of {len(names)} tasks by {what}", **options
        )
        figures[f"map{ending}"] = distance_map(
            matrix, title=f"A map of {len(names)} tasks by {what}", **options
        )
        figures[f"tsne{ending}"] = neighbour_map(
            matrix, title=f"Neighbours among {len(names)} tasks by {what} (t-SNE)", **options
        )
    return figures


def neighbour_map(
    matrix: pd.DataFrame,
    *,
    unit: str,
    title: str,
    groups: dict[str, str],
    alike: str,
    note: str,
    seed: int = 0,
) -> Figure:
    """Draw tasks as points by t-SNE: near ones side by side, far distances mean nothing.

    Args:
        matrix: Index and columns: the same names.
        unit: What the numbers are.
        title: The finding.
        groups: Name -> group; those with two members or more share a colour.
        alike: What the tasks of a group do, for the caption.
        note: More for the caption.
        seed: Of the start.

    References:
        van der Maaten and Hinton 2008, "Visualizing data using t-SNE".
    """
    from sklearn.manifold import TSNE

    names = [str(name) for name in matrix.index]
    perplexity = min(8.0, (len(names) - 1) / 3)
    scaler = TSNE(metric="precomputed", init="random", perplexity=perplexity, random_state=seed)
    points = np.asarray(scaler.fit_transform(distances_of(matrix)), np.float64)
    figure, axes = blank(
        title=title,
        caption=f"t-SNE of the {unit}, perplexity {perplexity:.0f}: neighbours stand together, "
        f"gaps between groups mean nothing. Colours: tasks that {alike}. {note}",
        height=_TALL,
        left=_SIDE,
        right=_SIDE,
        below=-0.38,
    )
    shares = (points - points.min(0)) / np.maximum(np.ptp(points, axis=0), 1e-12)
    shares = _ROOM + (1 - 2 * _ROOM) * shares
    _draw_points(axes, shares, names, groups)
    numbers = pd.DataFrame(points, columns=["x", "y"])
    numbers.insert(0, "task", names)
    return keep_numbers(figure, numbers)


def _draw_points(axes: Any, shares: FloatArray, names: list[str], groups: dict[str, str]) -> None:
    size = (WIDTH - 2 * _SIDE, _TALL)
    colours = group_colours(names, groups)
    marks = [colour_of(name, groups, colours) for name in names]
    shown = [safe(readable(name, longest=22)) for name in names]
    widths = np.array([text_inches(t, bold=m != MUTED) for t, m in zip(shown, marks, strict=True)])
    centres = place_labels(shares * size, widths, size) / size
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(FAINT)
    for (x, y), (a, b), name, colour in zip(shares, centres, shown, marks, strict=True):
        axes.plot(x, y, "o", color=colour, markersize=6 if colour != MUTED else 4.5, zorder=4)
        axes.plot([x, a], [y, b], color=FAINT, linewidth=0.7, zorder=1)
        axes.text(
            a, b, name, ha="center", va="center_baseline", size=SMALL, color=INK, zorder=5,
            weight="bold" if colour != MUTED else "normal",
        )  # fmt: skip
