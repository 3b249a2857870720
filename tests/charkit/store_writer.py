"""Run as a process by test_store.py: fill a store, or fill it until the disk is full."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from charkit.config import content_hash
from charkit.errors import CharkitError
from charkit.store import durable
from charkit.store.durable import write_whole
from charkit.store.manifest import Clock, run_manifest
from charkit.store.store import Store


def configs(n_entries):
    return [{"format": 1, "number": i} for i in range(n_entries)]


def shard(number, part):
    return np.random.default_rng([number, part]).bytes(3000 + 500 * part)


def make_large(store, config):
    """Make an entry of three shards, going on where a killed process stopped."""
    key, clock = content_hash(config), Clock()
    with store.lock("states", key):
        if store.find("states", key) is not None:
            return
        folder = store.partial("states", key)
        for part in range(3):
            path = folder / f"shard_{part}.bin"
            if not path.exists():
                write_whole(path, shard(config["number"], part))
        fields = run_manifest(config, clock=clock, seeds={"draw": 1}, fingerprints={})
        store.commit("states", key, folder, fields)


def make_small(store, config):
    files = {"table.bin": shard(config["number"], 9), "note.txt": b"whole\n"}
    fields = run_manifest(config, clock=Clock(), seeds={"draw": 1}, fingerprints={})
    store.put("heads", content_hash(config), files, fields)


def fill(root, n_entries):
    store = Store(root)
    print("ready", flush=True)
    for config in configs(n_entries):
        make_large(store, config)
        make_small(store, config)
    assert not store.damaged


class HalfWriter(io.FileIO):
    """A file that tells the audit hooks when half of the data is on disk."""

    def write(self, data):
        done = super().write(data[: len(data) // 2])
        self.flush()
        sys.audit("half", self.name)
        return done + super().write(data[len(data) // 2 :])


def die_at(step, root):
    """Kill this process just before its ``step``-th touch of the store."""
    left = [step]

    def hook(event, arguments):
        if event in ("open", "half") or event.startswith("os."):
            if not any(str(root) in str(argument) for argument in arguments):
                return
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def die_at_every_step(root):
    """Write two entries in a child that dies at step 1, 2, 3, ... then undisturbed in another."""

    def run_child(home, step):
        child = os.fork()
        if child == 0:
            durable.open = HalfWriter
            if step:
                die_at(step, home)
            store, config = Store(home), configs(1)[0]
            make_large(store, config)
            make_small(store, config)
            os._exit(1 if store.damaged else 0)
        return os.waitpid(child, 0)[1]

    for step in range(1, 1000):
        home = root / str(step)
        status = run_child(home, step)
        assert status in (0, signal.SIGKILL), status
        states = {entry.state for entry in Store(home).entries()}
        assert states <= {"complete", "partial"}, (step, states)
        assert Store(home).verify() == [], step
        assert run_child(home, 0) == 0
        if status == 0:
            print(step)
            return


def race(root, n_entries, log):
    """Make every entry at most once among all the processes that do the same."""
    logging.basicConfig(level=logging.INFO)
    store = Store(root)
    for config in configs(n_entries):
        key = content_hash(config)
        with store.lock("heads", key):
            if store.find("heads", key) is None:
                with open(log, "a") as file:
                    file.write(key + "\n")
                time.sleep(0.01)
                store.put("heads", key, {"a.bin": shard(config["number"], 0)}, {"config": config})
        assert store.find("heads", key, deep=True) is not None


def hold(root, kind, key):
    """Hold a lock until killed."""
    with Store(root).lock(kind, key):
        print("ready", flush=True)
        time.sleep(60)


def overflow(root, how, limit_bytes):
    """Write more than fits; end with the exit code of the error."""
    if limit_bytes:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    store, config = Store(root), {"large": True}
    key = content_hash(config)
    try:
        if how == "put":
            store.put("heads", key, {"a.bin": bytes(10**6)}, {"config": config})
        else:
            from safetensors.numpy import save_file

            with store.lock("heads", key):
                folder = store.partial("heads", key)
                save_file({"x": np.zeros(10**6)}, folder / "x.safetensors")
                store.commit("heads", key, folder, {"config": config})
    except CharkitError as error:
        sys.stderr.write(str(error))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    command, root, *rest = sys.argv[1:]
    if command == "fill":
        fill(Path(root), int(rest[0]))
    elif command == "steps":
        die_at_every_step(Path(root))
    elif command == "race":
        race(Path(root), int(rest[0]), rest[1])
    elif command == "hold":
        hold(Path(root), *rest)
    else:
        overflow(Path(root), rest[0], int(rest[1]))
