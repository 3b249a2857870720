"""The verdict of halves against halves that are really drawn, and passes that stop early."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors import safe_open

from charkit.errors import UsageError
from charkit.fisher import (
    FisherOptions,
    cache_states,
    fisher_embedding,
    fisher_embeddings,
    load_embedding,
    save_embedding,
)
from charkit.fisher.layout import Slice
from charkit.fisher.passes import FIRST_LOOK, growing_blocks, whole_blocks
from charkit.fisher.stability import (
    N_GROUPS,
    deal_groups,
    half_cosines,
    products_of_rows,
    stability_of,
)

PARTS = ("query", "ffn_in")


def cosine(one, two):
    return one @ two / np.sqrt((one @ one) * (two @ two))


def heavy_rows(n, *, seed, size=300):
    """Rows as embeddings have them: long tails, and most of the noise along the mean."""
    rng = np.random.default_rng(seed)
    mean = np.random.default_rng(99).lognormal(0, 1, size)
    return rng.lognormal(0, 1, (n, 1)) * mean * rng.lognormal(0, 1, (n, size))


def verdict(rows, *, seed=0):
    slices = [Slice(1, "query", 0, rows.shape[1])]
    return stability_of(products_of_rows(rows, slices, seed=seed).sum(0))


@pytest.fixture(scope="module")
def embed(family_encoder, make_split, random_head):
    def make(n=200, *, sample=0, **options):
        facts = {"parts": PARTS} | options
        encoder = family_encoder("bert", dtype="float32")
        return fisher_embedding(
            encoder, make_split(n, seed=sample), random_head(), options=FisherOptions(**facts)
        )

    return make


def test_the_first_texts_of_the_order_fill_the_groups_evenly():
    order, groups = deal_groups(1000, seed=3)
    assert sorted(order) == list(range(1000))
    for n in (40, 333, 1000):
        counts = np.bincount(groups[order[:n]], minlength=N_GROUPS)
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("n", [64, 400])
def test_the_verdict_is_what_fresh_samples_show(n):
    """Mean verdicts of 60 samples against 60 real pairs of halves and of samples."""
    predicted, halves, again = [], [], []
    for seed in range(60):
        rows, others = heavy_rows(n, seed=seed), heavy_rows(n, seed=1000 + seed)
        predicted.append(verdict(rows, seed=seed))
        halves.append(cosine(rows[: n // 2].mean(0), rows[n // 2 :].mean(0)))
        again.append(cosine(rows.mean(0), others.mean(0)))
    for mine, real in (
        ([t.halves for t in predicted], halves),
        ([t.again for t in predicted], again),
    ):
        error = np.hypot(np.std(mine), np.std(real)) / 60**0.5
        assert abs(np.mean(mine) - np.mean(real)) < 3.9 * error
        assert error < 0.15 * (1 - np.mean(real))  # a wrong n would double or halve the gap


def test_the_low_end_is_low_but_not_the_worst():
    cosines = half_cosines(np.eye(N_GROUPS) + 0.5)
    found = stability_of(np.eye(N_GROUPS) + 0.5)
    assert cosines[0] <= found.low <= found.halves <= found.again <= 1


def test_noise_along_the_mean_changes_no_cosine():
    rng = np.random.default_rng(0)
    rows = rng.lognormal(0, 2, (100, 1)) * rng.random(50)
    assert verdict(rows).halves == pytest.approx(1, abs=1e-12)


def test_streamed_sums_equal_the_rows(embed):
    found = embed(keep_rows=True)
    expected = products_of_rows(found.rows, found.slices, seed=0)
    np.testing.assert_allclose(found.group_products, expected, rtol=1e-5)
    assert embed().stability == found.stability
    part = found.select(layers=(2,))
    alone = products_of_rows(part.rows, part.slices, seed=0)
    np.testing.assert_allclose(part.group_products, alone, rtol=1e-5)
    assert (found * 3).stability.halves == pytest.approx(found.stability.halves, rel=1e-12)


def test_the_verdict_is_shown_and_saved(embed, tmp_path):
    rough, good = embed(5), embed(200)
    assert not rough.stable
    assert good.stable == (good.stability.halves >= 0.99)
    assert "not yet stable" in repr(rough)
    assert "halves agree to 0." in good._repr_html_()
    again = load_embedding(save_embedding(good, tmp_path / "one"))
    assert again.stability == good.stability
    with safe_open(tmp_path / "one", framework="numpy") as file:
        header = json.loads(file.metadata()["charkit"])
    assert header["stable"] == good.stable
    assert header["stability"]["halves"] == good.stability.halves
    assert header["facts"]["stopped_early"] is False


def test_too_few_texts_and_sums_have_no_verdict(embed):
    for found in (embed(1), embed(3), embed(40) + embed(40, sample=1)):
        assert np.isnan(found.stability.halves)
        assert not found.stable
        assert "stability unknown" in repr(found)


def test_blocks_cover_all_texts_once_and_grow():
    for blocks in (growing_blocks(5000), whole_blocks(20_000)):
        found = list(blocks)
        np.testing.assert_array_equal(np.concatenate(found), np.arange(sum(map(len, found))))
        assert max(map(len, found)) <= 8192
    sizes = [len(b) for b in growing_blocks(100_000)]
    assert sizes[0] == FIRST_LOOK
    assert len(sizes) < 40


def test_a_pass_stops_when_halves_agree_and_not_before(embed):
    whole = embed(600)
    stopped = embed(600, stop_at=0.9, seed=4)
    assert stopped.stopped_early
    assert FIRST_LOOK < stopped.n_samples < 600  # two looks at least
    assert stopped.stability.halves >= 0.9
    assert cosine(stopped.values, whole.values) > 0.9
    assert "stopped early" in repr(stopped)
    never = embed(600, stop_at=1 - 1e-12)
    assert not never.stopped_early
    np.testing.assert_allclose(never.values, whole.values, rtol=1e-5)
    assert never.n_samples == 600
    few = embed(FIRST_LOOK, stop_at=0.01)
    assert not few.stopped_early


def test_a_stopped_pass_is_the_embedding_of_the_texts_it_visited(
    embed, family_encoder, make_split, random_head
):
    stopped = embed(600, stop_at=0.9, seed=7, keep_rows=True)
    order, _ = deal_groups(600, seed=7)
    visited = make_split(600).take(order[: stopped.n_samples])
    encoder = family_encoder("bert", dtype="float32")
    options = FisherOptions(parts=PARTS, keep_rows=True)
    alone = fisher_embedding(encoder, visited, random_head(), options=options)
    np.testing.assert_allclose(stopped.rows, alone.rows, rtol=1e-3, atol=alone.rows.max() * 1e-5)
    np.testing.assert_allclose(stopped.values, alone.values, rtol=1e-4)
    assert stopped.frac_truncated == alone.frac_truncated


def test_stops_wait_for_every_head_and_use_cached_states(family_encoder, make_split, random_head):
    encoder, split = family_encoder("bert", dtype="float32"), make_split(500)
    states = cache_states(encoder, split, layer=0)
    heads = {k: random_head(seed=k) for k in (1, 3)}
    options = FisherOptions(parts=PARTS, stop_at=0.9)
    cached = fisher_embeddings(encoder, split, heads, options=options, states=states)
    plain = fisher_embeddings(encoder, split, heads, options=options)
    for layer, found in cached.items():
        assert found.stability.halves >= 0.9 or not found.stopped_early
        assert found.n_samples == plain[layer].n_samples
        np.testing.assert_allclose(found.values, plain[layer].values, rtol=1e-4)


def test_texts_are_tokenised_block_by_block(embed, monkeypatch):
    """What a pass holds does not grow with the texts: neither tokens nor sums."""
    import charkit.fisher.passes as module

    real, sizes = module.tokenise, []

    def counted(encoder, texts, pairs, *, max_length):
        sizes.append(len(texts))
        return real(encoder, texts, pairs, max_length=max_length)

    expected = embed(300)
    monkeypatch.setattr(module, "tokenise", counted)
    monkeypatch.setattr(module, "_LARGEST", 128)
    found = embed(300)
    assert sizes == [128, 128, 44]
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-5)
    assert found.rows is None
    assert found.group_products.shape == (len(found.slices), N_GROUPS, N_GROUPS)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"stop_at": 1.0}, "stop_at"),
        ({"stop_at": 0.0}, "stop_at"),
        ({"relative_error": 0.0}, "relative_error"),
        ({"relative_error": 0.1, "n_draws": 2}, "one of the two"),
        ({"relative_error": 0.1, "stop_at": 0.9}, "one of the two"),
        ({"seed": -1}, "seed"),
    ],
)
def test_options_that_exclude_each_other_are_refused(facts, said, embed):
    with pytest.raises(UsageError, match=said):
        embed(5, **facts)
