"""The study behind the meta-dataset: which tasks, parts, sizes and draws, read from a TOML file.

The base tasks of the meta-dataset: encoded once, cut into variants once, kept in the store.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charkit.config import content_hash
from charkit.encoders import Encoder, encode_to_store, load_encoder
from charkit.encoders.device import DeviceChoice, DtypeChoice
from charkit.encoders.stream import states_config
from charkit.errors import DataError, UsageError, VanishedError
from charkit.heads.sweep.grid import RANDOM_ENCODER_SEED
from charkit.store.cached import cached
from charkit.store.durable import write_whole
from charkit.store.manifest import Clock, run_manifest
from charkit.store.store import Store
from charkit.tasks import Task, nested_order
from glue_pilot.config import read_toml
from glue_pilot.meta_dataset.variants import Variant, make_variants
from glue_pilot.samples import load_known_tasks


@dataclass(frozen=True)
class MetadataStudy:
    """What the meta-dataset is made of.

    Attributes:
        name: Names the tables: ``results/<name>_evidence.parquet`` and so on.
        encoder: Name of the encoder.
        n_train: Training rows of a task, at most: the beginning of a nested stratified order.
        n_evaluation: Evaluation rows of a task, at most; drawn without a look at their labels.
        n_unlabelled: Of them, how many stand for the unlabelled texts of a pilot, at most.
        n_variants: Parts of a task, the whole among them, at most.
        smallest_train: Training rows that a part needs.
        smallest_evaluation: Evaluation rows that a part needs.
        sizes: Training sizes of the outcomes; the whole part comes on top.
        small_size: Sizes up to this have the larger number of draws.
        draws: Draws of the whole task: small sizes, larger sizes.
        variant_draws: Draws of its parts, likewise.
        pilots: Sizes of pilots of the whole task; 0 has no label.
        variant_pilots: Sizes of pilots of its parts.
        pilot_draws: Draws of a pilot: of the whole task, of its parts.
        n_fisher: Texts that a Fisher embedding is made from, at most.
        fisher_pilots: Pilot sizes of the whole task that are embedded.
        fisher_draws: Draws of those pilots that are embedded.
        fisher_variant_pilots: Pilot sizes of parts that are embedded, first draw alone.
        fisher_max_length: Most tokens of a text that is embedded.
        random_encoder: Whether a pilot has its accuracy on a random encoder's states.
        tasks: Folders of the folder of tasks, or sources that `charkit.load_task` takes; empty for
            all of a folder's manifest.
        device: Where the encoder runs.
        dtype: Arithmetic of the encoder.
    """

    name: str
    encoder: str
    n_train: int
    n_evaluation: int
    n_unlabelled: int
    n_variants: int
    smallest_train: int
    smallest_evaluation: int
    sizes: tuple[int, ...]
    small_size: int
    draws: tuple[int, ...]
    variant_draws: tuple[int, ...]
    pilots: tuple[int, ...]
    variant_pilots: tuple[int, ...]
    pilot_draws: tuple[int, ...]
    n_fisher: int
    fisher_pilots: tuple[int, ...]
    fisher_draws: int
    fisher_variant_pilots: tuple[int, ...]
    fisher_max_length: int
    random_encoder: bool = True
    tasks: tuple[str, ...] = ()
    device: DeviceChoice = "auto"
    dtype: DtypeChoice = "auto"

    def load_encoder(self) -> Encoder:
        """Return the encoder, on the study's device."""
        return load_encoder(self.encoder, device=self.device, dtype=self.dtype)

    def n_draws(self, subset: str, size: int) -> int:
        """Return how many draws the outcomes of a part have at a size."""
        draws = self.draws if subset == "all" else self.variant_draws
        return draws[0] if size <= self.small_size else draws[1]

    def pilot_seeds(self, subset: str) -> range:
        """Return the draws of a part's pilots."""
        return range(self.pilot_draws[0] if subset == "all" else self.pilot_draws[1])


_PAIRS = ("draws", "variant_draws", "pilot_draws")


def read_metadata_study(path: str | Path) -> MetadataStudy:
    """Read a study from a TOML file whose keys are the fields of `MetadataStudy`.

    Raises:
        MissingError: There is no such file.
        DataError: It is not TOML.
        UnknownNameError: A key is not known.
        UsageError: A value has the wrong type, or a needed one is missing.
    """
    study = read_toml(path, MetadataStudy)
    for key in _PAIRS:
        value = getattr(study, key)
        if len(value) != 2 or min(value) < 1:
            raise UsageError(
                f"{Path(path).name}: {key}: expected two numbers of at least 1, got {list(value)}."
            )
    return study


def load_bases(study: MetadataStudy, root: Path | None) -> list[Task]:
    """Return a study's classification tasks, cut to its numbers of rows.

    Args:
        study: Names the tasks, or none for all of a folder.
        root: Folder with MANIFEST.json and a folder a task.

    Raises:
        MissingError: The folder has no manifest, or is not named.
    """
    known = load_known_tasks(study.tasks, root)
    return [cut_task(k.task, study) for k in known if k.task.kind == "classification"]


def load_studies(
    files: Sequence[Path],
    root: Path | None,
    *,
    encoder: str | None = None,
    device: DeviceChoice = "auto",
    dtype: DtypeChoice = "auto",
) -> list[tuple[MetadataStudy, list[Task]]]:
    """Return studies whose tables are joined, each with its tasks.

    Args:
        files: As for `read_metadata_study`.
        root: Folder of the tasks, as for `load_bases`.
        encoder: Name of another encoder than the studies' own.
        device: Where it runs.
        dtype: Its arithmetic.

    Raises:
        UsageError: Two studies hold the same task.
    """
    read = [read_metadata_study(file) for file in files]
    studies = [
        replace(study, encoder=encoder or study.encoder, device=device, dtype=dtype)
        for study in read
    ]
    planned = [(study, load_bases(study, root)) for study in studies]
    counts = Counter(task.name for _, bases in planned for task in bases)
    twice = sorted(name for name, n in counts.items() if n > 1)
    if twice:
        raise UsageError(
            f"{', '.join(file.name for file in files)}: expected each task in one study, got "
            f"{', '.join(twice)} in more. Name each study's tasks with tasks = [...]."
        )
    return planned


def cut_task(task: Task, study: MetadataStudy) -> Task:
    """Return a task with no more rows than the study takes, in their old order."""
    return cut_rows(task, study.n_train, study.n_evaluation)


def cut_rows(task: Task, n_train: int, n_evaluation: int) -> Task:
    """Return a task with at most a number of rows in each part, in their old order."""
    part = task.evaluation
    if task.train.labels is None or part is None or part.labels is None:
        raise DataError(
            f"{task.name}: expected labels in both parts, got some without. Outcomes are scored "
            "on labelled evaluation texts."
        )
    order = nested_order(task.train.labels, seed=0, kind=task.kind)[:n_train]
    shuffled = np.random.default_rng(0).permutation(len(part))[:n_evaluation]
    return replace(
        task,
        train=task.train.take(np.sort(order)),
        evaluation=part.take(np.sort(shuffled)),
    )


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
        random_states: Key of the training rows' states under a random encoder; empty without.
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
        without = {} if self.study.random_encoder else {"random_encoder": False}
        return {
            "kind": KIND,
            "format": _FORMAT,
            **without,
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
        train = encode_to_store(encoder, task.train, store=store)
        evaluation = encode_to_store(encoder, task.evaluation, store=store)
        keys = (train.key, evaluation.key, "")
        if study.random_encoder:
            random = encoder.randomised(seed=RANDOM_ENCODER_SEED)
            keys = (*keys[:2], encode_to_store(random, task.train, store=store).key)
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
