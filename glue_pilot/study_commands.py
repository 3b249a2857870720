"""``python -m glue_pilot quality-study|evaluate-study|encoder-study|experiment|learners``."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from charkit.cli import options as o
from charkit.cli.show import Output, progress_shown, ready_folder, reported
from charkit.escape import harmless

NAMES_HELP = "Names of experiments, or 'all'."
GRID_HELP = "Several values, one run each: 'n=128;512'. Several options: every combination."
OUTCOMES = "learner_outcomes.parquet"

Study = Annotated[Path, typer.Argument(help="A study, such as glue_pilot/quality.toml.")]
ManyTasks = Annotated[
    Path | None, typer.Option("--tasks", help="Folder with MANIFEST.json and a folder a task.")
]
Outcomes = Annotated[
    Path | None,
    typer.Option("--outcomes", help="What learners reached. Default: what is shipped."),
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
    from charkit.store.store import Store
    from glue_pilot.config import read_toml
    from glue_pilot.quality.report import write_quality_study
    from glue_pilot.quality.study import QualityStudy, all_cases, load_sources, measure
    from glue_pilot.samples import measure_each

    spec = read_toml(study, QualityStudy)
    ready_folder(out)
    store = o.store_at(cache_dir) or Store()
    with progress_shown(output) as progress:
        cases = all_cases(spec, load_sources(spec, tasks, store, progress=progress))
        measured = measure_each(cases, measure, store, progress=progress)
    lines, written = write_quality_study(cases, measured, spec, out)
    _finish(output, lines, f"{len(cases)} cases; {len(written)} files")


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
    from charkit.answers.ranking.encoders import load_choice
    from charkit.encoders.load import LazyEncoder
    from charkit.store.store import Store
    from glue_pilot.encoders.figures import write_encoder_study
    from glue_pilot.encoders.study import (
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
    _finish(output, lines, f"{len(cases)} cases; {len(written)} files")


@reported
def encoder_answers(
    study: Annotated[Path, typer.Argument(help="Its tasks: glue_pilot/transfer.toml.")],
    encoder: Annotated[list[str], typer.Option("-e", "--encoder", help="Name or folder; several.")],
    tasks: ManyTasks = None,
    out: Out = Path("results"),
    cache_dir: o.CacheDir = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    quiet: o.Quiet = False,
) -> None:
    """Ask estimate under encoders that the metamodel never saw, and check its intervals."""
    output = o.output_of("table", quiet, verbose=False, log_file=None)
    from charkit.encoders import load_encoder
    from charkit.store.store import Store
    from glue_pilot.encoders.answers import answer_rows, held_rows, write_answers
    from glue_pilot.meta_dataset.study import read_metadata_study
    from glue_pilot.samples import load_known_tasks

    known = load_known_tasks(read_metadata_study(study).tasks, tasks)
    loaded = [load_encoder(name, device=device, dtype=dtype) for name in encoder]
    ready_folder(out)
    with progress_shown(output) as progress:
        rows = answer_rows(known, loaded, o.store_at(cache_dir) or Store(), progress)
    place = write_answers(rows, out)
    output.rows(held_rows(rows), key="encoders", extra={})
    output.note(f"wrote {harmless(str(place))}")


@reported
def learner_transfer(
    study: Annotated[Path, typer.Argument(help="A study: glue_pilot/tuned_transfer.toml.")],
    encoder: Annotated[list[str], typer.Option("-e", "--encoder", help="Name or folder; several.")],
    tasks: ManyTasks = None,
    outcomes: Outcomes = None,
    out: Out = Path("results"),
    ship: Annotated[bool, typer.Option("--ship", help="Write what comes with the package.")] = (
        False
    ),
    cache_dir: o.CacheDir = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    quiet: o.Quiet = False,
) -> None:
    """Judge ways of training under encoders that they were not measured with."""
    output = o.output_of("table", quiet, verbose=False, log_file=None)
    import pandas as pd

    from charkit.store.store import Store
    from glue_pilot.encoders.learners import learner_answers, write_elsewhere
    from glue_pilot.meta_dataset.tuned import read_tuned_study
    from metamodel.learners.files import load_learners
    from metamodel.predict import SHIPPED

    spec = replace(read_tuned_study(study), device=device, dtype=dtype)
    reached = pd.read_parquet(outcomes or SHIPPED / OUTCOMES)
    known, store = load_learners(), o.store_at(cache_dir) or Store()
    ready_folder(out)
    with progress_shown(output) as progress:
        table = learner_answers(spec, tasks, encoder, reached, known, store, progress)
    place, rows = write_elsewhere(table, known, SHIPPED if ship else out)
    output.rows(rows, key="encoders", extra={})
    output.note(f"wrote {harmless(str(place))}")


@reported
def gradient_study(
    study: Annotated[Path, typer.Argument(help="A study of learners: glue_pilot/tuned.toml.")],
    tasks: ManyTasks = None,
    outcomes: Outcomes = None,
    out: Out = Path("results"),
    cache_dir: o.CacheDir = None,
    device: o.Device = "auto",
    quiet: o.Quiet = False,
) -> None:
    """Do gradients of a few labels predict what fine-tuning adds? Stopped, it goes on later."""
    output = o.output_of("table", quiet, verbose=False, log_file=None)
    import pandas as pd

    from charkit.store.store import Store
    from glue_pilot.gradients.study import (
        compare,
        findings,
        measure,
        smallest_draws,
        write_gradients,
    )
    from glue_pilot.meta_dataset.tuned import read_tuned_study, study_draws
    from glue_pilot.samples import measure_each
    from metamodel.predict import SHIPPED

    spec = replace(read_tuned_study(study), device=device)
    reached = pd.read_parquet(outcomes or SHIPPED / OUTCOMES)
    store = o.store_at(cache_dir) or Store()
    ready_folder(out)
    draws = smallest_draws(study_draws(spec, tasks, store), reached)
    with progress_shown(output) as progress:
        measured = pd.DataFrame(measure_each(draws, measure, store, progress=progress))
    found = compare(measured, reached)
    written = write_gradients(measured, found, out)
    output.rows(findings(found), key="metrics", extra={})
    output.note(f"{len(draws)} samples; wrote {', '.join(harmless(str(p)) for p in written)}")


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
    from charkit.store.store import Store
    from glue_pilot.config import read_toml
    from glue_pilot.evaluation.cases import EvaluateStudy, all_cases, load_sources, measure
    from glue_pilot.evaluation.study import (
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
    seconds = time.monotonic() - begun
    note = f"{len(cases)} cases in {seconds:.0f} s; {len(written)} files"
    _finish(output, findings(found, floor), note)


def _finish(output: Output, lines: Iterable[str], note: str) -> None:
    """Print what a study found, and note its size."""
    for line in lines:
        typer.echo(harmless(line))
    output.note(note)


@reported
def experiment(
    names: Annotated[list[str], typer.Argument(help=NAMES_HELP)],
    study: Annotated[Path, typer.Option("--study", help="Settings, a table an experiment.")] = Path(
        __file__
    ).parent
    / "experiments.toml",
    tasks: ManyTasks = None,
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
    from charkit.store.store import Store
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


@reported
def learners(
    tables: Annotated[
        list[Path],
        typer.Option("--tables", help="Folder of a meta-dataset; several, one an encoder."),
    ],
    outcomes: Outcomes = None,
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
    from glue_pilot.judging.metamodel_study import read_metadata, read_settings, write_learners
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
    output.note("it has nothing on other encoders: run make learner-transfer next")
