import numpy as np
import pandas as pd
import pytest

from metamodel.judge.scorecard import (
    accuracy_errors,
    floor_errors,
    gains,
    interval_figures,
    paired,
    regrets,
    share_by_task,
)


def test_errors_are_averaged_within_tasks_first():
    frame = pd.DataFrame(
        {
            "n0": [64] * 5,
            "multiple": [2.0, 2, 2, 2, 4],
            "task": ["a", "a", "a", "b", "a"],
            "truth": [0.5, 0.5, 0.5, 0.7, np.nan],
            "predicted": [0.51, 0.54, 0.54, 0.90, 0.1],
            "gaps": [0.50, np.nan, np.nan, np.nan, 0.1],
        }
    )
    predicted, gaps = accuracy_errors(frame, ["predicted", "gaps"], [2, 4, 8])
    assert predicted["n0"] == 64
    assert (predicted["multiple"], predicted["method"], predicted["tasks"]) == (2, "predicted", 2)
    assert predicted["error"] == pytest.approx(100 * (0.03 + 0.20) / 2)
    assert predicted["within_3"] == pytest.approx((1 / 3 + 0) / 2)
    assert (gaps["error"], gaps["within_3"], gaps["tasks"]) == (0, 1, 1)


def test_the_floor_is_the_binomial_error_of_the_sample():
    rng = np.random.default_rng(0)
    n, n0 = 4000, 64
    p = np.repeat([0.6, 0.9], n // 2)
    one = pd.DataFrame(
        {
            "pilot": np.arange(n), "layer": 3, "n0": n0, "multiple": 1.0, "truth": p,
            "task": np.where(p < 0.7, "a", "b"), "last": rng.binomial(n0, p) / n0,
        }
    )  # fmt: skip
    one["method"] = one["truth"] + 0.01
    two = one.assign(multiple=2.0, truth=p + 0.05, method=p + 0.02)
    lost = two.assign(pilot=two["pilot"] + n, task="c")  # nothing is known of n0 labels
    (row,) = floor_errors(pd.concat([one, two, lost], ignore_index=True), "method", [2])
    assert (row["n0"], row["tasks"]) == (n0, 2)
    assert row["sample"] == pytest.approx(row["binomial"], rel=0.05)
    exact = 100 * np.mean([np.sqrt(2 * q * (1 - q) / (np.pi * n0)) for q in (0.6, 0.9)])
    assert row["binomial"] == pytest.approx(exact)
    assert row["error_1"] == pytest.approx(1)
    assert row["error_2"] == pytest.approx(3)


def test_shares_count_every_task_alike():
    flags = np.array([True, True, True, False])
    assert share_by_task(flags, np.array(["a", "a", "b", "b"])) == 0.75
    assert share_by_task(flags, np.array(["a", "a", "a", "b"])) == 0.5


def test_interval_figures_of_a_handful_of_rows():
    truth = np.array([0.50, 0.60, 0.70, 0.98])
    mean = np.array([0.52, 0.60, 0.60, 0.90])
    half = np.array([0.05, 0.05, 0.05, 0.20])
    tasks = np.array(["a", "a", "b", "b"])
    simple = np.array([0.2, 0.3, 0.1, 0.4])
    predicted = interval_figures(truth, mean, (half, half), tasks, tasks, simple)
    assert predicted["rows"] == 0.75
    assert predicted["tasks"] == 0.5
    assert predicted["width"] == pytest.approx((0.1 + 0.1 + 0.1 + 0.3) / 4)
    assert predicted["uncut_width"] == pytest.approx((0.1 + 0.1 + 0.1 + 0.4) / 4)
    # one width for all that covers as many tasks: the easier of the two
    assert predicted["pooled_width"] == pytest.approx(2 * 0.02)
    assert predicted["simple_width"] == pytest.approx(2 * 0.3)
    assert (predicted["n_rows"], predicted["n_tasks"]) == (4, 2)
    assert predicted["mean_of_tasks"] == pytest.approx(0.75)
    assert predicted["interval_score"] == pytest.approx(predicted["width"] + 20 * 0.05 / 4)


def test_gains_are_over_the_best_baseline_and_paired_by_corpus():
    n = 240
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.5, 0.9, n)
    task = np.arange(n) % 24
    frame = pd.DataFrame(
        {
            "n0": 64, "multiple": 2.0, "truth": truth, "task": task, "corpus": task // 2,
            "n_classes": np.where(task < 12, 2, 20), "ours": truth + 0.01, "bad": truth - 0.1,
            "good": truth + 0.03, "gap": np.nan,
        }
    )  # fmt: skip
    all_, few, many = gains(frame, "ours", ["bad", "good", "gap"], [2, 4])
    assert [row["classes"] for row in (all_, few, many)] == ["all", "up to 9", "more"]
    assert (all_["best"], all_["tasks"], few["tasks"]) == ("good", 24, 12)
    assert all_["error"] == pytest.approx(1)
    assert all_["best_error"] == pytest.approx(3)
    assert all_["gain"] == pytest.approx(2)
    assert all_["low"] == pytest.approx(2)
    assert all_["bias"] == pytest.approx(1)


@pytest.mark.parametrize("k", [8, 20])
def test_paired_intervals_of_few_corpora_cover_what_they_promise(k):
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        values = pd.Series(rng.normal(1, 1, k))
        names = pd.Series(np.arange(k))
        mean, low, high = paired(values, names, names)
        assert low <= mean <= high
        inside += low <= 1 <= high
    assert 165 <= inside <= 196


def test_one_corpus_has_no_interval():
    one = pd.Series([1.0, 2.0])
    mean, low, high = paired(one, pd.Series(["a", "b"]), pd.Series(["x", "x"]))
    assert mean == 1.5
    assert np.isnan(low)
    assert np.isnan(high)


def test_regret_of_a_perfect_a_constant_and_a_wrong_rule():
    truth = [0.6, 0.7, 0.8, 0.9, 0.5, 0.6]
    frame = pd.DataFrame(
        {
            "pilot": [0, 0, 0, 1, 1, 1],
            "task": ["a"] * 3 + ["b"] * 3,
            "layer": [0, 1, 2] * 2,
            "truth": truth,
            "perfect": truth,
            "first": [3, 2, 1] * 2,
            "wrong": [-t for t in truth],
        }
    )
    perfect, first, wrong = regrets(frame, ["perfect", "first", "wrong"])
    assert (perfect["regret"], perfect["top_1"], perfect["kendall"]) == (0, 1, pytest.approx(1))
    assert first["regret"] == pytest.approx((20 + 0) / 2)
    assert (first["top_1"], first["top_3"]) == (0.5, 1)
    assert wrong["regret"] == pytest.approx((20 + 40) / 2)
    assert wrong["kendall"] == pytest.approx(-1)
    shuffled = regrets(frame.sample(frac=1, random_state=0), ["perfect", "first", "wrong"])
    assert shuffled == [perfect, first, wrong]


def test_a_rule_counts_where_it_is_known():
    frame = pd.DataFrame(
        {
            "pilot": [0, 0, 1, 1],
            "task": ["a", "a", "b", "b"],
            "layer": [0, 1, 0, 1],
            "truth": [0.5, 0.6, 0.5, 0.9],
            "predicted": [1.0, 2.0, np.nan, np.nan],
        }
    )
    (row,) = regrets(frame, ["predicted"])
    assert (row["regret"], row["top_1"]) == (0, 1)
