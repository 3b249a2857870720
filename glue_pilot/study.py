"""A study: tasks, encoders and grid, read from a TOML file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from charkit.config import Pooling
from charkit.errors import MissingError, UsageError
from charkit.heads.sweep.grid import SweepPlan, SweepSettings, plan_sweep
from charkit.heads.sweep.result import SweepResult, best_layers_by_size
from charkit.heads.sweep.table import write_table
from charkit.parallel import Shard
from charkit.store.durable import write_whole
from charkit.store.store import Store
from glue_pilot.config import read_toml
from metamodel.schema import check_outcomes


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


# -- from a sweep's cells to ``results/``: the table, the figures, the summary --------------------


def collect(result: SweepResult, out: Path, *, name: str) -> list[Path]:
    """Write ``<name>.parquet``, ``<name>.md``, ``<name>.json`` and the figures.

    Args:
        result: The finished sweep.
        out: The folder; made when absent.
        name: The study's name.

    Returns:
        The files written.

    Raises:
        metamodel.schema.SchemaError: The table does not keep the metamodel's contract.
        MissingError: The disk is full or the folder cannot be written.
    """
    done = result.table[result.table["state"] == "done"]
    check_outcomes(done)
    written = [out / f"{name}.parquet", out / f"{name}.md", out / f"{name}.json"]
    write_table(result.table, written[0])
    write_whole(written[1], summary(result, name=name).encode())
    write_whole(written[2], json.dumps(numbers(result), indent=2).encode())
    return written + draw(result, out / "figures")


def draw(result: SweepResult, folder: Path) -> list[Path]:
    """Draw learning curves and heat map of every task, and the best layer by size."""
    from charkit.report.figures import save_sweep_figures

    ceilings = {c.name: c.ceiling for c in result.cards if c.ceiling is not None}
    return save_sweep_figures(result.table, folder, ceilings=ceilings)


def numbers(result: SweepResult) -> dict[str, object]:
    """Return the counts and the best layer by size, as JSON values."""
    return {
        "n_cells": len(result.table),
        "n_failed": int((result.table["state"] == "failed").sum()),
        "best_layers": {
            card.name: best_layers_by_size(result.table, card.name).to_dict("records")
            for card in result.cards
        },
    }


def summary(result: SweepResult, *, name: str) -> str:
    """Return the findings as a page of Markdown."""
    lines = [f"# {name}: what was found", ""]
    for line in result.findings():
        lines.append(f"  - {line.strip()}" if line.startswith(" ") else f"- {line}")
    lines += ["", "## Best layer by number of labels", ""]
    for card in result.cards:
        best = best_layers_by_size(result.table, card.name)
        lines += [
            f"### {card.name} ({card.metric})",
            "",
            "| labels | layer | score | 90 % interval |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {r.n_train:,} | {r.layer} | {r.score:.3f} | {r.low:.3f} to {r.high:.3f} |"
            for r in best.itertuples()
        ]
        lines.append("")
    return "\n".join(lines)
