"""Eigenvectors where float32 fails, loudly or silently, and for no neighbour of such a matrix."""

from __future__ import annotations

import pytest
import torch

from charkit.heads.solver.design import eigenvectors

WHOLE = torch.linalg.eigh


def symmetric(n_matrices, size):
    torch.manual_seed(0)
    half = torch.randn(n_matrices, size, size)
    return half @ half.mT / size


def raising(matrix):
    if matrix.dtype == torch.float32 and (matrix[..., 0, 0] == 7).any():
        raise torch.linalg.LinAlgError("the algorithm failed to converge")
    return WHOLE(matrix)


def silent(matrix):
    values, vectors = WHOLE(matrix)
    if matrix.dtype == torch.float32:
        vectors[matrix[..., 0, 0] == 7] = torch.nan
    return values, vectors


@pytest.mark.parametrize("failing", [raising, silent])
def test_a_matrix_on_which_float32_fails_is_decomposed_in_float64(monkeypatch, failing):
    matrices = symmetric(3, 5)
    matrices[1, 0, 0] = 7
    expected = WHOLE(matrices)
    monkeypatch.setattr(torch.linalg, "eigh", failing)
    values, vectors = eigenvectors(matrices)
    assert values.dtype == vectors.dtype == torch.float32
    assert torch.equal(vectors[[0, 2]], expected.eigenvectors[[0, 2]])
    assert torch.allclose(values, expected.eigenvalues, atol=1e-5)
    again = vectors[1] * values[1] @ vectors[1].T
    assert torch.allclose(again, matrices[1], atol=1e-5)


def test_a_matrix_that_is_not_finite_gives_nan():
    matrices = symmetric(2, 4)
    matrices[1, 2, 2] = torch.nan
    values, vectors = eigenvectors(matrices)
    assert values[0].isfinite().all()
    assert vectors[0].isfinite().all()
    assert values[1].isnan().all()
    assert vectors[1].isnan().all()
