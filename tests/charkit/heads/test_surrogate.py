import numpy as np
import pytest
from scipy.special import expit, logit

from charkit.errors import DataError
from charkit.heads.sample.surrogate import expected_correctness, fit_tested_head


@pytest.fixture(scope="module")
def two_layers():
    """Layer 0 knows nothing of the class, layer 1 nearly all; a labelled sample and a pool."""
    generator = np.random.default_rng(0)

    def rows(n):
        codes = np.arange(n) % 2
        noise = generator.normal(size=(2, n, 6))
        noise[1, :, 0] += 3 * codes
        return noise.astype(np.float32), codes

    return rows(80), rows(400)


def test_the_layer_that_fits_best_is_tested_and_its_confidence_is_true(two_layers):
    (features, codes), (pool, truth) = two_layers
    head = fit_tested_head(features, codes, 2, pool)
    assert head.layer == 1
    right = head.predicted == truth
    assert right.mean() > 0.85
    assert head.expected.mean() == pytest.approx(right.mean(), abs=0.07)
    assert head.expected[right].mean() > head.expected[~right].mean() + 0.05
    assert (head.predicted == head.probabilities.argmax(1)).all()
    assert head.confidence[0] == pytest.approx(head.probabilities.max(1))


def test_a_layer_can_be_asked_for(two_layers):
    (features, codes), (pool, truth) = two_layers
    head = fit_tested_head(features, codes, 2, pool, layer=0)
    assert head.layer == 0
    assert (head.predicted == truth).mean() < 0.65


def test_one_class_has_no_head(two_layers):
    (features, codes), (pool, _) = two_layers
    with pytest.raises(DataError, match="at least 2 classes"):
        fit_tested_head(features, np.zeros_like(codes), 2, pool)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_confidence_that_is_off_by_a_scale_is_set_right(scale):
    generator = np.random.default_rng(0)
    p = np.clip(generator.beta(4, 2, 6_000), 0.02, 0.98)
    right = generator.random(6_000) < p
    said = np.stack([expit(scale * logit(p))] * 2)
    found = expected_correctness(said[:, :3_000], right[:3_000], said[:, 3_000:])
    assert found == pytest.approx(p[3_000:], abs=0.06)


def test_few_rows_leave_the_confidence_nearly_as_it_is():
    p = np.array([[0.6, 0.7, 0.8, 0.9]] * 2)
    found = expected_correctness(p[:, :1], np.array([True]), p)
    assert found == pytest.approx(p[0], abs=0.1)
    assert (np.diff(found) > 0).all()


def test_layers_whose_states_do_not_vary_are_passed_over(two_layers):
    (features, codes), (pool, truth) = two_layers
    same, pool = features.copy(), pool.copy()
    same[0] = 1 + 1e-7 * same[0]
    head = fit_tested_head(same, codes, 2, pool)
    assert head.layer == 1
    assert len(head.confidence) == 2
    assert (head.predicted == truth).mean() > 0.85
    with pytest.raises(DataError, match="layer 0 are the same for all 80"):
        fit_tested_head(same, codes, 2, pool, layer=0)
    with pytest.raises(DataError, match="all layers are the same"):
        fit_tested_head(same[:1], codes, 2, pool[:1])
