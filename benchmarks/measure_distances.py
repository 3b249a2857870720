"""Seconds for all distances between 1,000 embeddings, against a loop over pairs with scipy.

The embeddings are made up: 20,736 numbers each, as six layers of the bundled encoder have them,
spread and alike as those of real tasks. The peer is `scipy.spatial.distance.pdist` with the
official Task2Vec code's formulas, written in numpy, on the first embeddings; its seconds grow
with the number of pairs and are scaled up by it. Bars are on the processor's seconds over its
cores, which other work on the machine lengthens less than the wall's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from _figures import RESULTS, Figure, figure, print_table, write_figures
from scipy.spatial.distance import pdist, squareform

from charkit.fisher import DISTANCES, TaskEmbedding, pairwise
from charkit.fisher.layout import Slice
from charkit.store.manifest import available_cores

COUNT, SIZE, LAYERS = 1000, 20_736, 6
PEER_COUNT = 40
BARS = {"cosine": 10.0, "kl": 10.0, "jsd": 10.0, "entropy": 10.0, "asymmetric": 10.0}
PRODUCT_BAR = 2.0
ACCURACY_BAR = 3e-5  # the loop adds 1e-8 of its own


def make_embeddings(count: int, *, size: int, seed: int = 0) -> list[TaskEmbedding]:
    """Numbers that rows share, that families of ten share, and of each task alone."""
    rng = np.random.default_rng(seed)
    rows = 1e-6 * rng.lognormal(0, 1.5, size)
    families = np.exp(0.6 * rng.standard_normal((-(-count // 10), size)))
    width = size // LAYERS
    slices = tuple(Slice(k + 1, "query", k * width, (k + 1) * width) for k in range(LAYERS))
    made = []
    for k in range(count):
        own = np.exp(0.4 * rng.standard_normal(size)) * rng.lognormal(0, 1)
        values = rows * families[k // 10] * own
        made.append(embedding(values, slices, name=f"task {k}"))
    return made


def embedding(values: np.ndarray, slices: tuple[Slice, ...], *, name: str) -> TaskEmbedding:
    return TaskEmbedding(
        values=values,
        standard_error=np.zeros_like(values),
        slices=slices,
        name=name,
        encoder="made up",
        encoder_fingerprint="",
        head_layer=LAYERS,
        head_fingerprint="",
        pooling="mean",
        max_length=256,
        dtype="float32",
        kind="classification",
        n_classes=2,
        estimand="fisher",
        estimator="exact",
        n_draws=1,
        seed=0,
        n_samples=128,
        frac_truncated=0.0,
        text_fingerprint="",
    )


# -- the official formulas, pair by pair; h and g are two embeddings ------------------------------


def cosine(h: np.ndarray, g: np.ndarray) -> float:
    a, b = h / (h + g + 1e-8), g / (h + g + 1e-8)
    return float(1 - a @ b / np.sqrt((a @ a) * (b @ b)))


def _kl(v: np.ndarray, w: np.ndarray) -> np.ndarray:
    return 0.5 * (v / w - 1 + np.log(w) - np.log(v))


def kl(h: np.ndarray, g: np.ndarray) -> float:
    v, w = 1 / h, 1 / g
    return float(np.maximum(_kl(v, w), _kl(w, v)).sum())


def jsd(h: np.ndarray, g: np.ndarray) -> float:
    v, w = 1 / h, 1 / g
    m = 0.5 * (v + w)
    return float((0.5 * (_kl(v, m) + _kl(w, m))).mean())


def entropy(h: np.ndarray, g: np.ndarray) -> float:
    share = h / (h + g + 1e-8)
    coin = -share * np.log(share) - (1 - share) * np.log(1 - share)
    return float(np.log(2) - coin.mean())


def asymmetric_kl(h: np.ndarray, g: np.ndarray) -> float:
    return float(_kl(1 / h, 1 / g).sum())


def normalized_cosine(h: np.ndarray, g: np.ndarray) -> float:
    v, w = 1 / h, 1 / g
    return float(1 - v @ w / np.sqrt((v @ v) * (w @ w)))


def correlation(h: np.ndarray, g: np.ndarray) -> float:
    v, w = 1 / h, 1 / g
    return normalized_cosine(1 / (v - v.mean()), 1 / (w - w.mean()))


PEERS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "cosine": cosine,
    "normalized_cosine": normalized_cosine,
    "correlation": correlation,
    "kl": kl,
    "asymmetric_kl": asymmetric_kl,
    "jsd": jsd,
    "entropy": entropy,
}


def peer_seconds(numbers: np.ndarray, metric: str, *, count: int) -> tuple[float, np.ndarray]:
    """Return the processor's seconds for ``count`` embeddings, and the first ones' matrix.

    The official code adds a fixed 1e-8, so it is given numbers around 1.
    """
    scaled = numbers / numbers.mean()
    begun = time.process_time()
    found = squareform(pdist(scaled, PEERS[metric]))
    seconds = time.process_time() - begun
    pairs = len(numbers) * (len(numbers) - 1)
    return seconds * count * (count - 1) / pairs, found


def metric_figures(metric: str, tasks: list[TaskEmbedding], *, n_peer: int) -> list[Figure]:
    begun, begun_busy = time.perf_counter(), time.process_time()
    table = pairwise(tasks, metric=metric).to_numpy()
    seconds, busy = time.perf_counter() - begun, time.process_time() - begun_busy
    bar = BARS.get(metric, PRODUCT_BAR)
    name = f"{metric}: {len(tasks)} embeddings"
    figures = [
        figure(name, seconds, "s"),
        figure(f"{name}, processor", busy / available_cores(), "s/core", bar=bar, at_most=True),
    ]
    if metric in PEERS:
        numbers = np.stack([t.values + 1e-6 * t.values.mean() for t in tasks[:n_peer]])
        theirs, found = peer_seconds(numbers, metric, count=len(tasks))
        off = np.triu_indices(n_peer, 1)
        error = np.abs(table[:n_peer, :n_peer][off] / found[off] - 1).max()
        figures += [
            figure(f"{metric}: processor / scaled-up loop's", busy, "s", baseline=theirs),
            figure(
                f"{metric}: largest relative difference from the loop",
                float(error),
                "share",
                bar=ACCURACY_BAR,
                at_most=True,
            ),
        ]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", help="not used: the embeddings are made up")
    parser.add_argument("--smoke", action="store_true", help="few embeddings, nothing is written")
    given = parser.parse_args()
    count = 60 if given.smoke else COUNT
    tasks = make_embeddings(count, size=SIZE)
    figures = []
    for metric in DISTANCES:
        figures += metric_figures(metric, tasks, n_peer=10 if given.smoke else PEER_COUNT)
    print_table(figures)
    if not given.smoke:
        details = {"count": COUNT, "size": SIZE, "peer_count": PEER_COUNT}
        write_figures(RESULTS / "distances.json", figures, details=dict(details))


if __name__ == "__main__":
    main()
