"""Jobs for the engines' tests; found by their workers over PYTHONPATH."""

from __future__ import annotations

import logging
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from charkit.errors import UnknownNameError


@dataclass(frozen=True)
class Mark:
    """A job that leaves one file, then sleeps."""

    folder: Path
    number: int
    seconds: float = 0.0


def mark(job):
    """Append a line to the job's own file, so that a job done twice can be seen."""
    with Path(job.folder, str(job.number)).open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(job.seconds)
    return job.number


def square(number):
    if number == 3:
        logging.getLogger("charkit.jobs").warning("three is odd")
    return number * number


def fail_odd(number):
    if number % 2:
        raise UnknownNameError("number", str(number), ["2"])
    return number


def die_at_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def threads(number):
    import numpy as np
    import threadpoolctl
    import torch

    np.ones((4, 4)) @ np.ones((4, 4))
    pools = [library["num_threads"] for library in threadpoolctl.threadpool_info()]
    return max(pools, default=1), torch.get_num_threads()


def host(number):
    return platform.node(), os.getpid()


def interrupted_sweep(encoder, cache, executor, root):
    """Press Ctrl-C once in the middle of a sweep; return exit code, stderr, keys kept, command."""
    command = [
        *(sys.executable, "-m", "charkit", "sweep", "generated/sentiment?n_train=300&n_eval=100"),
        *("-e", str(encoder), "-n", "8,16,32,64", "--seeds", "0-59", "--dtype", "float32"),
        *("--device", "cpu", "--executor", executor, "--cache-dir", str(cache)),
    ]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ["PYTHONPATH"]])}
    process = subprocess.Popen(
        ["bash", "-c", 'trap "" INT; exec env --default-signal=INT "$@"', "-", *command],
        cwd=root,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 120
    while len(finished(cache)) < 4 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors, finished(cache), command


def finished(cache):
    """Return key -> time of making of the jobs that are finished."""
    return {p.parent.name: p.stat().st_mtime_ns for p in Path(cache).glob("heads/*/run.json")}


def check_interrupt(encoder, cache, executor, root):
    """Check that it ended in good order, names the command that goes on, and that this does."""
    code, errors, kept, command = interrupted_sweep(encoder, cache, executor, root)
    assert code == 130, errors
    assert "Traceback" not in errors
    assert "Resume with the same command:" in errors
    assert f"--executor {executor}" in errors.splitlines()[-1]
    assert f"of {4 * 60} jobs are finished and kept" in errors
    assert 4 <= len(kept) < 4 * 60
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ["PYTHONPATH"]])}
    again = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    whole = finished(cache)
    assert len(whole) == 4 * 60
    assert {key: whole[key] for key in kept} == kept
