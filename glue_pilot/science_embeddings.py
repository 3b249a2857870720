"""The study of embeddings: tables, figures and findings into ``results/``."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from charkit.config import Progress, no_progress
from charkit.durable import write_whole
from charkit.encoders import Encoder, LayerStates
from charkit.heads.records import write_table
from charkit.store import Store
from glue_pilot import science_rows as rows_of
from glue_pilot.embedding_study import EmbeddingStudy, KnownTask
from glue_pilot.embeddings import Sample, embed_study, norm_rows, sample_states, write_csv
from glue_pilot.relabelled import embed_relabelled
from glue_pilot.science_figures import (
    error_figure,
    layers_figure,
    relabelled_figure,
    save_all,
    sibling_figure,
    sizes_figure,
)
from glue_pilot.science_findings import findings
from glue_pilot.science_matrices import default_choices
from glue_pilot.science_norms import norm_table, slope_table
from glue_pilot.science_tables import (
    RELATIONS,
    SizeMatrices,
    across_sizes,
    draw_table,
    matrices_of,
    paired_table,
    relabelled_table,
    relate,
    sibling_table,
)
from glue_pilot.siblings import chance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLES = ("siblings", "paired", "draws", "relabelled", "norms", "slopes", "sizes")


def study_embeddings(
    study: EmbeddingStudy,
    known: list[KnownTask],
    encoder: Encoder,
    *,
    store: Store,
    progress: Progress = no_progress,
) -> rows_of.Tables:
    """Answer all questions from the embeddings in the store, making those that are not there."""
    samples = list(embed_study(study, known, encoder, store=store, progress=progress))
    relabelled = embed_relabelled(study, known, encoder, store=store, progress=progress)
    held = pd.DataFrame([row for sample in samples for row in norm_rows(sample)])

    def states(sample: Sample) -> LayerStates:
        return sample_states(sample, study, encoder, store)

    siblings, draws, paired, p_values = [], [], [], []
    ours = default_choices(encoder.n_layers)
    rival = rows_of.methods(encoder.n_layers)["text, centred"]
    full = [n for n in study.sizes if n <= study.all_heads_up_to]
    repeated = [n for n, count in zip(study.sizes, study.draws, strict=True) if count > 1]
    shown = (repeated or full)[-1]
    for done, n in enumerate(study.sizes):
        progress("distances", done, len(study.sizes))
        size = matrices_of(samples, n, states=states, every_range=n == study.sizes[0])
        table, each = sibling_table(size)
        siblings.append(table)
        paired.append(paired_table(each, size, ours, rival))
        draws.append(draw_table(size))
        if n == shown:
            p_values = _p_values(size, encoder.n_layers)
    progress("distances", len(study.sizes), len(study.sizes))

    def library(n: int) -> list[Sample]:
        size = min(study.sizes, key=lambda known: abs(np.log(known / n)))
        return [s for s in samples if s.n == size and s.draw == 0]

    across = [
        across_sizes(samples, ours.values(), small=a, large=b)
        for a, b in itertools.pairwise(repeated)
    ]
    return rows_of.Tables(
        siblings=pd.concat(siblings, ignore_index=True),
        paired=pd.concat(paired, ignore_index=True),
        draws=pd.concat(draws, ignore_index=True),
        relabelled=relabelled_table(relabelled, library),
        norms=norm_table(held),
        slopes=slope_table(held),
        sizes=pd.concat(across, ignore_index=True) if across else pd.DataFrame(),
        embeddings=held,
        p_values=pd.DataFrame(p_values, columns=["relation", "method", "measure", "p"]),
        n_layers=encoder.n_layers,
        n=shown,
        n_heads=full[-1],
    )


def _p_values(size: SizeMatrices, n_layers: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    first = [k for k, s in enumerate(size.samples) if s.draw == 0]
    chosen = [size.samples[k] for k in first]
    for relation in RELATIONS:
        siblings, candidates = relate(chosen, relation)
        if not siblings.any():
            continue
        for name, choice in default_choices(n_layers).items():
            matrix = np.where(candidates, size.matrices[choice][np.ix_(first, first)], np.nan)
            for measure, p in chance(matrix, siblings).items():
                rows.append({"relation": relation, "method": name, "measure": measure, "p": p})
    return rows


# -- what is written --------------------------------------------------------------------------


def write_study(tables: rows_of.Tables, out: Path, *, name: str) -> list[Path]:
    """Write tables (parquet, CSV), figures (SVG, PNG, CSV) and findings (Markdown).

    Args:
        tables: From `study_embeddings`.
        out: The folder; figures go into its ``figures``.
        name: What files begin with.

    Returns:
        The files.
    """
    written = []
    for part in TABLES:
        table: pd.DataFrame = getattr(tables, part)
        if len(table):
            paths = [out / f"{name}_{part}{ending}" for ending in (".parquet", ".csv")]
            write_table(table, paths[0])
            write_csv(table, paths[1])
            written += paths
    page = out / f"{name}.md"
    write_whole(page, findings(tables).encode())
    figures = {f"{name}_{key}": figure for key, figure in draw_figures(tables).items()}
    return [*written, page, *save_all(figures, out / "figures")]


def draw_figures(tables: rows_of.Tables) -> dict[str, Figure]:
    """Return all figures, name -> figure."""
    figures = {
        "siblings": sibling_figure(rows_of.sibling_rows(tables), title=_sibling_title(tables)),
        "layers": layers_figure(
            rows_of.layer_rows(tables),
            title="What each layer tells, alone",
            caption=f"Log-ratio distance, head on layer {tables.n_layers}, n = {tables.n}. "
            "Shares of cases, and NDCG; 1 is best.",
        ),
        "error": error_figure(
            _error_rows(tables),
            title=_error_title(tables),
            caption=f"One mark a task, n = {tables.n}, head on layer {tables.n_layers}. Norms next "
            "to nought: heads that found next to nothing, under a large penalty.",
        ),
    }
    if len(tables.slopes):
        figures["sizes"] = sizes_figure(
            _size_rows(tables),
            title=_size_title(tables),
            caption="One thin line a task, the median thick. Norm of all layers, last head.",
        )
    if len(tables.relabelled):
        rows = rows_of.relabelled_rows(tables)
        ours = rows[rows["method"] == "Fisher, log-ratio"].iloc[0]
        figures["relabelled"] = relabelled_figure(
            rows,
            title="Same texts, other labels: log\u2011ratio tells "
            f"{100 * ours['same_texts']:.0f} % right, texts none",
        )
    return figures


def _sibling_title(tables: rows_of.Tables) -> str:
    rows = rows_of.sibling_rows(tables)
    rows = rows[rows["relation"] == rows["relation"].unique()[-1]].set_index("method")
    text = rows[rows["family"] == "text"]["ndcg"].max()
    return (
        f"Tasks alike in their labels: NDCG {rows.loc['Fisher, log-ratio', 'ndcg']:.2f} by "
        f"log\u2011ratio, {text:.2f} by texts, {rows.loc['chance', 'ndcg']:.2f} by chance"
    )


def _error_rows(tables: rows_of.Tables) -> pd.DataFrame:
    held = tables.embeddings
    rows = held[
        (held["n"] == tables.n)
        & (held["draw"] == 0)
        & (held["layer"] == 0)
        & (held["head_layer"] == tables.n_layers)
        & (held["kind"] == "classification")
        & held["accuracy"].notna()
    ]
    shown = rows.assign(error=1 - rows["accuracy"])
    return pd.DataFrame(shown, columns=["task", "l2", "error", "n_classes"])


def _error_title(tables: rows_of.Tables) -> str:
    shown = tables.norms.query("n == @tables.n and head_layer == @tables.n_layers and layer == 0")
    plain, given = (rows_of.quantities(shown, "norm", "error", g) for g in ("", "classes"))
    return (
        f"Error by norm: Spearman {plain['spearman']:.2f}; {given['spearman']:.2f} with the "
        "number of classes held fixed"
    )


def _size_rows(tables: rows_of.Tables) -> pd.DataFrame:
    held = tables.embeddings
    last = held[(held["head_layer"] == tables.n_layers) & (held["layer"] == 0)]
    mean = last.groupby(["task", "n"], as_index=False)["l2"].mean()
    first = mean[mean["n"] == mean["n"].min()].set_index("task")["l2"]
    mean["ratio"] = mean["l2"] / mean["task"].map(first)
    return pd.DataFrame(mean[mean["ratio"] > 0])


def _size_title(tables: rows_of.Tables) -> str:
    rows = _size_rows(tables)
    last = rows[rows["n"] == rows["n"].max()]["ratio"].median()
    return (
        f"{rows['n'].max():,} labels: {last:.1f} times the norm of {rows['n'].min():,}, half of "
        "all tasks above that"
    )
