import subprocess
import sys

import numpy as np
import pytest

import charkit
from charkit.api import fetch
from charkit.errors import OfflineError, UnknownNameError


def test_every_public_name_resolves():
    for name in charkit.__all__:
        assert getattr(charkit, name) is not None
    assert set(dir(charkit)) == set(charkit.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="swep"):
        charkit.swep  # noqa: B018


def test_encode_keeps_all_layers(tiny_bert, tmp_store):
    task = charkit.generated_task("sentiment", n_train=40, n_eval=20)
    encoded = charkit.encode(task, encoder=str(tiny_bert), store=tmp_store, dtype="float32")
    assert set(encoded.parts) == {"train", "evaluation"}
    assert encoded.parts["train"].layer(-1).shape == (40, 32)
    assert [r["texts"] for r in encoded.rows()] == [40, 20]
    assert np.isfinite(encoded.parts["train"].to_numpy()).all()
    assert charkit.verify(store=tmp_store) == []


def test_fetch_offline_says_what_is_missing():
    with pytest.raises(OfflineError):
        fetch("bert-base-uncased", offline=True)


def test_fetch_of_a_misspelt_encoder_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="bert-base-uncased"):
        fetch("bert-base-uncasd", offline=True)


def test_fetch_of_a_folder_checks_it(tiny_bert):
    (fetched,) = fetch(str(tiny_bert))
    assert fetched.kind == "encoder"
    assert fetched.row()["place"] == str(tiny_bert)


def test_works_with_sockets_blocked_in_a_fresh_process(tiny_bert, tmp_path):
    code = f"""
import socket
def refuse(*a, **k): raise AssertionError("a connection was tried")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
import charkit
task = charkit.generated_task("sentiment", n_train=40, n_eval=20)
r = charkit.sweep(task, encoder={str(tiny_bert)!r}, sizes=[16], seeds=[0], n_workers=1,
                  store=charkit.Store({str(tmp_path)!r}), controls=["majority"])
print(len(r.table))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "4"
