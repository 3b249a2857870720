"""A study of embeddings: which tasks, sizes and draws, read from a TOML file."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from charkit.entry import check_name
from charkit.errors import DataError, MissingError, UnknownNameError, UsageError
from charkit.tasks import Split, Task, load_task, nested_order

MANIFEST = "MANIFEST.json"


@dataclass(frozen=True)
class EmbeddingStudy:
    """What is embedded.

    Attributes:
        name: Names the table: ``results/<name>.parquet``.
        encoder: Name of the encoder.
        sizes: Training texts a sample.
        draws: How many samples of each size, no text in two of them.
        all_heads_up_to: Samples of up to so many texts are embedded under heads at every layer,
            larger ones under a head at the last.
        max_length: Most tokens of a text.
        n_eval: Evaluation texts that heads are scored on, at most.
        tasks: Sources that `charkit.load_task` takes; empty for all of a folder's manifest.
        relabelled: Tasks whose texts are embedded once more under other labels.
        relabelled_sizes: Texts a sample of those.
        library_sizes: Sizes of the samples that go into the library; empty for all.
        library_heads: Heads of them, negative from the last.
    """

    name: str
    encoder: str
    sizes: tuple[int, ...]
    draws: tuple[int, ...]
    all_heads_up_to: int
    max_length: int
    n_eval: int
    tasks: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()
    relabelled_sizes: tuple[int, ...] = ()
    library_sizes: tuple[int, ...] = ()
    library_heads: tuple[int, ...] = (-1,)

    def heads_at(self, n: int, n_layers: int) -> tuple[int, ...]:
        """Return the layers that heads of a sample of n texts read."""
        return tuple(range(1 if n <= self.all_heads_up_to else n_layers, n_layers + 1))


@dataclass(frozen=True)
class KnownTask:
    """A task with what a manifest says of it."""

    task: Task
    corpus: str
    domain: str
    label_kind: str


def read_embedding_study(path: str | Path) -> EmbeddingStudy:
    """Read a study from a TOML file whose keys are the fields of `EmbeddingStudy`.

    Raises:
        MissingError: There is no such file.
        DataError: It is not TOML.
        UnknownNameError: A key is not known.
        UsageError: A value has the wrong type, or a needed one is missing.
    """
    place = Path(path)
    try:
        given = tomllib.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingError(
            f"no study at {place}: expected a TOML file ({error.strerror})."
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{place} is not TOML: {error}.") from error
    fields = {f.name: f for f in dataclasses.fields(EmbeddingStudy)}
    for key, value in given.items():
        if key not in fields:
            raise UnknownNameError(f"key in {place.name}", key, fields)
        _check_type(f"{place.name}: {key}", str(fields[key].type), value)
    needed = [f.name for f in fields.values() if f.default is dataclasses.MISSING]
    lacking = [name for name in needed if name not in given]
    if lacking:
        raise UsageError(f"{place.name}: expected the keys {needed}, got none for {lacking}.")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    study = EmbeddingStudy(**values)
    check_name(f"name in {place.name}", study.name)
    if not study.sizes or len(study.sizes) != len(study.draws):
        raise UsageError(
            f"{place.name}: expected one number of draws a size, got sizes {study.sizes} and "
            f"draws {study.draws}."
        )
    return study


def _check_type(what: str, wanted: str, value: Any) -> None:
    kind = int if "int" in wanted else str
    items = value if wanted.startswith("tuple") and isinstance(value, list) else [value]
    if isinstance(value, list) != wanted.startswith("tuple") or not all(
        type(item) is kind for item in items
    ):
        many = "a list of " if wanted.startswith("tuple") else ""
        raise UsageError(f"{what}: expected {many}{kind.__name__}, got {value!r}.")


def load_known_tasks(study: EmbeddingStudy, root: Path | None) -> list[KnownTask]:
    """Return a study's tasks: those it names, or all of a folder's manifest.

    Raises:
        MissingError: The folder has no manifest, or is not named.
    """
    if study.tasks:
        loaded = [load_task(source) for source in study.tasks]
        return [KnownTask(t, t.corpus, "", "") for t in loaded]
    if root is None or not (root / MANIFEST).is_file():
        raise MissingError(
            f"{study.name} needs a folder of tasks: expected one with {MANIFEST}, got {root}. "
            "Name it with TASKS=... or --tasks."
        )
    known = []
    for facts in json.loads((root / MANIFEST).read_text(encoding="utf-8")):
        task = replace(load_task(root / facts["name"]), name=facts["name"])
        found = KnownTask(task, facts["corpus"], facts["domain"], facts["label_kind"])
        known.append(found)
    return known


def draw_sample(task: Task, *, n: int, draw: int, n_eval: int) -> Task | None:
    """Return a task with n training texts; draws of one size share none.

    Draws are pieces of one stratified order (`charkit.tasks.nested_order`), one after the other.
    Draw 0 of a task with fewer texts has all of them.

    Args:
        task: The task.
        n: Training texts.
        draw: 0, 1, ...
        n_eval: Evaluation texts that are kept, at most.

    Returns:
        The sample, or None where too few texts are left for this draw.
    """
    assert task.train.labels is not None
    order = nested_order(task.train.labels, seed=0, kind=task.kind)
    rows = order[draw * n : (draw + 1) * n]
    if draw and len(rows) < n:
        return None
    return replace(task, train=task.train.take(rows), evaluation=_some(task.evaluation, n_eval))


def _some(part: Split | None, n: int) -> Split | None:
    if part is None or part.labels is None or len(part) <= n:
        return part
    kind = "regression" if part.labels.dtype.kind == "f" else "classification"
    return part.take(nested_order(part.labels, seed=0, kind=kind)[:n])  # type: ignore[arg-type]
