"""The study of learners: heads and full fine-tuning on the same draws of every task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from charkit.encoders.device import DeviceChoice, DtypeChoice
from charkit.encoders.load import LazyEncoder
from charkit.errors import UsageError
from charkit.learners.draws import Draw, draws_of
from charkit.learners.outcomes import check_learners
from charkit.store import Store
from glue_pilot.config import read_toml
from glue_pilot.metadata_study import cut_rows
from glue_pilot.samples import load_known_tasks


@dataclass(frozen=True)
class TunedStudy:
    """What is trained.

    Attributes:
        name: Names the results: ``results/<name>.parquet``.
        encoder: Name of the encoder.
        n_pool: Training rows that draws are taken from: with `MetadataStudy.n_train` of the
            meta-dataset, draws of a size and seed are its pilots.
        n_evaluation: Evaluation texts of a task, at most.
        sizes: Training texts of a draw.
        draws: Draws at each size.
        max_length: Most tokens of a text.
        learners: Of `charkit.learners.LEARNERS`.
        tasks: Names of folders in a folder of tasks, or sources that `charkit.load_task` takes.
        device: Where the encoder runs.
        dtype: Arithmetic of the encoder.
    """

    name: str
    encoder: str
    n_pool: int
    n_evaluation: int
    sizes: tuple[int, ...]
    draws: tuple[int, ...]
    max_length: int
    learners: tuple[str, ...]
    tasks: tuple[str, ...]
    device: DeviceChoice = "auto"
    dtype: DtypeChoice = "auto"


def read_tuned_study(path: str | Path) -> TunedStudy:
    """Read a study from a TOML file whose keys are the fields of `TunedStudy`.

    Raises:
        MissingError: There is no such file.
        DataError: It is not TOML.
        UnknownNameError: A key or a learner is not known.
        UsageError: A value has the wrong type, or sizes and draws do not fit.
    """
    study = read_toml(path, TunedStudy)
    check_learners(study.learners)
    if len(study.sizes) != len(study.draws) or min((*study.sizes, *study.draws), default=0) < 1:
        raise UsageError(
            f"{Path(path).name}: expected a number of draws for each of the sizes "
            f"{list(study.sizes)}, got {list(study.draws)}. Give both lists the same length."
        )
    return study


def study_draws(study: TunedStudy, root: Path | None, store: Store) -> list[Draw]:
    """Return the draws of a study: first all sizes of the first draw, task by task.

    So a run that is stopped early has whole curves of many tasks.

    Args:
        study: Names the tasks.
        root: Folder with MANIFEST.json and a folder a task.
        store: Where results are kept.

    Raises:
        DataError: A task is no classification, or lacks labels.
        MissingError: The folder has no manifest, or is not named.
    """
    encoder = LazyEncoder(study.encoder, study.device, study.dtype)
    draws = []
    for known in load_known_tasks(study.tasks, root):
        draws += draws_of(
            cut_rows(known.task, study.n_pool, study.n_evaluation),
            known.corpus,
            list(zip(study.sizes, study.draws, strict=True)),
            encoder=encoder,
            max_length=study.max_length,
            learners=study.learners,
            store=store,
        )
    return sorted(draws, key=lambda draw: draw.seed)
