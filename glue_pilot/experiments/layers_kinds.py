"""Which tasks are alike by what their labels say, and triples of two alike and one other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from glue_pilot.embedding_study import EmbeddingStudy, KnownTask

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


def study_of(*, encoder: str, n: int, draws: int, max_length: int, n_eval: int) -> EmbeddingStudy:
    """Return the study of embeddings that samples of n texts are drawn and embedded by.

    Up to 128 texts there is a head at every layer, as in the study of all tasks, so that what
    that study kept in the store is found there.
    """
    return EmbeddingStudy(
        name="experiment",
        encoder=encoder,
        sizes=(n,),
        draws=(draws,),
        all_heads_up_to=128,
        max_length=max_length,
        n_eval=n_eval,
    )


def kinds_of(known: Sequence[KnownTask]) -> list[str]:
    """Return each task's kind of label; tasks that no manifest knows have their corpus's."""
    return [k.label_kind or k.corpus for k in known]


def share_texts(known: Sequence[KnownTask]) -> BoolArray:
    """Return which pairs may share texts: one corpus, in a manifest's word; (tasks, tasks).

    Generated tasks of one corpus differ in every text, as their seeds do.
    """
    corpora = np.array([k.corpus for k in known])
    listed = np.array([bool(k.label_kind) for k in known])
    shared = (corpora[:, None] == corpora) & listed[:, None] & listed
    return np.asarray(shared | np.eye(len(known), dtype=bool))


def siblings(known: Sequence[KnownTask]) -> BoolArray:
    """Return which pairs have labels of one kind and no texts in common; (tasks, tasks)."""
    kinds = np.array(kinds_of(known))
    return np.asarray((kinds[:, None] == kinds) & ~share_texts(known))


def triples(known: Sequence[KnownTask]) -> IntArray:
    """Return all triples of two similar tasks and a dissimilar one, (count, 3), as places.

    The first two are `siblings`; the third has labels of another kind, and no texts of theirs.
    """
    alike, shared = siblings(known), share_texts(known)
    kinds = np.array(kinds_of(known))
    found = [
        (a, b, c)
        for a, b in np.argwhere(np.triu(alike))
        for c in range(len(known))
        if kinds[c] != kinds[a] and not shared[a, c] and not shared[b, c]
    ]
    return np.array(found, np.int64).reshape(-1, 3)
