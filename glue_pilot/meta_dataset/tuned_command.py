"""``python -m glue_pilot metadata-tuned STUDY.toml``: fine-tuning beside linear heads."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charkit.cli import options as o
from charkit.cli.show import progress_shown, ready_folder, reported
from charkit.escape import harmless

if TYPE_CHECKING:
    import pandas as pd


@reported
def metadata_tuned(
    study: Annotated[Path, typer.Argument(help="A study, such as glue_pilot/tuned.toml.")],
    tasks: Annotated[
        Path | None, typer.Option("--tasks", help="Folder with MANIFEST.json and a folder a task.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the table.")] = Path("results"),
    cache_dir: o.CacheDir = None,
    executor: o.ExecutorName = None,
    encoder: Annotated[
        str | None,
        typer.Option("-e", "--encoder", help="Name or folder of an encoder. Default: the study's."),
    ] = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    ship: Annotated[
        bool, typer.Option("--ship", help="Join the rows to the table of the package.")
    ] = False,
    afresh: Annotated[
        bool, typer.Option("--afresh", help="Train again what the package's table has.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be computed, and stop.")
    ] = False,
    quiet: o.Quiet = False,
) -> None:
    """Compare fine-tuning with linear heads on the same draws; a stopped run goes on.

    Draws that the package's table has are taken from there.
    """
    output = o.output_of("table", quiet, verbose=False, log_file=None)
    from charkit.heads.sweep.table import write_table
    from charkit.learners.draws import is_stored, plan_rows, run_draws
    from charkit.learners.outcomes import check_learners
    from charkit.store.store import Store
    from glue_pilot.meta_dataset.tuned import (
        join_outcomes,
        published_rows,
        read_tuned_study,
        ship_outcomes,
        study_draws,
    )

    begun = time.monotonic()
    spec = read_tuned_study(study)
    spec = replace(spec, encoder=encoder or spec.encoder, device=device, dtype=dtype)
    store = o.store_at(cache_dir) or Store()
    draws = study_draws(spec, tasks, store)
    n_draws = len(draws)
    draws, published = (draws, None) if afresh else published_rows(draws)
    n_published = n_draws - len(draws)
    if dry_run:
        rows = plan_rows(draws, store)
        total = sum(row["hours"] for row in rows)
        notes = [f"about {total:.2g} hours on one core or GPU of this machine at its present load"]
        if n_published:
            notes.append(f"{n_published} further draws are in the table of the package")
        output.rows(rows, key="sizes", extra={"notes": notes})
        return
    untrained = [draw for draw in draws if not is_stored(draw, store)]
    if untrained:
        check_learners([learner for draw in untrained for learner in draw.learners])
    ready_folder(out)

    def whole(found: pd.DataFrame) -> pd.DataFrame:
        return found if published is None else join_outcomes(published, found)

    place = out / f"{spec.name}.parquet"
    with progress_shown(output) as progress:
        table = run_draws(
            draws,
            store,
            executor=executor,
            progress=progress,
            every=lambda found: write_table(whole(found), place),
        )
    table = whole(table)
    write_table(table, place)
    if ship:
        ship_outcomes(table)
    failed = int(table["failed"].sum())
    typer.echo(
        f"{len(table):,} rows of {table['corpus'].nunique()} corpora, {failed} failed runs, in "
        f"{time.monotonic() - begun:.0f} s: {harmless(str(place))}"
    )
