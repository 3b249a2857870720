"""Every case of both tables, through the command line: message, exit code, nothing left behind."""

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import pytest
from bad_commands import CASES as COMMANDS
from bad_commands import IN_FOLDER
from following import Attempt, follow_advice
from typer.testing import CliRunner

from charkit.cli.app import app


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


INPUTS = load(Path(__file__).parents[1] / "tasks" / "bad_inputs.py").CASES
FLAGS = {"evaluation": "--eval", "eval_frac": "--eval-frac", "on_bad_rows": "--on-bad-rows"}
CHOICES = {"kind", "on_bad_rows"}  # the command line itself knows their legal values
PAGES = load(Path(__file__).parents[3] / "docs" / "make_pages.py")
runner = CliRunner()


def squeezed(text):
    """Return text without the box that frames usage errors."""
    return re.sub(r"[\s│╭╮╰╯─]+", " ", text)


def flags(options):
    """Return options of load_task as command line options; None where there is no such option."""
    given = []
    for name, value in options.items():
        if name == "offline":
            given += ["--offline"] if value else []
        elif name in {"name", "seed"} or not isinstance(value, str | int | float):
            return None
        else:
            given += [FLAGS.get(name, f"--{name}"), str(value)]
    return given


@pytest.mark.parametrize("case", INPUTS, ids=lambda case: case.name)
def test_bad_data_through_the_command_line(case, tmp_path, tiny_bert):
    folder, cache = tmp_path / "data", tmp_path / "cache"
    folder.mkdir()
    case.write(folder)
    source, options = case.arguments(folder)
    given = flags(options)
    if given is None:
        pytest.skip("the command line has no such option")
    result = runner.invoke(
        app, ["sweep", source, *given, "-e", str(tiny_bert), "--cache-dir", str(cache)]
    )
    assert result.exit_code == case.error.exit_code, result.output
    fragment = "Invalid value for" if case.name in CHOICES else case.fragment
    assert squeezed(fragment) in squeezed(result.stderr)
    assert result.stdout == ""
    assert not list(cache.rglob("*.json")), "something was kept"


def spoiled(case, folder, tiny_bert):
    """Prepare the folder of a case; return its command line."""
    shutil.copytree(tiny_bert, folder / "encoder")
    rows = [f"the cat is {i} good,{'ab'[i % 2]}" for i in range(60)]
    (folder / "good.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    if case.spoil is not None:
        case.spoil(folder)
    return [str(folder / a) if a in IN_FOLDER else a for a in case.arguments]


def at_cache(arguments, folder):
    if len(arguments) == 1 or "--cache-dir" in arguments:
        return arguments
    return [*arguments, "--cache-dir", str(folder / "cache")]


@pytest.mark.parametrize("case", COMMANDS, ids=lambda case: case.name)
def test_bad_command(case, tmp_path, tiny_bert, request):
    if case.fixture:
        request.getfixturevalue(case.fixture)
    arguments = at_cache(spoiled(case, tmp_path, tiny_bert), tmp_path)
    result = runner.invoke(app, arguments)
    assert result.exit_code == case.exit_code, result.output
    assert squeezed(case.fragment) in squeezed(result.stderr)
    assert "Traceback" not in result.stderr


BEGAN: list[str] = []
"""Filled where the work proper of a command began."""


SMALL = {
    "sweep": {"--sizes": "8", "--seeds": "0", "--executor": "1", "--controls": "none"},
    "layers": {"--seeds": "0"},
    "encoders": {"--seeds": "0"},
    "distances": {"--n": "16"},
    "nearest": {"--n": "16"},
    "next": {"-n": "2"},
}


def refused(attempt):
    """Run a command, made small; return its message where it is refused, else nothing."""
    arguments = list(attempt.arguments)
    for option, value in SMALL.get(arguments[0], {}).items():
        arguments += [] if option in arguments else [option, value]
    if "variational" in arguments and "--steps" not in arguments:
        arguments += ["--steps", "2"]
    BEGAN.clear()
    result = runner.invoke(app, at_cache(arguments, attempt.folder))
    if result.exit_code == 0 or BEGAN:
        return ""
    assert "Traceback" not in result.stderr
    return squeezed(result.stderr).partition("error: ")[2] or squeezed(result.stderr)


@pytest.mark.parametrize("case", COMMANDS, ids=lambda case: case.name)
def test_who_follows_the_advice_gets_on(case, tmp_path, tiny_bert, request, monkeypatch):
    from charkit.answers.accuracy import estimate

    def begin(*args, **kwargs):
        BEGAN.append("estimate")
        raise KeyboardInterrupt

    if case.fixture:
        request.getfixturevalue(case.fixture)
    else:  # what comes then takes ten seconds, and is refused nowhere
        monkeypatch.setattr(estimate, "answer_of", begin)
    attempt = Attempt(tmp_path, spoiled(case, tmp_path, tiny_bert))
    attempt.message = refused(attempt)
    if not isinstance(case.follow, str):
        assert squeezed(case.fragment) in attempt.message or not attempt.message
    follow_advice(attempt, case.follow, refused)


def test_the_readme_shows_the_figures_that_were_measured():
    assert (PAGES.ROOT / "README.md").read_text(encoding="utf-8") == PAGES.readme()


def test_there_are_at_least_forty_cases():
    assert len(INPUTS) + len(COMMANDS) >= 40


@pytest.mark.parametrize("name", sorted(PAGES.PAGES))
def test_generated_pages_are_up_to_date(name):
    page = Path(PAGES.HERE, name).read_text(encoding="utf-8")
    assert page == PAGES.PAGES[name](), f"docs/{name} is stale: run make docs"
