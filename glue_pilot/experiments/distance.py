"""What does the distance say? Of the drop in accuracy under a shift, and of transfer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.embedding.cache import embed_cached
from charkit.answers.embedding.heads import heads_to_store
from charkit.encoders import Encoder, encode_to_store, load_encoder
from charkit.errors import UsageError
from charkit.fisher import TaskEmbedding, pairwise
from charkit.tasks import Split, Task
from glue_pilot import figures
from glue_pilot.experiments.base import Experiment, Workspace, known_tasks, study_of
from glue_pilot.experiments.parts.distance_shifts import (
    Shift,
    make_shifts,
    score_head,
    transfer_table,
)
from glue_pilot.findings import Finding, blocks, bullets, md_table
from glue_pilot.matrices import CENTRED, COSINE, LOG_RATIO
from glue_pilot.stats import Interval, compare, spearman

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]

STATES, SHARES, CONFIDENCE = "mean states", "class shares", "confidence (DoC)"
COLUMNS = {
    LOG_RATIO: "fisher_log_ratio",
    COSINE: "fisher_cosine",
    STATES: "mean_states",
    SHARES: "class_shares",
    CENTRED: "text_centred",
    CONFIDENCE: "confidence",
}
"""What is known without labels -> its column; those of a table are related to its outcome."""


@dataclass(frozen=True)
class DistanceSettings:
    """Which tasks are shifted, and between which heads are handed on.

    Attributes:
        encoder: Name of the encoder.
        tasks: That shifts are built from.
        transfer: Whose heads are used on each other where classes have the same names.
        n: Training texts of a side.
        n_embedded: Texts of which a Fisher embedding is made, of each part.
        n_held_out: Held-out texts that an accuracy is counted on, at most.
        pool: Texts of a task that sides are made of, at most.
        n_transfer: Training texts of a task whose head is used elsewhere.
        all_heads_up_to: As in the study of embeddings, whose results are used again.
        max_length: Most tokens of a text.
        n_eval: Evaluation texts of a task that takes a head, at most.
    """

    encoder: str = "minilm"
    tasks: tuple[str, ...] = (
        "ag_news", "glue_sst2", "subj", "tweeteval_sentiment", "trec6", "glue_cola",
        "search_snippets", "disaster_tweets", "hate_davidson", "mag_fields", "yelp_small",
        "clickbait",
    )  # fmt: skip
    transfer: tuple[str, ...] = ()
    n: int = 192
    n_embedded: int = 128
    n_held_out: int = 400
    pool: int = 3000
    n_transfer: int = 512
    all_heads_up_to: int = 128
    max_length: int = 128
    n_eval: int = 1000


def run(settings: DistanceSettings, workspace: Workspace) -> Finding:
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
    shifts = shift_table(settings, encoder, workspace)
    study = study_of(settings, (settings.n_transfer,), (1,))
    pairs = transfer_table(known_tasks(settings.transfer, workspace), study, encoder, workspace)
    related = correlation_table(shifts, "drop", within="task").assign(part="shift")
    if len(pairs):
        between = correlation_table(pairs, "loss", within="target").assign(part="transfer")
        related = pd.concat([related, between], ignore_index=True)
    beyond = spearman(shifts, "fisher_log_ratio", "drop", given="confidence", within="task")
    table = pd.concat(
        [
            shifts.assign(part="shift"),
            pairs.assign(part="transfer"),
            related.assign(part="correlation, " + related["part"]),
        ],
        ignore_index=True,
    )
    return Finding(
        table,
        draw(shifts, pairs, related, settings),
        *finding(shifts, pairs, related, beyond, settings),
        summary(related),
    )


# -- shifts -----------------------------------------------------------------------------------


def shift_table(settings: DistanceSettings, encoder: Encoder, workspace: Workspace) -> pd.DataFrame:
    """Return one row a shift: accuracies, their drop, and what is known without labels.

    Every distance is that of the shifted texts to the training texts less that of held-out texts
    of the same side: what the shift adds.

    Raises:
        UsageError: No task is large enough.
    """
    known = known_tasks(settings.tasks, workspace)
    rows: list[dict[str, Any]] = []
    embedded: list[tuple[TaskEmbedding, TaskEmbedding, TaskEmbedding]] = []
    for done, entry in enumerate(known):
        workspace.progress("shifts", done, len(known))
        for shift in _shifts_of(entry.task, settings):
            rows.append(
                {"task": entry.task.name, "corpus": entry.corpus}
                | _measured(shift, settings, encoder, workspace)
            )
            embedded.append(_embedded(shift, settings, encoder, workspace))
    workspace.progress("shifts", len(known), len(known))
    if len(rows) < 4:
        raise UsageError(
            f"too few shifts: expected at least 4, got {len(rows)}. Name more or larger tasks, or "
            "take a smaller n."
        )
    table = pd.DataFrame(rows)
    reference = [train for train, _, _ in embedded]
    for metric in ("log_ratio", "cosine"):
        rows_of = [pairwise(parts, metric=metric, reference=reference) for parts in embedded]
        table[f"fisher_{metric}"] = [m.to_numpy()[0, 2] - m.to_numpy()[0, 1] for m in rows_of]
    return table


def _shifts_of(task: Task, settings: DistanceSettings) -> list[Shift]:
    if task.kind != "classification":
        return []
    made = make_shifts(task, n=settings.n, n_eval=settings.n_held_out, pool=settings.pool)
    return list(made)


def _measured(
    shift: Shift, settings: DistanceSettings, encoder: Encoder, workspace: Workspace
) -> dict[str, Any]:
    last = encoder.n_layers
    fitted = heads_to_store(
        shift.task, encoder, store=workspace.store, layers=(last,), max_length=settings.max_length
    )
    train, same, shifted = (
        encode_to_store(encoder, part, store=workspace.store, max_length=settings.max_length).layer(
            last
        )
        for part in (shift.task.train, shift.same, shift.shifted)
    )
    labels = shift.task.train.labels
    assert labels is not None
    assert shift.same.labels is not None
    assert shift.shifted.labels is not None
    here = score_head(fitted[last].head, same, shift.same.labels)
    there = score_head(fitted[last].head, shifted, shift.shifted.labels)
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
    shift: Shift, settings: DistanceSettings, encoder: Encoder, workspace: Workspace
) -> tuple[TaskEmbedding, TaskEmbedding, TaskEmbedding]:
    """Return the embeddings of training, held-out and shifted texts under one head."""
    options = study_of(settings, (settings.n,), (1,)).options

    def embed(part: Split) -> TaskEmbedding:
        rows = range(min(settings.n_embedded, len(part)))
        kept = embed_cached(
            shift.task,
            encoder,
            head_layers=(encoder.n_layers,),
            split=part.take(rows),
            options=options,
            store=workspace.store,
        )
        return kept.embeddings[encoder.n_layers]

    return embed(shift.task.train), embed(shift.same), embed(shift.shifted)


def state_distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the distance of mean states in standard deviations, less what sampling adds.

    Args:
        one: States, (n_texts, width).
        other: Others, of the same width.
    """
    n, m = len(one), len(other)
    first, second = one.astype(np.float64), other.astype(np.float64)
    squares = (n - 1) * first.var(0, ddof=1) + (m - 1) * second.var(0, ddof=1)
    variance = np.maximum(squares / (n + m - 2), 1e-12)
    apart = (first.mean(0) - second.mean(0)) ** 2
    return float(max((apart / variance).mean() - 1 / n - 1 / m, 0.0) ** 0.5)


def class_distance(shares: FloatArray, labels: NDArray[Any]) -> float:
    """Return the total variation between predicted class shares and those of labels."""
    known = np.bincount(labels.astype(np.int64), minlength=len(shares)) / len(labels)
    return float(np.abs(shares - known).sum() / 2)


def correlation_table(table: pd.DataFrame, target: str, *, within: str) -> pd.DataFrame:
    """Return Spearman's correlation of everything known without labels with an outcome.

    Returns:
        One row a predictor and series: ``across`` all rows, ``within`` a group; columns
        ``method``, ``series``, ``value``, ``low``, ``high``, ``rows``, ``corpora``.
    """
    rows = []
    for series, group in (("across", ""), ("within", within)):
        for method, column in COLUMNS.items():
            if column in table:
                found = spearman(table, column, target, within=group).row("value", ends="")
                about = {"rows": int(table[column].notna().sum())}
                about["corpora"] = table["corpus"].nunique()
                rows.append({"method": method, "series": series} | found | about)
    return pd.DataFrame(rows)


# -- what was found ---------------------------------------------------------------------------


def _at(related: pd.DataFrame, part: str, series: str = "within") -> dict[str, Interval]:
    rows = related[(related["part"] == part) & (related["series"] == series)]
    return {str(row["method"]): Interval.of(row, "value") for _, row in rows.iterrows()}


def summary(related: pd.DataFrame) -> dict[str, float]:
    """Return the correlations that matter."""
    names = {LOG_RATIO: "fisher", CONFIDENCE: "confidence", STATES: "states", CENTRED: "text"}
    shown = related[related["method"].isin(names)]
    return {
        f"{row.part}_{row.series}_{names[str(row.method)]}": float(row.value)  # type: ignore[arg-type]
        for row in shown.itertuples()
    }


def finding(
    shifts: pd.DataFrame,
    pairs: pd.DataFrame,
    related: pd.DataFrame,
    beyond: Interval,
    settings: DistanceSettings,
) -> tuple[str, str, str]:
    """Return answer, points and details."""
    inside, across = _at(related, "shift"), _at(related, "shift", "across")
    between = _at(related, "transfer")
    fisher, confidence = inside[LOG_RATIO], inside[CONFIDENCE]
    if compare(fisher) != "above":
        claim = "A larger Fisher distance is not shown to mean a larger drop in accuracy"
    elif compare(confidence, fisher.high) == "above":
        claim = "A larger Fisher distance goes with a larger drop, confidence still more"
    else:
        claim = "A larger Fisher distance goes with a larger drop in accuracy"
    answer = (
        f"{claim}: Spearman {fisher.mean:.2f} within a task, {confidence.mean:.2f} by confidence."
    )
    columns = {"drop, within a task": inside, "drop, across tasks": across}
    columns |= {"loss of transfer, one target": between} if between else {}
    rows = [
        {"known without labels": method}
        | {name: f"{found[method]}" if method in found else "" for name, found in columns.items()}
        for method in COLUMNS
        if method in inside or method in between
    ]
    drop = 100 * shifts["drop"]
    details = bullets(
        f"{len(shifts)} shifts of {shifts['task'].nunique()} tasks (by length, cluster of texts "
        f"and class shares), heads of {settings.n} labels. The accuracy falls by {drop.mean():.1f} "
        f"points on average, from {drop.min():.0f} to {drop.max():.0f}.",
        "No distance reads the labels of the shifted texts; each is what the shift adds to the "
        "distance of held-out texts of the same side.",
        f"With confidence held fixed the Fisher distance keeps {beyond}: "
        + ("it adds to confidence." if beyond.low > 0 else "nothing is shown beyond confidence."),
        _transfer(pairs, between),
    )
    note = "Spearman's correlations, 90 % intervals over corpora."
    return answer, blocks(md_table(rows), note), details


def _transfer(pairs: pd.DataFrame, between: dict[str, Interval]) -> str:
    if pairs.empty:
        return "No two of the tasks have the same classes: transfer was not measured."
    better = compare(between[LOG_RATIO]) == "above"
    return (
        f"Transfer: {len(pairs)} pairs of tasks with the same classes and other texts "
        f"({pairs['target'].nunique()} targets). Another task's head costs "
        f"{100 * pairs['loss'].mean():.1f} points against the target's own; the nearer source by "
        f"Fisher distance is {'' if better else 'not shown to be '}the better one."
    )


def draw(
    shifts: pd.DataFrame, pairs: pd.DataFrame, related: pd.DataFrame, settings: DistanceSettings
) -> dict[str, Figure]:
    """Return all figures, ending -> figure; the correlations first."""
    inside = _at(related, "shift")
    note = f"n = {settings.n} labels, {settings.n_embedded} texts an embedding."

    def correlations(part: str, words: dict[str, str], **drawn: Any) -> Figure:
        rows = related[related["part"] == part]
        rows = rows.assign(series=rows["series"].map(words))
        return figures.dots(rows, level=0.0, limits=(-1, 1), **drawn)

    drawn = {
        "": correlations(
            "shift",
            {"across": "all shifts", "within": "within a task"},
            title=f"Drop in accuracy by Fisher distance: Spearman {inside[LOG_RATIO].mean:.2f}; by "
            f"confidence {inside[CONFIDENCE].mean:.2f}",
            caption=f"{len(shifts)} shifts of {shifts['task'].nunique()} tasks. Bars: 90 % "
            f"bootstrap intervals over corpora. {note}",
            label="Spearman with the drop in accuracy",
        ),
        "drops": figures.scatter(
            shifts.assign(group=shifts["kind"]),
            x=("fisher_log_ratio", "log-ratio distance that the shift adds"),
            y=("drop", "drop in accuracy"),
            names=("task", "shift"),
            title="Each shift: its Fisher distance and the drop in accuracy",
            caption=f"One mark a shift. Above the line: accuracy falls. {note}",
            level=0.0,
        ),
    }
    if len(pairs):
        drawn["transfer"] = correlations(
            "transfer",
            {"across": "all pairs", "within": "for one target"},
            title="Loss of another task's head, by distance",
            caption=f"{len(pairs)} pairs with the same classes, other texts. Bars: 90 % bootstrap "
            f"intervals over target corpora. n = {settings.n_transfer}.",
            label="Spearman with the loss in accuracy",
        )
        drawn["pairs"] = figures.scatter(
            pairs.assign(group=pairs["classes"]),
            x=("fisher_log_ratio", "log-ratio distance of the two tasks"),
            y=("loss", "loss against the own head"),
            names=("source", "target"),
            title="Each pair of tasks: distance and what another task's head costs",
            caption="One mark a pair, from source to target. On the line: nothing is lost.",
            level=0.0,
        )
    return drawn


EXPERIMENT = Experiment(
    name="distance",
    question="What does the distance say?",
    motivation="the notes on characterizing encoders: an unlabelled evaluation sample, coverage of "
    "examples; and transfer between tasks",
    settings=DistanceSettings,
    run=run,
)
