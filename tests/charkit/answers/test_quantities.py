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
            (0.9, 128, 128, 256, True, 0.99, 8192),
            256,
            "Your 256 labels should reach 90 % accuracy.",
        ),
        (
            (0.9, 2000, None, None, True, 0.7, 8192),
            256,
            "About 2,000 labels should reach 90 % accuracy (range more than 8,192).",
        ),
        (
            (0.975, None, 900, None, False, 0.34, 8192),
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
    assert LabelsNeeded(*need).sentence(have) == sentence


def test_the_chance_of_every_budget_is_one_sentence():
    budgets = ((64, 0.001), (128, 0.01), (256, 0.3), (512, 0.8), (1024, 0.99), (2048, 0.999))
    need = LabelsNeeded(0.9, 400, 150, 900, True, 0.999, 2048, budgets)
    assert need.chances == (
        "Chance of 90 % accuracy: 1 % with 128 labels, 30 % with 256 labels, 80 % with 512 "
        "labels, 99 % with 1,024 labels"
    )
    assert need.budget_rows()[2] == {"n": 256, "probability": 0.3}
    assert LabelsNeeded(0.9, 400, 150, 900, True, 0.999, 2048).chances == ""


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
