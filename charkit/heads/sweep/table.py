"""The sweep's table: one row a cell, its columns, their types and units.

The table holds no times: times stand in each job's ``run.json``, so that a table made again
equals the first one byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from charkit.errors import DataError
from charkit.store.durable import write_whole
from charkit.store.sealed import read_sealed_table, reading, seal_table
from charkit.tasks.task import IMBALANCED

Dtype = Literal["string", "int64", "float64", "bool"]


@dataclass(frozen=True)
class Column:
    """A column of a table: its name, type, unit and meaning."""

    name: str
    dtype: Dtype
    unit: str
    meaning: str


def _interval(name: str, unit: str, meaning: str) -> tuple[Column, ...]:
    return (
        Column(name, "float64", unit, meaning),
        Column(f"{name}_low", "float64", unit, f"lower end of the 90 % interval of {name}"),
        Column(f"{name}_high", "float64", unit, f"upper end of the 90 % interval of {name}"),
    )


COLUMNS: tuple[Column, ...] = (
    Column("encoder", "string", "", "name of the encoder"),
    Column("encoder_fingerprint", "string", "", "hash of its weights, configuration, tokenizer"),
    Column("control", "string", "", "none, random_encoder, shuffled_labels or majority"),
    Column("task", "string", "", "name of the task"),
    Column("corpus", "string", "", "where its texts come from; tasks that share it share texts"),
    Column("task_fingerprint", "string", "", "hash of its texts and labels"),
    Column("subset", "string", "", "which part of the task; all is the whole"),
    Column("kind", "string", "", "classification or regression"),
    Column("layer", "int64", "", "0 = embeddings, 1..L; -1 where no layer is read (majority)"),
    Column("pooling", "string", "", "mean, cls or max"),
    Column("n_train", "int64", "texts", "labelled texts that the head was trained on"),
    Column("seed", "int64", "", "which nested draw of the training texts"),
    Column("n_classes", "int64", "classes", "classes of the task; 0 for regression"),
    Column("n_unseen", "int64", "classes", "classes that only evaluation texts have"),
    Column("n_eval", "int64", "texts", "labelled texts that the head was scored on"),
    Column(
        "frac_unseen",
        "float64",
        "fraction",
        "share of these whose class no training text of the cell has",
    ),
    Column("majority_share", "float64", "fraction", "largest class's share of the evaluation"),
    Column("strength", "float64", "", "L2 strength, chosen inside the training sample"),
    Column("metric", "string", "", "what score means: the task's own metric, or the one asked for"),
    *_interval("score", "metric", "that metric"),
    *_interval("accuracy", "fraction", "share of evaluation texts classified correctly"),
    *_interval("f1", "fraction", "F1 of class 1 for two classes, else the mean over classes"),
    *_interval("macro_f1", "fraction", "mean of F1 over the classes of texts or predictions"),
    *_interval("balanced_accuracy", "fraction", "mean of recall over the classes of the texts"),
    *_interval("matthews", "correlation", "Matthews correlation coefficient"),
    *_interval("log_loss", "nats", "mean negative log probability of the true class"),
    *_interval("brier", "", "mean over texts of the summed squared probability errors"),
    Column("pearson", "float64", "correlation", "Pearson correlation (regression)"),
    Column("spearman", "float64", "correlation", "Spearman correlation (regression)"),
    Column("r2", "float64", "fraction", "explained share of the variance (regression)"),
    Column("rmse", "float64", "label", "root mean squared error (regression)"),
    Column("gradient_norm", "float64", "", "norm of the objective's gradient at the end"),
    Column("n_iterations", "int64", "", "iterations of the solver"),
    Column("converged", "bool", "", "whether the solver met its tolerance"),
    Column("frac_truncated", "float64", "fraction", "share of texts cut at the maximum length"),
    Column("state", "string", "", "done or failed"),
    Column("message", "string", "", "why it failed; empty when done"),
    Column("key", "string", "", "the job's entry in the store"),
)

CONTROL_NAMES = {
    "random_encoder": "random encoder",
    "shuffled_labels": "shuffled labels",
    "majority": "majority class",
}

METRIC_NAMES = {
    "accuracy": "accuracy",
    "f1": "F1",
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "matthews": "Matthews",
    "pearson_spearman": "correlation",
    "log_loss": "log loss",
    "brier": "Brier score",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "r2": "explained variance",
    "rmse": "root mean squared error",
}
"""The metrics of a sweep's table, as people call them."""

SORT_ORDER = ["task", "subset", "encoder", "control", "n_train", "seed", "layer"]

_EMPTY: dict[Dtype, Any] = {"string": "", "int64": 0, "float64": float("nan"), "bool": False}


def metric_name(metric: str) -> str:
    """Return a metric as people call it."""
    return METRIC_NAMES.get(metric, metric)


def to_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the rows as a DataFrame with exactly the columns, types and order of ``COLUMNS``.

    A column that a row lacks gets the empty value of its type: "", 0, NaN or False.

    Raises:
        DataError: A row has a column that the schema does not know.
    """
    rows = list(rows)
    unknown = {name for row in rows for name in row} - {c.name for c in COLUMNS}
    if unknown:
        raise DataError(f"unknown columns in a sweep row: {sorted(unknown)}")
    data = {
        c.name: pd.Series(
            [row.get(c.name, _EMPTY[c.dtype]) for row in rows],
            dtype="str" if c.dtype == "string" else c.dtype,
        )
        for c in COLUMNS
    }
    frame = pd.DataFrame(data)
    return frame.sort_values(SORT_ORDER, kind="stable", ignore_index=True)


def concat(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of several sweep tables as one, in the table's order."""
    frames = [f for f in frames if len(f)]
    if not frames:
        return to_frame([])
    joined = pd.concat(frames, ignore_index=True)
    return joined.sort_values(SORT_ORDER, kind="stable", ignore_index=True)


SHOWN_BESIDE = ("accuracy", "macro_f1", "balanced_accuracy")
"""Metrics that are shown next to the score where one class prevails."""


def metrics_beside(frame: pd.DataFrame, metric: str) -> tuple[str, ...]:
    """Return the metrics to show next to a score: some where one class has most rows."""
    if not (frame["majority_share"] > IMBALANCED).any():
        return ()
    return tuple(name for name in SHOWN_BESIDE if name != metric and name in frame.columns)


def rescored(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a table of classification whose score is another metric than the tasks' own.

    Args:
        frame: A sweep's table.
        metric: One of `charkit.heads.metrics.influence.CLASS_METRICS`.
    """
    ends = {f"score{end}": frame[f"{metric}{end}"] for end in ("", "_low", "_high")}
    return frame.assign(metric=pd.Series(metric, index=frame.index, dtype="str"), **ends)


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as parquet, whole or not at all; equal tables give equal bytes.

    Raises:
        MissingError: The disk is full or the folder cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = seal_table(pa.Table.from_pandas(frame, preserve_index=False))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_whole(path, sink.getvalue().to_pybytes())


def read_table(path: Path) -> pd.DataFrame:
    """Read a table that ``write_table`` wrote.

    Raises:
        DataError: The file is damaged, was changed, or is not a sweep table of this version.
        FileNotFoundError: There is no such file.
    """
    advice = "Run the same sweep again: what is in the store is not computed anew."
    frame: pd.DataFrame = read_sealed_table(path, path.name, advice=advice).to_pandas()
    wanted = [c.name for c in COLUMNS]
    if list(frame.columns) != wanted:
        missing = sorted(set(wanted) - set(frame.columns))
        raise DataError(
            f"{path.name} is not a sweep table of this version: columns {missing} are missing "
            "or out of order. Make it again with this version."
        )
    kinds = {c.name: "str" if c.dtype == "string" else c.dtype for c in COLUMNS}
    with reading(path.name, "columns of the sweep's types", advice=advice):
        return frame.astype(kinds)
