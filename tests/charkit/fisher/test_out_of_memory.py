"""Batches that do not fit are halved, and nothing is counted twice."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from charkit.errors import MissingError
from charkit.fisher import FisherOptions, fisher_embedding
from charkit.fisher.passes import Pass


@pytest.fixture
def small_memory(monkeypatch):
    """Return a function: after it, batches of more texts than that do not fit."""

    def shrink(most, *, error=torch.OutOfMemoryError, said="out of memory", late=True):
        real, sizes = Pass._batch, []

        def limited(self, block, local):
            found = real(self, block, local) if late else None
            if len(local) > most:
                raise error(said)
            sizes.append(len(local))
            return found or real(self, block, local)

        monkeypatch.setattr(Pass, "_batch", limited)
        return sizes

    return shrink


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_batches_are_halved_until_they_fit(
    late, small_memory, family_encoder, make_split, random_head, caplog
):
    encoder, split, head = family_encoder("bert"), make_split(40, longest=6), random_head()
    options = FisherOptions(token_budget=4096, keep_rows=True)
    expected = fisher_embedding(encoder, split, head, options=options)
    sizes = small_memory(3, late=late)
    seen = []
    with caplog.at_level(logging.WARNING):
        found = fisher_embedding(
            encoder, split, head, options=options, progress=lambda _, n, total: seen.append(n)
        )
    assert max(sizes) <= 3
    assert sum(sizes) == 40
    assert seen[-1] == 40
    assert "out of memory" in caplog.text
    assert len(caplog.records) < 12  # what does not fit is remembered, not tried anew
    np.testing.assert_allclose(found.rows, expected.rows, rtol=1e-9, atol=1e-20)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-9)
    np.testing.assert_allclose(found.group_products, expected.group_products, rtol=1e-9)


def test_not_even_one_text_fits(small_memory, family_encoder, make_split, random_head):
    encoder = family_encoder("bert")
    small_memory(0)
    with pytest.raises(MissingError, match="one text"):
        fisher_embedding(encoder, make_split(4), random_head())


def test_other_errors_are_not_mistaken_for_it(
    small_memory, family_encoder, make_split, random_head
):
    encoder = family_encoder("bert")
    small_memory(1, error=RuntimeError, said="shapes do not fit")
    with pytest.raises(RuntimeError, match="shapes"):
        fisher_embedding(encoder, make_split(4), random_head())
