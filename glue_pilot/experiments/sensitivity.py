"""How sensitive is the embedding to hyper-parameters, against what tasks differ in?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.embed import embed_kept
from charkit.encoders import Encoder, load_encoder
from charkit.errors import DataError, UsageError
from charkit.fisher import FisherOptions, TaskEmbedding
from charkit.fisher.distance_formulas import FORMULAS, Frame, log_shares
from charkit.fisher.distances import EPSILON, raised
from charkit.store import Store
from glue_pilot.embedding_study import EmbeddingStudy, KnownTask, draw_sample
from glue_pilot.embeddings import embed_sample, options_of
from glue_pilot.experiments.base import Bench, Experiment, Found
from glue_pilot.experiments.classifier_heads import embed_under
from glue_pilot.experiments.layers_kinds import study_of
from glue_pilot.experiments.sensitivity_heads import RULES, rule_head
from glue_pilot.experiments.sensitivity_parts import shares_of
from glue_pilot.experiments.sensitivity_words import (
    METRICS,
    SAMPLE,
    figures_of,
    finding_of,
    summary_of,
)
from glue_pilot.siblings import resampled

FloatArray = NDArray[np.float64]

BASE = "base"


@dataclass(frozen=True)
class SensitivitySettings:
    """What is varied, one thing at a time; all else stays at the base setting.

    The base: sample 0, softmax head on the last layer with its L2 strength chosen by left-out
    loss, mean pooling, ``max_length`` tokens, the estimator ``sketch`` with seed 0.

    Attributes:
        encoder: Name of the encoder.
        tasks: Classification tasks.
        n: Labelled texts a sample.
        samples: Samples a task; they share no text.
        penalties: L2 strengths times n.
        poolings: Other poolings.
        lengths: Other limits of a text, in tokens.
        seeds: Other seeds of the sketch; two classes need no sketch and do not feel them.
        estimators: Other estimators of the Fisher information.
        rules: Other learning rules of the head, of `RULES`.
        max_length: Most tokens of a text at the base setting.
        n_eval: Evaluation texts that heads are scored on, at most.
    """

    encoder: str = "minilm"
    tasks: tuple[str, ...] = (
        "mr", "yelp_small", "ag_news", "search_snippets", "tweeteval_hate", "trec6",
        "glue_cola", "glue_rte",
    )  # fmt: skip
    n: int = 128
    samples: int = 3
    penalties: tuple[float, ...] = (10.0, 1.0, 0.1)
    poolings: tuple[str, ...] = ("cls",)
    lengths: tuple[int, ...] = (32, 64)
    seeds: tuple[int, ...] = (1, 2)
    estimators: tuple[str, ...] = ("exact", "monte_carlo", "empirical")
    rules: tuple[str, ...] = RULES
    max_length: int = 128
    n_eval: int = 1000


@dataclass(frozen=True)
class Setting:
    """One way to embed: which thing is varied, and to what.

    Attributes:
        factor: What is varied; ``base`` for nothing.
        level: To what, in words.
        draw: Sample of texts.
        penalty: L2 strength times n; None is chosen by left-out loss.
        rule: Learning rule of the head; empty for softmax.
        options: Pooling, length, estimator, seed.
    """

    factor: str
    level: str
    draw: int
    penalty: float | None
    rule: str
    options: FisherOptions


def settings_of(settings: SensitivitySettings) -> list[Setting]:
    """Return the base setting and every other, one thing varied at a time.

    Raises:
        UsageError: A learning rule or pooling is not known, or there are fewer than two samples.
    """
    if settings.samples < 2 or not set(settings.rules) <= set(RULES):
        raise UsageError(
            f"sensitivity needs two samples and rules of {RULES}: expected samples of at least "
            f"2, got {settings.samples} and {settings.rules}."
        )
    options = options_of(_study(settings))
    base = Setting(BASE, "", 0, None, "", options)
    found = [base]
    found += [
        replace(base, factor=SAMPLE, level=f"draw {k}", draw=k) for k in range(1, settings.samples)
    ]
    found += [
        replace(base, factor="L2 strength", level=f"{p:g} / n", penalty=p)
        for p in settings.penalties
    ]
    found += [replace(base, factor="learning rule", level=r, rule=r) for r in settings.rules]
    changes: list[tuple[str, str, dict[str, Any]]] = [
        *(("pooling", p, {"pooling": p}) for p in settings.poolings),
        *(("maximum length", f"{k} tokens", {"max_length": k}) for k in settings.lengths),
        *(("sketch seed", f"{k}", {"seed": k}) for k in settings.seeds),
        *(("estimator", e.replace("_", " "), {"estimator": e}) for e in settings.estimators),
    ]
    for factor, level, change in changes:
        varied = replace(options, **change)
        found.append(replace(base, factor=factor, level=level, options=varied))
    return found


def _study(settings: SensitivitySettings) -> EmbeddingStudy:
    return study_of(
        encoder=settings.encoder,
        n=settings.n,
        draws=settings.samples,
        max_length=settings.max_length,
        n_eval=settings.n_eval,
    )


def run(settings: SensitivitySettings, bench: Bench) -> Found:
    """Embed all tasks under all settings, and compare."""
    varied = settings_of(settings)
    known = bench.tasks(settings.tasks)
    if len(known) < 3:
        raise UsageError(
            f"sensitivity compares tasks: expected at least 3, got {len(known)}. Name more."
        )
    encoder = load_encoder(settings.encoder)
    rows = []
    for done, entry in enumerate(known):
        bench.progress("tasks", done, len(known))
        rows.append(list(_embedded(settings, varied, entry, encoder, bench.store)))
    bench.progress("tasks", len(known), len(known))
    numbers = np.stack([raised(row, EPSILON) for row in rows])
    table = pd.concat([distance_table(numbers, varied, known), parts_table(numbers, varied)])
    table = table.reset_index(drop=True)
    return Found(
        table,
        figures_of(table),
        finding_of(table, n=settings.n, tasks=len(known)),
        summary_of(table),
    )


# -- embeddings ----------------------------------------------------------------------------


def _embedded(
    settings: SensitivitySettings,
    varied: list[Setting],
    entry: KnownTask,
    encoder: Encoder,
    store: Store,
) -> Iterator[TaskEmbedding]:
    """Yield the embedding of a task under each setting."""
    study, last = _study(settings), encoder.n_layers
    for setting in varied:
        sample = draw_sample(entry.task, n=settings.n, draw=setting.draw, n_eval=settings.n_eval)
        if sample is None or sample.kind != "classification":
            raise DataError(
                f"{entry.task.name} is too small for sensitivity: expected {settings.samples} "
                f"samples of {settings.n} texts with class labels, got {len(entry.task.train)} "
                "texts. Leave it out, or take a smaller n."
            )
        if setting.factor in (BASE, SAMPLE):
            kept = embed_sample(study, entry, sample, settings.n, setting.draw, encoder, store)
            yield kept.embeddings[last]
        elif setting.rule:
            head = rule_head(setting.rule, sample, encoder, setting.options, store)
            yield embed_under(
                head, sample.train, encoder, head_layer=last, options=setting.options,
                store=store, name=entry.task.name,
            )  # fmt: skip
        else:
            strengths = None if setting.penalty is None else (setting.penalty / settings.n,)
            yield embed_kept(
                sample, encoder, options=setting.options, strengths=strengths, store=store,
                name=entry.task.name,
            ).embeddings[last]  # fmt: skip


# -- what is compared ------------------------------------------------------------------------


def distance_table(
    numbers: FloatArray, varied: list[Setting], known: list[KnownTask]
) -> pd.DataFrame:
    """Compare each task under another setting with itself and with the other tasks.

    Args:
        numbers: Embeddings, none with a nought, (tasks, settings, size); the base setting first.
        varied: The settings.
        known: The tasks.

    Returns:
        One row a setting, metric and quantity, with a 90 % interval, tasks drawn by corpus.
        ``ratio``: distance to the same task at the base setting over the mean distance of other
        tasks there; ``nearer``: share of other tasks that are nearer than the task itself;
        ``agreement``: rank correlation of a task's distances to the others with those at the
        base setting.
    """
    t, s, size = numbers.shape
    flat = numbers.reshape(t * s, size)
    frame = Frame(centre=log_shares(numbers[:, 0]).mean(0))
    corpora = [k.corpus for k in known]
    rows = []
    for metric in METRICS:
        matrix = FORMULAS[metric].matrix(flat, frame).reshape(t, s, t, s)
        base = _others(matrix[:, 0, :, 0])
        for place, setting in enumerate(varied[1:], start=1):
            own = matrix[np.arange(t), 0, np.arange(t), place]
            there = _others(matrix[:, place, :, place])
            found = {
                "ratio": own / base.mean(1),
                "nearer": (base < own[:, None]).mean(1),
                "agreement": np.array([_spearman(a, b) for a, b in zip(base, there, strict=True)]),
            }
            for what, values in found.items():
                kept = np.isfinite(values)
                mean = resampled(values[kept], [c for c, k in zip(corpora, kept, strict=True) if k])
                rows.append(
                    {"factor": setting.factor, "level": setting.level, "metric": metric}
                    | {"what": what, "mean": mean.mean, "low": mean.low, "high": mean.high}
                )
    return pd.DataFrame(rows)


def _others(matrix: FloatArray) -> FloatArray:
    """Return each row without its diagonal, (count, count - 1)."""
    count = len(matrix)
    return matrix[~np.eye(count, dtype=bool)].reshape(count, count - 1)


def _spearman(one: FloatArray, other: FloatArray) -> float:
    ranks = pd.DataFrame({"one": one, "other": other}).rank()
    if ranks["one"].nunique() < 2 or ranks["other"].nunique() < 2:
        return float("nan")
    return float(ranks["one"].corr(ranks["other"]))


def parts_table(numbers: FloatArray, varied: list[Setting]) -> pd.DataFrame:
    """Return the shares of variation of log embeddings; see `sensitivity_parts.shares_of`."""
    logs = log_shares(numbers.reshape(-1, numbers.shape[2])).reshape(numbers.shape)
    factors: dict[str, list[int]] = {}
    for place, setting in enumerate(varied[1:], start=1):
        factors.setdefault(setting.factor, [0]).append(place)
    shares = shares_of(logs, factors, sample=SAMPLE)
    shares = shares.rename(columns={"part": "level", "share": "mean"})
    return shares.assign(metric="variance", what="share")


EXPERIMENT = Experiment(
    name="sensitivity",
    question="How sensitive is the embedding to hyper-parameters?",
    asked_by="the seed on meta-features: distances between embeddings of one data set under "
    "other hyper-parameters",
    settings=SensitivitySettings,
    run=run,
)
