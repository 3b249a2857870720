import numpy as np
import pytest

from charkit.answers.pilot.signal import PENALTIES, _left_out_operators, pilot_signal


def rows(n, signal, *, seed=0, layers=3, width=8, classes=2):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    features = rng.normal(size=(layers, n, width))
    features[..., 0] += signal * labels
    return features.astype(np.float32), labels


def test_what_can_be_learnt_is_a_signal():
    found = pilot_signal(*rows(120, 2.0))
    assert found.signal
    assert found.reason.startswith("signal: heads on layer")


def test_noise_is_rarely_a_signal():
    alarms = sum(pilot_signal(*rows(64, 0.0, seed=seed)).signal for seed in range(100))
    assert alarms <= 5  # of 100 at a rate of 0.01: 999 times in 1,000 no more


def test_the_same_sample_gets_the_same_answer():
    features, labels = rows(80, 0.5)
    assert pilot_signal(features, labels) == pilot_signal(features, labels)
    assert pilot_signal(features, labels + 7) == pilot_signal(features, labels)


@pytest.mark.parametrize("place", range(len(PENALTIES)))
def test_a_row_is_judged_by_a_head_that_never_saw_it(place):
    features, labels = rows(30, 1.0, layers=1)
    x = features[0].astype(np.float64)
    x -= x.mean(0)
    strength = PENALTIES[place] * np.trace(x @ x.T) / len(x)
    target = labels - labels.mean()
    found = _left_out_operators(features)[0, place].astype(np.float64) @ target
    for i in range(len(x)):
        # ridge with a free intercept on all rows but i, solved outright
        rest = np.arange(len(x)) != i
        design = np.column_stack([x[rest], np.ones(rest.sum())])
        gram = design.T @ design + strength * np.diag([1.0] * x.shape[1] + [0.0])
        weights = np.linalg.solve(gram, design.T @ target[rest])
        residual = target[i] - np.append(x[i], 1.0) @ weights
        assert found[i] == pytest.approx(residual, abs=1e-4)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0]])
def test_the_smallest_samples_are_judged_without_fuss(labels):
    features = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    assert not pilot_signal(features, np.array(labels)).signal
