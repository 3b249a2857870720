"""Variants of tasks: legal, seeded, large enough, no repeats."""

from __future__ import annotations

import numpy as np
import pytest

from charkit.tasks import Split, Task, load_task, make_subset, nested_order
from glue_pilot.meta_dataset.variants import LARGEST_SHARE, has_two_classes, make_variants

FORMS = {
    "binary": "generated/sentiment?n_train=500&n_eval=260",
    "topics": "generated/topic?n_train=500&n_eval=260",
}
LIMITS = {"most": 30, "smallest_train": 60, "smallest_evaluation": 25}


def many_classes(n_classes: int = 12, n: int = 720, n_eval: int = 360) -> Task:
    """Return a task of many classes whose texts differ in length and words."""
    rng = np.random.default_rng(0)

    def split(n_rows: int) -> Split:
        labels = rng.integers(0, n_classes, n_rows)
        texts = [
            " ".join([f"w{label}", *(f"v{k}" for k in rng.integers(0, 40, rng.integers(1, 12)))])
            for label in labels
        ]
        return Split(tuple(texts), None, labels)

    names = tuple(f"class, {k}" if k == 3 else f"c{k}" for k in range(n_classes))
    return Task("many", "classification", split(n), split(n_eval), names, corpus="many")


@pytest.fixture(scope="module", params=["binary", "topics", "many"])
def task(request) -> Task:
    return many_classes() if request.param == "many" else load_task(FORMS[request.param])


@pytest.fixture(scope="module")
def variants(task):
    return make_variants(task, **LIMITS)


def test_the_whole_comes_first_and_names_differ(variants):
    names = [v.name for v in variants]
    assert names[0] == "all"
    assert len(set(names)) == len(names) > 6


def test_variants_are_large_enough_and_have_something_to_learn(task, variants):
    for variant in variants:
        assert len(variant.train_rows) == len(variant.train_labels) >= LIMITS["smallest_train"]
        n_eval = len(variant.evaluation_rows)
        assert n_eval == len(variant.evaluation_labels) >= LIMITS["smallest_evaluation"]
        counts = np.bincount(variant.train_labels, minlength=variant.n_classes)
        assert counts.min() >= 2
        assert len(counts) == variant.n_classes
        assert counts.max() <= LARGEST_SHARE * counts.sum()
        assert variant.evaluation_labels.max() < variant.n_classes
        assert len(set(variant.train_rows.tolist())) == len(variant.train_rows)
        assert variant.train_rows.max() < len(task.train)
        assert variant.evaluation_rows.max() < len(task.evaluation)


def test_variants_are_the_same_each_time_and_differ_among_each_other(task, variants):
    again = make_variants(task, **LIMITS)
    assert [v.fingerprint for v in again] == [v.fingerprint for v in variants]
    assert len({v.fingerprint for v in variants}) == len(variants)


def test_names_are_the_language_of_subsets(task, variants):
    """Whoever has the task makes the same rows from the name alone."""
    for variant in variants:
        if variant.name.startswith(("noisy", "shift")):
            continue
        part = make_subset(task, variant.name, seed=0)
        np.testing.assert_array_equal(part.train_rows, variant.train_rows)
        np.testing.assert_array_equal(part.train_labels, variant.train_labels)
        np.testing.assert_array_equal(part.evaluation_labels, variant.evaluation_labels)


def test_noise_is_in_both_parts(task, variants):
    noisy = {v.name: v for v in variants if v.name.startswith("noisy:")}
    assert noisy
    for name, variant in noisy.items():
        share = float(name.partition(":")[2])
        wrong = variant.train_labels != task.train.labels[variant.train_rows]
        assert wrong.mean() == pytest.approx(share, abs=0.005)
        wrong = variant.evaluation_labels != task.evaluation.labels[variant.evaluation_rows]
        assert wrong.mean() == pytest.approx(share, abs=0.005)


def test_a_shift_trains_on_one_part_and_is_judged_on_another(task, variants):
    shifts = [v for v in variants if v.name.startswith("shift:length")]
    assert shifts
    for variant in shifts:
        one, _, other = variant.name.rpartition(":")[2].partition(">")
        train = make_subset(task, f"length:{one}", seed=0)
        evaluation = make_subset(task, f"length:{other}", seed=0)
        np.testing.assert_array_equal(variant.train_rows, train.train_rows)
        assert set(variant.evaluation_rows) <= set(evaluation.evaluation_rows)
        truth = task.evaluation.labels[variant.evaluation_rows]
        names = [task.class_names[c] for c in truth]
        assert names == [train.class_names[c] for c in variant.evaluation_labels]


def test_many_classes_are_chosen_from_and_merged():
    kinds = [v.name.partition(":")[0] for v in make_variants(many_classes(), **LIMITS)]
    assert kinds.count("classes") >= 3
    assert kinds.count("merge") >= 3


def test_small_tasks_have_no_variant():
    task = load_task("generated/sentiment?n_train=40&n_eval=40")
    assert make_variants(task, **LIMITS) == ()


def test_no_more_than_asked_for(task):
    assert len(make_variants(task, **(LIMITS | {"most": 5}))) == 5


def test_whether_a_draw_has_two_classes_is_known_without_drawing():
    for n_rare in (1, 3, 20, 90):
        labels = np.repeat([0, 1, 2], [400 - 2 * n_rare, n_rare, n_rare])
        for seed in range(3):
            order = nested_order(labels, seed=seed, kind="classification")
            for n in (1, 2, 8, 16, 64, 300):
                found = has_two_classes(labels, n=n, seed=seed)
                assert found == (len(set(labels[order[:n]])) > 1)
