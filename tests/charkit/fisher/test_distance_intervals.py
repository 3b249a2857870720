"""Corrected distances and intervals against populations whose distances are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from distance_samples import SIZE, embedding_of_rows, gamma_rows, means

from charkit.errors import UnknownNameError, UsageError
from charkit.fisher import DISTANCES, corrected_pairwise, distance, distance_interval, pairwise
from charkit.fisher.distances.intervals import UNSTEADY

STEADY = [m for m in DISTANCES if m not in UNSTEADY]
TRUE = [
    embedding_of_rows(np.stack([m, m]), name)
    for m, name in zip(means(), "abcdefghijkl", strict=True)
]


def sample(k, rng, n=80, name=None):
    return embedding_of_rows(gamma_rows(TRUE[k].values, n, rng), name or f"{k}")


@pytest.mark.parametrize("metric", STEADY)
def test_correction_takes_off_most_of_the_excess(metric):
    rng = np.random.default_rng(0)
    true = distance(TRUE[0], TRUE[1], metric=metric, reference=TRUE)
    pairs = [(sample(0, rng), sample(1, rng)) for _ in range(60)]
    raw = [distance(*p, metric=metric, reference=TRUE) for p in pairs]
    corrected = [
        corrected_pairwise(p, metric=metric, reference=TRUE).to_numpy()[0, 1] for p in pairs
    ]
    noise = 3 * np.std(corrected) / len(pairs) ** 0.5
    assert abs(np.mean(corrected) - true) < 0.25 * abs(np.mean(raw) - true) + noise


@pytest.mark.parametrize("metric", STEADY)
def test_samples_of_one_task_come_out_near_nought(metric):
    rng = np.random.default_rng(1)
    true = distance(TRUE[0], TRUE[0], metric=metric, reference=TRUE)
    raw, corrected = [], []
    for _ in range(20):
        pair = [sample(0, rng), sample(0, rng)]
        raw.append(distance(*pair, metric=metric, reference=TRUE))
        corrected.append(corrected_pairwise(pair, metric=metric, reference=TRUE).to_numpy()[0, 1])
    assert abs(np.mean(corrected) - true) < 0.35 * abs(np.mean(raw) - true)


@pytest.mark.parametrize("metric", ["cosine", "log_ratio", "aitchison", "plain_cosine", "jsd"])
@pytest.mark.parametrize("other", [0, 1])
def test_intervals_hold_as_often_as_they_say(metric, other):
    rng = np.random.default_rng(2)
    true = distance(TRUE[0], TRUE[other], metric=metric, reference=TRUE)
    held = 0
    for seed in range(150):
        found = distance_interval(
            sample(0, rng),
            sample(other, rng),
            metric=metric,
            n_resamples=100,
            seed=seed,
            reference=TRUE,
        )
        held += found.low <= true <= found.high
        assert found.low <= found.corrected <= found.high
    # from 80 heavy-tailed texts an interval of 90 % may hold less often, but not by far
    assert held / 150 >= 0.8


def test_log_ratio_around_few_tasks_has_no_interval():
    rng = np.random.default_rng(4)
    pair = [sample(0, rng), sample(1, rng)]
    with pytest.raises(UsageError, match="reference is too small"):
        distance_interval(*pair, metric="log_ratio", reference=TRUE[:5])


def test_squared_aitchison_is_nearly_a_quadratic_form():
    """With little noise the excess is the sum of squared errors of the centred logarithms."""
    rng = np.random.default_rng(3)
    one, other = sample(0, rng, n=4000), sample(1, rng, n=4000)
    expected = 0.0
    for e in (one, other):
        relative = e.rows / e.values
        relative = relative - relative.mean(1, keepdims=True)
        expected += (relative.var(0, ddof=1) / e.n_samples).mean()
    raw = distance(one, other, metric="aitchison") ** 2
    corrected = corrected_pairwise([one, other], metric="aitchison").iloc[0, 1] ** 2
    assert raw - corrected == pytest.approx(expected, rel=0.35)


def test_the_same_texts_are_drawn_together():
    rng = np.random.default_rng(4)
    rows = gamma_rows(TRUE[0].values, 100, rng)
    one = replace(embedding_of_rows(rows, "a"), text_fingerprint="t")
    other = replace(embedding_of_rows(rows * np.linspace(1, 2, SIZE), "b"), text_fingerprint="t")
    together = distance_interval(one, other)
    apart = distance_interval(one, replace(other, text_fingerprint="u"))
    assert together.same_texts
    assert not apart.same_texts
    assert together.distance == apart.distance
    assert together.distance == pytest.approx(distance(one, other), rel=1e-12)
    assert together.high - together.low < 0.3 * (apart.high - apart.low)
    assert together.corrected == pytest.approx(together.distance, rel=0.02)
    twin = distance_interval(one, replace(one, name="twin"))
    assert (twin.distance, twin.corrected, twin.low, twin.high) == (0, 0, 0, 0)


@pytest.mark.parametrize("metric", ["cosine", "asymmetric", "asymmetric_kl"])
def test_matrix_has_the_intervals_centres(metric):
    rng = np.random.default_rng(5)
    tasks = [sample(k, rng) for k in range(3)]
    table = corrected_pairwise(tasks, metric=metric, reference=TRUE)
    for i, j in ((0, 1), (1, 0), (2, 1)):
        found = distance_interval(tasks[i], tasks[j], metric=metric, n_resamples=2, reference=TRUE)
        assert table.iloc[i, j] == pytest.approx(found.corrected, rel=1e-9)
    assert (np.diag(table) == 0).all()
    assert list(table.index) == list(pairwise(tasks).index)


def test_units_layers_and_seeds():
    rng = np.random.default_rng(6)
    one, other = sample(0, rng), sample(1, rng)
    found = distance_interval(one, other, n_resamples=20, layers=(2,))
    halves = [replace(e, rows=None).select(layers=(2,)) for e in (one, other)]
    assert found.distance == pytest.approx(distance(*halves), rel=1e-12)
    small = distance_interval(one * 1e-11, other * 1e-11, n_resamples=20, layers=(2,))
    assert small.low == pytest.approx(found.low, rel=1e-5)
    assert found == distance_interval(one, other, n_resamples=20, layers=(2,))
    assert found != distance_interval(one, other, n_resamples=20, layers=(2,), seed=1)


def test_what_is_refused():
    rng = np.random.default_rng(7)
    one, other = sample(0, rng), sample(1, rng)
    for metric in UNSTEADY:
        with pytest.raises(UsageError, match="cannot be corrected"):
            corrected_pairwise([one, other], metric=metric)
    with pytest.raises(UnknownNameError):
        distance_interval(one, other, metric="cosin")
    with pytest.raises(UsageError, match="keep_rows"):
        distance_interval(one, replace(other, rows=None))
    with pytest.raises(UsageError, match="keep_rows"):
        distance_interval(one, sample(1, rng, n=7))
    with pytest.raises(UsageError, match="out of range"):
        distance_interval(one, other, level=1.0)
    with pytest.raises(UsageError, match="nothing to compare"):
        corrected_pairwise([])
    with pytest.raises(UsageError, match="cannot be compared"):
        corrected_pairwise([one, replace(other, pooling="cls")])
