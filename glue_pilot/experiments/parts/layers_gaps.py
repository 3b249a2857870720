"""Distances of similar and dissimilar tasks, by where features are cached and heads read.

Mixes of layers against the best single layer, each chosen inside the training sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.encoders import Encoder, encode_to_store
from charkit.errors import DataError
from charkit.fisher import TaskEmbedding, pairwise
from charkit.heads.metrics.scores import predicted_classes
from charkit.heads.solver.softmax import SoftmaxHeads, fit_softmax
from charkit.store.cached import cached
from charkit.store.manifest import Clock, run_manifest
from charkit.store.store import Store
from charkit.tasks import Task, nested_order
from glue_pilot.experiments.base import kinds_of, share_texts, siblings
from glue_pilot.samples import KnownTask, draw_sample
from glue_pilot.stats import FloatArray, Interval, drawn_groups, ends_of, resampled

IntArray = NDArray[np.int64]
DrawnTasks = list[tuple[KnownTask, dict[int, TaskEmbedding]]]
"""Tasks with an embedding a layer of the head."""

METRICS = {"log_ratio": "log-ratio distance", "cosine": "Task2Vec's cosine"}


def triples(known: Sequence[KnownTask]) -> IntArray:
    """Return all triples of two similar tasks and a dissimilar one, (count, 3), as places.

    The first two are `siblings`; the third has labels of another kind, and no texts of theirs.
    """
    alike, shared = siblings(known), share_texts(known)
    kinds = kinds_of(known)
    found = [
        (a, b, c)
        for a, b in np.argwhere(np.triu(alike))
        for c in range(len(known))
        if kinds[c] != kinds[a] and not shared[a, c] and not shared[b, c]
    ]
    return np.array(found, np.int64).reshape(-1, 3)


def triple_measures(matrix: FloatArray, places: IntArray) -> dict[str, FloatArray]:
    """Measure every triple of a distance matrix: two similar tasks, then a dissimilar one.

    Returns:
        ``gap``: mean distance to the dissimilar task less the distance of the similar ones, over
        the mean of the three; ``spread``: standard deviation of the three over their mean, 0
        where the matrix is uniform; ``ordered``: 1 where the similar ones are nearer to each other
        than either is to the third, else 0. Each (n_triples,).
    """
    a, b, c = places.T
    near, far = matrix[a, b], np.stack([matrix[a, c], matrix[b, c]])
    mean = (near + far.sum(0)) / 3
    three = np.stack([near, *far])
    return {
        "gap": (far.mean(0) - near) / mean,
        "spread": three.std(0) / mean,
        "ordered": (near < far.min(0)).astype(np.float64),
    }


def gap_table(drawn: Sequence[DrawnTasks]) -> pd.DataFrame:
    """Return mean measures of all triples by cache layer, head layer and metric.

    Features are cached at ``cache_layer``, so that the embedding has the layers above it up to
    ``head_layer``. Kinds of label count alike, however many triples they have. The interval
    (90 %) draws whole corpora with replacement: a triple counts as often as its three together.
    Corpora are drawn alike for all samples, though some tasks may be too small for all of them.

    Returns:
        Columns ``cache_layer``, ``head_layer``, ``metric``, ``measure``, ``value``, ``low``,
        ``high``, ``resampled``, ``triples``, ``corpora``; empty where no triple of tasks exists.
    """
    corpora = list(dict.fromkeys(k.corpus for tasks in drawn for k, _ in tasks))
    found = [(tasks, triples([k for k, _ in tasks])) for tasks in drawn]
    frames = [_gaps_of_draw(tasks, places, corpora) for tasks, places in found if len(places)]
    if not frames:
        return pd.DataFrame()
    keys = ["cache_layer", "head_layer", "metric", "measure"]
    rows = []
    for key, part in pd.concat(frames).groupby(keys, sort=False):
        resamples = np.mean(list(part["resampled"]), axis=0)
        interval = Interval(float(part["value"].mean()), *gap_ends(resamples, len(corpora)))
        about = dict(zip(keys, key, strict=True)) | interval.row("value", ends="")
        rows.append(about | {"resampled": resamples})
    triples_at_most = max(len(places) for _, places in found)
    return pd.DataFrame(rows).assign(triples=triples_at_most, corpora=len(corpora))


def _gaps_of_draw(tasks: DrawnTasks, places: IntArray, corpora: Sequence[str]) -> pd.DataFrame:
    weights = _weights([k for k, _ in tasks], places, corpora)
    total = weights.sum(1)
    rows = []
    for head in sorted(tasks[0][1]):
        own = [found[head] for _, found in tasks]
        for cache in range(head):
            for metric in METRICS:
                matrix = pairwise(own, metric=metric, layers=range(cache + 1, head + 1)).to_numpy()
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
    kinds = kinds_of(known)[places[:, 0]]
    _, code, counts = np.unique(kinds, return_inverse=True, return_counts=True)
    alike = 1 / counts[code]
    drawn = drawn_groups(len(corpora), 0)[:, [corpora.index(k.corpus) for k in known]]
    together = drawn[:, places[:, 0]] * drawn[:, places[:, 1]] * drawn[:, places[:, 2]]
    return np.asarray(np.concatenate([alike[None], together * alike]))


def gap_ends(resamples: FloatArray, n_corpora: int) -> tuple[float, float]:
    """Return the ends of an interval; NaN where resamples do not differ, as of one triple."""
    known = resamples[np.isfinite(resamples)]
    return ends_of(known if len(known) and np.ptp(known) > 0 else known[:0], n_corpora)


# -- the best layer for a head by task and number of texts, from a table of outcomes --------------


ELSEWHERE = "best on other corpora"
_FEWEST_TASKS = 3  # fewer have no best layer elsewhere to choose by


def score_cube(outcomes: pd.DataFrame, n: int) -> tuple[pd.DataFrame, FloatArray]:
    """Return the scores of all tasks with two draws or more of n texts.

    Args:
        outcomes: Columns ``task``, ``corpus``, ``seed``, ``n_train``, ``layer``, ``score``.
        n: Training texts.

    Returns:
        Columns ``task`` and ``corpus``, a row a task; scores (tasks, draws, layers), NaN where a
        task has fewer draws.
    """
    rows = outcomes[outcomes["n_train"] == n]
    wide = rows.pivot_table(index=["task", "corpus", "seed"], columns="layer", values="score")
    wide = wide.dropna()
    drawn = wide.groupby(["task", "corpus"]).size()
    kept = drawn[drawn > 1].reset_index()[["task", "corpus"]]
    if not len(kept):
        return kept, np.empty((0, 0, wide.shape[1]))
    cube = np.full((len(kept), int(drawn.max()), wide.shape[1]), np.nan)
    for place, (task, corpus) in enumerate(kept.itertuples(index=False)):
        scores = wide.loc[(task, corpus)].to_numpy()
        cube[place, : len(scores)] = scores
    return kept, cube


def regret_table(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Return what each layer costs, by n.

    The layer that a draw is compared with is the one best on the task's OTHER draws, so that the
    luck of a draw counts for none; what is left of the evaluation texts' luck flatters it a
    little. ``best on other corpora`` is the one layer with the highest mean there: a rule that
    needs nothing of the task.

    Args:
        outcomes: One row a head (`metamodel.schema.OUTCOMES`); other subsets, controls than
            ``none`` are left out.

    Returns:
        Columns ``n``, ``rule`` (``layer K`` or the above), ``layer`` (-1 for the above),
        ``regret`` in shares of texts, ``low``, ``high`` (90 %, tasks drawn by corpus), ``best``:
        share of tasks for which the layer has the highest mean, ``tasks``.

    Raises:
        DataError: No number of texts has two draws of enough tasks.
    """
    whole = outcomes[(outcomes["subset"] == "all") & (outcomes["control"] == "none")]
    layers = sorted(int(k) for k in whole["layer"].unique())
    rows: list[dict[str, object]] = []
    for n in sorted(int(n) for n in whole["n_train"].unique()):
        tasks, cube = score_cube(whole, n)
        if len(tasks) >= _FEWEST_TASKS:
            rows += _regret_rows(n, layers, list(tasks["corpus"]), cube)
    if not rows:
        raise DataError(
            f"outcomes are too few: expected two draws of {_FEWEST_TASKS} tasks at some number of "
            f"texts, got {len(whole)} rows. Sweep more tasks or draws."
        )
    return pd.DataFrame(rows)


def _regret_rows(
    n: int, layers: list[int], corpora: list[str], cube: FloatArray
) -> list[dict[str, object]]:
    regret = np.array([_regrets(scores) for scores in cube])
    means = np.nanmean(cube, axis=1)
    best = means.argmax(1)
    gaps, groups = means - means.mean(1, keepdims=True), np.array(corpora)
    elsewhere = np.array([gaps[groups != group].mean(0).argmax() for group in corpora])
    chosen = {f"layer {layer}": (layer, np.full(len(cube), k)) for k, layer in enumerate(layers)}
    chosen[ELSEWHERE] = (-1, elsewhere)
    rows: list[dict[str, object]] = []
    for rule, (layer, places) in chosen.items():
        cost = resampled(regret[np.arange(len(cube)), places], corpora)
        about = {"n": n, "rule": rule, "layer": layer} | cost.row("regret", ends="")
        rows.append(about | {"best": float((best == places).mean()), "tasks": len(cube)})
    return rows


def _regrets(scores: FloatArray) -> FloatArray:
    """Return each layer's regret against the layer best on the other draws, (layers,)."""
    held = scores[np.isfinite(scores).all(1)]
    others = (held.sum(0) - held) / (len(held) - 1)
    reference = held[np.arange(len(held)), others.argmax(1)]
    return np.asarray((reference[:, None] - held).mean(0))


Places = NDArray[np.int64]

States = NDArray[np.float32]

KIND = "experiment_mixes"
_FORMAT = 1
SINGLE, LAST = "best single layer", "last layer"
MIXES = ("mean of layers", "learned mix", "concatenation")
_FEWEST_MIXED = 2  # tasks: of one there is no interval
_MOST_STEPS = 6  # step k moves the weights by 1 / (k + 1): later ones by less than a seventh


def mixes_of_task(
    known: KnownTask,
    encoder: Encoder,
    store: Store,
    *,
    sizes: Sequence[int],
    draws: int,
    pool: int,
    max_length: int,
    n_eval: int,
) -> pd.DataFrame:
    """Return the accuracy of each method on one task, by n and draw; kept in the store.

    Args:
        known: The task.
        encoder: The encoder.
        store: Where results are kept.
        sizes: Training texts; those that a task's pool has not are left out.
        draws: Draws of the training texts a size.
        pool: Texts that they are drawn from.
        max_length: Most tokens of a text.
        n_eval: Evaluation texts at most.

    Returns:
        Columns ``task``, ``corpus``, ``n``, ``draw``, ``method``, ``accuracy``, ``layers``: how
        many layers the method reads, or the one it chose.
    """
    sample = draw_sample(known.task, n=pool, draw=0, n_eval=n_eval)
    assert sample is not None
    evaluation = sample.evaluation
    assert evaluation is not None
    fitting = [n for n in sizes if sample.n_classes <= n <= len(sample.train)]
    config = {
        "kind": KIND,
        "format": _FORMAT,
        "encoder": encoder.fingerprint,
        "train": sample.train.fingerprint,
        "evaluation": evaluation.fingerprint,
        "sizes": fitting,
        "draws": draws,
        "max_length": encoder.text_length(max_length),
    }

    def make(folder: Path) -> dict[str, Any]:
        clock = Clock()
        parts = (
            encode_to_store(encoder, part, store=store, max_length=max_length).to_numpy()
            for part in (sample.train, evaluation)
        )
        rows = _compared(sample, fitting, draws, *parts)
        pd.DataFrame(rows).to_csv(folder / "rows.csv", index=False, lineterminator="\n")
        return run_manifest(
            config,
            clock=clock,
            seeds={"draws": draws},
            fingerprints={"encoder": encoder.fingerprint},
        )

    def load(folder: Path) -> pd.DataFrame:
        return pd.read_csv(folder / "rows.csv")

    table = cached(store, KIND, config, make=make, load=load).value
    table.insert(0, "corpus", known.corpus)
    table.insert(0, "task", known.task.name)
    return table


def _compared(
    sample: Task, sizes: list[int], draws: int, states: States, held_out: States
) -> list[dict[str, Any]]:
    """Compare the methods on every draw of every size."""
    assert sample.evaluation is not None
    labels = np.asarray(sample.train.labels, np.int64)
    truth = np.asarray(sample.evaluation.labels, np.int64)
    rows: list[dict[str, Any]] = []
    for draw in range(draws):
        order = nested_order(labels, seed=draw, kind="classification")
        for n in sizes:
            chosen = order[:n]
            if len(np.unique(labels[chosen])) > 1:
                found = compare_mixes(
                    states[:, chosen], labels[chosen], sample.n_classes, held_out, truth
                )
                rows += [{"n": n, "draw": draw, **row} for row in found]
    return rows


def compare_mixes(
    features: States, labels: Places, n_classes: int, held_out: States, truth: Places
) -> list[dict[str, Any]]:
    """Fit a head by each method and score it; layer 0, the embeddings, takes part.

    Layers are centred and scaled by their training rows. The single layer and the learned mix are
    chosen by the approximate leave-one-out loss. The mix starts at the best single layer and
    takes up to six steps, each towards one layer: (k mix + layer) / (k + 1), as long as the loss
    falls (Caruana, Niculescu-Mizil, Crew and Ksikes 2004, "Ensemble selection from libraries of
    models", on features in place of predictions).

    Args:
        features: Training states, (layers, n, d).
        labels: Class codes, (n,).
        n_classes: Number of classes.
        held_out: Evaluation states, (layers, m, d).
        truth: Their classes, (m,).
    """
    mean = features.mean(1, keepdims=True)
    scale = np.sqrt(((features - mean) ** 2).sum(2).mean(1))[:, None, None]
    scale = np.where(scale > 0, scale, 1)
    rows, out = (features - mean) / scale, (held_out - mean) / scale
    single = fit_softmax(rows, labels, n_classes)
    right = [_accuracy(single, out, truth, place) for place in range(len(rows))]
    loss = single.left_out_loss.numpy()
    best = int(np.nanargmin(loss))
    weights = _learned(rows, labels, n_classes, loss)
    mixed = np.einsum("l,lnd->nd", weights, rows)[None], np.einsum("l,lnd->nd", weights, out)[None]
    wide = tuple(part.transpose(1, 0, 2).reshape(1, part.shape[1], -1) for part in (rows, out))
    found = [(SINGLE, right[best], best), (LAST, right[-1], len(rows) - 1)]
    pairs = (
        (MIXES[0], (rows.mean(0)[None], out.mean(0)[None]), len(rows)),
        (MIXES[1], mixed, int((weights > 0).sum())),
        (MIXES[2], wide, len(rows)),
    )
    for method, (inner, outer), layers in pairs:
        heads = fit_softmax(inner, labels, n_classes)
        found.append((method, _accuracy(heads, outer, truth, 0), layers))
    return [{"method": m, "accuracy": a, "layers": k} for m, a, k in found]


def _accuracy(heads: SoftmaxHeads, held_out: States, truth: Places, place: int) -> float:
    outputs = np.asarray(held_out[place]) @ heads.weights[place].numpy().T
    outputs = outputs + heads.bias[place].numpy()
    return float((predicted_classes(outputs[None])[0] == truth).mean())


def _learned(rows: States, labels: Places, n_classes: int, loss: NDArray[np.float64]) -> States:
    """Return the weights of layers in the learned mix, (layers,); they add to 1."""
    own = np.eye(len(rows), dtype=np.float32)
    best = int(np.nanargmin(loss))
    counts, lowest = own[best], float(loss[best])
    for _ in range(_MOST_STEPS):
        tried = counts + own
        tried = tried / tried.sum(1, keepdims=True)
        mixed = np.einsum("kl,lnd->knd", tried, rows)
        found = fit_softmax(mixed, labels, n_classes).left_out_loss.numpy()
        step = int(np.nanargmin(found))
        if not found[step] < lowest:
            break
        counts, lowest = counts + own[step], float(found[step])
    return np.asarray(counts / counts.sum(), np.float32)


def mix_table(cells: pd.DataFrame) -> pd.DataFrame:
    """Return each method's accuracy by n, and what it gains on the best single layer.

    Returns:
        Columns ``n``, ``method``, ``accuracy``; ``gain``, ``low``, ``high`` (90 % for all gains
        together, tasks drawn by corpus), in shares of texts; ``tasks``, ``tests``: how many gains.
    """
    means = cells.groupby(["n", "task", "corpus", "method"])["accuracy"].mean().unstack("method")
    parts = [(n, part) for n, part in means.groupby("n") if len(part) >= _FEWEST_MIXED]
    tests = len(parts) * len((LAST, *MIXES))
    rows = []
    for n, part in parts:
        corpora = list(part.index.get_level_values("corpus"))
        for method in (SINGLE, LAST, *MIXES):
            gains = (part[method] - part[SINGLE]).to_numpy(np.float64)
            gain = resampled(gains, corpora, tests=tests)
            about = {"n": n, "method": method, "accuracy": float(part[method].mean())}
            rows.append(about | gain.row("gain", ends="") | {"tasks": len(part), "tests": tests})
    return pd.DataFrame(rows)
