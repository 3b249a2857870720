"""The base tasks of the meta-dataset: encoded once, cut into variants once, kept in the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charkit.cached import cached
from charkit.config import content_hash
from charkit.durable import write_whole
from charkit.encoders import encode_to_store
from charkit.encoders.stream import states_config
from charkit.errors import VanishedError
from charkit.heads.grid import RANDOM_ENCODER_SEED
from charkit.manifest import Clock, run_manifest
from charkit.store import Store
from charkit.tasks import Task
from glue_pilot.metadata_study import MetadataStudy
from glue_pilot.variants import Variant, make_variants

KIND = "metadata_bases"
_FORMAT = 1

_ARRAYS = ("train_rows", "train_labels", "evaluation_rows", "evaluation_labels")


@dataclass(frozen=True, eq=False)
class Base:
    """A base task: where its states lie, and which of its rows each variant has.

    Attributes:
        task: Its name.
        corpus: Tasks that share it share texts.
        train_states: Key of the training rows' states.
        evaluation_states: Key of the evaluation rows' states.
        random_states: Key of the training rows' states under a random encoder.
        variants: The whole first; empty where the task is too small.
    """

    task: str
    corpus: str
    train_states: str
    evaluation_states: str
    random_states: str
    variants: tuple[Variant, ...]

    def without_variants(self) -> Base:
        """Return the base as a worker needs it that has its variant already."""
        return replace(self, variants=())


@dataclass(frozen=True, eq=False)
class BaseWork:
    """A base task that may have to be made.

    Attributes:
        task: Already cut to the study's numbers of rows.
        study: How many variants, and how large.
        root: The store's folder.
    """

    task: Task
    study: MetadataStudy
    root: Path

    @property
    def config(self) -> dict[str, Any]:
        """What determines the base; its `content_hash` is its key in the store."""
        encoder = self.study.load_encoder()
        part = self.task.evaluation
        assert part is not None
        states = [states_config(encoder, split) for split in (self.task.train, part)]
        return {
            "kind": KIND,
            "format": _FORMAT,
            "task": self.task.fingerprint,
            "name": self.task.name,
            "corpus": self.task.corpus,
            "states": [content_hash(config) for config in states],
            "n_variants": self.study.n_variants,
            "smallest_train": self.study.smallest_train,
            "smallest_evaluation": self.study.smallest_evaluation,
        }


def kept(
    store: Store,
    kind: str,
    config: dict[str, Any],
    make: Callable[[Path], object],
    *,
    seeds: Mapping[str, int],
    fingerprints: Mapping[str, str],
) -> str:
    """Let the store have a part of the study, computed on this machine in float32; return its key.

    Args:
        store: The store.
        kind: The kind of entry.
        config: All that determines it.
        make: Writes its files into a folder; called only if the store does not have it.
        seeds: What is drawn -> the seed.
        fingerprints: What is read -> its content hash.
    """

    def write(folder: Path) -> dict[str, Any]:
        clock = Clock()
        make(folder)
        return run_manifest(config, clock=clock, seeds=seeds, fingerprints=fingerprints)

    return cached(store, kind, config, make=write, load=lambda folder: None).key


def run_base(work: BaseWork) -> str:
    """Encode a base task and make its variants unless the store has them; return its key."""
    store = Store(work.root)
    return kept(
        store, KIND, work.config,
        lambda folder: _write(_base(work, store), folder),
        seeds={"variants": 0, "random_encoder": RANDOM_ENCODER_SEED},
        fingerprints={"task": work.task.fingerprint},
    )  # fmt: skip


def _base(work: BaseWork, store: Store) -> Base:
    task, study = work.task, work.study
    assert task.evaluation is not None
    variants = make_variants(
        task,
        most=study.n_variants,
        smallest_train=study.smallest_train,
        smallest_evaluation=study.smallest_evaluation,
    )
    keys = ("", "", "")
    if variants:
        encoder = study.load_encoder()
        random = encoder.randomised(seed=RANDOM_ENCODER_SEED)
        train = encode_to_store(encoder, task.train, store=store)
        evaluation = encode_to_store(encoder, task.evaluation, store=store)
        other = encode_to_store(random, task.train, store=store)
        keys = (train.key, evaluation.key, other.key)
    return Base(task.name, task.corpus, *keys, variants)


def _write(base: Base, folder: Path) -> None:
    from safetensors.numpy import save

    tensors: dict[str, NDArray[Any]] = {}
    for place, variant in enumerate(base.variants):
        for name in _ARRAYS:
            array = np.array(getattr(variant, name), np.int32)
            tensors[f"{place}.{name}"] = np.ascontiguousarray(array)
    write_whole(folder / "rows.safetensors", save(tensors))
    facts = asdict(replace(base, variants=()))
    facts["variants"] = [[v.name, v.n_classes] for v in base.variants]
    write_whole(folder / "index.json", json.dumps(facts, indent=1, sort_keys=True).encode())


def read_base(store: Store, key: str) -> Base:
    """Return a base task from the store.

    Raises:
        VanishedError: The store has no such entry.
    """
    from safetensors.numpy import load_file

    folder = store.find(KIND, key)
    if folder is None:
        raise VanishedError(
            f"no such base task: expected a finished entry {KIND}/{key} in {store.root}, got "
            "none. Run it again."
        )
    facts = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / "rows.safetensors")
    variants = tuple(
        Variant(
            name=name,
            n_classes=n_classes,
            **{a: tensors[f"{place}.{a}"].astype(np.int64) for a in _ARRAYS},
        )
        for place, (name, n_classes) in enumerate(facts.pop("variants"))
    )
    return Base(**facts, variants=variants)
