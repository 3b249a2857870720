import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import QuantileRegressor
from sklearn.linear_model import Ridge as SklearnRidge

from metamodel.ridge import fit_local_ridge, fit_ridge, ridge_from


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def sample(rng, n=200):
    features = pd.DataFrame(rng.uniform(-1, 1, (n, 3)) * [1, 5, 0.2], columns=list("abc"))
    target = features.to_numpy() @ [0.3, -0.1, 2.0] + 0.4 + rng.normal(0, 0.1, n)
    return features, target, rng.uniform(0.2, 3, n)


@pytest.mark.parametrize("penalty", [1e-9, 10.0, 1000.0])
def test_it_is_ridge_regression_of_standardised_features(rng, penalty):
    features, target, weights = sample(rng)
    share = weights / weights.sum()
    mean = share @ features.to_numpy()
    scale = np.sqrt(share @ (features.to_numpy() - mean) ** 2)
    oracle = SklearnRidge(alpha=penalty).fit(
        (features - mean) / scale, target, sample_weight=weights / weights.mean()
    )
    ridge = fit_ridge(features, target, weights, penalty=penalty)
    assert ridge.weights == pytest.approx(oracle.coef_, abs=1e-10)
    assert ridge.intercept == pytest.approx(oracle.intercept_, abs=1e-10)
    assert ridge.predict(features) == pytest.approx(oracle.predict((features - mean) / scale))


def test_weights_mean_how_often_a_row_is_there(rng):
    features, target, _ = sample(rng, 40)
    counts = rng.integers(1, 4, 40)
    rows = np.repeat(np.arange(40), counts)
    weighed = fit_ridge(features, target, counts.astype(float), penalty=4.0)
    # a penalty is counted in rows: as large beside more rows, it is larger itself
    ones = np.ones(len(rows))
    repeated = fit_ridge(features.iloc[rows], target[rows], ones, penalty=4.0 * len(rows) / 40)
    assert repeated.mean == pytest.approx(weighed.mean)
    assert repeated.predict(features) == pytest.approx(weighed.predict(features))


def test_the_unknown_counts_as_average(rng):
    features, target, weights = sample(rng)
    ridge = fit_ridge(features, target, weights, penalty=1.0)
    nothing = pd.DataFrame(np.full((1, 3), np.nan), columns=list("abc"))
    assert ridge.predict(nothing)[0] == pytest.approx(ridge.intercept)
    average = pd.DataFrame([ridge.mean], columns=list("abc"))
    assert ridge.predict(average)[0] == pytest.approx(ridge.intercept)
    gaps = features.mask(rng.random(features.shape) < 0.2)
    kept = fit_ridge(gaps, target, weights, penalty=1.0)
    filled = gaps.fillna(dict(zip("abc", kept.mean, strict=True)))
    assert kept.predict(gaps) == pytest.approx(kept.predict(filled))


def test_a_constant_or_unknown_column_does_no_harm(rng):
    features, target, weights = sample(rng)
    more = features.assign(same=3.0, never=np.nan)
    predicted = fit_ridge(more, target, weights, penalty=1.0).predict(more)
    plain = fit_ridge(features, target, weights, penalty=1.0).predict(features)
    assert predicted == pytest.approx(plain)


def test_far_values_move_a_prediction_no_further_than_four_deviations(rng):
    features, target, weights = sample(rng)
    ridge = fit_ridge(features, target, weights, penalty=1.0)
    edge = pd.DataFrame([ridge.mean + ridge.scale * [4, 0, 0]], columns=list("abc"))
    far = edge.assign(a=1e9)
    assert ridge.predict(far) == pytest.approx(ridge.predict(edge))


def test_weighing_rows_again_comes_near_the_least_absolute_error(rng):
    features, target, _ = sample(rng)
    target[:40] += np.where(features["a"][:40] > 0, 3.0, -3.0)  # outliers that tilt
    design = (features - features.mean()) / features.std(ddof=0)
    oracle = QuantileRegressor(quantile=0.5, alpha=0.0).fit(design, target)
    best = np.abs(oracle.predict(design) - target).mean()

    def error(rounds):
        ridge = fit_ridge(features, target, np.ones(200), penalty=1e-6, rounds=rounds)
        return np.abs(ridge.predict(features) - target).mean()

    assert error(30) == pytest.approx(best, rel=0.03)
    assert error(30) <= error(2) <= error(0)
    assert error(0) > 1.2 * best


def test_a_feature_may_count_more_with_more_labels(rng):
    table = pd.DataFrame({"a": rng.normal(size=500), "log_ratio": rng.uniform(0, 5, 500)})
    target = 0.1 * table["a"] * table["log_ratio"]
    ridge = fit_ridge(table, target.to_numpy(), np.ones(500), penalty=1e-6)
    error = np.abs(ridge.predict(table) - target)
    inside = (np.abs(table["a"] - table["a"].mean()) < 3.9 * table["a"].std()).to_numpy()
    assert error[inside].max() < 0.03 * target.std()


def test_parts_lead_from_the_intercept_to_the_prediction(rng):
    table = pd.DataFrame(rng.normal(size=(50, 3)), columns=["a", "log_n0", "log_ratio"])
    ridge = fit_ridge(table, rng.normal(size=50), np.ones(50), penalty=1.0)
    parts = ridge.parts(table)
    assert parts.shape == (50, 3)
    assert parts.sum(1) + ridge.intercept == pytest.approx(ridge.predict(table), abs=1e-12)


def test_json_gives_the_same_regression_to_the_bit(rng):
    features, target, weights = sample(rng)
    ridge = fit_ridge(features, target, weights, penalty=1.0)
    again = ridge_from(json.loads(json.dumps(ridge.to_dict())))
    assert (again.predict(features) == ridge.predict(features)).all()
    with pytest.raises(KeyError, match="scale"):
        ridge_from({name: v for name, v in ridge.to_dict().items() if name != "scale"})


@pytest.fixture
def sized(rng):
    """What a feature is worth falls with the size of the sample."""
    sizes = rng.choice([4.0, 5.0, 6.0, 8.0], 1200)
    a = rng.normal(size=1200)
    target = a * np.select([sizes == 4, sizes == 5, sizes == 6], [0.4, 0.0, -0.4], 0.1)
    return pd.DataFrame({"a": a, "log_n0": sizes}), target + rng.normal(0, 0.02, 1200)


def test_one_size_is_one_robust_regression(rng):
    features, target, weights = sample(rng)
    one = features.assign(log_n0=6.0)
    local = fit_local_ridge(one, target, weights, penalty=5.0)
    single = fit_ridge(one, target, weights, penalty=5.0, rounds=2)
    assert len(local.ridges) == 1
    assert (local.predict(one) == single.predict(one)).all()
    unsized = fit_local_ridge(features, target, weights, penalty=5.0)
    assert unsized.predict(features) == pytest.approx(local.predict(one))


def test_each_size_has_its_regression_and_those_between_lie_between(sized):
    table, target = sized
    local = fit_local_ridge(table, target, np.ones(len(table)), penalty=1.0)
    assert local.knots == (4.0, 5.0, 6.0, 8.0)
    rows = table.head(20)
    for knot, ridge in zip(local.knots, local.ridges, strict=True):
        at = rows.assign(log_n0=knot)
        assert local.predict(at) == pytest.approx(ridge.predict(at))
    at = rows.assign(log_n0=6.5)
    both = 0.75 * local.ridges[2].predict(at) + 0.25 * local.ridges[3].predict(at)
    assert local.predict(at) == pytest.approx(both)
    for out, end in ((1.0, 0), (20.0, -1), (np.nan, 0)):
        at = rows.assign(log_n0=out)
        assert local.predict(at) == pytest.approx(local.ridges[end].predict(at))


def test_local_regressions_follow_what_a_single_one_misses(sized):
    table, target = sized
    local = fit_local_ridge(table, target, np.ones(len(table)), penalty=1.0)
    single = fit_ridge(table, target, np.ones(len(table)), penalty=1.0, rounds=2)
    error = [np.abs(model.predict(table) - target).mean() for model in (local, single)]
    assert error[0] < 0.8 * error[1]


def test_local_parts_and_levels_make_the_prediction(sized):
    table, target = sized
    local = fit_local_ridge(table, target, np.ones(len(table)), penalty=1.0)
    rows = table.assign(log_n0=np.linspace(3, 9, len(table)))
    predicted = local.parts(rows).sum(1) + local.levels(rows)
    assert predicted == pytest.approx(local.predict(rows), abs=1e-12)
