import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from charkit.heads.probe import LinearProbe


@parametrize_with_checks([LinearProbe(), LinearProbe(strength=0.01)])
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_fixed_strength_equals_logistic_regression(n_classes):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 5)) + 4
    labels = np.array(["a", "b", "c"])[rng.integers(n_classes, size=60)]
    probe = LinearProbe(strength=0.02, tolerance=1e-12).fit(rows, labels)
    centred = rows - rows.mean(0)
    scaled = centred / np.sqrt((centred**2).sum(1).mean())
    peer = LogisticRegression(C=1 / (60 * 0.02), tol=1e-10, max_iter=5000).fit(scaled, labels)
    np.testing.assert_allclose(
        probe.predict_proba(rows), peer.predict_proba(scaled), rtol=0, atol=1e-5
    )
    assert (probe.predict(rows) == peer.predict(scaled)).all()
    assert probe.strength_ == 0.02
    assert probe.converged_


def test_grid_is_tried_and_reported():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(80, 6))
    labels = (rows[:, 0] + 0.5 * rng.normal(size=80) > 0).astype(int)
    probe = LinearProbe(strengths=(1.0, 0.1, 0.01, 0.001)).fit(rows, labels)
    assert probe.scores_.shape == (4,)
    assert probe.strength_ == (1.0, 0.1, 0.01, 0.001)[np.nanargmin(probe.scores_)]
