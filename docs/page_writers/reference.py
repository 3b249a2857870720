"""Pages of columns, commands and refusals, from the code itself."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any, get_args

from page_writers.blocks import ROOT, load_module

TESTS = ROOT / "tests"


def table_page() -> str:
    """Return the page that explains every column of the sweep's table."""
    from charkit.heads.sweep.table import COLUMNS

    lines = [
        "# The sweep's table",
        "",
        "One row a cell: one head on one layer, trained on one sample. Written by `charkit sweep",
        "--out FOLDER` as `table.parquet` and `table.csv`, by the pilot as `results/pilot.parquet`.",
        "Accuracies and shares lie in [0, 1]; intervals are 90 % intervals of the evaluation sample:",
        "what this very head would score on other texts from the same source. A second run gives",
        "the same bytes, so times are not here but in each job's `run.json` (see",
        "[store.md](store.md)).",
        "",
        "| column | type | unit | meaning |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{c.name}` | {c.dtype} | {c.unit} | {c.meaning} |" for c in COLUMNS]
    return "\n".join([*lines, ""])


def errors_page() -> str:
    """Return the page that lists every refused input with its message and exit code."""
    inputs = _table("charkit/tasks/bad_inputs.py").CASES
    commands = _table("charkit/cli/bad_commands.py").CASES
    lines = [
        "# What charkit refuses",
        "",
        f"{len(inputs) + len(commands)} cases, each of them a test (`tests/charkit/tasks/bad_inputs.py`,",
        "`tests/charkit/cli/bad_commands.py`). A refusal prints one message on stderr that says what is",
        "wrong, what was expected, and what to do; it leaves nothing half-written. Exit codes: 0 well,",
        "1 some cells failed, 2 usage, 3 data, 4 something is missing (file, package, network, disk,",
        "permission), 5 the answer would not be trustworthy, 130 stopped (SIGTERM: 143, SIGHUP: 129).",
        "",
        "## Data",
        "",
        "| case | exit code | the message has |",
        "|---|---|---|",
        *(_row(c.description, c.error.exit_code, c.fragment) for c in inputs),
        "",
        "## Commands, encoders, stores",
        "",
        "| case | exit code | the message has |",
        "|---|---|---|",
        *(_row(c.description, c.exit_code, c.fragment) for c in commands),
    ]
    return "\n".join([*lines, ""])


def commands_page() -> str:
    """Return the page of every command with its options, from the command line itself."""
    from typer.main import get_command

    from charkit.cli.app import app

    lines = [
        "# Commands",
        "",
        "`charkit COMMAND --help` shows the same. What a command prints is shown on the page of its",
        "question: [the list of pages](README.md).",
    ]
    root = get_command(app)
    for name, command in sorted(root.commands.items()):  # type: ignore[attr-defined]
        lines += _command_lines(f"charkit {name}", command)
    return "\n".join([*lines, ""])


def _command_lines(name: str, command: Any) -> list[str]:
    """Return the section of one command, or the sections of those below it."""
    if hasattr(command, "commands"):
        below = sorted(command.commands.items())
        return [line for n, c in below for line in _command_lines(f"{name} {n}", c)]
    needed = [p.name.upper() for p in command.params if _is_argument(p)]
    head = ["", f"## {name}", "", inspect.cleandoc(command.help or ""), ""]
    usage = ["```text", " ".join([name, *needed, "[OPTIONS]"]), "```", ""]
    rows = [
        _option_row(p)
        for p in command.params
        if not getattr(p, "hidden", False) and p.name != "help"
    ]
    return [*head, *usage, "| option | default | meaning |", "|---|---|---|", *rows]


def _is_argument(parameter: Any) -> bool:
    return parameter.param_type_name == "argument"


def _option_row(parameter: Any) -> str:
    names = [parameter.name.upper()] if _is_argument(parameter) else parameter.opts
    default = parameter.default
    shown = "" if default in (None, (), []) or isinstance(default, bool) else f"`{default}`"
    choices = [c for c in get_args(parameter.type_descriptor.annotation) if isinstance(c, str)]
    meaning = " ".join((parameter.help or "").split())
    if choices:
        meaning += f" One of: {', '.join(choices)}."
    meaning = meaning.replace("|", "\\|")
    return f"| {', '.join(f'`{name}`' for name in names)} | {shown} | {meaning} |"


def _row(description: str, exit_code: int, fragment: str) -> str:
    shown = fragment.replace("|", "\\|")
    return f"| {description} | {exit_code} | `{shown}` |"


def _table(path: str) -> ModuleType:
    """Return a module of the tests by its path."""
    return load_module(TESTS / path)
