"""Which task to train on first: rankings of intermediate tasks, scored by what they gain."""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glue_pilot import figures
from glue_pilot.experiments.base import Experiment, Workspace
from glue_pilot.experiments.experts import way_rows
from glue_pilot.experiments.parts.experts_gather import ExpertSettings, Gathered, gather
from glue_pilot.experiments.parts.experts_select import (
    ASYMMETRIC,
    AVERAGE,
    CHANCE,
    COSINE,
    LOG_RATIO,
    LOGME,
    MODEL2VEC,
    TEXT,
    TEXT_CENTRED,
    Board,
    make_board,
)
from glue_pilot.findings import Finding, blocks, bullets, listed, md_table
from glue_pilot.stats import Interval, Labelled, compare, resampled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]

SIZE = "largest intermediate task"
OWN = "accuracy of its own expert"

MEASURES = ("ndcg", "rank_of_best", "regret_1", "regret_3")
ORDER = (
    CHANCE, SIZE, OWN, TEXT, TEXT_CENTRED, COSINE, LOG_RATIO, ASYMMETRIC, MODEL2VEC, AVERAGE, LOGME,
)  # fmt: skip
_FISHER = (COSINE, LOG_RATIO, ASYMMETRIC, MODEL2VEC)
_PLAIN = (SIZE, OWN, TEXT, TEXT_CENTRED)


def run(settings: ExpertSettings, workspace: Workspace) -> Finding:
    """Rank the experts' tasks for every target in every way, and score the rankings."""
    gathered = gather(settings, workspace)
    rows: list[dict[str, Any]] = []
    for n in settings.sizes:
        board = make_board(gathered, settings, n)
        rows += rows_of(board, rankings(gathered, settings, board), seed=settings.seed)
        if n == settings.n:
            main = board
    table = pd.DataFrame(rows)
    here: Labelled = table[table["n"] == settings.n].set_index("method")
    return Finding(
        table,
        draw(here, settings),
        *finding(table, here, main, gathered, settings),
        {f"{k}: {m}": float(here.loc[k, m]) for k in here.index for m in ("ndcg", "regret_1")},
    )


def rankings(gathered: Gathered, settings: ExpertSettings, board: Board) -> dict[str, FloatArray]:
    """Return what ranks intermediate tasks, the lowest first, (n_targets, n_experts) each."""
    count, place = len(gathered.experts), settings.sizes.index(settings.library_n)
    own = [gathered.targets[k].outcomes[k].errors[0, place] for k in range(count)]
    size = [-float(len(target.known.task.train)) for target in gathered.targets[:count]]
    shape = board.errors.shape
    return board.scores | {
        OWN: np.broadcast_to(np.array(own), shape),
        SIZE: np.broadcast_to(np.array(size), shape),
    }


def rank_scores(score: FloatArray, accuracy: FloatArray) -> dict[str, float]:
    """Score one ranking of candidates by the accuracies that they lead to.

    The relevance of a candidate is (accuracy - lowest) / (highest - lowest); where all are
    equal every order is perfect. Candidates of one score come in random order: every measure is
    the mean over these orders (the rank of the best that of its place), so that equal scores
    score what chance would.

    Args:
        score: The lowest comes first, (n_candidates,).
        accuracy: On the target after training on the candidate first, (n_candidates,).

    Returns:
        ``ndcg``; ``rank_of_best``, 1 is first; ``regret_k``: what the best of the first k lacks
        to the best of all, as a share of it.

    References:
        Vu and others 2020 (NDCG, average rank of the best), Poth and others 2021 "What to
        pre-train on?" (regret).
    """
    width = np.ptp(accuracy)
    relevance = np.asarray((accuracy - accuracy.min()) / width if width else np.ones(len(accuracy)))
    places: FloatArray = np.asarray(pd.Series(score).rank(method="average"), np.float64)
    gains = 1 / np.log2(np.arange(1, len(score) + 1) + 1)
    order = np.argsort(score, kind="stable")
    discount = np.empty(len(score))
    discount[order] = gains
    discount = pd.Series(discount).groupby(places).transform("mean").to_numpy()
    best = accuracy.max()
    found = {
        "ndcg": _ratio(float((relevance * discount).sum()), relevance),
        "rank_of_best": float(places[accuracy == best].min()),
    }
    for k in (1, 3):
        reached = _best_of_first(places, accuracy, k)
        found[f"regret_{k}"] = 1 - reached / float(best) if best else 0.0
    return found


def _best_of_first(places: FloatArray, accuracy: FloatArray, k: int) -> float:
    """Return the expected best accuracy among the first k, ties in random order.

    Args:
        places: Mean places of the candidates, ties share one, (n_candidates,).
        accuracy: The same shape.
        k: How many are tried.
    """
    edge = np.sort(places)[min(k, len(places)) - 1]
    sure, tied = accuracy[places < edge], np.sort(accuracy[places == edge])[::-1]
    drawn = min(k, len(places)) - len(sure)
    share = [comb(len(tied) - 1 - i, drawn - 1) / comb(len(tied), drawn) for i in range(len(tied))]
    floor = sure.max(initial=-np.inf)
    return float(np.maximum(tied, floor) @ np.array(share))


def _ratio(gained: float, relevance: FloatArray) -> float:
    ideal = np.sort(relevance)[::-1] / np.log2(np.arange(1, len(relevance) + 1) + 1)
    return gained / float(ideal.sum())


def rows_of(board: Board, scores: dict[str, FloatArray], *, seed: int) -> list[dict[str, Any]]:
    """Return one row a way of ranking: measures with intervals; NDCG above chance, above texts."""
    accuracy = 1 - board.errors
    found: dict[str, pd.DataFrame] = {}
    for method in ORDER:
        score = scores.get(method, np.zeros(accuracy.shape))  # all equal by chance
        found[method] = pd.DataFrame(
            rank_scores(score[row, allowed], accuracy[row, allowed])
            for row, allowed in enumerate(board.allowed)
        )
    rows = []
    for method, table in found.items():
        table["ndcg_above_chance"] = table["ndcg"] - found[CHANCE]["ndcg"]
        table["ndcg_above_text"] = table["ndcg"] - found[TEXT_CENTRED]["ndcg"]
        entry: dict[str, Any] = {"n": board.n, "method": method}
        for name, values in table.items():
            entry |= resampled(values.to_numpy(), list(board.corpora), seed=seed).row(str(name))
        rows.append(entry | {"n_targets": len(table)})
    return rows


# -- what was found ---------------------------------------------------------------------------


def finding(
    table: pd.DataFrame, here: Labelled, board: Board, gathered: Gathered, settings: ExpertSettings
) -> tuple[str, str, str]:
    """Return answer, points and details."""
    gains = 100 * (board.generic[:, None] - board.errors)
    kept, best = gains[board.allowed], np.where(board.allowed, gains, -np.inf).max(1)
    verdict = {m: compare(Interval.of(here.loc[m], "ndcg_above_chance")) for m in ORDER}
    above, below = ([m for m in ORDER if verdict[m] == k] for k in ("above", "below"))
    beyond = Interval.of(here.loc[LOG_RATIO], "ndcg_above_text")
    words = {"above": "better than", "below": "worse than", "not shown": "level with"}
    answer = (
        f"Training on another task first helps in {100 * (kept > 0).mean():.0f} % of the pairs; "
        f"ranking by log-ratio distance (NDCG {here.loc[LOG_RATIO, 'ndcg']:.2f}, chance "
        f"{here.loc[CHANCE, 'ndcg']:.2f}) is {words[compare(beyond)]} ranking by texts "
        f"({here.loc[TEXT_CENTRED, 'ndcg']:.2f})."
    )
    rows = [
        {"way of ranking": m, "NDCG": f"{Interval.of(row, 'ndcg')}"}
        | {"rank of the best": f"{row['rank_of_best']:.1f}"}
        | {"regret of the first": f"{100 * row['regret_1']:.1f} %"}
        | {"of the best of three": f"{100 * row['regret_3']:.1f} %"}
        for m, row in here.iterrows()
    ]
    sizes = []
    fisher, plain = (here.loc[list(names), "ndcg"].idxmax() for names in (_FISHER, _PLAIN))
    for n, part in table.groupby("n"):
        found = dict(zip(part["method"], part["ndcg"], strict=True))
        sizes.append(
            f"n = {n}: " + ", ".join(f"{m} {found[m]:.2f}" for m in (fisher, plain, CHANCE))
        )
    details = bullets(
        f"{len(gathered.experts)} intermediate tasks were ranked for {len(board.errors)} targets "
        f"at {settings.n} labelled texts; tasks of the target's corpus were left out, and heads "
        "were fitted on the frozen expert.",
        f"Accuracy changes by {kept.mean():+.1f} points on average; the best choice gains "
        f"{best.mean():+.1f} points (found on the evaluation texts, so somewhat too good).",
        f"Above chance with the whole interval: {listed(above)}. Below it: {listed(below)}. "
        f"{len(ORDER) - 1} ways were compared without correction for their number.",
        f"By log-ratio, NDCG less that by centred texts: {beyond:+.2f}.",
        f"Picked afterwards on these same targets, so lucky: {fisher} "
        f"({here.loc[fisher, 'ndcg']:.2f}) of the rankings by Fisher information, {plain} "
        f"({here.loc[plain, 'ndcg']:.2f}) of those by size, own accuracy or texts.",
        f"NDCG by size of the target's sample: {'; '.join(sizes)}.",
        "All experts saw the same number of texts: size here is what is known of a task before "
        "training, not what training on more texts would bring.",
    )
    return answer, blocks(md_table(rows), "90 % intervals over corpora."), details


def draw(here: Labelled, settings: ExpertSettings) -> dict[str, Figure]:
    """Draw NDCG and regret of every way of ranking."""
    caption = (
        f"{int(here['n_targets'].iloc[0])} tasks, n = {settings.n} labelled texts. Bars: "
        "90 % bootstrap intervals over corpora. Dashed: chance."
    )
    ranked = here.drop(index=CHANCE)
    return {
        "": figures.dots(
            way_rows(here, "ndcg"),
            title=f"Order of tasks to train on first: highest NDCG by {ranked['ndcg'].idxmax()}",
            caption=caption,
            label="NDCG of the ranking",
            level=float(here.loc[CHANCE, "ndcg"]),
        ),
        "regret": figures.dots(
            way_rows(here, "regret_1", factor=100),
            title=f"Lost by the first choice: least here by {ranked['regret_1'].idxmin()}",
            caption=caption,
            label="regret of the first choice (%)",
            level=100 * float(here.loc[CHANCE, "regret_1"]),
        ),
    }


EXPERIMENT = Experiment(
    name="intermediate",
    question="Which task should be trained on first?",
    motivation="the metadata idea of the seeds, and Vu and others 2020 on transferability",
    settings=ExpertSettings,
    run=run,
)
