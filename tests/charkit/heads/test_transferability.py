import numpy as np
import pytest
from scipy.linalg import null_space
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.neighbors import KNeighborsClassifier

from charkit.errors import DataError, UsageError
from charkit.heads.metrics.transferability import h_score, log_evidence, neighbour_accuracy


def sample(n=60, width=8, n_classes=3, gap=1.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    centres = rng.normal(size=(n_classes, width)) * gap
    return rng.normal(size=(n, width)) + centres[labels], labels


@pytest.mark.parametrize(("n", "width"), [(60, 8), (30, 50)])
def test_evidence_is_the_largest_marginal_likelihood(n, width):
    x, labels = sample(n, width, gap=0.4)
    contrasts = null_space(np.ones((1, n))).T
    rows = contrasts @ x
    expected = []
    for k in range(3):
        y = contrasts @ (labels == k)

        def unlikely(logs, y=y):
            kernel = np.exp(logs[0]) * rows @ rows.T + np.exp(logs[1]) * np.eye(n - 1)
            return -multivariate_normal(np.zeros(n - 1), kernel).logpdf(y)

        starts = [(-3.0, -2.0), (-6.0, -1.0)]
        expected.append(
            -min(minimize(unlikely, s, method="Nelder-Mead", tol=1e-9).fun for s in starts)
        )
    assert log_evidence(x, labels) == pytest.approx(np.mean(expected) / (n - 1), abs=1e-6)


def test_evidence_of_a_real_target_prefers_features_that_tell_it():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 5))
    y = x @ rng.normal(size=5) + 0.1 * rng.normal(size=80)
    good = log_evidence(x, y, kind="regression")
    assert good > log_evidence(rng.normal(size=(80, 5)), y, kind="regression") + 0.5


def test_evidence_does_not_rise_with_useless_width():
    """Features wider than the sample can always interpolate it; the evidence must not pay that."""
    rng = np.random.default_rng(2)
    labels = np.arange(40) % 2
    narrow = rng.normal(size=(40, 4)) + labels[:, None]
    wide = np.hstack([narrow, rng.normal(size=(40, 400))])
    assert log_evidence(wide, labels) < log_evidence(narrow, labels)


def test_h_score_of_many_rows_is_the_textbook_one():
    x, labels = sample(n=6000, width=4)
    centred = x - x.mean(0)
    means = np.stack([centred[labels == k].mean(0) for k in range(3)])
    between = np.cov(means[labels].T, bias=True)
    expected = np.trace(np.linalg.inv(np.cov(x.T, bias=True)) @ between)
    assert h_score(x, labels) == pytest.approx(expected, rel=0.01)


def test_h_score_is_not_fooled_by_few_rows():
    rng = np.random.default_rng(3)
    labels = np.arange(30) % 2
    noise = rng.normal(size=(30, 200))
    telling = noise.copy()
    telling[:, :20] += 2 * labels[:, None]
    assert h_score(noise, labels) < 0.5 * h_score(telling, labels) <= 0.5


@pytest.mark.parametrize("k", [1, 3])
def test_neighbours_agree_with_a_library(k):
    x, labels = sample(n=90, gap=0.8)
    centred = x - x.mean(0)
    hits = []
    for row in range(90):
        rest = np.arange(90) != row
        model = KNeighborsClassifier(k, metric="cosine", algorithm="brute")
        votes = model.fit(centred[rest], labels[rest]).predict_proba(centred[[row]])[0]
        if (votes == votes.max()).sum() == 1:
            hits.append((row, votes.argmax() == labels[row]))
    known = np.mean([hit for _, hit in hits])
    assert neighbour_accuracy(x, labels, k=k) == pytest.approx(known, abs=(90 - len(hits)) / 90)


def test_neighbour_ties_go_to_the_nearest():
    x = np.array([[1, 0], [0.99, 0.1], [0, 1], [-1, -1], [-0.9, -1.1]])
    labels = np.array([0, 0, 1, 1, 1])
    assert neighbour_accuracy(x, labels, k=2) >= 0.8


def test_scale_and_shift_of_features_change_nothing_of_ranks():
    x, labels = sample()
    assert neighbour_accuracy(x * 1e-6 + 5, labels) == neighbour_accuracy(x, labels)
    assert h_score(x * 1e6, labels) == pytest.approx(h_score(x, labels), rel=1e-6)
    assert log_evidence(x * 1e4 + 3, labels) == pytest.approx(log_evidence(x, labels), rel=1e-5)


@pytest.mark.parametrize("score", [log_evidence, h_score, neighbour_accuracy])
@pytest.mark.parametrize(
    ("x", "labels"),
    [
        (np.ones((2, 3)), [0, 1]),
        (np.arange(12.0).reshape(4, 3), [0, 0, 0, 0]),
        (np.full((4, 3), np.nan), [0, 1, 0, 1]),
        (np.ones((4, 3)), [0, 1]),
    ],
)
def test_bad_input_is_refused(score, x, labels):
    with pytest.raises(DataError):
        score(x, labels)


def test_bad_k_and_constant_features_are_refused():
    with pytest.raises(UsageError, match="k is out of range"):
        neighbour_accuracy(*sample(), k=0)
    with pytest.raises(DataError, match="do not vary"):
        log_evidence(np.ones((6, 2)), [0, 1, 0, 1, 0, 1])
