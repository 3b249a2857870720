"""Mixes of layers against the best single layer, each chosen inside the training sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.cached import cached
from charkit.encoders import Encoder, encode_to_store
from charkit.heads.scores import predicted_classes
from charkit.heads.softmax import SoftmaxHeads, fit_softmax
from charkit.manifest import Clock, run_manifest
from charkit.store import Store
from charkit.tasks import Task, nested_order
from glue_pilot.samples import KnownTask, draw_sample
from glue_pilot.stats import resampled

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

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
    sample: Task, sizes: list[int], draws: int, states: FloatArray, held_out: FloatArray
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
    features: FloatArray, labels: IntArray, n_classes: int, held_out: FloatArray, truth: IntArray
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


def _accuracy(heads: SoftmaxHeads, held_out: FloatArray, truth: IntArray, place: int) -> float:
    outputs = np.asarray(held_out[place]) @ heads.weights[place].numpy().T
    outputs = outputs + heads.bias[place].numpy()
    return float((predicted_classes(outputs[None])[0] == truth).mean())


def _learned(
    rows: FloatArray, labels: IntArray, n_classes: int, loss: NDArray[np.float64]
) -> FloatArray:
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
