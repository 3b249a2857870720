"""The measurement for a GPU runs here too, on tiny shapes, so that it is ready for one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_every_part_runs_on_tiny_shapes_and_both_sides_agree():
    done = run("--device", "cpu", "--dtype", "float32", "--smoke")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    agreeing = [line for line in lines if "CPU and cpu" in line]
    assert len(agreeing) == 3
    assert all(line.rstrip().endswith("yes") for line in agreeing)
    for figure in ("encode", "matrix products", "vmap(grad)", "loop over texts", "scikit-learn"):
        assert any(figure in line for line in lines), figure


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_gpu_it_names_what_can_be_run():
    done = run()
    assert done.returncode == 1
    assert "--device cpu --smoke" in done.stderr
