import itertools

import numpy as np
import pytest

from glue_pilot.evaluation.cases import cott_accuracy


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def made(n, scale, seed, n_classes=3):
    generator = np.random.default_rng(seed)
    truth = np.arange(n) % n_classes
    logits = scale * (np.eye(n_classes)[truth] + 0.6 * generator.normal(size=(n, n_classes)))
    return softmax(logits), truth


def test_on_the_known_rows_themselves_it_is_their_accuracy():
    p, truth = made(300, 3.0, 0)
    assert cott_accuracy(p, truth, p) == pytest.approx((p.argmax(1) == truth).mean())


def test_less_sure_rows_are_expected_to_be_wrong_more_often():
    p, truth = made(300, 3.0, 0)
    blurred, _ = made(300, 1.0, 1)
    assert cott_accuracy(p, truth, blurred) < cott_accuracy(p, truth, p) - 0.05


def test_costs_are_the_least_of_all_matches():
    p, truth = made(6, 2.0, 3, n_classes=2)
    own = 1 - p[np.arange(6), truth]  # a match in the right shares, not always the best
    best = min(
        sum(1 - p[i, c] for i, c in enumerate(match))
        for match in set(itertools.permutations([0, 0, 0, 1, 1, 1]))
    )
    from glue_pilot.evaluation.cases import _costs

    assert _costs(p, np.array([0.5, 0.5])).sum() == pytest.approx(best)
    assert best <= own.sum() + 1e-12


def test_heads_that_are_always_or_never_right():
    p, truth = made(50, 50.0, 0)
    right = p.argmax(1)
    assert cott_accuracy(p, right, p) == 1.0
    assert cott_accuracy(p, (right + 1) % 3, p) == 0.0
    assert truth.max() == 2
