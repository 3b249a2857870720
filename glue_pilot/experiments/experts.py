"""Which expert to take for a new task: Task2Vec's Table 1 and Figure 4, for text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from charkit.fisher import TaskEmbedding
from glue_pilot import figures
from glue_pilot.experiments.base import Experiment, Workspace
from glue_pilot.experiments.parts.experts_gather import (
    ExpertSettings,
    Gathered,
    embed_probe,
    gather,
    sample_of,
)
from glue_pilot.experiments.parts.experts_select import (
    ASYMMETRIC,
    AVERAGE,
    BLIND,
    CHANCE,
    FAMILIES,
    GENERIC,
    HALF,
    LEFT_OUT,
    LOG_RATIO,
    MODEL2VEC,
    NEAREST,
    ORDER,
    TEXT,
    TEXTS,
    Board,
    cost_rows,
    embeddings_at,
    fisher_scores,
    make_board,
    pick,
)
from glue_pilot.findings import Finding, blocks, bullets, md_table
from glue_pilot.stats import Interval, Labelled, compare

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROBE = "generic encoder, last layer"
_SHOWN = (ASYMMETRIC, MODEL2VEC)


def run(settings: ExpertSettings, workspace: Workspace) -> Finding:
    """Fine-tune experts, choose among them in every way, and measure what each way costs."""
    gathered = gather(settings, workspace)
    board = make_board(gathered, settings, settings.n)
    n_layers = gathered.encoder.n_layers
    layers = [layer % (n_layers + 1) for layer in (settings.layer, settings.other_layer)]
    rows = []
    for n in settings.sizes:
        for place, layer in enumerate(layers):
            first = (n, place) == (settings.n, 0)
            here = board if first else make_board(gathered, settings, n, layer=place)
            rows += cost_rows(here, layer=layer, probe=PROBE, seed=settings.seed)
    for probe, other in other_probes(gathered, settings, board, workspace):
        rows += cost_rows(other, layer=layers[0], probe=probe, seed=settings.seed, methods=NEAREST)
    table = pd.DataFrame(rows)
    main = _rows(table, n=settings.n, layer=layers[0]).loc[list(ORDER)]
    gains = gains_of(gathered, board)
    return Finding(
        table,
        draw(table, main, gains, settings, layers[0]),
        *finding(table, main, gains, settings, layers),
        {str(method): float(cost) for method, cost in main["increase"].items()},
    )


def other_probes(
    gathered: Gathered, settings: ExpertSettings, board: Board, workspace: Workspace
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
            workspace.progress(f"probe: {word}", done, len(gathered.targets))
            sample = sample_of(target.known, settings.n)
            made.append(embed_probe(sample, encoder, (last,), workspace, cls=cls)[last])
        wanted.append((word, made))
    for word, embeddings in wanted:
        scores = fisher_scores(embeddings, embeddings[:count])
        picked = {k: pick(v, board.errors, board.allowed) for k, v in scores.items()}
        yield word, replace(board, scores=board.scores | scores, picked=board.picked | picked)


def gains_of(gathered: Gathered, board: Board) -> pd.DataFrame:
    """Return points of accuracy that each expert gains on each task; NaN for its own corpus."""
    gains = 100 * (board.generic[:, None] - board.errors)
    return pd.DataFrame(
        np.where(board.allowed, gains, np.nan),
        index=gathered.names,
        columns=[expert.task for expert in gathered.experts],
    )


def _rows(table: pd.DataFrame, *, n: int, layer: int, probe: str = PROBE) -> Labelled:
    """Return the rows of a size, layer and probe, by way of choosing."""
    at = (table["n"] == n) & (table["layer"] == layer) & (table["probe"] == probe)
    return table[at].set_index("method")


# -- what was found ---------------------------------------------------------------------------


def _cost(row: pd.Series, name: str = "increase") -> Interval:
    return 100 * Interval.of(row, name)


def finding(
    table: pd.DataFrame,
    main: Labelled,
    gains: pd.DataFrame,
    settings: ExpertSettings,
    layers: list[int],
) -> tuple[str, str, str]:
    """Return answer, points and details.

    Args:
        table: One row a size, layer, probe and way of choosing.
        main: The rows of the main answer, by way of choosing.
        gains: Points of accuracy above the generic encoder, tasks by experts.
        settings: What was run.
        layers: That heads read, the main one first.
    """
    # a way that runs all experts shows how good a choice can be that looks at the outcome itself
    ours, tried = _cost(main.loc[MODEL2VEC]), _cost(main.loc[LEFT_OUT])
    tie = ours.low <= tried.mean <= ours.high
    answer = (
        f"MODEL2VEC costs {ours.mean:+.0f} % over the best expert, "
        f"{'level with' if tie else 'against'} running every expert on the sample "
        f"({tried.mean:+.0f} %); the nearest task by log-ratio costs "
        f"{_cost(main.loc[LOG_RATIO]).mean:+.0f} %."
    )
    at_sizes = {n: _rows(table, n=n, layer=layers[0]) for n in settings.sizes}
    rows = [
        {"way of choosing": str(method)}
        | {f"n = {n}": f"{_cost(p.loc[method]).mean:+.0f} %" for n, p in at_sizes.items()}
        | {f"90 % interval at {settings.n}": f"{_cost(row).low:+.0f} to {_cost(row).high:+.0f}"}
        for method, row in main.iterrows()
    ]
    note = (
        f"Error above the best expert's ({100 * main['optimal_error'].iloc[0]:.1f} %), which was "
        "found on the evaluation texts; intervals over corpora."
    )
    return answer, blocks(md_table(rows), note), _details(table, main, gains, settings, layers)


def _details(
    table: pd.DataFrame,
    main: Labelled,
    gains: pd.DataFrame,
    settings: ExpertSettings,
    layers: list[int],
) -> str:
    best, middle, first = gains.max(axis=1), gains.mean(axis=1), gains.idxmax(axis=1).value_counts()
    better = (gains.to_numpy() > 0).sum() / gains.notna().to_numpy().sum()
    other = _rows(table, n=settings.n, layer=layers[1])
    errors = [
        100 * t.loc[GENERIC, k] for t in (other, main) for k in ("mean_error", "optimal_error")
    ]
    there = [f"{m} costs {_cost(other.loc[m]).mean:+.0f} %" for m in (*_SHOWN, GENERIC)]
    probes = table[(table["probe"] != PROBE) & (table["method"] == LOG_RATIO)].sort_values("probe")
    under = [f"{row['probe']} {_cost(row):+.0f} %" for _, row in probes.iterrows()]
    return bullets(
        f"{len(gains.columns)} experts were fine-tuned from {settings.encoder}; each of "
        f"{len(gains)} tasks takes an expert of another corpus and fits a head to {settings.n} "
        "labelled texts.",
        *(_versus(method, main.loc[method]) for method in _SHOWN),
        f"{len(ORDER)} ways were compared without correction for their number. Searching on half "
        f"of the evaluation texts costs {_cost(main.loc[HALF]).mean:+.0f} % on the other half: "
        "about that much of every increase is the luck of the best on its own test.",
        f"Against the generic encoder the best expert gains {best.mean():+.1f} points of accuracy "
        f"on average, a random one {middle.mean():+.1f}; {better:.0%} of the pairs of expert and "
        "task do better with the expert.",
        f"The expert of {first.index[0]} is the best for {int(first.iloc[0])} of {len(gains)} "
        "tasks; the expert that was best on the other tasks costs "
        f"{_cost(main.loc[AVERAGE]):+.0f} %.",
        f"Nearest by log-ratio under other probes, both tasks at one size: {'; '.join(under)}.",
        f"With heads on layer {layers[1]} instead of {layers[0]}, the generic encoder's error is "
        f"{errors[0]:.1f} % instead of {errors[2]:.1f} %, the best expert's {errors[1]:.1f} % "
        f"instead of {errors[3]:.1f} %; there {', '.join(there)}.",
    )


def _versus(method: str, row: pd.Series) -> str:
    words = {"below": "better than", "above": "worse than", "not shown": "level with"}
    parts = []
    for name, column in (("the generic encoder", "generic"), ("the nearest by texts", "text")):
        found = _cost(row, f"versus_{column}")
        parts.append(f"{words[compare(found)]} {name} ({found:+.0f} %)")
    return f"{method} is {' and '.join(parts)}; of two ways by texts the better one is taken."


def draw(
    table: pd.DataFrame, main: Labelled, gains: pd.DataFrame, settings: ExpertSettings, layer: int
) -> dict[str, Figure]:
    """Draw what ways of choosing cost, also by sample size, and what every expert gains."""
    n = settings.n
    costs = figures.dots(
        way_rows(main, "increase", factor=100),
        title=f"Above the best expert: {_cost(main.loc[MODEL2VEC]).mean:+.0f} % by {MODEL2VEC}, "
        f"{100 * main.loc[list(TEXTS), 'increase'].min():+.0f} % by texts, "
        f"{_cost(main.loc[GENERIC]).mean:+.0f} % with no expert",
        caption=f"{int(main['n_targets'].iloc[0])} tasks, n = {n} labelled texts, experts of the "
        "task's own corpus left out. 0: the best expert, found on the evaluation texts. Bars: 90 % "
        "bootstrap intervals over corpora.",
        label="error above the best expert's (%)",
        level=0.0,
    )
    part = table[(table["layer"] == layer) & (table["probe"] == PROBE)].sort_values("n")
    lines = [part[part["method"] == m].assign(line=m, mean=part["mean_error"])
             for m in (GENERIC, MODEL2VEC, TEXT, CHANCE)]  # fmt: skip
    best = part[part["method"] == CHANCE]
    lines.append(best.assign(line="best expert", mean=best["optimal_error"]))
    ends = [settings.sizes[0], settings.sizes[-1]]
    gaps = [_cost(_rows(table, n=k, layer=layer).loc[MODEL2VEC], "versus_generic") for k in ends]
    rows = pd.concat(lines)[["line", "n", "mean"]]
    sizes = figures.lines(
        rows.assign(place=[f"{k:,}" for k in rows["n"]]),
        title=f"{MODEL2VEC} against the generic encoder: {gaps[0].mean:+.0f} % of the best error "
        f"at n = {ends[0]}, {gaps[1].mean:+.0f} % at {ends[1]}",
        caption="Mean error over tasks of heads on the chosen expert's features. Below zero in the "
        "title: fewer errors than with the generic encoder.",
        x="labelled texts of the task",
        y="mean error (share wrong)",
    )
    helped = float((gains.max(axis=1) > 0).mean())
    matrix = figures.grid(
        gains.rename_axis("task"),
        title=f"The best expert beats the generic encoder on {helped:.0%} of tasks",
        caption=f"Rows: tasks, n = {n}; the best was found on the evaluation texts. Columns: "
        "experts. Grey: of the task's own corpus, left out.",
        unit="points of accuracy above the generic encoder",
    )
    return {"": costs, "sizes": sizes, "matrix": matrix}


def way_rows(main: Labelled, name: str, *, factor: float = 1.0) -> pd.DataFrame:
    """Return a number of every way of choosing, by what it looks at, as `figures.dots` takes it."""
    found = [(factor * Interval.of(row, name)).row("value", ends="") for _, row in main.iterrows()]
    rows = pd.DataFrame(found).assign(method=list(main.index))
    return rows.assign(series=rows["method"].map(lambda method: FAMILIES.get(method, BLIND)))


EXPERIMENT = Experiment(
    name="experts",
    question="Which fine-tuned expert should a new task take, and does its embedding show which?",
    motivation="Task2Vec, section 4.2: Table 1, Figure 4 and the choice of probe",
    settings=ExpertSettings,
    run=run,
)
