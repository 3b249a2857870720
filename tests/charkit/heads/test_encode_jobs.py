"""Encoding on an executor: each split once, the same states as here, failures as errors."""

from __future__ import annotations

import pandas as pd
import pytest

from charkit.encoders import load_encoder
from charkit.errors import CellsFailedError
from charkit.heads.sweep.job import EncodeWork, encode_elsewhere, run_encode
from charkit.heads.sweep.sweep import sweep
from charkit.parallel import InProcess, Processes
from charkit.store.store import Store
from charkit.tasks import generated_task

GRID = {"sizes": (8,), "seeds": (0,)}


class Elsewhere(Processes):
    """Two processes that encode as well, as the nodes of a cluster do."""

    encodes = True


@pytest.fixture(scope="module")
def task():
    return generated_task("sentiment", n_train=40, n_eval=30)


def test_a_sweep_that_encodes_elsewhere_gives_the_same_table(task, tiny_bert, tmp_path):
    here = sweep(task, encoder=str(tiny_bert), store=Store(tmp_path / "a"), executor=1, **GRID)
    store = Store(tmp_path / "b")
    there = sweep(task, encoder=str(tiny_bert), store=store, executor=Elsewhere(2), **GRID)
    pd.testing.assert_frame_equal(here.table, there.table, rtol=1e-5)
    assert len(store.entries(["states"])) == 4  # two splits under the encoder and its random twin


def test_each_split_is_encoded_once(task, tiny_bert, tmp_store):
    encoder = load_encoder(str(tiny_bert), device="cpu", dtype="float32")
    work = EncodeWork(encoder, task.train, "mean", 64, tmp_store.root)
    steps = []
    for _ in range(2):
        encode_elsewhere(
            [work, work],
            executor=InProcess(),
            store=tmp_store,
            progress=lambda stage, done, total: steps.append((stage, done, total)),
        )
    assert steps == [("encode", 0, 1), ("encode", 1, 1), ("encode", 0, 0)]
    assert [entry.key for entry in tmp_store.entries(["states"])] == [work.key]
    assert run_encode(work) == work.key


def test_an_encoder_that_the_workers_do_not_have(task, tiny_bert, tmp_path, tmp_store):
    moved = tmp_path / "moved"
    tiny_bert.rename(moved)
    try:
        encoder = load_encoder(str(moved), device="cpu", dtype="float32")
        work = EncodeWork(encoder, task.train, "mean", 64, tmp_store.root)
        assert work.key
    finally:
        moved.rename(tiny_bert)
    with pytest.raises(CellsFailedError, match="encode: 1 of 1 failed, the first with: "):
        encode_elsewhere([work], executor=InProcess(), store=tmp_store, progress=lambda *step: None)
