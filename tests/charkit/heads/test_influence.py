import numpy as np
import pytest
from scipy import stats

from charkit.errors import UnknownNameError
from charkit.heads.metrics.influence import (
    average_ranks,
    balanced_accuracy,
    correlations,
    f1,
    macro_f1,
    matthews,
    row_values,
)


def weighted(metric, predicted, labels, n_classes, row, step):
    """The metric when one row has a little more weight (by repeating all rows often)."""
    times = np.full(labels.size, 1000)
    times[row] += step
    estimate = metric(np.repeat(predicted, times)[None], np.repeat(labels, times), n_classes)
    return estimate.value[0]


@pytest.mark.parametrize("metric", [f1, macro_f1, balanced_accuracy, matthews])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_influence_is_the_derivative_by_a_rows_weight(metric, n_classes):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, n_classes, 15)
    predicted = np.where(rng.random(15) < 0.6, labels, rng.integers(0, n_classes, 15))
    estimate = metric(predicted[None], labels, n_classes)
    assert estimate.influence.sum() == pytest.approx(0.0, abs=1e-12)
    for row in range(15):
        ends = [weighted(metric, predicted, labels, n_classes, row, s) for s in (10, -10)]
        slope = (ends[0] - ends[1]) / 20 * 1000 * 15
        assert estimate.influence[0, row] == pytest.approx(slope, abs=2e-3)


def test_pearson_influence_is_the_derivative_by_a_rows_weight():
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((2, 12))
    estimate = correlations(x[None], y)[0]
    for row in range(12):
        weight = np.full(12, 1.0)
        ends = []
        for step in (1e-4, -1e-4):
            weight[row] = 1 + step
            c = np.cov(x, y, aweights=weight)
            ends.append(c[0, 1] / np.sqrt(c[0, 0] * c[1, 1]))
        slope = (ends[0] - ends[1]) / 2e-4 * 12
        assert estimate.influence[0, row] == pytest.approx(slope, abs=1e-5)


def test_ranks_share_ties_as_scipy_does():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 6, (5, 40)).astype(float)
    assert np.array_equal(average_ranks(values), stats.rankdata(values, axis=1))
    assert average_ranks(np.array([[2.0]])).tolist() == [[1.0]]


@pytest.mark.parametrize(
    "metric",
    ["accuracy", "f1", "macro_f1", "balanced_accuracy", "matthews", "pearson_spearman"],
)
def test_row_values_average_to_the_metric(metric):
    rng = np.random.default_rng(1)
    if metric == "pearson_spearman":
        made, wanted = rng.standard_normal((3, 50)), rng.standard_normal(50)
        scores = correlations(made, wanted)[2].value
    else:
        made, wanted = rng.integers(0, 3, (3, 50)), rng.integers(0, 3, 50)
        ways = {"f1": f1, "matthews": matthews, "macro_f1": macro_f1}
        ways["balanced_accuracy"] = balanced_accuracy
        scores = (
            (made == wanted).mean(axis=1)
            if metric == "accuracy"
            else ways[metric](made, wanted, 3).value
        )
    values = row_values(made, wanted, metric, n_classes=3)
    assert values.shape == (3, 50)
    assert np.allclose(values.mean(axis=1), scores)


def test_unknown_metric_is_refused_with_the_near_one():
    with pytest.raises(UnknownNameError, match="accuracy"):
        row_values(np.zeros((1, 2)), np.zeros(2), "acuracy")
