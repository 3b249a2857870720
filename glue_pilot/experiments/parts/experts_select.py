"""Ways to choose an expert for a task, and what each choice costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charkit.fisher import TaskEmbedding, TextEmbedding, pairwise, text_distances
from charkit.fisher.distances.formulas import log_shares
from charkit.fisher.distances.pairwise import EPSILON, raised
from glue_pilot.experiments.parts.experts_gather import ExpertSettings, Gathered
from glue_pilot.experiments.parts.experts_model2vec import Known, left_out_distances
from glue_pilot.matrices import centred
from glue_pilot.stats import resampled_ratio

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

CHANCE = "chance"
GENERIC = "generic encoder"
COSINE = "nearest Task2Vec, cosine"
LOG_RATIO = "nearest Task2Vec, log-ratio"
ASYMMETRIC = "asymmetric Task2Vec"
MODEL2VEC = "MODEL2VEC"
MODEL2VEC_GENERIC = "MODEL2VEC, generic among models"
TEXT = "nearest mean state of texts"
TEXT_CENTRED = "nearest mean state, centred"
LOGME = "LogME on every expert"
LEFT_OUT = "left-out accuracy on every expert"
AVERAGE = "best on the other tasks"
HALF = "search, half the evaluation"

ORDER = (
    CHANCE, GENERIC, COSINE, LOG_RATIO, ASYMMETRIC, MODEL2VEC, MODEL2VEC_GENERIC, TEXT,
    TEXT_CENTRED, AVERAGE, LOGME, LEFT_OUT, HALF,
)  # fmt: skip
"""The ways of choosing, in the order of the story."""

NO_CHOICE, FISHER, TEXT_ONLY = "no choice", "the Fisher information", "mean states of texts"
BLIND, ALL_RUN = "without a look at the task", "all experts are run"
FAMILIES = {
    CHANCE: NO_CHOICE, GENERIC: NO_CHOICE, COSINE: FISHER, LOG_RATIO: FISHER, ASYMMETRIC: FISHER,
    MODEL2VEC: FISHER, MODEL2VEC_GENERIC: FISHER, TEXT: TEXT_ONLY, TEXT_CENTRED: TEXT_ONLY,
    AVERAGE: BLIND, LOGME: ALL_RUN, LEFT_OUT: ALL_RUN, HALF: ALL_RUN,
}  # fmt: skip
"""Way of choosing -> what it looks at."""

TEXTS = (TEXT, TEXT_CENTRED)
NEAREST = (COSINE, LOG_RATIO, ASYMMETRIC)


@dataclass(frozen=True, eq=False)
class Board:
    """Targets against experts at one size and layer.

    Attributes:
        n: Labelled texts of a target.
        layer: Place of the layer that heads read, in the settings' two.
        corpora: Of the targets.
        allowed: Which experts may be taken, (n_targets, n_experts).
        errors: Of heads on experts' features, the same shape.
        halves: The same on each half of the evaluation texts, (n_targets, n_experts, 2).
        generic: Errors of heads on the generic encoder, (n_targets,).
        scores: Way of choosing -> numbers, the lowest is taken, (n_targets, n_experts).
        picked: Way of choosing -> error of what it takes, (n_targets,).
    """

    n: int
    layer: int
    corpora: tuple[str, ...]
    allowed: BoolArray
    errors: FloatArray
    halves: FloatArray
    generic: FloatArray
    scores: dict[str, FloatArray]
    picked: dict[str, FloatArray]

    @property
    def optimal(self) -> FloatArray:
        """Error of the best expert, found on the evaluation texts themselves, (n_targets,)."""
        return np.asarray(np.where(self.allowed, self.errors, np.inf).min(1))


def make_board(gathered: Gathered, settings: ExpertSettings, n: int, *, layer: int = 0) -> Board:
    """Choose an expert for every target in every way.

    Args:
        gathered: Experts, heads, embeddings.
        settings: What they were made with.
        n: One of the sizes.
        layer: 0 for the layer that heads read, 1 for the other one.
    """
    size = settings.sizes.index(n)
    right = np.stack([[o.right[layer, size] for o in t.outcomes] for t in gathered.targets])
    board = Board(
        n,
        layer,
        tuple(gathered.corpora),
        gathered.allowed,
        1 - right.mean(2),
        1 - np.stack([right[:, :, k::2].mean(2) for k in range(2)], 2),
        np.array([t.generic.errors[layer, size] for t in gathered.targets]),
        {},
        {},
    )
    scores = _distance_scores(gathered, settings, n)
    for name, column in ((LOGME, "log_evidence"), (LEFT_OUT, "left_out")):
        found = [[getattr(o, column)[layer, size] for o in t.outcomes] for t in gathered.targets]
        scores[name] = -np.array(found)
    scores[AVERAGE] = average_elsewhere(board.errors, board.allowed, board.corpora)
    picked = {CHANCE: _mean_allowed(board.errors, board.allowed), GENERIC: board.generic}
    picked |= {k: pick(score, board.errors, board.allowed) for k, score in scores.items()}
    learned, with_generic = _model2vec(gathered, settings, n, board)
    scores[MODEL2VEC] = learned
    picked[MODEL2VEC] = pick(learned, board.errors, board.allowed)
    every, open_to_all = _with_generic(board)
    picked[MODEL2VEC_GENERIC] = pick(with_generic, every, open_to_all)
    picked[HALF] = searched(board)
    return replace(board, scores=scores, picked=picked)


def pick(score: FloatArray, errors: FloatArray, allowed: BoolArray) -> FloatArray:
    """Return the error of the expert with the lowest score, the mean over ties, (n_targets,).

    >>> pick(np.array([[2.0, 1.0, 0.0]]), np.array([[0.3, 0.2, 0.1]]), np.array([[1, 1, 0]]) > 0)
    array([0.2])
    """
    held = np.where(allowed, score, np.inf)
    lowest = held == held.min(1, keepdims=True)
    return np.asarray((errors * lowest).sum(1) / lowest.sum(1))


def average_elsewhere(errors: FloatArray, allowed: BoolArray, corpora: Sequence[str]) -> FloatArray:
    """Return each expert's mean error on tasks of other corpora than the target's.

    Experts are left out of other tasks each, so errors count from the mean over the experts
    that are allowed for a task. Shape (n_targets, n_experts).
    """
    excess = np.where(allowed, errors - _mean_allowed(errors, allowed)[:, None], np.nan)
    names = np.array(corpora)
    return np.stack([np.nanmean(excess[names != name], axis=0) for name in names])


def searched(board: Board) -> FloatArray:
    """Return the error of exhaustive search that does not see its own test, (n_targets,).

    The best expert on one half of the evaluation texts is scored on the other, both ways round.
    """
    halves = [board.halves[:, :, k] for k in range(2)]
    found = [pick(halves[k], halves[1 - k], board.allowed) for k in range(2)]
    return np.asarray(np.mean(found, axis=0))


# -- scores --------------------------------------------------------------------------------


def embeddings_at(gathered: Gathered, n: int, layer: int) -> list[TaskEmbedding]:
    """Return the targets' embeddings under heads at a layer."""
    return [target.embeddings[n][layer] for target in gathered.targets]


def fisher_scores(
    targets: Sequence[TaskEmbedding], library: Sequence[TaskEmbedding]
) -> dict[str, FloatArray]:
    """Return distances between targets and experts' tasks, (n_targets, n_experts).

    The asymmetric one is from the expert's task to the target: complex ones are nearer.
    """
    count = len(targets)
    both = [*targets, *library]
    found = {}
    for name, metric in zip(NEAREST, ("cosine", "log_ratio", "asymmetric"), strict=True):
        table = pairwise(both, metric=metric, reference=list(library)).to_numpy()
        found[name] = table[count:, :count].T
    return found


def _distance_scores(gathered: Gathered, settings: ExpertSettings, n: int) -> dict[str, FloatArray]:
    last, count = gathered.encoder.n_layers, len(gathered.experts)
    library = embeddings_at(gathered, settings.library_n, last)[:count]
    scores = fisher_scores(embeddings_at(gathered, n, last), library)
    texts = [t.texts[n] for t in gathered.targets]
    known = [t.texts[settings.library_n] for t in gathered.targets[:count]]
    return scores | text_scores(texts, known)


def text_scores(
    targets: Sequence[TextEmbedding], library: Sequence[TextEmbedding]
) -> dict[str, FloatArray]:
    """Return cosine distances between mean states of texts, as they are and less the library's."""
    both, count = [*targets, *library], len(targets)
    return {
        TEXT: text_distances(both).to_numpy()[:count, count:],
        TEXT_CENTRED: text_distances(centred(both, library)).to_numpy()[:count, count:],
    }


def unit_log_shares(
    embeddings: Sequence[TaskEmbedding], library: Sequence[TaskEmbedding]
) -> FloatArray:
    """Return log shares less the library's mean, each of length 1, (count, size)."""
    centre = log_shares(raised(library, EPSILON)).mean(0)
    made = log_shares(raised(embeddings, EPSILON)) - centre
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True))


def _model2vec(
    gathered: Gathered, settings: ExpertSettings, n: int, board: Board
) -> tuple[FloatArray, FloatArray]:
    """Return learned distances to the experts, and to the experts and the generic encoder."""
    last, count = gathered.encoder.n_layers, len(gathered.experts)
    full = embeddings_at(gathered, settings.library_n, last)
    tasks = unit_log_shares(full, full[:count])
    queries = unit_log_shares(embeddings_at(gathered, n, last), full[:count])
    found = []
    every, open_to_all = _with_generic(board)
    unknown = np.zeros((1, tasks.shape[1]))
    for models, errors, allowed in (
        (tasks[:count], board.errors, board.allowed),
        (np.concatenate([tasks[:count], unknown]), every, open_to_all),
    ):
        known = Known(tasks, models, errors, allowed, board.corpora)
        found.append(left_out_distances(known, queries, alpha=settings.alpha)[0])
    return found[0], found[1]


def _with_generic(board: Board) -> tuple[FloatArray, BoolArray]:
    """Return errors and what is allowed, the generic encoder as the last of the models."""
    yes = np.ones((len(board.generic), 1), bool)
    errors = np.concatenate([board.errors, board.generic[:, None]], axis=1)
    return errors, np.concatenate([board.allowed, yes], axis=1)


def _mean_allowed(values: FloatArray, allowed: BoolArray) -> FloatArray:
    return np.asarray(np.where(allowed, values, 0).sum(1) / allowed.sum(1))


# -- what choices cost ---------------------------------------------------------------------


def cost_rows(
    board: Board, *, layer: int, probe: str, seed: int, methods: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return one row a way of choosing (default all): error, increase, differences to baselines.

    ``increase`` is (mean error - mean of the best) / mean of the best, the ratio taken of each
    draw of corpora. ``versus_generic`` and ``versus_text`` are differences of such increases, with
    intervals of their own; the baseline by texts is the better of the two.
    """
    optimal = board.optimal
    text = min(TEXTS, key=lambda name: float(board.picked[name].sum()))
    rows = []
    for name in methods or board.picked:
        errors = board.picked[name]
        row: dict[str, Any] = {
            "n": board.n,
            "layer": layer,
            "probe": probe,
            "method": name,
            "mean_error": float(errors.mean()),
            "optimal_error": float(optimal.mean()),
        }
        for column, base in (
            ("increase", optimal),
            ("versus_generic", board.generic),
            ("versus_text", board.picked[text]),
        ):
            found = resampled_ratio(errors - base, optimal, board.corpora, seed=seed)
            row |= found.row(column)
        rows.append(row | {"n_targets": len(errors), "n_experts": board.errors.shape[1]})
    return rows
