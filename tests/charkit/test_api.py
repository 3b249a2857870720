import importlib
import importlib.util
import inspect
import subprocess
import sys

import numpy as np
import pytest

import charkit
from charkit.answers.accuracy.result import EstimateAnswer
from charkit.answers.embedding.embed import choose_options
from charkit.api import fetch
from charkit.cli.app import app
from charkit.errors import OfflineError, UnknownNameError, UsageError
from charkit.learners.draws import draws_of
from charkit.tasks import lazy_task

PACKAGES = ("charkit", "charkit.tasks", "charkit.encoders", "charkit.fisher")
"""Packages whose stubs name what they offer (`charkit.lazy`)."""


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_resolves(package):
    found = importlib.import_module(package)
    assert found.__all__
    for name in found.__all__:
        assert getattr(found, name) is not None
    assert set(dir(found)) == set(found.__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_name_is_hidden_by_a_module_of_that_name(package):
    """Importing charkit.x sets the attribute x of the package, over the lazy name."""
    for name in importlib.import_module(package).__all__:
        assert importlib.util.find_spec(f"{package}.{name}") is None, name


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="swep"):
        charkit.swep  # noqa: B018


def test_encode_keeps_all_layers(tiny_bert, tmp_store):
    task = charkit.generated_task("sentiment", n_train=40, n_eval=20)
    encoded = charkit.encode(task, encoder=str(tiny_bert), store=tmp_store)
    assert set(encoded.parts) == {"train", "evaluation"}
    assert encoded.parts["train"].layer(-1).shape == (40, 32)
    assert [r["texts"] for r in encoded.rows()] == [40, 20]
    assert np.isfinite(encoded.parts["train"].to_numpy()).all()
    assert charkit.verify(store=tmp_store) == []


def few(n=24):
    texts = [f"the {'good' if i % 2 else 'bad'} cat sees dog {i}" for i in range(n)]
    return {"text": texts, "label": ["ab"[i % 2] for i in range(n)]}


def test_a_single_value_stands_for_a_list_of_it(tiny_bert, tmp_store):
    same = {"store": tmp_store}
    lists = charkit.sweep(
        few(), encoder=[str(tiny_bert)], layers=[2], sizes=[8], seeds=[0], subsets=["all"],
        controls=["none"], **same,
    )  # fmt: skip
    single = charkit.sweep(
        few(), encoder=tiny_bert, layers=np.int64(2), sizes=8, seeds=np.int8(0), subsets="all",
        controls="none", **same,
    )  # fmt: skip
    assert len(single.to_pandas()) == 1
    assert single.to_pandas().equals(lists.to_pandas())


def test_an_argument_of_another_type_is_named(tiny_bert):
    with pytest.raises(UsageError, match=r"encoder: expected a name, a folder.*got int"):
        charkit.encode(few(), encoder=3)
    with pytest.raises(UsageError, match=r"pool: expected a file.*got list. Add its rows"):
        charkit.next_labels(few(), pool=["a text"], encoder=str(tiny_bert))
    with pytest.raises(UsageError, match=r"two tasks have one name.*replace\(task, name="):
        charkit.sweep([charkit.load_task(few())] * 2, encoder=tiny_bert)


RENAMED = {
    "cache_dir": "store",
    "shard": "executor",
    "unlabelled": "evaluation",
    "learner": "learners",
}
FUNCTIONS = {"encoders": "rank_encoders"}
SCREEN = {
    "out",
    "page",
    "dry_run",
    "machines",
    "price",
    "fmt",
    "quiet",
    "verbose",
    "log_file",
    "debug",
}


@pytest.mark.parametrize(
    "name",
    [
        "sweep",
        "layers",
        "encoders",
        "embed",
        "estimate",
        "evaluate",
        "next_labels",
        "encode",
        "fetch",
        "verify",
    ],
)
def test_python_takes_what_the_command_takes(name):
    """Every option that is not about the screen or files has its argument in Python."""
    command = next(c.callback for c in app.registered_commands if c.callback.__name__ == name)
    options = set(inspect.signature(command).parameters) - SCREEN
    if name == "encode":
        options -= {"layers"}  # of the files: EncodedTask.save takes it
    function = getattr(charkit, FUNCTIONS.get(name, name))
    objects = [charkit.load_task, charkit.load_encoder, charkit.EncodeOptions]
    compared = EstimateAnswer.compared_with
    others = {"embed": [choose_options], "sweep": [draws_of], "estimate": [compared]}
    objects += others.get(name, [])
    arguments = {a for f in (function, *objects) for a in inspect.signature(f).parameters}
    assert {RENAMED.get(option, option) for option in options} <= arguments


def test_sources_are_read_as_asked(tiny_bert, tmp_path, tmp_store):
    path = tmp_path / "odd.csv"
    rows = [
        f"the {w} is {g} {i},{g}"
        for i in range(12)
        for w in ("cat", "dog")
        for g in ("good", "bad")
    ]
    path.write_text("a,b\n" + "\n".join(rows) + "\n,good\n")
    options = {"text": "a", "label": "b", "eval_frac": 0.5, "on_bad_rows": "drop", "offline": True}
    grid = {"encoder": str(tiny_bert), "store": tmp_store}
    for task in (charkit.load_task(path, **options), lazy_task(path, store=tmp_store, **options)):
        encoded = charkit.encode(task, eval_frac=0.5, **grid)
        assert [r["texts"] for r in encoded.rows()] == [24, 24]
        answer = charkit.layers(task, seeds=[0], executor=1, **grid)
        assert answer.card.n_train == 24
        result = charkit.sweep(task, seeds=[0], sizes=[8], controls=[], executor=1, **grid)
        assert result.cards[0].n_train == 24


def test_results_show_themselves(tiny_bert, tmp_store):
    task = charkit.generated_task("sentiment", n_train=40, n_eval=20)
    grid = {"encoder": str(tiny_bert), "store": tmp_store}
    encoded = charkit.encode(task, **grid)
    assert "<table" in encoded._repr_html_()
    assert "truncated" in repr(encoded)
    assert len(encoded.to_pandas()) == 2
    answer = charkit.layers(task, executor=1, seeds=[0], **grid)
    assert repr(answer) == "\n".join(answer.lines())
    assert "torch: ok" in repr(charkit.doctor(tmp_store))


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
r = charkit.sweep(task, encoder={str(tiny_bert)!r}, sizes=[16], seeds=[0], executor=1,
                  store=charkit.Store({str(tmp_path)!r}), controls=["majority"])
print(len(r.table))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "4"
