"""What does the distance say? Of the drop in accuracy under a shift, and of transfer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from charkit.answers.embed import embed_kept
from charkit.answers.fitted import heads_to_store
from charkit.encoders import Encoder, encode_to_store, load_encoder
from charkit.errors import UsageError
from charkit.fisher import TaskEmbedding, pairwise
from charkit.tasks import Split
from glue_pilot.embeddings import options_of
from glue_pilot.experiments.base import Bench, Experiment, Found
from glue_pilot.experiments.distance_figures import draw
from glue_pilot.experiments.distance_scores import (
    CONFIDENCE,
    SHIFT_PREDICTORS,
    STATES,
    TEXT,
    TRANSFER_PREDICTORS,
    class_distance,
    correlation_table,
    judge,
    spearman,
    state_distance,
)
from glue_pilot.experiments.distance_shifts import Shift, make_shifts
from glue_pilot.experiments.distance_transfer import transfer_table
from glue_pilot.experiments.samples import COSINE, LOG_RATIO, known_tasks, study_of
from glue_pilot.siblings import Interval


@dataclass(frozen=True)
class DistanceSettings:
    """Which tasks are shifted, and between which heads are handed on.

    Attributes:
        encoder: Name of the encoder.
        tasks: That shifts are built from.
        transfer: That hand heads on to each other where classes have the same names.
        n: Training texts of a side.
        n_embedded: Texts of which a Fisher embedding is made, of each part.
        n_held_out: Held-out texts that an accuracy is counted on, at most.
        pool: Texts of a task that sides are made of, at most.
        n_transfer: Training texts of a task that hands on its head.
        all_heads_up_to: As in the study of embeddings, whose results are used again.
        max_length: Most tokens of a text.
        n_eval: Evaluation texts of a task that takes on a head, at most.
    """

    encoder: str = "minilm"
    tasks: tuple[str, ...] = (
        "ag_news",
        "glue_sst2",
        "subj",
        "tweeteval_sentiment",
        "trec6",
        "glue_cola",
        "search_snippets",
        "disaster_tweets",
        "hate_davidson",
        "mag_fields",
        "yelp_small",
        "clickbait",
    )
    transfer: tuple[str, ...] = ()
    n: int = 192
    n_embedded: int = 128
    n_held_out: int = 400
    pool: int = 3000
    n_transfer: int = 512
    all_heads_up_to: int = 128
    max_length: int = 128
    n_eval: int = 1000


def run(settings: DistanceSettings, bench: Bench) -> Found:
    """Measure drops and losses, and relate them to distances.

    Raises:
        UsageError: A size is out of range, or no task is large enough for a shift.
    """
    if min(settings.n, settings.n_embedded) < 8 or settings.n_embedded > settings.n:
        raise UsageError(
            "sizes of shifts are out of range: expected n_embedded of 8 to n, got "
            f"n_embedded = {settings.n_embedded} and n = {settings.n}."
        )
    encoder = load_encoder(settings.encoder)
    shifts = shift_table(settings, encoder, bench)
    study = study_of(settings, (settings.n_transfer,), (1,))
    pairs = transfer_table(known_tasks(settings.transfer, bench), study, encoder, bench)
    told = correlation_table(shifts, SHIFT_PREDICTORS, "drop", within="task").assign(part="shift")
    if len(pairs):
        between = correlation_table(pairs, TRANSFER_PREDICTORS, "loss", within="target")
        told = pd.concat([told, between.assign(part="transfer")], ignore_index=True)
    beyond = spearman(shifts, "fisher_log_ratio", "drop", given="confidence", within="task")
    table = pd.concat(
        [shifts.assign(part="shift"), pairs.assign(part="transfer"), told.assign(part=_part(told))],
        ignore_index=True,
    )
    figures = draw(shifts, pairs, told, title=_title(told), settings=settings)
    text = finding(shifts, pairs, told, beyond, settings)
    return Found(table, figures, text, summary(told))


def _part(told: pd.DataFrame) -> pd.Series:
    return "correlation, " + told["part"]


# -- shifts -----------------------------------------------------------------------------------


def shift_table(settings: DistanceSettings, encoder: Encoder, bench: Bench) -> pd.DataFrame:
    """Return one row a shift: accuracies, their drop, and what is known without labels.

    Every distance is that of the shifted texts to the training texts less that of held-out texts
    of the same side: what the shift adds.

    Raises:
        UsageError: No task is large enough.
    """
    known = known_tasks(settings.tasks, bench)
    rows: list[dict[str, Any]] = []
    embedded: list[tuple[TaskEmbedding, TaskEmbedding, TaskEmbedding]] = []
    for done, entry in enumerate(known):
        bench.progress("shifts", done, len(known))
        for shift in _shifts_of(entry.task, settings):
            rows.append(
                {"task": entry.task.name, "corpus": entry.corpus}
                | _measured(shift, settings, encoder, bench)
            )
            embedded.append(_embedded(shift, settings, encoder, bench))
    bench.progress("shifts", len(known), len(known))
    if len(rows) < 4:
        raise UsageError(
            f"too few shifts: expected at least 4, got {len(rows)}. Name more or larger tasks, or "
            "take a smaller n."
        )
    table = pd.DataFrame(rows)
    every = [part for parts in embedded for part in parts]
    reference = [train for train, _, _ in embedded]
    for metric, column in (("log_ratio", "fisher_log_ratio"), ("cosine", "fisher_cosine")):
        found = _excess(every, metric, reference)
        table[column] = found
    return table


def _shifts_of(task: Any, settings: DistanceSettings) -> list[Shift]:
    if task.kind != "classification":
        return []
    made = make_shifts(task, n=settings.n, n_eval=settings.n_held_out, pool=settings.pool)
    return list(made)


def _excess(
    every: Sequence[TaskEmbedding], metric: str, reference: Sequence[TaskEmbedding]
) -> list[float]:
    found = []
    for place in range(0, len(every), 3):
        three = pairwise(every[place : place + 3], metric=metric, reference=reference).to_numpy()
        found.append(float(three[0, 2] - three[0, 1]))
    return found


def _measured(
    shift: Shift, settings: DistanceSettings, encoder: Encoder, bench: Bench
) -> dict[str, Any]:
    last = encoder.n_layers
    fitted = heads_to_store(
        shift.task, encoder, store=bench.store, layers=(last,), max_length=settings.max_length
    )
    train, same, shifted = (
        encode_to_store(encoder, part, store=bench.store, max_length=settings.max_length).layer(
            last
        )
        for part in (shift.task.train, shift.same, shift.shifted)
    )
    labels = shift.task.train.labels
    assert labels is not None
    assert shift.same.labels is not None
    assert shift.shifted.labels is not None
    here = judge(fitted[last].head, same, shift.same.labels)
    there = judge(fitted[last].head, shifted, shift.shifted.labels)
    return {
        "kind": shift.kind,
        "shift": shift.name,
        "n_classes": shift.task.n_classes,
        "n_same": len(shift.same),
        "n_shifted": len(shift.shifted),
        "accuracy_same": here.accuracy,
        "accuracy_shifted": there.accuracy,
        "drop": here.accuracy - there.accuracy,
        "mean_states": state_distance(train, shifted) - state_distance(train, same),
        "class_shares": class_distance(there.shares, labels) - class_distance(here.shares, labels),
        "confidence": here.confidence - there.confidence,
    }


def _embedded(
    shift: Shift, settings: DistanceSettings, encoder: Encoder, bench: Bench
) -> tuple[TaskEmbedding, TaskEmbedding, TaskEmbedding]:
    """Return the embeddings of training, held-out and shifted texts under one head."""
    options = options_of(study_of(settings, (settings.n,), (1,)))

    def embed(part: Split) -> TaskEmbedding:
        rows = range(min(settings.n_embedded, len(part)))
        kept = embed_kept(
            shift.task,
            encoder,
            head_layers=(encoder.n_layers,),
            split=part.take(rows),
            options=options,
            store=bench.store,
        )
        return kept.embeddings[encoder.n_layers]

    return embed(shift.task.train), embed(shift.same), embed(shift.shifted)


# -- what was found ---------------------------------------------------------------------------


def _told(told: pd.DataFrame, part: str, series: str, method: str) -> pd.Series:
    rows = told[(told["part"] == part) & (told["series"] == series) & (told["method"] == method)]
    return rows.iloc[0]


def summary(told: pd.DataFrame) -> dict[str, float]:
    """Return the correlations that matter."""
    names = {LOG_RATIO: "fisher", CONFIDENCE: "confidence", STATES: "states", TEXT: "text"}
    shown = told[told["method"].isin(names)]
    return {
        f"{row.part}_{row.series}_{names[str(row.method)]}": float(row.value)  # type: ignore[arg-type]
        for row in shown.itertuples()
    }


def _title(told: pd.DataFrame) -> str:
    ours, doc = (_told(told, "shift", "within", m) for m in (LOG_RATIO, CONFIDENCE))
    return (
        f"Drop in accuracy by Fisher distance: Spearman {ours['value']:.2f}; by confidence "
        f"{doc['value']:.2f}"
    )


def finding(
    shifts: pd.DataFrame,
    pairs: pd.DataFrame,
    told: pd.DataFrame,
    beyond: Interval,
    settings: DistanceSettings,
) -> str:
    """Return what the tables say, in words."""
    fisher, doc, states = (
        _told(told, "shift", "within", m) for m in (LOG_RATIO, CONFIDENCE, STATES)
    )
    words = [
        f"{len(shifts)} shifts of {shifts['task'].nunique()} tasks (by length, cluster of texts "
        f"and class shares), heads of {settings.n} labels; the accuracy falls by "
        f"{100 * shifts['drop'].mean():.1f} points on average, from "
        f"{100 * shifts['drop'].min():.0f} to {100 * shifts['drop'].max():.0f}.",
        "No distance reads the labels of the shifted texts; each is what the shift adds to the "
        "distance of held-out texts of the same side.",
        f"Within a task, Spearman's correlation with the drop is {_said(fisher)} for the Fisher "
        f"distance (log-ratio), {_said(_told(told, 'shift', 'within', COSINE))} for Task2Vec's "
        f"cosine, {_said(states)} for mean states and {_said(doc)} for the fall of confidence.",
        f"Across tasks: {_said(_told(told, 'shift', 'across', LOG_RATIO))}, "
        f"{_said(_told(told, 'shift', 'across', COSINE))}, "
        f"{_said(_told(told, 'shift', 'across', STATES))} and "
        f"{_said(_told(told, 'shift', 'across', CONFIDENCE))}.",
        f"With confidence held fixed the Fisher distance keeps {beyond}: "
        + ("it adds to confidence." if beyond.low > 0 else "nothing is shown beyond confidence."),
        _verdict(fisher, doc),
    ]
    return " ".join([*words, *_transfer_words(pairs, told)])


def _verdict(fisher: pd.Series, doc: pd.Series) -> str:
    if not fisher["low"] > 0:
        return "So a larger Fisher distance is not shown to mean a larger drop."
    if doc["low"] > fisher["high"]:
        return "So the distance warns of a drop, but confidence does so better."
    if fisher["low"] > doc["high"]:
        return "So the distance warns of a drop, and better than confidence."
    return "So the distance warns of a drop; intervals of it and of confidence overlap."


def _transfer_words(pairs: pd.DataFrame, told: pd.DataFrame) -> list[str]:
    if pairs.empty:
        return ["No two of the tasks have the same classes: transfer was not measured."]
    fisher, text, doc = (
        _told(told, "transfer", "within", m) for m in (LOG_RATIO, TEXT, CONFIDENCE)
    )
    shown = "is the better one" if fisher["low"] > 0 else "is not shown to be the better one"
    return [
        f"**Transfer**: {len(pairs)} pairs of tasks with the same classes and other texts "
        f"({pairs['target'].nunique()} targets): another task's head costs "
        f"{100 * pairs['loss'].mean():.1f} points against the target's own. For a given target, "
        f"distance and loss go together by {_said(fisher)} (Fisher, log-ratio), {_said(text)} "
        f"(centred text embeddings) and {_said(doc)} (fall of confidence): the nearer source by "
        f"Fisher distance {shown}."
    ]


def _said(row: pd.Series) -> str:
    return str(Interval(row["value"], row["low"], row["high"]))


EXPERIMENT = Experiment(
    name="distance",
    question="What does the distance say?",
    asked_by="the notes on characterizing encoders: an unlabelled evaluation sample, coverage of "
    "examples; and transfer between tasks",
    settings=DistanceSettings,
    run=run,
)
