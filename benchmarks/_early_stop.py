"""What stopping early saves, and whether what it promises holds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from charkit.encoders import Encoder
from charkit.fisher import FisherOptions, Head, TaskEmbedding, fisher_embedding
from charkit.fisher.options import DEFAULT_OPTIONS, FisherTexts


@dataclass(frozen=True)
class EarlyStop:
    """One task's figures; medians over seeds unless said otherwise.

    Attributes:
        n_samples: Texts that there are.
        n_used: Texts after which the pass stopped.
        whole_s: Processor seconds for all texts.
        stopped_s: Processor seconds until the stop.
        promised: Expected cosine of halves that the stopped embedding states; least of seeds.
        found: Mean cosine of disjoint samples of half as many texts each; least of seeds.
        to_whole: Cosine between the stopped embedding and that of all texts; least of seeds.
    """

    n_samples: int
    n_used: int
    whole_s: float
    stopped_s: float
    promised: float
    found: float
    to_whole: float


def measure_early_stop(
    encoder: Encoder,
    split: FisherTexts,
    head: Head,
    *,
    stop_at: float = 0.99,
    seeds: Sequence[int] = (0, 1, 2),
    options: FisherOptions = DEFAULT_OPTIONS,
) -> EarlyStop:
    """Embed all texts, then stop early from several seeds, and check the promise on real halves.

    Args:
        encoder: The encoder; load its weights before, they are not part of the time.
        split: The texts.
        head: Reads the last layer.
        stop_at: Cosine of halves at which passes stop.
        seeds: Of the orders in which texts are visited.
        options: The rest.
    """
    clock = time.process_time()
    fisher_embedding(encoder, split, head, options=options)
    whole_s = time.process_time() - clock
    whole = fisher_embedding(encoder, split, head, options=replace(options, keep_rows=True))
    assert whole.rows is not None
    stopped: list[TaskEmbedding] = []
    seconds = []
    for seed in seeds:
        clock = time.process_time()
        some = replace(options, stop_at=stop_at, seed=seed)
        stopped.append(fisher_embedding(encoder, split, head, options=some))
        seconds.append(time.process_time() - clock)
    return EarlyStop(
        n_samples=whole.n_samples,
        n_used=int(np.median([s.n_samples for s in stopped])),
        whole_s=whole_s,
        stopped_s=float(np.median(seconds)),
        promised=min(s.stability.halves for s in stopped),
        found=min(real_halves(whole.rows, s.n_samples, seed=s.seed) for s in stopped),
        to_whole=min(cosine(s.values, whole.values) for s in stopped),
    )


def real_halves(
    rows: NDArray[np.floating], n_samples: int, *, seed: int, n_splits: int = 50
) -> float:
    """Return the mean cosine of disjoint random samples of n_samples // 2 texts each."""
    rng = np.random.default_rng(seed)
    half = n_samples // 2
    found = []
    for _ in range(n_splits):
        order = rng.permutation(len(rows))
        one, two = rows[order[:half]], rows[order[half : 2 * half]]
        found.append(cosine(one.mean(0, dtype=np.float64), two.mean(0, dtype=np.float64)))
    return float(np.mean(found))


def cosine(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    """Return the cosine of two vectors."""
    return float(one @ two / np.sqrt((one @ one) * (two @ two)))
