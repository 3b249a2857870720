"""Features in principal coordinates, also where few rows are distinct."""

from __future__ import annotations

import pytest
import torch

from charkit.heads.solver.design import make_design


def few_distinct(seed, n_draws):
    """Samples of one to four distinct rows of any size, exactly equal or nearly so."""
    torch.manual_seed(seed)
    for draw in range(n_draws):
        n_distinct = int(torch.randint(1, 5, (1,)))
        n = int(torch.randint(4, 60, (1,)))
        rows = torch.randn(1, n_distinct, 384) * 10 ** float(torch.rand(1) * 4 - 2)
        features = rows[:, torch.randint(0, n_distinct, (n,))].contiguous()
        yield features + 1e-6 * torch.randn_like(features) if draw % 2 else features


@pytest.mark.parametrize("seed", [0, 1])
def test_few_distinct_rows_are_rotated_and_nothing_is_lost(seed):
    for features in few_distinct(seed, 450):
        design = make_design(features)
        centred = features.double() - features.double().mean(1, keepdim=True)
        back = torch.bmm(design.rows[..., :-1], design.basis.mT).double() * design.scale
        error = (back - centred).norm()
        assert error <= 1e-4 * centred.norm() + 1e-5 * features.norm()
        assert (design.spectrum >= 0).all()
