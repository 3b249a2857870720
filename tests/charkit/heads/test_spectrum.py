"""The spectrum of features, and their clusters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from charkit.heads.solver.design import class_gap, make_spectrum, spectrum_shape


def _rows(n: int = 4000, seed: int = 0) -> torch.Tensor:
    values = np.arange(1, 17.0) ** -1.5
    rows = np.random.default_rng(seed).standard_normal((2, n, 16)) * np.sqrt(values) + 3
    return torch.from_numpy(rows)


def test_a_known_spectrum_is_found() -> None:
    rows = _rows()
    spectrum = make_spectrum(rows)
    np.testing.assert_allclose(spectrum.values[0], np.arange(1, 17.0) ** -1.5, rtol=0.12)
    whitened = (rows[1].numpy() - spectrum.mean[1]) @ spectrum.vectors[1]
    whitened /= np.sqrt(spectrum.values[1])
    np.testing.assert_allclose(whitened.T @ whitened / 4000, np.eye(16), atol=1e-9)
    shape = spectrum_shape(spectrum)
    shares = spectrum.values / spectrum.values.sum(1, keepdims=True)
    np.testing.assert_allclose(shape.top_share, shares[:, 0])
    np.testing.assert_allclose(shape.rank_participation * 16, 1 / (shares**2).sum(1))
    np.testing.assert_allclose(shape.decay, 1.5, atol=0.15)
    assert (shape.rank_entropy >= shape.rank_participation).all()


def test_turned_moved_and_scaled_rows_look_the_same() -> None:
    rows = _rows(400)
    turn = torch.linalg.qr(torch.randn(16, 16, generator=torch.manual_seed(0)).double()).Q
    other = 5 * rows @ turn - 2
    one, two = spectrum_shape(make_spectrum(rows)), spectrum_shape(make_spectrum(other))
    for name in ("rank_participation", "rank_entropy", "decay", "top_share"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-6)
    gaps = [class_gap(r, make_spectrum(r), 4, seed=1) for r in (rows, other)]
    np.testing.assert_allclose(*gaps, rtol=1e-6)


def test_clear_groups_leave_a_large_gap() -> None:
    rng = np.random.default_rng(0)
    places = 20 * np.eye(4, 16)[np.arange(200) % 4]
    rows = torch.from_numpy(places + rng.standard_normal((1, 200, 16)))
    plain = torch.from_numpy(rng.standard_normal((1, 200, 16)))
    assert class_gap(rows, make_spectrum(rows), 4, seed=0)[0] > 0.9
    assert class_gap(plain, make_spectrum(plain), 4, seed=0)[0] < 0.4
    assert np.isnan(class_gap(rows[:, :7], make_spectrum(rows), 4, seed=0)).all()


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_constant_rows_have_no_shape(value: float) -> None:
    rows = torch.full((1, 10, 4), value, dtype=torch.float64)
    assert np.isnan(spectrum_shape(make_spectrum(rows)).decay).all()
    assert np.isnan(class_gap(rows, make_spectrum(rows), 2, seed=0)).all()
