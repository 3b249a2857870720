"""Ways of training under other encoders: the widening, and what is reported."""

import numpy as np
import pandas as pd
import pytest

from metamodel.judge.learner_transfer import measure_elsewhere


def answers(off, encoder, n_tasks=20, *, gain=0.05, head_off=0.0):
    """Return answers whose errors are `off` times the task's rank, with a reach of 0.1."""
    rank = np.linspace(-1, 1, n_tasks)
    return pd.DataFrame({
        "encoder": encoder, "task": [f"t{k}" for k in range(n_tasks)],
        "corpus": [f"c{k}" for k in range(n_tasks)], "learner": "tuned", "n0": 64, "n": 256,
        "mean": 0.7, "below": 0.1, "above": 0.1, "truth": 0.7 + off * rank,
        "head": 0.7 - gain, "head_truth": 0.7 - gain + off * rank + head_off,
    })  # fmt: skip


def two(table):
    """Return what is measured with a second encoder of the same answers."""
    return measure_elsewhere(pd.concat([table, table.assign(encoder="near")]), ["home"])


def test_the_widening_covers_nine_in_ten_of_the_worst_encoder():
    table = pd.concat([answers(0.9, "home"), answers(0.1, "near"), answers(0.2, "far")])
    found = measure_elsewhere(table, ["home"])
    assert found.encoders == ("far", "near")
    assert found.learners == ("tuned",)
    assert found.corpora == 20
    # Ranks are equally spaced: the eighteenth of twenty absolute ones is 17 / 19.
    assert found.widening == pytest.approx(np.ceil(100 * 2 * 17 / 19) / 100)
    rows = {row["encoder"]: row for row in found.figures}
    assert rows["home"]["known"]
    assert rows["home"]["factor"] == 1.0
    assert rows["far"]["factor"] == 1.0  # of the other encoder, which needs none
    assert rows["far"]["covered_wide"] == rows["far"]["covered"] == pytest.approx(0.5)
    assert rows["near"]["factor"] > 1.7
    assert rows["near"]["covered_wide"] == 1.0


def test_errors_and_gains_are_points_and_the_winner_is_counted():
    found = two(answers(0.1, "far"))
    row = found.figures[0]
    mean_rank = np.abs(np.linspace(-1, 1, 20)).mean()
    assert row["error"] == pytest.approx(10 * mean_rank)
    assert row["gain"] == pytest.approx(row["predicted_gain"]) == pytest.approx(5)
    assert (row["apart"], row["right"]) == (20, 1.0)
    lost = two(answers(0.1, "far", head_off=0.1)).figures[0]
    assert lost["gain"] == pytest.approx(-5)
    assert lost["right"] == 0.0
    level = two(answers(0.1, "far", gain=0.0)).figures[0]
    assert (level["apart"], level["right"]) == (0, None)


def test_runs_that_diverged_are_counted_and_change_nothing_else():
    table = pd.concat([answers(0.9, "near"), answers(0.9, "far")], ignore_index=True)
    wanted = measure_elsewhere(table[table["task"] != "t3"], ["home"])
    table.loc[table["task"] == "t3", "truth"] = np.nan
    found = measure_elsewhere(table, ["home"])
    assert found.widening == wanted.widening > 1.5
    assert [row["failed"] for row in found.figures] == [1, 1]
    assert [{**row, "failed": 0} for row in found.figures] == list(wanted.figures)


def test_the_factor_is_that_of_the_hardest_learner():
    hard = [answers(0.3, name) for name in ("near", "far")]
    easy = [answers(0.05, name).assign(learner="concat") for name in ("near", "far")]
    found = measure_elsewhere(pd.concat([*hard, *easy]), ["home"])
    assert found.widening == measure_elsewhere(pd.concat(hard), ["home"]).widening
    assert all(row["covered_wide"] >= 0.9 for row in found.figures)


@pytest.mark.parametrize("names", [["home"], ["home", "far"]])
def test_a_factor_needs_two_other_encoders(names):
    with pytest.raises(ValueError, match="expected 2 or more others than"):
        measure_elsewhere(pd.concat([answers(0.1, name) for name in names]), ["home"])
