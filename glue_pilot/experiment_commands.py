"""``python -m glue_pilot experiment NAME ...``: any experiment, over any settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charkit.cli import options as o
from charkit.cli.show import progress_shown, ready_folder, reported
from charkit.escape import harmless

NAMES_HELP = "Names of experiments, or 'all'."
GRID_HELP = "Several values, one run each: 'n=128;512'. Several options: every combination."


@reported
def experiment(
    names: Annotated[list[str], typer.Argument(help=NAMES_HELP)],
    study: Annotated[Path, typer.Option("--study", help="Settings, a table an experiment.")] = Path(
        __file__
    ).parent
    / "experiments.toml",
    tasks: Annotated[
        Path | None, typer.Option("--tasks", help="Folder with MANIFEST.json and a folder a task.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting: 'n=256', 'tasks=mr,subj'. May be repeated."),
    ] = None,
    over: Annotated[list[str] | None, typer.Option("--over", help=GRID_HELP)] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of results.")] = Path("results"),
    cache_dir: o.CacheDir = None,
    quiet: o.Quiet = False,
) -> None:
    """Run experiments: each writes a table, figures and a finding; a stopped run goes on.

    With --over, the runs' numbers are compared.
    """
    output = o.output_of("table", quiet, verbose=False, log_file=None)
    from charkit.store import Store
    from glue_pilot.config import parse_change, parse_grid, read_toml, variants
    from glue_pilot.experiments.base import (
        NAMES,
        Workspace,
        load_experiment,
        run_experiment,
        side_by_side,
    )

    chosen = [load_experiment(name) for name in (NAMES if names == ["all"] else names)]
    planned = []
    for one in chosen:
        given = dict(parse_change(one.settings, change) for change in changes or ())
        settings = read_toml(study, one.settings, table=one.name, changes=given)
        grid = [parse_grid(one.settings, text) for text in over or ()]
        planned.append((one, list(variants(settings, grid))))
    ready_folder(out)
    store = o.store_at(cache_dir) or Store()
    for one, runs in planned:
        done = []
        for changed, settings in runs:
            with progress_shown(output) as progress:
                workspace = Workspace(store, root=tasks, tables=out, progress=progress)
                done.append(run_experiment(one, settings, workspace, out=out, changed=changed))
            typer.echo(harmless(f"{one.question} {done[-1].seconds:.0f} s: {done[-1].files[0]}"))
            typer.echo(harmless(done[-1].found.text))
        if len(done) > 1:
            rows = side_by_side(done).to_dict("records")
            output.rows([{str(k): v for k, v in row.items()} for row in rows], key="runs", extra={})
