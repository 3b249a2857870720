import numpy as np
import pandas as pd
import pytest
from meta_samples import make_tables

from metamodel.fit.fitting import FitSettings, problem_of
from metamodel.judge.evaluate import evaluate
from metamodel.judge.leave_out import METHODS, ask, encoders_left_out, judged_pilots
from metamodel.model import Settings
from metamodel.rows import join_tables

QUICK = FitSettings(labelled=Settings(n_rounds=10, min_rows=20), most=60)


def quiet(stage, done, total):
    pass


def two_encoders(*, change=None):
    """The same tasks under two encoders; the second's outcomes may be changed."""
    evidence, outcomes = make_tables(n_corpora=6, pilots=(64, 128), draws=1)
    other = outcomes.assign(encoder="b")
    if change is not None:
        other["accuracy"] = change(other["accuracy"])
    return join_tables(
        pd.concat([evidence.assign(encoder="a"), evidence.assign(encoder="b")], ignore_index=True),
        pd.concat([outcomes.assign(encoder="a"), other], ignore_index=True),
    )


def judged(data):
    frame, asked = ask(judged_pilots(data, (64, 128)), data)
    frame["metamodel"] = frame["last"]
    return encoders_left_out(problem_of(data), frame, asked, QUICK, data, quiet)


@pytest.fixture(scope="module")
def rows():
    return pd.DataFrame(judged(two_encoders()))


def test_one_row_an_encoder_size_and_multiple(rows):
    assert not rows.duplicated(["encoder", "n0", "multiple"]).any()
    assert set(rows["encoder"]) == {"a", "b"}
    assert set(rows["n0"]) == {64, 128}
    assert {2, 4, 8} <= set(rows["multiple"])
    assert rows[list(METHODS)].notna().all(axis=None)
    assert rows["covered"].between(0, 1).all()


def test_what_is_alike_under_both_encoders_is_learned_from_the_other(rows):
    far = rows[rows["multiple"] == 8]
    assert far["encoder_left_out"].mean() < far["last"].mean()
    same = rows.pivot_table(index=["n0", "multiple"], columns="encoder", values="encoder_left_out")
    assert same["a"].to_numpy() == pytest.approx(same["b"].to_numpy(), abs=0.5)


def test_outcomes_of_the_left_out_encoder_change_nothing_but_the_errors(rows):
    changed = pd.DataFrame(judged(two_encoders(change=lambda a: a * 0.5)))
    key = ["encoder", "n0", "multiple"]
    both = rows.merge(changed, on=key, suffixes=("", "_changed"))
    own = both["encoder"] == "b"
    assert both.loc[own, "width"].to_numpy() == pytest.approx(
        both.loc[own, "width_changed"].to_numpy()
    )
    assert (both.loc[own, "encoder_left_out_changed"] > both.loc[own, "encoder_left_out"]).all()


def test_the_truth_of_one_encoder_is_not_mixed_with_anothers():
    data = two_encoders(change=lambda a: a * 0)
    frame, _ = ask(judged_pilots(data, (64,)), data)
    known = frame[frame["truth"].notna()]
    assert (known.loc[known["encoder"] == "b", "truth"] == 0).all()
    assert (known.loc[known["encoder"] == "a", "truth"] > 0.2).all()
    assert np.isnan(known["mean"]).sum() == 0
    assert (known.loc[known["encoder"] == "b", "mean"] == 0).all()


def test_the_scorecard_has_them_where_there_are_several():
    evidence, outcomes = make_tables(n_corpora=5, pilots=(0, 64, 256, 512), draws=1)
    data = join_tables(
        pd.concat([evidence, evidence.assign(encoder="b")], ignore_index=True),
        pd.concat([outcomes, outcomes.assign(encoder="b")], ignore_index=True),
    )
    found = evaluate(data, QUICK, quiet)
    assert {row["encoder"] for row in found.figures["encoders"]} == {"toy", "b"}
    assert len(found.frame) == 2 * len(found.frame[found.frame["encoder"] == "b"])
