"""Studies of answers: ``python -m glue_pilot quality-study|evaluate-study|encoder-study``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from charkit.cli import options as o
from charkit.cli.show import progress_shown, ready_folder, reported
from charkit.escape import harmless

Study = Annotated[Path, typer.Argument(help="A study, such as glue_pilot/quality.toml.")]
ManyTasks = Annotated[
    Path | None, typer.Option("--tasks", help="Folder with MANIFEST.json and a folder a task.")
]
Out = Annotated[Path, typer.Option("--out", help="Folder for figures and page.")]


@reported
def quality_study(
    study: Study,
    tasks: ManyTasks = None,
    out: Out = Path("results"),
    cache_dir: o.CacheDir = None,
    quiet: o.Quiet = False,
) -> None:
    """Check the recall of classes with more labels, and the share of wrong labels; resumable."""
    output = o.output_of("table", quiet, verbose=False, log_file=None)
    from charkit.store import Store
    from glue_pilot.config import read_toml
    from glue_pilot.quality_report import write_quality_study
    from glue_pilot.quality_study import QualityStudy, all_cases, load_sources, measure
    from glue_pilot.samples import measure_each

    spec = read_toml(study, QualityStudy)
    ready_folder(out)
    store = o.store_at(cache_dir) or Store()
    with progress_shown(output) as progress:
        cases = all_cases(spec, load_sources(spec, tasks, store, progress=progress))
        measured = measure_each(cases, measure, store, progress=progress)
    lines, written = write_quality_study(cases, measured, spec, out)
    for line in lines:
        typer.echo(harmless(line))
    output.note(f"{len(cases)} cases; {len(written)} files")


@reported
def encoder_study(
    study: Study,
    tasks: ManyTasks = None,
    encoder: Annotated[
        list[str],
        typer.Option("-e", "--encoder", help="Name or folder; several. Default: the study's."),
    ] = [],  # noqa: B006 - typer reads it only
    out: Out = Path("results"),
    cache_dir: o.CacheDir = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be computed, and stop.")
    ] = False,
    quiet: o.Quiet = False,
) -> None:
    """Compare rules that pick an encoder from few labels; stop it at any time, it goes on."""
    output = o.output_of("table", quiet, verbose=False, log_file=None)
    from charkit.answers.encoders import load_choice
    from charkit.encoders.load import LazyEncoder
    from charkit.store import Store
    from glue_pilot.encoder_figures import write_encoder_study
    from glue_pilot.encoder_study import (
        all_cases,
        load_sources,
        measure,
        plan_rows,
        read_encoder_study,
    )
    from glue_pilot.samples import measure_each

    spec = read_encoder_study(study, encoder)
    store = o.store_at(cache_dir) or Store()
    chosen = [load_choice(LazyEncoder(name, device, dtype)) for name in spec.encoders]
    cases = all_cases(spec, load_sources(spec, tasks, chosen))
    if dry_run:
        rows = plan_rows(cases, store)
        total = sum(row["hours"] for row in rows)
        notes = [f"about {total:.2g} hours on one core or GPU of this machine at its present load"]
        output.rows(rows, key="encoders", extra={"notes": notes})
        return
    ready_folder(out)
    with progress_shown(output) as progress:
        measured = measure_each(cases, measure, store, progress=progress)
    lines, written = write_encoder_study(cases, measured, spec, out)
    for line in lines:
        typer.echo(harmless(line))
    output.note(f"{len(cases)} cases; {len(written)} files")


@reported
def evaluate_study(
    study: Annotated[Path, typer.Argument(help="A study, such as glue_pilot/evaluate.toml.")],
    tasks: ManyTasks = None,
    out: Out = Path("results"),
    cache_dir: o.CacheDir = None,
    quiet: o.Quiet = False,
) -> None:
    """Compare ways to know a pool's accuracy by few test labels; stopped, it goes on later."""
    output = o.output_of("table", quiet, verbose=False, log_file=None)
    from charkit.store import Store
    from glue_pilot.config import read_toml
    from glue_pilot.evaluate_cases import EvaluateStudy, all_cases, load_sources, measure
    from glue_pilot.evaluate_study import (
        figures,
        findings,
        floor_of,
        simulate,
        write_evaluate_study,
    )
    from glue_pilot.samples import measure_each

    begun = time.monotonic()
    spec = read_toml(study, EvaluateStudy)
    ready_folder(out)
    store = o.store_at(cache_dir) or Store()
    with progress_shown(output) as progress:
        cases = all_cases(spec, load_sources(spec, tasks, store, progress=progress))
        measured = measure_each(cases, measure, store, progress=progress)
        rows = simulate(cases, measured, spec.budgets, spec.n_draws, progress=progress)
    found, floor = figures(rows), floor_of(cases, measured, 30)
    written = write_evaluate_study(rows, found, floor, spec, out)
    for line in findings(found, floor):
        typer.echo(harmless(line))
    output.note(f"{len(cases)} cases in {time.monotonic() - begun:.0f} s; {len(written)} files")
