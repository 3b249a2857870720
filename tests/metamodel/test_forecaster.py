import numpy as np
import pandas as pd
import pytest
from meta_samples import toy_data

from metamodel.features import NAMES
from metamodel.fit.fitting import problem_of
from metamodel.forecaster import fit_forecaster, fit_model, out_of_corpus, predict_accuracy
from metamodel.judge.leave_out import ask, judged_pilots
from metamodel.model import Settings

MIXED = Settings(n_rounds=30, min_rows=20, share_ridge=0.6)


def labelled(**more):
    data = toy_data(**more)
    return data.part(data.evidence["n0"].to_numpy() > 0)


@pytest.fixture(scope="module")
def problem():
    return problem_of(labelled())


@pytest.fixture(scope="module")
def forecaster(problem):
    return fit_forecaster(
        problem.features, problem.accuracy, problem.corpus, Settings(), names=NAMES, n_folds=8
    )


@pytest.fixture(scope="module")
def elsewhere():
    """Tasks of another draw of the same world, and what simple predictors say of them."""
    data = labelled(seed=9)
    frame, asked = ask(judged_pilots(data, (64, 128)), data, (2, 4, 8))
    known = frame["truth"].notna().to_numpy()
    return frame[known].reset_index(drop=True), asked.features[known].reset_index(drop=True)


@pytest.mark.parametrize("settings", [Settings(), MIXED], ids=["ridge", "mixed"])
def test_it_beats_simple_predictors_where_curves_share_a_law(problem, elsewhere, settings):
    frame, features = elsewhere
    model = fit_model(problem.features, problem.accuracy, problem.corpus, settings, names=NAMES)
    error = np.abs(predict_accuracy(model, features) - frame["truth"]).mean()
    for simple in ("last", "mean", "pow2", "median3", "spectral"):
        assert error < (frame[simple] - frame["truth"]).abs().mean(), simple


def test_intervals_cover_tasks_never_seen(forecaster, elsewhere):
    frame, features = elsewhere
    mean = forecaster.mean(features)
    half = forecaster.band.threshold * forecaster.spread(features, mean)
    inside = np.abs(frame["truth"] - mean) <= half
    assert 0.85 <= inside.groupby(frame["task"]).mean().mean() <= 0.99
    assert half.mean() < 0.5 * np.abs(frame["truth"] - frame["truth"].mean()).max()


@pytest.mark.parametrize("settings", [Settings(), MIXED], ids=["ridge", "mixed"])
def test_a_corpus_left_out_does_not_move_its_own_predictions(problem, settings):
    own = problem.corpus == "corpus02"
    wild = np.where(own, 1 - problem.accuracy, problem.accuracy)
    predicted, moved = (
        out_of_corpus(problem.features, truth, problem.corpus, settings, names=NAMES, n_folds=None)
        for truth in (problem.accuracy, wild)
    )
    assert (predicted[own] == moved[own]).all()
    assert not np.allclose(predicted[~own], moved[~own])


def test_out_of_corpus_is_a_model_of_the_other_corpora(problem):
    predicted = out_of_corpus(
        problem.features, problem.accuracy, problem.corpus, Settings(), names=NAMES, n_folds=None
    )
    own = problem.corpus == "corpus05"
    model = fit_model(
        problem.features[~own],
        problem.accuracy[~own],
        problem.corpus[~own],
        Settings(),
        names=NAMES,
    )
    assert predicted[own] == pytest.approx(predict_accuracy(model, problem.features[own]))


def test_predictions_are_accuracies(forecaster, problem):
    rng = np.random.default_rng(0)
    strange = pd.DataFrame(rng.normal(0, 50, (200, len(NAMES))), columns=list(NAMES))
    strange["chance"] = rng.random(200)
    predicted = forecaster.mean(strange)
    assert ((predicted >= 0) & (predicted <= 1)).all()
    assert (forecaster.spread(strange, predicted) > 0).all()
    nothing = strange.assign(**{name: np.nan for name in NAMES if name != "chance"})
    assert np.isfinite(forecaster.mean(nothing)).all()


def test_chance_is_told_where_all_always_were_at_chance(problem):
    guess = problem.features["chance"].to_numpy()
    model = fit_model(
        problem.features, guess, problem.corpus, Settings(anchor="chance"), names=NAMES
    )
    assert predict_accuracy(model, problem.features) == pytest.approx(guess, abs=1e-9)
