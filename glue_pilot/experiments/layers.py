"""Which layer carries the information: for distances, for a head, and in mixes of layers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd

from charkit.config import EncodeOptions
from charkit.encoders import Encoder, load_encoder
from charkit.errors import DataError, UsageError
from charkit.heads.sweep.sweep import sweep
from glue_pilot import figures
from glue_pilot.experiments.base import Experiment, Workspace, study_of
from glue_pilot.experiments.parts.layers_gaps import (
    ELSEWHERE,
    LAST,
    METRICS,
    MIXES,
    SINGLE,
    DrawnTasks,
    gap_ends,
    gap_table,
    mix_table,
    mixes_of_task,
    regret_table,
)
from glue_pilot.findings import Finding, blocks, bullets, md_table
from glue_pilot.samples import KnownTask, draw_sample, embed_sample
from glue_pilot.stats import Interval, Labelled, compare

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHIPPED, SWEPT = "shipped", "swept"


@dataclass(frozen=True)
class LayersSettings:
    """Tasks and sizes of the three parts.

    Attributes:
        encoder: Name of the encoder.
        tasks: Tasks whose distances are compared; empty for all of the folder. Of some, labels
            must be of one kind and texts not shared.
        n: Labelled texts of their samples.
        draws: Samples a task.
        outcomes: Where the scores of heads on every layer come from: ``shipped`` with the
            metamodel, or ``swept`` here over ``tasks``.
        sweep_sizes: Training texts of that sweep; nothing for the shipped ones.
        sweep_seeds: Draws of that sweep.
        mixed: Tasks on which layers are mixed.
        mixed_sizes: Training texts there.
        mixed_draws: Draws a size.
        pool: Texts that these draws are taken from.
        max_length: Most tokens of a text.
        n_eval: Evaluation texts that heads are scored on, at most.
    """

    encoder: str = "minilm"
    tasks: tuple[str, ...] = ()
    n: int = 128
    draws: int = 2
    outcomes: str = SHIPPED
    sweep_sizes: tuple[int, ...] = ()
    sweep_seeds: tuple[int, ...] = ()
    mixed: tuple[str, ...] = (
        "mr", "subj", "trec6", "ag_news", "search_snippets", "glue_cola", "tweeteval_emotion",
        "tweeteval_hate", "clickbait", "stackoverflow_titles", "disaster_tweets", "mag_fields",
    )  # fmt: skip
    mixed_sizes: tuple[int, ...] = (64, 256, 1024)
    mixed_draws: int = 3
    pool: int = 2048
    max_length: int = 128
    n_eval: int = 1000


def run(settings: LayersSettings, workspace: Workspace) -> Finding:
    """Compare layers by distances, by heads, and mixed."""
    if settings.outcomes not in (SHIPPED, SWEPT):
        raise UsageError(f"outcomes: expected {SHIPPED} or {SWEPT}, got {settings.outcomes!r}.")
    if settings.draws < 1 or settings.mixed_draws < 1:
        raise UsageError(
            f"draws: expected at least 1, got {settings.draws} and {settings.mixed_draws}."
        )
    encoder = load_encoder(settings.encoder)
    last = encoder.n_layers
    known = workspace.tasks(settings.tasks)
    gaps = _gaps(settings, known, encoder, workspace)
    regrets = regret_table(_outcomes(settings, known, workspace))
    mixes = _mixes(settings, workspace.tasks(settings.mixed), encoder, workspace)
    return Finding(
        joined(gaps, regrets, mixes),
        draw(gaps, regrets, mixes, last=last),
        *finding(gaps, regrets, mixes, last=last),
        summary(gaps, regrets, mixes, last=last),
    )


def _gaps(
    settings: LayersSettings, known: list[KnownTask], encoder: Encoder, workspace: Workspace
) -> pd.DataFrame:
    n = settings.n
    # every layer is asked for, whatever n
    study = replace(study_of(settings, (n,), (settings.draws,)), all_heads_up_to=n)
    drawn: list[DrawnTasks] = []
    for draw in range(settings.draws):
        workspace.progress("embeddings", draw, settings.draws)
        made = []
        for entry in known:
            sample = draw_sample(entry.task, n=n, draw=draw, n_eval=study.n_eval)
            if sample is not None and sample.kind == "classification":
                one = embed_sample(study, entry, sample, n, draw, encoder, workspace.store)
                made.append((entry, one.embeddings))
        drawn.append(made)
    workspace.progress("embeddings", settings.draws, settings.draws)
    table = gap_table(drawn)
    if table.empty:
        raise DataError(
            "no tasks to compare: expected two with labels of one kind and other texts, and one "
            f"with labels of another kind, got {[k.task.name for k in known]}. Name more tasks."
        )
    return table


def _outcomes(
    settings: LayersSettings, known: list[KnownTask], workspace: Workspace
) -> pd.DataFrame:
    """Return scores of heads on every layer: shipped with the metamodel, or swept now.

    Columns of `metamodel.schema.OUTCOMES`, of which only heads on real labels of whole tasks.
    """
    if settings.outcomes == SHIPPED:
        from metamodel.predict import SHIPPED as FOLDER

        found = pd.read_parquet(FOLDER / "metadata_outcomes.parquet")
        found = found[found["encoder"] == settings.encoder]
        return found[found["task"].isin(settings.tasks)] if settings.tasks else found
    return sweep(
        [entry.task for entry in known],
        encoder=settings.encoder,
        sizes=settings.sweep_sizes,
        seeds=settings.sweep_seeds,
        controls=(),
        encoding=EncodeOptions(max_length=settings.max_length),
        store=workspace.store,
        executor=1,
        progress=workspace.progress,
    ).table


def _mixes(
    settings: LayersSettings, known: list[KnownTask], encoder: Encoder, workspace: Workspace
) -> pd.DataFrame:
    cells = []
    for done, entry in enumerate(known):
        workspace.progress("mixes", done, len(known))
        cells.append(
            mixes_of_task(
                entry, encoder, workspace.store, sizes=settings.mixed_sizes,
                draws=settings.mixed_draws, pool=settings.pool, max_length=settings.max_length,
                n_eval=settings.n_eval,
            )
        )  # fmt: skip
    workspace.progress("mixes", len(known), len(known))
    table = mix_table(pd.concat(cells))
    if table.empty:
        raise DataError(
            f"mixes need two tasks at a size: expected sizes below {settings.pool}, got "
            f"{settings.mixed_sizes} for {[k.task.name for k in known]}. Name others."
        )
    return table


# -- tables -----------------------------------------------------------------------------------


def joined(gaps: pd.DataFrame, regrets: pd.DataFrame, mixes: pd.DataFrame) -> pd.DataFrame:
    """Return the three tables as one, column ``part`` first."""
    parts = (
        gaps.drop(columns="resampled").assign(part="distances"),
        regrets.rename(columns={"rule": "method", "regret": "value"}).assign(
            part="heads", measure="regret"
        ),
        mixes.rename(columns={"gain": "value"}).assign(part="mixes", measure="gain"),
    )
    table = pd.concat(parts, ignore_index=True)
    first = ["part", "measure", "metric", "cache_layer", "head_layer", "n", "method", "value"]
    return table[[*first, *(c for c in table.columns if c not in first)]]


# -- what was found ---------------------------------------------------------------------------


def _at(gaps: pd.DataFrame, metric: str, measure: str) -> Labelled:
    chosen = (gaps["metric"] == metric) & (gaps["measure"] == measure)
    return gaps[chosen].set_index(["cache_layer", "head_layer"])


def _places(last: int) -> dict[str, tuple[int, int]]:
    return {"first": (0, 1), "last": (last - 1, last), "all": (0, last)}


def _by_size(rows: pd.DataFrame, name: str, column: str, value: str) -> dict[str, str]:
    """Return a number by n in points of accuracy, as cells of a table."""
    part = rows[rows[column] == name].sort_values("n")
    cells = {
        f"n = {int(r['n']):,}": f"{100 * Interval.of(r, value):+.1f}" for _, r in part.iterrows()
    }
    return {"": str(name)} | cells


def finding(
    gaps: pd.DataFrame, regrets: pd.DataFrame, mixes: pd.DataFrame, *, last: int
) -> tuple[str, str, str]:
    """Return answer, points and details."""
    own = regrets[regrets["layer"] == last].sort_values("n")
    clear = int((own["low"] > 0).sum())
    rule = regrets[regrets["rule"] == ELSEWHERE]["regret"].mean()
    answer = (
        f"For heads, the last layer costs {100 * own['regret'].mean():.1f} points on average "
        f"(above zero at {clear} of {len(own)} sizes); the layer best on other corpora costs "
        f"{100 * rule:.1f}."
    )
    sizes = sorted(regrets["n"].unique())
    shown = regrets[regrets["n"].isin([sizes[0], sizes[len(sizes) // 2], sizes[-1]])]
    fixed = shown[shown["layer"] >= 0]
    cheap = str(fixed.groupby("rule")["regret"].mean().idxmin())
    rules = list(dict.fromkeys([f"layer {last}", cheap, ELSEWHERE]))
    costs = md_table(_by_size(shown, name, "rule", "regret") for name in rules)
    gains = md_table(_by_size(mixes, name, "method", "gain") for name in (LAST, *MIXES))
    distances = md_table(
        {"gap": words}
        | {place: f"{Interval.of(_at(gaps, metric, 'gap').loc[at], 'value')}"
           for place, at in _places(last).items()}
        for metric, words in METRICS.items()
    )  # fmt: skip
    points = blocks(
        "Cost of a layer for heads, in points of accuracy:", costs,
        "Gain of a mix on the single layer with the least left-out loss "
        f"({int(mixes['tasks'].max())} tasks), in points, 90 % for all {int(mixes['tests'].max())} "
        "gains together:", gains,
        "Gap: how much farther a task with another kind of label is, over the mean distance; from "
        "the first layer only, the last only, and all:", distances,
    )  # fmt: skip
    return answer, points, _details(gaps, shown, mixes, last=last)


def _details(gaps: pd.DataFrame, shown: pd.DataFrame, mixes: pd.DataFrame, *, last: int) -> str:
    often = [
        f"layer {best['layer']:.0f} for {best['best']:.0%} of {best['tasks']:.0f} tasks, n = {n:,}"
        for n, part in shown[shown["layer"] >= 0].groupby("n")
        for best in [part.iloc[int(part["best"].argmax())]]
    ]
    items = [
        "Cost: against the layer that is best on the task's other draws. The evaluation texts are "
        "the same, so that their luck flatters that layer a little. 90 % intervals over corpora.",
        f"Most often best: {'; '.join(often)}.",
        *(_verdict(mixes[mixes["method"] == method]) for method in (LAST, *MIXES)),
        f"Distances: {int(gaps['triples'].iloc[0])} triples of two tasks with labels of one kind "
        "and other texts, and a third. Tasks of one kind often have texts of one sort as well: the "
        "gap does not separate the two.",
    ]
    for metric, words in METRICS.items():
        gap = _at(gaps, metric, "gap")["value"]
        cache, head = gap.idxmax()
        right = _at(gaps, metric, "ordered").loc[(cache, head), "value"]
        items.append(
            f"By {words} the largest gap is {gap.max():.2f}, picked among {len(gap)}: features "
            f"cached at layer {cache}, head at layer {head}; {right:.0%} of triples are ordered "
            f"rightly there (a third by chance). {_uniform(gaps, metric, last)}"
        )
    return bullets(*items)


def _uniform(gaps: pd.DataFrame, metric: str, last: int) -> str:
    """Return whether the matrix is more uniform from the first layer, as the seed expects."""
    places = _places(last)
    late, early = (_at(gaps, metric, "spread").loc[places[k]] for k in ("last", "first"))
    ends = gap_ends(late["resampled"] - early["resampled"], int(late["corpora"]))
    found = Interval(float(late["value"] - early["value"]), *ends)
    words = {
        "above": "The matrix is more uniform from the first layer",
        "below": "The matrix is LESS uniform from the first layer",
    }
    claim = words.get(
        compare(found), "It is not shown that the first layer's matrix is more uniform"
    )
    return f"{claim}: spread on the last layer less that on the first {found:+.2f}."


def _verdict(rows: pd.DataFrame) -> str:
    """Return at which sizes a mix is better or worse than the best single layer."""
    found = {int(r["n"]): compare(Interval.of(r, "gain")) for _, r in rows.iterrows()}
    method = rows["method"].iloc[0]
    parts = [
        f"{word} at n = {', '.join(f'{n:,}' for n in sizes)}"
        for word, verdict in (("better", "above"), ("worse", "below"))
        if (sizes := [n for n, v in sorted(found.items()) if v == verdict])
    ]
    return f"{method}: {'; '.join(parts) or 'no difference is shown at any n'}.".capitalize()


def summary(
    gaps: pd.DataFrame, regrets: pd.DataFrame, mixes: pd.DataFrame, *, last: int
) -> dict[str, float]:
    """Return the few numbers that are compared when settings vary."""
    found = {
        f"gap_{metric}_{word}": float(_at(gaps, metric, "gap").loc[place, "value"])
        for metric in METRICS
        for word, place in _places(last).items()
    }
    found["regret_last"] = float(regrets[regrets["layer"] == last]["regret"].mean())
    found["regret_elsewhere"] = float(regrets[regrets["rule"] == ELSEWHERE]["regret"].mean())
    largest: Labelled = mixes[mixes["n"] == mixes["n"].max()].set_index("method")["gain"]
    return found | {f"gain_{m.replace(' ', '_')}": float(largest[m]) for m in (LAST, *MIXES)}


def draw(
    gaps: pd.DataFrame, regrets: pd.DataFrame, mixes: pd.DataFrame, *, last: int
) -> dict[str, Figure]:
    """Draw regret by n (the main one), the gap by layer and cache layer, and what mixes gain."""
    bars = "Bars: 90 % bootstrap intervals over corpora."

    def by_n(rows: pd.DataFrame, name: str, value: str, title: str, caption: str, y: str) -> Figure:
        shown = rows.assign(
            line=rows[name], place=rows["n"].astype(str), mean=100 * rows[value],
            low=100 * rows["low"], high=100 * rows["high"],
        ).sort_values("n", kind="stable")  # fmt: skip
        return figures.lines(
            shown, title=title, caption=f"{caption} {bars}", x="labelled training texts (n)", y=y,
            level=0,
        )  # fmt: skip

    layers = [last - 2, last - 1, last, -1]
    cost = [regrets[regrets["layer"] == layer]["regret"].mean() for layer in (last, -1)]
    gap, ordered = _at(gaps, "log_ratio", "gap"), _at(gaps, "log_ratio", "ordered")["value"]
    low, high = gap["value"].idxmax()
    rows = gap.drop(columns="resampled").rename(columns={"value": "mean"}).reset_index()
    cache, head = rows["cache_layer"], rows["head_layer"]
    lines = pd.concat(
        [
            rows[cache == head - 1].assign(line="the head's layer only", place=head.astype(str)),
            rows[head == last].assign(line="from here to the last", place=(cache + 1).astype(str)),
            rows[cache == 0].assign(line="all layers up to here", place=head.astype(str)),
        ]
    )
    best = ordered.idxmax()
    largest = mixes[(mixes["n"] == mixes["n"].max()) & mixes["method"].isin(MIXES)]
    mix = largest.iloc[int(largest["gain"].argmax())]
    return {
        "": by_n(
            regrets[regrets["layer"].isin(layers)].sort_values("rule"), "rule", "regret",
            f"The last layer costs {100 * cost[0]:.1f} points on average, the one best on other "
            f"corpora {100 * cost[1]:.1f}",
            "Cost against the layer that is best on the task's other draws, mean over tasks.",
            "regret (points of accuracy)",
        ),
        "distances": figures.lines(
            lines,
            title=f"A dissimilar task stands out most ({gap['value'].max():.2f}) with layers "
            f"{low + 1} to {high}",
            caption="Gap: how much farther a task with another kind of label is than two with one "
            f"kind, over their mean log-ratio distance (dashed: no farther). {bars}",
            x="layer",
            y="gap / mean distance",
            level=0,
        ),
        "cache": figures.grid(
            ordered.unstack("head_layer"),
            title=f"Similar tasks are the nearest in {ordered.max():.0%} of triples from cache "
            f"layer {best[0]} to head layer {best[1]}, in {ordered[0, last]:.0%} from all layers",
            caption="Share of triples where the two tasks with labels of one kind are nearer to "
            "each other than to the third (log-ratio distance; a third by chance). The embedding "
            "has the layers above the cache layer, up to the head's.",
            x="layer that the head reads",
            y="cache layer",
        ),
        "mixes": by_n(
            mixes[mixes["method"] != SINGLE], "method", "gain",
            f"At n = {int(mix['n']):,} the {mix['method']} gains most on one layer: "
            f"{100 * mix['gain']:+.1f} points",
            "Accuracy less that of the single layer with the least left-out loss, mean over tasks.",
            "gain (points of accuracy)",
        ),
    }  # fmt: skip


EXPERIMENT = Experiment(
    name="layers",
    question="Which layer carries the information?",
    motivation="the seed on meta-features: vary the layer from where features are cached, and "
    "compare two similar data sets and a dissimilar one",
    settings=LayersSettings,
    run=run,
)
