"""``charkit report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charkit.cli import options as o
from charkit.cli.show import reported


@reported
@o.takes_options
def report(
    run: Annotated[
        Path,
        typer.Argument(
            help="Folder of results: what estimate --out, sweep --out or a study wrote.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=o.path, help="The file. Default: report.html in the folder."),
    ] = None,
    title: Annotated[
        str | None,
        typer.Option("--title", help="What stands above the page. Default: the run's name."),
    ] = None,
    *,
    show: o.ShowOptions,
) -> None:
    """Write one HTML file from a folder of results; it opens without a network.

    Example: charkit report results --title "GLUE pilot"
    """
    output = show.output()
    from charkit.report.pages.run import write_report

    place = write_report(run, out=out, title=title)
    rows = [{"file": str(place), "bytes": place.stat().st_size}]
    output.rows(rows, key="report", extra={})
