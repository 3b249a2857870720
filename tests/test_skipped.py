"""A skipped test is named at the end; where it is required, it fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from skipped import GROUPS, VARIABLE, closing_line, group_of

HERE = Path(__file__).parent
SUITE = """
import pytest

@pytest.mark.skipif(True, reason="no chromium on this machine")
def test_page(): pass

def test_notebook():
    pytest.importorskip("nbformat_of_nobody", reason="nbformat is not installed")

def test_right(): pass

@pytest.mark.xfail(reason="no chromium: known")
def test_known(): assert False
"""
MODULE = "import pytest\npytest.importorskip('matplotlib_of_nobody')\ndef test_it(): pass\n"


def run(folder, required=""):
    (folder / "test_a.py").write_text(SUITE)
    (folder / "test_b.py").write_text(MODULE)
    environment = os.environ | {VARIABLE: required, "PYTHONPATH": str(HERE)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "skipped", "-p", "no:cacheprovider", str(folder)],
        capture_output=True, text=True, env=environment, cwd=folder,
    )  # fmt: skip


def test_the_last_line_names_what_was_skipped(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 0
    *_, summary, last = done.stdout.splitlines()
    assert "1 passed, 3 skipped, 1 xfailed" in summary
    assert last == (
        "skipped 3 tests: 1 browser (install Debian's package chromium); 1 notebook (pip install "
        "--group notebook); 1 packages (make setup)"
    )


def test_what_is_required_fails(tmp_path):
    done = run(tmp_path, "browser, notebook")
    assert done.returncode == 1
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed, 1 error" in done.stdout
    assert "skipped, though CHARKIT_REQUIRE asks for it: no chromium" in done.stdout


def test_a_required_module_fails(tmp_path):
    assert run(tmp_path, "packages").returncode == 2


def test_an_unknown_group_is_refused(tmp_path):
    done = run(tmp_path, "browsers")
    assert done.returncode == 4
    assert f"{VARIABLE} is not known: expected some of browser, notebook" in done.stderr


@pytest.mark.parametrize("name", GROUPS)
def test_each_group_has_its_tests(name):
    """A reason that was reworded would otherwise leave its group without a word."""
    part = GROUPS[name][0]
    sources = [
        p.read_text("utf-8")
        for p in HERE.rglob("*.py")
        if p.stem not in ("skipped", "test_skipped")
    ]
    assert name == "packages" or any(part in source for source in sources)


def test_other_reasons_are_counted_too():
    assert group_of("signals of POSIX") == "system"
    assert closing_line(["signals of POSIX"] * 2).startswith("skipped 2 tests: 2 system (")
