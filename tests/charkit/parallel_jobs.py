"""Jobs for test_pool.py; run as a process it is the parent that gets killed or interrupted."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from charkit.errors import UnknownNameError
from charkit.parallel import local_executor, run_jobs


@dataclass(frozen=True)
class Touch:
    """A job that leaves its process id in a folder, then sleeps."""

    folder: Path
    number: int
    seconds: float = 0.0


def square(number):
    return number * number


def process_id(number):
    return os.getpid()


def first_waits_for_last(job):
    if job.number == 5:
        (job.folder / "last").touch()
    while job.number == 0 and not (job.folder / "last").exists():
        time.sleep(0.01)
    return job.number


def fail_odd(number):
    if number % 2:
        raise ValueError(f"number {number} is odd")
    return number


def fail_in_words(number):
    raise UnknownNameError("encoder", "bret", ["bert"])


def leave(number):
    sys.exit("left")


def unpicklable(number):
    return lambda: number


def die_at_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_once(job):
    mark = job.folder / "died"
    if job.number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return job.number


def die_always(number):
    os.kill(os.getpid(), signal.SIGKILL)


def say(number):
    logging.getLogger("charkit.jobs").info("job %d says so", number)
    logging.getLogger("charkit.jobs").debug("job %d whispers", number)
    return number


def touch(job):
    (job.folder / str(os.getpid())).write_text(str(job.number))
    time.sleep(job.seconds)
    return job.number


def threads_seen(number):
    """Return the threads of torch, and of each library that threadpoolctl finds."""
    import torch

    found = {"torch": torch.get_num_threads(), "omp": int(os.environ["OMP_NUM_THREADS"])}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import numpy as np
        import threadpoolctl

        np.ones((4, 4)) @ np.ones((4, 4))
        for library in threadpoolctl.threadpool_info():
            found[library["prefix"]] = library["num_threads"]
    return found


def main(command, folder):
    if command == "threads":  # the libraries are loaded at the top of the main module
        print(run_jobs(threads_seen, [0, 1], executor=local_executor(2), threads_per_worker=1))
        return
    jobs = [Touch(Path(folder), i, 60.0) for i in range(8)]
    run_jobs(touch, jobs, executor=local_executor(2))


if "threads" in sys.argv:
    for name in ("numpy", "torch"):
        importlib.import_module(name)

if "slow-start" in sys.argv and __name__ == "__mp_main__":
    Path(sys.argv[2], str(os.getpid())).touch()
    time.sleep(1.0)

if sys.argv[0].endswith("unguarded.py"):
    run_jobs(square, [1, 2, 3], executor=local_executor(2))

if __name__ == "__main__":
    # who starts the tests in the background may have this signal ignored, and it is inherited
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(*sys.argv[1:3])
