import numpy as np
import pandas as pd
import pytest

from metamodel.judge.leave_out import MULTIPLES, Asked, Bands, LeftOut
from metamodel.judge.needs import (
    DOUBLINGS,
    climatology,
    need_events,
    needs_of,
    reliability,
)


def judged(predicted=None, *, n_tasks=12, spread=0.004):
    """Rising curves, one row a task; ``predicted`` turns the truth into what is predicted."""
    grid = np.array(MULTIPLES)
    floor = np.linspace(0.05, 0.3, n_tasks)[:, None]
    truth = 1 - floor - 0.2 * grid**-0.5
    mean = truth if predicted is None else predicted(truth)
    frame = pd.DataFrame(
        {
            "task": np.repeat([f"t{k}" for k in range(n_tasks)], len(grid)),
            "corpus": np.repeat([f"c{k}" for k in range(n_tasks)], len(grid)),
            "multiple": np.tile(grid, n_tasks),
            "n0": 64,
            "n_classes": 2,
            "last": np.repeat(truth[:, 0], len(grid)),
            "truth": truth.ravel(),
            "law": truth.ravel(),
            "pow2": (truth - 0.3).ravel(),
        }
    )
    quantiles = np.linspace(-2, 2, 99)[None].repeat(n_tasks, 0)
    corpus = np.repeat(np.arange(n_tasks), len(grid))
    bands = Bands(np.full(len(frame), spread), np.full(len(frame), 2.0), quantiles, corpus)
    asked = Asked(pd.DataFrame(index=frame.index), corpus.astype(object))
    return frame, LeftOut(None, None, asked, mean.ravel()), bands, np.ones(len(frame), bool)


def by_method(events):
    return {row["method"]: row for row in needs_of(events)}


@pytest.fixture(scope="module")
def events():
    return need_events(*judged())


def test_events_are_what_happened_by_each_doubling(events):
    assert set(events["multiple"]) == set(DOUBLINGS)
    assert set(events["kind"]) == {"relative", "fixed"}
    rising = events.sort_values(["case", "multiple"]).groupby("case")["reached"].diff().dropna()
    assert (rising >= 0).all()
    assert events["reached"].isin([0, 1]).all()
    frame = judged()[0]
    own = events[(events["task"] == "t0") & (events["kind"] == "fixed")]
    truth = frame[frame["task"] == "t0"].set_index("multiple")["truth"]
    for row in own.itertuples():
        target = row.last + row.gap
        assert row.reached == (truth[row.multiple] >= target)


def test_who_knows_the_curve_is_right_and_others_are_worse(events):
    table = by_method(events)
    assert table["metamodel_curve"]["brier"] == 0
    assert table["metamodel"]["brier"] == table["law"]["brier"] < 0.02
    assert table["metamodel"]["worse"] == 0
    assert table["metamodel"]["reachable_though_not"] == 0
    for name in ("climatology", "always_4_times", "pow2"):
        assert table[name]["brier"] > table["metamodel"]["brier"]
        assert 0 < table[name]["worse_low"] <= table[name]["worse"] <= table[name]["worse_high"]


def test_a_curve_too_low_calls_targets_unreachable_and_one_too_high_the_contrary():
    low = by_method(need_events(*judged(lambda truth: truth - 0.2)))["metamodel"]
    high = by_method(need_events(*judged(lambda truth: truth + 0.2)))["metamodel"]
    assert low["unreachable_though_reached"] > 0.9
    assert low["reachable_though_not"] == 0
    assert high["reachable_though_not"] > 0.9
    assert high["unreachable_though_reached"] == 0


def test_doublings_without_an_outcome_are_left_out():
    frame, main, bands, rows = judged()
    frame.loc[frame["multiple"] > 8, "truth"] = np.nan
    found = need_events(frame, main, bands, rows)
    assert set(found["multiple"]) == {1, 2, 4, 8}


def test_rows_that_do_not_count_are_left_out():
    frame, main, bands, _ = judged()
    kept = (frame["task"] != "t3").to_numpy()
    assert "t3" not in set(need_events(frame, main, bands, kept)["task"])


def test_reliability_is_the_share_that_happened_in_each_fifth():
    rng = np.random.default_rng(0)
    chance = pd.Series(rng.random(20_000))
    happened = pd.Series((rng.random(20_000) < chance).astype(float))
    rows = reliability(chance, happened)
    assert [row["low"] for row in rows] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    for row in rows:
        assert row["happened"] == pytest.approx(row["predicted"], abs=0.03)


def test_climatology_is_calibrated_on_corpora_left_out():
    rng = np.random.default_rng(0)
    n = 6000
    table = pd.DataFrame(
        {
            "corpus": np.arange(n) % 20, "gap": rng.uniform(-0.1, 0.2, n),
            "last": rng.uniform(0.4, 0.9, n), "multiple": rng.choice(DOUBLINGS, n),
            "log_n0": 6.0, "log_classes": rng.choice([1.0, 2.0], n),
        }
    )  # fmt: skip
    logit = 1 - 20 * table["gap"] + 0.5 * np.log2(table["multiple"])
    chance = 1 / (1 + np.exp(-logit))
    table["reached"] = (rng.random(n) < chance).astype(float)
    assert np.abs(climatology(table) - chance).mean() < 0.03


def test_where_no_target_is_within_reach_figures_are_unknown():
    frame, main, bands, rows = judged()
    frame["truth"] = 0.3
    table = by_method(need_events(frame, main, bands, rows))
    assert np.isnan(table["metamodel"]["unreachable_though_reached"])
