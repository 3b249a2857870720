import numpy as np
import pytest

from charkit.errors import UsageError
from charkit.heads.metrics.intervals import crossed_means


def draw_world(rng, *, n_draws=5, n_columns=3, n_rows=80, row=1.0, draw=0.1, rest=0.5):
    shape = (n_draws, n_columns, n_rows)
    return (
        row * rng.standard_normal((1, n_columns, n_rows))
        + draw * rng.standard_normal((n_draws, n_columns, 1))
        + rest * rng.standard_normal(shape)
    )


@pytest.mark.parametrize("sizes", [(1.0, 0.1, 0.5), (0.0, 0.2, 1.0), (0.3, 0.0, 1.0)])
def test_covariance_is_that_of_the_means_over_many_worlds(sizes):
    rng = np.random.default_rng(0)
    row, draw, rest = sizes
    worlds = [crossed_means(draw_world(rng, row=row, draw=draw, rest=rest)) for _ in range(1500)]
    actual = np.cov(np.array([w.mean for w in worlds]).T)
    estimated = np.mean([w.covariance for w in worlds], axis=0)
    exact = row**2 / 80 + draw**2 / 5 + rest**2 / 400
    assert np.diag(actual) == pytest.approx(exact, rel=0.12)
    ratio = np.diag(estimated).mean() / exact
    assert 0.97 < ratio < 1.35  # too large where draws matter least: none is negative


def test_contrast_is_the_mean_of_the_contrast():
    values = draw_world(np.random.default_rng(1))
    weights = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, 1.0]])
    ours = crossed_means(values).contrast(weights)
    direct = crossed_means(np.einsum("jk,skm->sjm", weights, values))
    assert ours.mean == pytest.approx(direct.mean)
    assert ours.row_covariance == pytest.approx(direct.row_covariance)


def test_degrees_of_freedom_follow_the_larger_part():
    rng = np.random.default_rng(2)
    by_row = crossed_means(draw_world(rng, draw=0.0, rest=0.1)).degrees()
    by_draw = crossed_means(draw_world(rng, row=0.0, draw=1.0, rest=0.1)).degrees()
    assert by_row == pytest.approx(79, rel=0.2)
    assert by_draw == pytest.approx(4, rel=0.1)


def test_values_that_do_not_vary_tell_nothing():
    means = crossed_means(np.ones((2, 3, 4)))
    assert not means.has_error.any()
    assert means.normal_scores().tolist() == [0.0, 0.0, 0.0]
    assert np.isfinite(means.maxima(seed=0, n_simulated=10)).all()
    assert not crossed_means(np.random.default_rng(0).random((4, 2, 1))).has_error.any()


def test_maxima_of_independent_columns():
    values = np.random.default_rng(3).standard_normal((1, 10, 4000))
    largest = crossed_means(values).maxima(seed=1, n_simulated=20_000)
    from scipy.stats import norm

    assert np.quantile(largest, 0.95) == pytest.approx(norm.ppf(0.95**0.1), abs=0.05)
    assert np.array_equal(largest, crossed_means(values).maxima(seed=1, n_simulated=20_000))


@pytest.mark.parametrize(
    "values", [np.zeros((2, 3)), np.zeros((0, 1, 1)), np.full((1, 1, 2), np.nan)]
)
def test_wrong_arrays_are_refused(values):
    with pytest.raises(UsageError, match="expected"):
        crossed_means(values)
