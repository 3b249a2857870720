"""Pilots of the meta-dataset: which there are, and what each of them may see.

A pilot is the beginning of one nested draw of a variant's training rows, and unlabelled
evaluation texts. Work on pilots is handed out blind: the labels of the evaluation rows do not
leave `blinded`, so nothing that is computed from a pilot can depend on them.

Evidence of pilots: what `charkit estimate` would know of them, one row a pilot and layer, and the
metrics of their Fisher embeddings.

Two leaks are shut: work is blind (`glue_pilot.meta_dataset.pilots`), and of the library of known
tasks only those of other corpora are looked at.

Fisher embeddings of pilots: of labelled texts, and of unlabelled ones under the same head.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from charkit.answers.pilot.evidence import BESIDE, gather_evidence
from charkit.answers.similarity.library import SHIPPED, Library, shipped_library
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
from charkit.heads.solver.softmax import fit_softmax
from charkit.heads.sweep.table import write_table
from charkit.store.durable import sha256_file
from charkit.store.store import Store
from charkit.tasks import Split, Task
from charkit.tasks.nested import nested_order
from charkit.tasks.task import hash_strings
from glue_pilot.meta_dataset.fisher_evidence import FisherEvidence, fisher_columns, fisher_evidence
from glue_pilot.meta_dataset.study import Base, MetadataStudy, kept
from glue_pilot.meta_dataset.variants import Variant, has_two_classes

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class BlindVariant:
    """A variant without the labels of its evaluation rows.

    Attributes:
        name: What tables call it.
        train_rows: Rows of the base task's training part, (n_train,).
        train_labels: Their classes from 0, (n_train,).
        unlabelled_rows: Rows of its evaluation part, in random order, (n_unlabelled,).
        n_classes: How many classes there are.
    """

    name: str
    train_rows: IntArray
    train_labels: IntArray
    unlabelled_rows: IntArray
    n_classes: int

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that name rows and labels."""
        arrays = (self.train_rows, self.train_labels, self.unlabelled_rows)
        parts = [array.astype("<i8").tobytes().hex() for array in arrays]
        return hash_strings([self.name, str(self.n_classes), *parts]).hex()

    def sample(self, pilot: Pilot) -> tuple[IntArray, IntArray]:
        """Return a pilot's rows of the base task and their labels, small pilots nested in large."""
        order = nested_order(self.train_labels, seed=pilot.seed, kind="classification")
        chosen = order[: pilot.n0]
        return self.train_rows[chosen], self.train_labels[chosen]


@dataclass(frozen=True, order=True)
class Pilot:
    """One pilot of a variant.

    Attributes:
        n0: Labelled texts; 0 for none.
        seed: Which nested draw.
    """

    n0: int
    seed: int


def blinded(variant: Variant, study: MetadataStudy) -> BlindVariant:
    """Return what pilots of a variant may see."""
    order = np.random.default_rng(0).permutation(len(variant.evaluation_rows))
    return BlindVariant(
        name=variant.name,
        train_rows=variant.train_rows,
        train_labels=variant.train_labels,
        unlabelled_rows=variant.evaluation_rows[order[: study.n_unlabelled]],
        n_classes=variant.n_classes,
    )


def pilots_of(variant: BlindVariant, study: MetadataStudy) -> list[Pilot]:
    """Return a variant's pilots: none larger than half of its training rows.

    A pilot has at least two labels a class on average and labels of two classes, or no label at
    all; without labels all draws are the same, so there is one.
    """
    half = len(variant.train_rows) // 2
    smallest = max(2, 2 * variant.n_classes)
    wanted = study.pilots if variant.name == "all" else study.variant_pilots
    sizes = [n for n in sorted(wanted) if n == 0 or smallest <= n <= half]
    found = [
        Pilot(n, seed) for n in sizes for seed in (study.pilot_seeds(variant.name) if n else (0,))
    ]
    labels = variant.train_labels
    return [p for p in found if not p.n0 or has_two_classes(labels, n=p.n0, seed=p.seed)]


def fisher_pilots_of(
    variant: BlindVariant, pilots: Iterable[Pilot], study: MetadataStudy
) -> list[Pilot]:
    """Return those of a variant's pilots that get a Fisher embedding."""
    if variant.name == "all":
        sizes, n_draws = study.fisher_pilots, study.fisher_draws
    else:
        sizes, n_draws = study.fisher_variant_pilots, 1
    return [p for p in pilots if p.n0 in sizes and p.seed < n_draws]


def by_draw(pilots: Iterable[Pilot]) -> list[tuple[Pilot, ...]]:
    """Return the pilots of each draw: what is computed and kept together."""
    draws: dict[int, list[Pilot]] = {}
    for pilot in pilots:
        draws.setdefault(pilot.seed, []).append(pilot)
    return [tuple(draws[seed]) for seed in sorted(draws)]


def work_config(
    kind: str, version: int, base: Base, variant: Variant | BlindVariant, **more: Any
) -> dict[str, Any]:
    """Return what determines an entry on a variant: its texts and states, and `more`."""
    return {
        "kind": kind,
        "format": version,
        "task": base.task,
        "corpus": base.corpus,
        "variant": variant.fingerprint,
        "train_states": base.train_states,
        **more,
    }


FISHER_KIND = "metadata_fisher"
_FISHER_FORMAT = 1


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
        return work_config(
            FISHER_KIND,
            _FISHER_FORMAT,
            self.base,
            self.variant,
            pilots=[[p.n0, p.seed] for p in self.pilots],
            n_texts=self.study.n_fisher,
            max_length=self.study.fisher_max_length,
        )


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
    return kept(
        store, FISHER_KIND, work.config, make, seeds={"draws": 0}, fingerprints=fingerprints
    )


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
    folder = store.find(FISHER_KIND, key)
    if folder is None:
        return {}
    return {
        pilot: (
            load_embedding(folder / _file(pilot, "labelled")),
            load_embedding(folder / _file(pilot, "unlabelled")),
        )
        for pilot in pilots
    }


EVIDENCE_KIND = "metadata_evidence"
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
        return work_config(
            EVIDENCE_KIND,
            _FORMAT,
            self.base,
            self.variant,
            evaluation_states=self.base.evaluation_states,
            random_states=self.base.random_states,
            pilots=[[p.n0, p.seed] for p in self.pilots],
            embeddings=self.embeddings,
            library=None if library is None else _hash_of(library.name),
        )


def run_evidence(work: EvidenceWork) -> str:
    """Gather the evidence of a variant's pilots unless the store has it; return the key."""
    store = Store(work.root)
    return kept(
        store, EVIDENCE_KIND, work.config,
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
    random = open_states(store, base.random_states).layer(-1) if base.random_states else None
    embeddings = read_embeddings(store, work.embeddings, work.embedded) if work.embedded else {}
    tables = []
    for pilot in work.pilots:
        rows, labels = variant.sample(pilot)
        fisher = _fisher(work, embeddings[pilot]) if pilot in embeddings else None
        other = None if random is None or not pilot.n0 else random[rows]
        table = _evidence(variant, pilot, states[:, rows], labels, others, other, fisher)
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
    random: NDArray[np.float32] | None,
    fisher: FisherEvidence | None,
) -> pd.DataFrame:
    table = gather_evidence(
        states,
        labels if pilot.n0 else None,
        others,
        n_classes=variant.n_classes,
        seed=pilot.seed,
        random_states=random,
    )
    if fisher is not None:
        table = table.assign(**fisher_columns(fisher, len(states) - 1))
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
