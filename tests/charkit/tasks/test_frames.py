"""The same rows give the same task, whatever holds them."""

import enum
import re

import datasets
import narwhals as nw
import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkit.errors import DataError, UnknownNameError, UsageError
from charkit.tasks import load_task
from charkit.tasks.card import SourceOptions
from charkit.tasks.readers.tables import data_table, is_data

N = 12
TEXTS = [f"text {i}" for i in range(N)]
LABEL_SETS = {
    "words": ["good", "bad"] * 6,
    "integers": [0, 1, 2] * 4,
    "truth values": [True, False] * 6,
    "amounts": [i / 4 for i in range(N)],
}


def pandas_frame(labels):
    return pd.DataFrame({"text": TEXTS, "label": pd.Series(labels, dtype=object)})


def inferred(labels):
    return pandas_frame(labels).infer_objects()


def csv_file(labels, folder):
    path = folder / "some name.csv"
    pandas_frame(labels).to_csv(path, index=False)
    return path


HOLDERS = {
    "pandas of objects": pandas_frame,
    "pandas": inferred,
    "pandas nullable": lambda labels: inferred(labels).convert_dtypes(),
    "pandas of arrow": lambda labels: inferred(labels).convert_dtypes(dtype_backend="pyarrow"),
    "pandas categories": lambda labels: inferred(labels).astype({"label": "category"}),
    "pandas, odd index": lambda labels: inferred(labels).set_index([[3] * N, list("abcdefghijkl")]),
    "polars": lambda labels: polars.DataFrame({"text": TEXTS, "label": labels}, strict=False),
    "polars, lazy": lambda labels: polars.LazyFrame({"text": TEXTS, "label": labels}, strict=False),
    "pyarrow": lambda labels: pa.table({"text": TEXTS, "label": labels}),
    "narwhals": lambda labels: nw.from_native(pa.table({"text": TEXTS, "label": labels})),
    "Dataset": lambda labels: datasets.Dataset.from_dict({"text": TEXTS, "label": labels}),
    "list of dicts": lambda labels: pandas_frame(labels).to_dict("records"),
    "list of pairs": lambda labels: list(zip(TEXTS, labels, strict=True)),
    "dict of lists": lambda labels: {"text": TEXTS, "label": labels},
    "dict of arrays": lambda labels: {"text": np.array(TEXTS), "label": pd.array(labels)},
    "records": lambda labels: inferred(labels).to_records(index=False),
    "array of objects": lambda labels: pandas_frame(labels).to_numpy(),
}


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(sorted(LABEL_SETS)),
    gaps=st.lists(st.integers(0, N - 1), max_size=3, unique=True),
    holder=st.sampled_from(sorted(HOLDERS)),
)
def test_the_same_rows_give_the_same_task(kind, gaps, holder, tmp_path_factory):
    labels = [None if i in gaps else v for i, v in enumerate(LABEL_SETS[kind])]
    expected = load_task(csv_file(labels, tmp_path_factory.mktemp("rows")))
    if holder == "records" and gaps:
        return  # a record array of numbers has no place for a missing one
    task = load_task(HOLDERS[holder](labels))
    assert task.fingerprint == expected.fingerprint
    assert (task.kind, task.class_names) == (expected.kind, expected.class_names)


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=LABEL_SETS)
@pytest.mark.parametrize("make", HOLDERS.values(), ids=HOLDERS)
def test_every_holder_is_read(make, labels):
    table = data_table(make(labels))
    assert list(table.columns["text"]) == TEXTS
    assert list(table.columns["label"]) == labels
    assert (table.unit, list(table.numbers)) == ("row", list(range(1, N + 1)))


def test_truth_values_of_a_file_are_those_of_a_frame(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        "text,label\n" + "".join(f"t{i},{'true' if i % 2 else 'false'}\n" for i in range(9))
    )
    assert load_task(path).fingerprint == load_task(pd.read_csv(path)).fingerprint


def test_masked_values_are_missing():
    labels = np.ma.masked_array([0, 1, 2] * 4, mask=[False] * 11 + [True])
    task = load_task({"text": TEXTS, "label": labels})
    assert len(task.train) + len(task.evaluation) == 11
    labels = ["a", "b", "a", "b", "a", "b", "a", "b", pd.NA, pd.NaT, np.nan, None]
    task = load_task(pd.DataFrame({"text": TEXTS, "label": labels}))
    assert (len(task.train) + len(task.evaluation), task.class_names) == (8, ("a", "b"))


def test_class_names_of_a_dataset_are_read():
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    data = datasets.Dataset.from_dict({"text": TEXTS, "label": [1, 0, -1] * 4}, features=features)
    task = load_task(data)
    assert task.class_names == ("no", "yes")
    assert any("4 rows with '-1' have no label" in note for note in task.notes)
    both = datasets.DatasetDict(train=data, validation=data.select(range(6)))
    task = load_task(both)
    assert (len(task.train), len(task.evaluation)) == (8, 4)
    assert "validation split used for evaluation" in task.notes
    assert load_task(both, evaluation="validation").fingerprint == task.fingerprint
    with pytest.raises(UnknownNameError, match="validation"):
        load_task(both, evaluation="validaton")
    frames = load_task({"train": pandas_frame(["a", "b"] * 6), "test": pandas_frame(["a"] * N)})
    assert len(frames.evaluation) == N


NAMES = {
    "numbers": ([0, 1], 0, 1),
    "numbers of numpy": ([0, 1], np.int64(0), np.int32(1)),
    "numbers as text": ([0, 1], "0", "1"),
    "dates": (list(pd.date_range("2024-01-01", periods=2)), pd.Timestamp("2024-01-01"),
              pd.Timestamp("2024-01-02")),
    "two levels": (pd.MultiIndex.from_product([["en"], ["a", "b"]]), ("en", "a"), ("en", "b")),
    "levels of numpy": (pd.MultiIndex.from_product([["en"], [1, 2]]), ("en", 1),
                        (np.str_("en"), np.int64(2))),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMES.values(), ids=NAMES)
def test_names_of_columns_of_any_type_are_taken_as_given(case):
    names, text, label = case
    frame = pandas_frame(["good", "bad"] * 6).set_axis(names, axis=1)
    assert load_task(frame, text=text, label=label).class_names == ("bad", "good")
    options = SourceOptions(text=text, label=label)
    assert load_task(frame, text=options.text, label=options.label).n_classes == 2


@pytest.mark.parametrize("kind", [datasets.Sequence, datasets.List])
def test_class_names_of_lists_in_a_dataset_are_read(kind):
    label = kind(datasets.ClassLabel(names=["no", "yes"]))
    features = datasets.Features({"text": datasets.Value("string"), "label": label})
    data = datasets.Dataset.from_dict(
        {"text": TEXTS, "label": [[1], [0], []] * 4}, features=features
    )
    task = load_task(data)
    assert task.class_names == ("no", "yes")
    assert len(task.train) + len(task.evaluation) == 8


class Mood(enum.Enum):
    good = 1
    bad = 2


class Grade(enum.IntEnum):
    good = 1
    bad = 2


class Word(str):
    __slots__ = ()


@pytest.mark.parametrize("labels", [list(Mood), list(Grade), [Word("good"), Word("bad")]])
def test_members_of_enumerations_are_called_by_their_names(labels):
    task = load_task({"text": TEXTS, "label": labels * 6})
    assert task.class_names == ("bad", "good")


@pytest.mark.parametrize("holder", [list, pd.DataFrame, polars.DataFrame])
def test_fields_of_fields_have_names(holder):
    rows = [{"text": text, "label": {"value": "ab"[i % 2]}} for i, text in enumerate(TEXTS)]
    assert load_task(holder(rows), label="label.value").class_names == ("a", "b")
    with pytest.raises(DataError, match=r"Name the part that is meant: --label label.value"):
        load_task(holder(rows))


def test_texts_beside_labels_are_no_rows():
    with pytest.raises(UsageError, match=r"two lists of 12.*list\(zip\(texts, labels\)\)"):
        load_task((TEXTS, ["good", "bad"] * 6))
    assert load_task(list(zip(TEXTS, ["good", "bad"] * 6, strict=True))).n_classes == 2


def test_names_differ_by_case_or_spaces_alone():
    frame = pandas_frame(["good", "bad"] * 6).set_axis(["\ufeffBody ", "My_Label"], axis=1)
    task = load_task(frame, text="body", label="my label")
    assert any("taken as label" in note for note in task.notes)
    frame["BODY"] = "x"
    with pytest.raises(DataError, match="no column 'body'"):
        load_task(frame, text="body", label="My_Label")


STREAMS = {
    "generator": lambda: (row for row in [("a", "b")]),
    "iterator": lambda: iter([{"text": "a"}]),
    "map": lambda: map(str, "ab"),
    "IterableDataset": lambda: datasets.Dataset.from_dict({"text": ["a"]}).to_iterable_dataset(),
}


@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
def test_what_can_be_read_once_is_refused_for_that_reason(make):
    with pytest.raises(UsageError, match=r"source: .*only once"):
        load_task(make())
    with pytest.raises(UsageError, match=r"evaluation: .*only once"):
        load_task(pandas_frame(["good", "bad"] * 6), evaluation=make())


@pytest.mark.parametrize(
    ("data", "fragment"),
    [
        (3, "got int"),
        (object(), "a DataFrame (pandas, polars, pyarrow)"),
        ({"a", "b"}, "a set"),
        ([], "no rows"),
        (pd.DataFrame({"text": []}), "no rows"),
        ({"text": ["a"], "label": ["a", "b"]}, "text 1, label 2"),
        ({"text": "a"}, "got str for 'text'"),
        ([{"text": "a"}, 3], "row 2: .* got int after dict"),
        ([("a", "b", "c")], "row 1: expected 2 values"),
        (np.zeros((3, 4)), r"shape \(3, 4\)"),
        (pd.DataFrame([["a", "b", "c"]], columns=["text", 0, "0"]), "more than once"),
        (polars.DataFrame({"text": [1, 2], "label": ["a", "b"]}), "polars DataFrame, row 1"),
    ],
)
def test_other_data_are_refused_with_what_they_are(data, fragment):
    pattern = fragment if "\\" in fragment or ".*" in fragment else re.escape(fragment)
    with pytest.raises((UsageError, DataError), match=pattern):
        load_task(data)


def test_rows_are_one_task_and_names_are_several():
    assert is_data([{"text": "a", "label": 1}])
    assert is_data([("a", 1), ["b", 0]])
    assert not is_data(["a.csv", "b.csv"])
    assert not is_data([pandas_frame(["a"] * N)])
    assert not is_data([])


def test_texts_and_labels_that_are_exchanged_are_named():
    with pytest.raises(DataError, match="Text and label seem to be exchanged"):
        load_task([("ab"[i % 2], f"text {i}") for i in range(12)])


@pytest.mark.parametrize(
    ("data", "fragment"),
    [
        (["a.csv", "b.csv"], "got 2 paths of files"),
        ({"train": "a.csv", "test": "b.csv"}, "load_task.'a.csv', evaluation='b.csv'"),
        ((np.array(TEXTS), np.array(["a", "b"] * 6)), '"text": texts, "label": labels'),
    ],
)
def test_what_people_hand_over_instead_of_rows_is_named(data, fragment):
    with pytest.raises(UsageError, match=fragment):
        load_task(data)
