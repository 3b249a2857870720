"""Evidence of pilots: what `charkit estimate` would know of them, one row a pilot and layer.

Two leaks are shut: work is blind (`glue_pilot.pilots`), and of the library of known tasks only
those of other corpora are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.evidence import BESIDE, gather_evidence
from charkit.answers.fisher_evidence import FisherEvidence, fisher_evidence
from charkit.answers.library import SHIPPED, Library, shipped_library
from charkit.durable import sha256_file
from charkit.encoders.stream import open_states
from charkit.fisher import TaskEmbedding
from charkit.heads.records import write_table
from charkit.store import Store
from glue_pilot.bases import Base, kept
from glue_pilot.pilot_fisher import read_embeddings
from glue_pilot.pilots import BlindVariant, Pilot

KIND = "metadata_evidence"
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class EvidenceWork:
    """The evidence of some of a variant's pilots.

    Attributes:
        base: Its base task.
        variant: Its rows, without the labels of evaluation rows.
        pilots: Which pilots.
        embedded: Those of them with Fisher embeddings.
        embeddings: Key of these in the store; empty without any.
        encoder_fingerprint: Hash of the encoder's files, which names its library.
        root: The store's folder.
    """

    base: Base
    variant: BlindVariant
    pilots: tuple[Pilot, ...]
    embedded: tuple[Pilot, ...]
    embeddings: str
    encoder_fingerprint: str
    root: Path

    @property
    def config(self) -> dict[str, Any]:
        """What determines the evidence; its `content_hash` is its key in the store."""
        library = _library(self.encoder_fingerprint)
        return {
            "kind": KIND,
            "format": _FORMAT,
            "task": self.base.task,
            "corpus": self.base.corpus,
            "variant": self.variant.fingerprint,
            "train_states": self.base.train_states,
            "evaluation_states": self.base.evaluation_states,
            "random_states": self.base.random_states,
            "pilots": [[p.n0, p.seed] for p in self.pilots],
            "embeddings": self.embeddings,
            "library": None if library is None else _hash_of(library.name),
        }


def run_evidence(work: EvidenceWork) -> str:
    """Gather the evidence of a variant's pilots unless the store has it; return the key."""
    store = Store(work.root)
    return kept(
        store, KIND, work.config,
        lambda folder: write_table(gather(work, store), folder / "evidence.parquet"),
        seeds={"pilots": max(p.seed for p in work.pilots) + 1},
        fingerprints={"variant": work.variant.fingerprint},
    )  # fmt: skip


def gather(work: EvidenceWork, store: Store) -> pd.DataFrame:
    """Return one row a pilot and layer: the columns of `metamodel.schema.EVIDENCE`."""
    base, variant = work.base, work.variant
    known = open_states(store, base.train_states)
    states = known.to_numpy()
    others = open_states(store, base.evaluation_states).to_numpy()[:, variant.unlabelled_rows]
    random = open_states(store, base.random_states).layer(-1)
    embeddings = read_embeddings(store, work.embeddings, work.embedded) if work.embedded else {}
    tables = []
    for pilot in work.pilots:
        rows, labels = variant.sample(pilot)
        fisher = _fisher(work, embeddings[pilot]) if pilot in embeddings else None
        table = _evidence(variant, pilot, states[:, rows], labels, others, random[rows], fisher)
        tables.append(table)
    joined = pd.concat(tables, ignore_index=True)
    names = {
        "encoder": known.encoder,
        "task": base.task,
        "corpus": base.corpus,
        "subset": variant.name,
    }
    for place, (name, value) in enumerate(names.items()):
        joined.insert(place, name, value)
    return joined


def _evidence(
    variant: BlindVariant,
    pilot: Pilot,
    states: NDArray[np.float32],
    labels: NDArray[np.int64],
    others: NDArray[np.float32],
    random: NDArray[np.float32],
    fisher: FisherEvidence | None,
) -> pd.DataFrame:
    table = gather_evidence(
        states,
        labels if pilot.n0 else None,
        others,
        n_classes=variant.n_classes,
        seed=pilot.seed,
        random_states=random if pilot.n0 else None,
        fisher=fisher,
    )
    table = table.drop(columns=list(BESIDE))
    table.insert(0, "seed", pilot.seed)
    return table


def _fisher(work: EvidenceWork, embeddings: tuple[TaskEmbedding, TaskEmbedding]) -> FisherEvidence:
    """Return the figures of a pilot's embeddings, seen from known tasks of other corpora."""
    one, other = embeddings
    library = _library(work.encoder_fingerprint)
    known: list[TaskEmbedding] = []
    if library is not None:
        entries = library.matching(one, n=library.near_size(one.n_samples))
        known = [e.embedding for e in entries if e.corpus != work.base.corpus]
    return fisher_evidence(one, evaluation=other, library=known)


@lru_cache(maxsize=2)
def _hash_of(library: str) -> str:
    """Return the hash of a shipped library's numbers."""
    return sha256_file(SHIPPED / f"{library}.safetensors")


@lru_cache(maxsize=2)
def _library(encoder_fingerprint: str) -> Library | None:
    return shipped_library(encoder_fingerprint)
