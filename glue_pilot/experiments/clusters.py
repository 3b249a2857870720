"""Do embeddings cluster as expected? By domain and by kind of label, beside text embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from charkit.encoders import load_encoder
from charkit.errors import UnknownNameError, UsageError
from glue_pilot.embeddings import Sample
from glue_pilot.experiments.base import Bench, Experiment, Found
from glue_pilot.experiments.clusters_figures import draw
from glue_pilot.experiments.clusters_scores import (
    MEASURES,
    FloatArray,
    IntArray,
    agreement,
    by_chance,
    draw_fives,
    fives_by_chance,
    interval_of,
    is_told,
    jackknife,
    kept_sets,
)
from glue_pilot.experiments.samples import (
    CENTRED,
    COSINE,
    LOG_RATIO,
    embedded_samples,
    known_tasks,
    method_matrices,
    study_of,
)
from glue_pilot.science_tables import label_word

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROUPINGS = {"label": "kind of label", "domain": "domain"}
FIVES = "told"


@dataclass(frozen=True)
class ClusterSettings:
    """Which tasks are clustered, and how.

    Attributes:
        encoder: Name of the encoder.
        tasks: Names or sources; empty for all of the folder.
        similar: Three of them that are alike, shown as an example.
        dissimilar: Two that are not.
        n: Labelled texts a task.
        all_heads_up_to: As in the study of embeddings, whose results are used again.
        max_length: Most tokens of a text.
        n_eval: Evaluation texts a task, at most.
        n_permuted: How often names are swapped for the level of chance.
        n_resamples: How often tasks are left out for the intervals.
        fives_each: Fives a three of similar tasks.
    """

    encoder: str = "minilm"
    tasks: tuple[str, ...] = ()
    similar: tuple[str, ...] = ("mr", "imdb_small", "yelp_small")
    dissimilar: tuple[str, ...] = ("trec6", "chemprot")
    n: int = 512
    all_heads_up_to: int = 128
    max_length: int = 128
    n_eval: int = 1000
    n_permuted: int = 500
    n_resamples: int = 200
    fives_each: int = 60


def run(settings: ClusterSettings, bench: Bench) -> Found:
    """Cluster the tasks by every method and score the clusterings.

    Raises:
        UsageError: There are not three similar and two dissimilar tasks, or too few alike.
    """
    if len(settings.similar) != 3 or len(settings.dissimilar) != 2:
        raise UsageError(
            "the example is three similar and two dissimilar tasks: expected 3 and 2 names, got "
            f"{settings.similar} and {settings.dissimilar}."
        )
    encoder = load_encoder(settings.encoder)
    study = study_of(settings, (settings.n,), (1,))
    known = known_tasks(settings.tasks, bench)
    samples = embedded_samples(study, known, encoder, bench)
    matrices = method_matrices(samples, study, encoder, bench)
    example = [
        _place(samples, name, settings.tasks) for name in (*settings.similar, *settings.dissimilar)
    ]
    apart = one_per_corpus(samples)
    bench.progress("clusters", 0, len(GROUPINGS))
    parts = []
    for done, grouping in enumerate(GROUPINGS):
        parts.append(score_table(samples, matrices, apart, grouping, settings))
        bench.progress("clusters", done + 1, len(GROUPINGS))
    table = pd.concat(parts, ignore_index=True)
    if table.empty:
        raise UsageError(
            "nothing to find again: expected at least two groups of two tasks from other corpora "
            f"each, got none among {len(apart)} corpora. Name more tasks."
        )
    told = example_table(matrices, example)
    table = table.merge(told, on="method")
    rows = {m: _shown(table, m) for m in ("ari", FIVES)}
    figures: dict[str, Figure] = draw(samples, matrices, rows, settings, title=_title(table))
    return Found(table, figures, finding(table, settings, len(samples)), summary(table))


def _place(samples: Sequence[Sample], name: str, sources: Sequence[str]) -> int:
    """Return the place of a task, named as it calls itself or as it was asked for."""
    names = [s.known.task.name for s in samples]
    if name in names:
        return names.index(name)
    if name in sources:
        return list(sources).index(name)
    raise UnknownNameError("task of the example", name, names)


def one_per_corpus(samples: Sequence[Sample]) -> IntArray:
    """Return the places of the first task of each corpus: no two of them share texts."""
    corpora = pd.Series([s.known.corpus for s in samples])
    return np.flatnonzero(~corpora.duplicated())


def words_of(samples: Sequence[Sample], grouping: str) -> list[str]:
    """Return each task's domain, or its kind of label."""
    if grouping == "domain":
        return [s.known.domain for s in samples]
    return [label_word(s.known.label_kind) for s in samples]


def score_table(
    samples: Sequence[Sample],
    matrices: dict[str, FloatArray],
    apart: IntArray,
    grouping: str,
    settings: ClusterSettings,
) -> pd.DataFrame:
    """Score every method against one grouping; tasks alone in their group are left out.

    Returns:
        One row a method: ``grouping``, ``tasks``, ``groups``, each measure with ``_low``,
        ``_high``, ``_chance`` (mean of permutations), ``_p``, and its gain over centred text
        embeddings; ``told``: the share of fives where the three alike join first.
    """
    words = np.array(words_of(samples, grouping))
    other = np.array(words_of(samples, "label" if grouping == "domain" else "domain"))
    counts = pd.Series(words[apart]).value_counts()
    kept = np.array([p for p in apart if words[p] and counts[words[p]] > 1], np.int64)
    if len(set(words[kept])) < 2:
        return pd.DataFrame()
    fives = draw_fives(words[apart].tolist(), other[apart].tolist(), most=settings.fives_each)
    rows = []
    rival = matrices[CENTRED][np.ix_(kept, kept)]
    for method, matrix in matrices.items():
        inside = matrix[np.ix_(kept, kept)]
        row = {"grouping": grouping, "method": method, "tasks": len(kept)}
        row |= {"groups": len(set(words[kept])), "fives": len(fives)}
        row |= _agreement(inside, rival, words[kept], settings)
        rows.append(row | _fives(matrix[np.ix_(apart, apart)], fives, settings))
    return pd.DataFrame(rows)


def _agreement(
    distances: FloatArray, rival: FloatArray, words: FloatArray, settings: ClusterSettings
) -> dict[str, float]:
    swapped = by_chance(distances, words.tolist(), n_permuted=settings.n_permuted)
    sets = [np.arange(len(words)), *kept_sets(len(words), n_resamples=settings.n_resamples)]
    ours, theirs = (
        pd.DataFrame([agreement(m[np.ix_(k, k)], words[k].tolist()) for k in sets])
        for m in (distances, rival)
    )
    row: dict[str, float] = {}
    for measure in MEASURES:
        values = ours[measure].to_numpy(np.float64)
        gains = values - theirs[measure].to_numpy(np.float64)
        for name, scored in ((measure, values), (f"{measure}_gain", gains)):
            found = interval_of(float(scored[0]), scored[1:], len(words))
            row |= {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}
        reached = (swapped[measure] >= values[0]).sum()
        row[f"{measure}_chance"] = float(swapped[measure].mean())
        row[f"{measure}_p"] = float((1 + reached) / (1 + len(swapped)))
    return row


def _fives(distances: FloatArray, fives: IntArray, settings: ClusterSettings) -> dict[str, float]:
    told = np.array([is_told(distances[np.ix_(five, five)]) for five in fives], np.float64)

    def share(kept: IntArray) -> float:
        inside = np.isin(fives, kept).all(1)
        return float(told[inside].mean()) if inside.any() else float("nan")

    if not len(fives):
        return {FIVES + end: float("nan") for end in ("", "_low", "_high", "_chance")}
    found = jackknife(share, len(distances), n_resamples=settings.n_resamples)
    chance = fives_by_chance(distances, n_draws=4 * settings.n_permuted)
    return {
        FIVES: found.mean,
        f"{FIVES}_low": max(0.0, found.low),
        f"{FIVES}_high": min(1.0, found.high),
        f"{FIVES}_chance": chance,
    }


def example_table(matrices: dict[str, FloatArray], example: Sequence[int]) -> pd.DataFrame:
    """Return, for each method, whether the three of the example join first."""
    return pd.DataFrame(
        {"method": name, "example": float(is_told(m[np.ix_(example, example)]))}
        for name, m in matrices.items()
    )


def _shown(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    part = table[["method", "grouping", measure, f"{measure}_low", f"{measure}_high"]]
    named = part.set_axis(["method", "series", "value", "low", "high"], axis=1)
    return named.assign(series=named["series"].map(GROUPINGS))


def _row(table: pd.DataFrame, grouping: str, method: str) -> pd.Series | None:
    part = table[(table["grouping"] == grouping) & (table["method"] == method)]
    return part.iloc[0] if len(part) else None


def summary(table: pd.DataFrame) -> dict[str, float]:
    """Return the adjusted Rand index of the methods that matter, by grouping."""
    found = {}
    for name, method in (("log_ratio", LOG_RATIO), ("cosine", COSINE), ("text", CENTRED)):
        for grouping in GROUPINGS:
            row = _row(table, grouping, method)
            if row is not None:
                found[f"ari_{grouping}_{name}"] = float(row["ari"])
                found[f"told_{grouping}_{name}"] = float(row[FIVES])
    return found


def _title(table: pd.DataFrame) -> str:
    words = []
    for grouping, name in GROUPINGS.items():
        ours, text = (_row(table, grouping, m) for m in (LOG_RATIO, CENTRED))
        if ours is not None and text is not None:
            words.append(f"{ours['ari']:.2f} by {name} (texts {text['ari']:.2f})")
    return "Rand index of clusters: " + ", ".join(words)


# -- what was found ---------------------------------------------------------------------------


def finding(table: pd.DataFrame, settings: ClusterSettings, n_tasks: int) -> str:
    """Return what the table says, in words."""
    words = [
        f"{n_tasks} tasks, {settings.n:,} labelled texts each, clustered by average linkage and "
        "cut into as many clusters as there are groups. Only one task a corpus is scored, and "
        "only groups of two tasks or more."
    ]
    for grouping in GROUPINGS:
        rows = [_row(table, grouping, m) for m in (LOG_RATIO, COSINE, CENTRED)]
        if all(row is not None for row in rows):
            words += _grouping_words(grouping, *rows)  # type: ignore[arg-type]
    words.append(_example_words(table, settings))
    return " ".join(words)


def _grouping_words(
    grouping: str, ours: pd.Series, task2vec: pd.Series, text: pd.Series
) -> list[str]:
    above = "above" if ours["ari_p"] <= 0.05 else "not shown to be above"
    words = [
        f"**By {GROUPINGS[grouping]}** ({ours['tasks']} tasks, {ours['groups']} groups): the "
        f"adjusted Rand index is {_interval(ours, 'ari')} with the log-ratio distance, "
        f"{_interval(task2vec, 'ari')} with Task2Vec's cosine and {_interval(text, 'ari')} with "
        f"centred text embeddings; chance gives 0, and the log-ratio distance is {above} it "
        f"(permutations: p = {ours['ari_p']:.3f}).",
        f"Purity {ours['purity']:.2f}, {task2vec['purity']:.2f} and {text['purity']:.2f}, by "
        f"chance {ours['purity_chance']:.2f}.",
        f"Log-ratio less text: {_gain_words(ours, 'ari')}.",
        "Without a cut, of two pairs, one inside a group and one across, the inside one is the "
        f"nearer in {_interval(ours, 'separation')}, {_interval(task2vec, 'separation')} and "
        f"{_interval(text, 'separation')} of all cases (chance 0.50); log-ratio less text "
        f"{_gain_words(ours, 'separation')}.",
    ]
    if ours["fives"]:
        words.append(
            f"Of five tasks, three of one {GROUPINGS[grouping]} and two of others, the three join "
            f"first in {_share(ours)} of {ours['fives']:,} cases, {_share(task2vec)} and "
            f"{_share(text)}; of any five in {100 * ours['told_chance']:.0f} %."
        )
    return words


def _gain_words(row: pd.Series, measure: str) -> str:
    gain, low, high = (row[f"{measure}_gain{end}"] for end in ("", "_low", "_high"))
    verdict = "no difference is shown"
    if low > 0:
        verdict = "the Fisher distance does better"
    elif high < 0:
        verdict = "texts do better"
    return f"{gain:+.2f} ({low:+.2f} to {high:+.2f}): {verdict}"


def _interval(row: pd.Series, name: str) -> str:
    return f"{row[name]:.2f} ({row[f'{name}_low']:.2f} to {row[f'{name}_high']:.2f})"


def _share(row: pd.Series) -> str:
    low, high = 100 * row["told_low"], 100 * row["told_high"]
    return f"{100 * row['told']:.0f} % ({low:.0f} to {high:.0f})"


def _example_words(table: pd.DataFrame, settings: ClusterSettings) -> str:
    told = table.drop_duplicates("method").set_index("method")["example"]
    right = [name for name in (LOG_RATIO, COSINE, CENTRED) if told[name] == 1]
    three, two = ", ".join(settings.similar), ", ".join(settings.dissimilar)
    by = "by " + ", ".join(right) if right else "by none of these methods"
    return f"The example ({three}; against {two}) comes out as expected {by}."


EXPERIMENT = Experiment(
    name="clusters",
    question="Do embeddings cluster as expected?",
    asked_by="the notes on Task2Vec, second experiment: three similar and two dissimilar datasets",
    settings=ClusterSettings,
    run=run,
)
