import numpy as np
import pytest
from meta_samples import LAYERS, toy_data

from metamodel.extrapolate import fit_curves
from metamodel.features import expand
from metamodel.judge.leave_out import MULTIPLES, ask, judged_pilots, mean_outcomes
from metamodel.schema import CURVE_SHARES


@pytest.fixture(scope="module")
def data():
    whole = toy_data()
    return whole.part(whole.evidence["n0"].to_numpy() > 0)


@pytest.fixture(scope="module")
def pilots(data):
    return judged_pilots(data, (16, 64))


@pytest.fixture(scope="module")
def asked(data, pilots):
    return ask(pilots, data)


def test_whole_tasks_are_judged(pilots):
    assert set(pilots["subset"]) == {"all"}
    assert set(pilots["n0"]) == {16, 64}


def test_every_row_is_asked_at_every_multiple(pilots, asked):
    frame, question = asked
    assert len(frame) == len(pilots) * len(MULTIPLES) == len(question.features)
    assert frame["multiple"].to_numpy().reshape(-1, len(MULTIPLES))[3] == pytest.approx(MULTIPLES)
    assert (frame["n"] == np.round(frame["n0"] * frame["multiple"])).all()
    assert frame.groupby("pilot")["layer"].nunique().eq(LAYERS).all()
    assert (question.corpus == frame["corpus"]).all()
    assert question.features["log_n"].to_numpy() == pytest.approx(np.log2(frame["n"]))


def test_the_truth_is_the_mean_over_draws(data, asked):
    frame, _ = asked
    known = frame["truth"].notna()
    assert known.groupby(frame["multiple"]).mean().loc[[2, 4, 8, 32]].eq(1).all()
    assert not known[frame["multiple"] == MULTIPLES[1]].any()
    row = frame[(frame["n0"] == 64) & (frame["multiple"] == 1)].iloc[7]
    rows = data.evidence
    same = (
        (rows["task"] == row["task"])
        & (rows["subset"] == "all")
        & (rows["layer"] == row["layer"])
        & (rows["n0"] == 64)
    )
    mine = np.isin(data.targets.row, np.flatnonzero(same)) & (data.targets.size == 64)
    assert mine.sum() == 2
    assert row["truth"] == pytest.approx(data.targets.accuracy[mine].mean())


def test_outcomes_are_told_once(data):
    predicted = mean_outcomes(data)
    assert not predicted.duplicated(["task", "layer", "n"]).any()


def test_the_mean_elsewhere_is_over_tasks_of_other_corpora(asked):
    frame, _ = asked
    truths = frame.drop_duplicates(["task", "layer", "n"])
    for place in (0, 100, 500):
        row = frame.iloc[place]
        same = truths[(truths["layer"] == row["layer"]) & (truths["n"] == row["n"])]
        others = same[same["corpus"] != row["corpus"]]["truth"].mean()
        assert row["mean"] == pytest.approx(others, nan_ok=True)


def test_one_corpus_alone_has_no_mean_elsewhere(data):
    one = data.part((data.evidence["corpus"] == "corpus01").to_numpy())
    frame, _ = ask(judged_pilots(one, (64,)), one)
    assert frame["mean"].isna().all()


def test_simple_predictors_are_those_of_the_pilots_own_curve(pilots, asked):
    frame, _ = asked
    many = pilots["n_classes"].to_numpy() > 9
    other = int(np.flatnonzero(many)[0])
    parts = frame["last"].iloc[other * len(MULTIPLES) : (other + 1) * len(MULTIPLES)]
    assert (parts == pilots["curve_800"].iloc[other]).all()
    place = int(np.flatnonzero(~many)[0])
    row = pilots.iloc[place]
    mine = frame.iloc[place * len(MULTIPLES) : (place + 1) * len(MULTIPLES)]
    assert (mine["last"] == row["oof_accuracy"]).all()
    shares = list(CURVE_SHARES.values())
    scores = row[list(CURVE_SHARES)].to_numpy(float)
    sizes = mine["n"].to_numpy() / row["n0"]
    predicted = [
        fit_curves(shares, scores, family=name, weights=shares).scores(sizes)[0]
        for name in ("pow2", "pow3", "mmf4")
    ]
    for name, curve in zip(("pow2", "pow3", "mmf4"), predicted, strict=True):
        assert mine[name].to_numpy() == pytest.approx(curve)
    assert mine["median3"].to_numpy() == pytest.approx(np.median(predicted, axis=0))
    whole = mine[mine["multiple"].isin([1, 2, 4, 8, 16, 32])]
    assert whole["spectral"].to_numpy() == pytest.approx(
        row[[f"spectral_{m}" for m in (1, 2, 4, 8, 16, 32)]].to_numpy(float)
    )


def test_features_are_those_of_whole_pilots(pilots, asked):
    first = pilots[pilots["n0"] == 64].index[:LAYERS]
    pilot = pilots.loc[first]
    frame, question = asked
    mine = np.flatnonzero((frame["n0"] == 64).to_numpy())[: LAYERS * len(MULTIPLES)]
    predicted = expand(pilot, list(np.round(64 * np.array(MULTIPLES))))
    assert question.features.iloc[mine].to_numpy() == pytest.approx(
        predicted.to_numpy(), nan_ok=True
    )
