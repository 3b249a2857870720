"""The nine GLUE tasks: columns, classes in GLUE's order, metrics, splits.

Wang, Singh, Michael, Hill, Levy, Bowman: GLUE: A Multi-Task Benchmark and Analysis Platform for
Natural Language Understanding (ICLR 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

from charkit.config import TaskKind
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
