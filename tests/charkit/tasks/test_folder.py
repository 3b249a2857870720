"""Folders: one file a part, shards, downloaded repositories, save_to_disk, declared class names."""

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkit.errors import DataError, MissingError, UnknownNameError
from charkit.tasks import load_task
from charkit.tasks.readers.folder import find_parts, read_part

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


@pytest.mark.parametrize("kind", ["sequence", "list"])
def test_class_names_of_lists_on_a_repository_card(tmp_path, kind):
    columns = rows(12)
    columns["label"] = [[code] for code in columns["label"]]
    put(tmp_path / "train.parquet", columns)
    card = README.format(indent="  ").replace("dtype:\n      class", f"{kind}:\n      class")
    (tmp_path / "README.md").write_text(card)
    assert classes(load_task(tmp_path)) == set(NAMES)


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


@pytest.mark.parametrize("name", ["val", "dev", "valid", "dev-matched", "reviews_test"])
def test_an_evaluation_file_is_found_by_a_word_of_its_name(tmp_path, name):
    put(tmp_path / "train.csv", rows(12))
    put(tmp_path / f"{name}.csv", rows(9, 100))
    task = load_task(tmp_path)
    assert (len(task.train), len(task.evaluation)) == (12, 9)
    assert f"{name} part used for evaluation" in task.notes


@pytest.mark.parametrize("asked", ["validation", "val", "VAL", "dev"])
def test_an_evaluation_part_may_be_asked_for_by_another_word(tmp_path, asked):
    put(tmp_path / "train.csv", rows(12))
    put(tmp_path / "test.csv", rows(6, 50))
    put(tmp_path / "validation.csv", rows(9, 100))
    assert len(load_task(tmp_path, evaluation=asked).evaluation) == 9
    with pytest.raises(UnknownNameError, match="unknown evaluation part 'holdout'"):
        load_task(tmp_path, evaluation="holdout")


def test_files_that_are_not_used_are_named(tmp_path):
    put(tmp_path / "train.csv", rows(15))
    put(tmp_path / "holdout.csv", rows(9, 100))
    task = load_task(tmp_path)
    assert "not used: holdout (--eval NAME evaluates on one)" in task.notes
    assert len(load_task(tmp_path, evaluation="holdout").evaluation) == 9
    put(tmp_path / "dev_a.csv", rows(9, 100))
    put(tmp_path / "dev_b.csv", rows(9, 100))
    with pytest.raises(DataError, match=r"several parts could be.*dev_a, dev_b.*--eval dev_a"):
        load_task(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("part-00000-1a2b-c000{e}", "part-00001-1a2b-c000{e}"),
        ("part-00000-1a2b.c000.snappy{e}", "part-00001-1a2b.c000.snappy{e}"),
        ("reviews-00000-of-00002{e}", "reviews-00001-of-00002{e}"),
    ],
)
def test_shards_of_one_part_need_no_name_of_a_part(tmp_path, names):
    for start, name in zip((0, 7), names, strict=True):
        put(tmp_path / name.format(e=".parquet"), rows(7, start))
    (tmp_path / "_SUCCESS").touch()
    table = read_part(tmp_path, find_parts(tmp_path, evaluation=None).train)
    assert table.columns["text"] == rows(14)["text"]


def class_folders(folder):
    for name in ("good", "bad"):
        for i in range(8):
            path = folder / name / f"{i}_7.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"a {name} text {i}")
    return folder


@pytest.mark.parametrize("below", ["", "train"])
def test_folders_of_classes_are_refused_with_a_command_that_makes_a_table(tmp_path, below):
    class_folders(tmp_path / "set" / below)
    (tmp_path / "set" / below / "urls.txt").write_text("http://example.org\n")
    with pytest.raises(DataError, match=r"a folder for each class \(bad, good\)") as caught:
        load_task(tmp_path / "set")
    command = str(caught.value).split("table: ")[1].rstrip(".")
    command = command.replace("python -c", f"{sys.executable} -c")
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    task = load_task(tmp_path / f"{below or 'set'}.jsonl")
    assert (task.class_names, len(task.train) + len(task.evaluation)) == (("bad", "good"), 16)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_hive_partitions_are_refused_with_a_command_that_makes_a_table(tmp_path, ending):
    for year in (2023, 2024):
        inside = tmp_path / "set" / f"year={year}" / "month=1"
        put(inside / f"part-0{ending}", rows(9, start=year))
    with pytest.raises(DataError, match=r"Hive partitions \(year=2023, year=2024\)") as caught:
        load_task(tmp_path / "set")
    command = str(caught.value).split("columns: ")[1]
    command = command.replace("python -c", f"{sys.executable} -c")
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    task = load_task(tmp_path / "set.parquet", text="text", label="label")
    assert (task.n_classes, len(task.train) + len(task.evaluation)) == (3, 18)


def test_texts_and_labels_in_two_files_are_refused_with_a_command_that_joins_them(tmp_path):
    for part, n in (("train", 12), ("test", 6)):
        (tmp_path / f"{part}_text.txt").write_text("".join(f'a "b" {part} {i}\n' for i in range(n)))
        (tmp_path / f"{part}_labels.txt").write_text("".join(f"{i % 2}\n" for i in range(n)))
    for part in ("train", "test"):
        with pytest.raises(DataError, match=f"{part}_text.*in files of their own") as caught:
            load_task(tmp_path)
        subprocess.run(
            ["bash", "-c", str(caught.value).split("these: ")[1]], cwd=tmp_path, check=True
        )
        for kind in ("text", "labels"):
            (tmp_path / f"{part}_{kind}.txt").unlink()
    task = load_task(tmp_path)
    assert (len(task.train), len(task.evaluation), task.class_names) == (12, 6, ("0", "1"))


OTHERS = {
    "hub cache": (["refs/main", "snapshots/abc/train.csv"], "give {folder}/snapshots/abc"),
    "no train": (["dataset_dict.json", "test/state.json"], "Its parts are test: give one"),
    "script": (["glue.py", "dataset_infos.json"], r"a loading script \(glue.py\), which is never"),
    "excel": (["train.xlsx"], "train.xlsx is of another format. Open it and save it as CSV UTF-8"),
    "one file": (["reviews.csv"], "give a file, as {folder}/reviews.csv"),
    "nothing": (["README.md", "MANIFEST.json"], "No data file was found in it"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_a_folder_holds_instead_is_named(tmp_path, name):
    files, reason = OTHERS[name]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("{}")
    if name == "no train":
        (tmp_path / "test" / "state.json").write_text('{"_data_files": [{"filename": "d.arrow"}]}')
        (tmp_path / "test" / "d.arrow").touch()
    with pytest.raises(DataError, match=reason.format(folder=tmp_path)):
        load_task(tmp_path)


def test_files_of_classes_are_refused_with_a_command_that_makes_a_table(tmp_path):
    (tmp_path / "set").mkdir()
    for name in ("pos", "neg"):
        lines = "".join(f'a {name} "text" {i}\n\n' for i in range(8))
        (tmp_path / "set" / f"{name}.txt").write_text(lines)
    with pytest.raises(DataError, match=r"a file for each class \(neg.txt, pos.txt\)") as caught:
        load_task(tmp_path / "set")
    command = str(caught.value).split("table: ")[1].rstrip(".")
    command = command.replace("python -c", f"{sys.executable} -c")
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    task = load_task(tmp_path / "set.jsonl")
    assert (task.class_names, len(task.train) + len(task.evaluation)) == (("neg", "pos"), 16)
