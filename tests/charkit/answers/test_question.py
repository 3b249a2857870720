import numpy as np
import pytest

from charkit.answers.accuracy.question import ask
from charkit.answers.accuracy.warnings import target_verdict
from charkit.answers.pilot.pilot import MOST_LABELLED, make_pilot
from charkit.errors import UsageError
from charkit.tasks import Split, Task
from charkit.tasks.card import load_sample


def pilot_of(texts, labels, names="ab"):
    task = Task("t", "classification", Split(texts, None, labels), None, tuple(names))
    return make_pilot(load_sample(task))


@pytest.mark.parametrize("target", [85, 2, 100])
def test_a_target_in_per_cent_is_answered_with_the_fraction(target):
    with pytest.raises(UsageError, match=rf"per cent.*Say {target / 100:g}\."):
        ask(target=target)


@pytest.mark.parametrize("target", [0, -0.5, 1.01, 1.5, 101, float("nan"), float("inf")])
def test_a_target_that_is_no_share_is_refused(target):
    with pytest.raises(UsageError, match="expected a fraction above 0 and at most 1"):
        ask(target=target)


@pytest.mark.parametrize("target", [0.01, 0.85, 1.0, None])
def test_fractions_are_targets(target):
    assert ask(target=target).target == target


@pytest.mark.parametrize(
    "given",
    [
        {"cost": 1.0},
        {"penalty": 1.0, "target": 0.8},
        {"cost": 1.0, "penalty": 10.0},
        {"rounds": 2},
        {"target": 0.8, "cost": -1.0, "penalty": 1.0},
        {"target": 0.8, "cost": 1.0, "penalty": float("inf")},
        {"target": 0.8, "cost": 1.0, "penalty": 10.0, "rounds": 0},
    ],
)
def test_costs_come_whole_and_positive(given):
    with pytest.raises(UsageError, match="expected"):
        ask(**given)


def test_a_target_that_needs_no_texts_is_a_warning():
    pilot = pilot_of([f"text {i}" for i in range(10)], [0] * 7 + [1] * 3)
    assert target_verdict(0.71, pilot) == ()
    assert target_verdict(None, pilot) == ()
    for target in (0.7, 0.5):
        (found,) = target_verdict(target, pilot)
        assert not found.grave
        assert "(0.700, the share of class 'a' among the labels)" in found.sentence


def test_repeats_are_left_out_and_conflicts_stay():
    pilot = pilot_of(["x", "x", "x", "y", "z"], [0, 0, 1, 1, 0])
    assert pilot.labelled.texts == ("x", "x", "y", "z")
    assert (pilot.n_labels, pilot.n_repeated, pilot.n_used) == (4, 1, 4)


def test_large_samples_are_cut_stratified_and_it_is_said():
    labels = np.arange(3000) % 10 == 0
    pilot = pilot_of([f"text {i}" for i in range(3000)], labels.astype(int))
    assert (pilot.n_labels, pilot.n_used) == (3000, MOST_LABELLED)
    assert abs(np.mean(pilot.labelled.labels) - 0.1) < 1e-3
    assert "3,000 labels" in pilot.notes()[0]
