"""Accuracy predicted from the spectral learning curve."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from spectral_curve import ridge_risk

from charkit.heads.sample.alignment import lead_accuracy, predict_accuracy, ridge_error_curve


def test_the_least_error_is_that_of_the_best_penalty() -> None:
    values = np.arange(1, 41.0) ** -1.3
    shares = values / values.sum() * 0.6
    sizes = np.array([10, 40, 160, 640])
    found = ridge_error_curve(values[None], shares[None], np.array([0.4]), sizes)[0]
    risks = [
        ridge_risk(values, shares, 0.4, sizes, penalty=d).error for d in np.geomspace(1e-4, 1e4, 90)
    ]
    np.testing.assert_allclose(found, np.min(risks, 0), rtol=0.01)
    assert (np.diff(found) < 0).all()
    assert found[-1] > 0.4


def test_two_gaussian_classes_are_told_right() -> None:
    leads = np.array([0.0, 0.5, 1.0, 3.0])
    np.testing.assert_allclose(lead_accuracy(leads, 0.5), norm.cdf(leads / 2**0.5), atol=1e-6)
    assert lead_accuracy(0.0, 0.7) == pytest.approx(0.7, abs=1e-3)
    assert lead_accuracy(0.0, 0.01) == pytest.approx(0.01, abs=1e-3)
    assert lead_accuracy(9.0, 0.01) == pytest.approx(1.0, abs=1e-3)


def test_the_sample_sets_the_level_and_the_theory_the_shape() -> None:
    errors = np.array([[0.9, 0.8]])
    explained = 1 - errors
    theory = lead_accuracy(np.sqrt(2 * explained / (1 - explained))[0], 0.5)
    again = predict_accuracy(errors, theory[None], np.ones(2), errors, majority=0.5)
    np.testing.assert_allclose(again[0], theory, atol=1e-3)
    more = predict_accuracy(
        errors, theory[None] + 0.05, np.ones(2), np.array([[0.8, 0.5]]), majority=0.5
    )
    assert more[0, 0] > theory[1]
    assert more[0, 1] > more[0, 0]
    part = predict_accuracy(errors, np.array([[np.nan, 0.7]]), np.ones(2), errors, majority=0.5)
    assert part[0, 1] == pytest.approx(0.7, abs=1e-3)
    none = predict_accuracy(errors, np.full((1, 2), np.nan), np.ones(2), errors, majority=0.5)
    assert np.isnan(none).all()
