import numpy as np
import pandas as pd
import pytest
from meta_samples import pilot_of, toy_data

from metamodel.fit.fitting import pilot_numbers
from metamodel.predict import WORDS, Seen, see


@pytest.fixture(scope="module")
def seen():
    evidence = toy_data().evidence
    return see(evidence, pd.Series(pilot_numbers(evidence)))


@pytest.mark.parametrize("n0", [0, 16, 128])
def test_nothing_is_said_of_what_was_seen(seen, n0):
    for place in range(5):
        assert seen.outside(pilot_of(toy_data(), n0, place)) == []


def test_what_is_outside_is_named_with_its_range(seen):
    pilot = pilot_of(toy_data(), 64).assign(n_classes=80, decay=-5.0)
    assert seen.outside(pilot) == [
        "classes 80 (seen: 2 to 10)",
        "decay of the texts' spectrum -5 (seen: -1.2 to -1.2)",
    ]


def test_more_labels_than_were_seen_are_no_reason_for_doubt(seen):
    assert seen.ranges["n0"] == (0, 128)
    assert seen.outside(pilot_of(toy_data(), 64).assign(n0=2_048)) == []


def test_ranges_are_of_pilots_not_of_single_layers():
    evidence = pd.DataFrame({name: [0.0, 10.0, 4.0, 8.0] for name in WORDS})
    seen = see(evidence, pd.Series([7, 7, 3, 3]))
    assert set(seen.ranges.values()) == {(5.0, 6.0)}
    one_layer = pd.DataFrame({name: [0.0, 11.0] for name in WORDS})
    assert seen.outside(one_layer) == []


def test_a_little_room_is_given_and_the_unknown_is_passed_over():
    seen = Seen({"decay": (0.0, 1.0)})
    for value, said in ((1.04, 0), (1.06, 1), (-0.06, 1), (float("nan"), 0)):
        assert len(seen.outside(pd.DataFrame({"decay": [value]}))) == said


def test_what_was_never_known_has_no_range(seen):
    nothing = toy_data().evidence.assign(decay=np.nan)
    assert "decay" not in see(nothing, pd.Series(pilot_numbers(nothing))).ranges
    assert "decay" in seen.ranges
