"""The study of learners: heads and full fine-tuning on the same draws of every task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from charkit.config import people_name
from charkit.encoders.device import DeviceChoice, DtypeChoice
from charkit.encoders.load import LazyEncoder
from charkit.errors import UsageError
from charkit.heads.sweep.table import write_table
from charkit.learners.draws import COLUMNS, Draw, draws_of
from charkit.learners.outcomes import LEARNERS, known_learners
from charkit.store.store import Store
from glue_pilot.config import read_toml
from glue_pilot.meta_dataset.study import cut_rows
from glue_pilot.samples import load_known_tasks
from glue_pilot.stats import resampled

SHIPPED = Path(__file__).parents[2] / "metamodel" / "shipped" / "learner_outcomes.parquet"
"""The table that the package holds: all encoders."""

_DRAW = ["encoder", "task", "n_train", "seed"]


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
        tasks: Names of folders in a folder of tasks, or sources that `charkit.load_task` takes;
            empty for all classification tasks of a folder's manifest.
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
    tasks: tuple[str, ...] = ()
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
    known_learners(study.learners)
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
        if not study.tasks and known.task.kind != "classification":
            continue
        draws += draws_of(
            cut_rows(known.task, study.n_pool, study.n_evaluation),
            known.corpus,
            [(n, range(n_draws)) for n, n_draws in zip(study.sizes, study.draws, strict=True)],
            encoder=encoder,
            max_length=study.max_length,
            learners=study.learners,
            store=store,
        )
    return sorted(draws, key=lambda draw: draw.seed)


def published_rows(draws: Sequence[Draw], place: Path = SHIPPED) -> tuple[list[Draw], pd.DataFrame]:
    """Return the draws that are still to be made, and the published rows.

    A learner of a draw is published where the table has it for the same encoder by name, task,
    corpus, size and seed, on as many evaluation texts of as many classes with the same majority.
    The draw is still to be made with its other learners. The table does not know the texts
    themselves, nor the arithmetic.

    Args:
        draws: From `study_draws`.
        place: The package's table.
    """
    if not place.is_file():
        return list(draws), pd.DataFrame(columns=list(COLUMNS))
    table = pd.read_parquet(place)
    groups = dict(list(table.groupby([*_DRAW, "corpus", "n_eval", "n_classes"])))
    todo, found = [], []
    for draw in draws:
        labels = np.asarray(draw.evaluation.labels, np.int64)
        name = people_name(draw.encoder.name)
        key = (name, draw.task, len(draw.train), draw.seed, draw.corpus, len(labels))
        rows = groups.get((*key, draw.n_classes), table.head(0))
        rows = rows[rows["learner"].isin(draw.learners)]
        majority = np.bincount(labels).max() / len(labels)
        same = bool(np.isclose(rows["majority"], majority).all())
        missing = tuple(n for n in draw.learners if not same or n not in set(rows["learner"]))
        if missing:
            todo.append(replace(draw, learners=missing))
        if same and len(rows):
            found.append(rows)
    return todo, pd.concat(found) if found else table.head(0)


def join_outcomes(kept: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of two tables, the second's where both have a run.

    Args:
        kept: Columns of `charkit.learners.draws.COLUMNS`.
        table: The same.
    """
    parts = [part for part in (kept, table) if len(part)]
    joined = pd.concat(parts, ignore_index=True) if parts else table
    order = [*_DRAW, "learner"]
    joined = joined.drop_duplicates(order, keep="last")
    return joined[list(COLUMNS)].sort_values(order, ignore_index=True)


def ship_outcomes(table: pd.DataFrame, place: Path = SHIPPED) -> None:
    """Write a table's rows to the package's, in place of earlier ones of the same runs.

    Args:
        table: From `charkit.learners.draws.run_draws`.
        place: The package's table; made when absent.
    """
    kept = pd.read_parquet(place) if place.is_file() else table.head(0)
    write_table(join_outcomes(kept, table), place)


def gain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each learner's mean gain over the probe on the same draws, one row a size.

    Draws of a task are averaged first. A run that diverged has no accuracy: its draw is left out,
    and counted.

    Args:
        table: Columns of `charkit.learners.draws.COLUMNS`.

    Returns:
        ``encoder``, ``learner``, ``n_train``; ``gain``, ``low``, ``high``: points of accuracy with
        a 90 % interval over corpora; ``better``: share of tasks with a gain; ``corpora``, ``runs``,
        ``failed``.
    """
    keys = ["encoder", "task", "corpus", "n_train", "seed"]
    wide = table.pivot_table(index=keys, columns="learner", values="accuracy")
    rows = []
    for encoder, n_train in sorted({(k[0], k[3]) for k in wide.index}):
        part = wide.xs((encoder, n_train), level=("encoder", "n_train"))
        for learner in [name for name in LEARNERS if name in wide and name != "probe"]:
            gains = (part[learner] - part["probe"]).dropna().groupby(["task", "corpus"]).mean()
            if not len(gains):
                continue
            found = resampled(gains.to_numpy(np.float64), list(gains.index.get_level_values(1)))
            own = table[(table["encoder"] == encoder) & (table["n_train"] == n_train)]
            own = own[own["learner"] == learner]
            rows.append(
                {
                    "encoder": encoder,
                    "learner": learner,
                    "n_train": n_train,
                    "gain": 100 * found.mean,
                    "low": 100 * found.low,
                    "high": 100 * found.high,
                    "better": float((gains > 0).mean()),
                    "corpora": gains.index.get_level_values(1).nunique(),
                    "runs": len(own),
                    "failed": int(own["failed"].sum()),
                }
            )
    return rows
