from itertools import combinations_with_replacement

import numpy as np
import pytest

from metamodel.needs import plan_collection


def expected_cost(totals, draws, have, price, penalty):
    """Return the mean over draws of what the plan costs, round by round."""
    paid = []
    for need in draws:
        cost, held = 0.0, have
        for total in totals:
            if need <= held:
                break
            cost += price * (total - held)
            held = total
        paid.append(cost + (penalty if need > held else 0))
    return np.mean(paid)


@pytest.mark.parametrize("rounds", [1, 2, 3])
@pytest.mark.parametrize("penalty", [5.0, 100.0, 1e5])
def test_no_plan_of_the_same_totals_is_cheaper(rounds, penalty):
    rng = np.random.default_rng(rounds)
    draws = np.r_[np.ceil(rng.lognormal(3, 1, 11)), np.inf, 2]
    plan = plan_collection(draws, have=5, price=1.5, penalty=penalty, rounds=rounds)
    assert plan.cost == pytest.approx(expected_cost(plan.totals, draws, 5, 1.5, penalty))
    options = np.unique(np.r_[5, draws[np.isfinite(draws) & (draws > 5)]])
    best = min(
        expected_cost(path, draws, 5, 1.5, penalty)
        for path in combinations_with_replacement(options, rounds)
    )
    assert plan.cost == pytest.approx(best)


def test_more_rounds_never_cost_more_and_start_smaller():
    draws = np.random.default_rng(0).lognormal(6, 1, 2000)
    plans = [plan_collection(draws, have=100, price=1, penalty=50_000, rounds=r) for r in (1, 3, 5)]
    costs = [p.cost for p in plans]
    assert costs == sorted(costs, reverse=True)
    assert plans[1].totals[0] < plans[0].totals[0]


def test_a_high_penalty_buys_enough_and_a_low_one_nothing():
    draws = np.arange(10, 110.0)
    dear = plan_collection(draws, have=0, price=1, penalty=1e9)
    assert dear.totals == (109,)
    assert dear.missed == 0
    cheap = plan_collection(draws, have=0, price=1, penalty=1)
    assert cheap.totals == (0,)
    assert cheap.missed == 1


def test_what_can_never_be_reached_is_not_paid_for():
    plan = plan_collection([np.inf] * 10, have=50, price=1, penalty=1000, rounds=3)
    assert plan.totals == (50, 50, 50)
    assert plan.cost == 1000


def test_what_is_in_hand_already_is_free():
    plan = plan_collection([10, 20, 30], have=40, price=1, penalty=10)
    assert (plan.totals, plan.cost, plan.missed) == ((40,), 0, 0)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"needed": []},
        {"needed": [np.nan]},
        {"needed": [-1]},
        {"have": -1},
        {"price": 0},
        {"penalty": np.inf},
        {"rounds": 0},
    ],
)
def test_bad_input_is_refused(kwargs):
    given = {"needed": [10.0], "have": 0, "price": 1.0, "penalty": 10.0} | kwargs
    with pytest.raises(ValueError, match="expected"):
        plan_collection(given.pop("needed"), **given)


def test_rounds_in_which_nothing_is_bought_come_last():
    plan = plan_collection([300.0] * 10, have=64, price=1, penalty=10_000, rounds=3)
    assert plan.totals == (300, 300, 300)
    plan = plan_collection([300.0] * 10, have=64, price=1, penalty=10, rounds=2)
    assert plan.totals == (64, 64)
