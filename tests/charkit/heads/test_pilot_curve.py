"""The learning curve inside a sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from charkit.errors import UsageError
from charkit.heads.sample.sample_scores import circular_parts, part_scores
from charkit.heads.solver.softmax import fit_softmax


def _sample(n: int = 60, signal: float = 1.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 3)
    rows = signal * 2 * np.eye(3, 8)[labels] + rng.standard_normal((2, n, 8))
    return torch.from_numpy(rows), labels.astype(np.int64)


def test_parts_have_equal_classes_and_use_rows_evenly() -> None:
    labels = np.array([0] * 20 + [1] * 9 + [2] * 3)
    for size, n_parts in ((4, 8), (8, 8), (16, 6), (26, 5)):
        parts = circular_parts(labels, size, n_parts, seed=1)
        assert parts.shape == (n_parts, size)
        assert all(len(set(part)) == size for part in parts)
        assert (labels[parts] == labels[parts[0]]).all()
        used = np.bincount(parts.ravel(), minlength=len(labels))
        for code in range(3):
            inside = used[labels == code]
            assert inside.max() - inside.min() <= 1


def test_four_fifths_leave_out_every_row_once() -> None:
    labels = np.arange(50) % 2
    parts = circular_parts(labels, 40, 5, seed=0)
    assert (np.bincount(parts.ravel(), minlength=50) == 4).all()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_scores_are_those_of_explicit_fits(n_classes: int) -> None:
    rows, labels = _sample()
    labels = labels % n_classes
    parts = circular_parts(labels, 30, 4, seed=0)
    found = part_scores(rows, labels, parts, np.array([1.0, 3.0]))
    for layer, penalty in enumerate((1.0, 3.0)):
        right, loss = [], []
        for part in parts:
            out = np.setdiff1d(np.arange(60), part)
            head = fit_softmax(
                rows[layer : layer + 1, part],
                torch.from_numpy(labels[part]),
                n_classes,
                strengths=[penalty / 30],
                dtype=torch.float64,
            )
            predicted = head.probabilities(rows[layer : layer + 1, out])[0].numpy()
            right.append(predicted.argmax(1) == labels[out])
            loss.append(-np.log(predicted[np.arange(len(out)), labels[out]]))
        assert found.accuracy[layer] == pytest.approx(np.mean(right), abs=0.05)
        assert found.loss[layer] == pytest.approx(np.mean(loss), abs=0.01)


def test_no_signal_is_near_chance() -> None:
    rows, labels = _sample(n=600, signal=0)
    parts = circular_parts(labels, 300, 6, seed=0)
    found = part_scores(rows, labels, parts, np.array([3.0, 3.0]))
    assert np.abs(found.accuracy - 1 / 3).max() < 0.05


def test_a_rotation_changes_nothing() -> None:
    rows, labels = _sample()
    turn = torch.linalg.qr(torch.randn(8, 8, generator=torch.manual_seed(0)).double()).Q
    parts = circular_parts(labels, 15, 8, seed=0)
    penalty = np.array([1.0, 1.0])
    one, two = (part_scores(r, labels, parts, penalty) for r in (rows, 3 * rows @ turn + 1))
    np.testing.assert_allclose(one.loss, two.loss, atol=2e-3)


def test_what_cannot_be_judged_is_missing() -> None:
    rows, labels = _sample()
    parts = np.flatnonzero(labels == 0)[None, :5]
    assert np.isnan(part_scores(rows, labels, parts, np.ones(2)).accuracy).all()
    with pytest.raises(UsageError, match="out of range"):
        circular_parts(labels, 60, 2, seed=0)
