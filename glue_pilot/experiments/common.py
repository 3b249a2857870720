"""What several experiments share: how their samples are drawn and embedded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charkit.encoders import Encoder
from glue_pilot.experiments.base import Workspace
from glue_pilot.samples import EmbeddingStudy, KnownTask, Sample, embed_study

BoolArray = NDArray[np.bool_]


def study_of(settings: Any, sizes: Sequence[int], draws: Sequence[int]) -> EmbeddingStudy:
    """Return how the samples of an experiment are drawn and embedded.

    Args:
        settings: With ``encoder``, ``max_length``, ``n_eval``, and ``all_heads_up_to`` if it is
            not 128: the study of all tasks has a head at every layer up to there, so that what
            it kept in the store is found.
        sizes: Training texts a sample.
        draws: How many of each size.

    Raises:
        UsageError: A size or a number of draws is below 1.
    """
    return EmbeddingStudy(
        name="experiment",
        encoder=settings.encoder,
        sizes=tuple(sizes),
        draws=tuple(draws),
        all_heads_up_to=getattr(settings, "all_heads_up_to", 128),
        max_length=settings.max_length,
        n_eval=settings.n_eval,
    )


def known_tasks(names: Sequence[str], workspace: Workspace) -> list[KnownTask]:
    """Load tasks; a generated one is a corpus of its own, its kind of label is its grammar.

    Generated tasks of other seeds are of one kind, their texts drawn anew.
    """
    return [
        replace(k, corpus=k.task.name, domain=k.corpus, label_kind=k.task.corpus)
        if not k.domain and k.task.source.startswith("generated/")
        else k
        for k in workspace.tasks(names)
    ]


def embedded_samples(
    study: EmbeddingStudy, known: list[KnownTask], encoder: Encoder, workspace: Workspace
) -> list[Sample]:
    """Return all samples of a study, from the store where it has them."""
    made = embed_study(study, known, encoder, store=workspace.store, progress=workspace.progress)
    return list(made)


# -- which tasks are alike --------------------------------------------------------------------


def kinds_of(known: Sequence[KnownTask]) -> NDArray[np.str_]:
    """Return each task's kind of label; tasks without a manifest have their corpus's."""
    return np.array([k.label_kind or k.corpus for k in known])


def share_texts(known: Sequence[KnownTask]) -> BoolArray:
    """Return which pairs may share texts: tasks of one corpus of a manifest; (tasks, tasks).

    Generated tasks of one corpus differ in every text, as their seeds do.
    """
    corpora = np.array([k.corpus for k in known])
    in_manifest = np.array([bool(k.label_kind) for k in known])
    shared = (corpora[:, None] == corpora) & in_manifest[:, None] & in_manifest
    return np.asarray(shared | np.eye(len(known), dtype=bool))


def siblings(known: Sequence[KnownTask]) -> BoolArray:
    """Return which pairs have labels of one kind and no texts in common; (tasks, tasks)."""
    kinds = kinds_of(known)
    return np.asarray((kinds[:, None] == kinds) & ~share_texts(known))
