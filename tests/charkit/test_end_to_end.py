"""The whole road under attack: damage, removal, signals, hostile names, files and encoders."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from charkit.cli.app import app
from charkit.errors import VanishedError
from charkit.heads.sweep.sweep import sweep
from charkit.store.store import Store
from charkit.tasks.card import SourceOptions, source_stamp

WORDS = "the a cat dog bird man woman film book house good bad fine awful great poor".split()
GRID = {"sizes": (16, 32), "seeds": (0, 1), "executor": 1}
OPTIONS = ("--sizes", "16,32", "--seeds", "0,1", "--executor", "1", "--dtype", "float32")


def write_rows(path, labels=("bad", "good"), n=80):
    rng = random.Random(0)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        for i in range(n):
            words = " ".join(rng.choices(WORDS, k=6))
            writer.writerow((f"{words} {i}", labels[i % len(labels)]))
    return path


@pytest.fixture(scope="module")
def ground(tiny_bert, tmp_path_factory):
    """A file, an encoder, and a store with a finished sweep and its table."""
    folder = tmp_path_factory.mktemp("ground")
    data = write_rows(folder / "d.csv")
    store = Store(folder / "store")
    table = sweep(data, encoder=str(tiny_bert), store=store, **GRID).table
    return data, str(tiny_bert), store.root, table


@pytest.fixture
def copy(ground, tmp_path):
    data, encoder, root, table = ground
    shutil.copytree(root, tmp_path / "copy")
    return data, encoder, Store(tmp_path / "copy"), table


def cli(*arguments, cache=None):
    extra = ["--cache-dir", str(cache)] if cache is not None else []
    return CliRunner().invoke(app, [*map(str, arguments), *extra])


# -- damage and removal -----------------------------------------------------------------


def entries(store, kind):
    return [e.path for e in store.entries([kind]) if e.state == "complete"]


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(data)


def without_heads(store):
    for path in entries(store, "heads"):
        shutil.rmtree(path)


def flip_table_end(store):
    flip(entries(store, "heads")[0] / "table.parquet", -3)


def flip_table_middle(store):
    for path in entries(store, "heads"):
        flip(path / "table.parquet", 1500)


def flip_states(store):
    without_heads(store)
    for path in entries(store, "states"):
        flip(path / "rows-000000000.safetensors", -3)


def flip_states_header(store):
    without_heads(store)
    for path in entries(store, "states"):
        flip(path / "rows-000000000.safetensors", 20)


def flip_states_index(store):
    without_heads(store)
    flip(entries(store, "states")[0] / "index.json", 3)


def flip_card(store):
    flip(entries(store, "tasks")[0] / "card.json", 3)


def cut_states(store):
    without_heads(store)
    os.truncate(entries(store, "states")[0] / "rows-000000000.safetensors", 9000)


def file_for_entry(store):
    path = entries(store, "heads")[0]
    shutil.rmtree(path)
    path.write_text("not a folder")


def link_for_entry(store):
    path = entries(store, "heads")[0]
    shutil.rmtree(path)
    path.symlink_to("/nowhere/at/all")


def flip_partial_states(store):
    without_heads(store)
    for path in entries(store, "states"):
        shard = path / "rows-000000000.safetensors"
        flip(shard, -3)
        folder = store.partial("states", path.name)
        shard.rename(folder / shard.name)
        shutil.rmtree(path)


DAMAGES = (
    flip_table_end, flip_table_middle, flip_states, flip_states_header, flip_states_index,
    flip_partial_states, flip_card, cut_states, file_for_entry, link_for_entry,
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
def test_damage_is_made_again_and_the_table_is_the_same(copy, damage):
    data, encoder, store, table = copy
    damage(store)
    again = sweep(data, encoder=encoder, store=store, **GRID).table
    assert again.equals(table)
    assert Store(store.root).verify() == []


@pytest.mark.parametrize("moment", ["first", "last"])
def test_a_prune_meanwhile_changes_nothing(ground, tmp_path, moment):
    data, encoder, _, table = ground
    store, pruned = Store(tmp_path), []

    def prune(stage, done, total):
        if stage == "heads" and not pruned and done == (0 if moment == "first" else total):
            pruned.extend(Store(tmp_path).prune())

    again = sweep(data, encoder=encoder, store=store, progress=prune, **GRID).table
    assert len(pruned) > 4
    assert again.equals(table)


def test_a_prune_without_end_is_told(ground, tmp_path):
    data, encoder, _, _ = ground

    def prune(stage, done, total):
        if stage == "heads" and done == total:
            Store(tmp_path).prune(kinds=["heads"])

    with pytest.raises(VanishedError, match="Let nothing prune the store"):
        sweep(data, encoder=encoder, store=Store(tmp_path), progress=prune, **GRID)


def test_a_change_that_sets_the_time_back_is_seen(tmp_path):
    path = tmp_path / "d.csv"
    path.write_bytes(b"text,label\na,x\n")
    before, status = source_stamp(path, SourceOptions()), path.stat()
    time.sleep(0.02)
    path.write_bytes(b"text,label\nb,x\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert source_stamp(path, SourceOptions()) != before


def test_a_failed_write_leaves_the_old_results(ground, tmp_path, monkeypatch):
    data, encoder, root, _ = ground
    result = sweep(data, encoder=encoder, store=Store(root), **GRID)
    result.save(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    failed = cli("sweep", data, "-e", encoder, *OPTIONS, "--out", tmp_path, cache=root)
    assert failed.exit_code == 4
    assert "--out" in failed.stderr
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
def test_a_log_file_on_a_full_disk_ends_alone(ground):
    data, encoder, root, _ = ground
    done = cli("sweep", data, "-e", encoder, *OPTIONS, "--log-file", "/dev/full", cache=root)
    assert done.exit_code == 0
    assert done.stderr.count("cannot be written any more") == 1
    assert "Traceback" not in done.stderr


# -- signals ----------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_told_to_stop_it_stops_in_order_and_goes_on_later(ground, tmp_path, number):
    data, encoder, _, table = ground
    command = [sys.executable, "-m", "charkit", "sweep", str(data), "-e", encoder, *OPTIONS]
    # so many draws that no signal comes after the last one
    command += ["--seeds", "0-49", "--cache-dir", str(tmp_path)]
    # whoever runs the tests under nohup has one of them ignored, and that is inherited
    before = signal.signal(number, signal.SIG_DFL)
    try:
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    finally:
        signal.signal(number, before)
    deadline = time.monotonic() + 60
    while not any(tmp_path.glob("states/*/run.json")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(number)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "stopped; what was finished is kept" in messages
    assert "python -m charkit sweep" in messages
    assert "Traceback" not in messages
    again = sweep(data, encoder=encoder, store=Store(tmp_path), **GRID).table
    # other threads: see docs/store.md
    near_zero = ["gradient_norm"]
    pd.testing.assert_frame_equal(again[near_zero], table[near_zero], rtol=1e-3)
    others = [again.drop(columns=near_zero), table.drop(columns=near_zero)]
    pd.testing.assert_frame_equal(*others, rtol=1e-5)


@pytest.mark.skipif(os.name == "nt", reason="a folder in use cannot be removed")
def test_without_a_working_folder(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r}); " + (
        "from charkit.cli.app import app; app(['cache', 'list'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 4
    assert "the working directory is gone" in done.stderr


# -- names and files --------------------------------------------------------------------


def test_no_escape_code_reaches_the_terminal(ground, tmp_path):
    _, encoder, _, _ = ground
    hostile = ("\x1b[31mred\x1b]0;title\x07", "new\nline", "x" * 5000, "\x9b31m")
    path = write_rows(tmp_path / "a\x1b[31m\nb.csv", hostile)
    for more, code in (((), 0), (("--subset", "classes:q,r"), 2), (("--label", "no"), 3)):
        done = cli("sweep", path, "-e", encoder, *OPTIONS, *more, cache=tmp_path / "c")
        assert not {"\x1b", "\x07", "\x9b"} & set(done.output), more
        assert len(done.output) < 6000
        assert done.exit_code == code, done.output


@pytest.mark.skipif(os.name == "nt", reason="files of POSIX")
def test_files_that_are_no_files(tmp_path, ground):
    _, encoder, _, _ = ground
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    wanted = {"pipe": "a pipe or a device", "zero": "a pipe or a device", "loop": "leads nowhere"}
    for name, words in wanted.items():
        done = cli("sweep", tmp_path / f"{name}.csv", "-e", encoder, cache=tmp_path / "c")
        assert (done.exit_code, words in done.stderr) == (4, True), done.stderr
        good = write_rows(tmp_path / "good.csv")
        done = cli(
            "sweep", good, "--eval", tmp_path / f"{name}.csv", "-e", encoder, cache=tmp_path / "c"
        )
        assert (done.exit_code, words in done.stderr) == (4, True), done.stderr


def test_a_header_of_a_million_columns(tmp_path, ground):
    path = tmp_path / "wide.csv"
    path.write_text(",".join(f"c{i}" for i in range(1_000_000)))
    done = cli("sweep", path, "-e", ground[1], cache=tmp_path / "c")
    assert done.exit_code == 3
    assert "has a header (c0, c1, " in done.stderr
    assert len(done.stderr) < 300


def test_one_target_to_be_judged_on(tmp_path, ground):
    train = write_rows(tmp_path / "d.csv", [repr(i / 7 + 0.01) for i in range(40)])
    one = write_rows(tmp_path / "one.csv", ["0.5"], n=1)
    done = cli("sweep", train, "--eval", one, "-e", ground[1], cache=tmp_path / "c")
    assert done.exit_code == 3
    assert "at least 3 evaluation texts" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="names of bytes")
def test_a_name_that_is_not_utf8(tmp_path, ground):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv")
    write_rows(path)
    done = cli("sweep", path, "-e", ground[1], cache=tmp_path / "c")
    assert done.exit_code == 2
    assert "expected a name in UTF-8" in done.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("--seeds", str(10**30)), ("--seeds", "0-3000000000"), ("--layers", "0-99999999999")],
)
def test_numbers_beyond_reason(ground, tmp_path, option, value):
    data, encoder, _, _ = ground
    done = cli("sweep", data, "-e", encoder, option, value, cache=tmp_path)
    assert done.exit_code == 2
    assert option.strip("-") in done.stderr


@pytest.mark.parametrize("scale", [1e300, 1e-300, 1e-9])
def test_targets_beyond_single_precision(ground, tmp_path, scale):
    rng = random.Random(0)
    path = write_rows(tmp_path / "d.csv", [repr(scale * rng.random()) for _ in range(40)])
    done = cli("sweep", path, "-e", ground[1], "--kind", "regression", cache=tmp_path / "c")
    assert done.exit_code == 3
    assert "units" in done.stderr


# -- encoders ---------------------------------------------------------------------------


@pytest.fixture
def encoder(tiny_bert, tmp_path):
    return Path(shutil.copytree(tiny_bert, tmp_path / "encoder"))


def refusal(encoder, data, cache):
    done = cli("encode", data, "-e", encoder, "--dtype", "float32", cache=cache)
    assert not entries(Store(cache), "states")
    return done.exit_code, done.stderr


def changed_weights(encoder, change):
    from safetensors.torch import load_file, save_file

    tensors = load_file(encoder / "model.safetensors")
    change(tensors)
    save_file(tensors, encoder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_encoder_with_broken_weights(encoder, ground, tmp_path, value):
    def spoil(tensors):
        tensors["encoder.layer.1.output.dense.weight"][0, 0] = value

    changed_weights(encoder, spoil)
    code, message = refusal(encoder, ground[0], tmp_path / "c")
    assert code == 3
    assert "from layer 2 on, in 80 of 80 texts" in message


def test_a_tokenizer_of_another_encoder(encoder, ground, tmp_path):
    def shrink(tensors):
        name = "embeddings.word_embeddings.weight"
        tensors[name] = tensors[name][:20].clone()

    changed_weights(encoder, shrink)
    config = json.loads((encoder / "config.json").read_text()) | {"vocab_size": 20}
    (encoder / "config.json").write_text(json.dumps(config))
    code, message = refusal(encoder, ground[0], tmp_path / "c")
    assert code == 3
    assert "expected token ids below 20" in message


def test_an_encoder_without_tokenizer(encoder, ground, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (encoder / name).unlink(missing_ok=True)
    code, message = refusal(encoder, ground[0], tmp_path / "c")
    assert code == 4
    assert "no tokenizer" in message


def test_code_in_an_encoder_folder_never_runs(encoder, ground, tmp_path):
    proof = tmp_path / "ran"
    (encoder / "evil.py").write_text(f"open({str(proof)!r}, 'w')\nclass Evil: pass\n")
    for name, key in (("config.json", "AutoModel"), ("tokenizer_config.json", "AutoTokenizer")):
        value = json.loads((encoder / name).read_text())
        value["auto_map"] = {key: "evil.Evil", "AutoConfig": "evil.Evil"}
        (encoder / name).write_text(json.dumps(value))
    code, message = refusal(encoder, ground[0], tmp_path / "c")
    assert code == 3
    assert "auto_map" in message
    assert not proof.exists()


def test_pickled_weights_are_not_read(encoder, ground, tmp_path):
    import torch

    torch.save({"a": torch.zeros(1)}, encoder / "pytorch_model.bin")
    (encoder / "model.safetensors").unlink()
    code, message = refusal(encoder, ground[0], tmp_path / "c")
    assert code == 4
    assert "Weights in other formats are not read" in message
