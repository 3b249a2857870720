import numpy as np
import pandas as pd
import pytest
from estimate_samples import ENGLISH, NO_SIGNAL, evidence, pilot

from charkit.answers.accuracy.result import LabelsNeeded
from charkit.answers.accuracy.warnings import Case, Verdict, reach_verdict, verdicts_of
from charkit.answers.pilot.text_figures import TextFigures

RUSSIAN = TextFigures(0.97, 0.0)


def said(sample=None, found=None, *, doubt=None, outside=()):
    case = Case(sample or pilot(), found or evidence(), "minilm", doubt, list(outside), 1)
    return {v.code: v for v in verdicts_of(case)}


def test_nothing_is_said_against_a_plain_sample():
    assert said() == {}


def test_no_signal_is_grave_where_labels_suffice():
    found = evidence(signal=NO_SIGNAL)
    assert said(found=found)["no_signal"].grave
    few = said(pilot(20), evidence(20, signal=NO_SIGNAL))
    assert not few["no_signal"].grave
    assert "tiny_sample" in few
    assert not said(pilot(80, n_classes=60), found)["no_signal"].grave


def test_fewer_than_two_labels_a_class_are_not_to_be_trusted():
    assert said(pilot(125, n_classes=77))["tiny_sample"].grave
    assert "Label at least 154" in said(pilot(125, n_classes=77))["tiny_sample"].sentence
    assert "tiny_sample" not in said(pilot(154, n_classes=77))
    assert not said(pilot(20))["tiny_sample"].grave


def test_labels_alone_in_their_class_point_to_classes_without_a_label():
    found = said(pilot(counts=[50, 40, *[1] * 10]))["rare_classes"]
    assert not found.grave
    assert "10 of 100 labels are the only one of their class" in found.sentence
    assert "about 10% of other texts" in found.sentence
    assert "rare_classes" not in said(pilot(counts=[50, 47, 1, 1, 1]))


def test_without_labels_nothing_is_said_of_signal():
    assert said(pilot(0), evidence(0, signal=None, own=None)) == {}


@pytest.mark.parametrize(
    ("own", "other"), [(RUSSIAN, RUSSIAN), (ENGLISH, RUSSIAN), (RUSSIAN, None)]
)
def test_another_language_is_grave(own, other):
    found = said(found=evidence(own=own, other=other))["language"]
    assert found.grave
    assert ("unlike the labelled ones" in found.sentence) == (own is ENGLISH)


def test_what_is_known_of_the_encoder_is_passed_on():
    doubt = Verdict("other_encoder", "Not measured.", "refusal")
    assert said(doubt=doubt)["other_encoder"] is doubt


def test_little_outside_is_a_warning_and_much_is_grave():
    assert not said(outside=["150 classes"])["outside_seen"].grave
    assert said(outside=["a", "b", "c"])["outside_seen"].grave


@pytest.mark.parametrize(
    ("column", "value"),
    [("state_shift", 0.9), ("class_shift", 0.8), ("confidence_gap", 0.4)],
)
def test_evaluation_texts_unlike_the_sample_are_noticed(column, value):
    assert not said(found=evidence(**{column: value}))["shift"].grave
    assert "shift" not in said(pilot(n_unlabelled=0), evidence(**{column: np.nan}))


def test_states_as_far_as_another_language_are_grave():
    assert said(found=evidence(state_shift=1.5))["shift"].grave


def test_a_small_sample_is_allowed_more_noise():
    wide = {"state_shift": 0.65}
    assert "shift" in said(pilot(1000), evidence(**wide))
    assert "shift" not in said(pilot(8), evidence(8, **wide))


def test_imbalance_many_classes_repeats_and_cuts_are_said():
    assert "imbalance" in said(pilot(counts=[95, 5]))
    assert "many_classes" in said(pilot(400, n_classes=150))
    assert "truncated" in said(found=evidence(cut=0.4))
    assert "no_help" in said(found=evidence(random_accuracy=0.79))


def test_shared_texts_are_said():
    sample = pilot(5, n_unlabelled=3)
    object.__setattr__(sample, "unlabelled", sample.labelled.take([0, 1]))
    assert "2 unlabelled texts are labelled rows too" in said(sample)["duplicates"].sentence


def curve(*means):
    sizes = [100 * 2**k for k in range(len(means))]
    table = pd.DataFrame({"n": sizes, "mean": means})
    return table.assign(low=table["mean"] - 0.02, high=table["mean"] + 0.02)


def need(target, *, reached=False):
    chance = 0.6 if reached else 0.1
    return LabelsNeeded(target, 5 if reached else None, None, None, reached, chance, 400)


def test_a_flat_curve_below_the_target_is_a_plateau():
    assert reach_verdict(need(0.9), curve(0.7, 0.745, 0.75))[0].code == "plateau_below_target"


@pytest.mark.parametrize("means", [(0.6, 0.7, 0.8), (0.88, 0.889, 0.89)])
def test_a_rising_or_near_curve_is_not_reached_yet(means):
    assert reach_verdict(need(0.9), curve(*means))[0].code == "not_reached_by_n"


def test_a_target_that_is_reached_or_not_asked_for_needs_no_word():
    assert reach_verdict(need(0.7, reached=True), curve(0.7, 0.8)) == ()
    assert reach_verdict(None, curve(0.7, 0.8)) == ()
