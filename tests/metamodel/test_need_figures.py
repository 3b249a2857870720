import numpy as np
import pandas as pd
import pytest

from metamodel.frame import MULTIPLES
from metamodel.judging import Asked, Bands, LeftOut
from metamodel.need_figures import collection_of, needs_of


def judged(told=None, *, n_tasks=6, spread=0.004):
    """Rising curves, one row a task; ``told`` turns the truth into what is predicted."""
    grid = np.array(MULTIPLES)
    floor = np.linspace(0.05, 0.3, n_tasks)[:, None]
    truth = 1 - floor - 0.2 * grid**-0.5
    mean = truth if told is None else told(truth)
    frame = pd.DataFrame(
        {
            "task": np.repeat([f"t{k}" for k in range(n_tasks)], len(grid)),
            "multiple": np.tile(grid, n_tasks),
            "truth": truth.ravel(),
            "pow2": (truth - 0.3).ravel(),
            "pow3": truth.ravel(),
            "median3": (truth + 0.3).ravel(),
        }
    )
    quantiles = np.linspace(-2, 2, 99)[None].repeat(n_tasks, 0)
    corpus = np.repeat(np.arange(n_tasks), len(grid))
    bands = Bands(np.full(len(frame), spread), np.full(len(frame), 2.0), quantiles, corpus)
    asked = Asked(pd.DataFrame(index=frame.index), corpus.astype(object))
    return frame, LeftOut(None, None, asked, mean.ravel()), bands, np.ones(len(frame), bool)


def rows_of(table, method):
    return {row["multiple"]: row for row in table if row["method"] == method}


@pytest.fixture(scope="module")
def table():
    return needs_of(*judged())


def test_who_knows_the_curve_is_always_right(table):
    for method in ("metamodel_curve", "pow3"):
        told = rows_of(table, method)
        for multiple in ("2", "4", "8", "16"):
            row = told[multiple]
            assert row["within_2"] == 1
            assert row["median_log2"] == pytest.approx(0, abs=1e-9)
            assert row["unreachable_though_reached"] == row["reachable_though_not"] == 0
            assert row["pilots"] == 6
        assert told["all"]["spearman"] == pytest.approx(1)


def test_belief_around_a_known_curve_is_nearly_as_good(table):
    told = rows_of(table, "metamodel")
    assert all(told[m]["within_2"] == 1 for m in ("2", "4", "8", "16"))
    assert all(told[m]["unreachable_though_reached"] == 0 for m in ("2", "4", "8", "16"))
    assert told["2"]["reachable_though_not"] == 0
    assert told["all"]["spearman"] > 0.9


def test_a_constant_answer_looks_good_within_a_factor_of_two_and_knows_nothing(table):
    told = rows_of(table, "always_4_times")
    assert [told[m]["within_2"] for m in ("2", "4", "8", "16")] == [1, 1, 1, 0]
    assert not told["all"]["spearman"] > 0
    assert told["2"]["reachable_though_not"] == 1


def test_curves_too_low_and_too_high_err_to_their_side(table):
    low, high = rows_of(table, "pow2"), rows_of(table, "median3")
    assert low["4"]["unreachable_though_reached"] == 1
    assert high["4"]["unreachable_though_reached"] == 0
    assert high["2"]["reachable_though_not"] == 1
    assert high["8"]["median_log2"] == pytest.approx(3)


def test_targets_already_reached_with_fewer_labels_do_not_count():
    frame, main, bands, rows = judged()
    flat = (frame["task"] == "t0").to_numpy()
    frame.loc[flat, "truth"] = 0.8
    told = rows_of(needs_of(frame, main, bands, rows), "pow3")
    assert told["4"]["pilots"] == 5


def test_rows_that_do_not_count_are_left_out():
    frame, main, bands, _ = judged()
    kept = (frame["task"] != "t3").to_numpy()
    assert rows_of(needs_of(frame, main, bands, kept), "pow3")["4"]["pilots"] == 5
    assert {row["pilots"] for row in collection_of(frame, main, bands, kept)} == {5}


def test_who_knows_the_need_buys_just_that():
    table = {(r["method"], r["rounds"]): r for r in collection_of(*judged())}
    assert {rounds for _, rounds in table} == {1, 3, 5}
    for rounds in (1, 3, 5):
        assert table["pow3", rounds]["cost_ratio"] == pytest.approx(1, abs=1e-3)
        assert table["pow3", rounds]["failure"] == 0
        assert table["median3", rounds]["failure"] == 1
        assert np.isnan(table["median3", rounds]["cost_ratio"])


def test_more_rounds_of_buying_do_not_miss_more():
    table = {
        r["rounds"]: r for r in collection_of(*judged(spread=0.02)) if r["method"] == "metamodel"
    }
    assert table[5]["failure"] <= table[1]["failure"] <= 0.2
    assert 1 <= table[5]["cost_ratio"] <= table[1]["cost_ratio"] <= 4


def test_where_no_target_is_within_reach_figures_are_unknown():
    frame, main, bands, rows = judged()
    frame["truth"] = 0.8  # what is reached at once is no target
    table = needs_of(frame, main, bands, rows)
    assert all(np.isnan(row["median_log2"]) for row in table)
    assert all(row["pilots"] == 0 for row in table if row["multiple"] != "all")
    assert {row["pilots"] for row in collection_of(frame, main, bands, rows)} == {0}
