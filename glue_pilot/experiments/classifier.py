"""Is a good classifier needed? Embeddings of heads stopped early, and of shuffled labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.fitted import FittedHead, heads_to_store
from charkit.encoders import Encoder, encode_to_store, load_encoder
from charkit.errors import DataError, UsageError
from charkit.fisher import Head, TaskEmbedding, make_head, pairwise
from charkit.store import Store
from charkit.tasks import Task
from glue_pilot.embedding_study import KnownTask, draw_sample
from glue_pilot.embeddings import embed_sample, options_of
from glue_pilot.experiments.base import Bench, Experiment, Found
from glue_pilot.experiments.classifier_heads import embed_under, head_accuracy, stopped_heads
from glue_pilot.experiments.classifier_words import (
    CONVERGED,
    SHUFFLED,
    figures_of,
    finding_of,
    summary_of,
)
from glue_pilot.experiments.layers_kinds import share_texts, siblings, study_of
from glue_pilot.siblings import rank_siblings, resampled

FloatArray = NDArray[np.float64]

SEEN = ("accuracy", "moved", "known_again", "ndcg")


@dataclass(frozen=True)
class ClassifierSettings:
    """What heads are trained, and on what.

    Attributes:
        encoder: Name of the encoder.
        tasks: Classification tasks, some of them siblings (labels of one kind, other texts).
        n: Labelled texts a sample.
        draws: Samples a task; they share no text. The first two tell whether a task is known
            again.
        steps: Steps of gradient descent after which heads are looked at; 0: random weights.
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


def run(settings: ClassifierSettings, bench: Bench) -> Found:
    """Train heads to every stage, embed under each, and score the embeddings."""
    if settings.draws < 2 or not settings.steps or min(settings.steps) < 0:
        raise UsageError(
            "classifier needs two draws and steps from 0: expected draws of at least 2, got "
            f"draws {settings.draws} and steps {settings.steps}."
        )
    known = bench.tasks(settings.tasks)
    encoder = load_encoder(settings.encoder)
    found = list(_stages(settings, known, encoder, bench))
    table = stage_table(found, known)
    means = mean_table(table)
    return Found(
        table,
        figures_of(means),
        finding_of(means, n=settings.n, draws=settings.draws),
        summary_of(means, SEEN),
    )


# -- heads and embeddings ------------------------------------------------------------------


def _step_name(step: int) -> str:
    return "random" if step == 0 else str(step)


def _stages(
    settings: ClassifierSettings, known: list[KnownTask], encoder: Encoder, bench: Bench
) -> Iterator[Stage]:
    planned = [(entry, draw) for draw in range(settings.draws) for entry in known]
    for done, (entry, draw) in enumerate(planned):
        bench.progress("samples", done, len(planned))
        sample = draw_sample(entry.task, n=settings.n, draw=draw, n_eval=settings.n_eval)
        if sample is None or sample.kind != "classification":
            raise DataError(
                f"{entry.task.name} is too small for classifier: expected {settings.draws} draws "
                f"of {settings.n} texts with class labels, got {len(entry.task.train)} texts. "
                "Leave it out, or take a smaller n."
            )
        yield from _stages_of(settings, entry, sample, draw, encoder, bench.store)
    bench.progress("samples", len(planned), len(planned))


def _stages_of(
    settings: ClassifierSettings,
    entry: KnownTask,
    sample: Task,
    draw: int,
    encoder: Encoder,
    store: Store,
) -> Iterator[Stage]:
    """Yield all heads of one sample with their embeddings."""
    study = study_of(
        encoder=settings.encoder,
        n=settings.n,
        draws=settings.draws,
        max_length=settings.max_length,
        n_eval=settings.n_eval,
    )
    options, last, name = options_of(study), encoder.n_layers, entry.task.name
    kept = embed_sample(study, entry, sample, settings.n, draw, encoder, store)
    layers = study.heads_at(settings.n, last)
    converged = heads_to_store(
        sample, encoder, store=store, layers=layers, max_length=settings.max_length
    )[last]
    assert sample.evaluation is not None
    states = encode_to_store(encoder, sample.train, store=store, max_length=settings.max_length)
    out = encode_to_store(encoder, sample.evaluation, store=store, max_length=settings.max_length)
    heads = _own_heads(settings, sample, states.layer(last), converged, draw)
    for stage, head in heads.items():
        if stage == SHUFFLED:  # the converged head comes before it, as figures show them
            yield Stage(name, draw, CONVERGED, kept.scores[last], kept.embeddings[last])
        accuracy = head_accuracy(head, out.layer(last), sample.evaluation.labels)  # type: ignore[arg-type]
        embedding = embed_under(
            head, sample.train, encoder, head_layer=last, options=options, store=store, name=name
        )
        yield Stage(name, draw, stage, accuracy, embedding)


def _own_heads(
    settings: ClassifierSettings,
    sample: Task,
    features: NDArray[np.floating],
    converged: FittedHead,
    draw: int,
) -> dict[str, Head]:
    """Return the heads that were stopped, and the converged one on shuffled labels."""
    import torch

    from charkit.heads.job import shuffled_labels
    from charkit.heads.softmax import fit_softmax

    assert sample.train.labels is not None
    labels, n_classes = sample.train.labels, sample.n_classes
    strength, seed = converged.figures.strength, settings.seed + 1000 * draw
    stopped = stopped_heads(
        features, labels, n_classes, strength=strength, steps=settings.steps, seed=seed
    )
    heads = {_step_name(step): head for step, head in sorted(stopped.items())}
    mixed = fit_softmax(
        features[None],
        shuffled_labels(labels, seed=seed),
        n_classes,
        strengths=(strength,),
        dtype=torch.float64,
    )
    return heads | {SHUFFLED: make_head(mixed.weights[0].numpy(), mixed.bias[0].numpy())}


# -- what embeddings tell --------------------------------------------------------------------


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
    between = _between_tasks([[at[CONVERGED, d, t].embedding for t in names] for d in draws])
    rows = []
    for stage in dict.fromkeys(s.name for s in stages):
        every = [[at[stage, d, t] for t in names] for d in draws]
        again, ndcg, chance = _told([[s.embedding for s in part] for part in every], known)
        for k, (task, entry) in enumerate(zip(names, known, strict=True)):
            moved = [_moved(at[stage, d, task], at[CONVERGED, d, task]) for d in draws]
            rows.append(
                {
                    "stage": stage,
                    "task": task,
                    "corpus": entry.corpus,
                    "accuracy": float(np.mean([part[k].accuracy for part in every])),
                    "moved": float(np.mean(moved)) / between,
                    "known_again": again[k],
                    "ndcg": ndcg[k],
                    "chance": chance[k],
                }
            )
    return pd.DataFrame(rows)


def _between_tasks(draws: list[list[TaskEmbedding]]) -> float:
    """Return the mean Aitchison distance between tasks, over draws."""
    return float(np.mean([_apart(pairwise(part, metric="aitchison")) for part in draws]))


def _apart(matrix: pd.DataFrame) -> float:
    values = matrix.to_numpy()
    return float(values[~np.eye(len(values), dtype=bool)].mean())


def _moved(one: Stage, other: Stage) -> float:
    return float(pairwise([one.embedding, other.embedding], metric="aitchison").to_numpy()[0, 1])


def _told(
    draws: list[list[TaskEmbedding]], known: list[KnownTask]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return, a task, how often it is known again, and NDCG of its siblings and its chance."""
    count = len(known)
    matrix = pairwise([e for part in draws for e in part], metric="log_ratio").to_numpy()
    first, second = matrix[:count, count : 2 * count], matrix[count : 2 * count, :count]
    again = np.mean([_farther(first), _farther(second)], axis=0)
    alike, shared = siblings(known), share_texts(known)
    scores, chances = [], []
    for d in range(len(draws)):
        own = matrix[d * count : (d + 1) * count, d * count : (d + 1) * count]
        own = np.where(shared, np.nan, own)
        scores.append(_ndcg(own, alike))
        chances.append(_ndcg(np.where(shared, np.nan, 0.0), alike))
    return again, np.mean(scores, axis=0), np.mean(chances, axis=0)


def _farther(crossed: FloatArray) -> FloatArray:
    """Return the share of other tasks farther than the same; ties count half."""
    own = np.diag(crossed)[:, None]
    told = (crossed > own) + 0.5 * (crossed == own)
    np.fill_diagonal(told, 0)
    return np.asarray(told.sum(1) / (len(crossed) - 1))


def _ndcg(matrix: FloatArray, alike: NDArray[np.bool_]) -> FloatArray:
    return rank_siblings(matrix, alike)["ndcg"].reindex(range(len(matrix))).to_numpy(np.float64)


# -- means, words, figures -------------------------------------------------------------------


def mean_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean and interval of each quantity by stage, and of its gap to the converged head.

    Columns ``stage``, ``what``, ``mean``, ``low``, ``high``; ``gap``, ``gap_low``, ``gap_high``:
    the stage less the converged head, task by task; tasks drawn by corpus.
    """
    base = table[table["stage"] == CONVERGED].set_index("task")
    rows = []
    for stage, part in table.groupby("stage", sort=False):
        for what in (*SEEN, "chance"):
            used = part.dropna(subset=[what]).set_index("task")
            if used.empty:
                continue
            corpora = list(used["corpus"])
            here = resampled(used[what].to_numpy(np.float64), corpora)
            gap = resampled((used[what] - base.loc[used.index, what]).to_numpy(), corpora)
            rows.append(
                {
                    "stage": stage, "what": what, "tasks": len(used),
                    "mean": here.mean, "low": here.low, "high": here.high,
                    "gap": gap.mean, "gap_low": gap.low, "gap_high": gap.high,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


EXPERIMENT = Experiment(
    name="classifier",
    question="Is a good classifier needed to generate meaningful embeddings?",
    asked_by="the seed on meta-features: measure accuracy after the classifier is fitted, and "
    "distances between the embeddings under it",
    settings=ClassifierSettings,
    run=run,
)
