"""Which task to train on first: rankings of intermediate tasks, scored by what they gain."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glue_pilot.experiments.base import Bench, Experiment, Found
from glue_pilot.experiments.experts import FAMILIES
from glue_pilot.experiments.experts_figures import BLIND, KEY, interval_figure
from glue_pilot.experiments.experts_gather import ExpertSettings, Gathered, gather
from glue_pilot.experiments.experts_select import (
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
from glue_pilot.siblings import resampled

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
_FAMILIES = FAMILIES | {SIZE: BLIND, OWN: BLIND}


def run(settings: ExpertSettings, bench: Bench) -> Found:
    """Rank the experts' tasks for every target in every way, and score the rankings."""
    gathered = gather(settings, bench)
    rows: list[dict[str, Any]] = []
    for n in settings.sizes:
        board = make_board(gathered, settings, n)
        scores = rankings(gathered, settings, board)
        rows += rows_of(board, scores, seed=settings.seed)
        if n == settings.n:
            main = board
    table = pd.DataFrame(rows)
    here = table[table["n"] == settings.n].reset_index(drop=True)
    return Found(
        table,
        draw(here, settings),
        finding(table, here, main, gathered, settings),
        {
            f"{row['method']}: {measure}": float(row[measure])
            for row in here.to_dict("records")
            for measure in ("ndcg", "regret_1")
        },
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
    relevance = _relevance(accuracy)
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


def _relevance(accuracy: FloatArray) -> FloatArray:
    width = np.ptp(accuracy)
    return np.asarray((accuracy - accuracy.min()) / width if width else np.ones(len(accuracy)))


def _ratio(gained: float, relevance: FloatArray) -> float:
    ideal = np.sort(relevance)[::-1] / np.log2(np.arange(1, len(relevance) + 1) + 1)
    return gained / float(ideal.sum())


def rows_of(board: Board, scores: dict[str, FloatArray], *, seed: int) -> list[dict[str, Any]]:
    """Return one row a way of ranking: measures with intervals; NDCG above chance, above texts."""
    accuracy = 1 - board.errors
    found: dict[str, pd.DataFrame] = {}
    for method in ORDER:
        told = []
        for row, allowed in enumerate(board.allowed):
            here = accuracy[row, allowed]
            if method == CHANCE:
                told.append(rank_scores(np.zeros(len(here)), here))
            else:
                told.append(rank_scores(scores[method][row, allowed], here))
        found[method] = pd.DataFrame(told)
    corpora = list(board.corpora)
    rows = []
    for method, table in found.items():
        entry: dict[str, Any] = {"n": board.n, "method": method}
        for measure in MEASURES:
            entry |= _with_ends(measure, table[measure].to_numpy(), corpora, seed)
        above = (table["ndcg"] - found[CHANCE]["ndcg"]).to_numpy()
        entry |= _with_ends("ndcg_above_chance", above, corpora, seed)
        beyond = (table["ndcg"] - found[TEXT_CENTRED]["ndcg"]).to_numpy()
        entry |= _with_ends("ndcg_above_text", beyond, corpora, seed)
        entry["n_targets"] = len(table)
        rows.append(entry)
    return rows


def _with_ends(
    name: str, values: FloatArray, corpora: Sequence[str], seed: int
) -> dict[str, float]:
    found = resampled(values, list(corpora), seed=seed)
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


# -- figures and words ---------------------------------------------------------------------


def draw(here: pd.DataFrame, settings: ExpertSettings) -> dict[str, Figure]:
    """Draw NDCG and regret of every way of ranking."""
    shown = here.assign(family=here["method"].map(_FAMILIES))
    by_name = shown.set_index("method")
    best = by_name["ndcg"].drop(CHANCE).idxmax()
    caption = (
        f"{int(here['n_targets'].iloc[0])} tasks, n = {settings.n} labelled texts. Bars: "
        f"90 % bootstrap intervals over corpora. Dashed: chance. {KEY}"
    )
    ndcg = interval_figure(
        shown,
        value="ndcg",
        title=f"Order of tasks to train on first: highest NDCG by {best}",
        caption=caption,
        axis="NDCG of the ranking",
        mark=float(np.asarray(by_name["ndcg"])[0]),
    )
    for column in ("regret_1", "regret_1_low", "regret_1_high"):
        shown[column] = 100 * shown[column]
    least = by_name["regret_1"].drop(CHANCE).idxmin()
    regret = interval_figure(
        shown,
        value="regret_1",
        title=f"Lost by the first choice: least here by {least}",
        caption=caption,
        axis="regret of the first choice (%)",
        mark=float(shown["regret_1"].iloc[0]),
    )
    return {"": ndcg, "regret": regret}


def finding(
    table: pd.DataFrame,
    here: pd.DataFrame,
    board: Board,
    gathered: Gathered,
    settings: ExpertSettings,
) -> str:
    """Return what the table says, in words chosen by comparison."""
    rows = {str(r["method"]): r for r in here.to_dict("records")}
    gains = 100 * (board.generic[:, None] - board.errors)
    kept = gains[board.allowed]
    best = np.where(board.allowed, gains, -np.inf).max(1)
    above = [m for m in ORDER if rows[m]["ndcg_above_chance_low"] > 0]
    below = [m for m in ORDER if rows[m]["ndcg_above_chance_high"] < 0]
    fisher = max(_FISHER, key=lambda m: float(rows[m]["ndcg"]))
    rival = max((SIZE, OWN, TEXT, TEXT_CENTRED), key=lambda m: float(rows[m]["ndcg"]))
    said = [
        f"{len(gathered.experts)} intermediate tasks were ranked for {len(board.errors)} targets "
        f"at {settings.n} labelled texts; tasks of the target's corpus were left out, and heads "
        "were fitted on the frozen expert.",
        f"Training on another task first changes accuracy by {kept.mean():+.1f} points on average; "
        f"it helps in {100 * (kept > 0).mean():.0f} % of the pairs, and the best choice gains "
        f"{best.mean():+.1f} points (found on the evaluation texts, so somewhat too good).",
        "NDCG (90 % interval over corpora), average rank of the best, regret of the first choice "
        "and of the best of three: " + "; ".join(_told(m, rows[m]) for m in ORDER) + ".",
        f"Above chance with its whole interval: {', '.join(above) or 'none'}. Below it: "
        f"{', '.join(below) or 'none'}.",
        f"By log-ratio, NDCG less that by centred texts: {_beyond(rows[LOG_RATIO])}. Picked "
        f"afterwards on these same targets, so lucky: of the rankings by Fisher information "
        f"{fisher} did best ({rows[fisher]['ndcg']:.2f}), of those by size, own accuracy or texts "
        f"{rival} ({rows[rival]['ndcg']:.2f}).",
        _size_words(table, fisher, rival),
        "All experts saw the same number of texts, so that size here is what is known of a task "
        "before training, not what training on more texts would bring.",
    ]
    return "\n\n".join(said)


def _told(method: str, row: dict[Any, Any]) -> str:
    return (
        f"{method} {row['ndcg']:.2f} ({row['ndcg_low']:.2f} to {row['ndcg_high']:.2f}), rank "
        f"{row['rank_of_best']:.1f}, {100 * row['regret_1']:.1f} %, {100 * row['regret_3']:.1f} %"
    )


def _beyond(row: dict[Any, Any]) -> str:
    low, high = row["ndcg_above_text_low"], row["ndcg_above_text_high"]
    verdict = "no difference is shown"
    if low > 0:
        verdict = "the Fisher distance does better"
    elif high < 0:
        verdict = "texts do better"
    return f"{row['ndcg_above_text']:+.2f} ({low:+.2f} to {high:+.2f}), {verdict}"


def _size_words(table: pd.DataFrame, fisher: str, rival: str) -> str:
    words = []
    for n, part in table.groupby("n"):
        told = {str(r["method"]): r["ndcg"] for r in part.to_dict("records")}
        words.append(
            f"n = {n}: {fisher} {told[fisher]:.2f}, {rival} {told[rival]:.2f}, chance "
            f"{told[CHANCE]:.2f}"
        )
    return f"NDCG by size of the target's sample, {'; '.join(words)}."


EXPERIMENT = Experiment(
    name="intermediate",
    question="Which task should be trained on first?",
    asked_by="the metadata idea of the seeds, and Vu and others 2020 on transferability",
    settings=ExpertSettings,
    run=run,
)
