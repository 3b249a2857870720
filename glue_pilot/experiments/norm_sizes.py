"""How norms of samples of different sizes agree, as they are and less what noise adds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from charkit.answers.embed import embed_kept
from charkit.encoders import Encoder
from glue_pilot.embedding_study import EmbeddingStudy
from glue_pilot.embeddings import Sample, options_of
from glue_pilot.experiments.base import Bench
from glue_pilot.siblings import Interval

KINDS = {"l2": "norm", "l2_corrected": "noise-corrected norm"}
_N_RESAMPLES = 1000
OWN, ONE = "each its own head", "one head for both"


def resampled_median(values: pd.Series, corpora: pd.Series, *, seed: int = 0) -> Interval:
    """Return the median with a 90 % bootstrap interval, whole corpora drawn with replacement.

    A mean would follow the few tasks whose heads found next to nothing, with norms next to
    nought.
    """
    groups = [part.to_numpy(np.float64) for _, part in values.groupby(corpora.to_numpy())]
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(groups), (_N_RESAMPLES, len(groups)))
    medians = [np.median(np.concatenate([groups[k] for k in row])) for row in drawn]
    low, high = np.quantile(medians, [0.05, 0.95])
    return Interval(float(values.median()), float(low), float(high))


def size_rows(held: pd.DataFrame) -> pd.DataFrame:
    """Return the norms of every task by sample size, last head, all layers, first draw.

    Args:
        held: From `glue_pilot.embeddings.norm_rows`.

    Returns:
        One row a task and size: ``task``, ``corpus``, ``n``, ``n_samples``, ``l2``,
        ``l2_corrected``; tasks with fewer texts than a size have no row for it.
    """
    last = held[
        (held["head_layer"] == held["head_layer"].max())
        & (held["layer"] == 0)
        & (held["draw"] == 0)
        & (held["n_samples"] == held["n"])
    ]
    return pd.DataFrame(
        last, columns=["task", "corpus", "n", "n_samples", "l2", "l2_corrected"]
    ).reset_index(drop=True)


def one_head_rows(
    samples: Sequence[Sample],
    study: EmbeddingStudy,
    encoder: Encoder,
    bench: Bench,
    *,
    n_small: int,
    n_large: int,
) -> pd.DataFrame:
    """Return the norms of a small part of a large sample under the large sample's head.

    Args:
        samples: Of all sizes.
        study: How they were embedded.
        encoder: Its encoder.
        bench: Store and progress.
        n_small: Texts of the part.
        n_large: Size of the samples.

    Returns:
        As `size_rows`, two rows a task.
    """
    chosen = [s for s in samples if s.n == n_large and s.draw == 0 and len(s.task.train) == n_large]
    last, rows = encoder.n_layers, []
    for done, sample in enumerate(chosen):
        bench.progress("one head", done, len(chosen))
        kept = embed_kept(
            sample.task,
            encoder,
            head_layers=study.heads_at(n_large, last),
            split=sample.task.train.take(range(n_small)),
            options=options_of(study),
            store=bench.store,
            name=sample.known.task.name,
        )
        for n, embedding in ((n_small, kept.embeddings[last]), (n_large, sample.embeddings[last])):
            norms = embedding.norms().loc["all"].to_dict()
            rows.append(
                {"task": sample.known.task.name, "corpus": sample.known.corpus, "n": n}
                | {"n_samples": embedding.n_samples}
                | {kind: float(norms[kind]) for kind in KINDS}
            )
    bench.progress("one head", len(chosen), len(chosen))
    return pd.DataFrame(rows)


def agreement_table(by_size: pd.DataFrame, *, heads: str) -> pd.DataFrame:
    """Say how far the norms of two sizes are apart, plain and corrected.

    Args:
        by_size: From `size_rows` or `one_head_rows`.
        heads: What the rows are called.

    Returns:
        One row a pair of sizes and kind of norm: ``value``, the median over tasks of
        ``log(norm at the larger size / norm at the smaller)`` with its interval ``low`` to
        ``high`` (bootstrap over corpora), and ``apart``: the median of its absolute value, with
        ``apart_low`` and ``apart_high``. A row with the kind ``difference``: how much nearer
        to nought the corrected norms are, ``apart`` being plain less corrected.
    """
    rows = []
    sizes = sorted(by_size["n"].unique())
    for small, large in itertools.pairwise(sizes):
        logs = _log_ratios(by_size, int(small), int(large))
        if len(logs) < 2:
            continue
        about = {"heads": heads, "small": int(small), "large": int(large), "tasks": len(logs)}
        for kind in KINDS:
            change = resampled_median(logs[kind], logs["corpus"])
            apart = resampled_median(logs[kind].abs(), logs["corpus"])
            rows.append(
                about
                | {"kind": kind, "value": change.mean, "low": change.low, "high": change.high}
                | {"apart": apart.mean, "apart_low": apart.low, "apart_high": apart.high}
            )
        nearer = logs["l2"].abs() - logs["l2_corrected"].abs()
        found = resampled_median(nearer, logs["corpus"])
        rows.append(
            about
            | {"kind": "difference", "apart": found.mean}
            | {"apart_low": found.low, "apart_high": found.high}
        )
    return pd.DataFrame(rows)


def _log_ratios(by_size: pd.DataFrame, small: int, large: int) -> pd.DataFrame:
    """Return log(large / small) of both norms, one row a task that has both and no nought."""
    found = {}
    owners = by_size.drop_duplicates("task").set_index("task")["corpus"]
    for kind in KINDS:
        table = by_size.pivot(index="task", columns="n", values=kind)[[small, large]].dropna()
        table = table[(table > 0).all(axis=1)]
        found[kind] = np.log(table[large] / table[small])
    both = pd.DataFrame(found).dropna()
    return both.assign(corpus=owners[both.index])


def slope_of_sizes(by_size: pd.DataFrame) -> pd.DataFrame:
    """Return each task's slope of log norm on log size, plain and corrected."""
    rows = []
    for (task, corpus), part in by_size.groupby(["task", "corpus"]):
        kept = part[(part["l2"] > 0) & (part["l2_corrected"] > 0)]
        if len(kept) > 1:
            x = np.log(kept["n_samples"].to_numpy(np.float64))
            slopes = {k: float(np.polyfit(x, np.log(kept[k]), 1)[0]) for k in KINDS}
            rows.append({"task": task, "corpus": corpus} | slopes)
    return pd.DataFrame(rows, columns=["task", "corpus", *KINDS])
