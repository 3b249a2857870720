"""MODEL2VEC recovers planted structure, and learns nothing where there is nothing to learn."""

import numpy as np
import pytest
import torch

from charkit.errors import DataError
from glue_pilot.experiments.parts.experts_model2vec import (
    Known,
    fit_models,
    left_out_distances,
    soft_labels,
)


def _unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _planted(seed, *, shift, n_tasks=24, n_models=5, size=300, rank=3, noise=0.0):
    """Tasks on a sphere; a model's error is its distance to F_j + shift * b_j."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(size, rank)))[0].T
    tasks = _unit(rng.normal(size=(n_tasks, rank)) @ axes)
    models = _unit(rng.normal(size=(n_models, rank)) @ axes)
    true = models + shift * _unit(rng.normal(size=(n_models, rank)) @ axes)
    errors = 0.2 + 0.1 * ((tasks[:, None] - true) ** 2).sum(2)
    errors += noise * rng.normal(size=errors.shape)
    names = tuple(f"c{k}" for k in range(n_tasks))
    return Known(tasks, models, errors, np.ones(errors.shape, bool), names)


def _excess(known, distances):
    picked = known.errors[np.arange(len(distances)), distances.argmin(1)]
    return float((picked - known.errors.min(1)).mean())


def _nearest(known):
    return ((known.tasks[:, None] - known.models) ** 2).sum(2)


def test_planted_shifts_are_recovered_on_tasks_left_out():
    known = _planted(0, shift=1.0)
    learned, _ = left_out_distances(known, known.tasks, alpha=20.0)
    assert _excess(known, learned) < 0.35 * _excess(known, _nearest(known))


def test_without_shifts_nearest_is_kept():
    known = _planted(1, shift=0.0)
    learned, _ = left_out_distances(known, known.tasks, alpha=20.0)
    assert _excess(known, _nearest(known)) == 0
    assert _excess(known, learned) < 0.01


def test_noise_chooses_a_strong_penalty_and_stays_near_the_start():
    known = _planted(2, shift=0.0, noise=5.0, n_tasks=15)
    learned, penalty = left_out_distances(known, known.tasks, alpha=20.0)
    assert np.median(penalty) >= 0.3
    assert np.corrcoef(learned.ravel(), _nearest(known).ravel())[0, 1] > 0.5


def test_the_task_left_out_has_no_part():
    known = _planted(3, shift=1.0, n_tasks=10)
    changed = known.errors.copy()
    changed[4] = changed[4][::-1]
    other = Known(known.tasks, known.models, changed, known.allowed, known.corpora)
    one, two = (left_out_distances(k, known.tasks, alpha=20.0)[0] for k in (known, other))
    np.testing.assert_allclose(one[4], two[4], rtol=1e-10)
    assert np.abs(one[5] - two[5]).max() > 1e-6


def test_tasks_of_a_corpus_are_left_out_together():
    known = _planted(3, shift=1.0, n_tasks=10)
    names = ("a", "a", *known.corpora[2:])
    changed = known.errors.copy()
    changed[1] = changed[1][::-1]
    given = [
        Known(known.tasks, known.models, e, known.allowed, names) for e in (known.errors, changed)
    ]
    one, two = (left_out_distances(k, known.tasks, alpha=20.0)[0] for k in given)
    np.testing.assert_allclose(one[0], two[0], rtol=1e-10)


def test_fits_at_once_equal_fits_alone():
    known = _planted(4, shift=1.0, n_tasks=8, size=5)
    points = [torch.from_numpy(x) for x in (known.tasks, known.models)]
    wanted = torch.from_numpy(soft_labels(known.errors, known.allowed, alpha=20.0))
    allowed = torch.from_numpy(known.allowed)
    weights = torch.ones((2, 8), dtype=torch.bool)
    weights[1, 0] = False
    penalty = torch.tensor([0.1, 1.0], dtype=torch.float64)
    shifted, gamma = fit_models(*points, wanted, allowed, weights=weights, penalty=penalty)
    for k in range(2):
        shifted_alone, gamma_alone = fit_models(
            *points, wanted, allowed, weights=weights[k : k + 1], penalty=penalty[k : k + 1]
        )
        torch.testing.assert_close(shifted[k], shifted_alone[0])
        torch.testing.assert_close(gamma[k], gamma_alone[0])


def test_soft_labels_are_the_paper_s():
    errors, allowed = np.array([[0.1, 0.2, 0.3], [0.5, 0.5, 0.5]]), np.ones((2, 3), bool)
    found = soft_labels(errors, allowed, alpha=2.0)
    z = (errors[0] - 0.2) / errors[0].std()
    np.testing.assert_allclose(found[0], np.exp(-2 * z) / np.exp(-2 * z).sum())
    np.testing.assert_allclose(found[1], 1 / 3)
    assert soft_labels(errors, allowed, alpha=200.0)[0, 0] == pytest.approx(1)


def test_a_model_that_is_not_allowed_has_no_label():
    allowed = np.array([[False, True, True]])
    found = soft_labels(np.array([[0.0, 0.2, 0.3]]), allowed, alpha=20.0)
    assert found[0, 0] == 0
    assert found.sum() == pytest.approx(1)


def test_shapes_and_too_few_corpora_are_refused():
    with pytest.raises(DataError, match="do not fit"):
        Known(np.ones((3, 2)), np.ones((2, 2)), np.ones((3, 3)), np.ones((3, 3), bool), ("a",) * 3)
    with pytest.raises(DataError, match="too few corpora"):
        Known(np.ones((3, 2)), np.ones((2, 2)), np.ones((3, 2)), np.ones((3, 2), bool), ("a",) * 3)
