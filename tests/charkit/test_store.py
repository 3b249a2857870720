"""The store: whole or absent, whatever happens to the process, the disk or the files."""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import os
import pickle
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkit.config import content_hash
from charkit.errors import DataError, MissingError, UnknownNameError, UsageError
from charkit.store import listing
from charkit.store.cached import cached
from charkit.store.durable import (
    default_root,
    disk_full_as_error,
    is_full,
    os_errors_as_missing,
    write_whole,
)
from charkit.store.store import Store

WRITER = Path(__file__).with_name("store_writer.py")
ROOT = Path(__file__).resolve().parents[2]


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def start(*arguments, **options):
    command = [sys.executable, str(WRITER), *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, text=True, **options
    )


def wait_until_ready(process):
    assert process.stdout.readline() == "ready\n"


def stop(process):
    process.kill()
    process.communicate()


def filled(store, number=0, kind="heads", data=b"0123456789"):
    config = {"number": number}
    key = content_hash(config)
    store.put(kind, key, {"table.bin": data, "note.txt": b"n"}, {"config": config})
    return key


def contents(root):
    """Return every file of the finished entries; of run.json all but times and code.

    The code is left out because someone may commit to this checkout during the test.
    """
    found = {}
    for entry in Store(root).entries():
        assert entry.state == "complete", entry
        for path in entry.path.iterdir():
            data = path.read_bytes()
            if path.name == "run.json":
                run = json.loads(data)
                for name in ("created", "time", "peak_bytes", "sha256", "code"):
                    run.pop(name)
                data = json.dumps(run)
            found[f"{entry.kind}/{entry.key}/{path.name}"] = data
    return found


# -- the ordinary way -------------------------------------------------------------------


def test_put_then_find(tmp_store):
    key = filled(tmp_store)
    folder = tmp_store.find("heads", key, deep=True)
    assert folder == tmp_store.root / "heads" / key
    assert (folder / "table.bin").read_bytes() == b"0123456789"
    run = tmp_store.read_manifest("heads", key)
    assert run["config"] == {"number": 0}
    assert run["files"]["table.bin"] == {
        "bytes": 10,
        "sha256": "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882",
    }
    assert tmp_store.verify() == []
    assert tmp_store.damaged == []


def test_run_file_is_sorted_and_readable(tmp_store):
    key = filled(tmp_store)
    text = (tmp_store.find("heads", key) / "run.json").read_text()
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=2) + "\n"


def test_find_of_nothing_makes_nothing(tmp_store):
    assert tmp_store.find("heads", "0" * 24) is None
    assert tmp_store.entries() == []
    assert tmp_store.prune() == []
    assert tmp_store.verify() == []
    assert not tmp_store.root.exists()
    with pytest.raises(MissingError, match="no such result"):
        tmp_store.read_manifest("heads", "0" * 24)


def test_partial_work_is_kept_and_then_committed(tmp_store):
    config = {"a": 1}
    key = content_hash(config)
    with tmp_store.lock("states", key):
        folder = tmp_store.partial("states", key)
        write_whole(folder / "one.bin", b"1")
        (folder / ".two.bin.00ff.tmp").write_bytes(b"half")
    again = Store(tmp_store.root)
    assert again.find("states", key) is None
    assert [e.state for e in again.entries()] == ["partial"]
    with again.lock("states", key):
        assert again.partial("states", key) == folder
        assert (folder / "one.bin").read_bytes() == b"1"
        place = again.commit("states", key, folder, {"config": config})
    assert sorted(p.name for p in place.iterdir()) == ["one.bin", "run.json"]
    assert not folder.exists()


def test_the_first_commit_is_kept(tmp_store):
    key = filled(tmp_store, data=b"first")
    with tmp_store.lock("heads", key):
        folder = tmp_store.partial("heads", key)
        write_whole(folder / "table.bin", b"second")
        place = tmp_store.commit("heads", key, folder, {"config": {"number": 0}})
    assert (place / "table.bin").read_bytes() == b"first"
    assert filled(tmp_store, data=b"third") == key
    assert (place / "table.bin").read_bytes() == b"first"
    assert not folder.exists()


def test_what_a_killed_put_left_is_wiped(tmp_store):
    key = content_hash({"number": 0})
    write_whole(tmp_store.partial("heads", key) / "stray.bin", b"x")
    filled(tmp_store)
    assert not (tmp_store.find("heads", key) / "stray.bin").exists()


@pytest.mark.parametrize("name", ["../out", "", ".hidden", "a/b", "a b", "x" * 200])
def test_bad_names_are_refused(tmp_store, name):
    with pytest.raises(UsageError, match="expected letters"):
        tmp_store.find("heads", name)
    with pytest.raises(UsageError, match="expected letters"):
        tmp_store.find(name, "0" * 24)
    with pytest.raises(UsageError, match="expected letters"):
        tmp_store.put("heads", "0" * 24, {name: b""}, {})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"x": object()}, "expected JSON values"),
        ({"x": float("nan")}, "expected JSON values"),
        ({"files": {}}, "the store's own"),
        ({"config": {"number": 1}}, "the hash of its config"),
    ],
)
def test_bad_manifest_fields_are_refused(tmp_store, fields, message):
    with pytest.raises(UsageError, match=message):
        tmp_store.put("heads", "0" * 24, {"a": b""}, fields)
    assert tmp_store.entries() == []


def test_only_the_partial_folder_is_committed(tmp_store, tmp_path):
    with pytest.raises(UsageError, match="partial"):
        tmp_store.commit("heads", "0" * 24, tmp_path, {})
    folder = tmp_store.partial("heads", "0" * 24)
    (folder / "below").mkdir()
    with pytest.raises(UsageError, match="plain files"):
        tmp_store.commit("heads", "0" * 24, folder, {})


def test_a_store_travels_to_another_process(tmp_store):
    key = filled(tmp_store)
    copy = pickle.loads(pickle.dumps(tmp_store))
    assert copy.root == tmp_store.root
    assert copy.find("heads", key) == tmp_store.find("heads", key)


# -- where it lies ----------------------------------------------------------------------


def test_default_root(monkeypatch, tmp_path):
    monkeypatch.setenv("CHARKIT_CACHE", str(tmp_path / "here"))
    assert Store().root == tmp_path / "here"
    monkeypatch.setenv("CHARKIT_CACHE", " ")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_root().name == "charkit"
    assert Path.cwd() not in default_root().parents
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    with pytest.raises(MissingError, match="Set CHARKIT_CACHE"):
        Store()


def test_the_root_does_not_move_with_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    store = Store("cache")
    key = filled(store)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert store.find("heads", key) is not None


def test_listing_a_store_imports_nothing_heavy(tmp_store):
    filled(tmp_store)
    code = (
        "import sys; from charkit.store.store import Store; s = Store(sys.argv[1]); s.entries();"
        "s.verify(); s.prune(dry_run=True); heavy = {'torch', 'pandas', 'numpy', 'sklearn'};"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    command = [sys.executable, "-c", code, str(tmp_store.root)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# -- damage -----------------------------------------------------------------------------


def damage_truncate(folder):
    with open(folder / "table.bin", "r+b") as file:
        file.truncate(4)


def damage_remove(folder):
    (folder / "table.bin").unlink()


def damage_empty_run(folder):
    (folder / "run.json").write_bytes(b"")


def damage_half_run(folder):
    data = (folder / "run.json").read_bytes()
    (folder / "run.json").write_bytes(data[: len(data) // 2])


def damage_no_run(folder):
    (folder / "run.json").unlink()


def damage_binary_run(folder):
    (folder / "run.json").write_bytes(bytes(range(256)))


def damage_list_run(folder):
    (folder / "run.json").write_text("[]")


def damage_run_of_another(folder):
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, "key": "1" * 24}))


def damage_files_field(folder):
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, "files": {"table.bin": 10}}))


def damage_created_field(folder):
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, "created": 5}))


def damage_format(folder):
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, "format": 99}))


CHEAP = [value for name, value in list(globals().items()) if name.startswith("damage_")]


def flip(path, position=3):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", CHEAP)
def test_damage_counts_as_absent_and_is_made_again(tmp_store, damage, caplog):
    key, other = filled(tmp_store), filled(tmp_store, 1)
    damage(tmp_store.find("heads", key))
    assert {p.key for p in tmp_store.verify()} == {key}
    with caplog.at_level(logging.WARNING):
        assert tmp_store.find("heads", key) is None
        assert tmp_store.find("heads", key) is None
    assert len(caplog.records) == 1
    assert key in caplog.text
    assert "made again" in caplog.text
    assert [p.key for p in tmp_store.damaged] == [key]
    states = {(e.key, e.state) for e in tmp_store.entries()}
    assert states == {(key, "damaged"), (other, "complete")}
    filled(tmp_store)
    assert tmp_store.find("heads", key, deep=True) is not None
    assert tmp_store.verify() == []
    assert [e.key for e in tmp_store.prune(older_than_s=0)].count(key) == 2


@pytest.mark.parametrize("name", ["table.bin", "note.txt"])
def test_a_flipped_bit_is_found_by_hash_only(tmp_store, name):
    key = filled(tmp_store)
    folder = tmp_store.find("heads", key)
    flip(folder / name, 0)
    assert tmp_store.find("heads", key) == folder
    (problem,) = tmp_store.verify()
    assert (problem.key, problem.file) == (key, name)
    assert "SHA-256" in str(problem)
    assert tmp_store.find("heads", key, deep=True) is None
    assert len(tmp_store.damaged) == 1


def test_every_flipped_bit_of_a_run_file_is_found(tmp_store):
    config = {"number": 0}
    key = content_hash(config)
    path = tmp_store.put("heads", key, {"a": b"1"}, {"config": config}) / "run.json"
    good = path.read_bytes()
    unseen = []
    for position in range(len(good)):
        flip(path, position)
        if not tmp_store.verify():
            unseen.append(position)
        path.write_bytes(good)
    assert all(good[position] in b" \n" for position in unseen)


def test_verify_finds_a_wrong_key_and_stray_files(tmp_store):
    key = filled(tmp_store)
    place = tmp_store.find("heads", key)
    run = json.loads((place / "run.json").read_text())
    (place / "run.json").write_text(json.dumps({**run, "config": {"number": 7}}))
    (place / "stray.bin").write_bytes(b"")
    found = {(p.file, p.message.split(",")[0]) for p in tmp_store.verify()}
    assert found == {
        ("run.json", "its fields differ from its own SHA-256"),
        ("run.json", f"the hash of its config is {content_hash({'number': 7})}"),
        ("stray.bin", "is not listed in run.json"),
    }


def test_verify_takes_keys(tmp_store):
    keys = [filled(tmp_store, i) for i in range(3)]
    for key in keys:
        flip(tmp_store.root / "heads" / key / "table.bin")
    calls = []
    problems = tmp_store.verify(keys[:1], progress=lambda *call: calls.append(call))
    assert [p.key for p in problems] == keys[:1]
    assert calls == [("verify", 0, 1), ("verify", 1, 1)]
    with pytest.raises(UnknownNameError, match="unknown key"):
        tmp_store.verify(["0" * 24])


def test_damage_in_a_store_that_cannot_be_written(tmp_store, monkeypatch):
    key = filled(tmp_store)
    damage_truncate(tmp_store.find("heads", key))

    def refuse(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "rename", refuse)
    for _ in range(2):  # whoever looks again must not take it for whole
        with pytest.raises(MissingError, match=r"cannot be set aside .*Remove that folder by hand"):
            tmp_store.find("heads", key)


def test_damage_of_the_same_size_is_never_used_where_it_cannot_be_set_aside(tmp_store, monkeypatch):
    key = filled(tmp_store)
    flip(tmp_store.root / "heads" / key / "table.bin")
    monkeypatch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(PermissionError(13, "no")))
    with pytest.raises(MissingError, match="cannot be set aside"):
        cached(tmp_store, "heads", {"number": 0}, make=lambda _: {}, load=lambda _: "used")


@pytest.mark.parametrize("name", [".damaged", ".trash", ".partial"])
def test_a_file_or_a_link_in_the_place_of_a_side_folder_is_no_obstacle(tmp_store, tmp_path, name):
    key = filled(tmp_store)
    side = tmp_store.root / "heads" / name
    side.parent.mkdir(exist_ok=True)
    for foreign in ("file", "link"):
        if side.is_dir():
            side.rename(tmp_path / f"{name}-{foreign}")
        if foreign == "file":
            side.write_text("not the store's")
        else:
            side.symlink_to(tmp_path)
        flip(tmp_store.root / "heads" / key / "table.bin")
        assert tmp_store.find("heads", key, deep=True) is None
        filled(tmp_store)
        tmp_store.prune()
        filled(tmp_store)
        assert tmp_store.verify() == []
    assert not any(tmp_path.glob(f"{key}*"))


def test_cached_sweeps_what_is_not_its_own_and_takes_up_what_is(tmp_store):
    key = content_hash({"number": 0})
    folder = tmp_store.partial("heads", key)
    (folder / "inner").mkdir()
    (folder / "inner" / "x").write_text("x")
    (folder / "foreign.txt").write_text("x")
    (folder / "link").symlink_to(folder)
    (folder / "rows-2").mkdir()
    (folder / "rows-1").write_text("kept")
    seen = []

    def make(place):
        seen.extend(p.name for p in place.iterdir())
        return {"config": {"number": 0}}

    made = cached(
        tmp_store, "heads", {"number": 0}, make=make, load=lambda _: 1, resume=["rows-1", "rows-2"]
    )
    assert (seen, made.found, made.key) == (["rows-1"], False, key)
    assert sorted(p.name for p in tmp_store.find("heads", key).iterdir()) == ["rows-1", "run.json"]
    assert cached(tmp_store, "heads", {"number": 0}, make=make, load=lambda _: 1).found


def test_cached_leaves_nothing_of_a_failure_unless_it_can_go_on(tmp_store):
    def make(place):
        write_whole(place / "rows-1", b"1")
        raise ValueError("failed")

    key = content_hash({"number": 0})
    for resume, left in ((["rows-1"], True), ([], False)):
        with pytest.raises(ValueError, match="failed"):
            cached(tmp_store, "heads", {"number": 0}, make=make, load=str, resume=resume)
        assert (tmp_store.root / "heads" / ".partial" / key).exists() == left


def test_prune_removes_what_verify_names(tmp_store):
    keys = [filled(tmp_store, i) for i in range(3)]
    flip(tmp_store.root / "heads" / keys[1] / "table.bin")
    (tmp_store.root / "heads" / keys[2] / "stray").write_text("x")
    named = {p.key for p in tmp_store.verify()}
    assert {e.key for e in tmp_store.prune(only_damaged=True, dry_run=True)} == named
    assert {e.key for e in tmp_store.prune(only_damaged=True)} == named == set(keys[1:])
    assert tmp_store.verify() == []
    assert [e.key for e in tmp_store.entries()] == keys[:1]


@pytest.mark.parametrize("named", ["", "  ", "~nosuchuser/x", "a\0b"])
def test_a_root_that_is_no_folder_is_refused(named):
    with pytest.raises(UsageError, match="expected"):
        Store(named)


def test_a_root_of_too_long_a_name_is_refused(tmp_path):
    with pytest.raises(MissingError, match="File name too long"):
        Store(tmp_path / ("x" * 300)).find("heads", "0" * 24)


def test_without_a_home_the_message_says_what_to_set(monkeypatch):
    monkeypatch.delenv("CHARKIT_CACHE", raising=False)
    for name in ("HOME", "XDG_CACHE_HOME", "USERPROFILE", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(MissingError, match="Set CHARKIT_CACHE or HOME"):
        Store()


def test_damage_under_anothers_lock_is_left_to_it(tmp_store):
    key = filled(tmp_store)
    damage_truncate(tmp_store.find("heads", key))
    process = start("hold", tmp_store.root, "heads", key)
    try:
        wait_until_ready(process)
        assert tmp_store.find("heads", key) is None
        assert (tmp_store.root / "heads" / key).is_dir()
    finally:
        stop(process)
    assert tmp_store.find("heads", key) is None
    assert not (tmp_store.root / "heads" / key).is_dir()


# -- listing and pruning ----------------------------------------------------------------


def age(store, key, days):
    path = store.root / "heads" / key / "run.json"
    run = json.loads(path.read_text())
    then = datetime.fromtimestamp(time.time() - days * 86400, UTC)
    path.write_text(json.dumps({**run, "created": then.isoformat()}))


def test_entries_are_described(tmp_store):
    keys = sorted(filled(tmp_store, i) for i in range(3))
    filled(tmp_store, 0, kind="states")
    entries = tmp_store.entries()
    assert [e.kind for e in entries] == ["heads"] * 3 + ["states"]
    assert [e.key for e in entries[:3]] == keys
    run_bytes = (entries[0].path / "run.json").stat().st_size
    assert entries[0].n_bytes == 11 + run_bytes
    assert abs((datetime.now(UTC) - entries[0].created).total_seconds()) < 30
    assert entries[0].manifest["config"]["number"] in range(3)
    assert [e.kind for e in tmp_store.entries(["states", "fisher"])] == ["states"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        entries[0].key = "x"


def test_match_takes_the_beginning_of_a_key(tmp_store):
    keys = [filled(tmp_store, i) for i in range(40)]
    assert tmp_store.match(keys[0]).key == keys[0]
    assert tmp_store.match(keys[0][:10]).key == keys[0]
    with pytest.raises(UsageError, match="not unique"):
        tmp_store.match("")
    with pytest.raises(UnknownNameError, match="did you mean"):
        tmp_store.match(keys[0][:-2] + "zz")


def test_prune_by_age_and_kind(tmp_store):
    old, new = filled(tmp_store, 0), filled(tmp_store, 1)
    filled(tmp_store, 0, kind="states")
    age(tmp_store, old, days=31)
    month = 30 * 86400.0
    assert tmp_store.prune(month, ["states"]) == []
    (planned,) = tmp_store.prune(month, dry_run=True)
    assert planned.key == old
    assert tmp_store.find("heads", old) is not None
    (removed,) = tmp_store.prune(month)
    assert removed == planned
    assert removed.n_bytes > 11
    assert tmp_store.find("heads", old) is None
    assert tmp_store.find("heads", new) is not None
    assert len(tmp_store.prune(kinds=["heads"])) == 1
    assert [e.kind for e in tmp_store.entries()] == ["states"]
    assert not (tmp_store.root / "heads" / ".trash").exists()


def test_prune_and_work_in_progress(tmp_store):
    key = content_hash({"a": 1})
    write_whole(tmp_store.partial("states", key) / "one.bin", b"123")
    assert tmp_store.prune(keep_partial=True) == []
    with tmp_store.lock("states", "f" * 24):
        (removed,) = tmp_store.prune()
    assert (removed.state, removed.key, removed.n_bytes) == ("partial", key, 3)
    assert tmp_store.entries() == []


def test_prune_leaves_what_is_locked(tmp_store):
    key = filled(tmp_store)
    other = content_hash({"a": 1})
    write_whole(tmp_store.partial("heads", other) / "one.bin", b"1")
    held = [start("hold", tmp_store.root, "heads", k) for k in (key, other)]
    try:
        for process in held:
            wait_until_ready(process)
        assert tmp_store.prune() == []
        assert len(tmp_store.entries()) == 2
    finally:
        for process in held:
            stop(process)
    assert len(tmp_store.prune()) == 2


def test_prune_leaves_what_the_store_did_not_make(tmp_path):
    (tmp_path / "photos" / "summer").mkdir(parents=True)
    (tmp_path / "photos" / "summer" / "beach.jpg").write_bytes(b"sea")
    (tmp_path / "letter.txt").write_text("dear")
    store = Store(tmp_path)
    filled(store)
    assert len(store.entries()) == 1
    assert len(store.prune()) == 1
    assert (tmp_path / "photos" / "summer" / "beach.jpg").exists()
    assert (tmp_path / "letter.txt").exists()


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
@pytest.mark.parametrize("name", ["linked", "heads/.partial", "heads/.damaged", "heads/.trash"])
def test_prune_follows_no_link_out_of_the_store(tmp_path, name):
    outside = tmp_path / "outside"
    (outside / ".locks").mkdir(parents=True)
    (outside / "mine").mkdir()
    (outside / "mine" / "letter.txt").write_text("dear")
    store = Store(tmp_path / "store")
    filled(store)
    link = store.root / name
    if link.is_dir():
        link.rmdir()
    link.symlink_to(outside)
    store.prune()
    assert sorted(p.name for p in outside.rglob("*")) == [".locks", "letter.txt", "mine"]
    assert Store(store.root).entries() == []


@pytest.mark.skipif(os.name == "nt", reason="files of POSIX")
@pytest.mark.parametrize("kind", ["link", "pipe"])
@pytest.mark.parametrize("name", ["table.bin", "run.json"])
def test_what_never_ends_is_not_read(tmp_store, kind, name):
    folder = tmp_store.find("heads", filled(tmp_store))
    run = json.loads((folder / "run.json").read_text())
    run["files"]["table.bin"]["bytes"] = 0
    (folder / "run.json").write_text(json.dumps(run))
    (folder / name).unlink()
    if kind == "link":
        (folder / name).symlink_to("/dev/zero")
    else:
        os.mkfifo(folder / name)
    assert "is not a plain file" in " ".join(map(str, tmp_store.verify()))
    assert [e.state for e in tmp_store.entries()] == ["damaged"]


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/b", ".hidden", ""])
def test_a_run_file_that_lists_files_elsewhere(tmp_store, name):
    folder = tmp_store.find("heads", filled(tmp_store))
    run = json.loads((folder / "run.json").read_text())
    run["files"][name] = {"bytes": 0, "sha256": "0" * 64}
    (folder / "run.json").write_text(json.dumps(run))
    (problem,) = tmp_store.verify()
    assert problem.message == "lists a file that is not its own"


# -- locks ------------------------------------------------------------------------------


def test_a_thread_may_take_its_lock_again(tmp_store):
    key = content_hash({"number": 0})
    with tmp_store.lock("heads", key), tmp_store.lock("heads", key):
        filled(tmp_store)
    assert tmp_store.find("heads", key) is not None


def test_threads_exclude_each_other(tmp_store):
    inside, most = [0], [0]

    def work():
        for _ in range(5):
            with tmp_store.lock("heads", "a" * 24):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.002)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_waiting_is_told_and_ends_when_the_holder_is_killed(tmp_store, caplog):
    process = start("hold", tmp_store.root, "heads", "a" * 24)
    wait_until_ready(process)
    calls = []

    def progress(stage, done, total):
        calls.append((stage, done, total))
        process.kill()

    with caplog.at_level(logging.INFO), tmp_store.lock("heads", "a" * 24, progress=progress):
        pass
    process.communicate()
    assert calls == [(f"waiting for heads/{'a' * 24}", 0, 1)]
    assert "waiting for heads/" in caplog.text


def test_processes_that_race_make_every_entry_once(tmp_store, tmp_path):
    log = tmp_path / "made.txt"
    racers = [start("race", tmp_store.root, 25, log, stderr=subprocess.PIPE) for _ in range(3)]
    answers = [process.communicate() for process in racers]
    assert [process.returncode for process in racers] == [0] * 3, answers
    made = log.read_text().split()
    assert len(made) == len(set(made)) == 25
    assert len(tmp_store.entries()) == 25
    assert tmp_store.verify() == []


# -- kill -9 ----------------------------------------------------------------------------


def test_kill_at_every_step_changes_nothing(tmp_path):
    process = start("steps", tmp_path, stderr=subprocess.PIPE)
    answer, errors = process.communicate()
    assert process.returncode == 0, errors
    n_steps = int(answer)
    assert n_steps > 30
    expected = contents(tmp_path / str(n_steps))
    assert len(expected) == 7
    for step in range(1, n_steps):
        assert contents(tmp_path / str(step)) == expected, step


def test_kill_at_random_moments_changes_nothing(tmp_path):
    n_entries, rng = 25, random.Random(0)
    undisturbed = start("fill", tmp_path / "whole", n_entries)
    wait_until_ready(undisturbed)
    begin = time.perf_counter()
    undisturbed.communicate()
    whole_s = time.perf_counter() - begin
    assert undisturbed.returncode == 0
    root = tmp_path / "killed"
    n_killed = 0
    for _ in range(15):
        process = start("fill", root, n_entries)
        wait_until_ready(process)
        time.sleep(rng.uniform(0.0, whole_s / 10))
        n_killed += process.poll() is None
        stop(process)
        assert Store(root).verify() == []
    assert n_killed >= 3
    last = start("fill", root, n_entries)
    last.communicate()
    assert last.returncode == 0
    assert contents(root) == contents(tmp_path / "whole")
    assert len(contents(root)) == n_entries * 7


# -- disks that refuse ------------------------------------------------------------------


def refused(action):
    with pytest.raises(MissingError) as caught:
        action()
    message = str(caught.value)
    assert "CHARKIT_CACHE or --cache-dir" in message
    assert caught.value.exit_code == 4
    return message


def test_root_below_or_at_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "cache"):
        store = Store(root)
        assert store.find("heads", "0" * 24) is None
        assert store.entries() == []
        assert str(root) in refused(lambda store=store: filled(store))
        refused(lambda store=store: store.partial("heads", "0" * 24))
        refused(lambda store=store: store.lock("heads", "0" * 24).__enter__())


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing forbids the superuser to write")
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    try:
        assert "Permission" in refused(lambda: filled(Store(tmp_path / "cache")))
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    "name", ["mkdir", "open", "replace", "rename", "fsync"], ids=lambda n: f"os.{n}"
)
@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
def test_every_refusal_has_words_and_leaves_no_half(tmp_store, monkeypatch, name, code):
    kept = filled(tmp_store, 1)
    real = getattr(os, name)

    def refuse(*arguments, **options):
        if name == "open" and not arguments[1] & os.O_CREAT:
            return real(*arguments, **options)
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, name, refuse)
        message = refused(lambda: filled(tmp_store, 2, kind="fresh"))
    assert str(tmp_store.root) in message
    assert ("prune" in message) == (code in (errno.ENOSPC, errno.EDQUOT))
    assert [e.key for e in tmp_store.entries()] == [kept]
    key = filled(tmp_store, 2, kind="fresh")
    assert tmp_store.find("fresh", key, deep=True) is not None


def run_overflow(command, root):
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    if "unshare" in command[0] and done.returncode not in (0, 4):
        pytest.skip(f"no small disk can be made here: {done.stderr.strip()}")
    return done


@pytest.mark.parametrize("how", ["put", "safetensors"])
def test_a_size_limit_of_the_system(tmp_path, how):
    command = [sys.executable, str(WRITER), "overflow", str(tmp_path), how, "100000"]
    done = run_overflow(command, tmp_path)
    assert done.returncode == 4, done.stderr
    assert "no space to write" in done.stderr
    assert str(tmp_path) in done.stderr
    entries = Store(tmp_path).entries()
    assert [e.state for e in entries] == ([] if how == "put" else ["partial"])


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
@pytest.mark.parametrize("how", ["put", "safetensors"])
def test_a_full_disk(tmp_path, how):
    script = (
        'mount -t tmpfs -o size=256k none "$1" || exit 99; "$2" "$3" overflow "$1" "$4" 0; '
        'code=$?; [ -z "$(find "$1" -name run.json)" ] || exit 98; exit $code'
    )
    command = ["unshare", "-m", "-r", "sh", "-c", script, "sh", str(tmp_path)]
    done = run_overflow([*command, sys.executable, str(WRITER), how], tmp_path)
    assert done.returncode == 4
    assert "No space left on device" in done.stderr
    assert "cache prune" in done.stderr


def test_write_whole_replaces_or_keeps(tmp_path, monkeypatch):
    path = tmp_path / "below" / "a.txt"
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"

    def refuse(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(MissingError, match="no space"):
        write_whole(path, b"newest")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_errors_that_are_not_the_disks_pass(tmp_path):
    assert is_full(OSError(errno.ENOSPC, ""))
    assert is_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert not is_full(RuntimeError("No such file or directory (os error 2)"))
    for guard in (disk_full_as_error, os_errors_as_missing):
        with pytest.raises(DataError), guard(tmp_path):
            raise DataError("(os error 28)")
        with pytest.raises(ZeroDivisionError), guard(tmp_path):
            raise ZeroDivisionError
    with pytest.raises(FileNotFoundError), disk_full_as_error(tmp_path):
        raise FileNotFoundError(errno.ENOENT, "")


# -- the index of the list ---------------------------------------------------------------


def looks(monkeypatch):
    """Count the entries that a list opens."""
    opened = []
    real = listing.check_entry
    monkeypatch.setattr(
        listing, "check_entry", lambda f, *, deep: opened.append(f.name) or real(f, deep=deep)
    )
    return opened


def test_a_list_opens_no_entry_that_has_not_changed(tmp_store, monkeypatch):
    keys = sorted(filled(tmp_store, i) for i in range(3))
    index = tmp_store.root / "heads" / ".index"
    by_index = tmp_store.entries()
    index.unlink()
    opened = looks(monkeypatch)
    assert tmp_store.entries() == by_index
    assert sorted(opened) == keys
    opened.clear()
    monkeypatch.setattr(listing, "_MOST_STALE", 0)
    tmp_store.entries()
    assert index.is_file()
    opened.clear()
    assert tmp_store.entries() == by_index
    assert opened == []


def _cut(folder):
    (folder / "table.bin").write_bytes(b"")


def _cut_in_secret(folder):
    status = (folder / "table.bin").stat()
    _cut(folder)
    os.utime(folder / "table.bin", ns=(status.st_atime_ns, status.st_mtime_ns))


def _lose(folder):
    (folder / "table.bin").unlink()


def _lose_run(folder):
    (folder / "run.json").unlink()


def _other_run(folder):
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace('"heads"', '"tails"'))


@pytest.mark.parametrize("damage", [_cut, _cut_in_secret, _lose, _lose_run, _other_run])
def test_a_list_shows_what_was_damaged_after_it_was_indexed(tmp_store, damage):
    hurt, whole = filled(tmp_store, 0), filled(tmp_store, 1)
    assert {e.state for e in tmp_store.entries()} == {"complete"}
    damage(tmp_store.root / "heads" / hurt)
    states = {e.key: e.state for e in tmp_store.entries()}
    assert states == {whole: "complete", hurt: "damaged"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\xff\n[",
        b"\n[]\n{}\n7\nnull",
        b"\nKEY",
        b"\nKEY\tx\t.",
        b"\nKEY\t2026-01-01T00:00:00+00:00\t.",
        b"\nKEY\t2026-01-01T00:00:00+00:00\ta/../b\t1\t.",
    ],
)
def test_an_index_that_is_damaged_changes_no_list(tmp_store, content):
    key = filled(tmp_store)
    expected = tmp_store.entries()
    index = tmp_store.root / "heads" / ".index"
    index.write_bytes(content.replace(b"KEY", key.encode()))
    assert tmp_store.entries() == expected
    other = filled(tmp_store, 1)  # adds a line behind the torn one
    assert {e.key for e in tmp_store.entries()} == {key, other}
    assert other.encode() in index.read_bytes().splitlines()[-1]


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
def test_the_index_is_not_written_through_a_link(tmp_store, tmp_path, monkeypatch):
    filled(tmp_store)
    outside = tmp_path / "mine.txt"
    outside.write_text("dear")
    index = tmp_store.root / "heads" / ".index"
    index.unlink()
    index.symlink_to(outside)
    filled(tmp_store, 1)
    monkeypatch.setattr(listing, "_MOST_STALE", 0)
    assert len(tmp_store.entries()) == 2
    assert outside.read_text() == "dear"
    assert not index.is_symlink()


def _without_index(store):
    for index in store.root.glob("*/.index"):
        index.unlink()
    return store.entries()


STEPS = st.sampled_from(["add", "cut", "lose", "lose_run", "extra", "remove", "forget", "tear"])


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(st.tuples(STEPS, st.integers(0, 3)), min_size=4, max_size=16),
    most_stale=st.integers(0, 2),
)
def test_the_list_is_that_without_an_index_whatever_happened(steps, most_stale):
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "_MOST_STALE", most_stale)
        store = Store(place)
        home = store.root / "heads"
        for step, number in steps:
            folder = home / content_hash({"number": number})
            if step == "add":
                filled(store, number)
            elif step == "forget":
                (home / ".index").unlink(missing_ok=True)
            elif step == "tear" and (home / ".index").is_file():
                text = (home / ".index").read_bytes()
                (home / ".index").write_bytes(text[: len(text) * number // 4])
            elif folder.is_dir():
                _change(folder, step)
            listed = store.entries()
            kept = (home / ".index").read_bytes() if (home / ".index").is_file() else None
            assert listed == _without_index(store)
            if kept is not None:
                (home / ".index").write_bytes(kept)


def _change(folder, step):
    if step == "remove":
        shutil.rmtree(folder)
    elif step == "extra":
        (folder / "mine.txt").write_text("more")
    elif step == "lose_run":
        (folder / "run.json").unlink(missing_ok=True)
    elif (folder / "table.bin").is_file():
        _cut(folder) if step == "cut" else _lose(folder)


def test_lists_and_writes_of_several_processes_at_once(tmp_store, tmp_path, monkeypatch):
    """One lists and writes the index anew all the time, two others add entries."""
    monkeypatch.setattr(listing, "_MOST_STALE", 0)
    log = tmp_path / "log"
    writers = [start("race", tmp_store.root, 40, log) for _ in range(2)]
    seen = 0
    while any(process.poll() is None for process in writers):
        entries = tmp_store.entries()
        assert {e.state for e in entries} <= {"complete", "partial"}
        n_complete = sum(e.state == "complete" for e in entries)
        assert n_complete >= seen
        seen = n_complete
    assert [process.wait() for process in writers] == [0, 0]
    for process in writers:
        process.communicate()
    listed = tmp_store.entries()
    assert len(listed) == 40
    assert listed == _without_index(tmp_store)
