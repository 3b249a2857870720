"""Heads of a whole sample and their leave-one-out predictions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from charkit.errors import DataError, UsageError
from charkit.heads.sample.out_of_fold import fit_sample_heads, shuffled_accuracy
from charkit.heads.solver.softmax import fit_softmax


def _sample(n: int = 60, n_classes: int = 3, width: int = 10, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    centres = rng.standard_normal((n_classes, width))
    rows = centres[labels] + 1.5 * rng.standard_normal((2, n, width))
    return torch.from_numpy(rows), torch.from_numpy(labels)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_heads_are_those_of_a_sweep(n_classes: int) -> None:
    rows, labels = _sample(n_classes=n_classes)
    heads = fit_sample_heads(rows, labels, n_classes)
    other = fit_softmax(rows, labels, n_classes, dtype=torch.float64, tolerance=1e-6)
    np.testing.assert_allclose(heads.penalty, other.strength.numpy() * 60)
    np.testing.assert_allclose(
        heads.probabilities(rows), other.probabilities(rows).numpy(), atol=0.03
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_left_out_predictions_are_near_explicit_refits(n_classes: int) -> None:
    rows, labels = _sample(n_classes=n_classes)
    heads = fit_sample_heads(rows, labels, n_classes, penalties=[1.0])
    refits = np.zeros((2, 60, n_classes))
    for row in range(60):
        kept = torch.arange(60) != row
        one = fit_softmax(
            rows[:, kept], labels[kept], n_classes, strengths=[1 / 60], dtype=torch.float64
        )
        refits[:, row] = one.probabilities(rows[:, row : row + 1]).numpy()[:, 0]
    assert np.abs(heads.left_out - refits).mean() < 0.02
    agree = heads.left_out.argmax(2) == refits.argmax(2)
    assert agree.mean() > 0.95


def test_a_class_without_rows_has_no_probability() -> None:
    rows, labels = _sample()
    heads = fit_sample_heads(rows, labels, 5)
    assert heads.left_out.shape == (2, 60, 5)
    assert (heads.left_out[..., 3:] == 0).all()
    assert (heads.probabilities(rows)[..., 3:] == 0).all()
    np.testing.assert_allclose(heads.left_out.sum(2), 1)


def test_rows_alone_in_their_class_do_not_count() -> None:
    rows, labels = _sample(n=7)
    assert fit_sample_heads(rows, labels, 3).counted.tolist() == [True] * 7
    labels[6] = 3
    assert fit_sample_heads(rows, labels, 4).counted.tolist() == [True] * 6 + [False]


def test_shuffled_labels_are_near_chance_and_repeat() -> None:
    rows, labels = _sample(n=300)
    heads = fit_sample_heads(rows, labels, 3)
    found = shuffled_accuracy(rows, labels, heads.penalty, seed=4)
    np.testing.assert_array_equal(found, shuffled_accuracy(rows, labels, heads.penalty, seed=4))
    assert np.abs(found - 1 / 3).max() < 0.12


def test_bad_input_is_refused() -> None:
    rows, labels = _sample()
    with pytest.raises(DataError, match="finite"):
        fit_sample_heads(rows * torch.nan, labels, 3)
    with pytest.raises(DataError, match="range"):
        fit_sample_heads(rows, labels, 2)
    with pytest.raises(UsageError, match="do not fit"):
        fit_sample_heads(rows, labels[:-1], 3)
