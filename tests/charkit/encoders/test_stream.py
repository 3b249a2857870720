"""States in the store: equal, resumable, found again without a model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tiny_families import make_texts

from charkit.encoders import encode, encode_to_store, load_encoder, open_states, run, stream
from charkit.errors import MissingError
from charkit.store.store import Store


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(stream, "SHARD_ROWS", 10)


def test_the_store_holds_what_encode_returns(tiny_encoder, tmp_store, small_shards):
    split = make_texts(25, pairs=True)
    stored = encode_to_store(tiny_encoder, split, store=tmp_store)
    memory = encode(tiny_encoder, split)
    np.testing.assert_allclose(stored.to_numpy(), memory.to_numpy(), atol=1e-5)
    np.testing.assert_array_equal(stored.n_tokens, memory.n_tokens)
    np.testing.assert_array_equal(stored.n_tokens_full, memory.n_tokens_full)
    assert len(stored.shards) == 3
    assert (stored.n_samples, stored.n_layers, stored.width) == (25, 2, 32)
    assert stored.key
    assert tmp_store.verify() == []


def test_a_second_call_needs_no_model(tiny_bert, tmp_store, monkeypatch):
    split = make_texts(5)

    def fresh():
        return load_encoder(str(tiny_bert), device="cpu", dtype="float32")

    first = encode_to_store(fresh(), split, store=tmp_store)
    encoder = fresh()
    monkeypatch.setattr(run, "pooled_batch", None)
    again = encode_to_store(encoder, split, store=tmp_store)
    assert not {"model", "tokenizer"} & set(vars(encoder))
    assert again == first
    np.testing.assert_array_equal(open_states(tmp_store, first.key).layer(1), first.layer(1))


def test_what_matters_is_in_the_key(tiny_bert, tmp_store):
    encoder = load_encoder(str(tiny_bert), device="cpu", dtype="float32")
    half = load_encoder(str(tiny_bert), device="cpu", dtype="bfloat16")
    split = make_texts(3)
    keys = {
        encode_to_store(e, s, store=tmp_store, **options).key
        for e, s, options in [
            (encoder, split, {}),
            (encoder, split, {"token_budget": 7}),
            (encoder, split, {"max_length": 64}),
            (encoder, split, {"max_length": 32}),
            (encoder, split, {"pooling": "cls"}),
            (encoder, make_texts(3, seed=1), {}),
            (encoder.randomised(seed=0), split, {}),
            (half, split, {}),
        ]
    }
    assert len(keys) == 6


def test_bfloat16_states_are_kept_in_half_the_space(tiny_bert, tmp_store):
    half = load_encoder(str(tiny_bert), device="cpu", dtype="bfloat16")
    split = make_texts(20)
    stored = encode_to_store(half, split, store=tmp_store)
    assert stored.shards[0].read(0).dtype == np.float16
    np.testing.assert_allclose(
        stored.to_numpy(), encode(half, split).to_numpy(), rtol=2.0**-11, atol=1e-4
    )
    large = np.array([7e4], np.float32)
    assert stream.as_stored(large, dtype="bfloat16").dtype == np.float32
    assert stream.as_stored(large / 10, dtype="bfloat16").dtype == np.float16
    assert stream.as_stored(large / 10, dtype="float32").dtype == np.float32


def test_whole_shards_are_kept_and_broken_ones_redone(
    tiny_encoder, tmp_store, small_shards, monkeypatch
):
    split = make_texts(30)
    expected = encode(tiny_encoder, split).to_numpy()
    real, calls = stream._ShardWriter._write_shard, []

    def stops(self, path, split, rows, total):
        if rows.start == 20:
            raise KeyboardInterrupt
        real(self, path, split, rows, total)

    monkeypatch.setattr(stream._ShardWriter, "_write_shard", stops)
    with pytest.raises(KeyboardInterrupt):
        encode_to_store(tiny_encoder, split, store=tmp_store)
    shards = sorted(tmp_store.root.rglob("rows-*.safetensors"))
    assert len(shards) == 2
    shards[0].write_bytes(shards[0].read_bytes()[:-5])  # cut off by a crash of the machine

    def counts(self, path, split, rows, total):
        calls.append(rows.start)
        real(self, path, split, rows, total)

    monkeypatch.setattr(stream._ShardWriter, "_write_shard", counts)
    stored = encode_to_store(tiny_encoder, split, store=tmp_store)
    assert calls == [0, 20]
    np.testing.assert_allclose(stored.to_numpy(), expected, atol=1e-5)
    assert tmp_store.verify() == []


def test_the_same_states_are_the_same_bytes(tiny_encoder, tmp_path):
    files = set()
    for i in range(12):  # safetensors orders several entries of a header by chance
        store = Store(tmp_path / str(i))
        encode_to_store(tiny_encoder, make_texts(4), store=store)
        files.add(next(store.root.rglob("rows-*.safetensors")).read_bytes())
    assert len(files) == 1


CHILD = """
import sys
sys.path.insert(0, {here!r})
from tiny_families import make_texts
from charkit.encoders import encode_to_store, load_encoder, stream
from charkit.store.store import Store
stream.SHARD_ROWS = 20
encoder = load_encoder({encoder!r}, device="cpu", dtype="float32")
encode_to_store(encoder, make_texts(1500), store=Store({store!r}), token_budget=100,
                progress=lambda s, d, t: print(d, flush=True))
"""


def test_killed_and_rerun(tiny_bert, tiny_encoder, tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    code = CHILD.format(
        here=os.path.dirname(__file__), encoder=str(tiny_bert), store=str(store.root)
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        for line in child.stdout:
            if int(line) > 60:
                break
        child.send_signal(signal.SIGKILL)
        child.wait()
    n_whole = len(list(store.root.rglob("rows-*.safetensors")))
    assert 2 < n_whole < 75
    assert store.entries(["states"])[0].state == "partial"
    monkeypatch.setattr(stream, "SHARD_ROWS", 20)
    start = time.perf_counter()
    seen = []
    split = make_texts(1500)
    resumed = encode_to_store(
        tiny_encoder, split, store=store, progress=lambda s, d, t: seen.append(d)
    )
    assert time.perf_counter() - start < 60
    assert seen[:n_whole] == [20 * (i + 1) for i in range(n_whole)]
    np.testing.assert_allclose(
        resumed.to_numpy(), encode(tiny_encoder, split).to_numpy(), atol=1e-5
    )
    assert store.verify() == []


def test_missing_states(tmp_store):
    with pytest.raises(MissingError, match="no such states"):
        open_states(tmp_store, "0" * 24)
