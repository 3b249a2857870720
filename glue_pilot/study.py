"""A study: tasks, encoders and grid, read from a TOML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from charkit.config import Pooling
from charkit.errors import MissingError, UsageError
from charkit.heads.grid import SweepPlan, SweepSettings, plan_sweep
from charkit.parallel import Shard
from charkit.store import Store
from glue_pilot.config import read_toml


@dataclass(frozen=True)
class Study:
    """What a study computes.

    Attributes:
        name: Names the table: ``results/<name>.parquet``.
        tasks: Sources that `charkit.load_task` takes; ``glue/NAME`` may lie in a folder.
        encoders: Names of encoders.
        sizes: Training sizes.
        seeds: Draws of the training texts.
        controls: Controls beside the real thing.
        layers: Layers to read; empty means all.
        subsets: Parts of each task.
        pooling: How token states become one vector.
        max_length: Longest text in tokens; 0 means the encoder's own choice.
    """

    name: str
    tasks: tuple[str, ...]
    encoders: tuple[str, ...] = ("minilm",)
    sizes: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    controls: tuple[str, ...] = field(default=("random_encoder", "shuffled_labels", "majority"))
    layers: tuple[int, ...] = ()
    subsets: tuple[str, ...] = ("all",)
    pooling: Pooling = "mean"
    max_length: int = 0

    @property
    def settings(self) -> SweepSettings:
        """The grid, as the sweep takes it."""
        return SweepSettings(
            layers=self.layers or None,
            sizes=self.sizes,
            seeds=self.seeds,
            subsets=self.subsets,
            controls=self.controls,
            pooling=self.pooling,
            max_length=self.max_length or None,
        )


def read_study(path: str | Path) -> Study:
    """Read a study from a TOML file whose keys are the fields of `Study`.

    Raises:
        MissingError: There is no such file.
        DataError: It is not TOML.
        UnknownNameError: A key is not known.
        UsageError: A value has the wrong type, or a needed one is missing.
    """
    study = read_toml(path, Study)
    if not study.tasks:
        raise UsageError(f"{Path(path).name}: tasks: expected a list of str, got none.")
    return study


def plan_study(
    study: Study, *, tasks_root: Path | None, store: Store | None, shard: Shard | None = None
) -> SweepPlan:
    """Return the plan of a study's sweep.

    Args:
        study: The study.
        tasks_root: Folder with ``glue_<name>/`` for every ``glue/<name>``; None for the hub.
        store: Where results are stored; None for the default store.
        shard: Which part of the jobs; all when None.

    Raises:
        MissingError: A task's folder is not there.
    """
    sources = [_located(task, tasks_root) for task in study.tasks]
    return plan_sweep(
        sources, encoder=list(study.encoders), settings=study.settings, store=store, shard=shard
    )


def _located(task: str, root: Path | None) -> str:
    if root is None or not task.startswith("glue/"):
        return task
    folder = root / task.replace("/", "_")
    if not folder.is_dir():
        raise MissingError(
            f"no folder for {task}: expected {folder.name} in {root}, got none. "
            "Name the folder of tasks with TASKS=... or --tasks."
        )
    return str(folder)
