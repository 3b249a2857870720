"""``python -m glue_pilot learners``: fit the gains of ways of training, with corpora left out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charkit.cli import options as o
from charkit.cli.show import progress_shown, ready_folder, reported
from charkit.escape import harmless

OUTCOMES = "learner_outcomes.parquet"


@reported
def learners(
    tables: Annotated[
        list[Path],
        typer.Option("--tables", help="Folder of a meta-dataset; several, one an encoder."),
    ],
    outcomes: Annotated[
        Path | None,
        typer.Option("--outcomes", help="What learners reached. Default: what is shipped."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Of the tables' files.")] = "metadata",
    settings: Annotated[
        Path | None, typer.Option("--settings", help="Folder of settings.json.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of results.")] = Path("results"),
    ship: Annotated[bool, typer.Option("--ship", help="Write what comes with the package.")] = (
        False
    ),
    quiet: o.Quiet = False,
) -> None:
    """Fit what ways of training add to a linear head, and judge it on corpora left out."""
    output = o.output_of("table", quiet, verbose=False, log_file=None)
    from glue_pilot.metamodel_study import read_metadata, read_settings, write_learners
    from metamodel.predict import SHIPPED

    ready_folder(out)
    data = read_metadata(tables, name)
    with progress_shown(output) as progress:
        place, rows = write_learners(
            data,
            outcomes or SHIPPED / OUTCOMES,
            read_settings(settings or SHIPPED),
            SHIPPED if ship else out,
            progress,
        )
    output.rows(rows, key="learners", extra={})
    output.note(f"wrote {harmless(str(place))}")
