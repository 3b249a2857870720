"""Do embeddings cluster as expected? By domain and by kind of label, against text embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.encoders import load_encoder
from charkit.errors import UnknownNameError, UsageError
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
    colour_of,
    distance_matrix,
    distance_tree,
    distances_of,
    group_colours,
)
from charkit.report.figures.map import distance_map, place_labels
from glue_pilot import figures
from glue_pilot.experiments.base import (
    Experiment,
    Workspace,
    embedded_samples,
    known_tasks,
    study_of,
)
from glue_pilot.experiments.parts.clusters_agreement import (
    FIVES,
    agreement_row,
    draw_fives,
    fives_row,
    joins_first,
)
from glue_pilot.findings import Finding, bullets, listed, md_table
from glue_pilot.matrices import CENTRED, COSINE, LOG_RATIO, FloatArray, method_matrices
from glue_pilot.samples import Sample, label_word
from glue_pilot.stats import Interval, Labelled, compare

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IntArray = NDArray[np.int64]

GROUPINGS = {"label": "kind of label", "domain": "domain"}
UNITS = {LOG_RATIO: "log-ratio distance", CENTRED: "centred cosine distance"}


@dataclass(frozen=True)
class ClusterSettings:
    """Which tasks are clustered, and how.

    Attributes:
        encoder: Name of the encoder.
        tasks: Names or sources; empty for all of the folder.
        similar: Three of them that are alike, shown as an example.
        dissimilar: Two that are not.
        n: Labelled texts a task.
        all_heads_up_to: As in the study of embeddings, whose results are used again.
        max_length: Most tokens of a text.
        n_eval: Evaluation texts a task, at most.
        n_permuted: How often names are swapped for the level of chance.
        n_resamples: How often tasks are left out for the intervals.
        fives_each: Fives a three of similar tasks.
    """

    encoder: str = "minilm"
    tasks: tuple[str, ...] = ()
    similar: tuple[str, ...] = ("mr", "imdb_small", "yelp_small")
    dissimilar: tuple[str, ...] = ("trec6", "chemprot")
    n: int = 512
    all_heads_up_to: int = 128
    max_length: int = 128
    n_eval: int = 1000
    n_permuted: int = 500
    n_resamples: int = 200
    fives_each: int = 60


def run(settings: ClusterSettings, workspace: Workspace) -> Finding:
    """Cluster the tasks by every method and score the clusterings.

    Raises:
        UsageError: There are not three similar and two dissimilar tasks, or too few alike.
    """
    if len(settings.similar) != 3 or len(settings.dissimilar) != 2:
        raise UsageError(
            "the example is three similar and two dissimilar tasks: expected 3 and 2 names, got "
            f"{settings.similar} and {settings.dissimilar}."
        )
    encoder = load_encoder(settings.encoder)
    study = study_of(settings, (settings.n,), (1,))
    known = known_tasks(settings.tasks, workspace)
    samples = embedded_samples(study, known, encoder, workspace)
    matrices = method_matrices(samples, study, encoder, workspace.store)
    example = [
        _place(samples, name, settings.tasks) for name in (*settings.similar, *settings.dissimilar)
    ]
    # the first task of each corpus: no two of them share texts
    apart = np.flatnonzero(~pd.Series([s.known.corpus for s in samples]).duplicated())
    workspace.progress("clusters", 0, len(GROUPINGS))
    parts = []
    for done, grouping in enumerate(GROUPINGS):
        parts.append(score_table(samples, matrices, apart, grouping, settings))
        workspace.progress("clusters", done + 1, len(GROUPINGS))
    table = pd.concat(parts, ignore_index=True)
    if table.empty:
        raise UsageError(
            "nothing to find again: expected at least two groups of two tasks from other corpora "
            f"each, got none among {len(apart)} corpora. Name more tasks."
        )
    example_right = {
        m: float(joins_first(d[np.ix_(example, example)])) for m, d in matrices.items()
    }
    table["example"] = table["method"].map(example_right)
    words = finding(table, settings, len(samples))
    return Finding(table, draw(samples, matrices, table, settings), *words, summary(table))


# -- tables -----------------------------------------------------------------------------------


def _place(samples: Sequence[Sample], name: str, sources: Sequence[str]) -> int:
    """Return the place of a task, named as it calls itself or as it was asked for."""
    names = [s.known.task.name for s in samples]
    if name in names:
        return names.index(name)
    if name in sources:
        return list(sources).index(name)
    raise UnknownNameError("task of the example", name, names)


def words_of(samples: Sequence[Sample], grouping: str) -> list[str]:
    """Return each task's domain, or its kind of label."""
    if grouping == "domain":
        return [s.known.domain for s in samples]
    return [label_word(s.known.label_kind) for s in samples]


def score_table(
    samples: Sequence[Sample],
    matrices: dict[str, FloatArray],
    apart: IntArray,
    grouping: str,
    settings: ClusterSettings,
) -> pd.DataFrame:
    """Score every method against one grouping; groups of one task are left out.

    Returns:
        One row a method: ``grouping``, ``tasks``, ``groups``, each measure with ``_low``,
        ``_high``, ``_chance`` (mean of permutations), ``_p``, and its gain over centred text
        embeddings; ``joined``: the share of fives where the three alike join first.
    """
    words = np.array(words_of(samples, grouping))
    other = np.array(words_of(samples, "label" if grouping == "domain" else "domain"))
    counts = pd.Series(words[apart]).value_counts()
    kept = np.array([p for p in apart if words[p] and counts[words[p]] > 1], np.int64)
    if len(set(words[kept])) < 2:
        return pd.DataFrame()
    fives = draw_fives(words[apart].tolist(), other[apart].tolist(), most=settings.fives_each)
    rows = []
    baseline = matrices[CENTRED][np.ix_(kept, kept)]
    for method, matrix in matrices.items():
        inside = matrix[np.ix_(kept, kept)]
        row = {"grouping": grouping, "method": method, "tasks": len(kept)}
        row |= {"groups": len(set(words[kept])), "fives": len(fives)}
        row |= agreement_row(
            inside,
            baseline,
            words[kept],
            other[kept],
            n_permuted=settings.n_permuted,
            n_resamples=settings.n_resamples,
        )
        rows.append(
            row
            | fives_row(
                matrix[np.ix_(apart, apart)],
                fives,
                n_permuted=settings.n_permuted,
                n_resamples=settings.n_resamples,
            )
        )
    return pd.DataFrame(rows)


# -- what was found ---------------------------------------------------------------------------

SHOWN = {LOG_RATIO: "log-ratio", COSINE: "Task2Vec's cosine", CENTRED: "texts, centred"}


def _by_method(table: pd.DataFrame, grouping: str) -> Labelled:
    return table[table["grouping"] == grouping].set_index("method")


def summary(table: pd.DataFrame) -> dict[str, float]:
    """Return the adjusted Rand index of the methods that matter, by grouping."""
    found = {}
    for name, method in (("log_ratio", LOG_RATIO), ("cosine", COSINE), ("text", CENTRED)):
        for grouping in table["grouping"].unique():
            row = _by_method(table, grouping).loc[method]
            found[f"ari_{grouping}_{name}"] = float(row["ari"])
            found[f"joined_{grouping}_{name}"] = float(row[FIVES])
    return found


def finding(table: pd.DataFrame, settings: ClusterSettings, n_tasks: int) -> tuple[str, str, str]:
    """Return answer, points and details."""
    claims, rows, items = [], [], []
    for grouping, name in GROUPINGS.items():
        part = _by_method(table, grouping)
        if part.empty:
            continue
        ours = part.loc[LOG_RATIO]
        above = "above chance" if ours["ari_p"] <= 0.05 else "not shown to be above chance"
        claims.append(f"by {name} {above} ({ours['ari']:.2f})")
        for method, words in SHOWN.items():
            row = part.loc[method]
            rows.append(
                {"grouping": f"{name} ({row['tasks']} tasks, {row['groups']} groups)"}
                | {"distance": words, "adjusted Rand": f"{Interval.of(row, 'ari')}"}
                | {"purity": f"{row['purity']:.2f} (chance {row['purity_chance']:.2f})"}
                | {"pair inside is nearer": f"{Interval.of(row, 'separation')}"}
                | {"three of five join first": f"{Interval.of(row, FIVES):.0%}"}
            )
        items.append(
            f"By {name}, log-ratio less texts: adjusted Rand {_gain(ours, 'ari')}; pairs "
            f"{_gain(ours, 'separation')}. Permutations of names: p = {ours['ari_p']:.3f}; only of "
            f"names that share the other grouping: p = {ours['ari_p_within']:.3f}."
            + (
                f" Fives: {ours['fives']:,} cases; of any five, three join first in "
                f"{ours['joined_chance']:.0%}."
                if ours["fives"]
                else ""
            )
        )
    answer = f"Agreement of clusters by log-ratio with known groups is {'; '.join(claims)}."
    return answer, md_table(rows), bullets(*_method_items(table, settings, n_tasks), *items)


def _method_items(table: pd.DataFrame, settings: ClusterSettings, n_tasks: int) -> list[str]:
    example = table.drop_duplicates("method").set_index("method")["example"]
    right = [name for method, name in SHOWN.items() if example[method] == 1]
    return [
        f"{n_tasks} tasks, {settings.n:,} labelled texts each; average linkage, cut into as many "
        "clusters as there are groups. One task a corpus is scored, in groups of two or more.",
        "The interval asks how far the index depends on which tasks were taken (a fifth left out "
        "at a time); the permutations ask whether names and clusters are related at all. With few "
        "groups the first can reach zero where the second does not.",
        "Kind of label and domain go together (sentiment tasks are often reviews): the second p "
        "holds the other one fixed, and needs several kinds within a domain to show anything.",
        f"The example ({', '.join(settings.similar)}; against {', '.join(settings.dissimilar)}) "
        f"comes out as expected by: {listed(right)}.",
    ]


def _gain(row: pd.Series, measure: str) -> str:
    gain = Interval.of(row, f"{measure}_gain")
    words = {"above": "the Fisher distance is better", "below": "texts are better"}
    return f"{gain:+.2f}, {words.get(compare(gain), 'no difference is shown')}"


# -- figures ----------------------------------------------------------------------------------


def draw(
    samples: Sequence[Sample],
    matrices: dict[str, FloatArray],
    table: pd.DataFrame,
    settings: ClusterSettings,
) -> dict[str, Figure]:
    """Return all figures, ending -> figure; the scores first."""

    def rows(measure: str) -> pd.DataFrame:
        shown = table[["method", "grouping", measure, f"{measure}_low", f"{measure}_high"]]
        named = shown.set_axis(["method", "series", "value", "low", "high"], axis=1)
        return named.assign(series=named["series"].map(GROUPINGS))

    groups = {s.known.task.name: label_word(s.known.label_kind) for s in samples}
    about = f"n = {settings.n:,} labelled texts a task."
    indices = [
        f"{part.loc[LOG_RATIO, 'ari']:.2f} by {name} (texts {part.loc[CENTRED, 'ari']:.2f})"
        for grouping, name in GROUPINGS.items()
        if len(part := _by_method(table, grouping))
    ]
    drawn = {
        "": figures.dots(
            rows("ari"),
            title=f"Rand index of clusters: {', '.join(indices)}",
            caption="0: what chance gives; 1: clusters and groups are the same. Bars: 90 % "
            f"intervals, a fifth of the tasks left out at a time. One task a corpus. {about}",
            label="adjusted Rand index",
            level=0.0,
        )
    }
    if table[FIVES].notna().any():
        drawn["fives"] = figures.dots(
            rows(FIVES),
            title="Three alike and two others: how often the three join first",
            caption=f"Bars: 90 % intervals. No two tasks share texts. {about}",
            label="share of fives where the three join first",
            limits=(-0.03, 1.03),
        )
    names = [s.known.task.name for s in samples]
    kinds: dict[str, tuple[Callable[..., Figure], str]] = {
        "tree": (distance_tree, "{n} tasks joined by {what}"),
        "matrix": (distance_matrix, "Distances of {n} tasks by {what}"),
        "map": (distance_map, "A map of {n} tasks by {what}"),
        "tsne": (neighbour_map, "Neighbours among {n} tasks by {what} (t-SNE)"),
    }
    for method, ending, what in (
        (LOG_RATIO, "", "labels and texts"), (CENTRED, "_text", "texts only")
    ):  # fmt: skip
        for kind, (plot, title) in kinds.items():
            drawn[kind + ending] = plot(
                pd.DataFrame(matrices[method], names, names),
                title=title.format(n=len(names), what=what),
                unit=UNITS[method],
                groups=groups,
                alike="have one kind of label",
                note=about,
            )
    return drawn


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

    tall, side, room = 4.2, 0.12, 0.14  # inches, inches, share of the frame
    names = [str(name) for name in matrix.index]
    perplexity = min(8.0, (len(names) - 1) / 3)
    scaler = TSNE(metric="precomputed", init="random", perplexity=perplexity, random_state=seed)
    points = np.asarray(scaler.fit_transform(distances_of(matrix)), np.float64)
    figure, axes = blank(
        title=title,
        caption=f"t-SNE of the {unit}, perplexity {perplexity:.0f}: neighbours stand together, "
        f"gaps between groups mean nothing. Colours: tasks that {alike}. {note}",
        height=tall,
        left=side,
        right=side,
        below=-0.38,
    )
    shares = (points - points.min(0)) / np.maximum(np.ptp(points, axis=0), 1e-12)
    _draw_points(axes, room + (1 - 2 * room) * shares, (WIDTH - 2 * side, tall), names, groups)
    numbers = pd.DataFrame(points, columns=["x", "y"])
    numbers.insert(0, "task", names)
    return keep_numbers(figure, numbers)


def _draw_points(
    axes: Any,
    shares: FloatArray,
    size: tuple[float, float],
    names: list[str],
    groups: dict[str, str],
) -> None:
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


EXPERIMENT = Experiment(
    name="clusters",
    question="Do embeddings cluster as expected?",
    motivation="the notes on Task2Vec, second experiment: three similar and two dissimilar tasks",
    settings=ClusterSettings,
    run=run,
)
