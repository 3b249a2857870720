"""Row means of squared gradients against the gradients themselves."""

from __future__ import annotations

import pytest
import torch

from charkit.fisher.tape import gram, gram_is_cheaper, rows_from_gradient, rows_from_gram


@pytest.mark.parametrize("seq_len", [1, 2, 63, 64, 65, 127, 128, 131, 200])
def test_both_formulas_equal_the_gradients(seq_len):
    generator = torch.Generator().manual_seed(seq_len)
    inputs, gradients = (
        torch.randn(3, seq_len, width, dtype=torch.float64, generator=generator) for width in (5, 7)
    )
    expected = torch.einsum("nto,ntd->nod", gradients, inputs).square().mean(2)
    by_gram = rows_from_gram(gram(inputs), gradients, n_in=5)
    torch.testing.assert_close(by_gram, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(rows_from_gradient(inputs, gradients), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_are_kept_in_float32(dtype):
    inputs = torch.ones(2, 128, 3, dtype=dtype)
    gradients = torch.full((2, 128, 4), 2.0, dtype=dtype)
    found = rows_from_gram(gram(inputs), gradients, n_in=3)
    assert found.dtype == torch.float32
    assert (found == (2 * 128) ** 2).all()


def test_long_texts_take_the_gradient():
    assert gram_is_cheaper(128, n_out=384, n_in=384)
    assert not gram_is_cheaper(512, n_out=384, n_in=384)
