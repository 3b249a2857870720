"""The contract of the tables that the metamodel learns from: columns, types, units, ranges.

``OUTCOMES`` says what heads reached, one row a trained head. ``EVIDENCE`` says what is known of a
pilot before more is labelled, one row a layer. A *pilot* is a labelled sample of n0 texts (none
where n0 is 0), the unlabelled evaluation texts and the number of classes, under one encoder.

Whoever makes such a table (a sweep, a pilot) has it checked here before it is kept. More columns
than these are welcome; they are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

Dtype = Literal["string", "int64", "float64"]


class SchemaError(ValueError):
    """A table does not keep the contract; the message names column and first bad row."""


@dataclass(frozen=True)
class Field:
    """A column that the metamodel reads.

    Attributes:
        name: The column.
        dtype: Its type.
        unit: Unit of its values, empty for names.
        meaning: What it says.
        low: Smallest legal value, or None.
        high: Largest legal value, or None.
        optional: Whether single values may be missing (NaN).
    """

    name: str
    dtype: Dtype
    unit: str
    meaning: str
    low: float | None = None
    high: float | None = None
    optional: bool = False


OUTCOMES: tuple[Field, ...] = (
    Field("encoder", "string", "", "encoder that made the features"),
    Field("control", "string", "", "none for the real thing, else the name of the control"),
    Field("task", "string", "", "task"),
    Field("corpus", "string", "", "group of tasks that share texts: every split is by corpus"),
    Field("subset", "string", "", "part of the task"),
    Field("layer", "int64", "", "layer that the head reads; -1 for none", low=-1),
    Field("n_train", "int64", "texts", "labelled training texts", low=1),
    Field("seed", "int64", "", "draw of the training texts", low=0),
    Field("n_classes", "int64", "classes", "classes; 0 for regression", low=0),
    Field("n_eval", "int64", "texts", "labelled evaluation texts", low=1),
    Field("score", "float64", "metric", "the task's own metric", low=-1, high=1),
    Field("accuracy", "float64", "fraction", "share right", low=0, high=1, optional=True),
    Field("log_loss", "float64", "nats", "mean log loss", low=0, optional=True),
)

KEY = ["encoder", "control", "task", "subset", "layer", "n_train", "seed"]
"""No two rows agree in all of these."""


def _share(name: str, meaning: str) -> Field:
    return Field(name, "float64", "fraction", meaning, low=0, high=1, optional=True)


def _number(name: str, unit: str, meaning: str, low: float | None = None) -> Field:
    return Field(name, "float64", unit, meaning, low=low, optional=True)


EVIDENCE_KEYS: tuple[Field, ...] = (
    Field("encoder", "string", "", "encoder that made the features"),
    Field("task", "string", "", "task"),
    Field("corpus", "string", "", "group of tasks that share texts: every split is by corpus"),
    Field("subset", "string", "", "part of the task"),
    Field("seed", "int64", "", "draw of the labelled texts", low=0),
    Field("n0", "int64", "texts", "labelled texts; 0 for none", low=0),
    Field("layer", "int64", "", "layer that the row speaks of; 0 for the embeddings", low=0),
    Field("n_layers", "int64", "layers", "layers of the encoder, embeddings not counted", low=1),
    Field("n_classes", "int64", "classes", "classes", low=2),
    Field("n_unlabelled", "int64", "texts", "unlabelled evaluation texts", low=0),
    Field("width", "int64", "numbers", "width of a layer's features", low=1),
)

CURVE_SHARES: dict[str, float] = {
    "curve_125": 0.125,
    "curve_250": 0.25,
    "curve_500": 0.5,
    "curve_800": 0.8,
    "curve_1000": 1.0,
}
"""Columns of a pilot's own learning curve, and the share of n0 that their heads trained on."""

SPECTRAL_MULTIPLES: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
"""Multiples of n0 that of the spectral learning curve, as ``spectral_<multiple>``."""

EVIDENCE: tuple[Field, ...] = (
    *EVIDENCE_KEYS,
    _share("majority", "share of the largest class among the labels"),
    _share("label_entropy", "entropy of the labels / log of the number of classes"),
    *(
        _share(name, f"accuracy of heads trained on {share:g} of the pilot, tested on its rest")
        for name, share in CURVE_SHARES.items()
    ),
    _number("loss_500", "nats", "log loss of heads trained on half of the pilot", 0),
    _number("loss_1000", "nats", "leave-one-out log loss", 0),
    _share("oof_accuracy", "leave-one-out accuracy of the head at n0"),
    _number("oof_loss", "nats", "leave-one-out log loss of the head at n0", 0),
    _share("oof_confidence", "mean of the largest leave-one-out probability"),
    _number("oof_margin", "probability", "mean of the true class's less the largest other's", -1),
    _number("oof_margin_q25", "probability", "lower quartile of the margins", -1),
    _number("oof_entropy", "nats", "mean entropy of the leave-one-out probabilities", 0),
    *(
        _share(f"spectral_{multiple}", f"accuracy at {multiple} n0, from the spectrum")
        for multiple in SPECTRAL_MULTIPLES
    ),
    _number("alignment_4", "fraction", "share of the labels' variance in 4 leading directions"),
    _number("alignment_16", "fraction", "the same for 16 directions"),
    _number("alignment_64", "fraction", "the same for 64 directions"),
    _number("spectral_noise", "fraction", "share of the labels' variance in no direction"),
    _number("rank_participation", "fraction", "participation ratio of the spectrum / width", 0),
    _number("rank_entropy", "fraction", "exponential of the spectrum's entropy / width", 0),
    _number("decay", "", "slope of log eigenvalue over log rank"),
    _share("top_share", "share of the variance in the leading direction"),
    _share("class_gap", "between-cluster share of the variance, as many clusters as classes"),
    _share("atc", "accuracy on the evaluation texts by average thresholded confidence"),
    _share("doc", "accuracy on the evaluation texts by difference of confidences"),
    _share("average_confidence", "mean of the largest probability on the evaluation texts"),
    _number("confidence_gap", "fraction", "oof_confidence less average_confidence", -1),
    _share("class_shift", "total variation between predicted and labelled class shares"),
    _number("state_shift", "deviations", "distance of mean states / root of the width", 0),
    _number("logme", "nats", "log evidence of a linear model of the labels, per row"),
    _number("h_score", "fraction", "H-score / (classes - 1)"),
    _share("knn_accuracy", "leave-one-out accuracy of 5 nearest neighbours"),
    _number("fisher_norm", "log", "log of the Fisher embedding's norm, noise taken out"),
    _number("fisher_low", "log", "the same of the lower third of the layers, less fisher_norm"),
    _number("fisher_mid", "log", "the same of the middle third"),
    _number("fisher_high", "log", "the same of the upper third"),
    _number("fisher_own", "log", "the same of the row's own layer"),
    _number("fisher_spread", "fraction", "participation ratio of the embedding / its length", 0),
    _number("fisher_trivial", "", "distance to the trivial embedding", 0),
    _number("fisher_shift", "", "distance between evaluation and labelled texts' embeddings", 0),
    _number("fisher_near", "", "distance to the nearest embedding of another corpus", 0),
    _number("fisher_near_5", "", "distance to the fifth nearest of other corpora", 0),
    _share("random_accuracy", "leave-one-out accuracy on a random encoder's last layer"),
    _share("shuffled_accuracy", "leave-one-out accuracy with shuffled labels"),
)
"""What is known of a pilot, one row a layer; whatever cannot be known is NaN."""

PILOT_KEY = ["encoder", "task", "subset", "seed", "n0"]
"""Rows that agree in all of these are the layers of one pilot."""


def check_outcomes(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table when it keeps the contract.

    Args:
        table: One row a trained head, at least the columns of ``OUTCOMES``.

    Raises:
        SchemaError: A column is missing or of another type, a value is missing or out of range,
            or two rows are the same cell.
    """
    return _check(table, OUTCOMES, KEY)


def check_evidence(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table when it keeps the contract.

    Args:
        table: One row a pilot and layer, at least the columns of ``EVIDENCE``.

    Raises:
        SchemaError: A column is missing or of another type, a value is missing or out of range,
            or two rows are the same pilot and layer.
    """
    return _check(table, EVIDENCE, [*PILOT_KEY, "layer"])


def _check(table: pd.DataFrame, fields: tuple[Field, ...], key: list[str]) -> pd.DataFrame:
    missing = [f.name for f in fields if f.name not in table.columns]
    if missing:
        raise SchemaError(f"columns are missing: expected {missing}, got {list(table.columns)}.")
    for field in fields:
        _check_field(table[field.name], field)
    repeated = table.duplicated(key)
    if repeated.any():
        row = int(repeated.to_numpy().argmax())
        cell = table.iloc[row][key].to_dict()
        raise SchemaError(f"a cell occurs twice: expected one row, got another for {cell}.")
    return table


def _check_field(column: pd.Series, field: Field) -> None:
    right = {
        "string": pd.api.types.is_string_dtype,
        "int64": pd.api.types.is_integer_dtype,
        "float64": pd.api.types.is_float_dtype,
    }[field.dtype]
    if len(column) and not right(column.dtype):
        raise SchemaError(f"{field.name}: expected {field.dtype}, got {column.dtype}.")
    bad = column.isna() & (not field.optional)
    if field.low is not None:
        bad |= column < field.low
    if field.high is not None:
        bad |= column > field.high
    if bad.any():
        row = int(bad.to_numpy().argmax())
        legal = f"{field.low} to {field.high}" if field.low is not None else "a value"
        raise SchemaError(f"{field.name}: expected {legal}, got {column.iloc[row]} in row {row}.")
