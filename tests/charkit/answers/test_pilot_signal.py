import numpy as np
import pytest

from charkit.answers.pilot_signal import folded_heads, pilot_signal, stratified_folds


def rows(n, signal, *, seed=0, layers=3, width=8, classes=2):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    features = rng.normal(size=(layers, n, width))
    features[..., 0] += signal * labels
    return features.astype(np.float32), labels


def test_what_can_be_learnt_is_a_signal():
    features, labels = rows(120, 2.0)
    found = pilot_signal(features, features[:1] * 0 + 1e-3 * features[:1], labels, 2)
    assert found.signal
    assert found.random_encoder_gain is not None


def test_noise_is_rarely_a_signal():
    alarms = 0
    for seed in range(20):
        features, labels = rows(64, 0.0, seed=seed)
        alarms += pilot_signal(features, features[:1], labels, 2).signal
    assert alarms <= 2


def test_folds_spread_every_class():
    labels = np.repeat([0, 1, 2], [50, 20, 5])
    fold = stratified_folds(labels, seed=0)
    counts = np.array([np.bincount(fold[labels == c], minlength=5) for c in range(3)])
    assert (counts.max(1) - counts.min(1) <= 1).all()


def test_a_row_is_judged_by_heads_that_never_saw_it():
    features, labels = rows(60, 3.0)
    fold = stratified_folds(labels, seed=0)
    before = folded_heads(features, labels, 2, fold)
    turned = labels.copy()
    turned[fold == 2] = 1 - turned[fold == 2]
    after = folded_heads(features, turned, 2, fold)
    inside = fold == 2
    np.testing.assert_array_equal(before.correct[..., inside], 1 - after.correct[..., inside])


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0, 0, 0, 1], [0, 0, 1, 1]])
def test_the_smallest_samples_are_judged_without_fuss(labels):
    codes = np.array(labels)
    features = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    found = pilot_signal(features, features[:1], codes, int(codes.max()) + 1)
    assert not found.signal
