"""Folders that are damaged, misleading or hostile: one sentence, or the right states."""

from __future__ import annotations

import json
import logging
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from hostile_folders import FOLDERS, TEXTS, edit, every_kind, save, tensors
from tiny_families import Texts

from charkit.encoders import encode, files, load_encoder
from charkit.encoders.foreign import foreign
from charkit.errors import CharkitError, DataError, MissingError


def states_of(folder: Path) -> np.ndarray:
    encoder = load_encoder(str(folder), device="cpu", dtype="float32")
    assert encoder.fingerprint
    return encode(encoder, Texts(TEXTS)).to_numpy()


@pytest.fixture
def copy(tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_noted", set())
    return Path(shutil.copytree(tiny_bert, tmp_path / "copy"))


@pytest.fixture(scope="module")
def good(tiny_bert):
    return states_of(tiny_bert)


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_a_folder_is_refused_in_a_sentence_or_read_rightly(name, copy, good, caplog):
    expected = every_kind(copy, name)
    begun = time.process_time()
    if expected.match is None:
        with caplog.at_level(logging.WARNING, logger="charkit"):
            states = states_of(copy)
        if expected.same_states:
            np.testing.assert_allclose(states, good, atol=1e-6)
        notes = "\n".join(record.getMessage() for record in caplog.records)
        assert (expected.note or "") in notes
        assert bool(notes) == bool(expected.note)
    else:
        with pytest.raises(CharkitError, match=expected.match) as caught:
            states_of(copy)
        assert caught.value.exit_code == expected.exit_code
        message = str(caught.value)
        assert len(message) < 900
        assert "\n" not in message
        assert "trust_remote_code" not in message
    assert time.process_time() - begun < 20
    assert not (copy / "ran").exists()


@pytest.mark.parametrize("name", ["many_layers", "wide", "absurd_inside", "absurd_positions"])
def test_a_random_twin_of_an_absurd_shape_allocates_nothing(name, copy):
    every_kind(copy, name)
    with pytest.raises(CharkitError):
        _ = load_encoder(str(copy), device="cpu").randomised(seed=0).model


def test_a_random_twin_without_weights_must_fit_in_memory(copy, monkeypatch):
    (copy / "model.safetensors").unlink()
    twin = load_encoder(str(copy), device="cpu").randomised(seed=0)
    assert twin.fingerprint
    monkeypatch.setattr("charkit.encoders.encoder.physical_memory", lambda: 10_000)
    with pytest.raises(MissingError, match="memory does not suffice"):
        _ = twin.model
    monkeypatch.undo()
    assert load_encoder(str(copy), device="cpu").randomised(seed=0).model


READ = ["config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt",
        "special_tokens_map.json", "added_tokens.json", "tokenizer.5.0.0.json",
        "model.safetensors.index.json", "model-1.safetensors", "w.safetensors"]  # fmt: skip


def test_the_fingerprint_covers_every_file_that_is_read(copy):
    """Each of them is changed in turn; a decoy and a chat template change nothing."""
    found = tensors(copy)
    (copy / "model.safetensors").unlink()
    where = {k: "w.safetensors" if i % 2 else "model-1.safetensors" for i, k in enumerate(found)}
    for name in set(where.values()):
        save(copy, {k: v for k, v in found.items() if where[k] == name}, name)
    edit(copy / "model.safetensors.index.json", weight_map=where)
    edit(copy / "tokenizer_config.json", fast_tokenizer_files=["tokenizer.5.0.0.json"])
    shutil.copy(copy / "tokenizer.json", copy / "tokenizer.5.0.0.json")
    edit(copy / "special_tokens_map.json", pad_token="[PAD]")
    edit(copy / "added_tokens.json")
    (copy / "model-2.safetensors").write_bytes((copy / "w.safetensors").read_bytes())
    states_of(copy)

    def fingerprint() -> str:
        return load_encoder(str(copy), device="cpu").fingerprint

    first = fingerprint()
    for name in ("model-2.safetensors", "chat_template.jinja", "README.md"):
        (copy / name).write_bytes(b"another")
        assert fingerprint() == first
    for name in READ:
        before = (copy / name).read_bytes()
        if name.endswith(".safetensors"):
            after = before[:-1] + bytes([before[-1] ^ 1])
        else:
            after = before + b" "
        (copy / name).write_bytes(after)
        assert fingerprint() != first, name
        (copy / name).write_bytes(before)
    assert fingerprint() == first


def test_transformers_opens_no_file_that_the_fingerprint_leaves_out(copy, monkeypatch):
    """What Python and transformers open in the folder is exactly what is hashed."""
    import builtins
    import os

    (copy / "chat_template.jinja").write_text("x")
    (copy / "generation_config.json").write_text("{}")
    opened: set[str] = set()
    real = builtins.open

    def watched(file, *args, **kwargs):
        if isinstance(file, str | os.PathLike):
            path = Path(os.path.realpath(file))
            if path.parent == copy.resolve():
                opened.add(path.name)
        return real(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", watched)
    encoder = load_encoder(str(copy), device="cpu", dtype="float32")
    assert encoder.tokenizer
    assert encoder.model
    assert opened <= {"tokenizer.json", "tokenizer_config.json", "config.json", "vocab.txt"}


def test_links_to_blobs_as_in_the_cache_of_the_hub_are_followed(copy, good, tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    for i, path in enumerate(p for p in sorted(copy.iterdir()) if p.is_file()):
        path.rename(blobs / f"blob{i}")
        (snapshot / path.name).symlink_to(Path("..") / "blobs" / f"blob{i}")
    np.testing.assert_array_equal(states_of(snapshot), good)
    first = load_encoder(str(snapshot), device="cpu").fingerprint
    weights = (snapshot / "model.safetensors").resolve()
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert load_encoder(str(snapshot), device="cpu").fingerprint != first


def test_where_links_are_not_allowed_files_are_copied(copy, good, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr("os.symlink", refuse)
    np.testing.assert_array_equal(states_of(copy), good)


class PanicException(BaseException):
    """As pyo3 makes them."""


@pytest.mark.parametrize(
    "error",
    [Exception("bare"), PanicException("index out of bounds"), KeyError("x"), RecursionError(),
     AssertionError(), ZeroDivisionError("division by zero"), ValueError("a\nb")],
)  # fmt: skip
def test_the_net_catches_whatever_a_reader_raises(error):
    with (
        pytest.raises(DataError, match="cannot be read") as caught,
        foreign("it", expected="x", advice="Copy it."),
    ):
        raise error
    assert str(caught.value).endswith("Copy it.")
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_the_net_lets_a_stop_pass(stop):
    with pytest.raises(stop), foreign("it", expected="x", advice="y"):
        raise stop


@pytest.mark.parametrize("error", [MemoryError(), ImportError("no module x")])
def test_the_net_names_what_the_machine_lacks(error):
    with pytest.raises(MissingError), foreign("it", expected="x", advice="y"):
        raise error


MODULES = [
    {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
]


def declare(folder: Path, **pooling: object) -> None:
    (folder / "modules.json").write_text(json.dumps(MODULES))
    (folder / "1_Pooling").mkdir()
    edit(folder / "1_Pooling" / "config.json", **pooling)


def notes_of(folder: Path, caplog, pooling: str = "mean") -> list[str]:
    with caplog.at_level(logging.WARNING, logger="charkit"):
        encoder = load_encoder(str(folder), device="cpu", dtype="float32")
        for _ in range(2):
            encode(encoder, Texts(TEXTS), pooling=pooling)  # type: ignore[arg-type]
    return [record.getMessage() for record in caplog.records]


def test_pooling_prompts_and_modules_that_a_folder_declares_are_noted_once(copy, caplog):
    declare(copy, pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    edit(
        copy / "config_sentence_transformers.json",
        prompts={"query": "query: ", "passage": "passage: "},
        default_prompt_name="passage",
    )
    notes = notes_of(copy, caplog)
    assert len(notes) == 3
    assert any("trained with cls pooling; mean is used" in n for n in notes)
    assert any("--pooling cls" in n for n in notes)
    assert any("'passage: '" in n for n in notes)
    assert any("Dense" in n for n in notes)


def test_what_the_folder_around_an_encoder_declares_counts(copy, caplog):
    declare(copy, pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    edit(copy / "config_sentence_transformers.json", truncate_dim=16)
    modules = [{**MODULES[0], "path": "0_Transformer"}, *MODULES[1:], {"type": "own_code.Module"}]
    (copy / "modules.json").write_text(json.dumps(modules))
    inner = copy / "0_Transformer"
    inner.mkdir()
    for path in list(copy.iterdir()):
        if path.is_file() and path.name not in (
            "modules.json",
            "config_sentence_transformers.json",
        ):
            path.rename(inner / path.name)
    notes = " ".join(notes_of(inner, caplog))
    for words in (
        "--pooling cls",
        "Dense",
        "first 16 numbers",
        "own_code.Module needs its own code",
    ):
        assert words in notes


def test_the_declared_pooling_needs_no_note(copy, caplog):
    declare(copy, pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    assert not any("pooling;" in n for n in notes_of(copy, caplog, "cls"))


@pytest.mark.parametrize("path", ["../x", "/etc", "1_Pooling"])
def test_damage_in_what_a_folder_declares_stops_nothing(path, copy, caplog):
    (copy / "modules.json").write_text(
        '[3, {"type": "x.Pooling", "path": "' + path + '"}, {"type": 1}]'
    )
    (copy / "config_sentence_transformers.json").write_text('{"prompts": [1]}')
    (copy / "sentence_bert_config.json").write_text("{}")
    assert notes_of(copy, caplog) == []


@pytest.mark.parametrize("family", ["modernbert", "distilbert", "roberta", "deberta-v2"])
def test_names_of_the_family_s_own_classes_need_no_note(family, family_folder, tmp_path, caplog):
    """ModernBERT's classes with a head put ``model.`` before the names, as some wrappers do."""
    import torch
    from transformers import AutoModel

    folder = Path(shutil.copytree(family_folder(family), tmp_path / "copy"))
    before = states_of(folder)
    prefix = AutoModel.from_pretrained(str(folder)).base_model_prefix
    found = {f"{prefix}.{name}": weight for name, weight in tensors(folder).items()}
    save(folder, found | {"head.dense.weight": torch.ones(2, 2), "decoder.bias": torch.ones(2)})
    with caplog.at_level(logging.WARNING, logger="charkit"):
        np.testing.assert_allclose(states_of(folder), before, atol=1e-6)
    assert not [r for r in caplog.records if r.name.startswith("charkit")]
