"""``python -m glue_pilot plan|run STUDY.toml [--tasks FOLDER]``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charkit.cli import options as o
from charkit.cli.show import Output, progress_shown, ready_folder, reported
from charkit.config import content_hash, people_name
from charkit.escape import harmless
from charkit.parallel import Shard
from glue_pilot.meta_dataset.tuned_command import metadata_tuned
from glue_pilot.study_commands import (
    ManyTasks,
    encoder_answers,
    encoder_study,
    evaluate_study,
    experiment,
    gradient_study,
    learner_transfer,
    learners,
    quality_study,
)

if TYPE_CHECKING:
    from charkit.store.store import Store
    from charkit.tasks import Task
    from glue_pilot.meta_dataset.study import MetadataStudy

app = typer.Typer(
    help="The GLUE pilot: which layer, how much data, on real tasks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command()(experiment)
app.command("quality-study")(quality_study)
app.command("evaluate-study")(evaluate_study)
app.command("encoder-study")(encoder_study)
app.command("encoder-answers")(encoder_answers)
app.command()(learners)
app.command("learner-transfer")(learner_transfer)
app.command("gradient-study")(gradient_study)
app.command("metadata-tuned")(metadata_tuned)

StudyFile = Annotated[Path, typer.Argument(help="A study, such as glue_pilot/study.toml.")]
Tasks = Annotated[
    Path | None, typer.Option("--tasks", help="Folder with glue_cola/ and so on. Default: the hub.")
]
Out = Annotated[Path, typer.Option("--out", help="Folder for table, figures and summary.")]


@app.command()
@reported
def plan(
    study: StudyFile,
    tasks: Tasks = None,
    cache_dir: o.CacheDir = None,
    fmt: o.FormatOption = "table",
) -> None:
    """Say what a study would compute: cells, minutes, disk, device and why."""
    output = o.output_of(fmt, quiet=False, verbose=False, log_file=None)
    from charkit.heads.sweep.cost import estimate
    from glue_pilot.study import plan_study, read_study

    planned = plan_study(read_study(study), tasks_root=tasks, store=o.store_at(cache_dir))
    expected = estimate(planned)
    output.rows(
        expected.rows(), key="tasks", extra={"total": expected.total(), "notes": expected.lines()}
    )


@app.command()
@reported
def run(
    study: StudyFile,
    tasks: Tasks = None,
    out: Out = Path("results"),
    cache_dir: o.CacheDir = None,
    executor: o.ExecutorName = None,
    shard: o.ShardName = None,
    quiet: o.Quiet = False,
) -> None:
    """Run a study: what is in the store already is not computed again; stop it at any time."""
    output = o.output_of("table", quiet, verbose=False, log_file=None)
    part = None if shard is None else Shard.parse(shard)
    run_study(
        output, study, tasks=tasks, out=out, cache_dir=cache_dir, executor=executor, shard=part
    )


def run_study(
    output: Output,
    study: Path,
    *,
    tasks: Path | None,
    out: Path,
    cache_dir: Path | None,
    executor: str | None = None,
    shard: Shard | None = None,
) -> None:
    """Plan, compute, collect, and say what was found."""
    from charkit.heads.sweep.cost import estimate
    from charkit.heads.sweep.sweep import run_sweep
    from glue_pilot.study import collect, plan_study, read_study

    begun = time.monotonic()
    spec = read_study(study)
    ready_folder(out)
    planned = plan_study(spec, tasks_root=tasks, store=o.store_at(cache_dir), shard=shard)
    missing = len(planned.missing(planned.jobs))
    found = len(planned.jobs) - missing
    output.note(f"{spec.name}: {len(planned.jobs)} jobs, {found} of them in the store already")
    for line in (*planned.notes(), *(estimate(planned).lines() if missing else ())):
        output.note(line)
    with progress_shown(output) as progress:
        result = run_sweep(planned, executor=executor, progress=progress)
    if shard is not None:
        output.note(shard.note(f"{len(planned.jobs)} jobs"))
        return
    written = collect(result, out, name=spec.name)
    for line in result.findings():
        typer.echo(harmless(line))
    seconds = time.monotonic() - begun
    output.note(f"{len(result.table):,} cells in {seconds:.0f} s; {len(written)} files in {out}")


DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be computed, and stop.")]

EmbeddingsFile = Annotated[
    Path, typer.Argument(help="A study of embeddings, such as glue_pilot/embeddings.toml.")
]
OtherEncoder = Annotated[
    str | None,
    typer.Option("-e", "--encoder", help="Name or folder of an encoder. Default: the study's."),
]


@app.command()
@reported
def embeddings(
    study: EmbeddingsFile,
    tasks: ManyTasks = None,
    out: Out = Path("results"),
    library: Annotated[
        Path | None, typer.Option("--library", help="Where the library goes. Default: OUT/library.")
    ] = None,
    encoder: OtherEncoder = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    cache_dir: o.CacheDir = None,
    executor: o.ExecutorName = None,
    shard: o.ShardName = None,
    dry_run: DryRun = False,
    quiet: o.Quiet = False,
) -> None:
    """Embed all tasks of a study; write the table of norms and the library of known tasks."""
    output = o.output_of("table", quiet, verbose=False, log_file=None)
    from charkit.encoders import load_encoder
    from charkit.store.store import Store
    from glue_pilot.config import read_toml
    from glue_pilot.matrices import build_library, write_norms
    from glue_pilot.samples import EmbeddingStudy, embed_study, load_known_tasks

    begun = time.monotonic()
    spec = read_toml(study, EmbeddingStudy)
    spec = replace(spec, encoder=encoder or spec.encoder)
    part = None if shard is None else Shard.parse(shard)
    known = load_known_tasks(spec.tasks, tasks)
    loaded = load_encoder(spec.encoder, device=device, dtype=dtype)
    if dry_run:
        from glue_pilot.meta_dataset.card import embeddings_hours

        rows = embeddings_hours(spec, known, loaded)
        output.rows(rows, key="sizes", extra={"notes": [loaded.device_reason, loaded.dtype_reason]})
        return
    ready_folder(out)
    store = o.store_at(cache_dir) or Store()
    with progress_shown(output) as progress:
        made = embed_study(
            spec, known, loaded, store=store, executor=executor, shard=part, progress=progress
        )
        samples = list(made)
    if part is not None:
        output.note(part.note(f"{len(samples)} samples"))
        return
    table = write_norms(samples, out, name=spec.name)
    about = build_library(samples, spec, library or out / "library" / people_name(spec.encoder))
    seconds = time.monotonic() - begun
    typer.echo(
        f"{len(samples)} samples of {len(known)} tasks in {seconds:.0f} s: {len(table):,} norms in "
        f"{harmless(str(out / spec.name))}.parquet, library in {harmless(str(about))}"
    )


def _metadata_plan(
    spec: MetadataStudy, bases: Sequence[Task], store: Store, output: Output
) -> None:
    from glue_pilot.meta_dataset.card import metadata_hours
    from glue_pilot.meta_dataset.tables import plan_rows

    loaded = spec.load_encoder()
    notes = [
        f"{row['stage']}: about {row['hours']:.2g} hours for all of it; heads come on top"
        for row in metadata_hours(spec, bases, loaded)
    ]
    notes += [loaded.device_reason, loaded.dtype_reason]
    output.rows(plan_rows(spec, bases, store), key="stages", extra={"notes": notes})


@app.command()
@reported
def metadata(
    studies: Annotated[
        list[Path],
        typer.Argument(
            help="Studies, such as glue_pilot/metadata.toml; the first names the tables."
        ),
    ],
    tasks: ManyTasks = None,
    out: Out = Path("results"),
    cache_dir: o.CacheDir = None,
    executor: o.ExecutorName = None,
    shard: o.ShardName = None,
    encoder: OtherEncoder = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    dry_run: DryRun = False,
    quiet: o.Quiet = False,
) -> None:
    """Make the table that the metamodel learns from; stop it at any time, it goes on."""
    output = o.output_of("table", quiet, verbose=False, log_file=None)
    from charkit.store.store import Store
    from glue_pilot.meta_dataset.card import count, write_metadata
    from glue_pilot.meta_dataset.study import load_studies
    from glue_pilot.meta_dataset.tables import join_metadata, make_metadata

    begun = time.monotonic()
    planned = load_studies(studies, tasks, encoder=encoder, device=device, dtype=dtype)
    store = o.store_at(cache_dir) or Store()
    if dry_run:
        for spec, bases in planned:
            _metadata_plan(spec, bases, store, output)
        return
    part = None if shard is None else Shard.parse(shard)
    if part is not None:
        planned = [
            (spec, [task for task in bases if part.holds(content_hash(task.name))])
            for spec, bases in planned
        ]
    ready_folder(out)
    with progress_shown(output) as progress:
        made = [
            make_metadata(spec, bases, store, executor=executor, progress=progress)
            for spec, bases in planned
            if bases
        ]
    if part is not None:
        output.note(part.note(f"{sum(len(bases) for _, bases in planned)} tasks"))
        return
    tables = join_metadata(made)
    written = write_metadata(tables, [spec for spec, _ in planned], out)
    counts = count(tables)
    typer.echo(
        f"{counts['joined_rows']:,} rows of {counts['variants']} variants of {counts['corpora']} "
        f"corpora in {time.monotonic() - begun:.0f} s: {harmless(str(written[0]))} and "
        f"{harmless(str(written[1]))}"
    )


@app.command("next-study")
@reported
def next_study(
    study: Annotated[Path, typer.Argument(help="A study, such as glue_pilot/next.toml.")],
    tasks: ManyTasks = None,
    out: Out = Path("results"),
    policy: Annotated[
        Path | None, typer.Option("--policy", help="File for the policy that charkit next follows.")
    ] = None,
    cache_dir: o.CacheDir = None,
    executor: o.ExecutorName = None,
    quiet: o.Quiet = False,
) -> None:
    """Simulate labelling: which strategy saves how many labels; stop it at any time, it goes on."""
    output = o.output_of("table", quiet, verbose=False, log_file=None)
    from charkit.store.durable import write_whole
    from charkit.store.store import Store
    from glue_pilot.labelling.findings import find, findings_lines
    from glue_pilot.labelling.report import policy_file, write_next_study
    from glue_pilot.labelling.study import load_next_tasks, read_next_study, run_next_study

    begun = time.monotonic()
    spec = read_next_study(study)
    ready_folder(out)
    known = load_next_tasks(spec, tasks)
    store = o.store_at(cache_dir) or Store()
    with progress_shown(output) as progress:
        steps = run_next_study(spec, known, store, executor=executor, progress=progress)
    found = find(steps)
    written = write_next_study(steps, found, spec, out)
    if policy is not None:
        written.append(write_whole(policy, policy_file(found, spec)))
    for line in findings_lines(found):
        typer.echo(harmless(line))
    seconds = time.monotonic() - begun
    output.note(f"{len(steps):,} steps in {seconds:.0f} s; {len(written)} files in {out}")


Tables = Annotated[
    list[Path], typer.Option("--tables", help="Folder of a meta-dataset; several, one an encoder.")
]
TableName = Annotated[str, typer.Option("--name", help="Of the tables' files.")]


@app.command()
@reported
def metamodel(
    tables: Tables,
    name: TableName = "metadata",
    trials: Annotated[int, typer.Option("--trials", help="Of the search for settings.")] = 8,
    out: Out = Path("results"),
    ship: Annotated[
        bool, typer.Option("--ship", help="Write what comes with the package, tables and all.")
    ] = False,
    quiet: o.Quiet = False,
) -> None:
    """Search settings, fit the metamodel and write it; a stopped search goes on where it was."""
    output = o.output_of("table", quiet, verbose=False, log_file=None)
    from glue_pilot.judging.metamodel_study import (
        read_metadata,
        ship_tables,
        train,
        write_metamodel,
    )
    from metamodel.predict import SHIPPED

    begun = time.monotonic()
    ready_folder(out)
    data = read_metadata(tables, name)
    with progress_shown(output) as progress:
        settings, rows = train(data, n_trials=trials, out=out, progress=progress)
        progress("fit", 0, 1)
        place = write_metamodel(data, settings, rows, SHIPPED if ship else out)
        progress("fit", 1, 1)
    if ship:
        ship_tables(tables, name)
    typer.echo(
        f"{len(data.targets.row):,} rows, {len(rows)} trials, {time.monotonic() - begun:.0f} s: "
        f"{harmless(str(place))}"
    )


@app.command()
@reported
def scorecard(
    tables: Tables,
    name: TableName = "metadata",
    settings: Annotated[
        Path | None, typer.Option("--settings", help="Folder of settings.json.")
    ] = None,
    others: Annotated[
        Path | None,
        typer.Option(
            "--rounds-of",
            help="Make only the sections on forecasts made again and on buying; the others are "
            "those of this scorecard.json.",
        ),
    ] = None,
    out: Out = Path("results"),
    quiet: o.Quiet = False,
) -> None:
    """Judge the metamodel: every corpus left out in turn, every figure beside its baselines."""
    output = o.output_of("table", quiet, verbose=False, log_file=None)
    from charkit.store.sealed import read_sealed
    from glue_pilot.judging.metamodel_study import read_metadata, read_settings
    from glue_pilot.judging.scorecard import write_scorecard
    from metamodel.judge.evaluate import evaluate
    from metamodel.predict import SHIPPED

    begun = time.monotonic()
    ready_folder(out)
    advice = "Make the whole scorecard, without --rounds-of."
    kept = None if others is None else read_sealed(others, str(others), advice=advice)
    data = read_metadata(tables, name)
    with progress_shown(output) as progress:
        found = read_settings(settings or SHIPPED)
        judged = evaluate(data, found, progress, only_rounds=kept is not None)
    written = write_scorecard(judged.figures, out, time.monotonic() - begun, others=kept)
    typer.echo(" and ".join(harmless(str(place)) for place in written))


@app.command()
@reported
def transfer(
    tables: Tables,
    name: TableName = "transfer",
    known: Annotated[
        list[str], typer.Option("--known", help="Encoders that the metamodel was made for.")
    ] = ["minilm"],  # noqa: B006 - typer reads it only
    out: Out = Path("results"),
    ship: Annotated[
        bool, typer.Option("--ship", help="Write what comes with the package.")
    ] = False,
    quiet: o.Quiet = False,
) -> None:
    """Measure the shipped metamodel under encoders that it was not made for."""
    output = o.output_of("table", quiet, verbose=False, log_file=None)
    from glue_pilot.judging.metamodel_study import read_metadata, write_transfer
    from metamodel.predict import SHIPPED

    ready_folder(out)
    data = read_metadata(tables, name, short_names=True)
    with progress_shown(output) as progress:
        place, rows = write_transfer(data, known, SHIPPED if ship else out, progress)
    output.rows(rows, key="encoders", extra={})
    output.note(f"wrote {harmless(str(place))}")


if __name__ == "__main__":
    app()
