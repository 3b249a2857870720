"""Real engines on this machine: a Ray cluster of three nodes, a Slurm of one; loopback only."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.fixture(autouse=True)
def _no_network(monkeypatch, tmp_path_factory):
    """Let the engines talk on loopback; anything else stays forbidden."""
    real = socket.socket.connect

    def loopback_only(self, address, *rest):
        if self.family == socket.AF_UNIX or str(address[0]).startswith("127."):
            return real(self, address, *rest)
        raise AssertionError(f"no test touches the network: tried {address}")

    monkeypatch.setattr(socket.socket, "connect", loopback_only)
    monkeypatch.setenv("CHARKIT_CACHE", str(tmp_path_factory.getbasetemp() / "charkit-cache"))


@pytest.fixture(scope="module")
def ray_cluster():
    """A cluster of three nodes with one processor each; the third may be killed."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(HERE.parents[1]), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    from ray.cluster_utils import Cluster

    # not 127.0.0.1: Ray replaces it by the machine's outward address
    node = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"node_ip_address": "127.0.0.2"})
    for last in (3, 4):
        cluster.add_node(num_cpus=1, node_ip_address=f"127.0.0.{last}")
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A Slurm of one machine; gives the path of its configuration."""
    for command in ("slurmctld", "slurmd", "munged"):
        if shutil.which(command) is None and not Path("/usr/sbin", command).exists():
            pytest.skip(f"{command} is not installed: make test-slurm")
    if find_spec("submitit") is None:
        pytest.skip("submitit is not installed: make test-slurm")
    folder = tmp_path_factory.mktemp("slurm")
    folder.chmod(0o755)
    script = str(HERE / "start_slurm.sh")
    env = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"}
    done = subprocess.run(
        [script, "start", str(folder)], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    before = os.environ.get("SLURM_CONF"), os.environ.get("PYTHONPATH")
    os.environ["SLURM_CONF"] = done.stdout.strip()
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(HERE.parents[1]), str(HERE), *filter(None, [before[1]])]
    )
    yield folder
    subprocess.run(["scancel", "--user", "root"], check=False)
    subprocess.run([script, "stop", str(folder)], check=True, env=env)
    for name, value in zip(("SLURM_CONF", "PYTHONPATH"), before, strict=True):
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
