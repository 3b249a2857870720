from dataclasses import replace

import numpy as np
import pytest
from meta_samples import toy_data

from metamodel.features import NAMES
from metamodel.fit.fitting import problem_of
from metamodel.forecaster import fit_band
from metamodel.judge.leave_out import ask, bands_of, judged_pilots, leave_out
from metamodel.model import Settings

OWN = "corpus02"


@pytest.fixture(scope="module")
def asked():
    data = toy_data(n_corpora=8)
    data = data.part(data.evidence["n0"].to_numpy() > 0)
    frame, asked = ask(judged_pilots(data, (64,)), data)
    return problem_of(data), frame, asked


def left_out(problem, asked, **more):
    return leave_out(problem, asked, Settings(), names=NAMES, most=60, **more)


@pytest.fixture(scope="module")
def found(asked):
    return left_out(asked[0], asked[2])


@pytest.fixture(scope="module")
def bands(found):
    return bands_of(found)


def test_what_a_corpus_reached_has_no_say_in_what_is_told_of_it(asked, found):
    problem, _, question = asked
    own = problem.corpus == OWN
    wild = replace(problem, accuracy=np.where(own, 1 - problem.accuracy, problem.accuracy))
    moved = left_out(wild, question)
    mine = question.corpus == OWN
    assert (found.mean[mine] == moved.mean[mine]).all()
    assert (
        found.learned_mean[found.learned.corpus == OWN]
        == moved.learned_mean[moved.learned.corpus == OWN]
    ).all()
    assert not np.allclose(found.mean[~mine], moved.mean[~mine])


def test_parts_of_corpora_may_be_left_out_together(asked):
    ticks = []
    predicted = left_out(
        asked[0], asked[2], n_folds=4, tick=lambda done, total: ticks.append((done, total))
    )
    assert ticks == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert np.isfinite(predicted.mean).all()


def test_models_learn_from_at_most_so_many_rows_of_a_corpus(found):
    _, counts = np.unique(found.learned.corpus.astype(str), return_counts=True)
    assert counts.max() == 60
    assert len(found.learned_mean) == counts.sum()


def test_predictions_are_near_the_truth(asked, found):
    truth = asked[1]["truth"].to_numpy()
    known = np.isfinite(truth)
    assert np.abs(found.mean - truth)[known].mean() < 0.05


def test_errors_of_a_corpus_have_no_say_in_its_intervals(found, bands):
    own = found.learned.corpus == OWN
    wild = replace(
        found.learned, accuracy=np.where(own, 1 - found.learned.accuracy, found.learned.accuracy)
    )
    moved = bands_of(replace(found, learned=wild))
    mine = found.asked.corpus == OWN
    for name in ("spread", "threshold", "half"):
        assert (getattr(bands, name)[mine] == getattr(moved, name)[mine]).all()
        assert not np.allclose(getattr(bands, name)[~mine], getattr(moved, name)[~mine])
    row = bands.corpus[mine][0]
    assert (bands.quantiles[row] == moved.quantiles[row]).all()


def test_bands_are_those_of_the_other_corpora(found, bands):
    others, mine = found.learned.corpus != OWN, found.asked.corpus == OWN
    band = fit_band(
        found.learned.features[others],
        found.learned_mean[others],
        (found.learned.accuracy - found.learned_mean)[others],
        found.learned.corpus[others],
    )
    assert (bands.threshold[mine] == band.threshold).all()
    predicted = band.spread.predict(found.asked.features[mine], found.mean[mine])
    assert bands.spread[mine] == pytest.approx(predicted)
    assert (bands.quantiles[bands.corpus[mine]] == band.quantiles).all()


def test_left_out_intervals_cover_about_what_they_promise(asked, found, bands):
    truth = asked[1]["truth"].to_numpy()
    known = np.isfinite(truth)
    inside = (np.abs(found.mean - truth) <= bands.half)[known]
    assert inside.mean() >= 0.85
    below, above = bands.reach
    off = (truth - found.mean)[known]
    near = (off <= above[known]) & (off >= -below[known])
    assert 0.8 <= near.mean() <= inside.mean()
