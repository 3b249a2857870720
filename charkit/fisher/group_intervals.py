"""Intervals of an embedding's norms from its groups of texts: no text's numbers need be kept."""

from __future__ import annotations

import numpy as np
import pandas as pd

from charkit.errors import UsageError
from charkit.fisher.embedding import TaskEmbedding

FEWEST_GROUPS = 8
"""From fewer groups no interval is made."""


def group_norm_intervals(
    embedding: TaskEmbedding, *, n_resamples: int = 1000, level: float = 0.9, seed: int = 0
) -> pd.DataFrame:
    """Return bootstrap intervals of each layer's L2 norm, groups drawn with replacement.

    With the products A_gh = s_g . s_h of the groups' sums and u_g how often group g was drawn,
    the norm of a resample is sqrt(u'Au) over its number of texts. Its deviations are raised by
    sqrt(G / (G - 1)), since G groups vary about their own mean. As in
    `TaskEmbedding.norm_intervals`, which draws single texts, the quantiles are taken around the
    observed norm.

    Args:
        embedding: The embedding.
        n_resamples: How many resamples.
        level: Share of cases that an interval should hold.
        seed: Of the draws.

    Returns:
        Index ``layer`` (and ``"all"``); columns ``l2``, ``low``, ``high``; the last two are NaN
        where there are fewer than 8 groups, or none are known.

    Raises:
        UsageError: An argument is out of range.
    """
    if n_resamples < 2 or not 0 < level < 1:
        raise UsageError(
            "resampling is out of range: expected n_resamples of at least 2 and level "
            f"between 0 and 1, got {n_resamples} and {level}."
        )
    layers = embedding.layers
    table = embedding.norms()[["l2"]].assign(low=np.nan, high=np.nan)
    products = embedding.group_products
    if products is None or products.shape[1] < FEWEST_GROUPS:
        return table
    n_groups = products.shape[1]
    of_slice = np.array([s.layer for s in embedding.slices])
    by_layer = [products[of_slice == layer].sum(0) for layer in layers]
    stacked = np.stack([*by_layer, products.sum(0)])
    share = np.full(n_groups, 1 / n_groups)
    drawn = np.random.default_rng(seed).multinomial(n_groups, share, n_resamples)
    n_texts = np.full(n_groups, embedding.n_samples // n_groups)
    n_texts[: embedding.n_samples % n_groups] += 1  # as `deal_groups` fills them
    counts = (drawn @ n_texts)[:, None]
    squares = np.einsum("rg,kgh,rh->rk", drawn, stacked, drawn, optimize=True)
    lengths = np.sqrt(np.maximum(squares, 0)) / counts
    spread = (lengths - lengths.mean(0)) * (n_groups / (n_groups - 1)) ** 0.5
    low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2], axis=0)
    observed = table["l2"].to_numpy()
    return table.assign(low=np.maximum(observed + low, 0), high=observed + high)
