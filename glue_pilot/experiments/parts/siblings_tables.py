"""Tables of how distances rank siblings, other draws, and other labels of the same texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from glue_pilot.matrices import (
    CENTRED,
    CLASSES,
    COSINE,
    LOG_RATIO,
    NORM,
    TEXT,
    Choice,
    FloatArray,
    default_choices,
    fisher_matrices,
    norm_matrix,
)
from glue_pilot.relabelled import Relabelled, relabelled_cases
from glue_pilot.samples import Sample, label_word
from glue_pilot.stats import BoolArray, permutation_p, rank_siblings, resampled

RELATIONS = {
    "corpus": "the same corpus",
    "domain": "the same domain, other texts",
    "label": "the same kind of label, other texts",
}
"""Siblings share texts (``corpus``); or the domain, or the kind of label, but no corpus."""

CHANCE, CHOSEN = "chance", "Fisher, chosen"
ANY_TEXT = Choice("text", "any distance of texts")
PAIRS = ("all", "own or borrowed", "half A or B", "length")
_SPELLED = ["family", "metric", "head_layer", "layers"]


def relate(samples: Sequence[Sample], relation: str) -> tuple[BoolArray, BoolArray]:
    """Return which pairs are siblings, and which are candidates.

    Tasks of one corpus share texts; for ``domain`` and ``label`` they are no candidates of each
    other, so that these ask for more than the same texts.
    """
    words = {
        "corpus": [s.known.corpus for s in samples],
        "domain": [s.known.domain for s in samples],
        "label": [label_word(s.known.label_kind) for s in samples],
    }
    names, corpora = np.array(words[relation]), np.array(words["corpus"])
    same = (names[:, None] == names) & ((names != "")[:, None] & (names != ""))
    draws = np.array([s.draw for s in samples])
    candidates = draws[:, None] == draws
    if relation != "corpus":
        same &= corpora[:, None] != corpora
        candidates &= corpora[:, None] != corpora
    np.fill_diagonal(candidates, False)
    return same & candidates, candidates


def _summary(scores: pd.DataFrame, samples: Sequence[Sample]) -> dict[str, float]:
    corpora = [samples[place].known.corpus for place in scores.index]
    row: dict[str, float] = {"queries": len(scores)}
    for measure in scores.columns:
        row |= resampled(scores[measure].to_numpy(np.float64), corpora).row(str(measure))
    return row


def sibling_table(
    samples: Sequence[Sample], matrices: dict[Choice, FloatArray]
) -> tuple[pd.DataFrame, dict[tuple[str, Choice], pd.Series]]:
    """Score every choice by how it ranks siblings.

    Returns:
        One row a relation and choice, with the row of chance (``family`` is ``chance``) and that
        of the choice that did best on all other corpora (``chosen``); and the NDCG of every
        sample for each.
    """
    rows, each = [], {}
    corpora = pd.Series([s.known.corpus for s in samples])
    for relation in RELATIONS:
        siblings, candidates = relate(samples, relation)
        if not siblings.any():
            continue
        about = {"relation": relation}
        for choice, matrix in matrices.items():
            scores = rank_siblings(np.where(candidates, matrix, np.nan), siblings)
            rows.append(about | asdict(choice) | _summary(scores, samples))
            each[relation, choice] = scores["ndcg"]
        chance = rank_siblings(np.where(candidates, 0.0, np.nan), siblings)
        numbers = {"queries": len(chance)} | chance.mean().to_dict()
        rows.append(about | asdict(Choice("chance", "chance")) | numbers)
        chosen = chosen_elsewhere({c: v for (r, c), v in each.items() if r == relation}, corpora)
        best = asdict(Choice("chosen", "best on other corpora"))
        rows.append(about | best | _summary(chosen.to_frame("ndcg"), samples))
    return pd.DataFrame(rows), each


def chosen_elsewhere(each: dict[Choice, pd.Series], corpora: pd.Series) -> pd.Series:
    """Return each query's NDCG by the Fisher distance that is best on all other corpora."""
    table = pd.DataFrame({c: v for c, v in each.items() if c.family == "fisher"})
    owners = corpora[table.index]
    found = pd.Series(np.nan, table.index)
    for corpus in owners.unique():
        inside = owners == corpus
        if inside.all():
            return table.iloc[:, 0] * np.nan
        best = table[~inside].mean().to_numpy().argmax()
        found[inside] = table[inside].iloc[:, best]
    return found


def paired_table(
    each: dict[tuple[str, Choice], pd.Series], samples: Sequence[Sample], n_layers: int
) -> pd.DataFrame:
    """Return the NDCG of two Fisher distances less that of centred texts, on the same queries."""
    baseline = methods(n_layers)[CENTRED]
    rows = []
    for relation in RELATIONS:
        for name, choice in default_choices(n_layers).items():
            if (relation, choice) in each:
                gain = each[relation, choice] - each[relation, baseline]
                corpora = [samples[place].known.corpus for place in gain.index]
                found = resampled(gain.to_numpy(np.float64), corpora)
                rows.append(
                    {"relation": relation, "method": name, "corpora": len(set(corpora))}
                    | found.row("gain", ends="")
                )
    return pd.DataFrame(rows)


def p_table(
    samples: Sequence[Sample], matrices: dict[Choice, FloatArray], n_layers: int
) -> pd.DataFrame:
    """Return p-values against chance of the choices made before looking, by permutation."""
    first = [k for k, s in enumerate(samples) if s.draw == 0]
    rows = []
    for relation in RELATIONS:
        siblings, candidates = relate([samples[k] for k in first], relation)
        for name, choice in default_choices(n_layers).items() if siblings.any() else ():
            matrix = np.where(candidates, matrices[choice][np.ix_(first, first)], np.nan)
            for measure, p in permutation_p(matrix, siblings).items():
                rows.append({"relation": relation, "method": name, "measure": measure, "p": p})
    return pd.DataFrame(rows)


def draw_table(samples: Sequence[Sample], matrices: dict[Choice, FloatArray]) -> pd.DataFrame:
    """Return how often the other draw of the same task is the nearest of all other samples."""
    tasks = np.array([s.known.task.name for s in samples])
    twins = (tasks[:, None] == tasks) & ~np.eye(len(tasks), dtype=bool)
    scored = ((choice, rank_siblings(matrix, twins)) for choice, matrix in matrices.items())
    rows = [asdict(choice) | _summary(scores, samples) for choice, scores in scored if len(scores)]
    return pd.DataFrame(rows)


def relabelled_table(relabelled: Sequence[Relabelled], library: Sequence[Sample]) -> pd.DataFrame:
    """Return how often another draw under the same labels is nearer than other labels.

    Args:
        relabelled: From `embed_relabelled`, of one size.
        library: Samples that ``log_ratio`` and ``asymmetric`` take their centre from.

    Returns:
        One row a choice and pair of labellings: shares of cases ordered rightly, ties counted
        half, the mean over base tasks.
    """
    heads = sorted(relabelled[0].embeddings)
    by_head = {h: [r.embeddings[h] for r in relabelled] for h in heads}
    reference = {h: [s.embeddings[h] for s in library] for h in heads}
    found = dict(fisher_matrices(by_head, reference=reference, every_range=False))
    found |= dict([norm_matrix(by_head[heads[-1]])])
    texts = np.array([r.text_fingerprint for r in relabelled])
    found[ANY_TEXT] = (texts[:, None] != texts).astype(np.float64)
    rows = []
    for choice, matrix in found.items():
        cases = pd.DataFrame(list(relabelled_cases(matrix, relabelled)))
        for pair in PAIRS:
            kept = cases if pair == "all" else cases[cases["pair"] == pair]
            if len(kept):
                shares = kept.groupby("base")[["same_texts", "other_texts"]].mean()
                rows.append(
                    {"pair": pair, "bases": len(shares), "cases": len(kept)}
                    | asdict(choice)
                    | shares.mean().to_dict()
                    | {"same_texts_worst": shares["same_texts"].min()}
                )
    return pd.DataFrame(rows)


def across_sizes(
    samples: Sequence[Sample], choices: Iterable[Choice], *, small: int, large: int
) -> pd.DataFrame:
    """Return how often a small sample's nearest large one is of the same task, no text shared.

    Large samples are of the second draw, whose texts come after those of all small ones.
    """
    library = [s for s in samples if s.n == large and s.draw == 1]
    names = np.array([s.known.task.name for s in library])
    queries = [s for s in samples if s.n == small and s.known.task.name in names]
    rows = []
    for choice in choices:
        every = [s.embeddings[choice.head_layer] for s in (*queries, *library)]
        found = dict(fisher_matrices({choice.head_layer: every}, metrics=[choice.metric]))
        nearest = found[choice][: len(queries), len(queries) :].argmin(1)
        right = names[nearest] == [s.known.task.name for s in queries]
        rows.append(
            {"small": small, "large": large, "queries": len(queries), "library": len(library)}
            | asdict(choice)
            | {"precision_at_1": float(np.mean(right))}
        )
    return pd.DataFrame(rows)


def slope_table(norms: pd.DataFrame) -> pd.DataFrame:
    """Return each task's slope of log norm on log sample size, last head, all layers and draws."""
    last = norms[(norms["head_layer"] == norms["head_layer"].max()) & (norms["layer"] == 0)]
    rows = []
    for (task, corpus), part in last.groupby(["task", "corpus"]):
        mean = part.groupby("n_samples")["l2"].mean()
        if len(mean) > 1 and (mean > 0).all():
            x, y = np.log(mean.index.to_numpy(np.float64)), np.log(mean.to_numpy())
            slope = float(np.polyfit(x, y, 1)[0])
            rows.append({"task": task, "corpus": corpus, "sizes": len(mean), "slope": slope})
    return pd.DataFrame(rows)


# -- which rows are shown ---------------------------------------------------------------------


def methods(n_layers: int) -> dict[str, Choice]:
    """Return the methods that tables and figures name, in order."""
    last, fisher = str(n_layers), default_choices(n_layers)
    return {
        COSINE: fisher["Task2Vec's cosine"],
        LOG_RATIO: fisher["log-ratio"],
        CHOSEN: Choice("chosen", "best on other corpora"),
        TEXT: Choice("text", "cosine", 0, last),
        CENTRED: Choice("text", "centred cosine", 0, last),
        "text, Fréchet": Choice("text", "frechet", 0, last),
        NORM: Choice("norm", "difference of log norm", n_layers),
        "LogME difference": Choice("score", "difference of LogME"),
        CLASSES: Choice("classes", "difference of log classes"),
        CHANCE: Choice("chance", "chance"),
    }


def named(table: pd.DataFrame, n_layers: int) -> pd.DataFrame:
    """Return the rows of the methods that are named, in order, with a column ``method``."""
    names = {tuple(asdict(c).values()): name for name, c in methods(n_layers).items()}
    found = [names.get((r.family, r.metric, r.head_layer, r.layers)) for r in table.itertuples()]
    rows = table.assign(method=pd.Series(found, table.index, dtype=object)).dropna(
        subset=["method"]
    )
    order = {name: place for place, name in enumerate(methods(n_layers))}
    return rows.sort_values("method", key=lambda names: names.map(order), kind="stable")


def best_fisher(table: pd.DataFrame, column: str) -> pd.Series:
    """Return the row of the Fisher distance with the largest value of a column."""
    part = table[table["family"] == "fisher"]
    return part.iloc[int(part[column].argmax())]


def spell(row: pd.Series) -> str:
    """Return the choice of a row as text."""
    return str(Choice(row["family"], row["metric"], int(row["head_layer"]), row["layers"]))


def rows_of(table: pd.DataFrame, part: str, **values: object) -> pd.DataFrame:
    """Return the rows of one part of the table, those with some values in columns."""
    rows = table[table["part"] == part]
    for column, value in values.items():
        rows = rows[rows[column] == value]
    return rows


def pick(table: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    """Return the rows of one choice."""
    wanted = pd.Series(asdict(choice))
    return table[(table[_SPELLED] == wanted[_SPELLED]).all(axis=1)]
