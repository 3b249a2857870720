import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from metamodel.extrapolate import FAMILIES, fit_curves

SIZES = np.array([16, 23, 32, 45, 64, 90, 128.0])

TRUE = {
    "pow2": lambda n: 1 - 0.9 * n**-0.3,
    "pow3": lambda n: 1 - 0.08 - 1.4 * n**-0.55,
    "mmf4": lambda n: 1 - 0.1 - 0.5 / (1 + (n / 60) ** 1.2),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_curve_of_the_family_is_found_and_carried_on(family):
    fit = fit_curves(SIZES, TRUE[family](SIZES), family=family)
    later = np.array([256, 512, 4096.0])
    np.testing.assert_allclose(fit.scores(later)[0], TRUE[family](later), atol=2e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_other_start_of_a_general_solver_fits_better(family):
    rng = np.random.default_rng(0)
    scores = TRUE["pow3"](SIZES) + rng.normal(0, 0.03, (20, len(SIZES)))
    weights = SIZES / SIZES.mean()
    fit = fit_curves(SIZES, scores, family=family, weights=weights)

    def residuals(x, y):
        shape = SIZES ** -x[2] if family != "mmf4" else 1 / (1 + (SIZES / x[3]) ** x[2])
        floor = 0 if family == "pow2" else x[0]
        return np.sqrt(weights / weights.sum()) * (1 - y - floor - x[1] * shape)

    bounds = ([0, 0, 0.01, 16 * 0.05], [1, np.inf, 3, 128 * 100])
    for row, y in enumerate(scores):
        best = min(
            least_squares(
                residuals,
                [rng.uniform(0, 0.3), rng.uniform(0.1, 2), rng.uniform(0.1, 2), 60],
                args=(y,),
                bounds=bounds,
            ).cost
            * 2
            for _ in range(5)
        )
        assert fit.loss[row] <= best * 1.002 + 1e-9


def test_rows_are_fitted_apart_and_alike():
    scores = np.stack([TRUE["pow3"](SIZES), TRUE["mmf4"](SIZES)])
    both = fit_curves(SIZES, scores)
    for row in range(2):
        one = fit_curves(SIZES, scores[row])
        assert one.scores([500])[0, 0] == both.scores([500])[row, 0]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=len(SIZES), max_size=len(SIZES)),
    st.sampled_from(FAMILIES),
)
def test_a_fit_never_falls_in_n_and_stays_a_share(scores, family):
    found = fit_curves(SIZES, scores, family=family).scores([1, 10, 100, 1e4, 1e8])
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= 1).all()
    assert (np.diff(found) >= -1e-12).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_undo_scores(family):
    fit = fit_curves(SIZES, TRUE[family](SIZES), family=family)
    wanted = fit.scores([100.0, 1000.0])[0]
    np.testing.assert_allclose(fit.sizes(wanted)[0], [100, 1000], rtol=1e-6)


def test_what_is_never_reached_takes_infinitely_many():
    fit = fit_curves(SIZES, TRUE["pow3"](SIZES), family="pow3")
    assert np.isinf(fit.sizes([0.95])[0, 0])
    assert np.isfinite(fit.sizes([0.85])[0, 0])
    flat = fit_curves(SIZES, np.full(len(SIZES), 0.6), family="pow3")
    assert np.isinf(flat.sizes([0.9])[0, 0])


def test_sizes_in_other_units_change_nothing():
    y = TRUE["pow3"](SIZES) + np.random.default_rng(1).normal(0, 0.02, len(SIZES))
    one, thousand = (fit_curves(SIZES * k, y).scores([512 * k]) for k in (1, 1000))
    np.testing.assert_allclose(one, thousand, atol=1e-9)


@pytest.mark.parametrize(
    ("sizes", "scores", "kwargs", "match"),
    [
        ([8, 16], [0.5, 0.6], {"family": "pow9"}, "family"),
        ([8, 16], [0.5, 0.6, 0.7], {}, "shapes"),
        ([8, 8], [0.5, 0.6], {}, "sizes"),
        ([0, 8], [0.5, 0.6], {}, "sizes"),
        ([8, 16], [0.5, np.nan], {}, "scores"),
        ([8, 16], [0.5, 0.6], {"weights": [0, 0]}, "weights"),
    ],
)
def test_bad_input_is_refused(sizes, scores, kwargs, match):
    with pytest.raises(ValueError, match=match):
        fit_curves(sizes, scores, **kwargs)
