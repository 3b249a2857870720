"""The wheel, installed outside the source tree, has all it needs and works there."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    return path


def test_wheel_has_the_three_packages_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {n.split("/")[0] for n in names}
    packages = {t for t in tops if not t.endswith(".dist-info")}
    assert packages == {"charkit", "glue_pilot", "metamodel"}
    for package in packages:
        assert f"{package}/py.typed" in names
    assert "glue_pilot/study.toml" in names
    assert "glue_pilot/embeddings.toml" in names
    assert {"charkit/library/minilm.json", "charkit/library/minilm.safetensors"} <= set(names)
    assert {"charkit/__init__.pyi", "charkit/answers/labelling/next_policy.json"} <= set(names)
    templates = {"base.html", "answer.html", "run.html", "show.html", "page.css", "page.js"}
    assert {f"charkit/report/pages/templates/{name}" for name in templates} <= set(names)


@pytest.mark.slow
def test_installed_wheel_sweeps_outside_the_source_tree(wheel, tiny_bert, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    rows = [
        f"the {w} is {'good' if i % 2 else 'bad'} {w},{i % 2}"
        for i, w in enumerate("abcdefghijklmnopqrst")
    ]
    data = tmp_path / "my.csv"
    data.write_text("body,stars\n" + "\n".join(rows) + "\n")
    code = (
        "import sys, charkit; from charkit.cli.app import main; "
        f"assert charkit.__file__.startswith({str(site)!r}), charkit.__file__; main()"
    )
    arguments = [
        "sweep", str(data), "--text", "body", "--label", "stars", "-e", str(tiny_bert),
        "--sizes", "8", "--seeds", "0", "--executor", "1", "--cache-dir", str(tmp_path / "c"),
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "n_train" in done.stdout
