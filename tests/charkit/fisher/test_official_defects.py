"""What the published code of Task2Vec does wrong, each a test that would fail if it were done here.

Batches squared as one; batch statistics and dropout moved; caching that builds graphs; a second
embedding that crashes; gradients left on parameters; the first rows taken for a sample and a
count off by one; nothing seeded; prefixes of layers alone; pickles; neither pairs nor real
targets nor many classes.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from charkit.fisher import (
    FisherOptions,
    cache_states,
    fisher_embedding,
    load_embedding,
    make_head,
    save_embedding,
)
from charkit.fisher.stability import deal_groups
from charkit.tasks.task import Split

PARTS = ("value", "ffn_in")


def options_of(**facts):
    return FisherOptions(**({"parts": PARTS} | facts))


@pytest.fixture(scope="module")
def encoder(family_encoder):
    return family_encoder("bert")


def test_the_norm_does_not_fall_with_the_batch(encoder, make_split, random_head):
    """Squares of batch means fall as one over the batch: a factor of 64 here."""
    split, head = make_split(64, longest=4), random_head()
    norms = [
        fisher_embedding(encoder, split, head, options=options_of(token_budget=budget)).norms().l2
        for budget in (1, 8 * 8, 64 * 64)
    ]
    for other in norms[1:]:
        np.testing.assert_allclose(other, norms[0], rtol=1e-10)


def test_one_text_many_times_is_that_text(encoder, random_head):
    """The mean over texts does not depend on how many there are, nor on who shares a batch."""
    head = random_head()
    once = fisher_embedding(encoder, Split(("a good cat",)), head, options=options_of())
    many = fisher_embedding(encoder, Split(("a good cat",) * 33), head, options=options_of())
    np.testing.assert_allclose(many.values, once.values, rtol=1e-10)


def test_neither_dropout_nor_mode_nor_gradients_touch_the_encoder(
    tiny_bert, make_split, random_head
):
    from charkit.encoders import load_encoder

    loaded = load_encoder(str(tiny_bert), device="cpu", dtype="float32")
    model, split, head = loaded.model, make_split(6), random_head()
    expected = fisher_embedding(loaded, split, head, options=options_of())
    before = {n: t.clone() for n, t in model.state_dict().items()}
    model.train()
    model.requires_grad_(True)
    modes = [m.training for m in model.modules()]
    state = torch.get_rng_state()
    found = fisher_embedding(loaded, split, head, options=options_of(estimator="exact"))
    np.testing.assert_array_equal(found.values, expected.values)  # dropout was off
    assert [m.training for m in model.modules()] == modes
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
        assert "forward" not in vars(module)


def test_cached_states_carry_no_graph(encoder, make_split):
    states = cache_states(encoder, make_split(5), layer=1)
    assert not states.hidden.requires_grad
    assert states.hidden.grad_fn is None


def test_a_second_task_on_the_same_encoder_is_as_on_a_fresh_one(tiny_bert, make_split, random_head):
    from charkit.encoders import load_encoder

    used, fresh = (load_encoder(str(tiny_bert), device="cpu", dtype="float32") for _ in "ab")
    one, two = make_split(9, seed=1), make_split(7, seed=2, pairs=True)
    fisher_embedding(used, one, random_head(n_classes=3), options=options_of())
    again, first = (
        fisher_embedding(e, two, random_head(), options=options_of()) for e in (used, fresh)
    )
    np.testing.assert_array_equal(again.values, first.values)


@pytest.mark.parametrize("n", [1, 7, 33])
def test_exactly_the_texts_that_were_named_are_used(n, encoder, make_split, random_head):
    split, head = make_split(40), random_head()
    chosen = split.take(np.random.default_rng(n).permutation(40)[:n])
    found = fisher_embedding(encoder, chosen, head, options=options_of(keep_rows=True))
    assert found.n_samples == len(found.rows) == n
    np.testing.assert_allclose(found.values, found.rows.mean(0), rtol=1e-12)


def test_a_pass_that_may_stop_does_not_take_the_first_rows():
    order, _ = deal_groups(10_000, seed=0)
    assert abs(order[:1000].mean() - 5000) < 500
    assert not np.array_equal(order, deal_groups(10_000, seed=1)[0])


@pytest.mark.parametrize("facts", [{}, {"estimator": "monte_carlo"}, {"stop_at": 0.5}])
def test_seeds_repeat_to_the_bit(facts, encoder, make_split, random_head):
    split, head = make_split(200, longest=4), random_head(n_classes=5)
    one, two, other = (
        fisher_embedding(encoder, split, head, options=options_of(seed=s, layers=(3,), **facts))
        for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.values, two.values)
    assert str(one.facts()) == str(two.facts())  # as text: NaN is no equal of itself
    assert not np.array_equal(one.values, other.values)


def test_any_set_of_layers_is_the_same_numbers(encoder, make_split, random_head):
    split, head = make_split(5), random_head()
    whole = fisher_embedding(encoder, split, head, options=options_of())
    for size in (1, 2, 3):
        for layers in itertools.combinations((1, 2, 3), size):
            some = fisher_embedding(encoder, split, head, options=options_of(layers=layers))
            assert some.layers == layers
            expected = whole.select(layers=layers).values
            np.testing.assert_allclose(some.values, expected, rtol=1e-10)


def test_nothing_is_pickled(encoder, make_split, random_head, tmp_path, monkeypatch):
    import pickle

    def refuse(*_, **__):
        raise AssertionError("pickled")

    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    found = fisher_embedding(encoder, make_split(5), random_head(), options=options_of())
    again = load_embedding(save_embedding(found, tmp_path / "one.safetensors"))
    np.testing.assert_array_equal(again.values, found.values)


def test_sure_heads_lose_nothing_to_the_range_of_floats(family_encoder, make_split):
    """p (1 - p) of 1e-40 and below: squares that float32 cannot hold still differ."""
    single, double = family_encoder("bert", dtype="float32"), family_encoder("bert")
    split = make_split(6)
    direction = np.random.default_rng(0).standard_normal((1, 32))
    sure = make_head(np.vstack([direction, -direction]) * 0.1, np.array([70.0, -70.0]))
    found, exact = (
        fisher_embedding(e, split, sure, options=options_of()) for e in (single, double)
    )
    assert 0 < exact.values.max() < 1e-45
    np.testing.assert_allclose(
        found.values, exact.values, rtol=1e-3, atol=exact.values.max() * 1e-5
    )


def test_norms_less_their_noise_do_not_depend_on_the_number_of_texts(
    encoder, make_split, random_head
):
    """Squares over 400 samples of 16 of 600 texts, at level 1e-4; the plain norm is too long."""
    whole = fisher_embedding(
        encoder, make_split(600, longest=8), random_head(), options=options_of(keep_rows=True)
    )
    truth = float(whole.values @ whole.values)
    rng = np.random.default_rng(0)
    squares, plain = [], []
    for _ in range(400):
        norms = whole.subset(rng.choice(600, 16)).norms()  # with replacement: independent texts
        squares.append(norms.loc["all", "l2_corrected"] ** 2)
        plain.append(norms.loc["all", "l2"] ** 2)
    error = np.std(squares) / 400**0.5
    assert abs(np.mean(squares) - truth) < 3.9 * error
    assert error < 0.05 * truth
    assert np.mean(plain) - truth > 5 * error
