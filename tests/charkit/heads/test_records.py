import math
from pathlib import Path

import pandas as pd
import pytest

from charkit.errors import DataError
from charkit.heads.sweep.table import COLUMNS, concat, read_table, to_frame, write_table

ROWS = [
    {"task": "b", "layer": 1, "score": 0.5, "converged": True, "n_train": 16},
    {"task": "a", "layer": 0, "score": 0.25, "message": "x", "n_train": 32},
]


def test_columns_types_and_order_are_those_of_the_schema():
    frame = to_frame(ROWS)
    assert list(frame.columns) == [c.name for c in COLUMNS]
    assert [str(t) for t in frame.dtypes] == [
        "str" if c.dtype == "string" else c.dtype for c in COLUMNS
    ]
    assert list(frame["task"]) == ["a", "b"]
    assert math.isnan(frame["accuracy"][0])


def test_unknown_column_is_refused():
    with pytest.raises(DataError, match="acuracy"):
        to_frame([{"acuracy": 1.0}])


def test_written_table_comes_back_and_equal_tables_give_equal_bytes(tmp_path):
    frame = to_frame(ROWS)
    write_table(frame, tmp_path / "a.parquet")
    write_table(to_frame(reversed(ROWS)), tmp_path / "b.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "a.parquet"), frame)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_other_table_is_refused(tmp_path):
    pd.DataFrame({"task": ["a"]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet is not a sweep table"):
        read_table(tmp_path / "x.parquet")


def test_concat_of_nothing_is_an_empty_table():
    assert list(concat([]).columns) == [c.name for c in COLUMNS]


def test_every_column_is_documented():
    page = (Path(__file__).parents[3] / "docs" / "table.md").read_text()
    for column in COLUMNS:
        assert f"| `{column.name}` | {column.dtype} |" in page, column.name
