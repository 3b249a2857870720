"""``charkit sweep``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charkit.cli import options as o
from charkit.cli.show import Output, progress_shown, ready_folder, reported, whole_numbers
from charkit.config import people_name
from charkit.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from charkit.errors import CellsFailedError
    from charkit.heads.grid import SweepPlan
    from charkit.heads.machines import Machines
    from charkit.heads.result import SweepResult


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
    layers: o.LayerShares = None,
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
    metric: o.Metric = None,
    pooling: o.Pool = "mean",
    max_length: o.MaxLength = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    offline: o.Offline = False,
    executor: o.ExecutorName = None,
    shard: o.ShardName = None,
    cache_dir: o.CacheDir = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=o.path, help="Folder for the whole table and the figures."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be computed, and stop.")
    ] = False,
    machines: Annotated[
        str | None,
        typer.Option(
            "--machines",
            help="With --dry-run: how many of which machines, such as 64xh100 or 16xcore.",
        ),
    ] = None,
    price: Annotated[
        float | None,
        typer.Option("--price", help="With --machines: price of one of them an hour."),
    ] = None,
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
    from charkit.heads.grid import SweepSettings, plan_sweep
    from charkit.parallel import Shard

    part = None if shard is None else Shard.parse(shard)
    planned_for = _machines(machines, price, executor, dry_run=dry_run)
    settings = SweepSettings(
        layers=o.layers_or_shares(layers),
        sizes=whole_numbers(sizes, "--sizes") or (),
        seeds=whole_numbers(seeds, "--seeds") or (),
        subsets=tuple(subsets),
        controls=tuple(c.strip() for c in controls.split(",") if c.strip()),
        metric=metric,
        pooling=pooling,
        max_length=max_length,
        device=device,
        dtype=dtype,
    )
    reading = o.reading(
        text=text,
        pair=pair,
        label=label,
        kind=kind,
        evaluation=evaluation,
        eval_frac=eval_frac,
        on_bad_rows=on_bad_rows,
        offline=offline,
    )
    for name in tasks:
        o.announce_hub(output, name, offline)
    plan = plan_sweep(
        list(tasks),
        encoder=list(encoder),
        settings=settings,
        reading=reading,
        store=o.store_at(cache_dir),
        shard=part,
    )
    if part is not None:
        output.note(part.note(f"{len(plan.jobs)} jobs"))
    for task in plan.tasks:
        for line in task.card.description:
            output.note(line)
    for line in plan.notes():
        output.note(line)
    if dry_run:
        show_plan(output, plan, planned_for)
    else:
        ready_folder(out)
        _run(output, plan, executor, out)


def _machines(
    text: str | None, price: float | None, executor: str | None, *, dry_run: bool
) -> Machines | None:
    """Return the machines that a dry run counts for; None for this one, a process a core.

    Raises:
        UsageError: They are given without a dry run, or a price without them.
    """
    from charkit.heads.machines import Machines
    from charkit.parallel import Processes, executor_from

    if text is not None and not dry_run:
        raise UsageError(
            "--machines: expected --dry-run with it, got none. --executor chooses where jobs run."
        )
    if text is not None:
        return Machines.parse(text, price=price)
    if price is not None:
        raise UsageError("--price: expected --machines with it, such as 64xh100, got none.")
    if not dry_run or executor is None or executor.partition(":")[0] in ("ray", "slurm"):
        return None
    chosen = executor_from(executor)
    n_workers = chosen.n_workers if isinstance(chosen, Processes) else 1
    return Machines(n_workers, encode=False)


def show_plan(output: Output, plan: SweepPlan, machines: Machines | None = None) -> None:
    """Show what a plan would compute, how long that takes and how much disk it needs."""
    from charkit.heads.estimate import estimate

    expected = estimate(plan, machines=machines)
    output.rows(
        expected.rows(),
        key="tasks",
        extra={"total": expected.total(), "notes": expected.lines()},
    )


def announce(output: Output, plan: SweepPlan) -> None:
    """Say what is to come, how long it will take and where, unless the store has it all."""
    from charkit.heads.estimate import estimate

    if not output.quiet and plan.missing(plan.jobs):
        for line in estimate(plan).lines():
            output.note(line)


def computed(
    output: Output, plan: SweepPlan, executor: str | None
) -> tuple[SweepResult, CellsFailedError | None]:
    """Run a plan under a progress bar; return what was finished, and what failed."""
    from charkit.errors import CellsFailedError
    from charkit.heads.sweep import run_sweep

    announce(output, plan)
    try:
        with progress_shown(output) as progress:
            return run_sweep(plan, executor=executor, progress=progress), None
    except CellsFailedError as error:
        return error.partial, error  # type: ignore[return-value]
    except KeyboardInterrupt:
        kept = len(plan.jobs) - len(plan.missing(plan.jobs))
        output.note(f"{kept} of {len(plan.jobs)} jobs are finished and kept")
        raise


def _run(output: Output, plan: SweepPlan, executor: str | None, out: Path | None) -> None:
    result, failure = computed(output, plan, executor)
    _show(output, result, out)
    if failure is not None:
        raise failure


def _show(output: Output, result: SweepResult, out: Path | None) -> None:
    best = result.best_layers()
    if output.format == "table":
        best = _compact(best, result)
    extra: dict[str, object] = {"findings": result.findings()}
    if output.format == "json":
        extra["notes"] = {card.name: list(card.notes) for card in result.cards}
        extra["cells"] = result.table.to_dict("records")
    rows = [{str(k): v for k, v in row.items()} for row in best.to_dict("records")]
    written = [] if out is None else _saved(result, out)  # first: the reader may go away
    output.rows(rows, key="best_layers", extra=extra)
    found, n_jobs = result.n_jobs_found, len(result.jobs)
    if found:
        nothing = ": nothing was computed" if found == n_jobs else ""
        output.note(f"{found} of {n_jobs} jobs were in the store already{nothing}")
    if out is None:
        output.note(f"{len(result.table):,} cells lie in {result.root}; --out FOLDER writes them")
    for line in written:
        output.note(line)


def _compact(best: pd.DataFrame, result: SweepResult) -> pd.DataFrame:
    """Leave out what says the same in every row, and strengths; call the score by its name."""
    from charkit.heads.records import metric_name

    if best.empty:
        return best
    same = [c for c in ("task", "subset", "encoder") if best[c].nunique() == 1]
    metrics = {metric_name(card.metric) for card in result.cards}
    named = best.assign(encoder=best["encoder"].map(people_name))
    named = named.drop(columns=[*same, "strength"])
    return named.rename(columns={"score": metrics.pop()}) if len(metrics) == 1 else named


def _saved(result: SweepResult, out: Path) -> list[str]:
    """Write the table and the figures; return what to say about it."""
    lines: list[str] = []
    written: list[Path] = []
    result.save(out)
    if find_spec("matplotlib") is None:
        lines.append('no figures: matplotlib is not installed. Run: pip install "charkit[report]"')
    else:
        from charkit.report.figures import save_sweep_figures

        ceilings = {c.name: c.ceiling for c in result.cards if c.ceiling is not None}
        written = save_sweep_figures(result.table, out, ceilings=ceilings)
    return [*lines, f"wrote table.parquet, table.csv and {len(written)} figures to {out}"]
