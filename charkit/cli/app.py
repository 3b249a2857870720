"""The command line: every command parses, calls the library and shows what came back."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from charkit import __version__
from charkit.cli import options as o
from charkit.cli.compare import distances, nearest
from charkit.cli.comparing_encoders import encoders
from charkit.cli.embedding import embed
from charkit.cli.ending import INTERRUPTED, end_quickly, guarded_streams, process_ends_with_command
from charkit.cli.estimating import estimate
from charkit.cli.labelling import evaluate, next_labels
from charkit.cli.machine import cache_app, doctor, fetch, report, verify
from charkit.cli.probe import encode, layers
from charkit.cli.show import reported, show_error
from charkit.cli.sweeping import sweep
from charkit.errors import MissingError, UnknownNameError, UsageError

app = typer.Typer(
    name="charkit",
    help="How many labels do you need, what accuracy can you expect, which layer of which encoder?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"charkit {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks of errors (also: CHARKIT_DEBUG=1).")
    ] = False,
) -> None:
    pass


@reported
def help_of(
    context: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(help="A command, such as sweep or cache list.", show_default=False),
    ] = None,
) -> None:
    """Show the help of charkit or of one command."""
    o.output_of("table", quiet=False, verbose=False, log_file=None)
    shown = context.parent or context
    for name in command or ():
        known = getattr(shown.command, "commands", None)
        if known is None:
            raise UsageError(
                f"{shown.info_name} has no commands of its own: expected nothing after it, got "
                f"{name!r}. Run: charkit help {shown.info_name}"
            )
        if name not in known:
            raise UnknownNameError("command", name, known, hint="'charkit help' lists them all.")
        shown = type(context)(known[name], info_name=name, parent=shown)
    typer.echo(shown.get_help())


ASK = "Questions"
PREPARE = "Encoders, texts, files"
CARE = "Store and machine"

app.command(rich_help_panel=ASK)(estimate)
app.command("next", rich_help_panel=ASK)(next_labels)
app.command(rich_help_panel=ASK)(evaluate)
app.command(rich_help_panel=ASK)(layers)
app.command(rich_help_panel=ASK)(encoders)
app.command(rich_help_panel=ASK)(sweep)
app.command(rich_help_panel=ASK)(embed)
app.command(rich_help_panel=ASK)(distances)
app.command(rich_help_panel=ASK)(nearest)
app.command(rich_help_panel=ASK)(report)
app.command(rich_help_panel=PREPARE)(encode)
app.command(rich_help_panel=PREPARE)(fetch)
app.command(rich_help_panel=CARE)(doctor)
app.command(rich_help_panel=CARE)(verify)
app.command("help", rich_help_panel=CARE)(help_of)
app.add_typer(cache_app, name="cache", rich_help_panel=CARE)


def main() -> None:
    """Run the command line, and exit."""
    process_ends_with_command()
    _make_streams_safe()
    with guarded_streams() as (out, _):
        code = _run()
        out.flush()
        if out.lost and not code:
            code = MissingError.exit_code
            typer.echo(
                f"error: the output cannot be written: expected that stdout takes it, got "
                f"{out.lost!r}. What was computed is kept: free some space, or give --out.",
                err=True,
            )
    end_quickly()
    sys.exit(code)


def _run() -> int:
    """Run the command that was asked for, and return its exit code."""
    try:
        app(prog_name="charkit")  # also for python -m charkit: completion scripts hold this name
    except SystemExit as end:
        if isinstance(end.code, str):  # as Python does with the text of sys.exit
            typer.echo(end.code, err=True)
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        return show_error(error)
    return 0


def _make_streams_safe() -> None:
    """Let no character of a name or a text end a command with a UnicodeEncodeError.

    Windows gives a pipe or a file the encoding of the country (cp1252): a table written there
    could not be read back, so that it gets UTF-8. Elsewhere, and on a screen, what the encoding
    lacks is spelled out.
    """
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        chosen = "PYTHONIOENCODING" in os.environ
        if os.name == "nt" and not chosen and not stream.isatty():
            stream.reconfigure(encoding="utf-8")
        if stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
