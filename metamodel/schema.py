"""The contract of the table that the metamodel learns from: columns, types, units, ranges.

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


def check_outcomes(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table when it keeps the contract.

    Args:
        table: One row a trained head, at least the columns of ``OUTCOMES``.

    Raises:
        SchemaError: A column is missing or of another type, a value is missing or out of range,
            or two rows are the same cell.
    """
    missing = [f.name for f in OUTCOMES if f.name not in table.columns]
    if missing:
        raise SchemaError(f"columns are missing: expected {missing}, got {list(table.columns)}.")
    for field in OUTCOMES:
        _check_field(table[field.name], field)
    repeated = table.duplicated(KEY)
    if repeated.any():
        row = int(repeated.to_numpy().argmax())
        cell = table.iloc[row][KEY].to_dict()
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
