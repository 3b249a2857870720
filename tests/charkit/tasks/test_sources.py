"""load_task: the same rows from every format, texts exactly kept, guesses said."""

import csv
import gzip
import io
import json
import time

import numpy as np
import pandas as pd
import pytest

from charkit.errors import CharkitError, DataError
from charkit.tasks import load_task

TEXTS = [
    "plain", "NA", "null", "007", "1.50", "  spaces kept  ", 'a "quoted" word', "a, comma",
    "a\ttab", "two\nlines", "carriage\r\nreturn", "caf\u00e9 \u4f60\u597d \U0001f60d",
    "\u2028 odd break", "True", "None", "nan", "-", "=1+1", "'", "#no comment",
]  # fmt: skip
ROWS = [(text, f"second {i}", "ab"[i % 2]) for i, text in enumerate(TEXTS)]
HEADER = ("text", "text_pair", "label")


def write_delimited(path, delimiter):
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, delimiter=delimiter)
    writer.writerows([HEADER, *ROWS])
    path.write_bytes(sink.getvalue().encode())


def write_json(path):
    lines = (json.dumps(dict(zip(HEADER, row, strict=True)), ensure_ascii=False) for row in ROWS)
    path.write_bytes("\n".join(lines).encode())


WRITERS = {
    "csv": lambda path: write_delimited(path, ","),
    "tsv": lambda path: write_delimited(path, "\t"),
    "jsonl": write_json,
    "json": write_json,
    "parquet": lambda path: frame().to_parquet(path),
}


def frame():
    return pd.DataFrame(ROWS, columns=list(HEADER))


def write_good(path, n=20, header="text,label"):
    rows = [f"text {i},{'ab'[i % 2]}" for i in range(n)]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_every_format_gives_the_same_task(tmp_path):
    expected = load_task(frame())
    texts = {*expected.train.texts, *expected.evaluation.texts}
    assert texts == set(TEXTS)
    for ending, write in WRITERS.items():
        path = tmp_path / f"same.{ending}"
        write(path)
        task = load_task(path)
        assert task.fingerprint == expected.fingerprint, ending
        assert task.name == "same"
        if ending != "parquet":
            packed = tmp_path / f"packed.{ending}.gz"
            packed.write_bytes(gzip.compress(path.read_bytes()))
            assert load_task(str(packed)).fingerprint == expected.fingerprint
            assert load_task(packed).name == "packed"


def test_folder_gives_its_parts(tmp_path):
    for part, n in (("train", 20), ("test", 6), ("validation", 8)):
        write_good(tmp_path / f"{part}.csv", n)
    task = load_task(tmp_path)
    assert (len(task.train), len(task.evaluation)) == (20, 6)
    assert "test part used for evaluation; not used: validation" in task.notes
    assert task.name == task.corpus == tmp_path.name
    other = load_task(tmp_path, evaluation="validation")
    assert len(other.evaluation) == 8


def test_folder_takes_its_corpus_from_the_manifest(tmp_path):
    (tmp_path / "MANIFEST.json").write_text('[{"name": "one", "corpus": "shared"}]')
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_good(tmp_path / name / "train.csv")
    assert load_task(tmp_path / "one").corpus == "shared"
    assert load_task(tmp_path / "two").corpus == "two"


def test_folder_and_separate_evaluation_file(tmp_path):
    folder = tmp_path / "task"
    folder.mkdir()
    write_good(folder / "train.csv")
    write_good(folder / "test.csv", 4)
    separate = write_good(tmp_path / "more.csv", 12)
    assert len(load_task(folder, evaluation=separate).evaluation) == 12


def test_byte_order_mark_is_dropped(tmp_path):
    path = write_good(tmp_path / "t.csv")
    plain = load_task(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_task(path).fingerprint == plain.fingerprint


def test_tsv_with_bare_quotes_is_read_literally(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text('text\tlabel\n"open\ta\n"Yes," he said\tb\nfine\ta\ngood\tb\nno\ta\nyes\tb\n')
    task = load_task(path)
    assert {'"open', '"Yes," he said'} <= {*task.train.texts, *task.evaluation.texts}
    assert "t.tsv: quotation marks were read as plain characters" in task.notes


def test_lines_are_those_of_the_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('text,label\n"two\nlines",a\n\nnext,b\n ,a\n')
    with pytest.raises(DataError, match=r"line 6 \(empty 'text'\)"):
        load_task(path)


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("sentence,target", ("sentence", None, "target")),
        ("Review,Stars", ("Review", None, "Stars")),
        ("premise,hypothesis,label", ("premise", "hypothesis", "label")),
        ("question,sentence,label", ("question", "sentence", "label")),
        ("id,body,category", ("body", None, "category")),
    ],
)
def test_guesses_are_made_and_said(tmp_path, header, chosen):
    names = header.split(",")
    rows = [",".join(f"{n} {i}" for n in names[:-1]) + f",{'ab'[i % 2]}" for i in range(10)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join([header, *rows]))
    task = load_task(path)
    notes = " ".join(task.notes)
    assert f"column {chosen[0]!r} taken as text" in notes
    assert f"column {chosen[2]!r} taken as label" in notes
    assert (task.train.pairs is not None) == (chosen[1] is not None)
    assert task.train.texts[0].startswith(chosen[0])


def test_explicit_columns_are_taken_and_not_commented(tmp_path):
    path = tmp_path / "t.csv"
    rows = [f"{i},body {i},other {i},{i % 3}" for i in range(30)]
    path.write_text("\n".join(["text,body,reply,stars", *rows]))
    task = load_task(path, text="body", pair="reply", label="stars")
    assert task.train.texts[0].startswith("body")
    assert task.train.pairs[0].startswith("other")
    assert task.class_names == ("0", "1", "2")
    assert task.name == "t"
    assert not any("taken as" in note for note in task.notes)


@pytest.mark.parametrize(
    ("labels", "kind", "expected"),
    [
        (["10", "9", "100"] * 5, None, ("9", "10", "100")),
        (["b", "a", "10"] * 5, None, ("10", "a", "b")),
        ([1, 2, 3] * 5, None, ("1", "2", "3")),
        ([True, False, True] * 5, None, ("False", "True")),
        ([0.5, 1.5, 2.5] * 5, None, ()),
        (["0.5", "1.5", "2"] * 5, None, ()),
        ([1, 2, 3] * 5, "regression", ()),
        ([1.0, 2.0, 3.0] * 5, "classification", ("1.0", "2.0", "3.0")),
        (["NA", "null", "nan"] * 5, None, ("NA", "null")),
        (["01", "1", "1.0"] * 5, "classification", ("01", "1", "1.0")),
    ],
)
def test_kinds_and_class_names(labels, kind, expected):
    data = pd.DataFrame({"text": [f"t{i}" for i in range(15)], "label": labels})
    task = load_task(data, kind=kind)
    assert task.class_names == expected
    assert task.kind == ("classification" if expected else "regression")
    assert task.metric == ("accuracy" if expected else "pearson_spearman")


def test_missing_texts_of_a_frame_are_bad_rows_and_missing_labels_are_left_out():
    data = pd.DataFrame({"text": list("a_cdefghij"), "label": [1, 2, None, 1, 2, 2, 1, 2, 1, 2]})
    data.loc[1, "text"] = None
    with pytest.raises(DataError, match=r"1 of 9 rows cannot be used: row 2 \(empty 'text'\)"):
        load_task(data)
    data["label"] = data["label"].astype("Int64").astype("category")
    task = load_task(data, on_bad_rows="drop")
    assert len(task.train) + len(task.evaluation) == 8
    assert any("1 of 10 rows have no label: left out" in note for note in task.notes)
    assert any("1 of 9 rows dropped: row 2" in note for note in task.notes)
    assert task.class_names == ("1", "2")


def test_split_is_stratified_seeded_and_said(tmp_path):
    rows = [f"text {i},{'a' if i % 10 else 'rare'}" for i in range(500)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["text,label", *rows]))
    task = load_task(path, eval_frac=0.3, seed=4)
    assert (len(task.train), len(task.evaluation)) == (350, 150)
    assert (task.evaluation.labels == 1).sum() == 15
    assert any("150 of 500 rows split off (stratified, seed 4)" in n for n in task.notes)
    again, other = (load_task(path, eval_frac=0.3, seed=s) for s in (4, 5))
    assert again.fingerprint == task.fingerprint != other.fingerprint


def test_duplicates_stay_on_one_side_of_a_split():
    data = pd.DataFrame({"text": [f"t{i % 40}" for i in range(120)], "label": ["a", "b"] * 60})
    task = load_task(data)
    assert not set(task.train.texts) & set(task.evaluation.texts)


def test_a_split_keeps_every_class_in_training_even_where_a_text_has_two():
    """Classes of one or two rows, one of them a text that another class has as well."""
    rows = [(f"t{i}", "ab"[i % 2]) for i in range(40)]
    rows += [("t0", "only with t0"), ("alone", "single"), ("p", "pair"), ("q", "pair")]
    data = pd.DataFrame(rows, columns=["text", "label"])
    for seed in range(5):
        task = load_task(data, seed=seed, eval_frac=0.5)
        assert set(task.train.labels.tolist()) == set(range(5))
        assert not set(task.train.texts) & set(task.evaluation.texts)
        assert any(
            "2 of 5 classes have a single training row (kept): 'only with t0', 'single'" in note
            for note in task.notes
        )
        assert any("3 of 5 classes have no evaluation row" in note for note in task.notes)


def test_a_split_of_pairs_leaves_one_row_of_each_class_in_training():
    data = pd.DataFrame(
        {"text": [f"t{i}" for i in range(20)], "label": [i // 2 for i in range(20)]}
    )
    task = load_task(data, eval_frac=0.3)
    assert set(task.train.labels.tolist()) == set(range(10))
    assert len(task.evaluation) == 6


def test_classes_that_only_evaluation_has_are_kept_counted_and_listed_once(tmp_path):
    train = write_good(tmp_path / "train.csv", 10)
    train.write_text(train.read_text() + "lonely,c\n")
    (tmp_path / "test.csv").write_text("text,label\nnew,b\nnewer,z\nnewest,a\nodd,y\nodder,z\n")
    task = load_task(tmp_path)
    assert task.class_names == ("a", "b", "c")
    assert task.unseen_names == ("y", "z")
    assert task.evaluation.labels.tolist() == [1, 4, 0, 3, 4]
    assert task.n_classes == 3
    note = "3 of 5 evaluation rows (60.0%) are of 2 classes that training lacks"
    assert sum(note in n and "'y', 'z'" in n for n in task.notes) == 1
    assert any("1 of 3 classes have a single training row (kept): 'c'" in n for n in task.notes)
    assert "5 classes" in task.describe()[2]


def test_an_evaluation_class_is_part_of_the_fingerprint(tmp_path):
    train = write_good(tmp_path / "train.csv", 10)
    names = []
    for other in ("z", "y"):
        (tmp_path / "e.csv").write_text(f"text,label\nnew,b\nnewer,{other}\n")
        names.append(load_task(train, evaluation=tmp_path / "e.csv").fingerprint)
    assert names[0] != names[1]


def test_fewer_than_two_rows_a_class_is_noted(tmp_path):
    train = tmp_path / "t.csv"
    rows = [f"text {i},c{i}" for i in range(20)] + [f"more {i},c{i}" for i in range(6)]
    train.write_text("text,label\n" + "\n".join(rows) + "\n")
    (tmp_path / "e.csv").write_text("text,label\nx,c1\ny,c2\n")
    task = load_task(train, evaluation=tmp_path / "e.csv")
    assert any("26 training rows for 20 classes, fewer than two a class" in n for n in task.notes)
    assert any("18 of 20 classes have no evaluation row" in n for n in task.notes)


@pytest.mark.parametrize("twin", ["Good", " good", "go\u200bod", "GOOD "])
def test_a_class_spelled_otherwise_in_evaluation_is_no_new_class(tmp_path, twin):
    train = tmp_path / "t.csv"
    train.write_text("text,label\n" + "".join(f"t{i},{['good', 'bad'][i % 2]}\n" for i in range(8)))
    (tmp_path / "e.csv").write_text(f"text,label\nx,good\ny,bad\nz,{twin}\n")
    with pytest.raises(DataError, match="in other letters"):
        load_task(train, evaluation=tmp_path / "e.csv")


def test_rare_classes_keep_two_training_rows():
    labels = ["a"] * 40 + ["b"] * 40 + ["c"] * 2
    data = pd.DataFrame({"text": [f"t{i}" for i in range(82)], "label": labels})
    for seed in range(5):
        task = load_task(data, seed=seed, eval_frac=0.5)
        assert (task.train.labels == 2).sum() == 2


def test_duplicates_and_conflicts_are_counted(tmp_path):
    train = write_good(tmp_path / "train.csv", 10)
    train.write_text(train.read_text() + "text 0,b\ntext 1,b\n")
    (tmp_path / "test.csv").write_text("text,label\ntext 0,a\nnew,b\nnewer,a\ntext 3,b\n")
    notes = load_task(tmp_path).notes
    assert "2 of 12 training rows repeat an earlier text" in notes
    assert "1 training texts occur with different labels" in notes
    assert any(n.startswith("2 of 4 evaluation rows (50.0 %) have the same text") for n in notes)


def test_classes_that_look_alike_are_told(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        "text,label\n" + "".join(f"t{i},{'yes' if i % 2 else 'Yes'}\n" for i in range(9))
    )
    assert "classes 'Yes' and 'yes' differ only by spaces or case" in load_task(path).notes


def test_evaluation_without_labels_is_kept(tmp_path):
    path = write_good(tmp_path / "t.csv")
    (tmp_path / "new.csv").write_text("id,text\n1,one\n2,two\n")
    task = load_task(path, evaluation=tmp_path / "new.csv")
    assert task.evaluation.labels is None
    assert task.evaluation.texts == ("one", "two")
    assert any("no labels" in note for note in task.notes)


def test_glue_folders_have_the_order_and_metric_of_glue(tmp_path):
    folder = tmp_path / "glue_qqp"
    folder.mkdir()
    names = ["duplicate", "not_duplicate"]
    rows = [f"{i},q{i},r{i},{names[i % 2]}" for i in range(8)]
    (folder / "train.csv").write_text("\n".join(["id,question1,question2,label", *rows]))
    task = load_task(folder)
    assert (task.metric, task.class_names) == ("f1", ("not_duplicate", "duplicate"))
    assert task.train.pairs is not None


def test_ten_megabytes_in_one_text(tmp_path):
    path = write_good(tmp_path / "t.csv")
    path.write_text(path.read_text() + "x y " * 2_500_000 + ",a\n")
    task = load_task(path)
    assert max(len(t) for t in task.train.texts + task.evaluation.texts) == 10_000_000
    assert csv.field_size_limit() == 131_072


def test_a_hundred_thousand_rows_load_in_seconds(tmp_path):
    path = tmp_path / "t.csv"
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 100_000)
    lines = (f"this is text number {i} of a long file,{y}" for i, y in enumerate(labels))
    path.write_text("text,label\n" + "\n".join(lines))
    start = time.perf_counter()
    task = load_task(path)
    assert len(task.fingerprint) == 64
    assert time.perf_counter() - start < 10
    assert len(task.train) == 80_000


@pytest.mark.parametrize("name", ["split", "Set", "data_split"])
def test_a_column_of_parts_is_named(tmp_path, name):
    rows = [f"text {i},{'ab'[i % 2]},{'train test'.split()[i % 5 == 0]}" for i in range(20)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join([f"text,label,{name}", *rows]) + "\n")
    note = f"t.csv: column {name!r} holds 'test', 'train': it is not read"
    assert any(n.startswith(note) for n in load_task(path).notes)
    path.write_text(path.read_text().replace("train", "a").replace("test", "b"))
    assert not any("it is not read" in n for n in load_task(path).notes)


def test_texts_that_lost_letters_or_were_read_wrongly_are_counted():
    good = [f"caf\u00e9 \u201cna\u00efve\u201d \u2013 \u00dcber \u00c3lter {i}" for i in range(20)]
    labels = ["a", "b"] * 10
    assert not any(
        "letters" in n or "UTF-8" in n for n in load_task({"text": good, "label": labels}).notes
    )
    read_wrongly = [t.encode().decode("cp1252", "ignore") for t in good]
    for change, words in ((read_wrongly, "look like UTF-8 that was read as Windows-1252"),
                          ([t.encode("cp1252").decode("latin-1") for t in good], "from CP1252"),
                          ([t.replace("\u00e9", "\ufffd") for t in good], "hold U+FFFD")):  # fmt: skip
        notes = load_task({"text": change, "label": labels}).notes
        assert any("16 texts" in n and words in n for n in notes)
        partly = load_task({"text": change, "label": labels}, labels="some")
        assert any("20 texts" in n and words in n for n in partly.notes)


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "#NAME?", "<NA>"])
def test_texts_that_programs_write_for_missing_ones_are_counted(word):
    texts = [word if i % 4 == 0 else f"text {i}" for i in range(24)]
    task = load_task({"text": texts, "label": list("ab") * 12})
    assert any("as programs write a missing text: kept" in note for note in task.notes)
    task = load_task({"text": [f"text {i}" for i in range(24)], "label": list("ab") * 12})
    assert not any("missing text" in note for note in task.notes)


@pytest.mark.parametrize(
    ("source", "fragment"),
    [
        ("https://example.org/a.csv", "Download it"),
        ("s3://bucket/a.parquet", "got the address"),
        ("data/*.csv", "Patterns are not read"),
        ("owner/name", "give hub:owner/name"),
    ],
)
def test_what_is_no_path_is_named_as_what_it_is(source, fragment):
    with pytest.raises(CharkitError, match=fragment):
        load_task(source)
