"""Which number format ``auto`` takes: a measured ratio decides, and is kept for the machine."""

from __future__ import annotations

import json
import os

import pytest
import torch

from charkit.encoders import device
from charkit.encoders.device import choose_dtype
from charkit.errors import UsageError


@pytest.fixture(autouse=True)
def _measured_here(monkeypatch, tmp_path):
    """Nothing is named by the environment, nothing is known yet."""
    monkeypatch.delenv("CHARKIT_DTYPE", raising=False)
    monkeypatch.setenv("CHARKIT_CACHE", str(tmp_path / "store"))
    measured = device.bfloat16_ratio  # tests put another one in its place
    measured.cache_clear()
    yield
    measured.cache_clear()


@pytest.mark.parametrize("where", ["cpu", "cuda", "mps"])
@pytest.mark.parametrize(
    ("ratio", "dtype", "words"),
    [
        (4.6, "bfloat16", "measured 4.6 times as fast"),
        (1.5, "bfloat16", "measured 1.5 times as fast"),
        (1.4, "float32", "measured 1.4 times as fast"),
        (None, "float32", "does not work"),
    ],
)
def test_auto_takes_what_measured_faster(where, ratio, dtype, words, monkeypatch):
    monkeypatch.setattr(device, "bfloat16_ratio", lambda name: ratio if name == where else 99.0)
    chosen, reason = choose_dtype("auto", where)
    assert chosen == dtype
    assert reason.startswith(f"{dtype}: ")
    assert words in reason


def test_what_is_named_is_not_measured(monkeypatch):
    monkeypatch.setattr(device, "bfloat16_ratio", lambda name: pytest.fail("measured"))
    assert choose_dtype("float64", "cpu")[0] == "float64"
    monkeypatch.setenv("CHARKIT_DTYPE", "bfloat16")
    assert choose_dtype("auto", "cpu") == ("bfloat16", "bfloat16: CHARKIT_DTYPE is set to it")
    assert choose_dtype("float32", "cpu")[0] == "float32", "an argument goes before the variable"
    monkeypatch.setenv("CHARKIT_DTYPE", "float16")
    with pytest.raises(UsageError, match="expected float32 or bfloat16, got 'float16'"):
        choose_dtype("auto", "cpu")


def test_formats_that_are_not_there():
    with pytest.raises(UsageError, match="got 'int8'"):
        choose_dtype("int8", "cpu")
    with pytest.raises(UsageError, match="on mps"):
        choose_dtype("float64", "mps")


def test_a_ratio_is_measured_once_a_machine(monkeypatch, tmp_path):
    times = []
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    monkeypatch.setattr(device, "measure", lambda name: times.append(name) or 3.25)
    assert device.bfloat16_ratio("cpu") == 3.25
    device.bfloat16_ratio.cache_clear()  # as another process
    assert device.bfloat16_ratio("cpu") == 3.25
    assert times == ["cpu"]
    device.bfloat16_ratio.cache_clear()
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert device.bfloat16_ratio("cpu") == 3.25
    assert times == ["cpu", "cpu"], "instructions switched off are another machine"


@pytest.mark.parametrize(
    "change",
    [
        lambda said: "{",
        lambda said: "[]",
        lambda said: json.dumps(said | {"ratio": "3.25"}),
        lambda said: json.dumps(said | {"ratio": 1e9}),
        lambda said: json.dumps(said | {"format": 0}),
        lambda said: json.dumps(said | {"machine": {"device": "cpu"}}),
    ],
)
def test_a_damaged_or_foreign_file_is_measured_again(change, monkeypatch, tmp_path):
    monkeypatch.setattr(device, "measure", lambda name: 3.25)
    device.bfloat16_ratio("cpu")
    (kept,) = (tmp_path / "store" / device.FOLDER).glob("bfloat16-*.json")
    kept.write_text(change(json.loads(kept.read_text())))
    device.bfloat16_ratio.cache_clear()
    monkeypatch.setattr(device, "measure", lambda name: 7.5)
    assert device.bfloat16_ratio("cpu") == 7.5


@pytest.mark.skipif(os.name == "nt", reason="folders without write permission are POSIX's")
def test_a_store_that_cannot_be_written_is_no_error(monkeypatch, tmp_path):
    (tmp_path / "store").write_text("a file where the folder should be")
    monkeypatch.setattr(device, "measure", lambda name: 3.25)
    assert device.bfloat16_ratio("cpu") == 3.25


def test_products_that_fail_leave_float32(monkeypatch):
    def fails(name):
        raise RuntimeError("no such numbers")

    monkeypatch.setattr(device, "_measure", fails)
    assert device.measure("cpu") is None
    assert choose_dtype("auto", "cpu")[0] == "float32"


def test_measuring_leaves_threads_and_random_state_as_they_were():
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    ratio = device.measure("cpu")
    assert ratio is None or 1e-4 < ratio < 1e4
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
