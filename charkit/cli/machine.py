"""``charkit doctor`` and ``charkit fetch``."""

from __future__ import annotations

from typing import Annotated

import typer

from charkit.cli import options as o
from charkit.cli.show import reported


@reported
def doctor(
    cache_dir: o.CacheDir = None, fmt: o.FormatOption = "table", debug: o.Debug = False
) -> None:
    """Show what this machine has and which commands can run; exit code 4 when estimate cannot."""
    output = o.output_of(fmt, quiet=False, verbose=False, log_file=None)
    from charkit.machine import doctor as examine

    report = examine(o.store_at(cache_dir))
    commands = {c.name: {"state": c.state, "lacks": c.lacks} for c in report.commands}
    output.rows(report.rows(), key="checks", extra={"ok": report.ok, "commands": commands})
    if not report.ok:
        raise typer.Exit(4)


@reported
@o.takes_options
def fetch(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Encoders (NAME or NAME@REVISION) and tasks (glue/NAME, hub:NAME/CONFIG).",
            show_default=False,
        ),
    ],
    *,
    show: o.ShowOptions,
) -> None:
    """Download encoders and tasks, so that later work needs no network."""
    output = show.output()
    from charkit.api import fetch as fetch_names

    output.rows([f.row() for f in fetch_names(list(names))], key="fetched", extra={})
