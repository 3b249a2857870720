"""The command line: every command parses, calls the library and shows what came back."""

from __future__ import annotations

from typing import Annotated

import typer

from charkit import __version__
from charkit.cli.cache import cache_app, verify
from charkit.cli.compare import distances, nearest
from charkit.cli.comparing_encoders import encoders
from charkit.cli.embedding import embed
from charkit.cli.estimating import estimate
from charkit.cli.labelling import next_labels
from charkit.cli.machine import doctor, fetch
from charkit.cli.probe import encode, layers
from charkit.cli.reporting import report
from charkit.cli.sweeping import sweep

app = typer.Typer(
    name="charkit",
    help="How many labels do you need, what accuracy can you expect, which layer of which encoder?",
    no_args_is_help=True,
    add_completion=False,
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
        bool,
        typer.Option("--version", help="Show the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    pass


ASK = "Questions"
PREPARE = "Encoders, texts, files"
CARE = "Store and machine"

app.command(rich_help_panel=ASK)(estimate)
app.command("next", rich_help_panel=ASK)(next_labels)
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
app.add_typer(cache_app, name="cache", rich_help_panel=CARE)


def main() -> None:
    """Run the command line."""
    app()
