"""The manifest: complete, anonymous, and about charkit's own checkout."""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

import charkit
from charkit.config import canonical_json
from charkit.store import manifest
from charkit.store.manifest import Clock, run_manifest

FIELDS = {
    "code",
    "config",
    "device",
    "dtype",
    "fingerprints",
    "peak_bytes",
    "platform",
    "seeds",
    "state",
    "threads",
    "time",
    "versions",
}


def a_manifest(**changes):
    given = {"clock": Clock(), "seeds": {"draw": 3}, "fingerprints": {"task": "ab"}}
    return run_manifest({"layer": 4}, **{**given, **changes})


@pytest.fixture
def fresh():
    manifest.code_version.cache_clear()
    manifest.package_versions.cache_clear()
    yield
    manifest.code_version.cache_clear()
    manifest.package_versions.cache_clear()


def test_the_fields():
    made = a_manifest(device="cuda:0", dtype="bfloat16", state="failed")
    assert set(made) == FIELDS
    assert made["config"] == {"layer": 4}
    assert (made["device"], made["dtype"], made["state"]) == ("cuda:0", "bfloat16", "failed")
    assert made["seeds"] == {"draw": 3}
    assert made["fingerprints"] == {"task": "ab"}
    assert made["versions"]["charkit"] == charkit.__version__
    assert made["versions"]["python"] == platform.python_version()
    assert set(manifest.PACKAGES) < set(made["versions"])
    assert made["threads"]["cores"] >= 1
    assert json.loads(canonical_json(made)) == made


def test_every_field_is_explained():
    text = (Path(charkit.__file__).parents[1] / "docs" / "store.md").read_text()
    ours = {"format", "kind", "key", "created", "files", "sha256"}
    missing = [name for name in FIELDS | ours if f"`{name}`" not in text]
    assert missing == []


def test_nothing_says_who_or_where():
    values = json.dumps(a_manifest())
    for secret in (platform.node(), getpass.getuser(), os.getcwd(), str(Path.home())):
        assert not secret or not re.search(rf"(?<!\w){re.escape(secret)}(?!\w)", values)
    assert "/" not in values


def test_the_clock():
    clock = Clock()
    time.sleep(0.02)
    times = a_manifest(clock=clock)["time"]
    started, ended = (datetime.fromisoformat(times[name]) for name in ("started", "ended"))
    assert started.utcoffset().total_seconds() == 0
    assert 0.02 <= times["seconds"] < 5
    assert abs((ended - started).total_seconds() - times["seconds"]) < 0.5


def test_threads_follow_the_variables(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("MKL_NUM_THREADS", "many")
    counts = manifest.thread_counts()
    assert counts["OMP_NUM_THREADS"] == 3
    assert "MKL_NUM_THREADS" not in counts
    torch = pytest.importorskip("torch")
    assert manifest.thread_counts()["torch"] == torch.get_num_threads()


def test_a_package_that_is_not_there(monkeypatch, fresh):
    monkeypatch.setattr(manifest, "PACKAGES", ("no-such-package-anywhere",))
    assert manifest.package_versions()["no-such-package-anywhere"] is None


def test_importing_and_making_it_is_light():
    code = (
        "import sys; from charkit.store.manifest import *;"
        "run_manifest({}, clock=Clock(), seeds={}, fingerprints={});"
        "sys.exit(' '.join({'torch', 'numpy', 'pandas'} & set(sys.modules)) or 0)"
    )
    root = Path(charkit.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def git(folder, *arguments):
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, env=environment
    )


@pytest.fixture
def checkout(tmp_path, monkeypatch, fresh):
    package = tmp_path / "checkout" / "charkit"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(charkit, "__file__", str(package / "__init__.py"))
    return package


def test_without_a_checkout_there_is_no_commit(checkout, tmp_path, monkeypatch):
    git(tmp_path, "init")  # a checkout of something else around an installed charkit
    monkeypatch.chdir(tmp_path)
    assert manifest.code_version() is None


def test_commit_and_dirt(checkout, monkeypatch, tmp_path):
    git(checkout.parent, "init")
    git(checkout.parent, "add", ".")
    git(checkout.parent, "commit", "-m", "First")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    clean = manifest.code_version()
    assert re.fullmatch(r"[0-9a-f]{40}", clean["commit"])
    assert clean["dirty"] is False
    (checkout.parent / "results.csv").write_text("")
    manifest.code_version.cache_clear()
    assert manifest.code_version()["dirty"] is False
    (checkout / "new.py").write_text("")
    manifest.code_version.cache_clear()
    assert manifest.code_version()["dirty"] is True


def test_without_git(checkout, monkeypatch):
    git(checkout.parent, "init")
    assert manifest.code_version() is None  # no commit yet
    manifest.code_version.cache_clear()
    monkeypatch.setenv("PATH", "")
    assert manifest.code_version() is None


def test_peak_memory_is_this_process_own():
    """A child of a large process does not report its parent's peak."""
    ballast = bytearray(300_000_000)
    code = "from charkit.store.manifest import peak_bytes; print(peak_bytes())"
    root = Path(charkit.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert manifest.peak_bytes() >= len(ballast)
    if Path("/proc/self/status").exists():
        assert 5_000_000 < int(done.stdout) < 200_000_000
