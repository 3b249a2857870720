"""`encode` needs no label and encodes every row that has a text, in the order of the source."""

import csv

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

import charkit
from charkit.errors import DataError
from charkit.tasks import lazy_task


@pytest.fixture
def options(tiny_bert, tmp_store):
    return {"encoder": str(tiny_bert), "store": tmp_store}


def rows_of(folder, part="train"):
    with (folder / f"{part}.rows.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    labels=st.lists(
        st.sampled_from(["a", "b", "", "-1", "['a', 'b']", "0,5"]), min_size=1, max_size=8
    )
)
def test_every_row_is_encoded_whatever_its_label(labels, options, tmp_path):
    path = tmp_path / "t.csv"
    frame = pd.DataFrame({"id": [f"n{i}" for i in range(len(labels))], "label": labels})
    frame["text"] = [f"text {i}" for i in range(len(labels))]
    frame.to_csv(path, index=False)
    encoded = charkit.encode(path, **options)
    assert encoded.rows()[0]["texts"] == len(labels)
    rows = rows_of(encoded.save(tmp_path / "out", layers=[1]))
    assert [r["id"] for r in rows] == list(frame["id"])
    assert [r["label"].lstrip("'") for r in rows] == labels
    assert [int(r["line"]) for r in rows] == list(range(2, len(labels) + 2))
    assert load_file(tmp_path / "out" / "train.safetensors")["layer.1"].shape[0] == len(labels)


def test_texts_without_a_label_column_are_encoded(options, tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text('text\nfirst\nsecond\n" "\nthird\n')
    encoded = charkit.encode(path, **options)
    assert encoded.parts["train"].n_samples == 3
    assert any("1 blank rows" in note for note in encoded.notes)
    assert [r["line"] for r in rows_of(encoded.save(tmp_path / "out"))] == ["2", "3", "5"]
    same = charkit.encode(["first", "second", "third"], **options)
    assert np.array_equal(same.parts["train"].layer(1), encoded.parts["train"].layer(1))


def test_a_row_with_a_label_and_no_text_is_refused_or_dropped(options, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("text,label\nfirst,a\n,b\nthird,\n")
    with pytest.raises(DataError, match=r"line 3 \(empty 'text'\)"):
        charkit.encode(path, **options)
    encoded = charkit.encode(lazy_task(path, on_bad_rows="drop"), **options)
    assert [r["label"] for r in rows_of(encoded.save(tmp_path / "out"))] == ["a", ""]


def test_a_column_that_is_not_there_is_named(options, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("text,label\nfirst,a\n")
    with pytest.raises(DataError, match="no column 'stars'"):
        charkit.encode(lazy_task(path, label="stars"), **options)
