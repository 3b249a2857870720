"""How fine is the distinction? The same texts under other labels, and kinds of labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd

from charkit.answers.embed import embed_to_store
from charkit.encoders import Encoder, load_encoder
from charkit.errors import UsageError
from glue_pilot.embedding_study import EmbeddingStudy
from glue_pilot.embeddings import options_of
from glue_pilot.experiments.base import Bench, Experiment, Found
from glue_pilot.experiments.distinction_cases import (
    OTHER,
    SAME,
    TEXTS,
    attribute_rows,
    collapse_row,
    kind_rows,
    relabelled_matrices,
    relabelled_rows,
)
from glue_pilot.experiments.distinction_texts import ATTRIBUTES, attributed_texts, labelled_by
from glue_pilot.experiments.dots import dots_figure
from glue_pilot.experiments.samples import (
    CENTRED,
    COSINE,
    LOG_RATIO,
    NORM,
    embedded_samples,
    known_tasks,
    last_embeddings,
    method_matrices,
    study_of,
)
from glue_pilot.relabelled import Relabelled, embed_relabelled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW_BASES = 6
"""From fewer base tasks, or tasks asked of, no verdict is given."""

REAL, GENERATED = "tasks under other labels", "generated attributes"


@dataclass(frozen=True)
class DistinctionSettings:
    """Whose texts get other labels, and which kinds of labels are told apart.

    Attributes:
        encoder: Name of the encoder.
        tasks: The library: centre of the log-ratio distance, source of borrowed labels.
        relabelled: Tasks of it whose texts get other labels.
        kinds: Kinds of labels that are told apart across corpora.
        n: Texts a sample of these.
        seeds: Of generated texts that are labelled by topic, sentiment, acceptability and length.
        n_generated: Generated texts a sample.
        difficulty: Probability that a piece of evidence in a generated text is weak.
        all_heads_up_to: As in the study of embeddings, whose results are used again.
        max_length: Most tokens of a text.
        n_eval: Evaluation texts a task, at most.
    """

    encoder: str = "minilm"
    tasks: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = (
        "trec50",
        "sst5",
        "ag_news",
        "search_snippets",
        "mag_fields",
        "goemotions",
        "stackoverflow_titles",
        "banking77",
    )
    kinds: tuple[str, ...] = ("topic", "sentiment", "acceptability")
    n: int = 512
    seeds: tuple[int, ...] = (1, 2, 3, 4)
    n_generated: int = 128
    difficulty: float = 0.3
    all_heads_up_to: int = 128
    max_length: int = 128
    n_eval: int = 1000


def run(settings: DistinctionSettings, bench: Bench) -> Found:
    """Embed texts under several labels and count which cases are told right.

    Raises:
        UsageError: Nothing is relabelled, or too few texts are generated.
    """
    if not settings.relabelled or not settings.seeds:
        raise UsageError(
            "nothing to tell apart: expected tasks to relabel and seeds of generated texts, got "
            f"{settings.relabelled} and {settings.seeds}."
        )
    encoder = load_encoder(settings.encoder)
    known = known_tasks(settings.tasks, bench)
    study = study_of(settings, (settings.n,), (1,))
    samples = embedded_samples(study, known, encoder, bench)
    library = last_embeddings(samples)
    again = replace(study, relabelled=settings.relabelled, relabelled_sizes=(settings.n,))
    real = embed_relabelled(again, known, encoder, store=bench.store, progress=bench.progress)
    made = embed_attributes(settings, study, encoder, bench)
    parts, ratios = [], {}
    for about, relabelled in ((REAL, real), (GENERATED, made)):
        matrices = relabelled_matrices(relabelled, library)
        named = about == GENERATED
        parts.append(relabelled_rows(relabelled, matrices, about=about, all_pairs=named))
        ratios[about] = collapse_row(relabelled, matrices[LOG_RATIO])
    parts.append(attribute_rows(made, matrices))
    parts.append(
        kind_rows(samples, method_matrices(samples, study, encoder, bench), settings.kinds)
    )
    table = pd.concat(parts, ignore_index=True)
    text = finding(table, ratios, settings)
    return Found(table, draw(table, settings), text, summary(table, ratios))


def embed_attributes(
    settings: DistinctionSettings, study: EmbeddingStudy, encoder: Encoder, bench: Bench
) -> list[Relabelled]:
    """Embed two draws of generated texts under every attribute, once a seed.

    Raises:
        UsageError: There are too few texts.
    """
    n, found = settings.n_generated, []
    planned = [(seed, name) for seed in settings.seeds for name in ATTRIBUTES]
    for done, (seed, name) in enumerate(planned):
        bench.progress("attributes", done, len(planned))
        base, labels = attributed_texts(2 * n, seed=seed, difficulty=settings.difficulty)
        for draw_number in range(2):
            rows = slice(draw_number * n, (draw_number + 1) * n)
            task = labelled_by(base, rows, labels[name])
            embeddings = embed_to_store(
                task,
                encoder,
                head_layers=(encoder.n_layers,),
                options=options_of(study),
                store=bench.store,
                name=f"{base.name}: {name}, draw {draw_number}",
            )
            texts = task.train.text_fingerprint
            found.append(Relabelled(base.name, name, n, draw_number, embeddings, texts))
    bench.progress("attributes", len(planned), len(planned))
    return found


# -- what was found ---------------------------------------------------------------------------


def _row(table: pd.DataFrame, part: str, method: str, texts: str = "") -> pd.Series | None:
    rows = table[(table["part"] == part) & (table["method"] == method) & (table["pair"] == "all")]
    rows = rows[rows["texts"] == texts] if texts else rows
    return rows.iloc[0] if len(rows) else None


def summary(table: pd.DataFrame, ratios: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the shares told right that matter."""
    found = {}
    for part, word in ((REAL, "real"), (GENERATED, "generated")):
        for method, name in ((LOG_RATIO, "log_ratio"), (COSINE, "cosine"), (NORM, "norm")):
            row = _row(table, part, method, SAME)
            if row is not None:
                found[f"{word}_{name}"] = float(row["value"])
        found[f"{word}_ratio"] = ratios[part]["ratio"]
    for method, name in ((LOG_RATIO, "log_ratio"), (CENTRED, "text")):
        row = _row(table, "kinds of labels", method)
        if row is not None:
            found[f"kinds_{name}"] = float(row["value"])
    return found


def draw(table: pd.DataFrame, settings: DistinctionSettings) -> dict[str, Figure]:
    """Return all figures, ending -> figure."""
    shown = table[(table["pair"] == "all") & table["part"].isin((REAL, GENERATED))]
    names = {
        (REAL, SAME): "tasks, the very same texts",
        (REAL, OTHER): "tasks, other texts",
        (GENERATED, SAME): "generated, the very same texts",
        (GENERATED, OTHER): "generated, other texts",
    }
    series = [names[str(p), str(t)] for p, t in zip(shown["part"], shown["texts"], strict=True)]
    real = _row(table, REAL, LOG_RATIO, SAME)
    assert real is not None
    figures = {
        "": dots_figure(
            shown.assign(series=series),
            title=f"Same texts, other labels: {100 * real['value']:.0f} % told right by "
            "log\u2011ratio, none by texts",
            caption="Share of cases where another draw of texts under the same labels is nearer "
            "than other labels. Half is what guessing gives. Bars: 90 % bootstrap intervals over "
            f"base tasks. n = {settings.n} (generated {settings.n_generated}).",
            label="share told right",
            chance=0.5,
            limits=(-0.03, 1.03),
        )
    }
    kinds = table[table["part"].isin(("kinds of labels", "attributes"))]
    if len(kinds):
        words = {"kinds of labels": "kinds of labels, other corpora",
                 "attributes": "generated attributes, other texts"}  # fmt: skip
        figures["kinds"] = dots_figure(
            kinds.assign(series=kinds["part"].map(words)),
            title="Another task of the same kind is nearer than one of another kind",
            caption=f"Kinds: {', '.join(settings.kinds)}; attributes: {', '.join(ATTRIBUTES)}. "
            "Half is what guessing gives. Bars: 90 % bootstrap intervals over corpora or base "
            "tasks.",
            label="share told right",
            chance=0.5,
            limits=(-0.03, 1.03),
        )
    return figures


def finding(
    table: pd.DataFrame, ratios: dict[str, dict[str, float]], settings: DistinctionSettings
) -> str:
    """Return what the table says, in words."""
    words = [
        "A case: an anchor, another draw of texts under the same labels, and other labels of the "
        "anchor's very texts. A distance between texts is nought to the latter and wrong in every "
        "case; guessing is right in half."
    ]
    for part, what in ((REAL, ""), (GENERATED, "generated ")):
        words += _part_words(table, ratios[part], part, what)
    attributes = _row(table, "attributes", LOG_RATIO)
    if attributes is not None:
        words.append(
            "The same attribute in texts drawn anew is nearer than another attribute there in "
            f"{_said(attributes)} of cases (log-ratio): {_verdict(attributes)}."
        )
    kinds = [_row(table, "kinds of labels", m) for m in (LOG_RATIO, COSINE, CENTRED)]
    if all(row is not None for row in kinds):
        ours, cosine, text = kinds
        words.append(
            f"**Kinds of labels** ({', '.join(settings.kinds)}; no two tasks of one corpus): a "
            f"task of the same kind is nearer in {_said(ours)} of cases by log-ratio, "
            f"{_said(cosine)} by Task2Vec's cosine, {_said(text)} by centred text embeddings."
        )
    return " ".join(words)


def _part_words(table: pd.DataFrame, ratio: dict[str, float], part: str, what: str) -> list[str]:
    ours, cosine, norm = (_row(table, part, m, SAME) for m in (LOG_RATIO, COSINE, NORM))
    other, texts = _row(table, part, LOG_RATIO, OTHER), _row(table, part, TEXTS, SAME)
    assert ours is not None
    assert texts is not None
    words = [
        f"**On {ours['bases']} {what}base tasks** ({ours['cases']} cases): {_said(ours)} told "
        f"right with the log-ratio distance, {_said(cosine)} with Task2Vec's cosine, {_said(norm)} "
        f"with norms alone, {100 * texts['value']:.0f} % with texts. By log-ratio: "
        f"{_verdict(ours)}.",
        f"Of other texts of the same source: {_said(other)}. Other labels of the very same texts "
        f"lie {ratio['ratio']:.2f} times as far as another draw under the same labels "
        f"({ratio['ratio_low']:.2f} to {ratio['ratio_high']:.2f}).",
    ]
    pairs = table[
        (table["part"] == part)
        & (table["method"] == LOG_RATIO)
        & (table["texts"] == SAME)
        & (table["pair"] != "all")
    ]
    if len(pairs) > 1:
        hard = pairs.iloc[int(pairs["value"].argmin())]
        words.append(f"Hardest labels to tell apart: {hard['pair']} ({_said(hard)}).")
    return words


def _verdict(row: pd.Series) -> str:
    if row["bases"] < FEW_BASES:
        return f"from {row['bases']} base tasks only, so the interval says little"
    if row["low"] > 0.5:
        return "better than guessing"
    return "worse than guessing" if row["high"] < 0.5 else "not shown to be better than guessing"


def _said(row: pd.Series | None) -> str:
    assert row is not None
    return f"{100 * row['value']:.0f} % ({100 * row['low']:.0f} to {100 * row['high']:.0f})"


EXPERIMENT = Experiment(
    name="distinction",
    question="How fine is the distinction?",
    asked_by="the notes on Task2Vec, third experiment: topic classification against sentiment",
    settings=DistinctionSettings,
    run=run,
)
