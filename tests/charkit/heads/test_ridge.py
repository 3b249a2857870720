import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from charkit.errors import DataError, UsageError
from charkit.heads.solver.ridge import fit_ridge


def sample(n, width, *, layers=2, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(layers, n, width)) + 3
    return rows, rows[0, :, 0] + rng.normal(size=n)


def scaled(rows, by=None):
    by = rows if by is None else by
    centred = by - by.mean(0)
    return (rows - by.mean(0)) / np.sqrt((centred**2).sum(1).mean())


@pytest.mark.parametrize(("n", "width"), [(15, 40), (80, 12), (10, 10)])
@pytest.mark.parametrize("strength", [1.0, 1e-3])
def test_equals_scikit_learn(n, width, strength):
    rows, targets = sample(n, width)
    heads = fit_ridge(rows, targets, strengths=[strength], dtype=torch.float64)
    for b in range(2):
        peer = Ridge(alpha=n * strength).fit(scaled(rows[b]), targets)
        np.testing.assert_allclose(heads.predict(rows)[b], peer.predict(scaled(rows[b])))
    assert float(heads.gradient_norm.max()) < 1e-10


@pytest.mark.parametrize(("n", "width"), [(12, 20), (40, 6)])
def test_scores_are_exact_leave_one_out_errors(n, width):
    rows, targets = sample(n, width, layers=1)
    grid = (0.1, 0.01)
    heads = fit_ridge(rows, targets, strengths=grid, dtype=torch.float64)
    features = scaled(rows[0])
    for s, strength in enumerate(grid):
        errors = []
        for i in range(n):
            kept = np.arange(n) != i
            # the same total penalty, the same centre and scale of the features
            peer = Ridge(alpha=n * strength).fit(features[kept], targets[kept])
            errors.append(float(peer.predict(features[i : i + 1])[0] - targets[i]) ** 2)
        assert float(heads.scores[0, s]) == pytest.approx(np.mean(errors), rel=1e-8)
    assert float(heads.strength) == grid[int(heads.scores[0].argmin())]


def test_float32_is_close_and_deterministic():
    rows, targets = sample(100, 30)
    exact = fit_ridge(rows, targets, dtype=torch.float64)
    first, second = (fit_ridge(rows, targets) for _ in range(2))
    assert torch.equal(first.weights, second.weights)
    torch.testing.assert_close(first.predict(rows), exact.predict(rows).float(), atol=1e-3, rtol=0)


def test_constant_targets_and_equal_rows():
    rows, _ = sample(20, 5)
    heads = fit_ridge(rows, np.full(20, 2.5))
    torch.testing.assert_close(heads.predict(rows), torch.full((2, 20), 2.5))
    same = fit_ridge(np.ones((1, 20, 5)), np.arange(20.0))
    torch.testing.assert_close(same.predict(np.ones((1, 1, 5))), torch.full((1, 1), 9.5))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"targets": np.array([0, np.nan, 1])}, DataError, "row 1 is not finite"),
        ({"targets": np.zeros(4)}, UsageError, "do not fit"),
        ({"features": np.full((1, 3, 2), np.inf)}, DataError, "not finite"),
        ({"features": np.zeros((3, 2))}, UsageError, "no usable shape"),
        ({"strengths": [-1.0]}, UsageError, "strengths"),
    ],
)
def test_absurd_inputs(change, error, words):
    given = {"features": np.eye(3)[None, :, :2], "targets": np.arange(3.0)} | change
    with pytest.raises(error, match=words):
        fit_ridge(**given)


@pytest.mark.parametrize(("n", "width"), [(12, 20), (60, 6)])
def test_rotating_shifting_or_scaling_the_features_changes_nothing(n, width):
    rows, targets = sample(n, width)
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(width, width)))[0]
    moved = 40 * rows @ turn - 7
    heads = fit_ridge(rows, targets, dtype=torch.float64)
    other = fit_ridge(moved, targets, dtype=torch.float64)
    torch.testing.assert_close(other.strength, heads.strength)
    torch.testing.assert_close(other.scores, heads.scores, rtol=1e-7, atol=0)
    torch.testing.assert_close(other.predict(moved), heads.predict(rows), rtol=1e-8, atol=1e-8)


def test_a_layer_does_not_depend_on_the_others_of_its_batch():
    rows, targets = sample(30, 8, layers=3)
    together = fit_ridge(rows, targets, dtype=torch.float64)
    for b in range(3):
        alone = fit_ridge(rows[b : b + 1], targets, dtype=torch.float64)
        torch.testing.assert_close(alone.weights[0], together.weights[b], rtol=1e-9, atol=1e-12)
        assert float(alone.strength[0]) == float(together.strength[b])


def test_two_rows_are_enough():
    heads = fit_ridge(np.array([[[0.0, 1.0], [1.0, 0.0]]]), np.array([1.0, 3.0]), strengths=[0.1])
    # centred and scaled rows lie at -1 and 1 of one axis: w = 1 / (1 + 0.1)
    torch.testing.assert_close(
        heads.predict(np.array([[[0.0, 1.0], [1.0, 0.0]]])),
        torch.tensor([[2 - 1 / 1.1, 2 + 1 / 1.1]], dtype=torch.float32),
    )
