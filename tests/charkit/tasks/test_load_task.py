from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from charkit.errors import DataError, UsageError
from charkit.tasks import generated_task
from charkit.tasks.assemble import without_repeats
from charkit.tasks.card import lazy_task, load_sample
from charkit.tasks.load import load_task
from charkit.tasks.task import Split


def read(source, classes=None, **options):
    return load_sample(lazy_task(source, **options), classes=classes)


@pytest.fixture
def reviews(tmp_path):
    labels = [None if i % 3 == 0 else "ab"[i % 2] for i in range(30)]
    frame = pd.DataFrame({"body": [f"text {i}" for i in range(30)], "stars": labels})
    path = tmp_path / "reviews.csv"
    frame.to_csv(path, index=False)
    return path


def test_rows_without_a_label_are_the_pool(reviews):
    found = read(reviews, text="body", label="stars")
    assert (len(found.train), len(found.pool), found.evaluation) == (20, 10, None)
    assert found.pool.texts[:2] == ("text 0", "text 3")
    assert found.pool.labels is None
    assert found.class_names == ("a", "b")
    assert found.unlabelled is found.pool
    assert any("10 rows have no label" in note for note in found.notes)
    assert "still to label: 10 rows" in found.describe_labels()


def test_all_labelled_rows_are_used(reviews):
    frame = pd.read_csv(reviews).dropna()
    found = read(frame)
    assert len(found.train) == len(frame)
    assert found.unlabelled is None


def test_without_labels_the_number_of_classes_is_needed(reviews):
    found = read(reviews, classes=4)
    assert (len(found.train), len(found.pool), found.n_classes) == (0, 30, 4)
    only_texts = pd.read_csv(reviews)[["body"]]
    with pytest.raises(DataError, match="--classes C"):
        read(only_texts)


def test_labels_of_evaluation_rows_are_not_read(reviews, tmp_path):
    other = tmp_path / "other.csv"
    pd.DataFrame({"body": ["x", "y"], "stars": ["never", "seen"]}).to_csv(other, index=False)
    found = read(reviews, evaluation=str(other))
    assert found.evaluation is not None
    assert found.evaluation.labels is None
    assert found.unlabelled.texts == found.evaluation.texts
    assert any("labels of the evaluation rows are not read" in note for note in found.notes)
    pd.DataFrame({"body": ["x", "y"]}).to_csv(other, index=False)
    assert read(reviews, evaluation=str(other)).evaluation.texts == ("x", "y")


def test_a_folder_gives_its_train_file_and_the_texts_of_the_other(tmp_path):
    rows = [f"text {i},{'ab'[i % 2]}" for i in range(12)]
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    found = read(tmp_path)
    assert (len(found.train), len(found.evaluation)) == (12, 12)


def test_tasks_and_generated_names_are_read_alike():
    task = generated_task("sentiment", n_train=40, n_eval=20)
    found, named = read(task), read("generated/sentiment?n_train=40&n_eval=20")
    assert found.train.fingerprint == named.train.fingerprint == task.train.fingerprint
    assert found.evaluation.labels is None
    bare = read(task, classes=2)
    assert (len(bare.train), len(bare.pool)) == (0, 40)


@pytest.mark.parametrize(
    ("labels", "fragment"),
    [
        (["a", "b"], "2 labelled rows for 2 classes are too few"),
        (["a"] * 6, "only one class"),
        ([f"class {i % 2000}" for i in range(4000)], "at most 1,000"),
        ([f"class {i}" for i in range(2000)], "another label in each of 2,000 rows"),
        ([0.5, 1.5, 2.25, 3.0], "regression"),
        ([None, None, None], "is empty in all 3 rows"),
    ],
)
def test_labels_that_nothing_can_be_said_of(labels, fragment):
    frame = pd.DataFrame({"text": [f"text {i}" for i in range(len(labels))], "label": labels})
    with pytest.raises(DataError, match=fragment):
        read(frame)


def test_regression_tasks_are_refused():
    with pytest.raises(DataError, match="regression"):
        read(generated_task("similarity", n_train=40, n_eval=20))


@pytest.mark.parametrize("classes", [0, 1, -3, 10_000])
def test_numbers_of_classes_have_bounds(reviews, classes):
    with pytest.raises(UsageError, match="expected 2 to 1,000"):
        read(reviews, classes=classes)


def test_labels_and_their_absence_exclude_each_other(reviews):
    with pytest.raises(UsageError, match="got both"):
        read(reviews, classes=2, label="stars")


def test_repeats_count_once_and_keep_the_order():
    split = Split(("b", "a", "b", "b"), None, np.array([0, 1, 0, 1]))
    assert without_repeats(split).texts == ("b", "a", "b")
    assert without_repeats(split.take([0, 1])).texts == ("b", "a")


@pytest.mark.parametrize("labels", [["a"], ["a", "a"], ["a", "b"], list("abcdefgh")])
def test_few_labels_are_taken_where_few_are_expected(reviews, labels):
    frame = pd.read_csv(reviews)
    frame["stars"] = labels + [None] * (len(frame) - len(labels))
    found = load_task(frame, label="stars", labels="few")
    assert (len(found.train), len(found.pool)) == (len(labels), 30 - len(labels))
    assert found.n_classes == len(set(labels))
    with pytest.raises(DataError, match=r"too few|only one class"):
        load_task(frame, label="stars", labels="some")


def test_a_label_of_its_own_in_every_row_is_no_class():
    frame = pd.DataFrame({"text": [f"text {i}" for i in range(60)], "label": None})
    frame.loc[:32, "label"] = [f"id {i}" for i in range(33)]
    with pytest.raises(DataError, match="another label in each of 33 rows"):
        load_task(frame, label="label", labels="few")


def test_it_is_known_where_rows_stand(reviews, tmp_path):
    found = read(reviews, text="body", label="stars")
    assert found.pool.places.unit == "line"
    assert found.pool.places.numbers[:2] == (2, 5)
    assert found.evaluation is None
    bare = read(pd.read_csv(reviews), classes=2, text="body")
    assert bare.pool.places.unit == "row"
    assert bare.pool.places.numbers == tuple(range(1, 31))
    other = tmp_path / "other.csv"
    other.write_text("body\nx\ny\n")
    assert read(reviews, evaluation=str(other)).evaluation.places.numbers == (2, 3)


def test_tasks_bring_their_own_columns():
    with pytest.raises(UsageError, match="bring their own"):
        read("generated/sentiment", label="label")


def test_texts_of_a_file_go_with_a_task_that_was_read(reviews, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("body,stars\nx,never\ny,seen\n")
    task = load_task(reviews, text="body", label="stars", labels="some")
    found = load_sample(task, evaluation=other)
    assert found.evaluation.texts == ("x", "y")
    assert found.evaluation.labels is None
    assert found.evaluation.places.numbers == (2, 3)
    assert (found.train.fingerprint, found.pool) == (task.train.fingerprint, task.pool)
    with pytest.raises(UsageError, match="bring their own"):
        load_sample(generated_task("sentiment", n_train=40, n_eval=20), evaluation=other)


def test_no_label_is_read_of_a_task_whose_classes_are_counted(reviews):
    some = load_task(reviews, text="body", label="stars", labels="some")
    bare = load_sample(some, classes=3)
    assert (len(bare.train), len(bare.pool), bare.n_classes) == (0, 30, 3)
    assert bare.pool.places.unit == "row"
    assert load_sample(bare).n_classes == 3


@pytest.mark.parametrize(
    ("given", "fragment"),
    [({"labels": "none"}, "Give classes=C"), ({"labels": "sone"}, "did you mean 'some'")],
)
def test_labels_that_are_asked_for_wrongly(reviews, given, fragment):
    with pytest.raises(UsageError, match=fragment):
        load_task(reviews, **given)


def test_a_pool_makes_another_task(reviews):
    some = load_task(reviews, text="body", label="stars", labels="some")
    assert replace(some, pool=None).fingerprint != some.fingerprint
    assert some.pool.take([1]).places.numbers == (5,)
