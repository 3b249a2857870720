"""``charkit sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charkit.cli import options as o
from charkit.cli.show import Output, progress_shown, reported, whole_numbers

if TYPE_CHECKING:
    from charkit.heads.result import SweepResult
    from charkit.heads.sweep import SweepPlan


@reported
def sweep(
    tasks: o.Sources,
    text: o.Text = None,
    pair: o.Pair = None,
    label: o.Label = None,
    kind: o.Kind = None,
    evaluation: o.Evaluation = None,
    eval_frac: o.EvalFrac = 0.2,
    on_bad_rows: o.OnBadRows = "refuse",
    encoder: o.EncoderNames = ["minilm"],  # noqa: B006 - typer copies it
    layers: o.Layers = None,
    sizes: Annotated[
        str | None,
        typer.Option(
            "--sizes",
            "-n",
            help="Training sizes, such as 16,64,256. Default: 16, doubled, and the whole.",
        ),
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Draws of the training texts.")] = "0-4",
    subsets: Annotated[
        list[str],
        typer.Option("--subset", help="Part of the task, such as classes:A,B. May be repeated."),
    ] = ["all"],  # noqa: B006 - typer copies it
    controls: Annotated[
        str,
        typer.Option("--controls", help="Controls beside the real thing; none for no control."),
    ] = "random_encoder,shuffled_labels,majority",
    pooling: o.Pool = "mean",
    max_length: o.MaxLength = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    offline: o.Offline = False,
    workers: o.Workers = None,
    cache_dir: o.CacheDir = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the whole table and the figures."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be computed, and stop.")
    ] = False,
    fmt: o.FormatOption = "table",
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    log_file: o.LogFile = None,
    debug: o.Debug = False,
) -> None:
    """Train heads on every layer and size; show accuracy by size, with controls.

    Example: charkit sweep reviews.csv --text body --label stars
    """
    output = o.output_of(fmt, quiet, verbose, log_file)
    from charkit.heads.sweep import SweepSettings, plan_sweep
    from charkit.tasks.card import SourceOptions

    settings = SweepSettings(
        layers=whole_numbers(layers, "--layers"),
        sizes=whole_numbers(sizes, "--sizes") or (),
        seeds=whole_numbers(seeds, "--seeds") or (),
        subsets=tuple(subsets),
        controls=tuple(c.strip() for c in controls.split(",") if c.strip()),
        pooling=pooling,
        max_length=max_length,
        device=device,
        dtype=dtype,
    )
    reading = SourceOptions(
        text=text,
        pair=pair,
        label=label,
        kind=kind,
        evaluation=evaluation,
        eval_frac=eval_frac,
        on_bad_rows=on_bad_rows,
        offline=offline or None,
    )
    plan = plan_sweep(
        list(tasks),
        encoder=list(encoder),
        settings=settings,
        reading=reading,
        store=o.store_at(cache_dir),
    )
    for task in plan.tasks:
        for line in task.card.description:
            output.note(line)
    if dry_run:
        _show_plan(output, plan)
    else:
        _run(output, plan, workers, out)


def _show_plan(output: Output, plan: SweepPlan) -> None:
    from charkit.heads.estimate import estimate

    expected = estimate(plan)
    output.rows(
        expected.rows(),
        key="tasks",
        extra={"total": expected.total(), "notes": expected.lines()},
    )


def _run(output: Output, plan: SweepPlan, workers: int | None, out: Path | None) -> None:
    from charkit.errors import CellsFailedError
    from charkit.heads.sweep import run_sweep

    try:
        with progress_shown(output) as progress:
            result = run_sweep(plan, n_workers=workers, progress=progress)
    except CellsFailedError as error:
        _show(output, error.partial, out)  # type: ignore[arg-type]
        raise
    _show(output, result, out)


def _show(output: Output, result: SweepResult, out: Path | None) -> None:
    from charkit.heads.result import best_layers_by_size

    rows = [
        {"task": card.name, **{str(k): v for k, v in row.items()}}
        for card in result.cards
        for row in best_layers_by_size(result.table, card.name).to_dict("records")
    ]
    extra: dict[str, object] = {"findings": result.findings()}
    if output.format == "json":
        extra["cells"] = result.table.to_dict("records")
    output.rows(rows, key="best_layers", extra=extra)
    if result.n_jobs_found:
        output.note(f"{result.n_jobs_found} of {len(result.jobs)} jobs were in the store already")
    if out is None:
        output.note(f"{len(result.table):,} cells lie in {result.root}; --out FOLDER writes them")
    else:
        result.save(out)
        _save_figures(output, result, out)


def _save_figures(output: Output, result: SweepResult, out: Path) -> None:
    from charkit.errors import MissingError

    try:
        from charkit.report.figures import save_sweep_figures

        written = save_sweep_figures(result.table, out)
    except MissingError as error:
        output.note(f"no figures: {error}")
        written = []
    output.note(f"wrote table.parquet, table.csv and {len(written)} figures to {out}")
