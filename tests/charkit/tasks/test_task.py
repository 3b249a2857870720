"""Task and Split: shapes, read-only labels, fingerprints that tell everything apart."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkit.errors import UsageError
from charkit.tasks import Split, Task

TEXTS = st.lists(st.text(max_size=6), min_size=1, max_size=6)


def test_labels_are_copied_and_read_only():
    labels = np.array([0, 1, 0])
    split = Split(("a", "b", "c"), None, labels)
    labels[0] = 1
    assert split.labels.tolist() == [0, 1, 0]
    assert split.labels.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        split.labels[0] = 1


def test_take_keeps_order_pairs_and_labels():
    split = Split(("a", "b", "c"), ("x", "y", "z"), np.array([0.5, 1.5, 2.5]))
    taken = split.take([2, 0])
    assert (taken.texts, taken.pairs) == (("c", "a"), ("z", "x"))
    assert taken.labels.tolist() == [2.5, 0.5]
    assert len(taken) == 2


@pytest.mark.parametrize(("pairs", "labels"), [(("x",), None), (None, [0, 1, 1])])
def test_lengths_must_agree(pairs, labels):
    with pytest.raises(UsageError, match="expected 2"):
        Split(("a", "b"), pairs, labels)


@given(TEXTS, TEXTS)
def test_text_fingerprint_tells_lists_apart(first, second):
    a, b = Split(tuple(first)), Split(tuple(second))
    assert (a.text_fingerprint == b.text_fingerprint) == (first == second)


@given(TEXTS)
def test_pairs_are_not_more_texts(texts):
    joined = Split(tuple(texts + texts))
    pairs = Split(tuple(texts), tuple(texts))
    assert joined.text_fingerprint != pairs.text_fingerprint


def test_fingerprint_is_what_it_is_said_to_be():
    """Stored results are found by it: it must never change by accident."""
    packed = b"".join(len(t).to_bytes(8, "little") + t for t in (b"a", "\u00e9".encode()))
    inner = hashlib.sha256(packed).digest()
    texts = hashlib.sha256(inner + b"single")
    assert Split(("a", "\u00e9")).text_fingerprint == texts.hexdigest()
    labels = np.array([0, 1])
    whole = texts.digest() + b"i" + labels.astype("<i8").tobytes()
    expected = hashlib.sha256(whole).hexdigest()
    assert Split(("a", "\u00e9"), None, labels).fingerprint == expected


def test_concatenations_do_not_collide():
    assert Split(("ab", "c")).text_fingerprint != Split(("a", "bc")).text_fingerprint


def test_text_fingerprint_ignores_labels_and_fingerprint_does_not():
    plain, zero, one = (Split(("a", "b"), None, y) for y in (None, [0, 0], [0, 1]))
    assert plain.text_fingerprint == zero.text_fingerprint == one.text_fingerprint
    assert len({plain.fingerprint, zero.fingerprint, one.fingerprint}) == 3
    assert Split(("a", "b"), None, [0.0, 1.0]).fingerprint != one.fingerprint


def make_task(**changes):
    fields = {
        "name": "t",
        "kind": "classification",
        "train": Split(("a", "b"), None, [0, 1]),
        "evaluation": Split(("c",), None, [1]),
        "class_names": ("no", "yes"),
    }
    return Task(**(fields | changes))


def test_task_fingerprint_is_of_the_content():
    base = make_task()
    assert make_task(name="u", source="elsewhere", notes=("n",)).fingerprint == base.fingerprint
    changed = [
        make_task(class_names=("yes", "no")),
        make_task(evaluation=None),
        make_task(evaluation=Split(("c",), None, [0])),
        make_task(metric="f1"),
        make_task(train=Split(("b", "a"), None, [1, 0])),
    ]
    assert len({t.fingerprint for t in changed} | {base.fingerprint}) == 6


def test_task_knows_classes_and_describes_itself():
    task = make_task(notes=("one thing",), ceiling=0.9)
    assert (task.n_classes, task.corpus) == (2, "t")
    lines = "\n".join(task.describe())
    for part in ("2 rows", "no 1, yes 1", "ceiling: 0.9000", "note: one thing"):
        assert part in lines


def test_regression_has_no_classes():
    task = make_task(kind="regression", train=Split(("a", "b"), None, [0.5, 1.0]),
                     evaluation=None, class_names=(), metric="pearson_spearman")  # fmt: skip
    assert task.n_classes == 0
    assert "targets 0.5 to 1" in task.describe()[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": Split(("a", "b"), None, [0, 2])}, r"codes 0\.\.1, got 0\.\.2"),
        ({"train": Split(("a", "b"), None, [0.0, 1.0])}, "expected i64"),
        ({"metric": "bleu"}, "metric: expected one of"),
        ({"kind": "ranking"}, "kind: expected"),
    ],
)
def test_nonsense_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        make_task(**changes)
