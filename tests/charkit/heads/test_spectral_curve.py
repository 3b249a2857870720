import numpy as np
import pytest
from spectral_curve import ridge_risk

from charkit.errors import UsageError

VALUES = 1.0 / np.arange(1, 41) ** 1.2
SHARES = 2.0 * VALUES**1.1 / (VALUES**1.1).sum()


def trained(n, penalty, noise, seed, values=VALUES, shares=SHARES):
    """Return the exact error on new rows of one ridge head on Gaussian features."""
    rng = np.random.default_rng(seed)
    whitened = rng.normal(size=(n, len(values)))
    true = np.sqrt(shares) * rng.choice([-1, 1], len(values))
    y = whitened @ true + np.sqrt(noise) * rng.normal(size=n)
    x = whitened * np.sqrt(values)
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(len(values)), x.T @ y)
    return ((true - np.sqrt(values) * weights) ** 2).sum() + noise


@pytest.mark.parametrize("n", [20, 60, 400])
@pytest.mark.parametrize("penalty", [0.05, 1.0])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_theory_meets_the_mean_of_trained_heads(n, penalty, noise):
    found = [trained(n, penalty, noise, seed) for seed in range(300)]
    predicted = ridge_risk(VALUES, SHARES, noise, [n], penalty=penalty).error[0]
    slack = 4 * np.std(found) / np.sqrt(len(found)) + 0.04 * np.mean(found)
    assert predicted == pytest.approx(np.mean(found), abs=slack)


def test_what_is_learned_adds_up_to_the_rows():
    """Conservation of learnability: the shares learned sum to n less d / k."""
    for penalty in (1e-6, 0.3):
        risk = ridge_risk(VALUES, SHARES, 0.1, [15.0, 30.0], penalty=penalty)
        level = VALUES[0] * (1 / risk.learned[:, 0] - 1)
        np.testing.assert_allclose(risk.learned.sum(1) + penalty / level, [15, 30], rtol=1e-9)


def test_limits():
    risk = ridge_risk(VALUES, SHARES, 0.2, [1e-6, 1e7], penalty=1.0)
    assert risk.error[0] == pytest.approx(SHARES.sum() + 0.2, rel=1e-4)
    assert risk.error[1] == pytest.approx(0.2, rel=1e-3)


def test_direction_first_learned_is_the_largest():
    learned = ridge_risk(VALUES, SHARES, 0.2, [10], penalty=0.1).learned[0]
    assert (np.diff(learned) < 0).all()


def test_units_of_features_and_target_do_not_matter():
    one = ridge_risk(VALUES, SHARES, 0.2, [8, 64], penalty=0.1)
    other = ridge_risk(1e6 * VALUES, 9 * SHARES, 9 * 0.2, [8, 64], penalty=0.1e6)
    np.testing.assert_allclose(other.error, 9 * one.error, rtol=1e-9)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"eigenvalues": [0.0, 1.0]},
        {"shares": [1.0]},
        {"shares": [-1.0, 1.0]},
        {"noise": -1},
        {"sizes": [0]},
        {"penalty": 0},
    ],
)
def test_bad_input_is_refused(kwargs):
    given = {"eigenvalues": [2.0, 1.0], "shares": [1.0, 1.0], "noise": 0.1, "sizes": [4]}
    given |= {"penalty": 0.1} | kwargs
    with pytest.raises(UsageError):
        ridge_risk(
            given["eigenvalues"],
            given["shares"],
            given["noise"],
            given["sizes"],
            penalty=given["penalty"],
        )
