"""Tasks from the Hugging Face hub: ``hub:name/config@revision``, and GLUE's nine by name.

Of GLUE's tasks the columns, the order of classes, metrics and splits are known: Wang, Singh,
Michael, Hill, Levy, Bowman: GLUE: A Multi-Task Benchmark and Analysis Platform for Natural
Language Understanding (ICLR 2019).

Loading scripts are never run. Data sets are pinned by revision where one is given; GLUE always.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from charkit.config import TaskKind
from charkit.errors import DataError, MissingError, OfflineError, UnknownNameError, UsageError
from charkit.tasks.files.export_tables import settle
from charkit.tasks.files.table import LazyColumns, RawTable
from charkit.tasks.task import Metric

HUB_NAME = "nyu-mll/glue"
_ENTAILMENT = ("entailment", "not_entailment")


@dataclass(frozen=True)
class GlueSpec:
    """What GLUE fixes about one of its tasks.

    Attributes:
        name: GLUE's short name, for instance ``"rte"``.
        text: The column of the first text.
        pair: The column of the second text, or None.
        class_names: The classes by code; empty for regression.
        metric: The headline metric; F1 is that of class 1.
        evaluation: The labelled split that is used for evaluation.
        corpus: Tasks with the same corpus share texts.
    """

    name: str
    text: str
    pair: str | None
    class_names: tuple[str, ...]
    metric: Metric = "accuracy"
    evaluation: str = "validation"
    corpus: str = ""

    @property
    def kind(self) -> TaskKind:
        """Regression for the one task without classes."""
        return "classification" if self.class_names else "regression"

    @property
    def task_name(self) -> str:
        """The name of the task in tables, for instance ``"glue_rte"``."""
        return f"glue_{self.name}"


_SPECS = (
    GlueSpec("cola", "sentence", None, ("unacceptable", "acceptable"), "matthews"),
    GlueSpec("sst2", "sentence", None, ("negative", "positive"), corpus="rotten_tomatoes"),
    GlueSpec("mrpc", "sentence1", "sentence2", ("not_equivalent", "equivalent"), "f1"),
    GlueSpec("qqp", "question1", "question2", ("not_duplicate", "duplicate"), "f1"),
    GlueSpec("stsb", "sentence1", "sentence2", (), "pearson_spearman"),
    GlueSpec(
        "mnli",
        "premise",
        "hypothesis",
        ("entailment", "neutral", "contradiction"),
        evaluation="validation_matched",
    ),
    GlueSpec("qnli", "question", "sentence", _ENTAILMENT),
    GlueSpec("rte", "sentence1", "sentence2", _ENTAILMENT),
    GlueSpec("wnli", "sentence1", "sentence2", ("not_entailment", "entailment")),
)

GLUE: dict[str, GlueSpec] = {spec.name: spec for spec in _SPECS}
GLUE_NAMES: tuple[str, ...] = tuple(spec.name for spec in _SPECS)
"""GLUE's short names; ``load_task("glue/rte")`` loads one."""

_ALIASES = {"paraphrase": "equivalent", "not_paraphrase": "not_equivalent"}


def spec_of_folder(name: str) -> GlueSpec | None:
    """Return the GLUE task that a folder name such as ``glue_cola`` stands for, if any."""
    lowered = name.lower().replace("-", "_")
    return GLUE.get(lowered.removeprefix("glue_")) if lowered.startswith("glue_") else None


def glue_order(spec: GlueSpec, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return class names in GLUE's order where all are known, else as they came.

    The order matters for F1, which is that of class 1 (a paraphrase, a duplicate).

    >>> glue_order(GLUE["qqp"], ("duplicate", "not_duplicate"))
    ('not_duplicate', 'duplicate')
    """
    rank = {name: code for code, name in enumerate(spec.class_names)}
    canonical = [_ALIASES.get(name, name) for name in names]
    if not all(name in rank for name in canonical):
        return names
    codes = [rank[name] for name in canonical]
    return tuple(name for _, name in sorted(zip(codes, names, strict=True)))


GLUE_REVISION = "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"
"""The commit of ``nyu-mll/glue`` that ``glue/...`` reads."""

EVALUATION_SPLITS = ("test", "validation", "validation_matched", "dev", "eval")
_PATTERN = re.compile(r"(?P<path>[^@]+?)(@(?P<revision>[^@]+))?")


class LoadDataset(Protocol):
    """The part of ``datasets.load_dataset`` that is used."""

    def __call__(self, path: str, name: str | None, *, revision: str | None) -> Any:
        """Return a mapping from split names to splits."""
        ...


@dataclass(frozen=True)
class HubName:
    """A data set on the hub.

    Attributes:
        path: Its id, ``"owner/name"`` or an old id without an owner.
        config: Its configuration, or None for the only one.
        revision: Branch, tag or commit; None for the newest.
    """

    path: str
    config: str | None = None
    revision: str | None = None


def parse_hub(source: str) -> HubName:
    """Read ``hub:owner/name``, ``hub:owner/name/config``, either with ``@revision`` behind.

    >>> parse_hub("hub:nyu-mll/glue/rte@main")
    HubName(path='nyu-mll/glue', config='rte', revision='main')
    """
    match = _PATTERN.fullmatch(source.removeprefix("hub:"))
    parts = match["path"].split("/") if match else []
    if match is None or not 1 <= len(parts) <= 3 or not all(parts):
        raise UsageError(
            f"source: expected hub:owner/name, hub:owner/name/config or either with @revision, "
            f"got {source!r}. Copy the data set's id from its page."
        )
    config = parts[2] if len(parts) == 3 else None
    return HubName("/".join(parts[:2]), config, match["revision"])


def parse_glue(source: str) -> tuple[GlueSpec, str]:
    """Read ``glue/rte`` or ``glue/rte@revision``."""
    name, _, revision = source.removeprefix("glue/").partition("@")
    if name not in GLUE:
        known = [f"glue/{n}" for n in GLUE_NAMES]
        raise UnknownNameError("task", source, known, hint="GLUE's nine are glue/NAME.")
    return GLUE[name], revision or GLUE_REVISION


def fetch_splits(name: HubName, *, source: str, offline: bool) -> Mapping[str, Any]:
    """Load all splits of a data set.

    Args:
        name: Which.
        source: What the user called it, for messages.
        offline: Use only what is on this machine already.

    Raises:
        OfflineError: It is not on this machine and may not, or cannot, be downloaded.
        MissingError: The package ``datasets`` is not installed.
        DataError: The hub has no such data set, configuration or revision.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingError(
            f"{source} needs the package datasets: expected it installed, got none. "
            'Install it with: pip install "charkit[hub]"'
        ) from error
    load: LoadDataset = datasets.load_dataset
    with _network(offline=offline):
        try:
            splits = load(name.path, name.config, revision=name.revision)
        except Exception as error:  # the library raises its own kinds and those of its readers
            raise _explained(error, name, source=source, offline=offline) from error
    if not isinstance(splits, Mapping):
        raise DataError(f"{source}: expected splits by name, got {type(splits).__name__}.")
    if offline:
        _check_revision(splits, name, source)
    return splits


@contextmanager
def _network(*, offline: bool) -> Iterator[None]:
    """Keep the hub's client off the network for a while."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = offline or before
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


_CONNECTION = ("ConnectionError", "OfflineModeIsEnabled", "ConnectTimeout", "ConnectError",
               "LocalEntryNotFoundError", "ReadTimeout")  # fmt: skip


def _explained(
    error: Exception, name: HubName, *, source: str, offline: bool
) -> OfflineError | DataError:
    chain = _chain(error)
    if offline or any(type(e).__name__ in _CONNECTION for e in chain):
        wanted = name.path + (f", configuration {name.config}" if name.config else "")
        reason = "the network is not to be used" if offline else "the hub cannot be reached"
        return OfflineError(
            f"{source}: the data set {wanted} at revision {name.revision or 'newest'} is not on "
            f"this machine and {reason}. With a network: charkit fetch {source}"
        )
    first = str(error).strip().splitlines()
    reason = first[0] if first else type(error).__name__
    return DataError(
        f"{source}: the data set could not be loaded: {reason} Check id, configuration and "
        "revision (hub:owner/name/config@revision); data sets that need a loading script are not "
        "supported."
    )


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _check_revision(splits: Mapping[str, Any], name: HubName, source: str) -> None:
    """Offline, ``datasets`` takes the newest copy it has: refuse one of another commit."""
    if name.revision is None or not re.fullmatch(r"[0-9a-f]{40}", name.revision):
        return
    files = [f["filename"] for s in splits.values() for f in getattr(s, "cache_files", ())]
    if files and not all(name.revision in str(f) for f in files):
        raise OfflineError(
            f"{source}: another revision of {name.path} is on this machine: expected "
            f"{name.revision}. With a network: charkit fetch {source}"
        )


def split_table(splits: Mapping[str, Any], split: str, *, source: str) -> RawTable:
    """Turn a split into a table; the names of class codes come with it."""
    part = splits[split]
    class_names = {}
    for name, feature in (getattr(part, "features", None) or {}).items():
        names = getattr(getattr(feature, "feature", feature), "names", None)
        if names:
            class_names[str(name)] = tuple(str(n) for n in names)
    where = f"{source} [{split}]"
    n_rows = len(part) if part.column_names else 0
    if not n_rows:
        raise DataError(f"{source}, split {split}: has no rows. Choose another split.")

    def make(name: str) -> list[Any]:
        try:
            return list(part[name][:])
        except Exception as error:  # audio without its decoder, dates beyond Python's, damage
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DataError(
                f"{where}: column {name!r} cannot be read: {reason[:160]}. Choose another column, "
                "or fetch the data set again."
            ) from error

    columns = LazyColumns(map(str, part.column_names), make)
    table = RawTable(where, columns, range(1, n_rows + 1), unit="row", class_names=class_names)
    return settle(table)


def choose_splits(
    splits: Mapping[str, Any], *, source: str, glue: GlueSpec | None, evaluation: str | None
) -> tuple[str, str | None, str]:
    """Choose the training and the evaluation split.

    GLUE's test labels are hidden (-1 on the hub), so its validation split is used and its test
    split is refused.

    Returns:
        The two names (the second None where there is only a training split) and a note or "".
    """
    if "train" not in splits:
        raise DataError(
            f"{source}: expected a split named train, got {', '.join(map(str, splits))}. "
            "Choose another data set or configuration."
        )
    if evaluation is not None and evaluation not in splits:
        raise UnknownNameError("split", evaluation, set(splits) - {"train"})
    if glue is not None:
        if evaluation is not None and evaluation.startswith("test"):
            raise DataError(
                f"{source}: the labels of GLUE's test split are hidden: expected the split "
                f"{glue.evaluation}, got {evaluation}. Leave out --eval."
            )
        return "train", evaluation or glue.evaluation, ""
    if evaluation is not None:
        return "train", evaluation, ""
    found = [name for name in EVALUATION_SPLITS if name in splits]
    unused = f"; not used: {', '.join(found[1:])}" if len(found) > 1 else ""
    note = f"{found[0]} split used for evaluation{unused}" if found else ""
    return "train", found[0] if found else None, note
