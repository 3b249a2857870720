"""One embedding from those of disjoint samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from charkit.errors import UsageError
from charkit.fisher.embedding import TaskEmbedding, check_comparable
from charkit.fisher.stability import products_of_rows


def merge_embeddings(embeddings: Sequence[TaskEmbedding], *, name: str = "") -> TaskEmbedding:
    """Return the embedding of disjoint samples together, under the head they share.

    Args:
        embeddings: Of parts of a sample; each counts by its number of texts.
        name: What tables call the result.

    Raises:
        UsageError: There are none, they cannot be compared, or their heads differ.
    """
    if not embeddings:
        raise UsageError("there is nothing to merge: expected at least one embedding, got none.")
    check_comparable(embeddings)
    heads = {e.head_fingerprint for e in embeddings}
    if len(heads) > 1:
        raise UsageError(
            f"embeddings cannot be merged: expected one head, got {len(heads)}. Embed the parts "
            "under the same head."
        )
    counts = np.array([e.n_samples for e in embeddings], np.float64)
    share = counts / counts.sum()
    values = sum(w * e.values for w, e in zip(share, embeddings, strict=True))
    spread = sum(  # squares of numbers within and between the parts, about the common mean
        n * (n - 1) * e.standard_error**2 + n * (e.values - values) ** 2
        if n > 1
        else (e.values - values) ** 2
        for n, e in zip(counts, embeddings, strict=True)
    )
    total = counts.sum()
    kept = [e.rows for e in embeddings if e.rows is not None]
    rows = np.concatenate(kept) if len(kept) == len(embeddings) else None
    first = embeddings[0]
    products = None
    if rows is not None:
        products = products_of_rows(rows, first.slices, seed=first.seed)
    return replace(
        first,
        values=np.asarray(values),
        standard_error=np.sqrt(spread / (total * max(total - 1, 1))),
        name=name,
        n_samples=int(total),
        frac_truncated=float(share @ np.array([e.frac_truncated for e in embeddings])),
        text_fingerprint="",
        draw_error=first.draw_error if len(embeddings) == 1 else float("nan"),
        stopped_early=any(e.stopped_early for e in embeddings),
        rows=rows,
        group_products=products,
    )
