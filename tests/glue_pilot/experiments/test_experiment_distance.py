"""Shifts and transfer: what is built, what is counted, the experiment on generated tasks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from charkit.encoders import load_encoder
from charkit.errors import UsageError
from charkit.fisher import make_head
from charkit.store.store import Store
from charkit.tasks import generated_task
from glue_pilot.experiments.base import Workspace, known_tasks, study_of
from glue_pilot.experiments.distance import (
    EXPERIMENT,
    DistanceSettings,
    class_distance,
    correlation_table,
    state_distance,
)
from glue_pilot.experiments.parts.distance_shifts import (
    FEWEST,
    make_shifts,
    same_classes,
    score_head,
    transfer_table,
)
from glue_pilot.samples import KnownTask
from glue_pilot.stats import spearman

SOURCE = "generated/{}?n_train=400&n_eval=100&difficulty=0.3&seed={}"


@pytest.fixture(scope="module")
def shifts():
    task = generated_task("topic", n_train=500, n_eval=200)
    return list(make_shifts(task, n=60, n_eval=80, pool=600))


def test_sides_share_no_text_and_have_the_same_codes(shifts):
    assert {s.kind for s in shifts} == {"length", "cluster", "classes"}
    for shift in shifts:
        parts = [set(p.texts) for p in (shift.task.train, shift.same, shift.shifted)]
        assert not parts[0] & parts[1]
        assert not parts[0] & parts[2]
        assert not parts[1] & parts[2]
        assert len(shift.task.train) == 60
        assert min(len(shift.same), len(shift.shifted)) >= FEWEST
        assert shift.shifted.labels.max() < shift.task.n_classes


def test_a_shift_of_length_is_one(shifts):
    shift = next(s for s in shifts if s.name == "length:short > length:long")
    longest = max(len(t) for t in (*shift.task.train.texts, *shift.same.texts))
    assert longest <= min(len(t) for t in shift.shifted.texts)


def test_class_shares_keep_a_tenth_of_half_of_the_classes(shifts):
    shift = next(s for s in shifts if s.kind == "classes")
    counts = np.sort(np.bincount(shift.shifted.labels, minlength=6))
    assert counts[:3].sum() / counts.sum() == pytest.approx(0.1, abs=0.03)


def test_small_tasks_have_no_shift():
    task = generated_task("topic", n_train=60, n_eval=20)
    assert not list(make_shifts(task, n=60, n_eval=80, pool=600))


def test_a_head_is_scored_by_hand():
    head = make_head(np.array([[1.0], [-1.0]]), np.zeros(2))
    found = score_head(head, np.array([[2.0], [-2.0], [1.0]]), np.array([0, 0, 0]))
    assert found.accuracy == pytest.approx(2 / 3)
    sure = [1 / (1 + np.exp(-4)), 1 / (1 + np.exp(-4)), 1 / (1 + np.exp(-2))]
    assert found.confidence == pytest.approx(np.mean(sure))
    assert found.shares.sum() == pytest.approx(1)


def test_distances_are_zero_without_a_shift_and_grow_with_it():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(400, 20)), rng.normal(size=(400, 20))
    assert state_distance(one, other) < 0.1
    assert state_distance(one, other + 0.5) == pytest.approx(0.5, abs=0.1)
    assert class_distance(np.array([0.5, 0.5]), np.array([0, 1])) == 0
    assert class_distance(np.array([0.9, 0.1]), np.array([0, 1])) == pytest.approx(0.4)


def test_correlations_within_groups_forget_their_levels():
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(10), 8)
    noise = rng.normal(size=80)
    table = pd.DataFrame({"x": noise + 10 * group, "y": noise - 10 * group})
    table = table.assign(task=group, corpus=group)
    assert spearman(table, "x", "y").mean < -0.9
    inside = spearman(table, "x", "y", within="task")
    assert inside.mean == pytest.approx(1)
    assert inside.low > 0.9
    named = table.rename(columns={"x": "confidence"})
    found = correlation_table(named, "y", within="task")
    assert found["series"].tolist() == ["across", "within"]
    assert found["rows"].tolist() == [80, 80]


def test_what_is_explained_by_confidence_is_taken_off():
    rng = np.random.default_rng(2)
    predicted = rng.normal(size=200)
    table = pd.DataFrame({"x": predicted + 0.3 * rng.normal(size=200), "z": predicted})
    table = table.assign(y=predicted + 0.3 * rng.normal(size=200), corpus=np.arange(200))
    assert spearman(table, "x", "y").low > 0.7
    beyond = spearman(table, "x", "y", given="z")
    assert beyond.low < 0 < beyond.high
    assert np.isnan(spearman(table[:3], "x", "y").mean)


def test_tasks_with_the_same_classes_are_found_and_coded_alike():
    one, other = (generated_task("sentiment", n_train=40, n_eval=20, seed=s) for s in (1, 2))
    turned = generated_task("topic", n_train=40, n_eval=20)
    known = [KnownTask(t, t.name, "", "") for t in (one, other, turned)]
    groups = same_classes(known)
    assert list(groups) == [("negative", "positive")]
    assert all(k.task.class_names == ("negative", "positive") for k in groups[next(iter(groups))])
    assert not same_classes(known[1:])


def test_generated_tasks_are_shifted_and_heads_handed_on(tiny_bert, tmp_path):
    settings = DistanceSettings(
        encoder=str(tiny_bert),
        tasks=tuple(SOURCE.format(kind, 1) for kind in ("sentiment", "topic")),
        transfer=tuple(SOURCE.format("sentiment", seed) for seed in (1, 2, 3)),
        n=48,
        n_embedded=16,
        n_held_out=60,
        n_transfer=32,
        all_heads_up_to=0,
        max_length=16,
        n_eval=40,
    )
    found = EXPERIMENT.run(settings, Workspace(Store(tmp_path)))
    shifts = found.table[found.table["part"] == "shift"]
    expected = shifts["accuracy_same"] - shifts["accuracy_shifted"]
    np.testing.assert_allclose(shifts["drop"], expected)
    pairs = found.table[found.table["part"] == "transfer"]
    assert len(pairs) == 6
    assert (pairs["source"] != pairs["target"]).all()
    assert {"", "drops", "transfer", "pairs"} == set(found.figures)
    assert "within a task" in found.text


def test_two_tasks_are_too_few_to_hand_heads_on(tiny_bert, tmp_path):
    bench = Workspace(Store(tmp_path))
    settings = DistanceSettings(encoder=str(tiny_bert), max_length=16, n_eval=20)
    known = known_tasks([SOURCE.format("sentiment", seed) for seed in (1, 2)], bench)
    with pytest.raises(UsageError, match="at least 3 tasks"):
        transfer_table(known, study_of(settings, (16,), (1,)), load_encoder(str(tiny_bert)), bench)


@pytest.mark.parametrize("changes", [{"n": 4}, {"n_embedded": 100}, {"n": 390}])
def test_sizes_out_of_range_are_refused(tiny_bert, tmp_path, changes):
    tasks = (SOURCE.format("sentiment", 1),)
    given = {"tasks": tasks, "n": 48, "n_embedded": 16, "encoder": str(tiny_bert)} | changes
    with pytest.raises(UsageError, match="expected"):
        EXPERIMENT.run(DistanceSettings(**given), Workspace(Store(tmp_path)))
