"""The study behind the meta-dataset: which tasks, parts, sizes and draws, read from a TOML file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from charkit.encoders import Encoder, load_encoder
from charkit.encoders.device import DeviceChoice, DtypeChoice
from charkit.errors import DataError, UsageError
from charkit.tasks import Task, nested_order
from glue_pilot.config import read_toml
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
