"""A task's card: all that a plan needs to know of a task, without its texts.

Cards are kept in the store under a stamp of the source (path, sizes and times of its files, and
the options it was read with), so that finished work is found again without opening the data.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from charkit.config import TaskKind, canonical_json, content_hash
from charkit.errors import DataError
from charkit.store.store import Store
from charkit.tasks.load import Labels, checked_labels, load_task, partly_labelled
from charkit.tasks.readers.columns import column_name
from charkit.tasks.readers.folder import files_of
from charkit.tasks.readers.sources import is_utf8, refuse_columns
from charkit.tasks.task import Metric, Split, Task

# Changes with what is read from a file: a card of another reading is made again.
_FORMAT = 6


@dataclass(frozen=True)
class TaskCard:
    """What is known of a task without its texts.

    Attributes:
        name: The task's short name.
        kind: ``"classification"`` or ``"regression"``.
        corpus: Tasks with the same corpus share texts.
        metric: The headline metric.
        source: Where it came from, as it was asked for.
        fingerprint: Hash of texts, labels and class names.
        n_train: Labelled training texts.
        n_eval: Evaluation texts; 0 when there is no evaluation part.
        n_chars: Characters of all texts and pairs of both parts.
        lengths: Rows and their characters by length: one (characters below, rows, characters) for
            each power of two, so that the cost of texts that will be cut is known.
        labelled_evaluation: Whether the evaluation texts have labels.
        n_classes: Classes; 0 for regression.
        ceiling: The best expected score, where it is known.
        description: Lines for people: sizes, class counts, what was guessed or dropped.
        n_unseen: Classes that only evaluation rows have.
        notes: What was guessed, split, dropped or counted while loading.
        pairs: Whether a text has a second one.
    """

    name: str
    kind: TaskKind
    corpus: str
    metric: Metric
    source: str
    fingerprint: str
    n_train: int
    n_eval: int
    n_chars: int
    n_classes: int
    ceiling: float | None
    description: tuple[str, ...]
    n_unseen: int = 0
    notes: tuple[str, ...] = ()
    lengths: tuple[tuple[int, int, int], ...] = ()
    labelled_evaluation: bool = True
    pairs: bool = False

    def chars_within(self, longest: int) -> int:
        """Return the characters of all rows, of each at most the first ``longest``."""
        if not self.lengths:
            return self.n_chars
        return sum(
            chars if below <= longest + 1 else min(chars, rows * longest)
            for below, rows, chars in self.lengths
        )

    def described(self, metric: str | None = None) -> list[str]:
        """Return ``description``, with the metric that was asked for in place of the task's own."""
        first, *rest = self.description
        return [
            first.replace(f", metric {self.metric}", f", metric {metric or self.metric}"),
            *rest,
        ]

    @classmethod
    def of(cls, task: Task) -> TaskCard:
        """Return the card of a task."""
        lengths = _lengths([s for s in (task.train, task.evaluation) if s is not None])
        evaluation = task.evaluation
        return cls(
            name=task.name,
            kind=task.kind,
            corpus=task.corpus,
            metric=task.metric,
            source=task.source,
            fingerprint=task.fingerprint,
            n_train=len(task.train),
            n_eval=0 if task.evaluation is None else len(task.evaluation),
            n_chars=sum(chars for _, _, chars in lengths),
            n_classes=task.n_classes,
            ceiling=task.ceiling,
            description=tuple(task.describe()),
            n_unseen=task.n_unseen,
            notes=task.notes,
            lengths=lengths,
            labelled_evaluation=evaluation is None or evaluation.labels is not None,
            pairs=task.train.pairs is not None,
        )


@dataclass(frozen=True)
class SourceOptions:
    """How a source is read; the fields are those of `charkit.load_task`."""

    text: str | None = None
    pair: str | None = None
    label: str | None = None
    kind: TaskKind | None = None
    evaluation: str | None = None
    labels: Labels = "all"
    classes: int | None = None
    eval_frac: float = 0.2
    seed: int = 0
    on_bad_rows: str = "refuse"
    offline: bool | None = None

    def __post_init__(self) -> None:
        for field_name in ("text", "pair", "label"):  # numbers and tuples name columns of frames
            given = getattr(self, field_name)
            if given is not None:
                object.__setattr__(self, field_name, column_name(given))


@dataclass(frozen=True, eq=False)
class LazyTask:
    """A task that is opened only when its texts are needed.

    Args:
        source: Whatever `charkit.tasks.load_task` takes, or a `Task`.
        store: Where cards are kept.
        options: How the source is read.
    """

    source: Any
    store: Store
    options: SourceOptions = field(default_factory=SourceOptions)

    @cached_property
    def task(self) -> Task:
        """The task itself; opened at first use.

        Raises:
            DataError: The source cannot be used.
        """
        if isinstance(self.source, Task):
            return self.source
        given = {f.name: getattr(self.options, f.name) for f in dataclasses.fields(self.options)}
        return load_task(self.source, **given)

    @cached_property
    def card(self) -> TaskCard:
        """The card, from the store when the source has not changed since."""
        stamp = source_stamp(self.source, self.options)
        if stamp is None:
            return TaskCard.of(self.task)
        config = {"format": _FORMAT, "stamp": stamp}
        key = content_hash(config)
        found = self.store.find("tasks", key, deep=True)
        if found is not None:
            fields = json.loads((found / "card.json").read_text(encoding="utf-8"))
            fields |= {name: tuple(fields[name]) for name in ("description", "notes")}
            fields["lengths"] = tuple(map(tuple, fields["lengths"]))
            return TaskCard(**fields)
        card = TaskCard.of(self.task)
        self.store.put(
            "tasks", key, {"card.json": canonical_json(card).encode()}, {"config": config}
        )
        return card

    def open(self) -> Task:
        """Return the task, having made sure that it is the one the card speaks of.

        Raises:
            DataError: The files changed while they were in use.
        """
        card = self.card
        if self.task.fingerprint != card.fingerprint:
            raise DataError(
                f"{card.name}: the source changed while it was in use: expected content "
                f"{card.fingerprint[:12]}, got {self.task.fingerprint[:12]}. Run it again."
            )
        return self.task


def lazy_task(source: Any, *, store: Store | None = None, **reading: Any) -> LazyTask:
    """Return a task that is read when it is needed: finished work is found without its data.

    >>> lazy_task("reviews.csv", text="body", label="stars").options.text
    'body'

    Args:
        source: Whatever `charkit.load_task` takes.
        store: Where cards are kept. Default: the user's cache, or $CHARKIT_CACHE.
        reading: Other arguments of `charkit.load_task`; ``evaluation`` is a path or a name here.
    """
    return LazyTask(source, store or Store(), SourceOptions(**reading))


def load_sample(
    source: Any,
    *,
    evaluation: str | Path | None = None,
    labels: Labels = "some",
    classes: int | None = None,
) -> Task:
    """Return texts of which some, all or none are labelled, from a source or a task.

    Args:
        source: Whatever `charkit.load_task` takes, a `LazyTask`, or a task: of that, the training
            part is the labelled sample, and the evaluation part gives texts without labels.
        evaluation: Evaluation texts, where the source does not name them.
        labels: ``"some"`` or ``"few"``, see `charkit.load_task`.
        classes: Number of classes, for texts without labels: then no label is read.

    Raises:
        UsageError: An argument is wrong, or the labels and their absence are both asked for.
        DataError: The source cannot be used, or its labels are not classes.
        MissingError: A file or package is not there.
    """
    options = SourceOptions()
    if isinstance(source, LazyTask):
        source, options = source.source, source.options
    if evaluation is not None:
        options = dataclasses.replace(options, evaluation=str(evaluation))
    if isinstance(source, Task):
        columns = (options.text, options.pair, options.label)
        unreadable = None if source.columns else options.evaluation
        refuse_columns("tasks", *columns, options.kind, unreadable)
        checked_labels(labels, classes)
        return _with_texts(partly_labelled(source, classes), options.evaluation)
    given = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
    return load_task(source, **given | {"labels": labels, "classes": classes})


def _with_texts(task: Task, place: str | None) -> Task:
    """Return the task with the texts of a file, whose labels are not read, for its evaluation."""
    if place is None:
        return task
    text, pair, _ = task.columns
    other = load_task(place, text=text, pair=pair or None, classes=2)  # no class is looked at
    notes = dict.fromkeys((*task.notes, *other.notes))
    return dataclasses.replace(task, evaluation=other.pool, notes=tuple(notes))


def _lengths(splits: Sequence[Split]) -> tuple[tuple[int, int, int], ...]:
    """Return rows and characters for each power of two of a row's length; see `TaskCard`."""
    rows: Counter[int] = Counter()
    chars: Counter[int] = Counter()
    for split in splits:
        pairs = split.pairs or ("",) * len(split)
        for text, pair in zip(split.texts, pairs, strict=True):
            n_chars = len(text) + len(pair)
            below = 1 << n_chars.bit_length()
            rows[below] += 1
            chars[below] += n_chars
    return tuple((below, rows[below], chars[below]) for below in sorted(rows))


def source_stamp(source: Any, options: SourceOptions) -> str | None:
    """Return a hash that changes when the source may have changed; None where that is unknown.

    A generated task is named by its text, a hub data set by its commit, files by their path,
    size and times of change (of the content, and of the file: the former can be set back).
    """
    if not isinstance(source, str | Path) or not is_utf8(str(source)):
        return None
    parts: list[Any] = [dataclasses.asdict(options)]
    for place in (str(source), options.evaluation):
        if place is None:
            continue
        if place.startswith("generated/"):
            from charkit import __version__

            parts.append([place, __version__])
        elif re.fullmatch(r"hub:.+@[0-9a-f]{40}", place):
            parts.append(place)
        else:
            files = _file_stamps(Path(place).expanduser())
            if files is None:
                return None
            parts.append(files)
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def _file_stamps(path: Path) -> list[Any] | None:
    """Return path, sizes and times of a source's files, and the name that it was asked for by.

    A link has its own name and ending, which a task's name and the way it is read depend on.
    """
    try:
        name, path = path.name, path.resolve(strict=True)
        files = [path]
        if path.is_dir():
            files = sorted(files_of(path))
        stats = [(os.path.relpath(f, path), f.stat()) for f in files]
    except (OSError, RuntimeError):  # `load_task` says what is wrong with it
        return None
    return [name, str(path), *([n, s.st_size, s.st_mtime_ns, s.st_ctime_ns] for n, s in stats)]
