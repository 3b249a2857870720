import numpy as np
import pytest

from metamodel.needs import first_size, need_distribution

LAPLACE = np.array([-1, 1])[:, None] * -np.log(1 - (np.arange(500) + 0.5) / 500)
QUANTILES = np.sort(LAPLACE.ravel())
SIZES = np.geomspace(64, 64 * 32, 41)


def curve(n):
    return 0.9 - 1.6 * np.asarray(n, float) ** -0.5


def size_for(target):
    return (1.6 / (0.9 - np.asarray(target, float))) ** 2


def believed(target, spread=0.02, sizes=SIZES, mean=None):
    mean = curve(sizes) if mean is None else mean
    return need_distribution(sizes, mean, np.full(len(sizes), spread), QUANTILES, target)


@pytest.mark.parametrize("target", [0.74, 0.80, 0.83, 0.86])
@pytest.mark.parametrize("spread", [0.01, 0.03, 0.1])
def test_it_is_the_share_of_the_distribution_at_or_above_the_target(target, spread):
    predicted = believed(target, spread)
    off = (target - curve(SIZES)) / spread
    above = np.where(off > 0, 0.5 * np.exp(-np.abs(off)), 1 - 0.5 * np.exp(-np.abs(off)))
    assert predicted.reached == pytest.approx(above, abs=0.002)
    assert predicted.at(SIZES) == pytest.approx(predicted.reached)
    assert predicted.at([1, 64 * 64]) == pytest.approx(predicted.reached[[0, -1]])
    between = float(predicted.at([np.sqrt(SIZES[3] * SIZES[4])])[0])
    assert between == pytest.approx((predicted.reached[3] + predicted.reached[4]) / 2)


def test_what_was_likely_with_fewer_labels_is_not_less_likely_with_more():
    predicted = need_distribution(
        SIZES, curve(SIZES), np.linspace(0.01, 0.3, len(SIZES)), QUANTILES, 0.7
    )
    assert (np.diff(predicted.reached) >= 0).all()


@pytest.mark.parametrize("need", [100, 150, 300, 600, 1200])
def test_the_typical_need_is_the_truth_where_the_curve_is_known(need):
    predicted = believed(curve(need), spread=0.002)
    assert predicted.reachable
    assert predicted.probability > 0.99
    assert need / 1.3 < predicted.typical < need * 1.3
    low, high = predicted.quantile(0.05), predicted.quantile(0.9)
    assert low < need < high < 2 * need
    assert predicted.typical == predicted.quantile(0.5)


def test_a_hopeless_target_needs_infinitely_many():
    predicted = believed(0.99)
    assert predicted.probability < 0.01
    assert not predicted.reachable
    assert predicted.typical == np.inf
    assert predicted.quantile(0.05) == np.inf
    assert np.isinf(predicted.draws()).all()


def test_a_target_exceeded_by_little_is_reached_now_only_as_likely_as_its_interval_says():
    predicted = believed(curve(64) - 0.02, spread=0.015)
    now = 1 - 0.5 * np.exp(-0.02 / 0.015)
    assert predicted.reached[0] == pytest.approx(now, abs=0.002)
    assert predicted.typical == pytest.approx(64)
    assert predicted.quantile(0.05) == pytest.approx(64)
    assert 66 < predicted.quantile(0.95) < 90
    assert (np.diff(predicted.reached) >= 0).all()


def test_what_is_well_exceeded_is_reached_already():
    predicted = believed(curve(64) - 0.05, spread=0.02)
    assert predicted.typical == pytest.approx(64)
    assert predicted.quantile(0.05) == pytest.approx(64)
    assert predicted.probability == pytest.approx(1, abs=0.01)


def test_needs_rise_with_the_target():
    targets = np.linspace(curve(64), 0.88, 30)
    predicted = np.array([float(believed(target).typical) for target in targets])
    assert np.isfinite(predicted[:5]).all()
    assert (predicted[1:] >= predicted[:-1]).all()
    chances = [float(believed(target).probability) for target in targets]
    assert (np.diff(chances) <= 1e-12).all()
    assert 0 <= min(chances) <= max(chances) <= 1


def test_draws_are_the_quantiles():
    predicted = believed(0.845, spread=0.03)
    draws = predicted.draws()
    assert draws.shape == (100,)
    assert (np.diff(draws[np.isfinite(draws)]) >= 0).all()
    assert np.isfinite(draws).mean() == pytest.approx(predicted.probability, abs=0.01)
    assert draws[49] <= predicted.quantile(0.5) <= draws[50]
    assert draws[4] <= predicted.quantile(0.05) <= draws[5]


def test_many_curves_at_once_are_each_told_alike():
    targets = np.array([[0.74, 0.8], [0.85, 0.99]])
    mean = np.broadcast_to(curve(SIZES), (2, 2, len(SIZES)))
    spread = np.full(mean.shape, 0.02)
    predicted = need_distribution(
        SIZES, mean, spread, np.broadcast_to(QUANTILES, (2, 2, 1000)), targets
    )
    assert predicted.typical.shape == predicted.probability.shape == (2, 2)
    assert predicted.draws().shape == (2, 2, 100)
    for place in np.ndindex(2, 2):
        assert predicted.typical[place] == believed(targets[place]).typical


def test_a_flat_curve_says_little_and_no_infinities_or_warnings():
    flat = np.full(len(SIZES), 0.8)
    predicted = believed(0.8, spread=0.02, mean=flat)
    assert predicted.probability == pytest.approx(0.5, abs=0.002)
    assert np.allclose(predicted.at(SIZES), predicted.probability)
    far = believed(0.2, spread=1e-4, mean=flat)
    assert far.typical == pytest.approx(64)
    above = believed(0.999, spread=1e-4, mean=flat)
    assert above.typical == np.inf


def test_first_size_reads_a_curve_backwards():
    rng = np.random.default_rng(0)
    curves = np.sort(rng.random((20, len(SIZES))), axis=1)
    targets = rng.random(20)
    predicted = first_size(SIZES, curves, targets)
    for size, row, target in zip(predicted, curves, targets, strict=True):
        if target > row[-1]:
            assert size == np.inf
        else:
            assert size == pytest.approx(np.exp(np.interp(target, row, np.log(SIZES))))


def test_first_size_is_the_first_of_a_plateau():
    curves = np.array([[0.5, 0.8, 0.8, 0.9]])
    sizes = np.array([1.0, 2.0, 4.0, 8.0])
    assert first_size(sizes, curves, np.array([0.8])) == pytest.approx([2.0])
    assert first_size(sizes, curves, np.array([0.1])) == pytest.approx([1.0])
    assert first_size(sizes, curves, np.array([0.91])) == [np.inf]


def test_the_true_curve_is_read_back():
    targets = np.linspace(curve(70), curve(2000), 7)
    predicted = [float(first_size(SIZES, curve(SIZES), t)) for t in targets]
    assert predicted == pytest.approx(size_for(targets), rel=0.01)
