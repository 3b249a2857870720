"""The 41 real tasks load, and agree with their manifest."""

import json

import numpy as np
import pytest

from charkit.tasks import load_task, make_subset

METRICS = {"glue_cola": "matthews", "glue_mrpc": "f1", "glue_qqp": "f1"}


@pytest.mark.realdata
def test_every_folder_agrees_with_the_manifest(shared_data):
    entries = json.loads((shared_data / "MANIFEST.json").read_text(encoding="utf-8"))
    assert len(entries) >= 41
    for entry in entries:
        task = load_task(shared_data / entry["name"])
        name = entry["name"]
        assert (task.name, task.corpus, task.kind) == (name, entry["corpus"], entry["task_type"])
        assert len(task.train) == entry["rows_train"], name
        assert len(task.evaluation) == entry["rows_test"], name
        assert (task.train.pairs is not None) == entry["pair"], name
        if task.kind == "regression":
            assert task.metric == "pearson_spearman"
            continue
        assert task.n_classes == entry["n_classes"], name
        assert np.bincount(task.train.labels).min() == entry["min_class_count_train"], name
        share = np.bincount(task.evaluation.labels).max() / len(task.evaluation)
        assert share == pytest.approx(entry["majority_share_test"], abs=1e-3), name
        assert task.metric == METRICS.get(name, "accuracy"), name


@pytest.mark.realdata
def test_class_one_is_the_positive_class_of_glue(shared_data):
    assert load_task(shared_data / "glue_qqp").class_names[1] == "duplicate"
    assert load_task(shared_data / "glue_mrpc").class_names[1] == "paraphrase"
    assert load_task(shared_data / "glue_cola").class_names[1] == "acceptable"


@pytest.mark.realdata
def test_subsets_of_a_real_task(shared_data):
    task = load_task(shared_data / "trec6")
    bands = [make_subset(task, f"length:{b}", seed=0) for b in ("short", "medium", "long")]
    assert sum(len(b.train_rows) for b in bands) == len(task.train)
    pair = make_subset(task, "classes:LOC,HUM", seed=0)
    assert pair.class_names == ("LOC", "HUM")
    assert len(pair.train_rows) == int(np.isin(task.train.labels, (3, 4)).sum())
