"""Subsets: the right rows, the right labels, names and fingerprints of their own."""

from dataclasses import replace

import numpy as np
import pytest

from charkit.errors import DataError, UnknownNameError, UsageError
from charkit.tasks import Split, Task, generated_task, make_subset, nested_order

NAMES = ("a", "b", "c, d", "e+f")


def make_task(n=120, n_eval=40, *, names=NAMES, kind="classification", seed=0):
    rng = np.random.default_rng(seed)
    words = np.array("one two three four five six seven eight nine ten".split())

    def part(size):
        texts = tuple(" ".join(rng.choice(words, rng.integers(1, 12))) for _ in range(size))
        codes = np.arange(size) % len(names) if names else rng.random(size)
        return Split(texts, None, codes)

    metric = "accuracy" if kind == "classification" else "pearson_spearman"
    return Task("t", kind, part(n), part(n_eval), names, metric=metric)


TASK = make_task()
SPECS = ["all", "classes:a,b", 'merge:a+b,"c, d"', "imbalance:0.1", "length:short",
         "length:long", "noise:0.25", "cluster:3/1"]  # fmt: skip


@pytest.mark.parametrize("spec", SPECS)
def test_every_subset_is_whole(spec):
    subset = make_subset(TASK, spec, seed=0)
    for rows, labels, part in (
        (subset.train_rows, subset.train_labels, TASK.train),
        (subset.evaluation_rows, subset.evaluation_labels, TASK.evaluation),
    ):
        assert len(rows) == len(labels) > 0
        assert (np.diff(rows) > 0).all()
        assert 0 <= rows[0] <= rows[-1] < len(part)
        assert set(labels.tolist()) <= set(range(len(subset.class_names)))
    assert set(subset.train_labels.tolist()) == set(range(len(subset.class_names)))
    again = make_subset(TASK, spec, seed=0)
    assert subset.fingerprint == again.fingerprint
    assert np.array_equal(subset.train_rows, again.train_rows)


def test_fingerprints_differ():
    prints = {make_subset(TASK, spec, seed=0).fingerprint for spec in SPECS}
    assert len(prints) == len(SPECS)
    other = make_task(seed=1)
    assert make_subset(other, "all", seed=0).fingerprint not in prints


@pytest.mark.parametrize("spec", ["imbalance:0.1", "noise:0.25"])
def test_the_seed_counts_where_something_is_drawn(spec):
    assert len({make_subset(TASK, spec, seed=s).fingerprint for s in range(4)}) == 4


def test_all_is_the_task():
    subset = make_subset(TASK, "all", seed=5)
    assert subset.name == "all"
    assert subset.train_rows.tolist() == list(range(120))
    assert np.array_equal(subset.train_labels, TASK.train.labels)
    assert subset.class_names == TASK.class_names


def test_classes_keep_their_rows_and_the_order_asked_for():
    subset = make_subset(TASK, 'classes:b,"c, d"', seed=0)
    assert subset.class_names == ("b", "c, d")
    old = TASK.train.labels[subset.train_rows]
    assert np.array_equal(subset.train_labels, old - 1)
    assert subset.name == 'classes:b,"c, d"'


def test_merge_joins_and_leaves_out():
    subset = make_subset(TASK, "merge:a+b,e+f", seed=0)
    assert subset.class_names == ("a+b", "e+f")
    old = TASK.evaluation.labels[subset.evaluation_rows]
    assert set(old.tolist()) == {0, 1, 3}
    assert np.array_equal(subset.evaluation_labels, (old == 3).astype(int))


def test_imbalance_holds_in_both_parts():
    subset = make_subset(TASK, "imbalance:0.1", seed=0)
    for labels in (subset.train_labels, subset.evaluation_labels):
        assert (labels == 0).mean() == pytest.approx(0.1, abs=0.03)
    natural = make_subset(TASK, "imbalance:0.4", seed=0)
    assert (natural.train_labels == 0).mean() == pytest.approx(0.4, abs=0.02)


def test_length_bands_partition_both_parts():
    bands = [make_subset(TASK, f"length:{b}", seed=0) for b in ("short", "medium", "long")]
    rows = np.concatenate([b.train_rows for b in bands])
    assert sorted(rows.tolist()) == list(range(120))
    longest = [max(len(TASK.train.texts[i]) for i in b.train_rows) for b in bands]
    shortest = [min(len(TASK.train.texts[i]) for i in b.train_rows) for b in bands]
    assert longest[0] < shortest[1]
    assert longest[1] < shortest[2]
    assert max(len(TASK.evaluation.texts[i]) for i in bands[0].evaluation_rows) < shortest[1]


def test_clusters_partition_and_look_at_no_label():
    shuffled = Split(TASK.train.texts, None, TASK.train.labels[::-1].copy())
    other = Task("t", "classification", shuffled, TASK.evaluation, NAMES)
    rows = []
    for number in (1, 2, 3):
        spec = f"cluster:3/{number}"
        subset = make_subset(TASK, spec, seed=0)
        rows.append(subset.train_rows)
        assert np.array_equal(subset.train_rows, make_subset(other, spec, seed=0).train_rows)
    assert sorted(np.concatenate(rows).tolist()) == list(range(120))


def test_clusters_find_topics():
    task = generated_task("topic", difficulty=0.0, n_train=300, n_eval=60)
    subset = make_subset(task, "cluster:2/1", seed=0)
    assert 0 < len(subset.train_rows) < 300


def test_noise_flips_the_share_asked_for_in_training_only():
    subset = make_subset(TASK, "noise:0.25", seed=0)
    assert (subset.train_labels != TASK.train.labels).sum() == 30
    assert np.array_equal(subset.evaluation_labels, TASK.evaluation.labels)
    assert subset.train_rows.tolist() == list(range(120))


@pytest.mark.parametrize("n_classes", [2, 5])
def test_noise_is_spread_evenly_over_nested_samples(n_classes):
    labels = np.random.default_rng(99).integers(0, n_classes, 2000)
    texts = tuple(map(str, range(2000)))
    names = tuple("abcde"[:n_classes])
    task = Task("even", "classification", Split(texts, None, labels), None, names)
    shares = []
    for seed in range(20):
        noisy = make_subset(task, "noise:0.2", seed=seed).train_labels
        first = nested_order(noisy, seed=seed, kind="classification")[:100]
        shares.append((noisy != labels)[first].mean())
    assert np.mean(shares) == pytest.approx(0.2, abs=0.03)


def task_with_a_tail():
    """Rows of 1 to 30 letters; class c has one short row, and evaluation a class of its own."""
    texts = tuple("x" * (1 + i % 30) for i in range(90))
    labels = np.array([2 if i == 0 else i % 2 for i in range(90)])
    held_out = np.array([3 if i == 1 else label for i, label in enumerate(labels[:30])])
    return Task("t", "classification", Split(texts, None, labels),
                Split(texts[:30], None, held_out), ("a", "b", "c"), unseen_names=("z",))  # fmt: skip


@pytest.mark.parametrize("spec", ["all", "length:short", "noise:0.1"])
def test_rare_and_unseen_classes_are_kept(spec):
    task = task_with_a_tail()
    subset = make_subset(task, spec, seed=0)
    assert set(subset.class_names) | set(subset.unseen_names) == {"a", "b", "c", "z"}
    codes = (*subset.class_names, *subset.unseen_names)
    whole = (*task.class_names, *task.unseen_names)
    parent = task.evaluation.labels[subset.evaluation_rows]
    assert [codes[c] for c in subset.evaluation_labels] == [whole[c] for c in parent]
    assert set(subset.train_labels.tolist()) == set(range(len(subset.class_names)))
    assert any("of classes without a training row and count as errors" in n for n in subset.notes)


def test_a_class_that_a_part_lacks_in_training_is_an_error_in_its_evaluation():
    task = task_with_a_tail()
    longer = tuple(text + "x" * (60 if label == 2 else 0) for text, label in
                   zip(task.evaluation.texts, task.evaluation.labels, strict=True))  # fmt: skip
    task = replace(task, evaluation=Split(longer, None, task.evaluation.labels))
    subset = make_subset(task, "length:long", seed=0)
    assert subset.class_names == ("a", "b")
    assert subset.unseen_names == ("c",)
    assert (subset.evaluation_labels == 2).sum() == 1
    short = replace(task, evaluation=task.evaluation.take([0]))
    with pytest.raises(DataError, match="none of 1 evaluation rows has a class of the training"):
        make_subset(short, "length:long", seed=0)


def test_classes_of_few_rows_can_be_left_out_and_are_counted():
    task = task_with_a_tail()
    task = replace(task, evaluation=task.train.take(range(30)), unseen_names=())
    subset = make_subset(task, "length:short", seed=0, fewest=2)
    assert subset.class_names == ("a", "b")
    assert subset.notes == (
        "left out: 1 training rows and 1 evaluation rows of classes with fewer than 2 "
        "training rows",
    )


def test_regression_has_length_and_clusters_only():
    task = make_task(names=(), kind="regression")
    assert len(make_subset(task, "length:short", seed=0).train_rows) > 20
    with pytest.raises(UsageError, match="needs classes"):
        make_subset(task, "noise:0.1", seed=0)


def test_without_evaluation_labels():
    bare = Task("t", "classification", TASK.train, Split(TASK.evaluation.texts), NAMES)
    subset = make_subset(bare, "length:short", seed=0)
    assert subset.evaluation_labels is None
    assert len(subset.evaluation_rows)
    with pytest.raises(DataError, match="evaluation part has no labels"):
        make_subset(bare, "classes:a,b", seed=0)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("clases:a,b", UnknownNameError, "did you mean 'classes'"),
        ("classes:a,zebra", UnknownNameError, "unknown class 'zebra'"),
        ("classes:a", UsageError, "at least two groups"),
        ("merge:a+b,b", UsageError, "at least two groups of distinct classes"),
        ("noise:2", UsageError, "share between 0 and 1"),
        ("imbalance:x", UsageError, "share between 0 and 1"),
        ("length:tiny", UnknownNameError, "unknown length band"),
        ("cluster:3/4", UsageError, "I from 1 to K"),
        ("cluster:5000/1", DataError, "Ask for fewer clusters"),
        ("all:x", UsageError, "nothing behind it"),
        ("imbalance:0.001", DataError, "expected at least two classes"),
    ],
)
def test_near_misses_and_nonsense(spec, error, message):
    with pytest.raises(error, match=message):
        make_subset(TASK, spec, seed=0)
