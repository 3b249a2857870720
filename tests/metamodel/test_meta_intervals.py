import numpy as np
import pandas as pd
import pytest

from metamodel.forecaster import fit_band, fit_spread


def errors_of(seed=0, n_corpora=30, rows=60, corpus_scale=0.0):
    """Errors that shrink with the available labels; corpora may differ in how hard they are."""
    rng = np.random.default_rng(seed)
    n = n_corpora * rows
    corpora = np.repeat([f"c{c:02d}" for c in range(n_corpora)], rows)
    log_n0 = rng.uniform(4, 9, n)
    features = pd.DataFrame(
        {
            "log_n0": log_n0,
            "log_ratio": rng.uniform(0, 5, n),
            "chance": 0.5,
            "depth": rng.random(n),
            "loss": np.where(rng.random(n) < 0.1, np.nan, rng.random(n)),
        }
    )
    size = 0.3 / 2 ** (log_n0 / 2) * np.exp(rng.normal(0, corpus_scale, n_corpora)).repeat(rows)
    return features, np.full(n, 0.75), rng.laplace(0, size), corpora, size


def test_the_size_of_errors_is_learned():
    features, mean, errors, corpora, size = errors_of()
    spread = fit_spread(features, mean, errors, corpora)
    predicted = spread.predict(features, mean)
    assert predicted.mean() == pytest.approx(np.abs(errors).mean(), rel=0.05)
    assert np.corrcoef(np.log(predicted), np.log(size))[0, 1] > 0.98
    few, many = features["log_n0"] < 5, features["log_n0"] > 8
    assert predicted[few].mean() == pytest.approx(np.abs(errors[few]).mean(), rel=0.15)
    assert predicted[many].mean() == pytest.approx(np.abs(errors[many]).mean(), rel=0.4)


def test_no_error_is_expected_below_half_a_point():
    features, mean, errors, corpora, _ = errors_of()
    spread = fit_spread(features, mean, errors * 1e-6, corpora)
    assert (spread.predict(features, mean) == 0.005).all()


@pytest.mark.parametrize("corpus_scale", [0.0, 0.5])
def test_new_corpora_are_covered_as_promised(corpus_scale):
    features, mean, errors, corpora, _ = errors_of(corpus_scale=corpus_scale)
    band = fit_band(features, mean, errors, corpora)
    features, mean, errors, corpora, _ = errors_of(seed=1, n_corpora=100, corpus_scale=corpus_scale)
    inside = np.abs(errors) <= band.threshold * band.spread.predict(features, mean)
    by_corpus = pd.Series(inside).groupby(corpora).mean()
    assert 0.88 <= inside.mean() <= 0.97
    assert (by_corpus >= 0.9).mean() >= 0.75


def test_quantiles_look_like_the_errors():
    features, mean, errors, corpora, _ = errors_of()
    band = fit_band(features, mean, errors, corpora)
    assert len(band.quantiles) == 99
    assert (np.diff(band.quantiles) >= 0).all()
    assert band.quantiles[49] == pytest.approx(0, abs=0.05)
    # of a Laplace law of mean size 1: the quantile at 1 - p / 2 is -log p
    assert band.quantiles[94] == pytest.approx(-np.log(2 * 4.5 / 99), rel=0.15)
    low, high = band.quantiles[[0, -1]]
    assert low == pytest.approx(-high, rel=0.4)


def test_quantiles_count_every_corpus_alike():
    features, mean, errors, corpora, _ = errors_of(n_corpora=2, rows=400)
    errors = np.where(corpora == "c00", 0.1, -0.1)
    few = np.r_[np.arange(400), 400 + np.arange(20)]
    band = fit_band(features.iloc[few], mean[few], errors[few], corpora[few])
    assert (band.quantiles > 0).mean() == pytest.approx(0.5, abs=0.02)


def test_too_few_corpora_take_the_largest_error_seen():
    features, mean, errors, corpora, _ = errors_of(n_corpora=3)
    band = fit_band(features, mean, errors, corpora)
    assert np.isfinite(band.threshold)
    assert band.threshold > np.abs(band.quantiles).max() * 0.99
