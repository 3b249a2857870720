"""What an experiment is: a question, settings, and a run that gives table, figure and finding."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charkit.config import Progress, no_progress
from charkit.errors import MissingError
from charkit.store import Store
from charkit.tasks import load_task
from glue_pilot.embedding_study import MANIFEST, KnownTask

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Found:
    """What an experiment found.

    Attributes:
        table: Tidy numbers: one row a case, columns named in full.
        figures: Ending of the file's name ("" for the main one) -> figure. The main one comes
            first, its title says the finding.
        finding: A paragraph or more in Markdown, every number in it taken from the table.
        summary: Name -> the few numbers that are set side by side when settings vary.
    """

    table: pd.DataFrame
    figures: Mapping[str, Figure]
    finding: str
    summary: Mapping[str, float]


@dataclass(frozen=True)
class Experiment:
    """One question of the study.

    Attributes:
        name: Of its files, its target (``make experiment-NAME``) and its table of settings.
        question: Ends with a question mark.
        asked_by: What in the seeds or the paper asks it, in words.
        settings: Frozen dataclass of numbers, strings and tuples of them; defaults are no secret.
        run: Settings, bench -> what was found.
    """

    name: str
    question: str
    asked_by: str
    settings: type[Any]
    run: Callable[[Any, Bench], Found]


@dataclass(frozen=True, eq=False)
class Bench:
    """What every experiment works with.

    Attributes:
        store: Where states, heads, embeddings and fine-tuned experts are kept.
        root: Folder of real tasks with MANIFEST.json, if any.
        tables: Folder of tables that other targets wrote (``results``).
        progress: Called as ``progress(stage, done, total)``.
    """

    store: Store
    root: Path | None = None
    tables: Path = Path("results")
    progress: Progress = field(default=no_progress)

    def tasks(self, names: Sequence[str]) -> list[KnownTask]:
        """Load tasks: by name from the folder, or from any source that `load_task` takes.

        Args:
            names: None: all of the folder, in the order of its manifest.

        Raises:
            MissingError: None is named, and there is no folder.
        """
        if not names and not self._facts:
            raise MissingError(
                f"this experiment needs a folder of tasks: expected one with {MANIFEST}, got "
                f"{self.root}. Name it with TASKS=... or --tasks, or use SMOKE=1."
            )
        return [self._task(name) for name in names or self._facts]

    def _task(self, name: str) -> KnownTask:
        facts = self._facts.get(name)
        if facts is None or self.root is None:
            task = load_task(name)
            return KnownTask(task, task.corpus, "", "")
        task = replace(load_task(self.root / name), name=name)
        return KnownTask(task, facts["corpus"], facts["domain"], facts["label_kind"])

    @cached_property
    def _facts(self) -> dict[str, dict[str, Any]]:
        if self.root is None or not (self.root / MANIFEST).is_file():
            return {}
        facts = json.loads((self.root / MANIFEST).read_text(encoding="utf-8"))
        return {entry["name"]: entry for entry in facts}
