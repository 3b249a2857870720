"""Every family: state k is transformers' hidden_states[k], whatever the padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_families import CONFIGS, Texts, make_texts

from charkit.encoders import encode, load_encoder


def plain_states(folder, encoder, split, *, pooling="mean"):
    """Plain transformers in float64: one text at a time, no padding, all hidden states."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(str(folder)).double().eval()
    rows = []
    for i, text in enumerate(split.texts):
        pair = None if split.pairs is None else split.pairs[i]
        inputs = encoder.tokenizer(text, pair, return_tensors="pt")
        if not encoder.takes_segments:
            inputs.pop("token_type_ids", None)
        with torch.no_grad():
            out = model(**inputs, output_hidden_states=True)
        assert torch.equal(out.hidden_states[-1], out.last_hidden_state)
        states = torch.stack(out.hidden_states)[:, 0]
        pooled = {"mean": states.mean(1), "cls": states[:, 0], "max": states.amax(1)}
        rows.append(pooled[pooling].numpy())
    return np.stack(rows, axis=1)


@pytest.mark.parametrize("pairs", [False, True], ids=["single", "pair"])
@pytest.mark.parametrize("family", CONFIGS)
def test_states_are_hidden_states(family, pairs, family_folder):
    folder = family_folder(family)
    encoder = load_encoder(str(folder), device="cpu", dtype="float64")
    split = make_texts(9, pairs=pairs)
    states = encode(encoder, split, token_budget=120)
    expected = plain_states(folder, encoder, split)
    assert (encoder.family, encoder.n_layers, encoder.width) == (family, 3, 32)
    assert states.to_numpy().shape == expected.shape == (4, 9, 32)
    np.testing.assert_allclose(states.to_numpy(), expected, atol=1e-6)
    assert np.abs(expected[1] - expected[0]).max() > 1e-3  # layers differ


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_poolings(family, pooling, family_folder):
    folder = family_folder(family)
    encoder = load_encoder(str(folder), device="cpu", dtype="float32")
    split = make_texts(7, seed=2)
    states = encode(encoder, split, pooling=pooling)
    expected = plain_states(folder, encoder, split, pooling=pooling)
    np.testing.assert_allclose(states.to_numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("family", CONFIGS)
def test_batches_change_nothing(family, family_folder):
    encoder = load_encoder(str(family_folder(family)), device="cpu", dtype="float32")
    split = make_texts(12, seed=3)
    together = encode(encoder, split, token_budget=10_000).to_numpy()
    alone = encode(encoder, split, token_budget=1).to_numpy()
    backwards = encode(encoder, Texts(split.texts[::-1])).to_numpy()[:, ::-1]
    np.testing.assert_allclose(together, alone, atol=3e-5)
    np.testing.assert_allclose(backwards, alone, atol=3e-5)


@pytest.mark.parametrize("family", CONFIGS)
def test_threads_change_nothing(family, family_folder):
    encoder = load_encoder(str(family_folder(family)), device="cpu", dtype="float32")
    split, before, found = make_texts(12, seed=3), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            found.append(encode(encoder, split).to_numpy())
    finally:
        torch.set_num_threads(before)
    for states in found[1:]:
        np.testing.assert_allclose(states, found[0], atol=3e-5)  # the bound of docs/store.md


def test_pairs_carry_segments(family_folder):
    encoder = load_encoder(str(family_folder("bert")), device="cpu", dtype="float32")
    joined = encode(encoder, Texts(("the cat",), ("a dog",))).layer(0)
    swapped = encode(encoder, Texts(("a dog",), ("the cat",))).layer(0)
    glued = encode(encoder, Texts(("the cat [SEP] a dog",))).layer(0)
    assert np.abs(joined - swapped).max() > 1e-3
    assert np.abs(joined - glued).max() > 1e-3  # a string between them is not a pair


def test_random_weights_are_drawn_without_a_trace(family_folder):
    encoder = load_encoder(str(family_folder("bert")), device="cpu", dtype="float32")
    split = make_texts(3)
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    one, again, two = (encoder.randomised(seed=s) for s in (0, 0, 1))
    states = [encode(e, split).layer(-1) for e in (one, again, two, encoder)]
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_array_equal(states[0], states[1])
    assert np.abs(states[0] - states[2]).max() > 1e-2
    assert np.abs(states[0] - states[3]).max() > 1e-2
    assert one.fingerprint == again.fingerprint
    assert len({one.fingerprint, two.fingerprint, encoder.fingerprint}) == 3
    assert one.name == f"random:{encoder.name}@0"


def test_reading_weights_leaves_the_generator_alone(family_folder):
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    _ = load_encoder(str(family_folder("bert")), device="cpu", dtype="float32").model
    assert torch.equal(before, torch.random.get_rng_state())
