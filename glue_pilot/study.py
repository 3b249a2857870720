"""A study: tasks, encoders and grid, read from a TOML file."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from charkit.config import Pooling
from charkit.entry import check_name
from charkit.errors import DataError, MissingError, UnknownNameError, UsageError
from charkit.heads.grid import SweepPlan, SweepSettings, plan_sweep
from charkit.parallel import Shard
from charkit.store import Store


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
    place = Path(path)
    try:
        text = place.read_text(encoding="utf-8")
    except OSError as error:
        raise MissingError(
            f"no study at {place}: expected a TOML file ({error.strerror})."
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{place} is not TOML: expected UTF-8, got {error}.") from error
    try:
        given = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DataError(f"{place} is not TOML: {error}.") from error
    fields = {f.name: f for f in dataclasses.fields(Study)}
    for key in given:
        if key not in fields:
            raise UnknownNameError(f"key in {place.name}", key, fields)
    for key in ("name", "tasks"):
        if key not in given:
            raise UsageError(f"{place.name}: expected the key {key!r}, got {sorted(given)}.")
    return Study(**{key: _checked(place.name, key, value) for key, value in given.items()})


_KINDS: dict[str, type] = {"name": str, "pooling": str, "max_length": int}
_ITEMS: dict[str, type] = {"sizes": int, "seeds": int, "layers": int}


def _checked(file: str, key: str, value: Any) -> Any:
    if key in _KINDS:
        if not isinstance(value, _KINDS[key]) or (
            key == "pooling" and value not in get_args(Pooling)
        ):
            raise UsageError(f"{file}: {key}: expected {_KINDS[key].__name__}, got {value!r}.")
        return check_name(f"name in {file}", str(value)) if key == "name" else value
    item = _ITEMS.get(key, str)
    if not isinstance(value, list) or not all(type(v) is item for v in value) or not value:
        raise UsageError(f"{file}: {key}: expected a list of {item.__name__}, got {value!r}.")
    return tuple(value)


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
        sources,
        encoder=list(study.encoders),
        settings=study.settings,
        store=store,
        shard=shard,
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
