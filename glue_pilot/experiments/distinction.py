"""How fine is the distinction? The same texts under other labels, and kinds of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from charkit.encoders import Encoder, load_encoder
from charkit.errors import UsageError
from charkit.fisher import TaskEmbedding, pairwise
from charkit.fisher.distances.pairwise import MIN_REFERENCE
from glue_pilot import figures
from glue_pilot.experiments.base import (
    Experiment,
    Workspace,
    embedded_samples,
    known_tasks,
    study_of,
)
from glue_pilot.findings import Finding, blocks, bullets, md_table
from glue_pilot.matrices import (
    CENTRED,
    COSINE,
    FISHER_METRICS,
    LOG_RATIO,
    NORM,
    FloatArray,
    last_embeddings,
    method_matrices,
    norm_matrix,
)
from glue_pilot.relabelled import (
    ATTRIBUTES,
    Relabelled,
    attributed_texts,
    embed_labelling,
    embed_relabelled,
    labelled_by,
    relabelled_cases,
)
from glue_pilot.samples import Sample, label_word
from glue_pilot.stats import Interval, Labelled, compare, resampled, resampled_median, separation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REAL, GENERATED = "tasks under other labels", "generated attributes"
KINDS, ATTRIBUTE = "kinds of labels", "attributes"
TEXTS = "text, any distance"
SAME, OTHER = "the very same texts", "other texts of the same source"
FEW_BASES = 6
"""From fewer base tasks, or tasks asked of, no verdict is given: a 90 % bootstrap interval of 5
means covers about 80 %."""


@dataclass(frozen=True)
class DistinctionSettings:
    """Whose texts get other labels, and which kinds of labels are compared.

    Attributes:
        encoder: Name of the encoder.
        tasks: The library: centre of the log-ratio distance, source of borrowed labels.
        relabelled: Tasks of it whose texts get other labels.
        kinds: Kinds of labels that are compared across corpora.
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
        "trec50", "sst5", "ag_news", "search_snippets", "mag_fields", "goemotions",
        "stackoverflow_titles", "banking77",
    )  # fmt: skip
    kinds: tuple[str, ...] = ("topic", "sentiment", "acceptability")
    n: int = 512
    seeds: tuple[int, ...] = (1, 2, 3, 4)
    n_generated: int = 128
    difficulty: float = 0.3
    all_heads_up_to: int = 128
    max_length: int = 128
    n_eval: int = 1000


def run(settings: DistinctionSettings, workspace: Workspace) -> Finding:
    """Embed texts under several labels and count which cases are ordered rightly.

    Raises:
        UsageError: Nothing is relabelled, or too few texts are generated.
    """
    if not settings.relabelled or not settings.seeds:
        raise UsageError(
            "nothing to compare: expected tasks to relabel and seeds of generated texts, got "
            f"{settings.relabelled} and {settings.seeds}."
        )
    encoder = load_encoder(settings.encoder)
    known = known_tasks(settings.tasks, workspace)
    study = study_of(settings, (settings.n,), (1,))
    samples = embedded_samples(study, known, encoder, workspace)
    real = embed_relabelled(
        study, settings.relabelled, known, encoder, store=workspace.store,
        progress=workspace.progress,
    )  # fmt: skip
    made = embed_attributes(settings, encoder, workspace)
    parts, ratios = [], {}
    for about, relabelled in ((REAL, real), (GENERATED, made)):
        matrices = relabelled_matrices(relabelled, last_embeddings(samples))
        named = about == GENERATED
        parts.append(relabelled_rows(relabelled, matrices, about=about, all_pairs=named))
        ratios[about] = collapse(relabelled, matrices[LOG_RATIO])
    parts.append(attribute_rows(made, matrices))
    every = method_matrices(samples, study, encoder, workspace.store)
    parts.append(kind_rows(samples, every, settings.kinds))
    table = pd.concat(parts, ignore_index=True)
    words = finding(table, ratios, settings)
    return Finding(table, draw(table, settings), *words, summary(table, ratios))


# -- generated texts with several attributes --------------------------------------------------


def embed_attributes(
    settings: DistinctionSettings, encoder: Encoder, workspace: Workspace
) -> list[Relabelled]:
    """Embed two draws of generated texts under every attribute, once a seed.

    Raises:
        UsageError: There are too few texts.
    """
    n, found = settings.n_generated, []
    study = replace(study_of(settings, (n,), (2,)), all_heads_up_to=0)
    planned = [(seed, name) for seed in settings.seeds for name in ATTRIBUTES]
    for done, (seed, name) in enumerate(planned):
        workspace.progress("attributes", done, len(planned))
        base, labels = attributed_texts(2 * n, seed=seed, difficulty=settings.difficulty)
        for k in range(2):
            task = labelled_by(base, np.arange(k * n, (k + 1) * n), labels[name], 2)
            named = (base.name, name, n, k)
            found.append(embed_labelling(study, task, encoder, named, store=workspace.store))
    workspace.progress("attributes", len(planned), len(planned))
    return found


# -- tables -----------------------------------------------------------------------------------


def relabelled_matrices(
    relabelled: Sequence[Relabelled], library: Sequence[TaskEmbedding]
) -> dict[str, FloatArray]:
    """Return distances between samples of texts under several labellings, by method.

    Args:
        relabelled: All of one size.
        library: What ``log_ratio`` takes its centre from; too small a one is not used.
    """
    last = max(relabelled[0].embeddings)
    embeddings = [r.embeddings[last] for r in relabelled]
    reference = list(library) if len(library) >= MIN_REFERENCE else None
    found = {
        name: pairwise(embeddings, metric=metric, reference=reference).to_numpy()
        for name, metric in FISHER_METRICS.items()
    }
    found[NORM] = norm_matrix(embeddings)[1]
    texts = np.array([r.text_fingerprint for r in relabelled])
    found[TEXTS] = (texts[:, None] != texts).astype(np.float64)
    return found


def relabelled_rows(
    relabelled: Sequence[Relabelled],
    matrices: dict[str, FloatArray],
    *,
    about: str,
    all_pairs: bool = False,
) -> pd.DataFrame:
    """Return shares of cases ordered rightly: a row a method, pair of labellings, kind of texts.

    Args:
        relabelled: In the order of the matrices.
        matrices: From `relabelled_matrices`.
        about: What the rows are of, for the column ``part``.
        all_pairs: Name both labellings of a pair; else their kind, as in `relabelled_cases`.

    Returns:
        Columns ``part``, ``texts``, ``pair``, ``method``, ``value``, ``low``, ``high``
        (bootstrap over base tasks), ``bases``, ``cases``, ``worst`` (of a base task).
    """
    rows = []
    for method, matrix in matrices.items():
        cases = pd.DataFrame(list(relabelled_cases(matrix, relabelled)))
        if all_pairs:
            cases["pair"] = cases["labellings"]
        for pair in ["all", *sorted(cases["pair"].unique())]:
            kept = cases if pair == "all" else cases[cases["pair"] == pair]
            shares = kept.groupby("base")[["same_texts", "other_texts"]].mean()
            for texts, column in ((SAME, "same_texts"), (OTHER, "other_texts")):
                values = shares[column].to_numpy(np.float64)
                found = resampled(values, [str(base) for base in shares.index])
                rows.append(
                    {"part": about, "texts": texts, "pair": pair, "method": method}
                    | found.row("value", ends="")
                    | {"bases": len(shares), "cases": len(kept), "worst": float(values.min())}
                )
    return pd.DataFrame(rows)


def collapse(relabelled: Sequence[Relabelled], matrix: FloatArray) -> Interval:
    """Return how far other labels of the very same texts are, in units of another draw.

    The median over base tasks of (median distance to other labels of the same texts) / (median
    distance to the other draw under the same labels), base tasks drawn with replacement.
    """
    base, labels = (np.array([getattr(r, k) for r in relabelled]) for k in ("base", "labelling"))
    draws = np.array([r.draw for r in relabelled])
    same_draw, same_label = draws[:, None] == draws, labels[:, None] == labels
    names = list(dict.fromkeys(base.tolist()))
    ratios = []
    for name in names:
        own = (base == name)[:, None] & (base == name)
        apart, drawn = (matrix[own & m] for m in (same_draw & ~same_label, ~same_draw & same_label))
        ratios.append(float(np.median(apart) / max(float(np.median(drawn)), 1e-300)))
    return resampled_median(pd.Series(ratios), pd.Series(range(len(names))), n_resamples=2000)


def kind_rows(
    samples: Sequence[Sample], matrices: dict[str, FloatArray], kinds: Sequence[str]
) -> pd.DataFrame:
    """Return how often a task of the same kind of label is nearer than one of another kind.

    All three tasks are of different corpora. A task is an anchor if another corpus has its kind.

    Returns:
        As `relabelled_rows`; bootstrap over the anchors' corpora. No rows where no kind is in two
        corpora while another is there.
    """
    words = np.array([label_word(s.known.label_kind) for s in samples])
    corpora = np.array([s.known.corpus for s in samples])
    chosen = np.isin(words, list(kinds))
    rows = []
    for method, matrix in matrices.items():
        shares, owners, n_cases = [], [], 0
        for a in np.flatnonzero(chosen):
            free = chosen & (corpora != corpora[a])
            near, far = matrix[a, free & (words == words[a])], matrix[a, free & (words != words[a])]
            if len(near) and len(far):
                shares.append(separation(near, far))
                owners.append(str(corpora[a]))
                n_cases += len(near) * len(far)
        if shares:
            values = np.array(shares)
            found = resampled(values, owners)
            rows.append(
                {"part": KINDS, "texts": "other corpora", "pair": "all", "method": method}
                | found.row("value", ends="")
                | {"bases": len(set(owners)), "cases": n_cases, "worst": float(values.min())}
            )
    return pd.DataFrame(rows)


def attribute_rows(
    relabelled: Sequence[Relabelled], matrices: dict[str, FloatArray]
) -> pd.DataFrame:
    """Return how often the same attribute of OTHER texts is nearer than another attribute there.

    Anchor and candidates are of different base tasks: no text is shared, the grammar is.

    Returns:
        As `relabelled_rows`; bootstrap over base tasks.
    """
    bases = np.array([r.base for r in relabelled])
    labels = np.array([r.labelling for r in relabelled])
    rows = []
    for method, matrix in matrices.items():
        if method == TEXTS:
            continue
        shares = []
        for a in range(len(relabelled)):
            there = bases != bases[a]
            near, far = (
                matrix[a, there & (labels == labels[a])],
                matrix[a, there & (labels != labels[a])],
            )
            if len(near) and len(far):
                shares.append((bases[a], separation(near, far), len(near) * len(far)))
        if shares:
            table = pd.DataFrame(shares, columns=["base", "share", "cases"])
            by_base = table.groupby("base")["share"].mean()
            found = resampled(by_base.to_numpy(np.float64), [str(b) for b in by_base.index])
            rows.append(
                {"part": ATTRIBUTE, "texts": "other base tasks", "pair": "all", "method": method}
                | found.row("value", ends="")
                | {"bases": len(by_base), "cases": int(table["cases"].sum())}
                | {"worst": float(by_base.min())}
            )
    return pd.DataFrame(rows)


# -- what was found ---------------------------------------------------------------------------


def _rows(table: pd.DataFrame, part: str, texts: str, pair: str = "all") -> Labelled:
    chosen = (table["part"] == part) & (table["pair"] == pair)
    return table[chosen & (table["texts"] == texts)].set_index("method")


_SHOWN = (
    (REAL, SAME, "tasks, the very same texts"),
    (REAL, OTHER, "tasks, other texts"),
    (GENERATED, SAME, "generated, the very same texts"),
    (GENERATED, OTHER, "generated, other texts"),
    (ATTRIBUTE, "other base tasks", "generated attributes, texts drawn anew"),
    (KINDS, "other corpora", "kinds of labels, other corpora"),
)


def summary(table: pd.DataFrame, ratios: dict[str, Interval]) -> dict[str, float]:
    """Return the shares of cases ordered rightly that matter."""
    found = {}
    for part, word in ((REAL, "real"), (GENERATED, "generated")):
        rows = _rows(table, part, SAME)["value"]
        for method, name in ((LOG_RATIO, "log_ratio"), (COSINE, "cosine"), (NORM, "norm")):
            found[f"{word}_{name}"] = float(rows[method])
        found[f"{word}_ratio"] = ratios[part].mean
    kinds = _rows(table, KINDS, "other corpora")["value"]
    for method, name in ((LOG_RATIO, "log_ratio"), (CENTRED, "text")):
        if method in kinds:
            found[f"kinds_{name}"] = float(kinds[method])
    return found


def finding(
    table: pd.DataFrame, ratios: dict[str, Interval], settings: DistinctionSettings
) -> tuple[str, str, str]:
    """Return answer, points and details."""
    main = _rows(table, REAL, SAME)
    ours = Interval.of(main.loc[LOG_RATIO], "value")
    answer = (
        "With the same texts under other labels, the log-ratio distance finds the same labels "
        f"nearer in {ours:.0%} of cases{_verdict(main.loc[LOG_RATIO])}; a distance of texts in "
        f"{main.loc[TEXTS, 'value']:.0%}."
    )
    names = {LOG_RATIO: "log-ratio", COSINE: "Task2Vec's cosine", NORM: "norm", CENTRED: "texts",
             TEXTS: "texts"}  # fmt: skip
    shown = []
    for part, texts, words in _SHOWN:
        rows = _rows(table, part, texts)
        cells = {"question": words}
        for method, name in names.items():
            if method in rows.index:
                cells[name] = f"{Interval.of(rows.loc[method], 'value'):.0%}"
        if len(rows):
            shown.append(cells | {"base tasks": f"{rows['bases'].iloc[0]}"})
    note = "Share of cases ordered rightly (guessing: half), 90 % intervals over base tasks."
    return answer, blocks(md_table(shown), note), _details(table, ratios, settings)


def _details(
    table: pd.DataFrame, ratios: dict[str, Interval], settings: DistinctionSettings
) -> str:
    items = [
        "A case: an anchor, another draw of texts under the same labels, and other labels of the "
        "anchor's very texts. A distance between texts is zero to the latter, and wrong in every "
        "case."
    ]
    for part, what in ((REAL, "tasks"), (GENERATED, "generated texts")):
        pairs = table[(table["part"] == part) & (table["method"] == LOG_RATIO)]
        pairs = pairs[(pairs["texts"] == SAME) & (pairs["pair"] != "all")]
        row = _rows(table, part, SAME).loc[LOG_RATIO]
        hard = pairs.iloc[int(pairs["value"].argmin())] if len(pairs) > 1 else None
        items += [
            f"On {what} ({row['cases']} cases), other labels of the very same texts are "
            f"{ratios[part]} times as far as another draw under the same labels.",
            f"Hardest labels on {what}: {hard['pair']} ({Interval.of(hard, 'value'):.0%})."
            if hard is not None
            else "",
            f"From {row['bases']} base tasks the interval shows little."
            if row["bases"] < FEW_BASES
            else "",
        ]
    items.append(f"Kinds: {', '.join(settings.kinds)}; no two tasks of one corpus are compared.")
    return bullets(*items)


def _verdict(row: pd.Series) -> str:
    if row["bases"] < FEW_BASES:
        return f" (from {row['bases']} base tasks only)"
    words = {"above": "better than guessing", "below": "worse than guessing"}
    found = compare(Interval.of(row, "value"), 0.5)
    return f", {words.get(found, 'not shown to be better than guessing')}"


def draw(table: pd.DataFrame, settings: DistinctionSettings) -> dict[str, Figure]:
    """Return all figures, ending -> figure."""
    real = _rows(table, REAL, SAME).loc[LOG_RATIO, "value"]
    columns = ["method", "series", "value", "low", "high"]

    def rows(shown: tuple[tuple[str, str, str], ...]) -> pd.DataFrame:
        parts = [
            _rows(table, part, texts).reset_index().assign(series=words)
            for part, texts, words in shown
        ]
        return pd.DataFrame(pd.concat(parts, ignore_index=True), columns=columns)

    note = "Half is what guessing gives. Bars: 90 % bootstrap intervals over"
    drawn = {
        "": figures.dots(
            rows(_SHOWN[:4]),
            title=f"Same texts, other labels: {100 * real:.0f} % ordered rightly by "
            "log\u2011ratio, none by texts",
            caption="Share of cases where another draw of texts under the same labels is nearer "
            f"than other labels. {note} base tasks. n = {settings.n} (generated "
            f"{settings.n_generated}).",
            label="share of cases ordered rightly",
            level=0.5,
            limits=(-0.03, 1.03),
        )
    }
    kinds = rows(_SHOWN[4:])
    if len(kinds):
        drawn["kinds"] = figures.dots(
            kinds,
            title="Another task of the same kind is nearer than one of another kind",
            caption=f"Kinds: {', '.join(settings.kinds)}; attributes: {', '.join(ATTRIBUTES)}. "
            f"{note} corpora or base tasks.",
            label="share of cases ordered rightly",
            level=0.5,
            limits=(-0.03, 1.03),
        )
    return drawn


EXPERIMENT = Experiment(
    name="distinction",
    question="How fine is the distinction?",
    motivation="the notes on Task2Vec, third experiment: topic classification against sentiment",
    settings=DistinctionSettings,
    run=run,
)
