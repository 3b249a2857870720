"""The questions to the embeddings, each answered by a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from charkit.encoders import LayerStates
from charkit.heads.transferability import log_evidence
from glue_pilot.embeddings import Sample
from glue_pilot.relabelled import Relabelled
from glue_pilot.science_matrices import (
    Choice,
    FloatArray,
    classes_matrix,
    fisher_matrices,
    norm_matrix,
    score_matrix,
    text_matrices,
)
from glue_pilot.siblings import (
    MEASURES,
    BoolArray,
    rank_siblings,
    resampled,
    separation,
)

RELATIONS = ("corpus", "domain", "label")
"""Siblings share texts (``corpus``); or the domain, or the kind of label, but no corpus."""


@dataclass(frozen=True, eq=False)
class SizeMatrices:
    """All distances between the samples of one size.

    Attributes:
        n: Training texts a sample.
        samples: In the order of the matrices.
        matrices: Choice -> distances, (n_samples, n_samples).
    """

    n: int
    samples: list[Sample]
    matrices: dict[Choice, FloatArray]


def matrices_of(
    samples: Sequence[Sample],
    n: int,
    *,
    states: Callable[[Sample], LayerStates],
    every_range: bool = True,
) -> SizeMatrices:
    """Compute all distances between the samples of one size.

    Args:
        samples: Of all sizes.
        n: The size.
        states: Sample -> the pooled states of its texts.
        every_range: Try every range of layers under the last head.
    """
    chosen = [s for s in samples if s.n == n]
    heads = sorted(chosen[0].embeddings)
    by_head = {h: [s.embeddings[h] for s in chosen] for h in heads}
    held = [states(s) for s in chosen]
    last = heads[-1]
    scores = [
        log_evidence(h.layer(last), np.asarray(s.task.train.labels), kind=s.task.kind)
        for h, s in zip(held, chosen, strict=True)
    ]
    rivals = [
        norm_matrix(by_head[last]),
        classes_matrix([s.task.n_classes for s in chosen]),
        score_matrix(scores),
        *text_matrices(held),
    ]
    fisher = fisher_matrices(by_head, every_range=every_range)
    return SizeMatrices(n, chosen, dict([*rivals, *fisher]))


# -- which tasks belong together --------------------------------------------------------------


def label_word(kind: str) -> str:
    """Return a kind of label without what stands in brackets.

    >>> label_word("sentiment (5-point)")
    'sentiment'
    """
    return kind.split("(")[0].strip()


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
    names = np.array(words[relation])
    corpora = np.array(words["corpus"])
    same_corpus = corpora[:, None] == corpora
    known = (names != "")[:, None] & (names != "")
    same = (names[:, None] == names) & known
    draws = np.array([s.draw for s in samples])
    candidates = draws[:, None] == draws
    if relation != "corpus":
        same &= ~same_corpus
        candidates &= ~same_corpus
    np.fill_diagonal(candidates, False)
    return same & candidates, candidates


def _scored(matrix: FloatArray, siblings: BoolArray, candidates: BoolArray) -> pd.DataFrame:
    return rank_siblings(np.where(candidates, matrix, np.nan), siblings)


def _summary(scores: pd.DataFrame, corpora: list[str]) -> dict[str, float]:
    row: dict[str, float] = {}
    for measure in MEASURES:
        interval = resampled(scores[measure].to_numpy(np.float64), corpora)
        row |= {
            measure: interval.mean,
            f"{measure}_low": interval.low,
            f"{measure}_high": interval.high,
        }
    return row


def sibling_table(size: SizeMatrices) -> tuple[pd.DataFrame, dict[tuple[str, Choice], pd.Series]]:
    """Score every choice by how it ranks siblings.

    Returns:
        One row a relation and choice, with the row of chance (``family`` is ``chance``) and that
        of the choice that did best on all other corpora (``chosen``); and the NDCG of every
        sample for each.
    """
    rows, each = [], {}
    corpora = pd.Series([s.known.corpus for s in size.samples])
    for relation in RELATIONS:
        siblings, candidates = relate(size.samples, relation)
        if not siblings.any():
            continue
        for choice, matrix in size.matrices.items():
            scores = _scored(matrix, siblings, candidates)
            named = corpora[scores.index].tolist()
            rows.append(
                {"n": size.n, "relation": relation, "queries": len(scores)}
                | asdict(choice)
                | _summary(scores, named)
            )
            each[relation, choice] = scores["ndcg"]
        about = {"n": size.n, "relation": relation, "queries": rows[-1]["queries"]}
        flat = np.where(candidates, 0.0, np.nan)
        by_chance = rank_siblings(flat, siblings).mean()
        rows.append(
            about | asdict(Choice("chance", "chance")) | {m: float(by_chance[m]) for m in MEASURES}
        )
        chosen = chosen_elsewhere({c: v for (r, c), v in each.items() if r == relation}, corpora)
        named = corpora[chosen.index].tolist()
        rows.append(
            about
            | asdict(Choice("chosen", "best on other corpora"))
            | _summary(pd.DataFrame(dict.fromkeys(MEASURES, chosen)), named)
            | {m + e: np.nan for m in MEASURES[1:] for e in ("", "_low", "_high")}
        )
    return pd.DataFrame(rows), each


def paired_table(
    each: dict[tuple[str, Choice], pd.Series],
    size: SizeMatrices,
    ours: dict[str, Choice],
    rival: Choice,
) -> pd.DataFrame:
    """Compare the NDCG of the same queries: some choices less a rival's, interval over corpora.

    Args:
        each: From `sibling_table`.
        size: The matrices that it was made from.
        ours: Name -> choice.
        rival: What is taken off.
    """
    corpora = pd.Series([s.known.corpus for s in size.samples])
    rows = []
    for relation in RELATIONS:
        for name, choice in ours.items():
            if (relation, choice) in each:
                gain = each[relation, choice] - each[relation, rival]
                found = resampled(gain.to_numpy(np.float64), corpora[gain.index].tolist())
                rows.append(
                    {"n": size.n, "relation": relation, "method": name, "rival": str(rival)}
                    | {"gain": found.mean, "low": found.low, "high": found.high}
                    | {"corpora": corpora[gain.index].nunique()}
                )
    return pd.DataFrame(rows)


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


# -- the other draw ---------------------------------------------------------------------------


def draw_table(size: SizeMatrices) -> pd.DataFrame:
    """Say how often the other draw of the same task is the nearest of all other samples."""
    tasks = np.array([s.known.task.name for s in size.samples])
    twins = (tasks[:, None] == tasks) & ~np.eye(len(tasks), dtype=bool)
    corpora = [s.known.corpus for s in size.samples]
    rows = []
    for choice, matrix in size.matrices.items():
        scores = rank_siblings(matrix, twins)
        if len(scores):
            named = [corpora[place] for place in scores.index]
            rows.append(
                {"n": size.n, "queries": len(scores)} | asdict(choice) | _summary(scores, named)
            )
    return pd.DataFrame(rows)


# -- the same texts under other labels --------------------------------------------------------

PAIRS = ("all", "own or borrowed", "half A or B", "length")


def relabelled_table(
    relabelled: Sequence[Relabelled], library: Callable[[int], list[Sample]]
) -> pd.DataFrame:
    """Say how often another draw under the same labels is nearer than other labels.

    Three samples make a case: an anchor, the other draw of its texts under the same labels,
    and other labels; ``same_texts``: these are other labels of the anchor's very texts;
    ``other_texts``: of the other draw's. ``pair`` says which labellings the two are.

    Args:
        relabelled: From `embed_relabelled`.
        library: Size -> the samples that ``log_ratio`` and ``asymmetric`` take their centre from.

    Returns:
        One row a size, choice and pair: shares of cases told right, ties counted half, the mean
        over base tasks. Nothing was relabelled: an empty table.
    """
    tables = []
    for n in sorted({r.n for r in relabelled}):
        table = _relabelled_of([r for r in relabelled if r.n == n], library(n))
        table.insert(0, "n", n)
        tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _relabelled_of(relabelled: list[Relabelled], library: list[Sample]) -> pd.DataFrame:
    layers = sorted(relabelled[0].embeddings)
    by_head = {h: [r.embeddings[h] for r in relabelled] for h in layers}
    reference = {h: [s.embeddings[h] for s in library] for h in layers}
    found = dict(fisher_matrices(by_head, reference=reference, every_range=False))
    found |= dict([norm_matrix(by_head[layers[-1]])])
    names = sorted({r.text_fingerprint for r in relabelled})
    texts = np.array([names.index(r.text_fingerprint) for r in relabelled], np.float64)
    found[Choice("text", "any distance of texts")] = (texts[:, None] != texts).astype(np.float64)
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


def relabelled_cases(
    matrix: FloatArray, relabelled: Sequence[Relabelled]
) -> Iterable[dict[str, object]]:
    """Yield the cases of `relabelled_table`: base, pair, and whether each was told right.

    Args:
        matrix: Distances between the samples, in their order, (n_samples, n_samples).
        relabelled: From `embed_relabelled`, all of one size.
    """
    places = {(r.base, r.labelling, r.draw): k for k, r in enumerate(relabelled)}
    for (base, labelling, draw), anchor in places.items():
        twin = places[base, labelling, 1 - draw]
        near = matrix[anchor, [twin]]
        for (other_base, other, other_draw), far in places.items():
            if other_base == base and other != labelling and other_draw == draw:
                there = places[base, other, 1 - draw]
                yield {
                    "base": base,
                    "pair": _pair_name(labelling, other),
                    "labellings": " or ".join(sorted((labelling, other))),
                    "same_texts": separation(near, matrix[anchor, [far]]),
                    "other_texts": separation(near, matrix[anchor, [there]]),
                }


def _pair_name(one: str, other: str) -> str:
    if "length" in (one, other):
        return "length"
    halves = one.startswith("half"), other.startswith("half")
    return "half A or B" if all(halves) else "own or borrowed"


# -- across sizes -----------------------------------------------------------------------------


def across_sizes(
    samples: Sequence[Sample], choices: Iterable[Choice], *, small: int, large: int
) -> pd.DataFrame:
    """Say how often a small sample's nearest large one is of the same task, no text shared.

    Large samples are of the second draw, whose texts come after those of all small ones.
    """
    queries = [s for s in samples if s.n == small]
    library = [s for s in samples if s.n == large and s.draw == 1]
    names = np.array([s.known.task.name for s in library])
    asked = [s for s in queries if s.known.task.name in names]
    rows = []
    for choice in choices:
        every = [s.embeddings[choice.head_layer] for s in (*asked, *library)]
        found = fisher_matrices({choice.head_layer: every}, metrics=[choice.metric])
        matrix = dict(found)[choice][: len(asked), len(asked) :]
        right = names[matrix.argmin(1)] == [s.known.task.name for s in asked]
        rows.append(
            {"small": small, "large": large, "queries": len(asked), "library": len(library)}
            | asdict(choice)
            | {"precision_at_1": float(np.mean(right))}
        )
    return pd.DataFrame(rows)
