"""Truncation, memory, pooling and the object that comes out."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from tiny_families import Texts, make_texts

from charkit.encoders import compare_states, encode, load_encoder, run
from charkit.encoders.run import pool
from charkit.encoders.tokens import next_batch, tokenise
from charkit.errors import MissingError, UsageError


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_pooling_never_counts_padding(pooling, dtype):
    hidden = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    lengths = [5, 2, 1]
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    pooled = pool(hidden.masked_fill(~mask[..., None], 1e4), mask, pooling)
    for row, length in enumerate(lengths):
        tokens = hidden[row, :length].double()
        expected = {"mean": tokens.mean(0), "cls": tokens[0], "max": tokens.amax(0)}[pooling]
        torch.testing.assert_close(pooled[row].double(), expected, atol=1e-6, rtol=1e-6)
    full = pool(hidden, torch.ones(3, 5, dtype=torch.bool), pooling)
    torch.testing.assert_close(pool(hidden, None, pooling), full, atol=1e-6, rtol=1e-6)
    assert pooled.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_tokens_are_the_tokenizers_own(tiny_encoder):
    split = make_texts(6, pairs=True)
    tokens = tokenise(tiny_encoder, split.texts, split.pairs, max_length=24)
    ids, segments, mask = tokens.batch(np.arange(6))
    expected = tiny_encoder.tokenizer(
        list(split.texts),
        list(split.pairs),
        truncation="longest_first",
        max_length=24,
        padding=True,
        return_tensors="np",
    )
    np.testing.assert_array_equal(ids, expected["input_ids"])
    np.testing.assert_array_equal(segments, expected["token_type_ids"])
    np.testing.assert_array_equal(mask, expected["attention_mask"].astype(bool))


def test_what_is_cut_is_counted(tiny_encoder):
    split = Texts(("cat", "the cat runs " * 30, " ".join(["dog"] * 8), "dog " * 9))
    states = encode(tiny_encoder, split, max_length=10)
    assert states.n_tokens.tolist() == [3, 10, 10, 10]
    assert states.n_tokens_full.tolist() == [3, 92, 10, 11]
    assert (states.n_truncated, states.frac_truncated) == (2, 0.5)
    assert any("2 texts (50.0 %) were cut at 10 tokens" in line for line in states.describe())
    uncut = encode(tiny_encoder, split).layer(2)
    np.testing.assert_allclose(states.layer(2)[[0, 2]], uncut[[0, 2]], atol=1e-5)


def test_empty_and_strange_texts(tiny_encoder):
    split = Texts(("", " ", "\n\t", "\u00e9\u4e2d\U0001f600\ufe0f", "cat"))
    states = encode(tiny_encoder, split).to_numpy()
    assert np.isfinite(states).all()
    assert encode(tiny_encoder, Texts(())).layer(0).shape == (0, 32)


@pytest.mark.parametrize("k", [0, 1, 2])
def test_layers_count_from_both_ends(k, tiny_encoder):
    states = encode(tiny_encoder, make_texts(4))
    np.testing.assert_array_equal(states.layer(k), states.layer(k - 3))
    np.testing.assert_array_equal(states.layer(k), states.to_numpy()[k])
    assert states.layer(k).dtype == np.float32


@pytest.mark.parametrize("k", [3, -4])
def test_layers_out_of_range(k, tiny_encoder):
    states = encode(tiny_encoder, make_texts(2))
    with pytest.raises(UsageError, match=rf"expected 0 \(embeddings\) to 2 \(last\).*got {k}"):
        states.layer(k)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "sum"}, "expected one of .*'mean', 'cls', 'max'.*got 'sum'"),
        ({"max_length": 65}, "expected 8 to 64"),
        ({"max_length": 2}, "expected 8 to 64"),
        ({"token_budget": 0}, "expected at least 1"),
    ],
)
def test_bad_arguments(options, message, tiny_encoder):
    with pytest.raises(UsageError, match=message):
        encode(tiny_encoder, make_texts(2), **options)


def test_default_length_is_256_at_most(tiny_encoder):
    assert tiny_encoder.text_length() == 64
    assert tiny_encoder.text_length(32) == 32


def test_progress_counts_texts(tiny_encoder):
    calls = []
    encode(tiny_encoder, make_texts(9), token_budget=40, progress=lambda *a: calls.append(a))
    done = [c[1] for c in calls]
    assert {c[0] for c in calls} == {"encode"}
    assert {c[2] for c in calls} == {9}
    assert done == sorted(done)
    assert done[-1] == 9


ERRORS = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory"),
    "cpu": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
    "mps": RuntimeError("MPS backend out of memory"),
    "python": MemoryError(),
}


@pytest.mark.parametrize("device", ERRORS)
def test_out_of_memory_halves_the_batch(device, tiny_encoder, monkeypatch, caplog):
    real = run.pooled_batch
    sizes = []

    def limited(encoder, tokens, rows, *, pooling):
        sizes.append(len(rows))
        if len(rows) > 3:
            raise ERRORS[device]
        return real(encoder, tokens, rows, pooling=pooling)

    split = Texts(("the cat runs",) * 16)
    expected = encode(tiny_encoder, split).to_numpy()
    monkeypatch.setattr(run, "pooled_batch", limited)
    with caplog.at_level(logging.WARNING):
        states = encode(tiny_encoder, split).to_numpy()
    np.testing.assert_allclose(states, expected, atol=1e-5)
    assert sizes == [16, 8, 4] + [2] * 8  # remembered: never tried larger again
    assert len(caplog.records) == 3


def test_not_even_one_text_fits(tiny_encoder, monkeypatch):
    def none(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(run, "pooled_batch", none)
    with pytest.raises(MissingError, match=r"memory does not suffice.*one text of 5 tokens"):
        encode(tiny_encoder, Texts(("the cat runs",) * 4))


def test_other_errors_pass_through(tiny_encoder, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(run, "pooled_batch", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        encode(tiny_encoder, make_texts(2))


def test_batches_obey_the_budget():
    assert next_batch(np.array([10, 9, 9, 2]), token_budget=30) == 3
    assert next_batch(np.array([10, 9]), token_budget=5) == 1
    assert next_batch(np.array([3, 3]), token_budget=1000) == 2


def test_bfloat16_is_close_to_float32(tiny_bert, tiny_encoder):
    split = make_texts(40, seed=5)
    half = load_encoder(str(tiny_bert), device="cpu", dtype="bfloat16")
    differences = compare_states(encode(half, split), encode(tiny_encoder, split))
    assert [d.layer for d in differences] == [0, 1, 2]
    assert max(d.largest_relative for d in differences) < 0.02
    assert min(d.smallest_cosine for d in differences) > 0.999
    same = compare_states(encode(tiny_encoder, split), encode(tiny_encoder, split))
    assert all(d.largest_absolute == 0 for d in same)
    with pytest.raises(UsageError, match="cannot be compared"):
        compare_states(encode(half, make_texts(3)), encode(half, make_texts(4)))


@pytest.mark.bundled
def test_bundled_last_layer_is_the_model_cards_mean(bundled_encoder):
    """The recipe of the model's card: mean over the tokens of the last hidden state."""
    encoder = load_encoder(bundled_encoder, device="cpu", dtype="float32")
    texts = ("This is an example sentence", "Each sentence is converted, more or less")
    inputs = encoder.tokenizer(list(texts), padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = encoder.model(**inputs).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    expected = (hidden * mask).sum(1) / mask.sum(1)
    states = encode(encoder, Texts(texts))
    np.testing.assert_allclose(states.layer(-1), expected.numpy(), atol=1e-5)
    half = load_encoder(bundled_encoder, device="cpu", dtype="bfloat16")
    for difference in compare_states(encode(half, Texts(texts)), states):
        assert difference.largest_relative < 0.03
