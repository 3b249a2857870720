import numpy as np
import pytest

from charkit.errors import UsageError
from charkit.heads.metrics.selection import best_layers
from charkit.heads.sweep.compare import best_encoders


def right(shares, *, n_draws=5, n_rows=200, seed=0):
    """Rows right with the given shares, a layer each; row difficulty shared by all layers."""
    rng = np.random.default_rng(seed)
    hard = rng.uniform(size=n_rows)
    noise = rng.normal(scale=0.1, size=(n_draws, len(shares), n_rows))
    return (hard + noise < np.array(shares)[:, None]).astype(float)


def test_one_encoder_is_its_best_layer():
    values = right([0.5, 0.8, 0.7])
    found = best_encoders([values], layers=[(0, 4, 6)])
    layers = best_layers(values, layers=(0, 4, 6))
    assert found.layer == (layers.best,) == (4,)
    assert found.score[0] == layers.score.max()
    assert (found.low[0], found.high[0]) == (layers.low[1], layers.high[1])
    assert found.tied_with_best.all()


def test_a_clearly_better_encoder_stands_alone():
    values = right([0.5, 0.6, 0.9, 0.85])
    found = best_encoders([values[:, :2], values[:, 2:]], layers=[(0, 1), (0, 1)])
    assert found.layer == (1, 0)
    assert found.tied_with_best.tolist() == [False, True]
    assert (found.low < found.score).all()
    assert (found.score < found.high).all()


def test_an_encoder_ties_when_one_of_its_layers_does():
    values = right([0.3, 0.8, 0.8])
    found = best_encoders([values[:, :2], values[:, 2:]], layers=[(0, 1), (5,)])
    assert found.tied_with_best.all()


def test_pairs_tell_what_single_intervals_cannot():
    """Rows that are hard for one are hard for the other: small differences show."""
    rng = np.random.default_rng(1)
    one = np.repeat((rng.uniform(size=(1, 1, 400)) < 0.7).astype(float), 5, axis=0)
    two = one.copy()
    two[:, :, np.flatnonzero(one[0, 0])[:12]] = 0
    found = best_encoders([one, two], layers=[(0,), (0,)])
    assert found.low[0] < found.high[1]  # the intervals overlap
    assert found.tied_with_best.tolist() == [True, False]


def test_the_truly_best_encoder_is_kept_as_often_as_promised():
    """One layer against seven just as good ones: luck of many layers must not throw it out."""
    kept = 0
    n_trials = 60
    for seed in range(n_trials):
        rng = np.random.default_rng(seed)
        values = (rng.uniform(size=(3, 8, 120)) < 0.7).astype(float)
        found = best_encoders([values[:, :1], values[:, 1:]], layers=[(0,), range(7)])
        kept += bool(found.tied_with_best[0])
    assert kept >= 0.82 * n_trials  # 0.9 less two standard errors


def test_what_does_not_fit_is_refused():
    values = right([0.5, 0.6])
    with pytest.raises(UsageError, match="encoders do not fit"):
        best_encoders([values, values[:3]], layers=[(0, 1), (0, 1)])
    with pytest.raises(UsageError, match="encoders do not fit"):
        best_encoders([], layers=[])
    with pytest.raises(UsageError, match="expected 2 numbers, got 1"):
        best_encoders([values], layers=[(0,)])
