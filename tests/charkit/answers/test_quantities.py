"""Numbers as people read them: never more certain than they are, never out of order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkit.answers.quantities import (
    Interval,
    LabelsNeeded,
    Purchase,
    exact_percent,
    percent,
    rough,
    span,
)

SHARES = st.floats(0, 1)


def value(shown):
    return float(shown.removesuffix(" %"))


@given(SHARES)
def test_only_a_share_of_one_is_shown_as_all(share):
    assert (percent(share) == "100 %") == (share == 1)
    assert abs(value(percent(share)) - 100 * share) <= 0.5 + 1e-9


@given(SHARES, SHARES)
def test_larger_shares_are_not_shown_as_smaller(a, b):
    low, high = sorted((a, b))
    assert value(percent(low)) <= value(percent(high))
    assert span(low, high).endswith(percent(high))


@given(st.floats(1, 1e9))
def test_two_digits_of_a_number_of_labels(n):
    shown = int(rough(n).replace(",", ""))
    assert abs(shown - n) <= max(0.5, 0.0501 * n)
    assert len(str(shown).rstrip("0")) <= 2


@pytest.mark.parametrize(
    ("need", "have", "sentence"),
    [
        (
            (0.9, 1409, 391, None, True, 0.8, 8192),
            256,
            "About 1,400 labels should reach 90 % accuracy (range 390 to more than 8,192).",
        ),
        (
            (0.9, 200, None, 410, True, 0.99, 8192),
            256,
            "Your 256 labels should reach 90 % accuracy (range fewer to 410).",
        ),
        (
            (0.9, 2000, None, None, True, 0.7, 8192),
            256,
            "About 2,000 labels should reach 90 % accuracy (range more than 8,192).",
        ),
        (
            (0.975, 5000, 900, None, True, 0.34, 8192),
            256,
            "97.5 % accuracy may be out of reach: with 8,192 labels the chance is 34 %.",
        ),
        (
            (0.95, None, None, None, False, 0.02, 9600),
            300,
            "95 % accuracy is unlikely: even with 9,600 labels the chance is 2 %.",
        ),
    ],
)
def test_every_answer_about_a_target_is_a_sentence(need, have, sentence):
    needed = LabelsNeeded(*need)
    assert needed.sentence(have) == sentence
    assert (needed.condition is not None) == ("out of reach" in sentence)


def test_a_doubtful_target_has_a_number_of_labels_too():
    assert LabelsNeeded(0.975, 5000, 900, None, True, 0.34, 8192).condition == (
        "If 97.5 % accuracy is reached, then with about 5,000 labels (range 900 to more than 8,192)."
    )


def test_a_plan_is_two_sentences():
    plan = Purchase((300, 300, 900, 2000), 1234.5, 0.08)
    assert plan.sentence(100) == (
        "Buy labels until you have 300; if that is not enough, 900, then 2,000."
    )
    assert plan.price == (
        "The plan costs 1,234 in expectation and misses the target with probability 8 %."
    )
    assert Purchase((100,), 50.0, 1.0).sentence(100) == (
        "Buy no labels: they cost more than missing the target."
    )


def test_an_interval_and_a_target_are_in_per_cent():
    assert str(Interval(0.846, 0.761, 0.93)) == "85 % (76 to 93 %)"
    assert (exact_percent(0.9), exact_percent(0.855)) == ("90 %", "85.5 %")
