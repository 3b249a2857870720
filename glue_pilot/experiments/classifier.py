"""Is a good classifier needed? Embeddings of heads stopped early, and of shuffled labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.embedding.heads import FittedHead, heads_to_store
from charkit.encoders import Encoder, encode_to_store, load_encoder
from charkit.errors import UsageError
from charkit.fisher import Head, TaskEmbedding, make_head, pairwise
from charkit.tasks import Task
from glue_pilot import figures
from glue_pilot.experiments.base import Experiment, Workspace, share_texts, siblings, study_of
from glue_pilot.experiments.heads import embed_under, head_accuracy, stopped_heads
from glue_pilot.findings import Finding, bullets, listed, md_table
from glue_pilot.samples import KnownTask, drawn_sample, embed_sample
from glue_pilot.stats import UNKNOWN, Interval, compare, rank_siblings, resampled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]

CONVERGED, STRONG, SHUFFLED = "converged", "stronger", "shuffled"
MEASURES = {
    "accuracy": "accuracy",
    "moved": "distance to converged",
    "known_again": "known again",
    "ndcg": "NDCG of siblings",
}


@dataclass(frozen=True)
class ClassifierSettings:
    """What heads are trained, and on what.

    Attributes:
        encoder: Name of the encoder.
        tasks: Classification tasks, some of them siblings (labels of one kind, other texts).
        n: Labelled texts a sample.
        draws: Samples a task; they share no text. The first two show whether a task is known
            again.
        steps: Steps of gradient descent after which heads are looked at; 0: random weights.
        penalty: The control for stopping early: a converged head under this many times the penalty.
        max_length: Most tokens of a text.
        n_eval: Evaluation texts that heads are scored on, at most.
        seed: Of first weights and shuffled labels.
    """

    encoder: str = "minilm"
    tasks: tuple[str, ...] = (
        "mr", "imdb_small", "yelp_small", "tweeteval_sentiment",
        "ag_news", "search_snippets", "stackoverflow_titles", "mag_fields",
        "hate_davidson", "tweeteval_hate", "glue_rte", "glue_mnli",
    )  # fmt: skip
    n: int = 128
    draws: int = 2
    steps: tuple[int, ...] = (0, 1, 3, 10, 30, 100)
    penalty: float = 10.0
    max_length: int = 128
    n_eval: int = 1000
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Stage:
    """One head of one sample, and the embedding under it."""

    task: str
    draw: int
    name: str
    accuracy: float
    embedding: TaskEmbedding


def run(settings: ClassifierSettings, workspace: Workspace) -> Finding:
    """Train heads to every stage, embed under each, and score the embeddings."""
    if settings.draws < 2 or not settings.steps or min(settings.steps) < 0:
        raise UsageError(
            "classifier needs two draws and steps from 0: expected draws of at least 2, got "
            f"draws {settings.draws} and steps {settings.steps}."
        )
    known = workspace.tasks(settings.tasks)
    encoder = load_encoder(settings.encoder)
    planned = [(entry, draw) for draw in range(settings.draws) for entry in known]
    found: list[Stage] = []
    for done, (entry, draw) in enumerate(planned):
        workspace.progress("samples", done, len(planned))
        found += _stages_of(settings, entry, draw, encoder, workspace)
    workspace.progress("samples", len(planned), len(planned))
    table = stage_table(found, known)
    means = mean_table(table)
    words = finding(means, n=settings.n, draws=settings.draws)
    return Finding(table, draw_figures(means), *words, summary_of(means))


# -- heads and embeddings ---------------------------------------------------------------------


def _stages_of(
    settings: ClassifierSettings,
    known: KnownTask,
    draw: int,
    encoder: Encoder,
    workspace: Workspace,
) -> Iterator[Stage]:
    """Yield all heads of one sample with their embeddings."""
    store, last, name = workspace.store, encoder.n_layers, known.task.name
    sample = drawn_sample(known, n=settings.n, draw=draw, n_eval=settings.n_eval)
    study = study_of(settings, (settings.n,), (settings.draws,))
    kept = embed_sample(study, known, sample, settings.n, draw, encoder, store)
    converged = heads_to_store(
        sample, encoder, store=store, layers=study.heads_at(settings.n, last),
        max_length=settings.max_length,
    )[last]  # fmt: skip
    assert sample.evaluation is not None
    assert sample.evaluation.labels is not None
    states, out = (
        encode_to_store(encoder, part, store=store, max_length=settings.max_length).layer(last)
        for part in (sample.train, sample.evaluation)
    )
    for stage, head in _own_heads(settings, sample, states, converged, draw).items():
        if stage == STRONG:  # the converged head comes before it, as figures show them
            yield Stage(name, draw, CONVERGED, kept.scores[last], kept.embeddings[last])
        embedding = embed_under(
            head, sample.train, encoder, head_layer=last, options=study.options, store=store,
            name=name,
        )  # fmt: skip
        yield Stage(
            name, draw, stage, head_accuracy(head, out, sample.evaluation.labels), embedding
        )


def _own_heads(
    settings: ClassifierSettings,
    sample: Task,
    features: NDArray[np.floating],
    converged: FittedHead,
    draw: int,
) -> dict[str, Head]:
    """Return the heads that were stopped, and two that converged: stronger, on shuffled labels."""
    import torch

    from charkit.heads.solver.softmax import fit_softmax
    from charkit.heads.sweep.job import shuffled_labels

    assert sample.train.labels is not None
    labels, n_classes = sample.train.labels, sample.n_classes
    strength, seed = converged.figures.strength, settings.seed + 1000 * draw
    stopped = stopped_heads(
        features, labels, n_classes, strength=strength, steps=settings.steps, seed=seed
    )
    heads = {str(step) if step else "random": head for step, head in sorted(stopped.items())}
    for name, wanted, penalty in (
        (STRONG, np.asarray(labels), settings.penalty * strength),
        (SHUFFLED, shuffled_labels(labels, seed=seed), strength),
    ):
        fitted = fit_softmax(
            features[None], wanted, n_classes, strengths=(penalty,), dtype=torch.float64
        )
        heads[name] = make_head(fitted.weights[0].numpy(), fitted.bias[0].numpy())
    return heads


# -- tables -----------------------------------------------------------------------------------


def stage_table(stages: list[Stage], known: list[KnownTask]) -> pd.DataFrame:
    """Return one row a stage and task.

    Columns ``accuracy`` on evaluation texts; ``moved``: Aitchison's distance to the embedding
    under the converged head of the same sample, over the mean distance between tasks there;
    ``known_again``: share of the other tasks that are farther than another sample of the task;
    ``ndcg`` of the siblings, and ``chance`` for it (both by log_ratio within the stage). Samples
    are averaged over.
    """
    names = [k.task.name for k in known]
    at = {(s.name, s.draw, s.task): s for s in stages}
    draws = sorted({s.draw for s in stages})
    apart = ~np.eye(len(names), dtype=bool)
    between = np.mean(
        [
            pairwise([at[CONVERGED, d, t].embedding for t in names], metric="aitchison")
            .to_numpy()[apart]
            .mean()
            for d in draws
        ]
    )
    rows = []
    for stage in dict.fromkeys(s.name for s in stages):
        every = [[at[stage, d, t] for t in names] for d in draws]
        again, ndcg, chance = _ranked([[s.embedding for s in part] for part in every], known)
        for k, (task, entry) in enumerate(zip(names, known, strict=True)):
            pairs = [[at[name, d, task].embedding for name in (stage, CONVERGED)] for d in draws]
            moved = [pairwise(pair, metric="aitchison").to_numpy()[0, 1] for pair in pairs]
            rows.append(
                {"stage": stage, "task": task, "corpus": entry.corpus}
                | {"accuracy": float(np.mean([part[k].accuracy for part in every]))}
                | {"moved": float(np.mean(moved)) / float(between)}
                | {"known_again": again[k], "ndcg": ndcg[k], "chance": chance[k]}
            )
    return pd.DataFrame(rows)


def _ranked(
    draws: list[list[TaskEmbedding]], known: list[KnownTask]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return, a task, how often it is known again, and NDCG of its siblings and its chance."""
    count = len(known)
    matrix = pairwise([e for part in draws for e in part], metric="log_ratio").to_numpy()
    first, second = matrix[:count, count : 2 * count], matrix[count : 2 * count, :count]
    again = np.mean([_farther(first), _farther(second)], axis=0)
    alike, shared = siblings(known), share_texts(known)

    def ndcg(distances: FloatArray) -> FloatArray:
        scores = rank_siblings(np.where(shared, np.nan, distances), alike)["ndcg"]
        return scores.reindex(range(count)).to_numpy(np.float64)

    places = [slice(d * count, (d + 1) * count) for d in range(len(draws))]
    scores = np.mean([ndcg(matrix[own, own]) for own in places], axis=0)
    return again, scores, ndcg(np.zeros((count, count)))


def _farther(crossed: FloatArray) -> FloatArray:
    """Return the share of other tasks farther than the same; ties count half."""
    own = np.diag(crossed)[:, None]
    farther = (crossed > own) + 0.5 * (crossed == own)
    np.fill_diagonal(farther, 0)
    return np.asarray(farther.sum(1) / (len(crossed) - 1))


def mean_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean and interval of each quantity by stage, and of its gap to the converged head.

    Columns ``stage``, ``what``, ``mean``, ``low``, ``high``; ``gap``, ``gap_low``, ``gap_high``:
    the stage less the converged head, task by task; tasks drawn by corpus. The intervals of all
    gaps in accuracy, known again and NDCG hold together.
    """
    tests = 3 * (table["stage"].nunique() - 1)
    base = table[table["stage"] == CONVERGED].set_index("task")
    rows = []
    for stage, part in table.groupby("stage", sort=False):
        for what in (*MEASURES, "chance"):
            used = part.dropna(subset=[what]).set_index("task")
            if used.empty:
                continue
            corpora = list(used["corpus"])
            here = resampled(used[what].to_numpy(np.float64), corpora)
            gaps = (used[what] - base.loc[used.index, what]).to_numpy(np.float64)
            gap = resampled(gaps, corpora, tests=tests)
            about = {"stage": stage, "what": what, "tasks": len(used)}
            rows.append(about | here.row("mean", ends="") | gap.row("gap"))
    return pd.DataFrame(rows)


# -- what was found ---------------------------------------------------------------------------


def _at(means: pd.DataFrame, stage: str, what: str, value: str = "mean") -> Interval:
    rows = means[(means["stage"] == stage) & (means["what"] == what)]
    return Interval.of(rows.iloc[0], value) if len(rows) else UNKNOWN


def _words(stage: str) -> str:
    if stage.isdigit():
        return f"{stage} step" if stage == "1" else f"{stage} steps"
    words = {"random": "random weights", STRONG: "stronger penalty", SHUFFLED: "shuffled labels"}
    return words.get(stage, stage)


def finding(means: pd.DataFrame, *, n: int, draws: int) -> tuple[str, str, str]:
    """Return answer, points and details.

    Args:
        means: From `mean_table`.
        n: Labelled texts a sample.
        draws: Samples a task.
    """
    stages = list(dict.fromkeys(means["stage"]))
    what = "ndcg" if "ndcg" in set(means["what"]) else "known_again"
    doing = "rank siblings" if what == "ndcg" else "know tasks again"

    def which(measure: str, verdict: str) -> list[str]:
        return [s for s in stages if compare(_at(means, s, measure, "gap")) == verdict]

    lower = which(what, "below")
    early = [s for s in which("accuracy", "below") if s.isdigit() and s not in lower]
    end = "labels count" if SHUFFLED in lower else "that labels count is not shown"
    answer = (
        f"A fully trained head is not shown to be needed: after {_words(early[0])} embeddings "
        f"{doing} no worse, as far as can be shown; {end}."
        if early
        else f"That less training serves as well is not shown; {end}."
    )
    rows = [
        {"head": _words(s)}
        | {
            name: f"{_at(means, s, key)}"
            for key, name in MEASURES.items()
            if key in set(means["what"])
        }
        for s in stages
    ]
    chance = _at(means, CONVERGED, "chance").mean
    again = [
        s for s in ("random", SHUFFLED) if s in stages and s not in which("known_again", "below")
    ]
    details = bullets(
        f"{int(means['tasks'].max())} tasks, {n} texts each, {draws} samples; the head reads the "
        "last layer and is stopped during gradient descent. In brackets: 90 % intervals, tasks "
        "drawn by corpus.",
        "Distance to converged: of the embedding, in units of the mean distance between tasks. "
        "Known again: share of the other tasks that are farther than another sample of the task. "
        f"NDCG: siblings have labels of one kind and other texts; chance {chance:.2f}.",
        "Siblings are ranked worse than by the converged head (interval of the difference below "
        "zero, 90 % for all differences together): "
        f"{listed([_words(s) for s in which('ndcg', 'below')])}; better: "
        f"{listed([_words(s) for s in which('ndcg', 'above')])}.",
        "Tasks are known again less well: "
        f"{listed([_words(s) for s in which('known_again', 'below')])}.",
        f"Under {listed([_words(s) for s in again])} tasks are known again as well: here texts "
        "separate them without labels."
        if again
        else "",
        "Few steps act like a stronger penalty. The control is a converged head under more of it: "
        f"NDCG {_at(means, STRONG, 'ndcg').mean:.2f}, distance to converged "
        f"{_at(means, STRONG, 'moved').mean:.2f}."
        if STRONG in stages
        else "",
    )
    return answer, md_table(rows), details


_PLACES = {CONVERGED: "con-\nverged", STRONG: "stronger\npenalty", SHUFFLED: "shuffled\nlabels"}


def draw_figures(means: pd.DataFrame) -> dict[str, Figure]:
    """Draw what embeddings show by stage, and how far they are from the converged one."""
    names = {k: v for k, v in MEASURES.items() if k != "moved"}
    placed = means.assign(place=means["stage"].replace(_PLACES))
    what = "ndcg" if "ndcg" in set(means["what"]) else "known_again"
    first = next((s for s in means["stage"] if s.isdigit()), CONVERGED)
    values = [_at(means, s, what).mean for s in (first, CONVERGED, SHUFFLED)]
    bars = "Bars: 90 % bootstrap intervals over corpora."
    shown = placed[placed["what"].isin(names)]
    main = figures.lines(
        shown.assign(line=shown["what"].map(names)),
        title=f"{names[what]}: {values[0]:.2f} after {_words(first)}, {values[1]:.2f} converged, "
        f"{values[2]:.2f} with shuffled labels",
        caption="Known again: share of other tasks that are farther than another sample of the "
        f"task. Chance of NDCG: {_at(means, CONVERGED, 'chance').mean:.2f}. {bars}",
        x="steps of gradient descent",
        y="share, or NDCG",
        apart={_PLACES[STRONG], _PLACES[SHUFFLED]},
    )
    far = figures.lines(
        placed[placed["what"] == "moved"].assign(line="embedding"),
        title="How far the embedding is from the converged head's",
        caption="Aitchison's distance over the mean distance between tasks (dashed: as far as "
        f"another task). {bars}",
        x="steps of gradient descent",
        y="distance / distance between tasks",
        level=1,
        apart={_PLACES[STRONG], _PLACES[SHUFFLED]},
    )
    return {"": main, "stability": far}


def summary_of(means: pd.DataFrame) -> dict[str, float]:
    """Return the means of all quantities at the stages that matter."""
    names = {CONVERGED: CONVERGED, SHUFFLED: SHUFFLED, "random": "random", "1": "one_step"}
    return {
        f"{what}_{name}": _at(means, stage, what).mean
        for stage, name in names.items()
        for what in MEASURES
    }


EXPERIMENT = Experiment(
    name="classifier",
    question="Is a good classifier needed to generate meaningful embeddings?",
    motivation="the seed on meta-features: measure accuracy after the classifier is fitted, and "
    "distances between the embeddings under it",
    settings=ClassifierSettings,
    run=run,
)
