"""Folders: one file a part, shards, downloaded repositories, save_to_disk, declared class names."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkit.errors import DataError, MissingError
from charkit.tasks import load_task
from charkit.tasks.folder import find_parts, read_part

NAMES = ["neg", "pos", "mixed"]


def rows(n, start=0):
    return {"text": [f"text {start + i}" for i in range(n)], "label": [i % 3 for i in range(n)]}


def csv_of(columns):
    lines = [
        ",".join(columns),
        *(",".join(map(str, r)) for r in zip(*columns.values(), strict=True)),
    ]
    return "\n".join(lines) + "\n"


def put(path, columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".arrow":
        table = pa.table(columns)
        with pa.ipc.new_stream(path, table.schema) as sink:
            sink.write_table(table)
    else:
        path.write_text(csv_of(columns))
    return path


def classes(task):
    return set(task.class_names)


LAYOUTS = {
    "plain": ("train{e}", "test{e}"),
    "shards": ("train-00000-of-00002{e}", "train-00001-of-00002{e}", "test-00000-of-00001{e}"),
    "data": ("data/train-00000-of-00001{e}", "data/test-00000-of-00001{e}"),
    "folders": ("train/0000{e}", "train/0001{e}", "test/0000{e}"),
    "words": ("reviews_train{e}", "reviews_test{e}"),
    "hashes": ("data/train-00000-of-00001-0123456789abcdef{e}",
               "data/test-00000-of-00001-0123456789abcdef{e}"),
}  # fmt: skip


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_all_rows_in_order(tmp_path, layout, ending):
    texts = []
    for place, name in enumerate(LAYOUTS[layout]):
        part = rows(9, start=9 * place)
        put(tmp_path / "task" / name.format(e=ending), part)
        texts += part["text"] if "train" in name else []
    task = load_task(tmp_path / "task")
    assert list(task.train.texts) == texts
    assert len(task.evaluation) == 9


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=12))
def test_shards_are_joined_by_their_numbers(tmp_path_factory, sizes):
    folder = tmp_path_factory.mktemp("shards")
    texts = []
    for i, n in enumerate(sizes):
        part = rows(n, start=len(texts))
        put(folder / f"train_{i}.csv", part)
        texts += part["text"]
    parts = find_parts(folder, evaluation=None)
    assert list(read_part(folder, parts.train).columns["text"]) == texts


def save_to_disk(folder, columns):
    put(folder / "data-00000-of-00001.arrow", columns)
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": "train"})
    )
    feature = {"names": NAMES, "_type": "ClassLabel"}
    (folder / "dataset_info.json").write_text(json.dumps({"features": {"label": feature}}))


def test_a_folder_of_save_to_disk(tmp_path):
    save_to_disk(tmp_path / "one", rows(12))
    assert classes(load_task(tmp_path / "one")) == set(NAMES)
    for part in ("train", "test"):
        save_to_disk(tmp_path / "both" / part, rows(12))
    (tmp_path / "both" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    task = load_task(tmp_path / "both")
    assert classes(task) == set(NAMES)
    assert len(task.evaluation) == 12


def test_what_datasets_writes_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=NAMES)}
    )
    part = datasets.Dataset.from_dict(rows(30), features=features)
    both = datasets.DatasetDict({"train": part, "test": part.select(range(9))})
    both["test"].to_parquet(tmp_path / "parquet.parquet")
    both.save_to_disk(tmp_path / "saved", num_shards={"train": 3, "test": 1})
    task = load_task(tmp_path / "saved")
    assert classes(task) == set(NAMES)
    assert (len(task.train), len(task.evaluation)) == (30, 9)
    assert list(task.train.texts) == part["text"][:]
    assert classes(load_task(tmp_path / "parquet.parquet")) == set(NAMES)


README = """---
license: mit
dataset_info:
{indent}features:
  - name: text
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': neg
          '1': pos
          '2': mixed
---
# A data set
"""


@pytest.mark.parametrize("indent", ["  ", "- config_name: default\n  "])
@pytest.mark.parametrize("name", ["train.csv", "data/train.parquet", "data/train.csv"])
def test_class_names_of_a_repository_card(tmp_path, name, indent):
    put(tmp_path / "repo" / name, rows(12))
    (tmp_path / "repo" / "README.md").write_text(README.format(indent=indent))
    assert classes(load_task(tmp_path / "repo")) == set(NAMES)


def test_class_names_are_only_for_codes(tmp_path):
    columns = {"text": rows(12)["text"], "label": ["yes", "no"] * 6}
    put(tmp_path / "train.csv", columns)
    (tmp_path / "README.md").write_text(README.format(indent="  "))
    assert classes(load_task(tmp_path)) == {"yes", "no"}


def test_parts_that_number_their_classes_differently_are_matched_by_name(tmp_path):
    for part, names in (("train", ["neg", "pos"]), ("test", ["pos", "neg"])):
        table = pa.table({"text": [f"{part} {i}" for i in range(8)], "label": [0, 1] * 4})
        feature = {"label": {"names": names, "_type": "ClassLabel"}}
        meta = {b"huggingface": json.dumps({"info": {"features": feature}}).encode()}
        pq.write_table(table.replace_schema_metadata(meta), tmp_path / f"{part}.parquet")
    task = load_task(tmp_path)
    assert task.class_names == ("neg", "pos")
    assert task.evaluation.labels.tolist() == [1, 0] * 4


def test_a_text_file_beside_a_table_is_no_part(tmp_path):
    put(tmp_path / "train.csv", rows(12))
    (tmp_path / "train.txt").write_text("notes\n")
    assert [p.name for p in find_parts(tmp_path, evaluation=None).train] == ["train.csv"]


def test_missing_files_are_named(tmp_path):
    save_to_disk(tmp_path, rows(3))
    (tmp_path / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(MissingError, match=r"lacks data-00000-of-00001.arrow"):
        load_task(tmp_path)
    (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "../up.arrow"}]}')
    with pytest.raises(DataError, match="names no files of data"):
        load_task(tmp_path)
