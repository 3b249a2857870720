"""Are tasks that are alike near each other? By every Fisher distance, layer and head."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from charkit.encoders import load_encoder
from charkit.errors import UsageError
from glue_pilot import figures
from glue_pilot.experiments.base import Experiment, Workspace, embedded_samples, study_of
from glue_pilot.experiments.parts.siblings_tables import (
    CHOSEN,
    RELATIONS,
    across_sizes,
    best_fisher,
    draw_table,
    named,
    p_table,
    paired_table,
    pick,
    relabelled_table,
    rows_of,
    sibling_table,
    slope_table,
    spell,
)
from glue_pilot.findings import Finding, blocks, bullets, md_table
from glue_pilot.matrices import COSINE, LOG_RATIO, Choice, default_choices, every_matrix, norm_rows
from glue_pilot.relabelled import embed_relabelled
from glue_pilot.samples import sample_states
from glue_pilot.stats import Interval, Labelled, compare

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FEW_CORPORA = 5
"""From fewer corpora an interval shows little: a 90 % bootstrap interval of 4 means covers about
three quarters."""


@dataclass(frozen=True)
class SiblingSettings:
    """Which tasks are embedded, and whose texts get other labels.

    Attributes:
        encoder: Name of the encoder.
        tasks: Names or sources; empty for all of the folder.
        sizes: Labelled texts a sample, rising.
        draws: Samples of each size, no text in two of them.
        all_heads_up_to: Samples of up to this many texts are embedded under heads at every layer.
        relabelled: Tasks whose texts are embedded once more under other labels.
        relabelled_sizes: Texts a sample of those.
        max_length: Most tokens of a text.
        n_eval: Evaluation texts a task, at most.
    """

    encoder: str = "minilm"
    tasks: tuple[str, ...] = ()
    sizes: tuple[int, ...] = (128, 512, 2048)
    draws: tuple[int, ...] = (2, 2, 1)
    all_heads_up_to: int = 128
    relabelled: tuple[str, ...] = (
        "trec50", "sst5", "ag_news", "search_snippets", "mag_fields", "goemotions",
        "stackoverflow_titles", "banking77",
    )  # fmt: skip
    relabelled_sizes: tuple[int, ...] = (128, 512)
    max_length: int = 128
    n_eval: int = 1000

    @property
    def shown(self) -> int:
        """The size that figures show: the largest of which there are two draws."""
        twice = [n for n, draws in zip(self.sizes, self.draws, strict=True) if draws > 1]
        return (twice or self.sizes)[-1]


def run(settings: SiblingSettings, workspace: Workspace) -> Finding:
    """Rank siblings, other draws and other labels of the same texts by every distance."""
    study = study_of(settings, settings.sizes, settings.draws)
    full = [n for n in study.sizes if n <= study.all_heads_up_to]
    if not full or not settings.relabelled:
        raise UsageError(
            "siblings needs a size with heads at every layer and tasks to relabel: expected a "
            f"size of at most {study.all_heads_up_to}, got {study.sizes} and "
            f"{settings.relabelled}."
        )
    encoder = load_encoder(settings.encoder)
    known = workspace.tasks(settings.tasks)
    samples = embedded_samples(study, known, encoder, workspace)
    again = replace(
        study, sizes=settings.relabelled_sizes, draws=(2,) * len(settings.relabelled_sizes)
    )
    relabelled = embed_relabelled(
        again, settings.relabelled, known, encoder, store=workspace.store,
        progress=workspace.progress,
    )  # fmt: skip
    tables = []
    for done, n in enumerate(study.sizes):
        workspace.progress("distances", done, len(study.sizes))
        chosen = [s for s in samples if s.n == n]
        states = [sample_states(s, study, encoder, workspace.store) for s in chosen]
        matrices = every_matrix(chosen, states, every_range=n == study.sizes[0])
        siblings, each = sibling_table(chosen, matrices)
        parts = [
            siblings.assign(part="siblings"),
            draw_table(chosen, matrices).assign(part="draws"),
        ]
        parts.append(paired_table(each, chosen, encoder.n_layers).assign(part="paired"))
        if n == settings.shown:
            parts.append(p_table(chosen, matrices, encoder.n_layers).assign(part="chance"))
        tables.append(pd.concat(parts).assign(n=n))
    workspace.progress("distances", len(study.sizes), len(study.sizes))
    for n in settings.relabelled_sizes:
        nearest = min(study.sizes, key=lambda size: abs(np.log(size / n)))
        library = [s for s in samples if s.n == nearest and s.draw == 0]
        found = relabelled_table([r for r in relabelled if r.n == n], library)
        tables.append(found.assign(part="relabelled", n=n))
    norms = pd.DataFrame([row for sample in samples for row in norm_rows(sample)])
    tables.append(slope_table(norms).assign(part="slopes"))
    repeated = [n for n, draws in zip(study.sizes, study.draws, strict=True) if draws > 1]
    for small, large in itertools.pairwise(repeated):
        choices = default_choices(encoder.n_layers).values()
        tables.append(across_sizes(samples, choices, small=small, large=large).assign(part="sizes"))
    table = pd.concat(tables, ignore_index=True)
    what = (
        f"{len(known)} tasks from {len({k.corpus for k in known})} corpora, {len(samples)} samples"
    )
    words = finding(table, settings, full[-1], encoder.n_layers, what=what)
    return Finding(table, draw(table, settings, encoder.n_layers), *words, summary(table, settings))


# -- what was found ---------------------------------------------------------------------------


def summary(table: pd.DataFrame, settings: SiblingSettings) -> dict[str, float]:
    """Return the NDCG of the siblings by relation and Fisher distance."""
    rows = rows_of(table, "paired", n=settings.shown)
    return {f"gain_{r.relation}_{r.method}": float(r.gain) for r in rows.itertuples()}  # type: ignore[arg-type]


def finding(
    table: pd.DataFrame, settings: SiblingSettings, n_heads: int, n_layers: int, *, what: str
) -> tuple[str, str, str]:
    """Return answer, points and details.

    Args:
        table: All tables, one after the other.
        settings: Sizes.
        n_heads: The largest size with heads at every layer.
        n_layers: Of the encoder.
        what: Which tasks and samples.
    """
    siblings = named(rows_of(table, "siblings", n=settings.shown), n_layers)
    paired: Labelled = rows_of(table, "paired", n=settings.shown, method="log-ratio")
    paired = paired.set_index("relation")
    words = {"above": "better than texts", "below": "worse than texts"}
    gains = {r: Interval.of(row, "gain") for r, row in paired.iterrows()}
    claims = [
        f"for {RELATIONS[str(r)]} {words.get(compare(g), 'not shown to differ from texts')} "
        f"({g.mean:+.2f})"
        for r, g in gains.items()
    ]
    answer = f"In NDCG of siblings the log-ratio distance is {'; '.join(claims)}."
    relations = list(siblings["relation"].unique())
    rows = [
        {"method": str(method)}
        | {RELATIONS[r]: _scores(part[part["relation"] == r]) for r in relations}
        for method, part in siblings.groupby("method", sort=False)
    ]
    note = f"NDCG of siblings, their average rank, precision at 1; n = {settings.shown:,}."
    every = rows_of(table, "siblings", n=settings.shown)
    items = [
        f"{what} of {', '.join(f'{n:,}' for n in settings.sizes)} labelled texts; two draws of one "
        "size share no text. *Best* choices were picked on the tasks they are reported for. Fair "
        "are the two made before (last head, all layers) and *chosen*: for each query the best on "
        "all other corpora.",
        *(_relation(r, siblings, every, paired, rows_of(table, "chance")) for r in relations),
        "Differences of norms, LogME scores and class counts are controls: one number is no "
        "description of a task, and LogME compares encoders on one task, not tasks.",
    ]
    details = blocks(
        bullets(*items),
        _other_draws(table, n_layers),
        _other_labels(table, n_layers),
        _layers(table, settings, n_heads, n_layers),
        _sizes(table, relations, n_layers),
    )
    return answer, blocks(md_table(rows), note), details


def _scores(rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    row = rows.iloc[0]
    more = f", rank {row['average_rank']:.1f}, {row['precision_at_1']:.0%}"
    return f"{row['ndcg']:.2f}" + (more if pd.notna(row["average_rank"]) else "")


def _relation(
    relation: str,
    siblings: pd.DataFrame,
    every: pd.DataFrame,
    paired: Labelled,
    chance: pd.DataFrame,
) -> str:
    ndcg: Labelled = siblings[siblings["relation"] == relation].set_index("method")
    ours, cosine, chosen = (Interval.of(ndcg.loc[m], "ndcg") for m in (LOG_RATIO, COSINE, CHOSEN))
    p = chance[(chance["relation"] == relation) & (chance["measure"] == "ndcg")]
    values = ", ".join(f"{r.p:.3f} ({r.method})" for r in p.itertuples())
    best = best_fisher(every[every["relation"] == relation], "ndcg")
    row = paired.loc[relation]
    few = f"; from {row['corpora']:.0f} corpora only" if row["corpora"] < FEW_CORPORA else ""
    return (
        f"{RELATIONS[relation].capitalize()} ({ndcg.loc[LOG_RATIO, 'queries']:.0f} queries): "
        f"log-ratio {ours}, Task2Vec's cosine {cosine}, chosen {chosen}, best {spell(best)} "
        f"{Interval.of(best, 'ndcg')}; permutations p = {values}. Log-ratio less centred texts on "
        f"the same queries: {Interval.of(row, 'gain'):+.2f}{few}."
    )


def _other_draws(table: pd.DataFrame, n_layers: int) -> str:
    draws = rows_of(table, "draws")
    rows, best = [], []
    for n, part in draws.groupby("n"):
        by_name = named(part, n_layers).set_index("method")["precision_at_1"]
        rows.append({"n": f"{n:,.0f}"} | {str(m): f"{v:.0%}" for m, v in by_name.items()})
        top = best_fisher(part, "precision_at_1")
        best.append(f"n = {n:,.0f}: {spell(top)}, {top['precision_at_1']:.0%}")
    title = "The other draw of the same task is the nearest of all samples, share of samples:"
    return blocks(title, md_table(rows), f"Best choices: {'; '.join(best)}.") if rows else ""


def _other_labels(table: pd.DataFrame, n_layers: int) -> str:
    part = rows_of(table, "relabelled")
    shown = default_choices(n_layers) | {"norm": Choice("norm", "difference of log norm", n_layers)}
    rows = []
    for (n, pair), found in part.groupby(["n", "pair"], sort=False):
        top = best_fisher(found, "same_texts")
        row = {"n": f"{n:,.0f}", "labels compared": str(pair)}
        row |= {name: _both(pick(found, choice).iloc[0]) for name, choice in shown.items()}
        worst = f"{spell(top)}, {top['same_texts_worst']:.2f} on its worst task"
        rows.append(row | {"best choice": f"{_both(top)} ({worst})"})
    title = (
        f"Another draw under the same labels is nearer than other labels of the very same texts / "
        f"of other texts ({part['bases'].max():.0f} tasks; by texts 0 / 0.50):"
    )
    return blocks(title, md_table(rows))


def _both(row: pd.Series) -> str:
    return f"{row['same_texts']:.2f} / {row['other_texts']:.2f}"


def _questions(table: pd.DataFrame, n: int) -> dict[str, tuple[pd.DataFrame, str]]:
    """Return what layers and heads are compared by: name -> rows at a size, column."""
    other = rows_of(table, "relabelled", pair="all")
    sizes = other["n"].unique()
    return {
        "siblings by kind of label (NDCG)": (
            rows_of(table, "siblings", n=n, relation="label"), "ndcg"
        ),
        "other draw is nearest": (rows_of(table, "draws", n=n), "precision_at_1"),
        "other labels, same texts": (
            other[other["n"] == (n if n in sizes else max(sizes))], "same_texts"
        ),
    }  # fmt: skip


def layer_rows(table: pd.DataFrame, n: int, n_layers: int) -> pd.DataFrame:
    """Return what each layer shows, one at a time, under the last head by log-ratio."""
    rows = [
        {"line": question, "place": layer, "mean": row[column]}
        for question, (part, column) in _questions(table, n).items()
        for layer in range(1, n_layers + 1)
        for _, row in pick(part, Choice("fisher", "log_ratio", n_layers, str(layer))).iterrows()
    ]
    return pd.DataFrame(rows, columns=["line", "place", "mean"])


def _layers(table: pd.DataFrame, settings: SiblingSettings, n_heads: int, n_layers: int) -> str:
    items = []
    for question, part in layer_rows(table, settings.shown, n_layers).groupby("line", sort=False):
        top, low = (part.iloc[int(k)] for k in (part["mean"].argmax(), part["mean"].argmin()))
        items.append(
            f"{question}: layer {top['place']} is best ({top['mean']:.2f}), layer {low['place']} "
            f"worst ({low['mean']:.2f})."
        )
    rows = []
    for head in range(1, n_layers + 1):
        choice = Choice("fisher", "log_ratio", head, f"1-{head}" if head > 1 else "1")
        cells = {"head at layer": f"{head}"}
        for question, (part, column) in _questions(table, n_heads).items():
            cells |= {question: "".join(f"{v:.2f}" for v in pick(part, choice)[column])}
        rows.append(cells)
    return blocks(
        f"One layer at a time under a head on the last, log-ratio, n = {settings.shown:,}:",
        bullets(*items),
        f"Heads at other layers, all layers up to the head, n = {n_heads:,}:",
        md_table(rows),
    )


def _sizes(table: pd.DataFrame, relations: list[str], n_layers: int) -> str:
    rows = []
    for n, part in rows_of(table, "siblings").groupby("n"):
        for name, choice in default_choices(n_layers).items():
            found: Labelled = pick(part, choice).set_index("relation")
            cells = {RELATIONS[r]: f"{Interval.of(found.loc[r], 'ndcg')}" for r in relations}
            rows.append({"n": f"{n:,.0f}", "distance": name} | cells)
    slopes = rows_of(table, "slopes")["slope"]
    low, middle, high = slopes.quantile([0.25, 0.5, 0.75])
    items = [
        f"{row['queries']:.0f} samples of {row['small']:.0f} texts among {row['library']:.0f} of "
        f"{row['large']:.0f} other texts: the nearest is of the same task for "
        f"{row['precision_at_1']:.0%} ({spell(row)})."
        for _, row in rows_of(table, "sizes").iterrows()
    ]
    items.append(
        "The norm is no constant of a task: slope of log norm on log n, median over "
        f"{len(slopes)} tasks {middle:.2f}, the middle half {low:.2f} to {high:.2f}; "
        f"{(slopes > 0).mean():.0%} of tasks rise. Compare norms of one size only."
    )
    return blocks("NDCG of the siblings by sample size:", md_table(rows), bullets(*items))


def draw(table: pd.DataFrame, settings: SiblingSettings, n_layers: int) -> dict[str, Figure]:
    """Return all figures, ending -> figure; the siblings first."""
    n = settings.shown
    siblings = named(rows_of(table, "siblings", n=n), n_layers)
    relation = siblings["relation"].iloc[-1]
    last = siblings[siblings["relation"] == relation].set_index("method")
    values = [last.loc[m, "ndcg"] for m in (LOG_RATIO, "chance")]
    texts = last[last["family"] == "text"]["ndcg"].max()
    pairs = rows_of(table, "relabelled", pair="all")
    pairs = pairs[pairs["n"] == pairs["n"].max()]
    layers = f"1-{n_layers}"
    fisher = pairs[(pairs["head_layer"] == n_layers) & (pairs["layers"] == layers)]
    fisher = fisher.sort_values("same_texts", ascending=False)
    shown = pd.concat([fisher, pairs[pairs["family"].isin(("norm", "text"))]])
    named_rows = shown.assign(method=[spell(row) for _, row in shown.iterrows()])
    both = named_rows.melt("method", ["same_texts", "other_texts"], "series", "value")
    words = {
        "same_texts": "other labels, the same texts",
        "other_texts": "other labels, other texts",
    }
    ours = pick(pairs, default_choices(n_layers)["log-ratio"]).iloc[0]
    return {
        "": figures.dots(
            siblings.assign(
                series=siblings["relation"].map(RELATIONS), value=siblings["ndcg"],
                low=siblings["ndcg_low"], high=siblings["ndcg_high"],
            )[["method", "series", "value", "low", "high"]],
            title=f"Tasks alike in their labels: NDCG {values[0]:.2f} by log\u2011ratio, "
            f"{texts:.2f} by texts, {values[1]:.2f} by chance",
            caption="1: all tasks of the query's kind come first among its neighbours. Bars: 90 % "
            f"bootstrap intervals over corpora. n = {n:,} texts a task.",
            label="NDCG of the siblings",
            limits=(0, 1.02),
        ),
        "layers": figures.lines(
            layer_rows(table, n, n_layers),
            title="What each layer shows, one at a time",
            caption=f"Log-ratio distance, head on layer {n_layers}, n = {n:,}. Shares of cases, "
            "and NDCG; 1 is best.",
            x="layer whose Fisher information is compared",
            y="share, or NDCG",
        ),
        "relabelled": figures.dots(
            both.assign(series=both["series"].map(words), low=np.nan, high=np.nan),
            title=f"Same texts, other labels: log\u2011ratio orders {ours['same_texts']:.0%} "
            "rightly, texts none",
            caption="Share of cases where another draw of texts under the same labels is nearer "
            "than other labels: of the very same texts, or of the other draw's. Half is what "
            "guessing gives.",
            label="share of cases ordered rightly",
            level=0.5,
            limits=(-0.03, 1.03),
        ),
    }  # fmt: skip


EXPERIMENT = Experiment(
    name="siblings",
    question="Are tasks that are alike near each other, and by which distance?",
    motivation="the notes on Task2Vec: what embeddings of all tasks know of domain and labels",
    settings=SiblingSettings,
    run=run,
)
