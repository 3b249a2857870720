import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkit.errors import UnknownNameError, UsageError
from charkit.heads.sweep.plan import (
    NO_LAYER,
    Job,
    Probe,
    check_controls,
    check_layers,
    check_seeds,
    check_sizes,
    usable_sizes,
)
from charkit.tasks.card import TaskCard

CARD = TaskCard(
    name="t", kind="classification", corpus="t", metric="accuracy", source="t",
    fingerprint="f" * 64, n_train=100, n_eval=50, n_chars=1000, n_classes=2, ceiling=None,
    description=(),
)  # fmt: skip
PROBE = Probe("e", "p" * 24, (0, 1, 2), "mean", 64, "float32")


@given(st.integers(2, 10_000), st.integers(0, 200))
def test_default_sizes_double_and_end_with_the_whole_sample(n_train, n_classes):
    sizes = usable_sizes((), n_train=n_train, n_classes=n_classes)
    assert list(sizes) == sorted(set(sizes))
    if n_train >= max(2, n_classes):
        assert sizes[-1] == n_train
    assert all(max(2, n_classes) <= s <= n_train for s in sizes)


def test_asked_sizes_are_kept_where_the_sample_allows():
    assert usable_sizes((256, 16, 16, 64), n_train=100, n_classes=3) == (16, 64)


@pytest.mark.parametrize("sizes", [(0,), (1,), (-5,), (16, 2.5)])
def test_bad_sizes_are_refused(sizes):
    with pytest.raises(UsageError, match="size out of range"):
        check_sizes(sizes)


@pytest.mark.parametrize("seeds", [(), (-1,)])
def test_bad_seeds_are_refused(seeds):
    with pytest.raises(UsageError, match="seeds"):
        check_seeds(seeds)


def test_controls_come_in_their_order_and_with_the_real_thing():
    assert check_controls(["majority", "random_encoder"]) == ("none", "random_encoder", "majority")


def test_unknown_control_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="shuffled_labels"):
        check_controls(["shufled_labels"])


def test_layers_are_resolved_from_both_ends():
    assert check_layers(None, n_layers=2) == (0, 1, 2)
    assert check_layers([-1, 0, 2], n_layers=2) == (0, 2)


@pytest.mark.parametrize("layer", [3, -4])
def test_layer_out_of_range_names_the_legal_range(layer):
    with pytest.raises(UsageError, match=r"0 \(embeddings\) to 2.*got"):
        check_layers([layer], n_layers=2)


def job(**changes):
    return dataclasses.replace(Job(PROBE, CARD, "all", "none", 0, (16, 32)), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"sizes": (16,)},
        {"subset": "noise:0.2"},
        {"control": "shuffled_labels"},
        {"strengths": (0.1,)},
        {"probe": dataclasses.replace(PROBE, layers=(0, 1))},
        {"probe": dataclasses.replace(PROBE, dtype="bfloat16")},
        {"probe": dataclasses.replace(PROBE, fingerprint="q" * 24)},
        {"card": dataclasses.replace(CARD, fingerprint="0" * 64)},
    ],
)
def test_key_changes_with_whatever_changes_the_rows(changes):
    assert job().key != job(**changes).key


def test_key_does_not_change_with_what_changes_no_row():
    other = {"source": "elsewhere", "name": "other", "corpus": "another", "n_chars": 7}
    assert job().key == job(card=dataclasses.replace(CARD, **other)).key


def test_majority_reads_no_layer_and_so_depends_on_none():
    few = dataclasses.replace(PROBE, layers=(2,))
    assert job(control="majority").layers == (NO_LAYER,)
    assert job(control="majority").key == job(control="majority", probe=few).key
