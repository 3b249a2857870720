"""Fisher embeddings of pilots: of labelled texts, and of unlabelled ones under the same head."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charkit.encoders.stream import open_states
from charkit.fisher import (
    FisherOptions,
    Head,
    TaskEmbedding,
    fisher_embeddings,
    load_embedding,
    make_head,
    save_embedding,
)
from charkit.heads.softmax import fit_softmax
from charkit.store import Store
from charkit.tasks import Split, Task
from glue_pilot.bases import Base, kept
from glue_pilot.metadata_study import MetadataStudy
from glue_pilot.pilots import BlindVariant, Pilot, fisher_pilots_of

KIND = "metadata_fisher"
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class FisherWork:
    """The Fisher embeddings of some of a variant's pilots.

    Attributes:
        base: Its base task.
        variant: Its rows.
        pilots: Which pilots.
        labelled: The first texts of each pilot.
        unlabelled: Some of the unlabelled evaluation texts.
        study: How long texts may be.
        root: The store's folder.
    """

    base: Base
    variant: BlindVariant
    pilots: tuple[Pilot, ...]
    labelled: tuple[Split, ...]
    unlabelled: Split
    study: MetadataStudy
    root: Path

    @property
    def config(self) -> dict[str, Any]:
        """What determines the embeddings; its `content_hash` is their key in the store."""
        return {
            "kind": KIND,
            "format": _FORMAT,
            "task": self.base.task,
            "corpus": self.base.corpus,
            "variant": self.variant.fingerprint,
            "train_states": self.base.train_states,
            "pilots": [[p.n0, p.seed] for p in self.pilots],
            "n_texts": self.study.n_fisher,
            "max_length": self.study.fisher_max_length,
        }


def fisher_work(
    task: Task,
    base: Base,
    variant: BlindVariant,
    pilots: Iterable[Pilot],
    *,
    study: MetadataStudy,
    root: Path,
) -> FisherWork:
    """Return the work on some pilots of a variant; those without an embedding are left out.

    Args:
        task: The base task; of its evaluation part only texts are read.
        base: Where its states lie.
        variant: Its rows.
        pilots: Pilots of it.
        study: Which of them are embedded, and how many texts.
        root: The store's folder.
    """
    assert task.evaluation is not None
    chosen = fisher_pilots_of(variant, pilots, study)
    labelled = [_unlabelled(task.train, variant.sample(p)[0][: study.n_fisher]) for p in chosen]
    other = _unlabelled(task.evaluation, variant.unlabelled_rows[: study.n_fisher])
    return FisherWork(
        base.without_variants(), variant, tuple(chosen), tuple(labelled), other, study, root
    )


def _unlabelled(part: Split, rows: NDArray[np.int64]) -> Split:
    chosen = part.take(rows)
    return Split(chosen.texts, chosen.pairs)


def run_fisher(work: FisherWork) -> str:
    """Embed a variant's pilots unless the store has them; return the key."""
    store = Store(work.root)

    def make(folder: Path) -> None:
        features = open_states(store, work.base.train_states).layer(-1)
        for pilot, split in zip(work.pilots, work.labelled, strict=True):
            one, other = _embedded(work, pilot, split, features)
            save_embedding(one, folder / _file(pilot, "labelled"))
            save_embedding(other, folder / _file(pilot, "unlabelled"))

    fingerprints = {"variant": work.variant.fingerprint}
    return kept(store, KIND, work.config, make, seeds={"draws": 0}, fingerprints=fingerprints)


def _embedded(
    work: FisherWork, pilot: Pilot, labelled: Split, features: NDArray[np.float32]
) -> tuple[TaskEmbedding, TaskEmbedding]:
    """Embed a pilot's own texts and the unlabelled ones, under the head of the last layer."""
    encoder = work.study.load_encoder()
    rows, labels = work.variant.sample(pilot)
    head = _head(features[rows], labels, work.variant.n_classes)
    options = FisherOptions(estimator="sketch", max_length=work.study.fisher_max_length)
    layer = encoder.n_layers
    one, other = (
        fisher_embeddings(encoder, split, {layer: head}, options=options)[layer]
        for split in (labelled, work.unlabelled)
    )
    return one, other


def _head(features: NDArray[np.float32], labels: NDArray[np.int64], n_classes: int) -> Head:
    heads = fit_softmax(features[None], labels, n_classes)
    return make_head(heads.weights[0].numpy(), heads.bias[0].numpy())


def _file(pilot: Pilot, what: str) -> str:
    return f"n{pilot.n0}-seed{pilot.seed}-{what}.safetensors"


def read_embeddings(
    store: Store, key: str, pilots: tuple[Pilot, ...]
) -> dict[Pilot, tuple[TaskEmbedding, TaskEmbedding]]:
    """Return each pilot's embeddings: labelled texts, unlabelled texts; none where absent."""
    folder = store.find(KIND, key)
    if folder is None:
        return {}
    return {
        pilot: (
            load_embedding(folder / _file(pilot, "labelled")),
            load_embedding(folder / _file(pilot, "unlabelled")),
        )
        for pilot in pilots
    }
