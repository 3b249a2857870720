"""The same texts under other labels: what is generated, what is counted, the experiment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from charkit.encoders import load_encoder
from charkit.errors import UnknownNameError, UsageError
from charkit.store.store import Store
from glue_pilot.experiments.base import Workspace
from glue_pilot.experiments.distinction import (
    EXPERIMENT,
    OTHER,
    SAME,
    TEXTS,
    DistinctionSettings,
    attribute_rows,
    collapse,
    embed_attributes,
    relabelled_matrices,
    relabelled_rows,
)
from glue_pilot.matrices import LOG_RATIO
from glue_pilot.relabelled import ATTRIBUTES, attributed_texts, labelled_by

SOURCE = "generated/{}?n_train=60&n_eval=40&difficulty=0&seed={}"
SETTINGS = DistinctionSettings(
    tasks=tuple(SOURCE.format(k, s) for k in ("sentiment", "topic") for s in (1, 2)),
    relabelled=("generated_topic-difficulty0-seed1", "generated_topic-difficulty0-seed2"),
    kinds=("generated_topic", "generated_sentiment"),
    n=24,
    seeds=(1, 2),
    n_generated=24,
    difficulty=0.0,
    all_heads_up_to=0,
    max_length=24,
    n_eval=20,
)


def test_attributes_are_balanced_and_independent():
    task, labels = attributed_texts(1200, seed=3)
    assert tuple(labels) == ATTRIBUTES
    assert len(set(task.train.texts)) == 1200
    codes = np.array(list(labels.values()))
    assert set(np.unique(codes)) == {0, 1}
    assert np.abs(codes.mean(1) - 0.5).max() < 0.06
    correlations = np.corrcoef(codes)
    assert np.abs(correlations[~np.eye(4, dtype=bool)]).max() < 0.1


def test_length_is_what_the_text_shows():
    task, labels = attributed_texts(200, seed=1)
    sizes = np.array([len(text.split()) for text in task.train.texts])
    assert np.median(sizes[labels["length"] == 1]) > np.median(sizes[labels["length"] == 0]) + 10


def test_other_labels_leave_texts_alone():
    task, labels = attributed_texts(40, seed=1)
    one, other = (labelled_by(task, np.arange(20), labels[k], 2) for k in ("topic", "sentiment"))
    assert one.train.text_fingerprint == other.train.text_fingerprint
    assert one.train.fingerprint != other.train.fingerprint
    assert attributed_texts(40, seed=1)[0].fingerprint == task.fingerprint
    with pytest.raises(UsageError, match="at least 8"):
        attributed_texts(7, seed=1)


@pytest.fixture(scope="module")
def encoder(tiny_bert):
    return load_encoder(str(tiny_bert))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("distinction") / "store")


@pytest.fixture(scope="module")
def made(encoder, store):
    return embed_attributes(SETTINGS, encoder, Workspace(store))


def test_a_perfect_distance_is_always_right_and_texts_never(made):
    labels = np.array([r.labelling for r in made])
    perfect = (labels[:, None] != labels).astype(np.float64)
    matrices = relabelled_matrices(made, []) | {LOG_RATIO: perfect}
    table = relabelled_rows(made, matrices, about="x", all_pairs=True)
    shown = table[table["pair"] == "all"].set_index(["method", "texts"])["value"]
    assert shown[LOG_RATIO, SAME] == 1
    assert shown[TEXTS, SAME] == 0
    assert shown[TEXTS, OTHER] == 0.5
    assert "sentiment or topic" in set(table["pair"])
    across = attribute_rows(made, {LOG_RATIO: perfect})
    assert across["value"].tolist() == [1.0]
    assert across["cases"].tolist() == [16 * 2 * 6]


def test_collapse_is_zero_for_texts(made):
    matrices = relabelled_matrices(made, [])
    assert collapse(made, matrices[TEXTS]).mean == 0
    assert collapse(made, matrices[LOG_RATIO]).mean > 0


def test_the_experiment_says_what_the_table_says(encoder, tiny_bert, store):
    settings = replace(SETTINGS, encoder=str(tiny_bert))
    found = EXPERIMENT.run(settings, Workspace(store))
    assert set(found.figures) == {"", "kinds"}
    assert {"tasks under other labels", "generated attributes", "kinds of labels"} <= set(
        found.table["part"]
    )
    assert "a distance of texts in 0%" in found.answer
    share = found.summary["generated_log_ratio"]
    assert f"| generated, the very same texts | {share:.0%} (" in found.points


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"relabelled": ()}, UsageError, "nothing to compare"),
        ({"seeds": ()}, UsageError, "nothing to compare"),
        ({"relabelled": ("none",)}, UnknownNameError, "task to relabel"),
        ({"n_generated": 2}, UsageError, "at least 8"),
    ],
)
def test_wrong_settings_are_refused(tiny_bert, store, changes, error, message):
    settings = replace(SETTINGS, encoder=str(tiny_bert), **changes)
    with pytest.raises(error, match=message):
        EXPERIMENT.run(settings, Workspace(store))
