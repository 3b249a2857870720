"""``python -m glue_pilot quality-study STUDY.toml [--tasks FOLDER]``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charkit.cli import options as o
from charkit.cli.show import progress_shown, ready_folder, reported
from charkit.escape import harmless


@reported
def quality_study(
    study: Annotated[Path, typer.Argument(help="A study, such as glue_pilot/quality.toml.")],
    tasks: Annotated[
        Path | None, typer.Option("--tasks", help="Folder with MANIFEST.json and a folder a task.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for figures and page.")] = Path(
        "results"
    ),
    cache_dir: o.CacheDir = None,
    quiet: o.Quiet = False,
) -> None:
    """Check the recall of classes with more labels, and the share of wrong labels; resumable."""
    output = o.output_of("table", quiet, verbose=False, log_file=None)
    from charkit.store import Store
    from glue_pilot.config import read_toml
    from glue_pilot.quality_report import write_quality_study
    from glue_pilot.quality_study import QualityStudy, all_cases, load_sources, measure_all

    spec = read_toml(study, QualityStudy)
    ready_folder(out)
    store = o.store_at(cache_dir) or Store()
    with progress_shown(output) as progress:
        cases = all_cases(spec, load_sources(spec, tasks, store, progress=progress))
        measured = measure_all(cases, store, progress=progress)
    lines, written = write_quality_study(cases, measured, spec, out)
    for line in lines:
        typer.echo(harmless(line))
    output.note(f"{len(cases)} cases; {len(written)} files")
