"""Transferability of all layers at once, against that of one."""

from __future__ import annotations

import numpy as np
import pytest

from charkit.heads.metrics.transferability import h_score, log_evidence, neighbour_accuracy
from charkit.heads.sample.sample_scores import sample_scores


@pytest.mark.parametrize(("n", "width", "n_classes"), [(40, 12, 2), (40, 12, 5), (30, 64, 3)])
def test_scores_are_those_of_each_layer(n: int, width: int, n_classes: int) -> None:
    rng = np.random.default_rng(n_classes)
    labels = rng.permutation(np.arange(n) % n_classes)
    rows = rng.standard_normal((3, n, width)) + np.eye(n_classes, width)[labels] * 2
    found = sample_scores(rows, labels)
    for layer, features in enumerate(rows):
        assert found.logme[layer] == pytest.approx(log_evidence(features, labels), abs=1e-5)
        score = h_score(features, labels) / (n_classes - 1)
        assert found.h_score[layer] == pytest.approx(score, abs=1e-9)
        near = neighbour_accuracy(features, labels)
        assert found.knn_accuracy[layer] == pytest.approx(near, abs=1e-12)


def test_too_few_rows_and_constant_layers_are_missing() -> None:
    rows = np.random.default_rng(0).standard_normal((2, 20, 4))
    few = sample_scores(rows[:, :2], np.array([0, 1]))
    assert np.isnan(few.logme).all()
    rows[1] = 1.0
    found = sample_scores(rows, np.arange(20) % 2)
    assert np.isfinite(found.knn_accuracy[0])
    assert np.isnan(found.knn_accuracy[1])
