import math

import numpy as np

from charkit.heads.metrics.transferability import (
    h_score,
    log_evidence,
    neighbour_accuracy,
    rival_scores,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 8))
Y = (X[:, 0] > 0).astype(int)


def test_classes_have_all_three():
    found = rival_scores(X.astype(np.float32), Y, kind="classification")
    x = X.astype(np.float32).astype(np.float64)
    assert found.logme == log_evidence(x, Y)
    assert found.h_score == h_score(x, Y)
    assert found.knn == neighbour_accuracy(x, Y)


def test_targets_have_only_evidence():
    found = rival_scores(X, X[:, 0], kind="regression")
    assert math.isfinite(found.logme)
    assert math.isnan(found.h_score)
    assert math.isnan(found.knn)


def test_a_sample_that_tells_nothing_has_none():
    found = rival_scores(X, np.zeros(60, int), kind="classification")
    assert all(math.isnan(v) for v in (found.logme, found.h_score, found.knn))
