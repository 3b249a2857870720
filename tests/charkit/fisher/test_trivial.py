"""The trivial embedding: the prior alone, and the complexity measured from it."""

from __future__ import annotations

import numpy as np
import pytest
from test_distances import embedding, make

from charkit.errors import DataError, UsageError
from charkit.fisher import distance, load_embedding, pairwise, save_embedding
from charkit.fisher.distances.pairwise import ALPHA, trivial_embedding


def test_the_default_is_the_librarys_mean_on_each_layer():
    library = make(n=5)
    found = trivial_embedding(library)
    numbers = np.stack([e.values for e in library])
    expected = np.repeat([numbers[:, :20].mean(), numbers[:, 20:].mean()], 20)
    np.testing.assert_allclose(found.values, expected, rtol=1e-12)
    assert (found.name, found.n_samples, found.n_classes) == ("trivial", 0, 0)
    assert found.slices == library[0].slices
    assert not found.standard_error.any()


def test_given_precisions():
    one = make(n=1)[0]
    np.testing.assert_array_equal(trivial_embedding(one, precision=3e-6).values, np.full(40, 3e-6))
    found = trivial_embedding(one, precision={1: 1e-6, 2: 2e-6, 7: 1.0})
    np.testing.assert_array_equal(found.values, np.repeat([1e-6, 2e-6], 20))


def test_complexity_rises_with_the_norm_from_nought():
    """d_sym(a + trivial, trivial) for F, 10 F, 100 F; without the sum it would not start at 0."""
    library = make(n=4)
    trivial = trivial_embedding(library)
    scales = (1e-4, 1e-2, 1e-1, 1, 10, 100)
    found = [distance(library[0] * k + trivial, trivial) for k in scales]
    assert found == sorted(found)
    assert found[0] < 1e-6
    assert found[-1] > 0.1
    assert distance(library[0] * 1e-4, trivial) > 0.01


def test_units_change_nothing():
    library = make(n=4)
    larger = [e * 1e5 for e in library]
    for one, other in zip(library, larger, strict=True):
        found = distance(one + trivial_embedding(library), trivial_embedding(library))
        scaled = distance(other + trivial_embedding(larger), trivial_embedding(larger))
        assert found == pytest.approx(scaled, rel=1e-9)


def test_the_asymmetric_distance_follows_from_it():
    """d_asym(a -> b) = d_sym(a, b) - alpha d_sym(a, trivial), all with the prior inside."""
    library = make(n=4)
    trivial = trivial_embedding(library)
    raised = [e + trivial for e in library]
    plain = pairwise(raised).to_numpy()
    complexity = np.array([distance(e, trivial) for e in raised])
    expected = plain - ALPHA * complexity[:, None]
    np.fill_diagonal(expected, 0)
    found = pairwise(library, metric="asymmetric").to_numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_it_is_kept_like_any_other(tmp_path):
    made = trivial_embedding(make(n=3))
    found = load_embedding(save_embedding(made, tmp_path / "trivial.safetensors"))
    np.testing.assert_array_equal(found.values, made.values)
    assert (found.name, found.slices) == (made.name, made.slices)


@pytest.mark.parametrize("precision", [0.0, -1.0, float("nan"), {1: 1.0}, {1: 1.0, 2: 0.0}])
def test_bad_precisions_are_refused(precision):
    with pytest.raises(UsageError, match="precision"):
        trivial_embedding(make(n=1)[0], precision=precision)


def test_what_has_no_mean_is_refused():
    with pytest.raises(UsageError, match="nothing"):
        trivial_embedding([])
    with pytest.raises(DataError, match="layer 2"):
        trivial_embedding(embedding([1.0] * 20 + [0.0] * 20))
    with pytest.raises(UsageError, match="compared"):
        trivial_embedding([*make(n=1), *make(n=1, size=20)])
