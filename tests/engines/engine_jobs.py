"""Jobs for the engines' tests; found by their workers over PYTHONPATH."""

from __future__ import annotations

import logging
import os
import platform
import signal
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
