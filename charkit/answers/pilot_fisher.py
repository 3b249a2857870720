"""A pilot's Fisher embeddings: some labelled texts, some others, under the head of all labels."""

from __future__ import annotations

import numpy as np

from charkit.answers.fisher_evidence import FisherEvidence, fisher_evidence
from charkit.answers.library import shipped_library
from charkit.answers.pilot_limits import FISHER_MAX_LENGTH, MOST_FISHER_TEXTS
from charkit.config import Progress, no_progress, staged
from charkit.encoders.encoder import Encoder
from charkit.encoders.states import LayerStates
from charkit.fisher import FisherOptions, Head, TaskEmbedding, fisher_embeddings, make_head
from charkit.heads.softmax import fit_softmax
from charkit.parallel.jobs import threads_limited
from charkit.tasks.nested import nested_order
from charkit.tasks.task import Split


@threads_limited(1)
def last_head(states: LayerStates, labelled: Split, n_classes: int) -> Head:
    """Return the head that labelled texts give the last layer, its strength chosen.

    Args:
        states: Pooled states of the texts.
        labelled: The texts with class codes.
        n_classes: How many classes there are.
    """
    codes = np.array(labelled.labels, np.int64)
    fitted = fit_softmax(states.layer(-1)[None], codes, n_classes)
    return make_head(fitted.weights[0].numpy(), fitted.bias[0].numpy())


def pilot_fisher(
    encoder: Encoder,
    head: Head,
    labelled: Split,
    unlabelled: Split | None,
    *,
    corpus: str,
    max_length: int,
    progress: Progress = no_progress,
) -> FisherEvidence:
    """Embed some texts of both kinds, and place them among the known tasks of other corpora.

    Args:
        encoder: The encoder.
        head: On its last layer.
        labelled: Labelled texts; at most 128 are embedded, stratified.
        unlabelled: Other texts, of which as many are drawn; None for none.
        corpus: Known tasks of this corpus are left out.
        max_length: Longest text in tokens; at most 128 are embedded.
        progress: Called as ``progress(stage, done, total)``.
    """
    labels = np.array(labelled.labels, np.int64)
    first = nested_order(labels, seed=0, kind="classification")[:MOST_FISHER_TEXTS]
    splits = {"labelled": labelled.take(first)}
    if unlabelled is not None:
        drawn = np.random.default_rng(0).permutation(len(unlabelled))[:MOST_FISHER_TEXTS]
        splits["unlabelled"] = unlabelled.take(drawn)
    layer = encoder.n_layers
    options = FisherOptions(estimator="sketch", max_length=min(max_length, FISHER_MAX_LENGTH))
    found = {
        what: fisher_embeddings(
            encoder,
            Split(split.texts, split.pairs),
            {layer: head},
            options=options,
            progress=staged(progress, f"embed {what} texts"),
        )[layer]
        for what, split in splits.items()
    }
    own = found["labelled"]
    known = _known_tasks(encoder, own, corpus)
    return fisher_evidence(own, evaluation=found.get("unlabelled"), library=known)


def _known_tasks(encoder: Encoder, own: TaskEmbedding, corpus: str) -> list[TaskEmbedding]:
    """Return the library's embeddings of other corpora, at the size nearest to the sample's."""
    library = shipped_library(encoder.fingerprint)
    if library is None or own.max_length != FISHER_MAX_LENGTH:
        return []
    entries = library.matching(own, n=library.near_size(own.n_samples))
    return [e.embedding for e in entries if e.corpus != corpus]
