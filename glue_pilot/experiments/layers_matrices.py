"""Distances of similar and dissimilar tasks, by where features are cached and heads read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.encoders import Encoder
from charkit.fisher import TaskEmbedding, pairwise
from charkit.store import Store
from glue_pilot.embedding_study import EmbeddingStudy, KnownTask, draw_sample
from glue_pilot.embeddings import embed_sample
from glue_pilot.experiments.layers_kinds import kinds_of, triples
from glue_pilot.siblings import drawn_groups

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

METRICS = ("log_ratio", "cosine")
MEASURES = ("gap", "spread", "told")


@dataclass(frozen=True, eq=False)
class Embedded:
    """Tasks with an embedding a head layer.

    Attributes:
        known: The tasks.
        embeddings: One a task: layer of the head -> the embedding.
    """

    known: list[KnownTask]
    embeddings: list[dict[int, TaskEmbedding]]


def embed_draw(
    study: EmbeddingStudy, known: Sequence[KnownTask], draw: int, encoder: Encoder, store: Store
) -> Embedded:
    """Embed one draw of each task that has texts for it, under heads at every layer."""
    n = study.sizes[0]
    tasks, embeddings = [], []
    for entry in known:
        sample = draw_sample(entry.task, n=n, draw=draw, n_eval=study.n_eval)
        if sample is not None and sample.kind == "classification":
            made = embed_sample(study, entry, sample, n, draw, encoder, store)
            tasks.append(entry)
            embeddings.append(made.embeddings)
    return Embedded(tasks, embeddings)


def triple_measures(matrix: FloatArray, places: IntArray) -> dict[str, FloatArray]:
    """Measure every triple of a distance matrix: two similar tasks, then a dissimilar one.

    Returns:
        ``gap``: mean distance to the dissimilar task less the distance of the similar ones, over
        the mean of the three; ``spread``: standard deviation of the three over their mean, 0
        where the matrix is uniform; ``told``: 1 where the similar ones are nearer to each other
        than either is to the third, else 0. Each (n_triples,).
    """
    a, b, c = places.T
    near, far = matrix[a, b], np.stack([matrix[a, c], matrix[b, c]])
    mean = (near + far.sum(0)) / 3
    three = np.stack([near, *far])
    return {
        "gap": (far.mean(0) - near) / mean,
        "spread": three.std(0) / mean,
        "told": (near < far.min(0)).astype(np.float64),
    }


def matrix_table(draws: Sequence[Embedded]) -> pd.DataFrame:
    """Return mean measures of all triples by cache layer, head layer and metric.

    Features are cached at ``cache_layer``, so that the embedding has the layers above it up to
    ``head_layer``. Kinds of label count alike, however many triples they have. The interval
    (90 %) draws whole corpora with replacement: a triple counts as often as its three together.
    Corpora are drawn alike for all samples, though some tasks may be too small for all of them.

    Returns:
        Columns ``cache_layer``, ``head_layer``, ``metric``, ``measure``, ``value``, ``low``,
        ``high``, ``triples``; empty where no triple of tasks exists.
    """
    corpora = list(dict.fromkeys(k.corpus for embedded in draws for k in embedded.known))
    found = [(embedded, triples(embedded.known)) for embedded in draws]
    frames = [_one_draw(one, places, corpora) for one, places in found if len(places)]
    if not frames:
        return pd.DataFrame()
    keys = ["cache_layer", "head_layer", "metric", "measure"]
    rows = []
    for key, part in pd.concat(frames).groupby(keys, sort=False):
        drawn = np.mean(list(part["resampled"]), axis=0)
        low, high = _ends(drawn)
        named = dict(zip(keys, key, strict=True))
        value = float(part["value"].mean())
        rows.append(named | {"value": value, "low": low, "high": high, "resampled": drawn})
    return pd.DataFrame(rows).assign(triples=max(len(places) for _, places in found))


def _one_draw(embedded: Embedded, places: IntArray, corpora: Sequence[str]) -> pd.DataFrame:
    weights = _weights(embedded.known, places, corpora)
    total = weights.sum(1)
    rows = []
    for head in sorted(embedded.embeddings[0]):
        own = [found[head] for found in embedded.embeddings]
        for cache in range(head):
            layers = range(cache + 1, head + 1)
            for metric in METRICS:
                matrix = pairwise(own, metric=metric, layers=layers).to_numpy()
                for measure, values in triple_measures(matrix, places).items():
                    means = np.full(len(total), np.nan)  # where no triple was drawn
                    np.divide(weights @ values, total, out=means, where=total > 0)
                    rows.append(
                        {"cache_layer": cache, "head_layer": head, "metric": metric}
                        | {"measure": measure, "value": means[0], "resampled": means[1:]}
                    )
    return pd.DataFrame(rows)


def _weights(known: Sequence[KnownTask], places: IntArray, corpora: Sequence[str]) -> FloatArray:
    """Return how much each triple counts, (1 + n_resamples, n_triples), unresampled first."""
    kinds = np.array(kinds_of(known))[places[:, 0]]
    _, code, counts = np.unique(kinds, return_inverse=True, return_counts=True)
    alike = 1 / counts[code]
    drawn = drawn_groups(len(corpora), 0)[:, [corpora.index(k.corpus) for k in known]]
    together = drawn[:, places[:, 0]] * drawn[:, places[:, 1]] * drawn[:, places[:, 2]]
    return np.asarray(np.concatenate([alike[None], together * alike]))


def difference(
    table: pd.DataFrame, one: tuple[int, int], other: tuple[int, int], *, metric: str, measure: str
) -> tuple[float, float, float]:
    """Return a measure at one (cache, head) less that at another, with its 90 % interval."""
    first, second = (_row(table, place, metric, measure) for place in (one, other))
    low, high = _ends(first["resampled"] - second["resampled"])
    return float(first["value"] - second["value"]), low, high


def _ends(resampled: FloatArray) -> tuple[float, float]:
    """Return the ends of a 90 % interval; NaN where resamples do not differ, as of one triple."""
    known = resampled[np.isfinite(resampled)]
    if not len(known) or np.ptp(known) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [0.05, 0.95])
    return float(low), float(high)


def _row(table: pd.DataFrame, place: tuple[int, int], metric: str, measure: str) -> pd.Series:
    chosen = (table["metric"] == metric) & (table["measure"] == measure)
    chosen &= (table["cache_layer"] == place[0]) & (table["head_layer"] == place[1])
    return table[chosen].iloc[0]
