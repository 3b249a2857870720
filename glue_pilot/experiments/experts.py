"""Which expert to take for a new task: Task2Vec's Table 1 and Figure 4, for text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from charkit.fisher import TaskEmbedding
from glue_pilot.experiments.base import Bench, Experiment, Found
from glue_pilot.experiments.experts_figures import (
    ALL_RUN,
    BLIND,
    FISHER,
    KEY,
    NO_CHOICE,
    TEXTS,
    gain_figure,
    interval_figure,
    sizes_figure,
)
from glue_pilot.experiments.experts_gather import (
    ExpertSettings,
    Gathered,
    embed_probe,
    gather,
    sample_of,
)
from glue_pilot.experiments.experts_select import (
    ASYMMETRIC,
    AVERAGE,
    CHANCE,
    COSINE,
    GENERIC,
    HALF,
    LEFT_OUT,
    LOG_RATIO,
    LOGME,
    MODEL2VEC,
    MODEL2VEC_GENERIC,
    NEAREST,
    TEXT,
    TEXT_CENTRED,
    Board,
    cost_rows,
    embeddings_at,
    fisher_scores,
    make_board,
    pick,
)
from glue_pilot.experiments.experts_words import ORDER, PROBE, finding, keyed, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAMILIES = {
    CHANCE: NO_CHOICE, GENERIC: NO_CHOICE, COSINE: FISHER, LOG_RATIO: FISHER, ASYMMETRIC: FISHER,
    MODEL2VEC: FISHER, MODEL2VEC_GENERIC: FISHER, TEXT: TEXTS, TEXT_CENTRED: TEXTS,
    AVERAGE: BLIND, LOGME: ALL_RUN, LEFT_OUT: ALL_RUN, HALF: ALL_RUN,
}  # fmt: skip
"""Way of choosing -> what it looks at."""


def run(settings: ExpertSettings, bench: Bench) -> Found:
    """Fine-tune experts, choose among them in every way, and say what each way costs."""
    gathered = gather(settings, bench)
    board = make_board(gathered, settings, settings.n)
    last = gathered.encoder.n_layers
    rows = []
    for n in settings.sizes:
        for place, layer in enumerate((settings.layer, settings.other_layer)):
            here = (
                board
                if (n, place) == (settings.n, 0)
                else make_board(gathered, settings, n, layer=place)
            )
            number = layer % (last + 1)
            rows += cost_rows(here, layer=number, probe=PROBE, seed=settings.seed)
    for probe, other in other_probes(gathered, settings, board, bench):
        rows += cost_rows(
            other,
            layer=settings.layer % (last + 1),
            probe=probe,
            seed=settings.seed,
            methods=NEAREST,
        )
    table = pd.DataFrame(rows)
    main = main_rows(table, settings, last)
    gains = gains_of(gathered, board)
    return Found(
        table,
        {
            "": draw_costs(main),
            "sizes": draw_sizes(rows_at(table, settings, last)),
            "matrix": draw_gains(gains, settings.n),
        },
        finding(table, main, gains, settings, last),
        {method: costs["increase"] for method, costs in keyed(main).items()},
    )


def other_probes(
    gathered: Gathered, settings: ExpertSettings, board: Board, bench: Bench
) -> Iterator[tuple[str, Board]]:
    """Yield other probes and what choosing the nearest under them costs, both tasks at one n."""
    count, last = len(gathered.experts), gathered.encoder.n_layers
    wanted: list[tuple[str, list[TaskEmbedding]]] = [
        (f"head at layer {k}", embeddings_at(gathered, settings.n, k))
        for k in (*settings.probe_layers, last)
    ]
    random = gathered.encoder.randomised(seed=settings.seed)
    for word, encoder, cls in (
        ("random encoder", random, False),
        ("first token's state", gathered.encoder, True),
    ):
        made = []
        for done, target in enumerate(gathered.targets):
            bench.progress(f"probe: {word}", done, len(gathered.targets))
            sample = sample_of(target.known, settings.n)
            made.append(embed_probe(sample, encoder, (last,), bench, cls=cls)[last])
        wanted.append((word, made))
    for word, embeddings in wanted:
        scores = fisher_scores(embeddings, embeddings[:count])
        picked = {k: pick(v, board.errors, board.allowed) for k, v in scores.items()}
        yield word, replace(board, scores=board.scores | scores, picked=board.picked | picked)


def rows_at(table: pd.DataFrame, settings: ExpertSettings, n_layers: int) -> pd.DataFrame:
    """Return the rows of the layer that heads read and of the probe that experts are made from."""
    layer = settings.layer % (n_layers + 1)
    return table[(table["layer"] == layer) & (table["probe"] == PROBE)]


def main_rows(table: pd.DataFrame, settings: ExpertSettings, n_layers: int) -> pd.DataFrame:
    """Return the rows of the main answer, in the order of the story."""
    rows = rows_at(table, settings, n_layers)
    return rows[rows["n"] == settings.n].set_index("method").loc[list(ORDER)].reset_index()


def gains_of(gathered: Gathered, board: Board) -> pd.DataFrame:
    """Return points of accuracy that each expert gains on each task; NaN for its own corpus."""
    gains = 100 * (board.generic[:, None] - board.errors)
    return pd.DataFrame(
        np.where(board.allowed, gains, np.nan),
        index=gathered.names,
        columns=[expert.task for expert in gathered.experts],
    )


def draw_costs(main: pd.DataFrame) -> Figure:
    """Draw what every way of choosing costs, with intervals."""
    shown = main.assign(family=main["method"].map(FAMILIES))
    for column in ("increase", "increase_low", "increase_high"):
        shown[column] = 100 * shown[column]
    keys = keyed(main)
    text = min(keys[TEXT]["increase"], keys[TEXT_CENTRED]["increase"])
    return interval_figure(
        shown,
        value="increase",
        title=f"Above the best expert: {percent(keys[MODEL2VEC]['increase'])} by {MODEL2VEC}, "
        f"{percent(text)} by texts, {percent(keys[GENERIC]['increase'])} with no expert",
        caption=f"{int(main['n_targets'].iloc[0])} tasks, n = {int(main['n'].iloc[0])} labelled "
        "texts, experts of the task's own corpus left out. 0: the best expert, found on the "
        f"evaluation texts. Bars: 90 % bootstrap intervals over corpora. {KEY}",
        axis="error above the best expert's (%)",
    )


def draw_sizes(part: pd.DataFrame) -> Figure:
    """Draw the mean error by sample size from the rows of one layer and probe."""
    lines = [
        part.loc[part["method"] == m, ["method", "n", "mean_error"]]
        for m in (GENERIC, MODEL2VEC, TEXT, CHANCE)
    ]
    best = part.loc[part["method"] == CHANCE, ["n", "optimal_error"]]
    lines.append(best.rename(columns={"optimal_error": "mean_error"}).assign(method="best expert"))
    ends = [int(part["n"].min()), int(part["n"].max())]
    costs = [keyed(part[part["n"] == n])[MODEL2VEC]["versus_generic"] for n in ends]
    return sizes_figure(
        pd.concat(lines, ignore_index=True),
        title=f"{MODEL2VEC} against the generic encoder: {percent(costs[0])} of the best error at "
        f"n = {ends[0]}, {percent(costs[1])} at {ends[1]}",
        caption="Mean error over tasks of heads on the chosen expert's features. Below nought "
        "in the title: fewer errors than with the generic encoder.",
    )


def draw_gains(gains: pd.DataFrame, n: int) -> Figure:
    """Draw what every expert gains on every task."""
    helped = float((gains.max(axis=1) > 0).mean())
    return gain_figure(
        gains,
        title=f"The best expert beats the generic encoder on {100 * helped:.0f} % of tasks",
        caption=f"Rows: tasks, n = {n}; the best was found on the evaluation texts. Columns: "
        "experts. Grey: of the task's own corpus, left out.",
    )


EXPERIMENT = Experiment(
    name="experts",
    question="Which fine-tuned expert should a new task take, and can its embedding tell?",
    asked_by="Task2Vec, section 4.2: Table 1, Figure 4 and the choice of probe",
    settings=ExpertSettings,
    run=run,
)
