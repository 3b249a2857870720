"""Shares of the label along principal directions."""

from __future__ import annotations

import numpy as np
import torch

from charkit.heads.sample.alignment import label_alignment, shrunk_shares
from charkit.heads.solver.design import make_spectrum

WIDTH = 12


def _world(seed: int = 0):
    """Return many rows and labels of two classes, with a known spectrum."""
    rng = np.random.default_rng(seed)
    scale = np.sqrt(np.arange(1, WIDTH + 1.0) ** -1.2)
    rows = rng.standard_normal((40_000, WIDTH))
    clean = 1.0 * rows[:, 0] + 0.6 * rows[:, 2] + 0.3 * rows[:, 5]
    labels = (clean + 0.8 * rng.standard_normal(len(rows)) > 0).astype(np.int64)
    return rows * scale, labels


def test_the_estimate_is_unbiased_at_small_samples() -> None:
    rows, labels = _world()
    spectrum = make_spectrum(torch.from_numpy(rows[None]))
    whitened = (rows - spectrum.mean[0]) @ spectrum.vectors[0] / np.sqrt(spectrum.values[0])
    hot = np.stack([labels == 0, labels == 1], 1).astype(float)
    truth = ((whitened.T @ (hot - hot.mean(0)) / len(rows)) ** 2).sum(1)
    rng = np.random.default_rng(1)
    found = []
    for _ in range(1500):
        chosen = rng.choice(len(rows), 24, replace=False)
        found.append(label_alignment(rows[None, chosen], labels[chosen], spectrum).shares[0])
    mean, error = np.mean(found, 0), np.std(found, 0) / np.sqrt(len(found))
    # labels are centred by the sample's own shares: a bias of order 1 / n of the share is left
    assert (np.abs(mean - truth) < 4 * error + 0.05 * truth).all()


def test_shares_sum_to_the_explained_part() -> None:
    rows, labels = _world()
    spectrum = make_spectrum(torch.from_numpy(rows[None]))
    found = label_alignment(rows[None, :5000], labels[:5000], spectrum)
    np.testing.assert_allclose(found.total, 0.5, rtol=0.01)
    predicted = np.linalg.lstsq(rows[:5000], labels[:5000] - labels[:5000].mean(), rcond=None)[0]
    explained = np.var(rows @ predicted) / np.var(labels)
    np.testing.assert_allclose(found.leading(WIDTH), explained, rtol=0.05)
    assert found.leading(3) > 0.75 * found.leading(WIDTH)


def test_smooth_shares_are_legal_and_near_the_truth() -> None:
    rows, labels = _world()
    spectrum = make_spectrum(torch.from_numpy(rows[None]))
    many = label_alignment(rows[None, :4000], labels[:4000], spectrum)
    for n in (16, 64, 512):
        smooth = shrunk_shares(label_alignment(rows[None, :n], labels[:n], spectrum), spectrum)
        assert (smooth.shares > 0).all()
        np.testing.assert_allclose(smooth.shares.sum(1) + smooth.noise, 1, atol=1e-5)
    assert abs(smooth.shares.sum() - many.leading(WIDTH)[0]) < 0.2  # no law is true


def test_turning_rows_changes_nothing() -> None:
    rows, labels = _world()
    turn = np.linalg.qr(np.random.default_rng(3).standard_normal((WIDTH, WIDTH)))[0]
    found = []
    for features in (rows, 4 * rows @ turn + 1):
        spectrum = make_spectrum(torch.from_numpy(features[None]))
        found.append(label_alignment(features[None, :50], labels[:50], spectrum).shares)
    np.testing.assert_allclose(*found, atol=1e-10)
    swapped = label_alignment(features[None, :50], 1 - labels[:50], spectrum).shares
    np.testing.assert_allclose(swapped, found[1], atol=1e-12)
