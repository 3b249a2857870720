"""Which layer carries the information: for distances, for a head, and in mixes of layers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from charkit.encoders import Encoder, load_encoder
from charkit.errors import DataError, UsageError
from charkit.heads.sweep import sweep
from glue_pilot.embedding_study import KnownTask
from glue_pilot.experiments.base import Bench, Experiment, Found
from glue_pilot.experiments.layers_kinds import study_of
from glue_pilot.experiments.layers_matrices import embed_draw, matrix_table
from glue_pilot.experiments.layers_mixes import MixPlan, mix_table, mixes_of_task
from glue_pilot.experiments.layers_regret import regret_table
from glue_pilot.experiments.layers_words import figures_of, finding_of, summary_of

SHIPPED, SWEPT = "shipped", "swept"


@dataclass(frozen=True)
class LayersSettings:
    """Tasks and sizes of the three parts.

    Attributes:
        encoder: Name of the encoder.
        tasks: Tasks whose distances are compared; empty for all of the folder. Of some, labels
            must be of one kind and texts not shared.
        n: Labelled texts of their samples.
        draws: Samples a task.
        outcomes: Where the scores of heads on every layer come from: ``shipped`` with the
            metamodel, or ``swept`` here over ``tasks``.
        sweep_sizes: Training texts of that sweep; nothing for the shipped ones.
        sweep_seeds: Draws of that sweep.
        mixed: Tasks on which layers are mixed.
        mixed_sizes: Training texts there.
        mixed_draws: Draws a size.
        pool: Texts that these draws are taken from.
        max_length: Most tokens of a text.
        n_eval: Evaluation texts that heads are scored on, at most.
    """

    encoder: str = "minilm"
    tasks: tuple[str, ...] = ()
    n: int = 128
    draws: int = 2
    outcomes: str = SHIPPED
    sweep_sizes: tuple[int, ...] = ()
    sweep_seeds: tuple[int, ...] = ()
    mixed: tuple[str, ...] = (
        "mr", "subj", "trec6", "ag_news", "search_snippets", "glue_cola", "tweeteval_emotion",
        "tweeteval_hate", "clickbait", "stackoverflow_titles", "disaster_tweets", "mag_fields",
    )  # fmt: skip
    mixed_sizes: tuple[int, ...] = (64, 256, 1024)
    mixed_draws: int = 3
    pool: int = 2048
    max_length: int = 128
    n_eval: int = 1000


def run(settings: LayersSettings, bench: Bench) -> Found:
    """Compare layers by distances, by heads, and mixed."""
    if settings.outcomes not in (SHIPPED, SWEPT):
        raise UsageError(f"outcomes: expected {SHIPPED} or {SWEPT}, got {settings.outcomes!r}.")
    if settings.draws < 1 or settings.mixed_draws < 1:
        raise UsageError(
            f"draws: expected at least 1, got {settings.draws} and {settings.mixed_draws}."
        )
    encoder = load_encoder(settings.encoder)
    known = bench.tasks(settings.tasks)
    matrices = _matrices(settings, known, encoder, bench)
    regrets = regret_table(_outcomes(settings, known, encoder, bench))
    mixes = _mixes(settings, bench.tasks(settings.mixed), encoder, bench)
    table = joined(matrices, regrets, mixes)
    last = encoder.n_layers
    figures = figures_of(matrices, regrets, mixes, last=last)
    summary = summary_of(matrices, regrets, mixes, last=last)
    return Found(table, figures, finding_of(matrices, regrets, mixes, last=last), summary)


def _matrices(
    settings: LayersSettings, known: list[KnownTask], encoder: Encoder, bench: Bench
) -> pd.DataFrame:
    study = study_of(
        encoder=settings.encoder,
        n=settings.n,
        draws=settings.draws,
        max_length=settings.max_length,
        n_eval=settings.n_eval,
    )
    study = replace(study, all_heads_up_to=settings.n)  # every layer is asked for, whatever n
    draws = []
    for draw in range(settings.draws):
        bench.progress("embeddings", draw, settings.draws)
        draws.append(embed_draw(study, known, draw, encoder, bench.store))
    bench.progress("embeddings", settings.draws, settings.draws)
    table = matrix_table(draws)
    if table.empty:
        raise DataError(
            "no tasks to compare: expected two with labels of one kind and other texts, and one "
            f"with labels of another kind, got {[k.task.name for k in known]}. Name more tasks."
        )
    return table


def _outcomes(
    settings: LayersSettings, known: list[KnownTask], encoder: Encoder, bench: Bench
) -> pd.DataFrame:
    """Return scores of heads on every layer: shipped with the metamodel, or swept now."""
    if settings.outcomes == SHIPPED:
        from metamodel.predict import SHIPPED as FOLDER

        found = pd.read_parquet(FOLDER / "metadata_outcomes.parquet")
        found = found[found["encoder"] == settings.encoder]
        if settings.tasks:
            found = found[found["task"].isin(settings.tasks)]
        return found
    return sweep(
        [entry.task for entry in known],
        encoder=encoder,
        sizes=settings.sweep_sizes,
        seeds=settings.sweep_seeds,
        controls=(),
        max_length=settings.max_length,
        store=bench.store,
        executor=1,
        progress=bench.progress,
    ).table


def _mixes(
    settings: LayersSettings, known: list[KnownTask], encoder: Encoder, bench: Bench
) -> pd.DataFrame:
    plan = MixPlan(
        sizes=settings.mixed_sizes,
        draws=settings.mixed_draws,
        pool=settings.pool,
        max_length=settings.max_length,
        n_eval=settings.n_eval,
    )
    cells = []
    for done, entry in enumerate(known):
        bench.progress("mixes", done, len(known))
        cells.append(mixes_of_task(entry, plan, encoder, bench.store))
    bench.progress("mixes", len(known), len(known))
    table = mix_table(pd.concat(cells))
    if table.empty:
        raise DataError(
            f"mixes need two tasks at a size: expected sizes below {settings.pool}, got "
            f"{settings.mixed_sizes} for {[k.task.name for k in known]}. Name others."
        )
    return table


def joined(matrices: pd.DataFrame, regrets: pd.DataFrame, mixes: pd.DataFrame) -> pd.DataFrame:
    """Return the three tables as one, column ``part`` first."""
    parts = (
        matrices.drop(columns="resampled").assign(part="distances"),
        regrets.rename(columns={"rule": "method", "regret": "value"}).assign(
            part="heads", measure="regret"
        ),
        mixes.rename(columns={"gain": "value"}).assign(part="mixes", measure="gain"),
    )
    table = pd.concat(parts, ignore_index=True)
    first = ["part", "measure", "metric", "cache_layer", "head_layer", "n", "method", "value"]
    return table[[*first, *(c for c in table.columns if c not in first)]]


EXPERIMENT = Experiment(
    name="layers",
    question="Which layer carries the information?",
    asked_by="the seed on meta-features: vary the layer from where features are cached, and "
    "compare two similar data sets and a dissimilar one",
    settings=LayersSettings,
    run=run,
)
