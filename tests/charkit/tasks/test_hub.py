"""The hub, with a fake in the place of `datasets.load_dataset`: no network."""

import sys
import types

import pytest

from charkit.errors import DataError, MissingError, OfflineError, UnknownNameError, UsageError
from charkit.tasks import GLUE_NAMES, load_task
from charkit.tasks.readers.hub import GLUE, GLUE_REVISION, parse_hub


class FakeLabel:
    def __init__(self, names):
        self.names = names


class FakeSplit:
    """What is used of a split: column_names, features, columns by name, cache_files."""

    def __init__(self, columns, names=None, revision=""):
        self.columns = columns
        self.column_names = list(columns)
        self.features = {"label": FakeLabel(names) if names else object()}
        self.cache_files = [{"filename": f"cache/{revision}/part.arrow"}]

    def __getitem__(self, name):
        return self.columns[name]

    def __len__(self):
        return len(next(iter(self.columns.values())))


def glue_splits(spec, n=20, revision=""):
    def part(size, hidden=False):
        columns = {spec.text: [f"first {size} {i}" for i in range(size)]}
        if spec.pair:
            columns[spec.pair] = [f"second {size} {i}" for i in range(size)]
        if spec.class_names:
            columns["label"] = [-1 if hidden else i % len(spec.class_names) for i in range(size)]
        else:
            columns["label"] = [-1.0 if hidden else i / 3 for i in range(size)]
        columns["idx"] = list(range(size))
        return FakeSplit(columns, list(spec.class_names), revision)

    splits = {"train": part(n), spec.evaluation: part(8), "test": part(6, hidden=True)}
    if spec.name == "mnli":
        splits["validation_mismatched"] = part(7)
        splits["test_matched"] = splits.pop("test")
    return splits


@pytest.fixture
def hub(monkeypatch):
    """A fake package `datasets`; `hub.answer` is what it gives, or raises."""
    fake = types.ModuleType("datasets")
    fake.calls = []

    def load_dataset(path, name=None, **options):
        fake.calls.append((path, name, options))
        answer = fake.answer(path, name) if callable(fake.answer) else fake.answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    fake.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", fake)
    for variable in ("CHARKIT_OFFLINE", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    return fake


@pytest.mark.parametrize("name", GLUE_NAMES)
def test_all_nine_of_glue(hub, name):
    spec = GLUE[name]
    hub.answer = glue_splits(spec)
    task = load_task(f"glue/{name}")
    assert hub.calls == [("nyu-mll/glue", name, {"revision": GLUE_REVISION})]
    assert task.name == f"glue_{name}"
    assert task.class_names == spec.class_names
    assert task.metric == spec.metric
    assert (len(task.train), len(task.evaluation)) == (20, 8)
    assert (task.train.pairs is not None) == (spec.pair is not None)
    assert task.train.texts[0] == "first 20 0"
    assert task.kind == ("classification" if spec.class_names else "regression")


def test_metrics_of_glue():
    assert {n: s.metric for n, s in GLUE.items() if s.metric != "accuracy"} == {
        "cola": "matthews", "mrpc": "f1", "qqp": "f1", "stsb": "pearson_spearman",
    }  # fmt: skip
    assert GLUE["qqp"].class_names[1] == "duplicate"
    assert GLUE["mrpc"].class_names[1] == "equivalent"


def test_mismatched_part_and_revision_of_glue(hub):
    hub.answer = glue_splits(GLUE["mnli"])
    task = load_task("glue/mnli@abc", evaluation="validation_mismatched")
    assert len(task.evaluation) == 7
    assert hub.calls[0][2] == {"revision": "abc"}


@pytest.mark.parametrize("source", ["glue/rte", "hub:nyu-mll/glue/rte@main"])
def test_test_split_of_glue_is_refused(hub, source):
    hub.answer = glue_splits(GLUE["rte"])
    with pytest.raises(DataError, match="labels of GLUE's test split are hidden"):
        load_task(source, evaluation="test")


def test_hidden_labels_elsewhere_are_refused(hub):
    hub.answer = glue_splits(GLUE["rte"])
    with pytest.raises(DataError, match=r"marks hidden labels.*--eval"):
        load_task("hub:someone/copy")


def test_any_data_set(hub):
    rows = {"body": [f"t{i}" for i in range(9)], "label": [2, 0, 2] * 3}
    hub.answer = {"train": FakeSplit(rows, ["zero", "one", "two"]), "test": FakeSplit(rows)}
    hub.answer["test"].features["label"] = FakeLabel(["zero", "one", "two"])
    task = load_task("hub:owner/name/config@v1")
    assert hub.calls == [("owner/name", "config", {"revision": "v1"})]
    assert task.class_names == ("zero", "two")  # no training row of class one
    assert task.train.labels.tolist() == [1, 0, 1] * 3
    assert task.name == "name_config"
    assert "test split used for evaluation" in task.notes


def test_without_evaluation_split_rows_are_split_off(hub):
    rows = {"text": [f"t{i}" for i in range(20)], "label": ["a", "b"] * 10}
    hub.answer = {"train": FakeSplit(rows)}
    task = load_task("hub:owner/name")
    assert (len(task.train), len(task.evaluation)) == (16, 4)


def test_loading_scripts_are_never_trusted(hub):
    hub.answer = glue_splits(GLUE["rte"])
    load_task("glue/rte")
    assert set(hub.calls[0][2]) == {"revision"}


def connection_error():
    error = ConnectionError("no route to host")
    try:
        raise RuntimeError("could not load") from error
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        (ConnectionError("no route"), {}),
        (connection_error(), {}),
        (FileNotFoundError("not cached"), {"offline": True}),
    ],
)
def test_without_network(hub, answer, options):
    hub.answer = answer
    with pytest.raises(OfflineError, match=r"nyu-mll/glue, configuration rte .*charkit fetch"):
        load_task("glue/rte", **options)


def test_offline_keeps_the_client_off_the_network_for_the_call_only(hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    seen = []

    def answer(path, name):
        seen.append(constants.HF_HUB_OFFLINE)
        return glue_splits(GLUE["rte"], revision=GLUE_REVISION)

    hub.answer = answer
    load_task("glue/rte", offline=True)
    load_task("glue/rte", offline=False)
    monkeypatch.setenv("CHARKIT_OFFLINE", "1")
    load_task("glue/rte")
    assert seen == [True, False, True]
    assert constants.HF_HUB_OFFLINE is False


def test_offline_refuses_another_revision(hub):
    hub.answer = glue_splits(GLUE["rte"], revision="0" * 40)
    with pytest.raises(OfflineError, match="another revision"):
        load_task("glue/rte", offline=True)


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingError, match=r"charkit\[hub\]"):
        load_task("glue/rte")


def test_no_such_data_set(hub):
    hub.answer = ValueError("Dataset 'a/b' doesn't exist on the Hub.\nmore")
    with pytest.raises(DataError, match="doesn't exist on the Hub"):
        load_task("hub:a/b")


def test_unknown_and_missing_splits(hub):
    hub.answer = glue_splits(GLUE["sst2"])
    with pytest.raises(UnknownNameError, match="did you mean 'validation'"):
        load_task("glue/sst2", evaluation="validatoin")
    hub.answer = {"validation": None}
    with pytest.raises(DataError, match="expected a split named train"):
        load_task("hub:a/b")


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("hub:imdb", ("imdb", None, None)),
        ("hub:a/b", ("a/b", None, None)),
        ("hub:a/b@r", ("a/b", None, "r")),
        ("hub:a/b/c@refs/pr/1", ("a/b", "c", "refs/pr/1")),
    ],
)
def test_names(source, parts):
    name = parse_hub(source)
    assert (name.path, name.config, name.revision) == parts


@pytest.mark.parametrize("source", ["hub:", "hub:a//b", "hub:a/b/c/d", "hub:a@", "hub:@x"])
def test_bad_names(source):
    with pytest.raises(UsageError, match="expected hub:owner/name"):
        parse_hub(source)


def test_real_splits_of_the_package_are_read_whole(monkeypatch):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    rows = {"text": [f"t{i}" for i in range(20)], "label": [i % 2 for i in range(20)]}
    train = datasets.Dataset.from_dict(rows, features=features)
    splits = datasets.DatasetDict({"train": train, "test": train.select(range(6))})
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **options: splits)
    task = load_task("hub:owner/name", offline=False)
    assert task.train.texts == tuple(rows["text"])
    assert task.class_names == ("no", "yes")
    assert len(task.evaluation) == 6
