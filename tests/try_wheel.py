"""The wheel in a clean environment without extras answers: ``make test-wheel`` (minutes).

Not collected by ``make test``, which has a fast stand-in, `tests/test_base_install.py`.
"""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.timeout(1800)


def run(*command, **options):
    clean = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME"}}
    environment = clean | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, encoding="utf-8", check=False,
        env=environment, **options,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def charkit(tmp_path_factory):
    place = tmp_path_factory.mktemp("clean")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place, ROOT)
    run(sys.executable, "-m", "venv", place / "venv")
    programs = place / "venv" / ("Scripts" if os.name == "nt" else "bin")
    (wheel,) = place.glob("*.whl")
    pip = (programs / "python", "-m", "pip", "install", "--quiet")
    run(*pip, "--constraint", ROOT / "constraints.txt", wheel)
    return programs / "charkit"


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    from charkit.tasks import generated_task

    task = generated_task("sentiment", n_train=300, n_eval=20)
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = zip(task.train.texts, task.train.labels, strict=True)
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


def test_no_extra_is_there_and_every_command_answers(charkit, reviews, tmp_path):
    found = json.loads(run(charkit, "doctor", "--format", "json", cwd=tmp_path))
    assert found["ok"]
    states = {c["check"]: c["state"] for c in found["checks"]}
    assert {states[p] for p in ("datasets", "matplotlib", "scikit-activeml", "optuna")} == {
        "not installed"
    }
    run(charkit, "estimate", reviews, "--out", "answer", cwd=tmp_path)
    assert {"answer.json", "report.html"} <= {p.name for p in (tmp_path / "answer").iterdir()}
    for command in (
        ("layers",),
        ("sweep", "--sizes", "64", "--seeds", "0", "--out", "swept"),
        ("embed", "--n", "64"),
        ("encode",),
        ("nearest", "--n", "64"),
        ("next", "--classes", "2", "--strategy", "random", "-n", "5"),
    ):
        run(charkit, command[0], reviews, *command[1:], cwd=tmp_path)
    run(charkit, "verify", cwd=tmp_path)
